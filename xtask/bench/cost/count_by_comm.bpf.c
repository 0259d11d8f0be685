#include "bpf.h"

COUNTS(counts, struct comm);

SEC("tracepoint/raw_syscalls/sys_enter")
int probe(struct raw_sys_enter *ctx)
{
	struct comm comm;

	get_current_comm(&comm, sizeof(comm));
	count(&counts, &comm);
	return 0;
}

#include "bpf.h"

COUNTS(counts, s64);

SEC("tracepoint/raw_syscalls/sys_enter")
int probe(struct raw_sys_enter *ctx)
{
	s64 id = ctx->id;

	count(&counts, &id);
	return 0;
}

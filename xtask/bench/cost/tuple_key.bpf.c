#include "bpf.h"

struct key {
	u32 pid;
	struct comm comm;
	u32 pad;
	s64 id;
};

COUNTS(counts, struct key);

SEC("tracepoint/raw_syscalls/sys_enter")
int probe(struct raw_sys_enter *ctx)
{
	struct key key;

	key.pid = get_current_pid_tgid() >> 32;
	get_current_comm(&key.comm, sizeof(key.comm));
	key.pad = 0;
	key.id = ctx->id;
	count(&counts, &key);
	return 0;
}

#include "bpf.h"

struct {
	__uint(type, RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

struct record {
	u64 format;
	struct comm comm;
	s64 pid;
	s64 sig;
};

SEC("tracepoint/syscalls/sys_enter_kill")
int probe(struct sys_enter *ctx)
{
	struct record *record = ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record)
		return 0;
	record->format = 1;
	get_current_comm(&record->comm, sizeof(record->comm));
	record->pid = (s32)ctx->args[0];
	record->sig = (s32)ctx->args[1];
	ringbuf_submit(record, 0);
	return 0;
}

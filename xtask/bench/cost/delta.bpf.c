#include "bpf.h"

struct {
	__uint(type, HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, u64);
} start SEC(".maps");

HISTOGRAM(buckets);

SEC("tracepoint/raw_syscalls/sys_enter")
int entry(struct raw_sys_enter *ctx)
{
	u32 tid = get_current_pid_tgid();
	u64 now = ktime_get_ns();

	map_update_elem(&start, &tid, &now, 0);
	return 0;
}

SEC("tracepoint/raw_syscalls/sys_exit")
int leave(void *ctx)
{
	u32 tid = get_current_pid_tgid();
	u64 *since = map_lookup_elem(&start, &tid);

	if (!since || !*since)
		return 0;
	hist(&buckets, ktime_get_ns() - *since);
	map_delete_elem(&start, &tid);
	return 0;
}

#include "bpf.h"

struct {
	__uint(type, STACK_TRACE);
	__uint(max_entries, 4096);
	__uint(key_size, 4);
	__uint(value_size, 127 * 8);
} stacks SEC(".maps");

COUNTS(counts, s64);

SEC("tracepoint/raw_syscalls/sys_enter")
int probe(struct raw_sys_enter *ctx)
{
	s64 stack = get_stackid(ctx, &stacks, 0);

	count(&counts, &stack);
	return 0;
}

#include "bpf.h"

HISTOGRAM(buckets);

SEC("tracepoint/raw_syscalls/sys_enter")
int probe(struct raw_sys_enter *ctx)
{
	hist(&buckets, ctx->id);
	return 0;
}

#include "bpf.h"
/* Offsets of the running kernel, defined on the command line: TASK_REAL_PARENT, TASK_TGID. */

COUNTS(counts, s32);

SEC("tracepoint/raw_syscalls/sys_enter")
int probe(struct raw_sys_enter *ctx)
{
	u64 task = get_current_task();
	s32 tgid = 0;

	probe_read_kernel(&task, sizeof(task), (void *)(task + TASK_REAL_PARENT));
	probe_read_kernel(&task, sizeof(task), (void *)(task + TASK_REAL_PARENT));
	probe_read_kernel(&tgid, sizeof(tgid), (void *)(task + TASK_TGID));
	count(&counts, &tgid);
	return 0;
}

// A hash map, global variables of all three kinds, no functions.

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, unsigned long long flags) = (void *)2;
static unsigned long long (*bpf_get_current_pid_tgid)(void) = (void *)14;

struct key {
	unsigned int pid;
	unsigned int cpu;
};

struct {
	__uint(type, 1);
	__uint(max_entries, 256);
	__type(key, struct key);
	__type(value, unsigned long long);
} counts SEC(".maps");

const volatile unsigned int target = 7;
unsigned long long seen = 3;
unsigned long long missed;

SEC("tracepoint/raw_syscalls/sys_enter")
int count(void *ctx)
{
	struct key key = {.pid = bpf_get_current_pid_tgid() >> 32};
	unsigned long long one = 1, *value;

	seen++;
	if (target && key.pid == target)
		return 0;
	value = bpf_map_lookup_elem(&counts, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	else if (bpf_map_update_elem(&counts, &key, &one, 0))
		missed++;
	return 0;
}

char _license[] SEC("license") = "GPL";

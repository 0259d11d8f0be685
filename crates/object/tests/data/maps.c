// Several maps: clang tells their places by symbols, not by BTF.

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;

struct {
	__uint(type, 1);
	__uint(max_entries, 256);
	__type(key, unsigned int);
	__type(value, unsigned long long);
} first SEC(".maps");

struct {
	__uint(type, 27);
	__uint(max_entries, 4096);
} second SEC(".maps");

struct {
	__uint(type, 2);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, unsigned int);
} third SEC(".maps");

SEC("raw_tp/sys_enter")
int probe(void *ctx)
{
	unsigned int zero = 0;

	if (bpf_map_lookup_elem(&third, &zero))
		bpf_map_delete_elem(&first, &zero);
	return 0;
}

char _license[] SEC("license") = "GPL";

// Functions that call each other, a callback, a map by its sizes.

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define noinline __attribute__((noinline))

static long (*bpf_for_each_map_elem)(void *map, void *callback, void *ctx, unsigned long long flags) = (void *)164;

struct {
	__uint(type, 2);
	__uint(key_size, 4);
	__uint(value_size, 8);
	__uint(max_entries, 4);
} numbers SEC(".maps");

static noinline unsigned long long add(unsigned long long a, unsigned long long b)
{
	return a + b;
}

static noinline unsigned long long twice(unsigned long long a)
{
	return add(a, a) ^ 1;
}

static long each(void *map, unsigned int *key, unsigned long long *value, unsigned long long *sum)
{
	*sum += twice(*value);
	return 0;
}

SEC("raw_tp/sys_enter")
int total(void *ctx)
{
	unsigned long long sum = 0;

	bpf_for_each_map_elem(&numbers, each, &sum, 0);
	return twice(sum) > 5;
}

char _license[] SEC("license") = "GPL";

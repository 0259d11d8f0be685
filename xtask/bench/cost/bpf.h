/* What the programs here need of the kernel's interface, and no more.
 * Helper and map type numbers: include/uapi/linux/bpf.h. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, type_of) typeof(type_of) *name
#define always_inline static inline __attribute__((always_inline))

enum {
	HASH = 1,
	PERCPU_HASH = 5,
	PERCPU_ARRAY = 6,
	STACK_TRACE = 7,
	RINGBUF = 27,
};

static void *(*map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*ktime_get_ns)(void) = (void *)5;
static u64 (*get_current_pid_tgid)(void) = (void *)14;
static long (*get_current_comm)(void *to, u32 size) = (void *)16;
static long (*get_stackid)(void *ctx, void *map, u64 flags) = (void *)27;
static u64 (*get_current_task)(void) = (void *)35;
static long (*probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*probe_read_user_str)(void *to, u32 size, const void *from) = (void *)114;
static void *(*ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*ringbuf_submit)(void *record, u64 flags) = (void *)132;

struct comm {
	char text[16];
};

/* Of every tracepoint: 8 bytes of the trace buffer's own come first. */
struct raw_sys_enter {
	u64 common;
	s64 id;
	u64 args[6];
};

struct sys_enter {
	u64 common;
	s32 nr;
	u32 pad;
	u64 args[6];
};

#define COUNTS(name, key_type)                  \
	struct {                                \
		__uint(type, PERCPU_HASH);      \
		__uint(max_entries, 4096);      \
		__type(key, key_type);          \
		__type(value, u64);             \
	} name SEC(".maps")

always_inline void count(void *map, const void *key)
{
	u64 *value = map_lookup_elem(map, key);

	if (value) {
		*value += 1;
	} else {
		u64 one = 1;
		map_update_elem(map, key, &one, 0);
	}
}

always_inline u32 log2_of(u64 value)
{
	u32 bits = 0, more;

	more = (value > 0xffffffffULL) << 5; value >>= more; bits |= more;
	more = (value > 0xffff) << 4; value >>= more; bits |= more;
	more = (value > 0xff) << 3; value >>= more; bits |= more;
	more = (value > 0xf) << 2; value >>= more; bits |= more;
	more = (value > 0x3) << 1; value >>= more; bits |= more;
	return bits | (value >> 1);
}

#define HISTOGRAM(name)                         \
	struct {                                \
		__uint(type, PERCPU_ARRAY);     \
		__uint(max_entries, 66);        \
		__type(key, u32);               \
		__type(value, u64);             \
	} name SEC(".maps")

/* Bucket 0 holds negative values, 1 holds zero, 2 + n holds 2^n and up. */
always_inline void hist(void *map, s64 value)
{
	u32 bucket = value < 0 ? 0 : value == 0 ? 1 : 2 + log2_of(value);
	u64 *slot = map_lookup_elem(map, &bucket);

	if (slot)
		*slot += 1;
}

char LICENSE[] SEC("license") = "GPL";

/* Types of every kind that BTF has. shapes.btf is the .BTF section of:
 *   clang -target bpf -g -O2 -c shapes.c -o shapes.o
 *   llvm-objcopy --dump-section .BTF=shapes.btf shapes.o */

typedef unsigned int u32;
typedef int (*callback_t)(void *data, const char *name, ...);

enum color { RED, GREEN = 5, BLUE = -1 };
enum wide { HUGE_VALUE = 0x8000000000000000 };
struct hidden;

struct point {
	int x, y;
};

#define __user __attribute__((btf_type_tag("user")))
#define __mark __attribute__((btf_decl_tag("mark")))

struct shape {
	u32 id;
	struct {
		struct point corner;
		union {
			long area;
			double exact;
		};
	};
	unsigned int visible : 1;
	unsigned int layer : 5;
	enum color color;
	enum wide wide;
	const char *const name;
	volatile int *restrict counter;
	char label[16];
	struct point corners[4][2];
	callback_t call;
	int (*table[3])(struct point, struct hidden *);
	char __user *buffer;
	struct shape *next __mark;
};

struct shape first_shape = { .id = 1 };
static volatile int touched;

__attribute__((noinline)) int measure(struct shape *shape, u32 scale)
{
	touched += 1;
	return shape->corner.x * scale;
}

__attribute__((section("tracepoint"))) int probe(struct shape *context)
{
	return measure(context, 2) + first_shape.id;
}

// A small kernel's types: what a script's compilation asks BTF about. Compiled
// to machine.btf by:
//   clang --target=bpf -g -O1 -c machine.c -o machine.o
//   llvm-objcopy --dump-section .BTF=machine.btf machine.o
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef _Bool bool;

enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_MAX };

struct list_head {
    struct list_head *next, *prev;
};

struct pt_regs {
    unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

struct mm_struct {
    unsigned long total_vm;
    u32 map_count : 20;
    int locked : 4;
};

struct task_struct {
    u64 state;
    int pid;
    int tgid;
    char comm[16];
    struct task_struct *real_parent;
    struct mm_struct *mm;
    struct list_head tasks;
    union {
        u64 start_time;
        struct {
            u32 low, high;
        };
    };
    enum pid_type kind;
    u8 bytes[6];
};

struct qstr {
    u32 len;
    const char *name;
};

struct dentry {
    struct qstr d_name;
};

struct file {
    u32 f_flags;
    struct dentry *dentry;
};

struct bpf_iter_meta {
    u64 session_id;
};

struct bpf_iter__task {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
};

typedef void (*btf_trace_sched_switch)(void *, bool, struct task_struct *, struct task_struct *);
typedef void (*btf_trace_sys_enter)(void *, struct pt_regs *, long);
typedef void (*btf_trace_sys_exit)(void *, struct pt_regs *, long);
typedef void (*btf_trace_sched_wakeup)(void *, struct task_struct *);

btf_trace_sched_switch use_sched_switch;
btf_trace_sys_enter use_sys_enter;
btf_trace_sys_exit use_sys_exit;
btf_trace_sched_wakeup use_sched_wakeup;
struct bpf_iter__task use_iter;
struct pt_regs use_regs;
struct mm_struct use_mm;
struct dentry use_dentry;
struct file use_file;
struct task_struct use_task;

int __traceiter_sched_switch(void *__data, bool preempt, struct task_struct *prev, struct task_struct *next) {
    return preempt;
}

long vfs_read(struct file *file, char *buf, u64 count) {
    return (long)count;
}

int bpf_iter_task(struct bpf_iter_meta *meta, struct task_struct *task) {
    return 0;
}

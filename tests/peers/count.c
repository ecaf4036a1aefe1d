/* A QEMU plugin (interface version 1: QEMU 4.2 to 9.0, user mode): counts the guest's instructions between marks.
 * A mark is the guest's system call 5000, which does not exist and returns ENOSYS; its first argument is a tag.
 * Prints "TAG COUNT" per mark to the file named by out=FILE: the instructions since the mark before it.
 * One counter for all threads, so the guest should run one. QEMU's package carries no header: what we use stands here. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
enum { INLINE_ADD_U64 = 0 };
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int operation, void *counter, uint64_t by);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
typedef void (*on_syscall)(plugin_id, unsigned cpu, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                           uint64_t, uint64_t, uint64_t);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_syscall);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static const int64_t MARK = 5000;
static uint64_t executed, executed_at_mark;
static FILE *out;

static void block_translated(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, &executed, qemu_plugin_tb_n_insns(block));
}

static void syscall_entered(plugin_id id, unsigned cpu, int64_t number, uint64_t tag, uint64_t b, uint64_t c, uint64_t d,
                            uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    (void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number != MARK)
        return;
    fprintf(out, "%" PRIu64 " %" PRIu64 "\n", tag, executed - executed_at_mark);
    fflush(out);
    executed_at_mark = executed;
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4))
            out = fopen(argv[i] + 4, "w");
    if (!out)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, block_translated);
    qemu_plugin_register_vcpu_syscall_cb(id, syscall_entered);
    return 0;
}

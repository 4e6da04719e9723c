/* Runs qemu-user so that the program in it can be told that it has one thread.
 *
 *     alone QEMU [OPTION]... PROGRAM [ARG]...
 *
 * unshare(CLONE_THREAD) asks the kernel whether the process has more threads. In qemu-user it always has: one of qemu's
 * own, which the program knows nothing of. So a filter answers that very question in the kernel's place, with 0, which is
 * true of the program. All other calls go through, and so does unshare with other flags. */

#define _GNU_SOURCE

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOW(n) (offsetof(struct seccomp_data, args) + 8 * (n)) /* little endian */

int main(int argc, char **argv) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LOW(0)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CLONE_THREAD, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof code[0], code};
    if (argc < 3) {
        fprintf(stderr, "usage: alone QEMU [OPTION]... PROGRAM [ARG]...\n");
        return 125;
    }
    /* As root, no_new_privs is not needed, and would be seen by what runs. */
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0 &&
        (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)) {
        perror("alone: a filter");
        return 125;
    }
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 125;
}

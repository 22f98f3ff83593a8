// The least that a start can cost: bare system calls, one thread, nothing checked but the outcome.
//
//     bare vfork|pidfd|nowait W1|W2|W3|W6 N C CHILD [WRITER]
//
// vfork: vfork(2), and wait4 for any child. pidfd: CLONE_VM | CLONE_VFORK with a pidfd in epoll. nowait: the same without
// CLONE_VFORK, on one of several stacks; the kernel clears a word (CLONE_CHILD_CLEARTID) when the child needs its stack no more.
// W1: N runs, null streams, C at once. W2: the same with stdout and stderr captured. W3: N children that sleep, with a
// pipe each, until all are started. W6: as W2, each timed, beside a WRITER that never ends.
// Prints a number of microseconds for each command: wall, CPU of this process; for W6 the 50th and 99th percentile.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE_MAX 64
#define STACK_BYTES 16384
#define READ_BYTES 65536
#define SAID_OUT 100
#define SAID_ERR 20
#define must(what) do { if (!(what)) { perror(#what); exit(1); } } while (0)

enum way { VFORK, PIDFD, NOWAIT };

struct start {
    const char *program;
    int stdio[3];
    _Atomic int busy; // the child uses this and its stack; cleared by the kernel
    char *stack;
};

extern char **environ;
static enum way way;
static char *program, *writer;
static int null, count, at_once;
static char buffer[READ_BYTES];

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static double cpu(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// By hand: libc's errno would be the parent's, who goes on meanwhile.
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

static void in_child(void *argument) {
    struct start *start = argument;
    char *argv[] = {(char *)start->program, (char *)(start->program == writer ? "0" : NULL), NULL};
    for (int fd = 0; fd < 3; fd++) call(SYS_dup2, start->stdio[fd], fd, 0);
    call(SYS_execve, (long)start->program, (long)argv, (long)environ);
    call(SYS_exit_group, 127, 0, 0);
}

static long clone_on_stack(struct clone_args *arguments, struct start *start) {
    long result;
    register void (*entry)(void *) __asm__("r8") = in_child;
    register void *argument __asm__("r9") = start;
    __asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n mov %%r9, %%rdi\n call *%%r8\n hlt\n 1:"
                     : "=a"(result) : "a"(SYS_clone3), "D"(arguments), "S"(sizeof *arguments), "r"(entry), "r"(argument)
                     : "rcx", "r11", "memory");
    return result;
}

static void make_stack(struct start *start) {
    start->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(start->stack != MAP_FAILED);
}

static pid_t born(struct start *start, int *pidfd) {
    if (way == VFORK) {
        pid_t pid = vfork();
        if (pid == 0) in_child(start);
        must(pid > 0);
        return pid;
    }
    while (atomic_load_explicit(&start->busy, memory_order_acquire)) sched_yield();
    int nowait = way == NOWAIT;
    start->busy = nowait;
    struct clone_args arguments = {
        .flags = CLONE_VM | CLONE_CLEAR_SIGHAND | (pidfd ? CLONE_PIDFD : 0) | (nowait ? CLONE_CHILD_CLEARTID : CLONE_VFORK),
        .pidfd = (unsigned long)pidfd,
        .child_tid = (unsigned long)&start->busy,
        .exit_signal = SIGCHLD,
        .stack = (unsigned long)start->stack,
        .stack_size = STACK_BYTES,
    };
    long pid = clone_on_stack(&arguments, start);
    must(pid > 0);
    return (pid_t)pid;
}

static void short_runs(void) {
    static struct start starts[AT_ONCE_MAX];
    int pidfds[AT_ONCE_MAX], idle[AT_ONCE_MAX], idles = at_once, started = 0, done = 0, status;
    int queue = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < at_once; i++) {
        starts[i] = (struct start){program, {null, null, null}, 0, NULL};
        make_stack(&starts[i]);
        idle[i] = i;
    }
    while (done < count) {
        while (idles && started < count) {
            int i = idle[--idles];
            born(&starts[i], way == VFORK ? NULL : &pidfds[i]);
            started++;
            if (way == VFORK) continue;
            struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = (unsigned)i};
            must(!epoll_ctl(queue, EPOLL_CTL_ADD, pidfds[i], &event));
        }
        if (way == VFORK) {
            must(wait4(-1, &status, 0, NULL) > 0 && status == 0);
            idle[idles++] = 0; // any will do: nothing is left in a start that has executed
            done++;
            continue;
        }
        struct epoll_event events[AT_ONCE_MAX];
        int ready = epoll_wait(queue, events, AT_ONCE_MAX, -1);
        for (int k = 0; k < ready; k++) {
            int i = (int)events[k].data.u32;
            siginfo_t info;
            must(!waitid(P_PIDFD, (id_t)pidfds[i], &info, WEXITED) && info.si_status == 0);
            close(pidfds[i]);
            idle[idles++] = i;
            done++;
        }
    }
}

struct capture {
    struct start start;
    pid_t pid;
    size_t read[2];
    double since;
};

static void start_captured(struct capture *capture, struct pollfd *ends, const char *what, int captures_err) {
    int out[2], err[2] = {-1, null};
    must(!pipe2(out, O_CLOEXEC) && (!captures_err || !pipe2(err, O_CLOEXEC)));
    while (atomic_load_explicit(&capture->start.busy, memory_order_acquire)) sched_yield();
    capture->start.program = what;
    capture->start.stdio[0] = null, capture->start.stdio[1] = out[1], capture->start.stdio[2] = err[1];
    capture->read[0] = capture->read[1] = 0;
    capture->since = now();
    capture->pid = born(&capture->start, NULL);
    // The table is copied at the birth, so that these are free to go.
    close(out[1]);
    if (captures_err) close(err[1]);
    ends[0] = (struct pollfd){out[0], POLLIN, 0};
    ends[1] = (struct pollfd){err[0], POLLIN, 0};
}

static void read_end(struct capture *capture, struct pollfd *end, int which) {
    ssize_t length = 0;
    // pipe_poll takes no lock: it may have found the pipe empty, and then its writer, who has written meanwhile, gone.
    if (end->revents & (POLLIN | POLLHUP)) {
        length = read(end->fd, buffer, sizeof buffer);
        must(length >= 0);
        capture->read[which] += (size_t)length;
    }
    if (end->revents & POLLHUP && length < (ssize_t)sizeof buffer) {
        close(end->fd);
        end->fd = -1;
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void captured_runs(double *times) {
    struct capture *captures = calloc((size_t)at_once + 1, sizeof *captures);
    struct pollfd *ends = calloc((size_t)at_once * 2 + 2, sizeof *ends);
    int started = 0, done = 0, status;
    for (int i = 0; i <= at_once; i++) make_stack(&captures[i].start), ends[2 * i].fd = ends[2 * i + 1].fd = -1;
    if (writer) start_captured(&captures[at_once], &ends[2 * at_once], writer, 0);
    for (int i = 0; i < at_once && started < count; i++, started++) start_captured(&captures[i], &ends[2 * i], program, 1);
    while (done < count) {
        must(poll(ends, (nfds_t)at_once * 2 + 2, -1) > 0);
        for (int i = 0; i <= at_once; i++) {
            struct pollfd *two = &ends[2 * i];
            if (two[0].fd < 0 && two[1].fd < 0) continue;
            for (int which = 0; which < 2; which++)
                if (two[which].fd >= 0 && two[which].revents) read_end(&captures[i], &two[which], which);
            if (two[0].fd >= 0 || two[1].fd >= 0) continue;
            must(wait4(captures[i].pid, &status, 0, NULL) > 0 && status == 0);
            must(captures[i].read[0] == SAID_OUT && captures[i].read[1] == SAID_ERR);
            times[done++] = now() - captures[i].since;
            if (started < count) start_captured(&captures[i], two, program, 1), started++;
        }
    }
    if (writer) kill(captures[at_once].pid, SIGKILL), wait4(captures[at_once].pid, &status, 0, NULL);
}

// The pipes stay open, and everybody asleep, until all are started.
static double sleepers(void) {
    struct start *starts = calloc(AT_ONCE_MAX, sizeof *starts);
    pid_t *pids = calloc((size_t)count, sizeof *pids);
    for (int i = 0; i < AT_ONCE_MAX; i++) make_stack(&starts[i]), starts[i].program = program;
    double since = now();
    for (int i = 0; i < count; i++) {
        struct start *start = &starts[i % AT_ONCE_MAX];
        int out[2];
        must(!pipe2(out, O_CLOEXEC));
        while (atomic_load_explicit(&start->busy, memory_order_acquire)) sched_yield();
        start->stdio[0] = start->stdio[2] = null, start->stdio[1] = out[1];
        pids[i] = born(start, NULL);
        close(out[1]);
    }
    for (int i = 0; i < AT_ONCE_MAX; i++)
        while (atomic_load_explicit(&starts[i].busy, memory_order_acquire)) sched_yield();
    double until = now();
    for (int i = 0; i < count; i++) {
        kill(pids[i], SIGKILL);
        must(wait4(pids[i], NULL, 0, NULL) > 0);
    }
    return until - since;
}

int main(int argc, char **argv) {
    if (argc < 6) return fprintf(stderr, "bare vfork|pidfd|nowait W1|W2|W3|W6 N C CHILD [WRITER]\n"), 2;
    way = !strcmp(argv[1], "vfork") ? VFORK : !strcmp(argv[1], "pidfd") ? PIDFD : NOWAIT;
    count = atoi(argv[3]), at_once = atoi(argv[4]), program = argv[5], writer = argc > 6 ? argv[6] : NULL;
    must(count > 0 && at_once > 0 && at_once <= AT_ONCE_MAX);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    double *times = calloc((size_t)count, sizeof *times), used = cpu(), since = now(), wall;
    if (!strcmp(argv[2], "W1")) short_runs();
    else if (strcmp(argv[2], "W3")) captured_runs(times);
    wall = strcmp(argv[2], "W3") ? now() - since : sleepers();
    used = cpu() - used;
    if (writer) {
        qsort(times, (size_t)count, sizeof *times, ascending);
        return printf("%.2f %.2f\n", times[count / 2], times[count * 99 / 100]) < 0;
    }
    return printf("%.2f %.2f\n", wall / count, used / count) < 0;
}

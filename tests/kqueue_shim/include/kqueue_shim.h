/* kqueue over epoll, and its switches for tests. src/force.rs says what each does. */
#ifndef KQUEUE_SHIM_H
#define KQUEUE_SHIM_H

#include <sys/event.h>

#define KQUEUE_SHIM_GONE 0        /* EV_ADD of EVFILT_PROC: ESRCH, as of a process that exits */
#define KQUEUE_SHIM_EARLY 1       /* NOTE_EXIT before the process is waitable */
#define KQUEUE_SHIM_STALE 2       /* a timer that is set has fired just before */
#define KQUEUE_SHIM_INTERRUPTED 3 /* EINTR, with the changes made */
#define KQUEUE_SHIM_NO_MEMORY 4   /* EV_ADD of something new: ENOMEM */

#ifdef __cplusplus
extern "C" {
#endif

int kqueue_shim_force(int what, unsigned times);
unsigned kqueue_shim_forced(int what);
int kqueue_shim_exit_early(int pid);
void kqueue_shim_sweep(void);

#ifdef __cplusplus
}
#endif

#endif

/* Children are awaited by one queue, as a supervisor does; then each is reaped by its pid. */
#include <sys/event.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define CHILDREN 32

int
main(void)
{
	pid_t pids[CHILDREN];
	struct kevent change, event;
	int queue = kqueue();
	CHECK(queue >= 0);
	for (int i = 0; i < CHILDREN; i++) {
		pids[i] = fork();
		CHECK(pids[i] >= 0);
		if (pids[i] == 0)
			_exit(i);
		EV_SET(&change, pids[i], EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, &pids[i]);
		CHECK(kevent(queue, &change, 1, NULL, 0, NULL) == 0);
	}
	for (int seen = 0; seen < CHILDREN; seen++) {
		int status;
		CHECK(kevent(queue, NULL, 0, &event, 1, NULL) == 1);
		CHECK(event.filter == EVFILT_PROC && (event.fflags & NOTE_EXIT));
		CHECK(event.flags & EV_EOF);
		pid_t *pid = event.udata;
		CHECK(pid >= pids && pid < pids + CHILDREN && (uintptr_t)*pid == event.ident);
		CHECK(WIFEXITED(event.data) && WEXITSTATUS(event.data) == pid - pids);
		CHECK(waitpid(*pid, &status, WNOHANG) == *pid);
		CHECK(status == event.data);
	}
	struct timespec now = { 0, 0 };
	CHECK(kevent(queue, NULL, 0, &event, 1, &now) == 0);
	EV_SET(&change, pids[0], EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
	CHECK(kevent(queue, &change, 1, NULL, 0, NULL) == -1 && errno == ESRCH);
	puts("children: all told and reaped");
	return 0;
}

/* What KQUEUE_SHIM_FORCE asks for: here `interrupted/2,early/1,gone/3`. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "kqueue_shim.h"

int
main(void)
{
	struct kevent change, event;
	struct timespec now = { 0, 0 };
	int queue = kqueue();
	CHECK(queue >= 0);
	CHECK(kevent(queue, NULL, 0, &event, 1, &now) == 0);
	CHECK(kevent(queue, NULL, 0, &event, 1, &now) == -1 && errno == EINTR);
	for (int i = 1; i <= 3; i++) {
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0)
			for (;;)
				pause();
		EV_SET(&change, child, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
		int told = kevent(queue, &change, 1, NULL, 0, NULL);
		if (i == 3) {
			CHECK(told == -1 && errno == ESRCH);
		} else {
			CHECK(told == 0);
			while (kevent(queue, NULL, 0, &event, 1, NULL) != 1)
				CHECK(errno == EINTR);
			CHECK((pid_t)event.ident == child && waitpid(child, NULL, WNOHANG) == 0);
		}
		CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	}
	CHECK(kqueue_shim_forced(KQUEUE_SHIM_EARLY) == 2 && kqueue_shim_forced(KQUEUE_SHIM_GONE) == 1);
	puts("forced: as asked");
	return 0;
}

/* Bytes pass through a child, `cat`, with a limit of time: pipes, a process and a timer in one queue. */
#include <fcntl.h>
#include <sys/event.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define BYTES 1000000

int
main(void)
{
	int in[2], out[2], open_things = 3;
	size_t written = 0, got = 0;
	static char buffer[BYTES];
	struct kevent changes[4], events[4];

	CHECK(pipe(in) == 0 && pipe(out) == 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[0]), close(in[1]), close(out[0]), close(out[1]);
		execl("/bin/cat", "cat", (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	CHECK(fcntl(in[1], F_SETFL, O_NONBLOCK) == 0);
	int queue = kqueue();
	CHECK(queue >= 0);
	EV_SET(&changes[0], in[1], EVFILT_WRITE, EV_ADD, 0, 0, NULL);
	EV_SET(&changes[1], out[0], EVFILT_READ, EV_ADD, 0, 0, NULL);
	EV_SET(&changes[2], child, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
	EV_SET(&changes[3], 1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_SECONDS, 300, NULL);
	int count = 4;
	while (open_things > 0) {
		int told = kevent(queue, changes, count, events, 4, NULL);
		count = 0;
		CHECK(told > 0);
		for (int i = 0; i < told; i++) {
			CHECK(!(events[i].flags & EV_ERROR));
			switch (events[i].filter) {
			case EVFILT_WRITE: {
				CHECK(events[i].data > 0);
				size_t left = BYTES - written;
				ssize_t done = write(in[1], buffer, left < (size_t)events[i].data ? left : (size_t)events[i].data);
				CHECK(done > 0);
				written += done;
				if (written == BYTES) {
					/* Closing takes the knote along. */
					close(in[1]);
					open_things--;
				}
				break;
			}
			case EVFILT_READ: {
				ssize_t done = read(out[0], buffer, BYTES);
				CHECK(done >= 0);
				got += done;
				if (done == 0) {
					CHECK(events[i].flags & EV_EOF);
					close(out[0]);
					open_things--;
				}
				break;
			}
			case EVFILT_PROC:
				CHECK(events[i].data == 0 && waitpid(child, NULL, 0) == child);
				open_things--;
				break;
			default:
				CHECK(!"the time is over");
			}
		}
	}
	CHECK(got == BYTES);
	puts("copy: every byte came back");
	return 0;
}

/* What a queue leaves behind: nothing, once its number was closed; and nothing of it is inherited. */
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "kqueue_shim.h"

static int
descriptors(void)
{
	int count = 0;
	DIR *directory = opendir("/proc/self/fd");
	CHECK(directory != NULL);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

int
main(void)
{
	struct kevent changes[3], event;
	int before = descriptors();
	int queue = kqueue();
	CHECK(queue >= 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		/* A queue is of the process that made it. */
		int told = kevent(queue, NULL, 0, &event, 1, NULL);
		_exit(told == -1 && errno == EBADF ? 0 : 1);
	}
	EV_SET(&changes[0], child, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
	EV_SET(&changes[1], 1, EVFILT_TIMER, EV_ADD, NOTE_SECONDS, 3600, NULL);
	EV_SET(&changes[2], 1, EVFILT_USER, EV_ADD, 0, 0, NULL);
	CHECK(kevent(queue, changes, 3, &event, 1, NULL) == 1);
	CHECK(event.filter == EVFILT_PROC && event.data == 0);
	CHECK(waitpid(child, NULL, 0) == child);
	CHECK(descriptors() > before);

	close(queue);
	CHECK(kevent(queue, NULL, 0, &event, 1, NULL) == -1 && errno == EBADF);
	kqueue_shim_sweep();
	CHECK(descriptors() == before);

	/* The number's next owner is not taken for the one before. */
	queue = kqueue();
	EV_SET(&changes[0], 1, EVFILT_TIMER, EV_DELETE, 0, 0, NULL);
	CHECK(kevent(queue, changes, 1, NULL, 0, NULL) == -1 && errno == ENOENT);
	close(queue);
	int other = kqueue();
	CHECK(other == queue);
	close(other);
	kqueue_shim_sweep();
	CHECK(descriptors() == before);
	puts("lifetime: nothing is left");
	return 0;
}

/* Timers: a period, one shot, one that is replaced; and a user event from another thread. */
#include <poll.h>
#include <pthread.h>
#include <sys/event.h>

#include "check.h"

static int queue;

static void *
trigger(void *unused)
{
	struct kevent change;
	(void)unused;
	EV_SET(&change, 42, EVFILT_USER, 0, NOTE_TRIGGER | NOTE_FFCOPY | 5, 17, NULL);
	CHECK(kevent(queue, &change, 1, NULL, 0, NULL) == 0);
	return NULL;
}

int
main(void)
{
	struct kevent change, event;
	pthread_t thread;
	queue = kqueue();
	CHECK(queue >= 0);
	EV_SET(&change, 1, EVFILT_TIMER, EV_ADD, 0, 1, "period");
	CHECK(kevent(queue, &change, 1, NULL, 0, NULL) == 0);
	for (int i = 0; i < 5; i++) {
		struct pollfd poll_entry = { .fd = queue, .events = POLLIN };
		CHECK(poll(&poll_entry, 1, -1) == 1 && poll_entry.revents == POLLIN);
		CHECK(kevent(queue, NULL, 0, &event, 1, NULL) == 1);
		CHECK(event.ident == 1 && event.data >= 1 && strcmp(event.udata, "period") == 0);
	}
	/* Once, in an hour; then once, in a microsecond, in its place. */
	EV_SET(&change, 1, EVFILT_TIMER, EV_DELETE, 0, 0, NULL);
	CHECK(kevent(queue, &change, 1, NULL, 0, NULL) == 0);
	EV_SET(&change, 1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_SECONDS, 3600, NULL);
	CHECK(kevent(queue, &change, 1, NULL, 0, NULL) == 0);
	EV_SET(&change, 1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_USECONDS, 1, NULL);
	CHECK(kevent(queue, &change, 1, &event, 1, NULL) == 1);
	CHECK(event.data == 1);
	EV_SET(&change, 1, EVFILT_TIMER, EV_DELETE, 0, 0, NULL);
	CHECK(kevent(queue, &change, 1, &event, 1, NULL) == 1);
	CHECK(event.flags & EV_ERROR && event.data == ENOENT);

	EV_SET(&change, 42, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, NULL);
	CHECK(kevent(queue, &change, 1, NULL, 0, NULL) == 0);
	CHECK(pthread_create(&thread, NULL, trigger, NULL) == 0);
	CHECK(kevent(queue, NULL, 0, &event, 1, NULL) == 1);
	CHECK(event.ident == 42 && event.fflags == 5 && event.data == 17);
	pthread_join(thread, NULL);
	puts("timers: each at its turn");
	return 0;
}

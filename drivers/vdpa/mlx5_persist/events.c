/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <mlx5_prm.h>
#include <rte_common.h>

#include "events.h"
#include "hw.h"
#include "mlx5p_log.h"

/* What an epoll event is about: kind in the upper half, queue or timer in the lower. */
enum { WAKE_SELF = 1, WAKE_COMPLETION, WAKE_ERROR, WAKE_KICK, WAKE_TIMER };
#define WAKE(kind, queue) ((uint64_t)(kind) << 32 | (queue))

enum { CALLS_PER_WORD = 64, NS_PER_S = 1000000000 };

struct mlx5p_events {
	const struct mlx5p_hw *hw;
	struct mlx5p_event_handlers handlers;
	void *arg;
	struct mlx5dv_devx_event_channel *completions, *errors;
	struct mlx5p_pace pace;    /* the thread's */
	int epoll;
	int timers[MLX5P_TIMERS];  /* timerfds */
	int self;                  /* eventfd: look at the following */
	atomic_bool leave;
	_Atomic uint64_t calls[MLX5P_MAX_QUEUES / CALLS_PER_WORD]; /* a bit a queue to be called */
	pthread_t thread;
	bool running;
};

/* ---- the thread ---- */

/* Read all events of a channel. Its cookies are queue indices. */
static void
drain_channel(struct mlx5p_events *ev, struct mlx5dv_devx_event_channel *channel,
		void (*handler)(void *arg, uint16_t queue))
{
	union {
		struct mlx5dv_devx_async_event_hdr hdr;
		uint8_t room[sizeof(struct mlx5dv_devx_async_event_hdr) + 128];
	} event;
	ssize_t n;

	for (;;) {
		n = mlx5dv_devx_get_event(channel, &event.hdr, sizeof(event));
		if (n < (ssize_t)sizeof(event.hdr.cookie))
			return; /* EAGAIN: the channels do not block */
		handler(ev->arg, event.hdr.cookie);
	}
}

static void
run_calls(struct mlx5p_events *ev)
{
	eventfd_t ignored;
	uint64_t calls;
	size_t i;

	eventfd_read(ev->self, &ignored);
	for (i = 0; i < RTE_DIM(ev->calls); i++) {
		calls = atomic_exchange(&ev->calls[i], 0);
		for (; calls != 0; calls &= calls - 1)
			ev->handlers.call(ev->arg, i * CALLS_PER_WORD + __builtin_ctzll(calls));
	}
}

/* A timer that was set anew meanwhile has not expired. */
static void
run_timer(struct mlx5p_events *ev, enum mlx5p_timer timer)
{
	uint64_t expirations;

	if (read(ev->timers[timer], &expirations, sizeof(expirations)) == sizeof(expirations))
		ev->handlers.timer(ev->arg, timer);
}

static void
handle(struct mlx5p_events *ev, uint64_t what)
{
	switch (what >> 32) {
	case WAKE_KICK:
		ev->handlers.kick(ev->arg, what);
		break;
	case WAKE_COMPLETION:
		drain_channel(ev, ev->completions, ev->handlers.completion);
		mlx5p_pace_traffic(&ev->pace);
		break;
	case WAKE_ERROR:
		drain_channel(ev, ev->errors, ev->handlers.error);
		break;
	case WAKE_TIMER:
		run_timer(ev, (uint32_t)what);
		break;
	case WAKE_SELF:
		run_calls(ev);
		break;
	}
}

/* Sleep until the next poll is due or something happens, whichever comes first. */
static void
sleep_between_polls(const struct mlx5p_events *ev)
{
	struct pollfd any = { .fd = ev->epoll, .events = POLLIN };
	const struct timespec delay = {
		.tv_sec = ev->pace.delay_us / 1000000,
		.tv_nsec = ev->pace.delay_us % 1000000 * 1000,
	};

	if (ev->pace.delay_us == 0)
		sched_yield(); /* others may share the processor */
	else
		ppoll(&any, 1, &delay, NULL);
}

static void
poll_queues(struct mlx5p_events *ev)
{
	mlx5p_pace_polled(&ev->pace, ev->handlers.poll(ev->arg));
	if (!ev->pace.polling)
		ev->handlers.arm(ev->arg);
}

static void *
event_loop(void *arg)
{
	struct mlx5p_events *ev = arg;
	struct epoll_event wake[32];
	int i, n;

	while (!atomic_load(&ev->leave)) {
		if (ev->pace.polling)
			sleep_between_polls(ev);
		n = epoll_wait(ev->epoll, wake, RTE_DIM(wake), ev->pace.polling ? 0 : -1);
		for (i = 0; i < n; i++)
			handle(ev, wake[i].data.u64);
		if (ev->pace.polling)
			poll_queues(ev);
	}
	return NULL;
}

/* A thread of EAL's main one would be stuck on that one's processor: say where to run. */
static int
start_thread(struct mlx5p_events *ev, int core)
{
	sigset_t all, before;
	cpu_set_t cpus;
	int i, ret;

	CPU_ZERO(&cpus);
	if (core >= 0)
		CPU_SET(core, &cpus);
	else
		for (i = 0; i < CPU_SETSIZE; i++)
			CPU_SET(i, &cpus);
	/* Signals are the application's: they are not for this thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&ev->thread, NULL, event_loop, ev);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret != 0)
		return -ret;
	ev->running = true;
	pthread_setname_np(ev->thread, "mlx5p-events");
	ret = pthread_setaffinity_np(ev->thread, sizeof(cpus), &cpus);
	if (ret != 0)
		MLX5P_LOG(WARNING, ev->hw->name, "event thread stays on its processor: %s",
			strerror(ret));
	return 0;
}

/* ---- set-up ---- */

static int
watch(struct mlx5p_events *ev, int fd, uint32_t how, uint64_t what)
{
	struct epoll_event e = { .events = how, .data.u64 = what };

	return epoll_ctl(ev->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

static int
open_timers(struct mlx5p_events *ev)
{
	size_t i;
	int ret = 0;

	for (i = 0; i < RTE_DIM(ev->timers) && ret == 0; i++) {
		ev->timers[i] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		ret = ev->timers[i] < 0 ? -errno :
			watch(ev, ev->timers[i], EPOLLIN, WAKE(WAKE_TIMER, i));
	}
	return ret;
}

static int
open_channel(struct mlx5p_events *ev, uint64_t kind, struct mlx5dv_devx_event_channel **channel)
{
	int flags;

	/* Cookies tell all that we want to know; without event data a CQ is queued once at most. */
	*channel = mlx5dv_devx_create_event_channel(ev->hw->ctx,
		MLX5DV_DEVX_CREATE_EVENT_CHANNEL_FLAGS_OMIT_EV_DATA);
	if (*channel == NULL)
		return errno ? -errno : -EIO;
	flags = fcntl((*channel)->fd, F_GETFL);
	if (flags < 0 || fcntl((*channel)->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return watch(ev, (*channel)->fd, EPOLLIN, WAKE(kind, 0));
}

int
mlx5p_events_create(const struct mlx5p_hw *hw, int core, const struct mlx5p_pace *pace,
		const struct mlx5p_event_handlers *handlers, void *arg,
		struct mlx5p_events **events)
{
	struct mlx5p_events *ev = calloc(1, sizeof(*ev));
	int ret;

	if (ev == NULL)
		return -ENOMEM;
	*ev = (struct mlx5p_events) {
		.hw = hw, .handlers = *handlers, .arg = arg, .pace = *pace, .self = -1,
	};
	memset(ev->timers, -1, sizeof(ev->timers));
	ev->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (ev->epoll < 0) {
		ret = -errno;
		goto fail;
	}
	ev->self = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ev->self < 0) {
		ret = -errno;
		goto fail;
	}
	ret = watch(ev, ev->self, EPOLLIN, WAKE(WAKE_SELF, 0));
	if (ret == 0)
		ret = open_timers(ev);
	if (ret == 0)
		ret = open_channel(ev, WAKE_COMPLETION, &ev->completions);
	if (ret == 0)
		ret = open_channel(ev, WAKE_ERROR, &ev->errors);
	if (ret == 0)
		ret = start_thread(ev, core);
	if (ret < 0)
		goto fail;
	*events = ev;
	return 0;
fail:
	MLX5P_LOG(ERR, hw->name, "cannot set up events: %s", strerror(-ret));
	mlx5p_events_destroy(ev);
	return ret;
}

void
mlx5p_events_stop(struct mlx5p_events *ev)
{
	if (!ev->running)
		return;
	atomic_store(&ev->leave, true);
	eventfd_write(ev->self, 1);
	pthread_join(ev->thread, NULL);
	ev->running = false;
}

void
mlx5p_events_destroy(struct mlx5p_events *ev)
{
	size_t i;

	if (ev == NULL)
		return;
	mlx5p_events_stop(ev);
	if (ev->errors != NULL)
		mlx5dv_devx_destroy_event_channel(ev->errors);
	if (ev->completions != NULL)
		mlx5dv_devx_destroy_event_channel(ev->completions);
	for (i = 0; i < RTE_DIM(ev->timers); i++) {
		if (ev->timers[i] >= 0)
			close(ev->timers[i]);
	}
	if (ev->self >= 0)
		close(ev->self);
	if (ev->epoll >= 0)
		close(ev->epoll);
	free(ev);
}

/* ---- subscriptions ---- */

static int
subscribe(struct mlx5p_events *ev, struct mlx5dv_devx_event_channel *channel, struct mlx5p_obj *obj,
		uint16_t type, uint16_t queue, const char *what)
{
	uint16_t types[] = { type };
	int ret;

	errno = 0;
	if (mlx5dv_devx_subscribe_devx_event(channel, obj->obj, sizeof(types), types, queue) == 0)
		return 0;
	ret = errno ? -errno : -EIO;
	MLX5P_LOG(ERR, ev->hw->name, "cannot subscribe to events of %s %u: %s", what, queue,
		strerror(-ret));
	return ret;
}

int
mlx5p_events_subscribe_cq(struct mlx5p_events *ev, struct mlx5p_obj *cq, uint16_t queue)
{
	return subscribe(ev, ev->completions, cq, MLX5_EVENT_TYPE_COMP, queue,
		"the CQ of virtqueue");
}

int
mlx5p_events_subscribe_virtq(struct mlx5p_events *ev, struct mlx5p_obj *virtq, uint16_t queue)
{
	return subscribe(ev, ev->errors, virtq, MLX5_EVENT_TYPE_OBJECT_CHANGE, queue, "virtqueue");
}

int
mlx5p_events_kick_add(struct mlx5p_events *ev, int fd, uint16_t queue)
{
	/* Edge-triggered, and never read: each write of the guest is an edge, and a descriptor
	 * that a hostile front-end made can't block us. */
	return watch(ev, fd, EPOLLIN | EPOLLET, WAKE(WAKE_KICK, queue));
}

void
mlx5p_events_kick_del(struct mlx5p_events *ev, int fd)
{
	epoll_ctl(ev->epoll, EPOLL_CTL_DEL, fd, NULL);
}

void
mlx5p_events_timer(struct mlx5p_events *ev, enum mlx5p_timer timer, uint64_t when_ns)
{
	const struct itimerspec when = { .it_value = {
		.tv_sec = when_ns / NS_PER_S, .tv_nsec = when_ns % NS_PER_S,
	} };

	timerfd_settime(ev->timers[timer], TFD_TIMER_ABSTIME, &when, NULL);
}

void
mlx5p_events_call(struct mlx5p_events *ev, uint16_t queue)
{
	atomic_fetch_or(&ev->calls[queue / CALLS_PER_WORD], UINT64_C(1) << queue % CALLS_PER_WORD);
	eventfd_write(ev->self, 1);
}

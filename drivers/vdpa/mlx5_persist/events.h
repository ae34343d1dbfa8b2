/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event thread of a device.
 *
 * Owns: one thread and what wakes it: the card's completion channel (a CQ got an entry: the guest
 * is to be notified), its error channel (a virtqueue went to error), the kick descriptors of the
 * guest (a queue is to be rung), requests to call a guest, and timers. In the timer modes of
 * pace.h it polls while there is traffic; else it sleeps. It runs from probe to remove, on all
 * processors or on event_core.
 *
 * Handlers run on this thread. They may take the device's lock, which is why nobody may wait for
 * the thread, with mlx5p_events_stop(), while holding that.
 */
#ifndef MLX5P_EVENTS_H
#define MLX5P_EVENTS_H

#include <stdint.h>

#include "devx.h"
#include "pace.h"

struct mlx5p_hw;
struct mlx5p_events;

/* What time is kept for, each by itself. */
enum mlx5p_timer {
	MLX5P_TIMER_MEMORY,          /* pins wait no more */
	MLX5P_TIMER_AHEAD,           /* queues are made ready for the next start */
	MLX5P_TIMERS,
};

struct mlx5p_event_handlers {
	void (*completion)(void *arg, uint16_t queue); /* its CQ raised an event */
	void (*error)(void *arg, uint16_t queue);
	void (*kick)(void *arg, uint16_t queue);
	void (*call)(void *arg, uint16_t queue);
	void (*timer)(void *arg, enum mlx5p_timer timer); /* its time has come */
	uint32_t (*poll)(void *arg); /* all CQs; returns the number of completions of the busiest */
	void (*arm)(void *arg);      /* all CQs */
};

/* The vhost library takes at most this many rings of a connection; its header does not tell. */
#define MLX5P_MAX_QUEUES 256u

/** Create the channels and start the thread. @p core: processor to run on, -1: any. @p pace is
 * copied. @return 0, or a negative errno, logged; then nothing is left. */
int mlx5p_events_create(const struct mlx5p_hw *hw, int core, const struct mlx5p_pace *pace,
		const struct mlx5p_event_handlers *handlers, void *arg,
		struct mlx5p_events **events);

/** Stop the thread: no handler runs any more. */
void mlx5p_events_stop(struct mlx5p_events *events);

/** Stop the thread and free. Every object that was subscribed is gone, every kick removed. */
void mlx5p_events_destroy(struct mlx5p_events *events);

/** Completion events of a CQ mean queue @p queue. Ends with the CQ. @return 0 or a negative
 * errno. */
int mlx5p_events_subscribe_cq(struct mlx5p_events *events, struct mlx5p_obj *cq, uint16_t queue);

/** Error events of a virtqueue object mean queue @p queue. Ends with the object. */
int mlx5p_events_subscribe_virtq(struct mlx5p_events *events, struct mlx5p_obj *virtq,
		uint16_t queue);

/** Watch a kick descriptor. @return 0, or a negative errno (-EPERM: not a file that can be waited
 * for). */
int mlx5p_events_kick_add(struct mlx5p_events *events, int fd, uint16_t queue);

/** Stop watching. A handler that has begun may still run: it finds the queue stopped under its
 * lock. */
void mlx5p_events_kick_del(struct mlx5p_events *events, int fd);

/** Have the thread call the timer's handler as soon as CLOCK_MONOTONIC reads @p when_ns; 0: not at
 * all. Replaces what was said of @p timer before, but for a handler that has begun. */
void mlx5p_events_timer(struct mlx5p_events *events, enum mlx5p_timer timer, uint64_t when_ns);

/** Have the thread call the guest of a queue. */
void mlx5p_events_call(struct mlx5p_events *events, uint16_t queue);

#endif /* MLX5P_EVENTS_H */

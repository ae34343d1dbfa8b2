/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is done for queues between a stop and the next start, so that the start has less to do.
 *
 * Owns: when that is and what it is: queues made ready before a front-end comes, stopped ones set
 * back to where a ring starts from scratch, and ones that can't go on made anew. All of it is done
 * in the background, on the configuration threads, by two jobs, and a timer of the event thread
 * begins what waits for its time. While a job is under way, the queues that it is about are its:
 * whoever touches queues waits for it, or calls it off, with mlx5p_ahead_end().
 *
 * Locking: the device's lock.
 */
#ifndef MLX5P_AHEAD_H
#define MLX5P_AHEAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "round.h"
#include "workers.h"

struct mlx5p_args;
struct mlx5p_queues;

/* A part of struct mlx5p_queues. */
struct mlx5p_ahead {
	uint32_t count;            /* the first so many are made before a front-end comes... */
	uint16_t size;             /* ...for rings of this size */
	uint32_t after_ms;         /* a reset or the connection's end, it is time; 0: never */
	uint64_t at;               /* CLOCK_MONOTONIC in ns; 0: not */
	bool vacant;               /* no front-end: it is queues that are to be made then */

	/* Stopped queues are changed. It owns those that it has begun, until mlx5p_ahead_end()
	 * takes them all. */
	struct mlx5p_job rewinding;
	struct mlx5p_round to_rewind;

	/* Queues are made, ahead or anew. It owns them until it is waited for. */
	struct mlx5p_job making;
	atomic_bool hurry;         /* somebody waits: nothing more is made ahead */
	bool renewal_due;          /* not begun yet */
	uint32_t renew_mkey, renew_ring_mkey;
	uint32_t renewed;          /* the one of mlx5p_ahead_renew_one() */
	uint32_t keeper;           /* a receive queue that the table lists meanwhile */
};

/* ---- for the device ---- */

/** Wait for what is made in the background. */
void mlx5p_queues_settle(struct mlx5p_queues *queues);

/** Make ready what the arguments queues and queue_size ask for, steering included. What is there
 * is left alone. @return 0 or a negative errno, logged. */
int mlx5p_queues_prepare(struct mlx5p_queues *queues);

/** The connection is gone, and with it what is known of its rings. Unless another one comes soon,
 * have the event thread's timer ask for mlx5p_queues_get_ahead(). */
void mlx5p_queues_vacate(struct mlx5p_queues *queues);

/** After a reset: where stopped queues can't go on, make others in their place, in the background,
 * for rings in the memory of these keys, 0 if it is not known. That begins when the front-end wants
 * no queue any more, so that it takes nothing from the stop itself. */
void mlx5p_queues_renew(struct mlx5p_queues *queues, uint32_t mkey, uint32_t ring_mkey);

/** The guest reset the device, and all queues stand: their next start is likely to be that of rings
 * that begin from scratch. Unless it comes soon, have the event thread's timer ask for
 * mlx5p_queues_get_ahead(). */
void mlx5p_queues_rewind_later(struct mlx5p_queues *queues);

/** If it is time: begin in the background what gives the next start less to do. Without a front-end,
 * make ready as many queues as the last one used, and what mlx5p_queues_prepare() does; a failure is
 * logged. After a reset, change in stopped queues what their next start is most likely to change.
 * Whatever touches queues calls that off, and waits for commands under way alone. */
void mlx5p_queues_get_ahead(struct mlx5p_queues *queues);

/* ---- for queues.c ---- */

void mlx5p_ahead_init(struct mlx5p_queues *queues, const struct mlx5p_args *args);

/** All queues are the caller's, who calls this before it touches any. What is changed or made ahead
 * of a start has no time left; what is made anew is needed in any case. */
void mlx5p_ahead_end(struct mlx5p_queues *queues);

/** Likewise for a start: nothing is due any more. */
void mlx5p_ahead_start(struct mlx5p_queues *queues);

/** Nothing is to be made anew after all. */
void mlx5p_ahead_forget_renewal(struct mlx5p_queues *queues);

/** The front-end wants less than it did: if it wants nothing any more, begin what is due. */
void mlx5p_ahead_unwanted(struct mlx5p_queues *queues);

/** Wait until queues that run, and those beside them, are the caller's. */
void mlx5p_ahead_wait(struct mlx5p_queues *queues);

/** A ring was switched off, alone, and its queue can't go on: begin to make another in its place,
 * for where it stopped. After mlx5p_ahead_wait(). */
void mlx5p_ahead_renew_one(struct mlx5p_queues *queues, uint16_t queue);

#endif /* MLX5P_AHEAD_H */

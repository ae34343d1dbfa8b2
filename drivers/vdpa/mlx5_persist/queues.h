/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtqueues of a device.
 *
 * Owns: all of them, which of them a front-end wants to run, the order in which they start and
 * stop, and the steering of packets to receive queues that run.
 *
 * Receive queues start first and stop last, so that nothing that a transmit queue sends meets one
 * that stands. What they are told of a stop goes to the vhost library, which keeps a ring's index
 * from one start to the next.
 *
 * What can be done after a stop, or before the next start, is ahead.h's. Functions that touch queues
 * wait for it first, or call it off.
 *
 * Locking: the device's lock, but for the functions of the event thread at the end.
 */
#ifndef MLX5P_QUEUES_H
#define MLX5P_QUEUES_H

#include <stdbool.h>
#include <stdint.h>

#include "virtq.h"

struct mlx5p_args;
struct mlx5p_queues;
struct mlx5p_workers;
struct vhost_iotlb;
struct vhost_iotlb_user;

/* What queues need to know of a connection. */
struct mlx5p_conn {
	int vid;
	const struct vhost_iotlb *maps;
	const struct vhost_iotlb_user *user; /* says where rings are, in I/O addresses; NULL: maps do */
	struct mlx5p_guest guest;
};

/** As many as the card has, worked on by @p workers. @return 0, or -ENOMEM; then nothing is
 * left. */
int mlx5p_queues_create(struct mlx5p_hw *hw, struct mlx5p_events *events,
		struct mlx5p_workers *workers, const struct mlx5p_args *args,
		struct mlx5p_queues **queues);

/** All are stopped, and the event thread is, too. NULL is allowed. */
void mlx5p_queues_destroy(struct mlx5p_queues *queues);

/** How many there are: an even number. */
uint32_t mlx5p_queues_count(const struct mlx5p_queues *queues);

/** How many run. */
uint32_t mlx5p_queues_running(const struct mlx5p_queues *queues);

/** How many queue objects were made since the probe. */
uint64_t mlx5p_queues_made(const struct mlx5p_queues *queues);

/** Is a queue that stopped resumed at its next start? */
bool mlx5p_queues_resume(const struct mlx5p_queues *queues);

/** One of them. */
struct mlx5p_virtq *mlx5p_queues_get(struct mlx5p_queues *queues, uint16_t queue);

/** Start those that the front-end wants. @return 0, or a negative errno, logged; some may run
 * then. */
int mlx5p_queues_start(struct mlx5p_queues *queues, const struct mlx5p_conn *conn);

/** Stop all that run. What was down is stopped, too. */
void mlx5p_queues_stop(struct mlx5p_queues *queues);

/** Stop all that run for a while: mlx5p_queues_go_on() ends that. What is down stays down. */
void mlx5p_queues_stand(struct mlx5p_queues *queues);

/** Destroy the objects of stopped queues that know a memory key, and end reception. Queues that are
 * wanted from here on wait for a key, until mlx5p_queues_go_on() or a start. */
void mlx5p_queues_drop(struct mlx5p_queues *queues);

/** Destroy stopped objects that still know other memory keys than these. */
void mlx5p_queues_drop_stale(struct mlx5p_queues *queues, uint32_t mkey, uint32_t ring_mkey);

/** Connection @p vid wants a queue to run, or no more; @p now: do it. Packets go elsewhere before
 * a receive queue stops. Remembers that of two connections, because the next one may begin
 * before the end of the last is noticed. @return 0 or a negative errno, logged. */
int mlx5p_queues_want(struct mlx5p_queues *queues, int vid, uint16_t queue, bool on, bool now);

/** Connection @p vid is gone: it wants nothing. */
void mlx5p_queues_want_none(struct mlx5p_queues *queues, int vid);

/** Switch all that run to other memory keys; stopped ones that know another one are destroyed. A
 * queue keeps its object where the card can change the key, and stands for three commands. One
 * that does not come back is down until the next reset; one whose ring is not mapped any more is
 * stopped.
 * @return true: no queue knows another key any more; false: none runs, and nothing was done. */
bool mlx5p_queues_set_mkey(struct mlx5p_queues *queues, uint32_t mkey, uint32_t ring_mkey);

/** Start those that the front-end wants, has a ring for, and that stand: there was no memory key or
 * no map of the ring, and now there are these keys, as in set_mkey. A failure is that queue's own. */
void mlx5p_queues_go_on(struct mlx5p_queues *queues, uint32_t mkey, uint32_t ring_mkey);

/** The card said that a queue is in error. */
void mlx5p_queues_recover(struct mlx5p_queues *queues, uint16_t queue);

/** Have all that run mark their writes in @p bitmap, and those that start later. A queue that can't
 * goes down. */
void mlx5p_queues_set_bitmap(struct mlx5p_queues *queues, const struct mlx5p_bitmap *bitmap);

/** Event thread: take completions of all queues, telling their guests. @return the most of one
 * queue. */
uint32_t mlx5p_queues_poll(struct mlx5p_queues *queues);

/** Event thread: ask for an event at the next completion of each queue. */
void mlx5p_queues_arm(struct mlx5p_queues *queues);

#endif /* MLX5P_QUEUES_H */

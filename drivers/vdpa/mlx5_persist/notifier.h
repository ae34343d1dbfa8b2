/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host notifiers: the card's doorbell page in the guest's own hands, so that a kick costs no exit
 * to this process.
 *
 * Owns: the thread that offers the page to the front-end. The vhost library sends the offer and
 * waits for the answer, for as long as the front-end likes; a front-end that is busy with a message
 * to us, as QEMU is in a stop, can't answer before we did. So it is a thread of its own, and a stop
 * that finds it waiting too long ends the thread instead. The library's lock on that channel is
 * lost with it: the connection gets no further offers then.
 *
 * A front-end takes the page away from the guest when it stops a ring, so an offer is made after
 * every start, at a queue's first kick: one that never kicks needs none. Doorbells of a stopped
 * queue start nothing and are harmless: we take nothing away.
 *
 * A queue whose offer was refused gets no other one, of no connection: QEMU refuses without
 * page-per-vq=on, and a second offer then makes QEMU 7.2 write to memory that it has
 * freed. A connection that comes back may be that QEMU again.
 *
 * Threads: begin, end and destroy are calls of the holder of the device's lock; want() is the event
 * thread's. The thread takes no lock of the driver but its own.
 */
#ifndef MLX5P_NOTIFIER_H
#define MLX5P_NOTIFIER_H

#include <stdint.h>

struct mlx5p_notifier;

/** @p name: the device's, for messages. NULL if there is no memory. */
struct mlx5p_notifier *mlx5p_notifier_create(const char *name);

/** No connection runs. NULL is allowed. */
void mlx5p_notifier_destroy(struct mlx5p_notifier *notifier);

/** Queues of connection @p vid run from here on. */
void mlx5p_notifier_begin(struct mlx5p_notifier *notifier, int vid);

/** Offer the page for a queue, if one runs. */
void mlx5p_notifier_want(struct mlx5p_notifier *notifier, uint16_t queue);

/** The queues stop: nothing of the connection is used when this returns. */
void mlx5p_notifier_end(struct mlx5p_notifier *notifier);

/** The connection is gone: the next one is another, whatever its number. */
void mlx5p_notifier_forget(struct mlx5p_notifier *notifier);

#endif /* MLX5P_NOTIFIER_H */

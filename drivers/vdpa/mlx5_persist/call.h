/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's interrupt: the call descriptor of a virtqueue.
 *
 * Owns: a duplicate of the descriptor that the front-end sent, and the guarantee that signalling it
 * hurts nobody but its sender. It comes from another process, which may have sent anything and
 * shares the open file:
 * - only an eventfd is taken: pipes raise signals, and files are not written to;
 * - it is written to when it says that there is room, never by a thread that serves others, and
 *   with no lock held. A front-end that fills its eventfd in the very moment between can stop the
 *   event thread of its own device, nothing else.
 *
 * Threads: any. Counted references: who signals holds one, so that a queue may stop meanwhile.
 */
#ifndef MLX5P_CALL_H
#define MLX5P_CALL_H

struct mlx5p_call;

/** Take over @p fd, which stays the caller's.
 * @return 0; -EBADF: no eventfd; or a negative errno. */
int mlx5p_call_open(int fd, struct mlx5p_call **call);

/** Another reference. NULL gives NULL. */
struct mlx5p_call *mlx5p_call_get(struct mlx5p_call *call);

/** Give a reference back; the last one closes. NULL is allowed. */
void mlx5p_call_put(struct mlx5p_call *call);

/** Interrupt the guest, unless its eventfd is full: then it has interrupts to take already. */
void mlx5p_call_signal(struct mlx5p_call *call);

#endif /* MLX5P_CALL_H */

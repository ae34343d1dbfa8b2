/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which way a queue comes back after a reset: the cheapest that the card's capabilities allow.
 *
 * Owns: what follows from them, and the words for it.
 *
 *	resume	The suspended object stays and goes on. It takes one modify, of state and of what
 *		differs, as far as the card can change that; else the object is made anew on the
 *		path. Needs freeze_to_rdy_supported, and virtio_q_index_modify, because a reset
 *		ends at another index than it begins with.
 *	renew	The object is destroyed after the stop and another one made in its place, in the
 *		background, for the ring that it had, at index 0, where a reset begins. If that
 *		is where it starts, or the card can change what differs, it takes one modify;
 *		else it is made anew once more, on the path.
 *
 * What a card can change in an object that does not run: addresses (virtio_net_q_addr_modify),
 * indices (virtio_q_index_modify); memory key, features, ring type, moderation (vnet_modify_ext).
 *
 * Threads: pure functions.
 */
#ifndef MLX5P_PATH_H
#define MLX5P_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mlx5p_caps;

/** MLX5_VIRTQ_MODIFY_* that a modify of an object that does not run may select. */
uint64_t mlx5p_path_changeable(const struct mlx5p_caps *caps);

/** Is "resume" possible? */
bool mlx5p_path_resumes(const struct mlx5p_caps *caps);

/**
 * Say which path a card with @p caps goes, and which capabilities would make it better.
 * @param reuse is the driver argument reuse_queues.
 * @return true: there is none better.
 */
bool mlx5p_path_describe(const struct mlx5p_caps *caps, bool reuse, char *text, size_t len);

#endif /* MLX5P_PATH_H */

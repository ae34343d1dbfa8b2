/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The virtqueues of a device, as the files see them that work on them: queues.c, which owns them,
 * and ahead.c and round.c, which do so on its behalf. Nobody else includes this.
 *
 * Locking: as in queues.h.
 */
#ifndef MLX5P_QUEUES_INSIDE_H
#define MLX5P_QUEUES_INSIDE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ahead.h"
#include "queues.h"
#include "virtq.h"
#include "wants.h"

struct mlx5p_reception;
struct mlx5p_workers;

struct mlx5p_queues {
	struct mlx5p_virtq_env env;
	struct mlx5p_workers *workers;
	struct mlx5p_reception *reception;
	struct mlx5p_virtq *virtqs;
	uint32_t n;
	struct mlx5p_wants wants;
	atomic_uint top;           /* queues from here on never had an event queue */
	struct mlx5p_conn conn;    /* of the last start */
	struct mlx5p_ahead ahead;  /* ahead.c's */
};

/* virtio-net: even queues receive, odd ones transmit (virtio 1.2, section 5.1.2). */
static inline bool
mlx5p_is_receive(uint32_t queue)
{
	return queue % 2 == 0;
}

/** The objects of receive queues in @p state, @p without left out. @return how many. */
uint32_t mlx5p_queues_receivers(const struct mlx5p_queues *queues, enum mlx5p_virtq_state state,
		const struct mlx5p_virtq *without, uint32_t *ids);

/** Lead packets to those. @return 0 or a negative errno, logged. */
int mlx5p_queues_steer(struct mlx5p_queues *queues, enum mlx5p_virtq_state state,
		const struct mlx5p_virtq *without);

/** The event thread looks at this queue from here on. */
void mlx5p_queues_watch(struct mlx5p_queues *queues, uint16_t queue);

#endif /* MLX5P_QUEUES_INSIDE_H */

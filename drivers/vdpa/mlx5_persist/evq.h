/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Event queue of one virtqueue: how the card tells us that descriptors completed.
 *
 * Owns: a completion queue and a pair of queue pairs. Firmware sends from its QP when the guest is
 * to be notified; our QP receives, which completes into the CQ; an armed CQ raises an event on the
 * device's event channel. The CQ is collapsed: entry 0 always holds the newest completion, and its
 * WQE counter tells how many there were.
 *
 * All of it lives on through virtio resets. Destroying the virtqueue object puts the firmware QP
 * into error: mlx5p_evq_reset() brings the pair back.
 *
 * Locking: the virtqueue's lock.
 */
#ifndef MLX5P_EVQ_H
#define MLX5P_EVQ_H

#include <stdbool.h>
#include <stdint.h>

#include "devx.h"
#include "umem.h"

struct mlx5p_hw;

struct mlx5p_evq {
	struct mlx5p_umem cq_mem, rq_mem; /* entries, then a doorbell record */
	struct mlx5p_obj cq, fw_qp, sw_qp;
	uint32_t log_size;         /* entries of the CQ, receive WQEs of our QP */
	uint32_t cq_ci;            /* completions taken, 24 bits count */
	uint16_t rq_ci;            /* receive WQEs consumed */
	uint32_t arm_sn;
	bool armed;                /* an event was asked for and not seen yet */
};

/** Create everything, with @p size entries (a power of two), in RTS. The CQ is not armed yet:
 * subscribe to its event first. @return 0 or a negative errno, then nothing is left. */
int mlx5p_evq_create(const struct mlx5p_hw *hw, struct mlx5p_evq *evq, uint32_t size);

void mlx5p_evq_destroy(const struct mlx5p_hw *hw, struct mlx5p_evq *evq);

static inline bool
mlx5p_evq_exists(const struct mlx5p_evq *evq)
{
	return mlx5p_obj_exists(&evq->cq);
}

/** Take both QPs through reset to RTS again. @return 0 or a negative errno. */
int mlx5p_evq_reset(const struct mlx5p_hw *hw, struct mlx5p_evq *evq);

/** Take completions. @return how many there were. */
uint32_t mlx5p_evq_poll(struct mlx5p_evq *evq);

/** Ask for an event at the next completion (or now, if one came since the last poll). */
void mlx5p_evq_arm(const struct mlx5p_hw *hw, struct mlx5p_evq *evq);

#endif /* MLX5P_EVQ_H */

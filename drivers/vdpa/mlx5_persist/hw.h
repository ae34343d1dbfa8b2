/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The opened card: what every part of the driver builds its objects on.
 *
 * Owns: the verbs context, protection domain, capabilities, UAR page, doorbell page (VAR),
 * transport domain and TISes. Opened at probe and closed at remove, constant in between: read it
 * from any thread without a lock.
 */
#ifndef MLX5P_HW_H
#define MLX5P_HW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/mlx5dv.h>

#include "devx.h"

#define MLX5P_MAX_LAG_PORTS 16

struct mlx5p_hw {
	const char *name;              /* of the DPDK device, for messages */
	int numa_node;                 /* the card's, -1 if unknown */
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	uint32_t pdn;
	uint32_t eqn;                  /* event queue of completion vector 0 */
	uint32_t null_mkey;            /* holes of guest memory: every access faults */
	struct ibv_mr *null_mr;
	struct mlx5p_caps caps;
	struct mlx5dv_devx_uar *uar;   /* CQ arm doorbells */
	struct mlx5dv_var *var;        /* virtio doorbells: one word for all queues */
	void *var_page;
	volatile uint32_t *doorbell;   /* the word, in that page */
	struct mlx5p_obj td;
	struct mlx5p_obj tis[MLX5P_MAX_LAG_PORTS];
	uint32_t ntis;
};

/**
 * Find an RDMA device by its name ("mlx5_0") or PCI address ("0000:e1:00.2").
 * @param numa_node gets the card's NUMA node, -1 if the system does not say.
 * @return the opened context, or NULL with errno set (ENODEV: no such device).
 */
struct ibv_context *mlx5p_hw_find(const char *dev, int *numa_node);

/** Say into @p text which RDMA devices there are: "are mlx5_0 (0000:e1:00.2), ...", "are none". */
void mlx5p_hw_list(char *text, size_t len);

/**
 * Set up @p hw on an open context, which it takes over. Says which capability is missing when the
 * card lacks one that the driver can't do without.
 * @return 0, or a negative errno: -ENOTSUP (capability), or what the failing step gave. On failure
 *         nothing is left, the context is closed.
 */
int mlx5p_hw_open(struct mlx5p_hw *hw, const char *name, struct ibv_context *ctx, int numa_node);

/** Undo mlx5p_hw_open(). Every object that was built on it is gone by now. */
void mlx5p_hw_close(struct mlx5p_hw *hw);

/** Ring the doorbell of a virtqueue (virtio_net_q_object.virtio_q_context.queue_index). */
void mlx5p_hw_ring(struct mlx5p_hw *hw, uint16_t queue_index);

#endif /* MLX5P_HW_H */

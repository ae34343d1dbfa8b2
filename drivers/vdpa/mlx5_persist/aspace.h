/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Layer 2 of memory: the guest's address space.
 *
 * Owns: one indirect memory key (KLM) over guest physical addresses, whose entries address parts of
 * pins (pins.h), with the null key in the holes; and this driver's side of the contract of
 * vhost_iotlb_dev.h (the parent's operations on maps). A virtio reset touches neither layer.
 *
 * The initial mapping is empty: there is no key, and no queue runs without one.
 *
 * Changing maps makes a new key beside the old one. The old key and the pins that it alone needs
 * stay until mlx5p_aspace_reap(), which the owner calls once no queue uses the old key any more.
 *
 * Locking: none; the caller serialises (configuration calls of one device).
 */
#ifndef MLX5P_ASPACE_H
#define MLX5P_ASPACE_H

#include <stdint.h>

#include <vhost_iotlb.h>

#include "pins.h"

struct mlx5p_aspace;

struct mlx5p_aspace *mlx5p_aspace_create(const struct mlx5p_hw *hw, enum mlx5p_mr_backend backend);

/** Drop all keys and pins and free. No queue uses them. */
void mlx5p_aspace_destroy(struct mlx5p_aspace *as);

/**
 * Make @p maps all that the address space shows. When the entries of the key come out the same,
 * nothing is done.
 * @return 0, or a negative errno with the address space as it was; logged.
 */
int mlx5p_aspace_set(struct mlx5p_aspace *as, const struct vhost_iotlb *maps);

/** Back to the initial mapping, at once: no keys, no pins. No queue uses them. */
void mlx5p_aspace_clear(struct mlx5p_aspace *as);

/** Destroy keys and pins that are no longer in force. No queue uses them. */
void mlx5p_aspace_reap(struct mlx5p_aspace *as);

/** The key that is in force, 0 in the initial mapping. */
uint32_t mlx5p_aspace_mkey(const struct mlx5p_aspace *as);

/** Guest physical address of an address in this process, as the maps in force say; -EFAULT when the
 * @p len bytes are not within one of them. */
int mlx5p_aspace_gpa(const struct vhost_iotlb *maps, const void *addr, uint64_t len, uint64_t *gpa);

#endif /* MLX5P_ASPACE_H */

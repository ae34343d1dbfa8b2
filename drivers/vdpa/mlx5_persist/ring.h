/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring, as the front-end configured it and as the card wants it.
 *
 * Owns: reading it from the vhost library, its translation to guest physical addresses, and the log
 * of what the device wrote into it. Split and packed rings differ here and in one field of the
 * queue object (virtio_q_type), nowhere else in the driver.
 *
 * Threads: those on which the vhost library calls the driver; no locks. It uses functions of
 * rte_vhost.h that take none, because some of those calls come with a lock of the ring held.
 */
#ifndef MLX5P_RING_H
#define MLX5P_RING_H

#include <stdbool.h>
#include <stdint.h>

struct vhost_iotlb;

struct mlx5p_ring {
	bool packed;
	uint16_t size;
	/* Where to go on. In a packed ring bit 15 is the wrap counter, as in
	 * rte_vhost_get_vring_base(). */
	uint16_t avail_index, used_index;
	/* Guest physical. Of a packed ring: the descriptors, the device area, the driver area. */
	uint64_t desc, used, avail;
	int kickfd, callfd;        /* the vhost library's; negative: the guest polls */
};

/**
 * Read ring @p queue of connection @p vid, with @p features negotiated and @p maps in force; NULL:
 * the caller knows where it is, and fills that in.
 * Switches the guest's kicks on: whoever served the ring before may have switched them off.
 * @return 0; -EINVAL: the front-end did not configure it; -EFAULT: not within one of the maps;
 *         logged with @p name.
 */
int mlx5p_ring_read(const char *name, int vid, uint16_t queue, uint64_t features,
		const struct vhost_iotlb *maps, struct mlx5p_ring *ring);

/** Is all of a ring, at the addresses that it has in @p ring, within @p maps? */
bool mlx5p_ring_is_mapped(const struct vhost_iotlb *maps, const struct mlx5p_ring *ring);

/** Mark in the dirty log, if the front-end keeps one, all that the device may have written in the
 * ring itself. Guest buffers are logged by the card. */
void mlx5p_ring_log(int vid, const struct mlx5p_ring *ring);

#endif /* MLX5P_RING_H */

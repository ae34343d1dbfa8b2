/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include <rte_common.h>
#include <rte_vhost.h>

#include "aspace.h"
#include "mlx5p_log.h"
#include "ring.h"

/* virtio 1.2, section 2.8: the largest packed ring; the index shares 16 bits with the wrap
 * counter. */
#define PACKED_MAX 32768

/* Lengths of a ring's parts, by virtio 1.2, sections 2.7 and 2.8; the event words at the end of a
 * split ring's parts are not ours to use. */
struct lengths {
	uint64_t desc, avail, used;
};

static struct lengths
lengths_of(uint16_t size, bool packed)
{
	if (packed)
		return (struct lengths) {
			.desc = size * sizeof(struct vring_packed_desc),
			.avail = sizeof(struct vring_packed_desc_event),
			.used = sizeof(struct vring_packed_desc_event),
		};
	return (struct lengths) {
		.desc = size * sizeof(struct vring_desc),
		.avail = sizeof(struct vring_avail) + size * sizeof(uint16_t),
		.used = sizeof(struct vring_used) + size * sizeof(struct vring_used_elem),
	};
}

/* Parts of a ring in this process. */
struct parts {
	const void *desc, *avail, *used;
	volatile uint16_t *kick_flags; /* where the device asks for kicks; 0: it wants them */
};

static struct parts
split_parts(const struct rte_vhost_vring *vring)
{
	return (struct parts) {
		.desc = vring->desc,
		.avail = vring->avail,
		.used = vring->used,
		.kick_flags = vring->used != NULL ? &vring->used->flags : NULL,
	};
}

static struct parts
packed_parts(const struct rte_vhost_vring *vring)
{
	return (struct parts) {
		.desc = vring->desc_packed,
		.avail = vring->driver_event,
		.used = vring->device_event,
		.kick_flags = vring->device_event != NULL ? &vring->device_event->flags : NULL,
	};
}

static bool
size_ok(uint16_t size, bool packed)
{
	return packed ? size > 0 && size <= PACKED_MAX : rte_is_power_of_2(size);
}

static int
translate(const struct vhost_iotlb *maps, const struct parts *parts, struct mlx5p_ring *ring)
{
	struct lengths len = lengths_of(ring->size, ring->packed);
	int ret;

	ret = mlx5p_aspace_gpa(maps, parts->desc, len.desc, &ring->desc);
	if (ret == 0)
		ret = mlx5p_aspace_gpa(maps, parts->avail, len.avail, &ring->avail);
	if (ret == 0)
		ret = mlx5p_aspace_gpa(maps, parts->used, len.used, &ring->used);
	return ret;
}

int
mlx5p_ring_read(const char *name, int vid, uint16_t queue, uint64_t features,
		const struct vhost_iotlb *maps, struct mlx5p_ring *ring)
{
	bool packed = features >> VIRTIO_F_RING_PACKED & 1;
	struct rte_vhost_vring vring;
	struct parts parts;
	int ret;

	if (rte_vhost_get_vhost_vring(vid, queue, &vring) < 0)
		goto unusable;
	parts = packed ? packed_parts(&vring) : split_parts(&vring);
	if (parts.desc == NULL || parts.avail == NULL || parts.used == NULL ||
			!size_ok(vring.size, packed) ||
			rte_vhost_get_vring_base(vid, queue, &ring->avail_index,
				&ring->used_index) < 0)
		goto unusable;
	ring->packed = packed;
	ring->size = vring.size;
	ret = maps != NULL ? translate(maps, &parts, ring) : 0;
	if (ret < 0) {
		MLX5P_LOG(ERR, name, "virtqueue %u: its ring is outside of guest memory", queue);
		return ret;
	}
	ring->kickfd = vring.kickfd;
	ring->callfd = vring.callfd;
	*parts.kick_flags = 0;
	return 0;
unusable:
	MLX5P_LOG(ERR, name, "virtqueue %u: the front-end enabled it without a usable ring", queue);
	return -EINVAL;
}

/* Several maps may show it. */
static bool
is_mapped(const struct vhost_iotlb *maps, uint64_t start, uint64_t len)
{
	const struct vhost_iotlb_map *map;
	uint64_t last = start + (len - 1);

	if (last < start)
		return false;
	VHOST_IOTLB_FOREACH_RANGE(map, maps, start, last) {
		if (map->start > start)
			return false;
		if (map->last >= last)
			return true;
		start = map->last + 1;
	}
	return false;
}

bool
mlx5p_ring_is_mapped(const struct vhost_iotlb *maps, const struct mlx5p_ring *ring)
{
	struct lengths len = lengths_of(ring->size, ring->packed);

	return is_mapped(maps, ring->desc, len.desc) && is_mapped(maps, ring->avail, len.avail) &&
		is_mapped(maps, ring->used, len.used);
}

/* By guest address, not by rte_vhost_log_used_vring(): that one needs the ring's log address,
 * which is the same address where a front-end gives it, and in packed rings is that of the device
 * area. */
void
mlx5p_ring_log(int vid, const struct mlx5p_ring *ring)
{
	struct lengths len = lengths_of(ring->size, ring->packed);

	if (ring->packed)
		rte_vhost_log_write(vid, ring->desc, len.desc);
	rte_vhost_log_write(vid, ring->used, len.used);
}

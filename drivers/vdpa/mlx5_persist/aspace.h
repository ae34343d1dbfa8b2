/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Layer 2 of memory: the guest's address space.
 *
 * Owns: one indirect memory key (KLM) over guest physical addresses, whose entries address parts of
 * pins (pins.h), with the null key in the holes. A virtio reset touches neither layer. Address
 * spaces of a device share its pins.
 *
 * The initial mapping is empty: there is no key, and no queue runs without one.
 *
 * Changing maps makes a new key beside the old one. The old key and its hold on pins stay until
 * mlx5p_aspace_reap(), which the owner calls once no queue uses the old key any more.
 *
 * Locking: none; the caller serialises (configuration calls of one device).
 */
#ifndef MLX5P_ASPACE_H
#define MLX5P_ASPACE_H

#include <stdint.h>

#include <vhost_iotlb.h>

#include "pins.h"

struct mlx5p_aspace;

/** @p pins outlive it. */
struct mlx5p_aspace *mlx5p_aspace_create(const struct mlx5p_hw *hw, struct mlx5p_pins *pins);

/** Drop all keys and free. No queue uses them. NULL is allowed. */
void mlx5p_aspace_destroy(struct mlx5p_aspace *as);

/**
 * Make @p maps all that the address space shows. When the entries of the key come out the same,
 * nothing is done. Pins that wait and that it does not want go before any new one comes.
 * @return 0, or a negative errno with the address space as it was; logged.
 */
int mlx5p_aspace_set(struct mlx5p_aspace *as, const struct vhost_iotlb *maps);

/** Back to the initial mapping, at once: no keys, no hold on pins. No queue uses them. */
void mlx5p_aspace_clear(struct mlx5p_aspace *as);

/** Destroy keys that are no longer in force, and end their holds. No queue uses them. */
void mlx5p_aspace_reap(struct mlx5p_aspace *as);

/** The key that is in force, 0 in the initial mapping. */
uint32_t mlx5p_aspace_mkey(const struct mlx5p_aspace *as);

/** Hold the pins that a table needs, in the order of its maps, as mlx5p_pins_plan(): for one that
 * is to come. -E2BIG: no key can show it, its maps are too many or too far apart. */
int mlx5p_aspace_plan(struct mlx5p_pins *pins, const struct vhost_iotlb *maps,
		struct mlx5p_hold *hold);

/** Guest physical address of an address in this process, as the maps in force say; -EFAULT when the
 * @p len bytes are not within one of them. */
int mlx5p_aspace_gpa(const struct vhost_iotlb *maps, const void *addr, uint64_t len, uint64_t *gpa);

/* ---- seen ---- */

/* Why the key was made anew the last time. */
enum mlx5p_rebuild {
	MLX5P_REBUILD_NEVER,       /* there was none yet */
	MLX5P_REBUILD_FIRST,       /* the first table, or the first after the initial mapping */
	MLX5P_REBUILD_ADDED,       /* a map was added */
	MLX5P_REBUILD_REMOVED,     /* a map was removed */
	MLX5P_REBUILD_REPLACED,    /* other memory behind the same addresses */
	MLX5P_REBUILD_CHANGED,     /* maps were added and others removed */
	MLX5P_REBUILD_PINS,        /* the same maps on other pins */
};

/** In words, for people: "a map was added". */
const char *mlx5p_rebuild_name(enum mlx5p_rebuild why);

struct mlx5p_aspace_stats {
	uint32_t mkey;             /* in force; 0: initial mapping */
	uint32_t entries;          /* of it */
	uint64_t start, len;       /* guest physical addresses that it covers, holes included */
	uint32_t old_keys;         /* that await mlx5p_aspace_reap() */
	uint64_t rebuilds;         /* keys made since the probe */
	uint64_t kept;             /* tables that left the key as it was */
	enum mlx5p_rebuild last;   /* why the last key was made */
};

void mlx5p_aspace_stats(const struct mlx5p_aspace *as, struct mlx5p_aspace_stats *stats);

#endif /* MLX5P_ASPACE_H */

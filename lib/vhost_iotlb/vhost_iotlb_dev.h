/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_iotlb_dev: the contract of an IOTLB that is not the virtio device's.
 *
 * Owns: who may change the maps of a device, and what a reset and a release do to them. A parent is
 * the device driver; it offers operations. A front-end is who pushes maps: a vhost-user connection,
 * a test. The rules C1 to C9 (doc/guides/iotlb.rst has them in full) are enforced here and nowhere
 * else, so that a parent checks nothing and a front-end can't get it wrong. Knows no vendor and no
 * DPDK.
 *
 * Threads: none of its own and no lock. The caller serialises all calls about one device; parent
 * operations run on the caller's thread, within the call. Devices are independent.
 *
 * Errors: a call that returns a negative errno has changed nothing, in the table or in the parent,
 * unless it says otherwise.
 */
#ifndef VHOST_IOTLB_DEV_H
#define VHOST_IOTLB_DEV_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost_iotlb.h"

/*
 * Backend features: bit numbers, with Linux's names and values (linux/vhost_types.h). An older
 * header lacks the newer ones.
 */
#ifndef VHOST_BACKEND_F_IOTLB_MSG_V2
#define VHOST_BACKEND_F_IOTLB_MSG_V2 0x1
#endif
#ifndef VHOST_BACKEND_F_IOTLB_BATCH
#define VHOST_BACKEND_F_IOTLB_BATCH 0x2
#endif
#ifndef VHOST_BACKEND_F_IOTLB_ASID
#define VHOST_BACKEND_F_IOTLB_ASID 0x3
#endif
#ifndef VHOST_BACKEND_F_SUSPEND
#define VHOST_BACKEND_F_SUSPEND 0x4
#endif
#ifndef VHOST_BACKEND_F_RESUME
#define VHOST_BACKEND_F_RESUME 0x5
#endif
#ifndef VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK
#define VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK 0x6
#endif
#ifndef VHOST_BACKEND_F_DESC_ASID
#define VHOST_BACKEND_F_DESC_ASID 0x7
#endif
#ifndef VHOST_BACKEND_F_IOTLB_PERSIST
#define VHOST_BACKEND_F_IOTLB_PERSIST 0x8
#endif

/** The mask of a backend feature. */
#define VHOST_IOTLB_FEATURE(bit) (UINT64_C(1) << (bit))

/** Flag of compat_reset: the reset clears all maps and restores the parent's initial mapping. */
#define VHOST_IOTLB_RESET_CLEAN_MAP 0x1u

/** Most address spaces of a device. */
#define VHOST_IOTLB_MAX_AS 64u

/** Most groups of a device. */
#define VHOST_IOTLB_MAX_GROUPS 64u

/**
 * What a parent offers. Leave out (NULL) what it can't do. Functions return 0 or a negative errno;
 * on an error they have changed nothing. They run on the thread of the call that caused them and
 * must not call back into this device's vhost_iotlb_ functions, reading the table they were given
 * apart.
 *
 * A parent with its own translation ("on-chip IOMMU") has set_map, or dma_map and dma_unmap, or all
 * three (then set_map is used; Linux would use dma_map). It starts with its initial mapping in
 * every address space; the first set_map or dma_map of an address space ends it there (C3). A
 * parent behind the platform IOMMU has none of these: tables are kept and nobody is called.
 */
struct vhost_iotlb_parent_ops {
	/** Reset the virtio device. Maps are not touched (C1). Mandatory. */
	int (*reset)(void *parent);
	/** The reset of a parent that used to clear its maps at a reset, for front-ends that may
	 * rely on it (C5, C6). @p flags: VHOST_IOTLB_RESET_CLEAN_MAP, always set. A parent that
	 * never did so has no such op and never hears of the matter. */
	int (*compat_reset)(void *parent, uint32_t flags);
	/** @p maps is from now on all that address space @p asid maps; what was there before and is
	 * not in it is gone when this returns. The table, its host addresses and descriptors are
	 * the caller's and valid during the call only: duplicate a descriptor to keep it. */
	int (*set_map)(void *parent, unsigned int asid, const struct vhost_iotlb *maps);
	/** Restore the initial mapping of @p asid. Called when a front-end leaves, after its maps
	 * are gone (C2). */
	int (*reset_map)(void *parent, unsigned int asid);
	/** Add one map to @p asid; it overlaps nothing. Also called to put back what dma_unmap took
	 * away, when a later step of the same change failed. If that fails too, the maps in
	 * question leave the table, which never claims what the parent lost. */
	int (*dma_map)(void *parent, unsigned int asid, const struct vhost_iotlb_map *map);
	/** Remove [start, last] from @p asid. All of it is mapped, by one dma_map or several; parts
	 * of others may remain. Also called to take away what dma_map added, when a later step of
	 * the same change failed. If that fails too, the map stays in the table, which never hides
	 * what the parent has. */
	int (*dma_unmap)(void *parent, unsigned int asid, uint64_t start, uint64_t last);
	/** Backend features that the parent declares itself, masks of VHOST_BACKEND_F_*. Not
	 * DESC_ASID, which vq_desc_group declares. */
	uint64_t features;

	/*
	 * Groups. What the device does memory accesses for is divided into groups, and each group
	 * translates with the address space that it is bound to: 0 at first, after each reset, and
	 * when a front-end leaves (C7). A parent without set_group_asid has one group, in address
	 * space 0 for good.
	 */

	/** Number of groups, 1 to VHOST_IOTLB_MAX_GROUPS; without set_group_asid 0. */
	unsigned int ngroups;
	/** Let @p group translate with address space @p asid from now on. The maps of no address
	 * space change. A parent that can't do that while it runs returns -EBUSY. */
	int (*set_group_asid)(void *parent, unsigned int group, unsigned int asid);
	/** The group of virtqueue @p vq. Without it all virtqueues are in group 0. */
	unsigned int (*vq_group)(void *parent, unsigned int vq);
	/** The group of the descriptors of virtqueue @p vq, the driver and device areas included
	 * (virtio's words; mlx5: desc_group_mkey). Without it they are where the virtqueue's data
	 * is, and DESC_ASID is not offered. */
	unsigned int (*vq_desc_group)(void *parent, unsigned int vq);
};

/** A parent device and its address spaces. Opaque. */
struct vhost_iotlb_dev;

/** A front-end of a device, from open to release. Opaque. */
struct vhost_iotlb_fe;

/**
 * Describe a parent device of @p nas address spaces (1 to VHOST_IOTLB_MAX_AS). @p ops and @p parent
 * outlive it. No op is called.
 * Returns 0 and *dev, or -EINVAL (no reset, half of dma_map and dma_unmap, nas, groups without a
 * way to bind them or the other way round, DESC_ASID declared) or -ENOMEM.
 */
int
vhost_iotlb_dev_create(const struct vhost_iotlb_parent_ops *ops, void *parent, unsigned int nas,
		struct vhost_iotlb_dev **dev);

/** Free @p dev. A front-end that is still open is released first. NULL is allowed. */
void
vhost_iotlb_dev_destroy(struct vhost_iotlb_dev *dev);

/**
 * The backend features that a front-end may acknowledge, masks of VHOST_BACKEND_F_*:
 * IOTLB_MSG_V2 and IOTLB_BATCH always; IOTLB_ASID with more than one address space; DESC_ASID if
 * besides there are groups for descriptors; IOTLB_PERSIST by C4; and what the parent declares.
 */
uint64_t
vhost_iotlb_dev_features(const struct vhost_iotlb_dev *dev);

/** Number of address spaces. */
unsigned int
vhost_iotlb_dev_nas(const struct vhost_iotlb_dev *dev);

/** Number of groups, 1 or more. */
unsigned int
vhost_iotlb_dev_ngroups(const struct vhost_iotlb_dev *dev);

/** The group of virtqueue @p vq, or -EIO if the parent names one that there is not. */
int
vhost_iotlb_dev_vq_group(const struct vhost_iotlb_dev *dev, unsigned int vq);

/** The group of the descriptors of virtqueue @p vq; -EOPNOTSUPP if they have none of their own,
 * -EIO if the parent names one that there is not. */
int
vhost_iotlb_dev_vq_desc_group(const struct vhost_iotlb_dev *dev, unsigned int vq);

/** The address space that @p group is bound to, or -EINVAL if there is no such group. */
int
vhost_iotlb_dev_group_asid(const struct vhost_iotlb_dev *dev, unsigned int group);

/** Reset the virtio device, whether or not it has a front-end. With one it is
 * vhost_iotlb_fe_reset(); without, it is the compliant reset (C5). */
int
vhost_iotlb_dev_reset(struct vhost_iotlb_dev *dev);

/** The maps of @p asid (those of an open batch included), or NULL if there is no such address
 * space. For reading; valid until the next call that changes the device. */
const struct vhost_iotlb *
vhost_iotlb_dev_table(const struct vhost_iotlb_dev *dev, unsigned int asid);

/**
 * Open the front-end of @p dev. One at a time. It finds the initial mapping (C2), no maps, nothing
 * acknowledged.
 * Returns 0 and *fe, or -EBUSY or -ENOMEM.
 */
int
vhost_iotlb_fe_open(struct vhost_iotlb_dev *dev, struct vhost_iotlb_fe **fe);

/**
 * Release the front-end and free it. Open batches are dropped; all maps of all address spaces go
 * (one set_map with an empty table, or the fewest dma_unmaps, where there are maps); groups that
 * are bound elsewhere return to address space 0; then reset_map runs for every address space,
 * whether it had maps or not (C2). The virtio device is not reset: that is a call of its own.
 * Always releases: returns 0, or the first error of the parent's ops, after all of them ran. NULL
 * is allowed.
 */
int
vhost_iotlb_fe_release(struct vhost_iotlb_fe *fe);

/** The device of @p fe. */
struct vhost_iotlb_dev *
vhost_iotlb_fe_dev(const struct vhost_iotlb_fe *fe);

/**
 * Acknowledge backend features. The first call negotiates; later ones replace what was
 * acknowledged, until the first map operation or binding of a group: from there on it is fixed,
 * because the parent was promised it.
 * Returns 0; -EINVAL: a bit that is not offered, or DESC_ASID without IOTLB_ASID; -EBUSY: too late.
 */
int
vhost_iotlb_fe_set_features(struct vhost_iotlb_fe *fe, uint64_t features);

/** What was acknowledged. */
uint64_t
vhost_iotlb_fe_features(const struct vhost_iotlb_fe *fe);

/*
 * Address spaces other than 0 are there for a front-end that has acknowledged IOTLB_ASID; for
 * another "there is no such address space".
 */

/**
 * Bind @p group to address space @p asid. Maps stay where they are (C7). It holds until the next
 * virtio reset. Bound there already: nobody is called.
 * Returns 0; -EOPNOTSUPP: the parent has no groups to bind; -EINVAL: no such group or address
 * space; or the error of the parent.
 */
int
vhost_iotlb_fe_set_group_asid(struct vhost_iotlb_fe *fe, unsigned int group, unsigned int asid);

/**
 * Add one map to address space @p asid, at once, or with the batch that is open.
 * Returns 0; -EINVAL: no such address space, or as vhost_iotlb_add(); -EEXIST: overlap (C9);
 * -ENOMEM; or the error of the parent.
 */
int
vhost_iotlb_fe_map(struct vhost_iotlb_fe *fe, unsigned int asid, const struct vhost_iotlb_map *map);

/**
 * Remove [start, last] from @p asid, at once, or with the batch that is open. Partly covered maps
 * are cut. A range in which nothing is mapped is no error and calls nobody. Returns as
 * vhost_iotlb_fe_map().
 */
int
vhost_iotlb_fe_unmap(struct vhost_iotlb_fe *fe, unsigned int asid, uint64_t start, uint64_t last);

/** Begin a batch in @p asid: the parent hears nothing of the changes until its end. Batches of
 * different address spaces are independent (C7). Returns 0, -EINVAL, or -EBUSY when one is open
 * there. */
int
vhost_iotlb_fe_batch_begin(struct vhost_iotlb_fe *fe, unsigned int asid);

/** End the batch of @p asid: all of it reaches the parent as one set_map, or as the fewest
 * dma_unmaps and dma_maps (C8); a batch that changed nothing in the end reaches nobody. On an error
 * the table is what it was at begin (C9), and the batch is over. Returns 0, -EINVAL (no such
 * address space, no batch), -ENOMEM or the error of the parent. */
int
vhost_iotlb_fe_batch_end(struct vhost_iotlb_fe *fe, unsigned int asid);

/**
 * Make @p table all that @p asid maps. It is reduced to its difference with what is there, and the
 * difference applied as one batch. A table that shows the same memory at the same addresses
 * (vhost_iotlb_equal), however it is sliced, wherever this process maps it and by whatever
 * descriptors, calls nobody. The host addresses and descriptors of @p table replace the old ones,
 * also those of maps that stay, and also where the parent is not called; on an error the old ones
 * stay. @p table is copied; it may be the table of @p asid itself, which changes nothing.
 * @p changed, unless NULL, tells the number of steps of the difference.
 * Returns 0; -EINVAL: no such address space; -EBUSY: a batch is open there; -ENOMEM; or the error
 * of the parent.
 */
int
vhost_iotlb_fe_set_table(struct vhost_iotlb_fe *fe, unsigned int asid,
		const struct vhost_iotlb *table, unsigned int *changed);

/**
 * A virtio reset. Maps stay, open batches too (C1), and the parent's reset() runs. Groups that are
 * bound elsewhere return to address space 0, which the parent is told behind its reset. A front-end
 * whose negotiation is over, by set_features or by its first map operation, without IOTLB_PERSIST
 * gets compat_reset(CLEAN_MAP) instead from a parent that has it; after that all tables are empty,
 * open batches are dropped and the initial mapping is back, because that is so in the parent (C5).
 * Returns 0 or the error of the parent; if that came from returning a group, the reset itself is
 * done, and that group is bound as before.
 */
int
vhost_iotlb_fe_reset(struct vhost_iotlb_fe *fe);

/** The maps of @p asid, as vhost_iotlb_dev_table(). */
const struct vhost_iotlb *
vhost_iotlb_fe_table(const struct vhost_iotlb_fe *fe, unsigned int asid);

#endif /* VHOST_IOTLB_DEV_H */

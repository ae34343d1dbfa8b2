/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_iotlb_soft: a parent in software, as reference and example.
 *
 * Owns: a device that is nothing but memory accesses. It translates addresses itself, as a card
 * with an on-chip IOMMU does, and offers every operation of vhost_iotlb_dev.h. Its initial mapping
 * is 1:1, as in Linux: an address is one of this process, so that the process itself can use the
 * device while no front-end has it. (That is why a driver that serves guests has an empty one
 * instead: 1:1 in user space would show a guest the process.)
 *
 * How to write a parent can be read from it: see soft_parent.c, and sample/ for its use.
 *
 * It has two groups: VHOST_IOTLB_SOFT_DATA, the data of all virtqueues, and VHOST_IOTLB_SOFT_DESC,
 * their descriptors.
 *
 * Memory that has a backing is reached through a mapping of its own of the backing's file, made
 * when the map comes: the front-end may unmap and close it at once. Memory without one is reached
 * at the host address that its map tells.
 *
 * Threads: as vhost_iotlb_dev.h, the accesses included: the caller serialises.
 */
#ifndef VHOST_IOTLB_SOFT_PARENT_H
#define VHOST_IOTLB_SOFT_PARENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost_iotlb_dev.h"

/** Its groups. */
#define VHOST_IOTLB_SOFT_DATA 0u
#define VHOST_IOTLB_SOFT_DESC 1u
#define VHOST_IOTLB_SOFT_GROUPS 2u

/** A software parent. Opaque. */
struct vhost_iotlb_soft;

/** Operations of every software parent, for vhost_iotlb_dev_create(). */
extern const struct vhost_iotlb_parent_ops vhost_iotlb_soft_ops;

/** Make a software parent of @p nas address spaces. It is in its initial state and does not run.
 * Returns NULL when out of memory, or for a @p nas of 0 or above VHOST_IOTLB_MAX_AS. */
struct vhost_iotlb_soft *
vhost_iotlb_soft_create(unsigned int nas);

/** Free @p soft. No vhost_iotlb_dev uses it any more. NULL is allowed. */
void
vhost_iotlb_soft_destroy(struct vhost_iotlb_soft *soft);

/** Set DRIVER_OK: it makes memory accesses until the next reset. */
void
vhost_iotlb_soft_start(struct vhost_iotlb_soft *soft);

/** Is it between start and reset? */
bool
vhost_iotlb_soft_runs(const struct vhost_iotlb_soft *soft);

/**
 * Let the device read @p len bytes from address @p addr of @p group, as it would on behalf of a
 * virtqueue. All bytes are read or none.
 * Returns 0; -ESHUTDOWN: it does not run; -EFAULT: not mapped, or not for reading; -EINVAL: no such
 * group. In the initial mapping @p addr is an address of this process and had better be one.
 */
int
vhost_iotlb_soft_read(const struct vhost_iotlb_soft *soft, unsigned int group, uint64_t addr,
		void *buf, size_t len);

/** The same the other way round. */
int
vhost_iotlb_soft_write(const struct vhost_iotlb_soft *soft, unsigned int group, uint64_t addr,
		const void *buf, size_t len);

/** Is the initial mapping of @p asid in force? */
bool
vhost_iotlb_soft_is_initial(const struct vhost_iotlb_soft *soft, unsigned int asid);

#endif /* VHOST_IOTLB_SOFT_PARENT_H */

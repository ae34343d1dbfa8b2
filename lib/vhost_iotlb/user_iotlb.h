/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The IOTLB of a vhost-user connection: maps that come by VHOST_USER_IOTLB_MSG, with
 * VIRTIO_F_ACCESS_PLATFORM negotiated. Internal to the adaptor (vhost_iotlb_user.h).
 *
 * Owns: what the front-end has mapped, by I/O addresses, and where it put its rings. The memory
 * table is here nothing but the source of backing: a map names a range of the front-end's own
 * addresses, which the table turns into a range of a file.
 *
 * A message is looked at before the vhost library handles it, and takes effect behind that: first
 * user_iotlb_check(), then user_iotlb_apply(). What it asked for can be undone until
 * user_iotlb_keep(): the device may refuse it.
 *
 * Threads: none of its own and no lock.
 */
#ifndef USER_IOTLB_H
#define USER_IOTLB_H

#include <stdbool.h>
#include <stdint.h>

#include "vhost_iotlb.h"
#include "vhost_iotlb_user.h"

/** Most rings of a vhost-user connection: its messages have 8 bits for them. */
#define USER_IOTLB_RINGS 256u

/** A region of the memory table: the userspace address of the first byte of a map of it. */
struct user_backing {
	uint64_t user_addr;
	struct vhost_iotlb_map map;
};

/** The memory table as a source of backing. */
struct user_backings {
	unsigned int n;
	struct user_backing v[];
};

struct user_iotlb;

/** NULL if there is no memory. */
struct user_iotlb *
user_iotlb_create(void);

/** NULL is allowed. */
void
user_iotlb_destroy(struct user_iotlb *io);

/** What is mapped, an open batch left out. */
const struct vhost_iotlb *
user_iotlb_maps(const struct user_iotlb *io);

/**
 * Is message @p payload (struct vhost_iotlb_msg) good, with @p mem the memory table, NULL if there
 * is none? Remembers it. BATCH_BEGIN and BATCH_END, which the vhost library does not know, are
 * changed to a message that it takes and that does nothing.
 * Returns what is wrong with it, in words, or NULL.
 */
const char *
user_iotlb_check(struct user_iotlb *io, const struct user_backings *mem, void *payload);

/** Do what the message that was checked last says. Returns 1 if the maps changed, 0 if not, or
 * a negative errno, with nothing changed. */
int
user_iotlb_apply(struct user_iotlb *io);

/** The change that user_iotlb_apply() told of stays, or is undone. */
void
user_iotlb_keep(struct user_iotlb *io, bool keep);

/**
 * The memory table is another one: maps keep the memory that they show, where it is in @p mem
 * still, with the descriptors and host addresses of @p mem. What is not there any more is unmapped.
 * An open batch stays open, and what it will show goes the same way.
 * Returns how many bytes were unmapped, or a negative errno with nothing changed.
 */
int64_t
user_iotlb_rebase(struct user_iotlb *io, const struct user_backings *mem);

/** The front-end put ring @p index there. */
void
user_iotlb_set_ring(struct user_iotlb *io, uint32_t index,
		const struct vhost_iotlb_user_ring *ring);

/** Where it is; NULL: not known. */
const struct vhost_iotlb_user_ring *
user_iotlb_ring(const struct user_iotlb *io, uint32_t index);

#endif /* USER_IOTLB_H */

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * age: the maps of a table that retires in the order in which they were added.
 *
 * Owns: a queue of notes, the oldest first. A note says when a map was added and where it started.
 * Maps that leave the table leave their notes behind: whoever takes one from the front looks
 * whether it still holds. For table.c alone; threads as vhost_iotlb.h.
 */
#ifndef VHOST_IOTLB_AGE_H
#define VHOST_IOTLB_AGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vhost_iotlb_age {
	/** Counts up with each map. */
	uint64_t age;
	/** First address of the map. */
	uint64_t start;
};

/** Zero: an empty queue. */
struct vhost_iotlb_ages {
	struct vhost_iotlb_age *note;
	/** Notes are [head, tail). */
	size_t head, tail, room;
	/** As they were at the beginning of the transaction: until its end no note is
	 * overwritten. */
	size_t txn_head, txn_tail;
	bool txn;
};

/** Does a note still hold? */
typedef bool (*vhost_iotlb_age_holds)(const void *arg, const struct vhost_iotlb_age *note);

/** Make room for @p n more notes. @p most: notes that can hold at a time; when there are many more,
 * those that don't hold are thrown out. Returns 0 or -ENOMEM. */
int
vhost_iotlb_ages_reserve(struct vhost_iotlb_ages *ages, size_t n, size_t most,
		vhost_iotlb_age_holds holds, const void *arg);

/** Add a note behind all others. There is room. */
void
vhost_iotlb_ages_push(struct vhost_iotlb_ages *ages, uint64_t age, uint64_t start);

/** Take notes from the front until one holds. Returns false when none does. */
bool
vhost_iotlb_ages_pop(struct vhost_iotlb_ages *ages, vhost_iotlb_age_holds holds, const void *arg,
		struct vhost_iotlb_age *oldest);

/** Make @p copy, which is empty, the same. Returns 0 or -ENOMEM. */
int
vhost_iotlb_ages_copy(struct vhost_iotlb_ages *copy, const struct vhost_iotlb_ages *ages);

void
vhost_iotlb_ages_begin(struct vhost_iotlb_ages *ages);

void
vhost_iotlb_ages_commit(struct vhost_iotlb_ages *ages);

void
vhost_iotlb_ages_abort(struct vhost_iotlb_ages *ages);

void
vhost_iotlb_ages_fini(struct vhost_iotlb_ages *ages);

#endif /* VHOST_IOTLB_AGE_H */

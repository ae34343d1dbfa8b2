/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_iotlb: an interval map of one address space.
 *
 * Owns: the table of what lies behind the addresses that a virtio device uses (guest physical
 * addresses, or I/O virtual ones). A map is a closed interval [start, last], so that the full
 * 64-bit range can be said. Maps of a table never overlap. The table holds no policy: who may map,
 * when, and what a reset does to it is vhost_iotlb_dev.h's business. Knows no vendor and no DPDK.
 *
 * Threads: none of its own and no lock. Callers serialise changes of a table; any number of threads
 * may read it while nobody changes it. Different tables are independent.
 *
 * Costs, n maps in the table: add, delete (for each map it touches), lookup, first, next: O(log n);
 * the next map of a walk: O(1) on average; difference, copy: O(n). doc/guides/iotlb.rst has
 * figures.
 *
 * Lifetime: a "const struct vhost_iotlb_map *" that a function returns points into the table and is
 * valid until the next change of that table, the beginning and the end of a transaction included.
 */
#ifndef VHOST_IOTLB_H
#define VHOST_IOTLB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/vhost_types.h>     /* VHOST_ACCESS_RO, _WO, _RW; backend features */

/** Limit of a table that has none. */
#define VHOST_IOTLB_UNLIMITED 0
/** A full table drops its oldest map instead of refusing the new one. For caches, never for a table
 * that says what a device may reach. */
#define VHOST_IOTLB_RETIRE_OLDEST 0x1u

/** What the memory of a map IS, wherever it is mapped: an interval of a file. */
struct vhost_iotlb_backing {
	/** File system of the file. */
	dev_t dev;
	/** Inode number; 0: what backs the map is not known. */
	ino_t ino;
	/** Of the map's start in the file, bytes. */
	uint64_t offset;
	/** An open descriptor of the file, or -1. Borrowed from whoever filled the table, and no
	 * part of the identity: two descriptors may name one file. */
	int fd;
};

/** One map: [start, last] of the address space shows some memory. */
struct vhost_iotlb_map {
	/** First address. */
	uint64_t start;
	/** Last address, inclusive. */
	uint64_t last;
	/** Host virtual address of start. With a known backing, 0 says "not mapped by this
	 * process"; without one, the address is all that says what the map is, and 0 is one like
	 * any other. */
	uint64_t addr;
	/** What the device may do: VHOST_ACCESS_RO, VHOST_ACCESS_WO or VHOST_ACCESS_RW. */
	uint32_t perm;
	struct vhost_iotlb_backing backing;
};

/** A table. Opaque. */
struct vhost_iotlb;

/** Make an empty table of at most @p limit maps (VHOST_IOTLB_UNLIMITED: as many as memory holds).
 * @p flags: 0 or VHOST_IOTLB_RETIRE_OLDEST. Returns NULL when out of memory. */
struct vhost_iotlb *
vhost_iotlb_create(size_t limit, unsigned int flags);

/** Free @p t and its maps. NULL is allowed. */
void
vhost_iotlb_destroy(struct vhost_iotlb *t);

/**
 * Add a map.
 *
 * Returns 0, or with the table unchanged:
 * -EINVAL: start > last, a permission that is none of the three, or an interval whose host
 * addresses
 *          or file offsets would run past the end of 64 bits;
 * -EEXIST: an address of the map is mapped already;
 * -ENOSPC: the table is full and does not retire;
 * -ENOMEM.
 */
int
vhost_iotlb_add(struct vhost_iotlb *t, const struct vhost_iotlb_map *map);

/**
 * Delete all of [start, last]. Addresses in it that are not mapped are no error.
 *
 * A map that lies partly in the range is cut: what lies outside stays, with its addr and offset
 * moved along. Here we differ from Linux, whose vhost_iotlb_del_range() removes every map that
 * overlaps the range, whole. The parts that stay count as new for VHOST_IOTLB_RETIRE_OLDEST.
 *
 * Returns 0, or with the table unchanged: -EINVAL (start > last); -ENOSPC (a map would be cut in
 * two, and the table is full and does not retire); -ENOMEM.
 */
int
vhost_iotlb_del(struct vhost_iotlb *t, uint64_t start, uint64_t last);

/** Delete all maps. Never fails. */
void
vhost_iotlb_reset(struct vhost_iotlb *t);

/** Number of maps. */
size_t
vhost_iotlb_count(const struct vhost_iotlb *t);

/** The map that holds @p addr, or NULL. */
const struct vhost_iotlb_map *
vhost_iotlb_lookup(const struct vhost_iotlb *t, uint64_t addr);

/** The lowest map that overlaps [start, last], or NULL; a range that ends before it starts overlaps
 * nothing. */
const struct vhost_iotlb_map *
vhost_iotlb_first(const struct vhost_iotlb *t, uint64_t start, uint64_t last);

/** The map after @p map in the order of addresses, if it starts at or below @p last; else NULL. */
const struct vhost_iotlb_map *
vhost_iotlb_next(const struct vhost_iotlb *t, const struct vhost_iotlb_map *map, uint64_t last);

/** A place in the order of addresses. The fields are the library's. */
struct vhost_iotlb_pos {
	struct vhost_iotlb_leaf *leaf;
	struct vhost_iotlb_inner *up;
	unsigned int at, up_at;
};

/** A walk through a table. The fields are the library's. */
struct vhost_iotlb_iter {
	const struct vhost_iotlb *table;
	struct vhost_iotlb_pos next;
	uint64_t last;
};

/** Begin to walk the maps that overlap [start, last] in the order of addresses. The walk ends with
 * the next change of @p t. */
struct vhost_iotlb_iter
vhost_iotlb_iter_begin(const struct vhost_iotlb *t, uint64_t start, uint64_t last);

/** The next map of the walk, or NULL. */
const struct vhost_iotlb_map *
vhost_iotlb_iter_next(struct vhost_iotlb_iter *iter);

/* The name of a walk: one for each line, so that walks may nest. */
#define VHOST_IOTLB_ITER__(line) vhost_iotlb_iter_ ## line
#define VHOST_IOTLB_ITER_(line) VHOST_IOTLB_ITER__(line)

/** Walk the maps that overlap [start, last] in the order of addresses. The body must not change @p
 * t. */
#define VHOST_IOTLB_FOREACH_RANGE(map, t, start, last) \
	for (struct vhost_iotlb_iter VHOST_IOTLB_ITER_(__LINE__) = \
			vhost_iotlb_iter_begin((t), (start), (last)); \
	     ((map) = vhost_iotlb_iter_next(&VHOST_IOTLB_ITER_(__LINE__))) != NULL;)

/** Walk all maps in the order of addresses. The body must not change @p t. */
#define VHOST_IOTLB_FOREACH(map, t) VHOST_IOTLB_FOREACH_RANGE(map, t, 0, UINT64_MAX)

/** A new table with the maps, limit and flags of @p t; NULL when out of memory. An open transaction
 * of @p t is not copied: the copy holds its maps as they are now. */
struct vhost_iotlb *
vhost_iotlb_copy(const struct vhost_iotlb *t);

/** The part [start, last] of @p map, which must lie in it: addr and offset moved along. */
struct vhost_iotlb_map
vhost_iotlb_map_slice(const struct vhost_iotlb_map *map, uint64_t start, uint64_t last);

/**
 * Does @p addr, which lies in both maps, show the same memory with the same permission in both?
 * Maps with a known backing are compared by it (device, inode, offset) and not by host address;
 * maps without, by host address. A map with and a map without are never the same.
 */
bool
vhost_iotlb_map_same(const struct vhost_iotlb_map *a, const struct vhost_iotlb_map *b,
		uint64_t addr);

/** What a difference is made of. */
enum vhost_iotlb_op {
	VHOST_IOTLB_OP_UNMAP,      /* start and last alone mean anything */
	VHOST_IOTLB_OP_MAP,
};

/** Receives one step of a difference. @p map is valid during the call. A value other than 0 ends
 * the walk and becomes its result. */
typedef int (*vhost_iotlb_diff_fn)(void *arg, enum vhost_iotlb_op op,
		const struct vhost_iotlb_map *map);

/**
 * The difference of two tables: the steps that make @p from show what @p to shows.
 *
 * First all unmaps, then all maps, each in the order of addresses; applied in this order no step
 * fails for an overlap. Addresses that show the same memory in both (vhost_iotlb_map_same) are in
 * no step, however the two tables slice them. There are as few steps as can be said with ranges
 * that name no address in vain: an unmap is a longest run of addresses, all mapped in @p from, that
 * show something else in @p to or nothing; a map is a longest run of such addresses in @p to over
 * which the memory and its host address continue. @p fn may be NULL: count only.
 *
 * Returns the number of steps, at most INT_MAX, or what @p fn returned if that was not 0.
 */
int
vhost_iotlb_diff(const struct vhost_iotlb *from, const struct vhost_iotlb *to,
		vhost_iotlb_diff_fn fn, void *arg);

/** Do both tables show the same memory, however they slice it? (Is their difference empty?) */
bool
vhost_iotlb_equal(const struct vhost_iotlb *a, const struct vhost_iotlb *b);

/*
 * Transactions: a group of changes that is kept or undone as one. Between begin and commit or abort
 * what is changed is copied first; the cost is that of the changes, not of the table. One at a
 * time.
 */

/** Begin noting changes. Returns 0, or -EBUSY when a transaction is open. */
int
vhost_iotlb_txn_begin(struct vhost_iotlb *t);

/** Keep the changes since begin. */
void
vhost_iotlb_txn_commit(struct vhost_iotlb *t);

/** Undo the changes since begin: the table is again what it was, map by map, in the same order of
 * age. Never fails and allocates nothing. */
void
vhost_iotlb_txn_abort(struct vhost_iotlb *t);

/** Is a transaction open? */
bool
vhost_iotlb_txn_is_open(const struct vhost_iotlb *t);

/** As vhost_iotlb_diff(), from the table as it was at begin to what it is now, at the cost of the
 * changes. No transaction is open: nothing is different. For the thread that changes the table: it
 * puts the notes of the transaction in order. */
int
vhost_iotlb_txn_diff(struct vhost_iotlb *t, vhost_iotlb_diff_fn fn, void *arg);

#endif /* VHOST_IOTLB_H */

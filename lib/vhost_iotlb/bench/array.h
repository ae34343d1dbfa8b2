/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * array: maps in a sorted array, what one would write first and what iotlb-bench compares the table
 * of the library with.
 *
 * Owns: an array of maps in the order of addresses. Only what the benchmark does: whole maps, no
 * cutting, no limits, and no transactions but a copy of everything.
 * Threads: none of its own, no lock.
 */
#ifndef IOTLB_BENCH_ARRAY_H
#define IOTLB_BENCH_ARRAY_H

#include "vhost_iotlb.h"

struct array {
	struct vhost_iotlb_map *map;
	size_t n, room;
};

/** An array of @p n maps, to be filled in order by the caller. Returns 0 or -ENOMEM. */
int
array_create(struct array *a, size_t n);

void
array_destroy(struct array *a);

/** The map that holds @p addr, or NULL. */
const struct vhost_iotlb_map *
array_lookup(const struct array *a, uint64_t addr);

/** Add a map. Returns 0, -EEXIST or -ENOMEM. */
int
array_add(struct array *a, const struct vhost_iotlb_map *map);

/** Delete the map that starts at @p start, if there is one. */
void
array_del(struct array *a, uint64_t start);

/** Make @p copy, which array_create() made, the same as @p a. Returns 0 or -ENOMEM. */
int
array_copy(struct array *copy, const struct array *a);

/** Number of maps that are in one of the two and not in the other. */
size_t
array_diff(const struct array *a, const struct array *b);

#endif /* IOTLB_BENCH_ARRAY_H */

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * table: what a struct vhost_iotlb is made of.
 *
 * Owns: the inside of a table, shared by table.c (changes, transactions) and diff.c (comparison).
 * Nobody else includes it; threads as vhost_iotlb.h.
 */
#ifndef VHOST_IOTLB_TABLE_H
#define VHOST_IOTLB_TABLE_H

#include "age.h"
#include "tree.h"

struct vhost_iotlb {
	struct vhost_iotlb_tree tree;
	size_t limit;                          /* VHOST_IOTLB_UNLIMITED or the most maps */
	unsigned int flags;                    /* VHOST_IOTLB_RETIRE_OLDEST */
	uint64_t next_age;                     /* of the next map that is added */
	struct vhost_iotlb_ages ages;          /* kept by tables that retire */
};

/** Is it known what the map IS? If not, its host address alone says it. */
static inline bool
vhost_iotlb_map_is_backed(const struct vhost_iotlb_map *map)
{
	return map->backing.ino != 0;
}

#endif /* VHOST_IOTLB_TABLE_H */

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * table: what a struct vhost_iotlb is made of.
 *
 * Owns: the inside of a table, shared by table.c (changes, transactions) and diff.c (comparison).
 * Nobody else includes it; threads as vhost_iotlb.h.
 */
#ifndef VHOST_IOTLB_TABLE_H
#define VHOST_IOTLB_TABLE_H

#include "tree.h"

struct vhost_iotlb {
	struct vhost_iotlb_tree tree;
	size_t count;
	size_t limit;                          /* VHOST_IOTLB_UNLIMITED or the most maps */
	unsigned int flags;                    /* VHOST_IOTLB_RETIRE_OLDEST */
	/* All maps in the order of age; those of the open transaction (fresh) are the end of it. */
	struct vhost_iotlb_node *oldest, *youngest;
	bool txn;                              /* a transaction is open */
	/* Maps of before the transaction that it took out, last one first, linked by child[0]. */
	struct vhost_iotlb_node *removed;
};

/** Is it known what the map IS? If not, its host address alone says it. */
static inline bool
vhost_iotlb_map_is_backed(const struct vhost_iotlb_map *map)
{
	return map->backing.ino != 0;
}

#endif /* VHOST_IOTLB_TABLE_H */

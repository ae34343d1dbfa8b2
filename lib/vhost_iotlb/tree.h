/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tree: the maps of a table in the order of their addresses.
 *
 * Owns: a balanced (AVL) tree of nodes and the shape of a node. The intervals of a tree never
 * overlap, so that ordering them by start orders them by last as well, and no node needs to know
 * the extent of its subtree. The tree allocates nothing: nodes come from the caller, and putting
 * one in or taking one out can't fail. For table.c and diff.c alone; threads as vhost_iotlb.h.
 */
#ifndef VHOST_IOTLB_TREE_H
#define VHOST_IOTLB_TREE_H

#include "vhost_iotlb.h"

/** What a search reads, children and interval, shares one cache line of this size. */
#define VHOST_IOTLB_NODE_ALIGN 64

struct vhost_iotlb_node {
	/** Lower and higher addresses. Out of the tree the first is free for the owner to link
	 * with. */
	struct vhost_iotlb_node *child[2];
	struct vhost_iotlb_map map;
	struct vhost_iotlb_node *parent;
	/** Neighbours in the order of age. table.c's. */
	struct vhost_iotlb_node *older, *younger;
	/** Of the subtree; a leaf has 1. */
	int height;
	/** Added in the open transaction. table.c's. */
	bool fresh;
} __attribute__((aligned(VHOST_IOTLB_NODE_ALIGN)));

struct vhost_iotlb_tree {
	struct vhost_iotlb_node *root;
};

/** The lowest node whose interval ends at or above @p addr, or NULL. */
struct vhost_iotlb_node *
vhost_iotlb_tree_seek(const struct vhost_iotlb_tree *tree, uint64_t addr);

/** The node after @p n, or NULL. */
struct vhost_iotlb_node *
vhost_iotlb_tree_next(const struct vhost_iotlb_node *n);

/** Put @p n in. It overlaps no node of the tree. */
void
vhost_iotlb_tree_insert(struct vhost_iotlb_tree *tree, struct vhost_iotlb_node *n);

/** Take @p n out. Other nodes stay where they are in memory. */
void
vhost_iotlb_tree_remove(struct vhost_iotlb_tree *tree, struct vhost_iotlb_node *n);

#endif /* VHOST_IOTLB_TREE_H */

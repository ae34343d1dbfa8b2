/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tree: the maps of a table in the order of their addresses.
 *
 * Owns: a B+-tree of the nodes of node.h. The intervals of a tree never overlap, so that ordering
 * them by start orders them by last as well. Wide nodes make few levels, four for a million maps,
 * and a search reads of each about three cache lines and of the maps themselves none.
 *
 * Changes: first say what is to come (the functions named need), then reserve nodes for it, then do
 * it, which can't fail, then settle. A map moves in memory when its neighbours change.
 *
 * Transactions: the tree of before stays whole, so that undoing is to take its root again.
 *
 * For table.c and diff.c alone; threads as vhost_iotlb.h.
 */
#ifndef VHOST_IOTLB_TREE_H
#define VHOST_IOTLB_TREE_H

#include "node.h"

/** Most levels of inner nodes. With 30 children a node and 15 maps a leaf no 64-bit address space
 * has the memory for another one. */
#define VHOST_IOTLB_MAX_HEIGHT 12u

struct vhost_iotlb_root {
	/** NULL: there are no maps. */
	struct vhost_iotlb_node *node;
	/** Levels of inner nodes; 0: node is a leaf. */
	unsigned int height;
	/** Maps. */
	size_t count;
};

/** Zero: an empty tree. */
struct vhost_iotlb_tree {
	struct vhost_iotlb_root root;
	/** Of the open transaction's beginning. */
	struct vhost_iotlb_root before;
	/** The open transaction took out all of before at once, and not node by node. */
	bool all_gone;
	struct vhost_iotlb_nodes nodes;
};

/** The map at a place: number at of leaf, which is number up_at of up's children, if there is an
 * up. leaf is NULL at the end, and there is no map. */
static inline const struct vhost_iotlb_map *
vhost_iotlb_pos_map(const struct vhost_iotlb_pos *pos)
{
	return pos->leaf != NULL ? &pos->leaf->map[pos->at] : NULL;
}

/** The leaf behind that of @p pos, as far as its parent knows, or NULL. */
static inline struct vhost_iotlb_leaf *
vhost_iotlb_pos_after(const struct vhost_iotlb_pos *pos)
{
	if (pos->up == NULL || pos->up_at + 1 == pos->up->node.n)
		return NULL;
	return vhost_iotlb_leaf_of(pos->up->child[pos->up_at + 1]);
}

/** The leaf with the map that holds @p addr, and its number there; or NULL. */
struct vhost_iotlb_leaf *
vhost_iotlb_tree_find(const struct vhost_iotlb_tree *tree, uint64_t addr, unsigned int *at);

/** The place of the lowest map that ends at or above @p addr. */
struct vhost_iotlb_pos
vhost_iotlb_tree_seek(const struct vhost_iotlb_root *root, uint64_t addr);

/** Go to the next place. @p pos is not at the end. */
void
vhost_iotlb_tree_step(const struct vhost_iotlb_root *root, struct vhost_iotlb_pos *pos);

/** Add to @p need what inserting a map at @p start takes, if it is the first change. */
void
vhost_iotlb_tree_need_insert(const struct vhost_iotlb_tree *tree, uint64_t start,
		struct vhost_iotlb_need *need);

/** Add to @p need what inserting or removing any one map takes, whatever changes come before it. */
void
vhost_iotlb_tree_need_any(const struct vhost_iotlb_tree *tree, struct vhost_iotlb_need *need);

/** Add to @p need what it takes to remove or cut maps that overlap [start, last]. */
void
vhost_iotlb_tree_need_range(const struct vhost_iotlb_tree *tree, uint64_t start, uint64_t last,
		struct vhost_iotlb_need *need);

/** Put @p map in. It overlaps none of the tree. */
void
vhost_iotlb_tree_insert(struct vhost_iotlb_tree *tree, const struct vhost_iotlb_map *map,
		uint64_t age);

/** Take out the map that starts at @p start. */
void
vhost_iotlb_tree_remove(struct vhost_iotlb_tree *tree, uint64_t start);

/** Let @p part, an interval of the map that starts at @p start, take that map's place. */
void
vhost_iotlb_tree_cut(struct vhost_iotlb_tree *tree, uint64_t start,
		const struct vhost_iotlb_map *part, uint64_t age);

/** Take out all maps. Needs no nodes. */
void
vhost_iotlb_tree_clear(struct vhost_iotlb_tree *tree);

/** Make @p copy, which is empty, hold the maps of @p tree. Returns 0, or -ENOMEM with @p copy empty
 * again. */
int
vhost_iotlb_tree_copy(struct vhost_iotlb_tree *copy, const struct vhost_iotlb_tree *tree);

/** Free all memory. No transaction is open. */
void
vhost_iotlb_tree_fini(struct vhost_iotlb_tree *tree);

/** Begin a transaction; none is open. */
void
vhost_iotlb_tree_begin(struct vhost_iotlb_tree *tree);

void
vhost_iotlb_tree_commit(struct vhost_iotlb_tree *tree);

void
vhost_iotlb_tree_abort(struct vhost_iotlb_tree *tree);

#endif /* VHOST_IOTLB_TREE_H */

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * node: what the tree of a table is made of.
 *
 * Owns: the shape of leaves and inner nodes; their memory; and which of them a transaction may
 * write.
 *
 * Memory comes in two steps. Reserving allocates all the nodes that a change can need, and may
 * fail; after it the change takes and drops nodes, which can't. What is left over goes into a small
 * stock for the next change.
 *
 * While a transaction is open, nodes from before it are not written. A change that has to write one
 * writes a copy, and puts the original into a list of those that are gone; nodes made meanwhile are
 * in another list. Ending the transaction frees one list, undoing it the other, and neither
 * allocates anything.
 *
 * For tree.c alone, but for the shapes; threads as vhost_iotlb.h.
 */
#ifndef VHOST_IOTLB_NODE_H
#define VHOST_IOTLB_NODE_H

#include "pool.h"
#include "vhost_iotlb.h"

/** Cache line. Nodes begin at one, and what a search reads of them. */
#define VHOST_IOTLB_LINE 64

/** Most maps of a leaf and most children of an inner node. (Tests make nodes small, and so trees
 * high.) */
#ifndef VHOST_IOTLB_LEAF_MAPS
#define VHOST_IOTLB_LEAF_MAPS 32u
#endif
#ifndef VHOST_IOTLB_FANOUT
#define VHOST_IOTLB_FANOUT 64u
#endif

_Static_assert(VHOST_IOTLB_LEAF_MAPS >= 4 && VHOST_IOTLB_FANOUT >= 4,
	"half of a node are at least two entries");

/** Keys are searched in groups of a cache line. */
#define VHOST_IOTLB_KEY_GROUP 8u
/** Room for the keys of @p n entries: whole groups. Unused keys are VHOST_IOTLB_NO_KEY. */
#define VHOST_IOTLB_KEYS(n) \
	(((n) + VHOST_IOTLB_KEY_GROUP - 1) / VHOST_IOTLB_KEY_GROUP * VHOST_IOTLB_KEY_GROUP)
#define VHOST_IOTLB_NO_KEY UINT64_MAX

/** The longest span that is not told from longer ones. */
#define VHOST_IOTLB_LONG UINT32_MAX

/** Most spare nodes to keep: what changing one map in a transaction takes, four levels high. */
#ifndef VHOST_IOTLB_STOCK
#define VHOST_IOTLB_STOCK { [VHOST_IOTLB_LEAF] = 4, [VHOST_IOTLB_INNER] = 12 }
#endif

enum vhost_iotlb_node_kind {
	VHOST_IOTLB_LEAF,
	VHOST_IOTLB_INNER,
	VHOST_IOTLB_NODE_KINDS,
};

/** The head of every node. */
struct vhost_iotlb_node {
	/** Neighbours in the list that it is in, if any. */
	struct vhost_iotlb_node *prev, *next;
	/** The transaction that made it; 0: made in none. */
	uint64_t epoch;
	/** Maps or children. */
	unsigned int n;
	/** Where its memory lies: pool.h. */
	bool in_chunk;
};

/** Maps in the order of addresses. Where they start and how far they reach is there a second time,
 * packed: a search reads nothing else. */
struct vhost_iotlb_leaf {
	struct vhost_iotlb_node node;
	_Alignas(VHOST_IOTLB_LINE) uint64_t start[VHOST_IOTLB_KEYS(VHOST_IOTLB_LEAF_MAPS)];
	/** Last address less the first one; VHOST_IOTLB_LONG: that or more, look at the map. */
	uint32_t span[VHOST_IOTLB_LEAF_MAPS];
	struct vhost_iotlb_map map[VHOST_IOTLB_LEAF_MAPS];
	/** When it was added, by the count of table.c. */
	uint64_t age[VHOST_IOTLB_LEAF_MAPS];
};

/** Children in the order of addresses. */
struct vhost_iotlb_inner {
	struct vhost_iotlb_node node;
	/** Where the lowest map below child[i] starts, but low[0] is 0: that of the first child the
	 * parent knows. */
	_Alignas(VHOST_IOTLB_LINE) uint64_t low[VHOST_IOTLB_KEYS(VHOST_IOTLB_FANOUT)];
	struct vhost_iotlb_node *child[VHOST_IOTLB_FANOUT];
};

/** A number of nodes of each kind. */
struct vhost_iotlb_need {
	unsigned int n[VHOST_IOTLB_NODE_KINDS];
};

/** The nodes of a tree. Zero: none, and no transaction. */
struct vhost_iotlb_nodes {
	/** Nodes of an earlier epoch are not to be written; 0: no transaction is open. */
	uint64_t floor;
	/** Of the latest transaction. */
	uint64_t epoch;
	/** In an open transaction: those it made, those it took out. */
	struct vhost_iotlb_node *made[VHOST_IOTLB_NODE_KINDS];
	struct vhost_iotlb_node *gone[VHOST_IOTLB_NODE_KINDS];
	struct vhost_iotlb_node *stock[VHOST_IOTLB_NODE_KINDS];
	struct vhost_iotlb_pool pool[VHOST_IOTLB_NODE_KINDS];
	struct vhost_iotlb_need stocked;
};

static inline struct vhost_iotlb_leaf *
vhost_iotlb_leaf_of(struct vhost_iotlb_node *node)
{
	return (struct vhost_iotlb_leaf *)node;
}

static inline struct vhost_iotlb_inner *
vhost_iotlb_inner_of(struct vhost_iotlb_node *node)
{
	return (struct vhost_iotlb_inner *)node;
}

static inline bool
vhost_iotlb_nodes_in_txn(const struct vhost_iotlb_nodes *nodes)
{
	return nodes->floor != 0;
}

/** May @p node be written? */
static inline bool
vhost_iotlb_node_is_own(const struct vhost_iotlb_nodes *nodes, const struct vhost_iotlb_node *node)
{
	return node->epoch >= nodes->floor;
}

/** Have at least @p need in stock. Returns 0, or -ENOMEM with the stock as it was. */
int
vhost_iotlb_nodes_reserve(struct vhost_iotlb_nodes *nodes, const struct vhost_iotlb_need *need);

/** A change is done: keep no more in stock than the next one is likely to need. */
void
vhost_iotlb_nodes_settle(struct vhost_iotlb_nodes *nodes);

/** A new, empty node. It was reserved. */
struct vhost_iotlb_node *
vhost_iotlb_node_take(struct vhost_iotlb_nodes *nodes, enum vhost_iotlb_node_kind kind);

/** A new node that holds what @p node, of the same or another tree, holds. It was reserved. */
struct vhost_iotlb_node *
vhost_iotlb_node_copy(struct vhost_iotlb_nodes *nodes, struct vhost_iotlb_node *node,
		enum vhost_iotlb_node_kind kind);

/** @p node if it may be written, else a copy of it, which was reserved; it itself is gone then. */
struct vhost_iotlb_node *
vhost_iotlb_node_own(struct vhost_iotlb_nodes *nodes, struct vhost_iotlb_node *node,
		enum vhost_iotlb_node_kind kind);

/** @p node left the tree. */
void
vhost_iotlb_node_drop(struct vhost_iotlb_nodes *nodes, struct vhost_iotlb_node *node,
		enum vhost_iotlb_node_kind kind);

/** Begin a transaction; none is open. */
void
vhost_iotlb_nodes_begin(struct vhost_iotlb_nodes *nodes);

/** End it: what is gone is freed. */
void
vhost_iotlb_nodes_commit(struct vhost_iotlb_nodes *nodes);

/** End it the other way: what was made is freed. */
void
vhost_iotlb_nodes_abort(struct vhost_iotlb_nodes *nodes);

/** Free what was made in the open transaction, and forget what is gone: the caller knows. */
void
vhost_iotlb_nodes_restart(struct vhost_iotlb_nodes *nodes);

/** Order the leaves that were made, and those that are gone, by their addresses. */
void
vhost_iotlb_nodes_sort(struct vhost_iotlb_nodes *nodes);

/** Free the stock. */
void
vhost_iotlb_nodes_fini(struct vhost_iotlb_nodes *nodes);

#endif /* VHOST_IOTLB_NODE_H */

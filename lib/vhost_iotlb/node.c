/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "node.h"

/* Most of the stock between changes. */
static const struct vhost_iotlb_need keep = { .n = VHOST_IOTLB_STOCK };

static size_t
size_of(enum vhost_iotlb_node_kind kind)
{
	return kind == VHOST_IOTLB_LEAF ? sizeof(struct vhost_iotlb_leaf) :
		sizeof(struct vhost_iotlb_inner);
}

/*
 * Lists.
 */

static void
list_push(struct vhost_iotlb_node **list, struct vhost_iotlb_node *node)
{
	node->prev = NULL;
	node->next = *list;
	if (*list != NULL)
		(*list)->prev = node;
	*list = node;
}

static void
list_remove(struct vhost_iotlb_node **list, struct vhost_iotlb_node *node)
{
	if (node->prev != NULL)
		node->prev->next = node->next;
	else
		*list = node->next;
	if (node->next != NULL)
		node->next->prev = node->prev;
}

static uint64_t
first_address(struct vhost_iotlb_node *node)
{
	return vhost_iotlb_leaf_of(node)->start[0];
}

/* Two lists of leaves in order make one. Looks at next alone. */
static struct vhost_iotlb_node *
list_merge(struct vhost_iotlb_node *a, struct vhost_iotlb_node *b)
{
	struct vhost_iotlb_node *list = NULL, **end = &list;

	while (a != NULL && b != NULL) {
		struct vhost_iotlb_node **lower = first_address(a) <= first_address(b) ? &a : &b;

		*end = *lower;
		end = &(*lower)->next;
		*lower = (*lower)->next;
	}
	*end = a != NULL ? a : b;
	return list;
}

/* Sort by merging: bin i holds a list of 2^i leaves, or none. */
static struct vhost_iotlb_node *
list_sort(struct vhost_iotlb_node *list)
{
	struct vhost_iotlb_node *bin[64] = { NULL }, *node, *prev = NULL;
	unsigned int i;

	while ((node = list) != NULL) {
		list = node->next;
		node->next = NULL;
		for (i = 0; bin[i] != NULL; i++) {
			node = list_merge(bin[i], node);
			bin[i] = NULL;
		}
		bin[i] = node;
	}
	for (i = 0; i < 64; i++)
		list = list_merge(bin[i], list);
	for (node = list; node != NULL; node = node->next) {
		node->prev = prev;
		prev = node;
	}
	return list;
}

/*
 * Memory.
 */

static struct vhost_iotlb_node *
node_alloc(struct vhost_iotlb_nodes *nodes, enum vhost_iotlb_node_kind kind)
{
	bool in_chunk;
	struct vhost_iotlb_node *node =
		vhost_iotlb_pool_get(&nodes->pool[kind], size_of(kind), &in_chunk);

	if (node != NULL)
		node->in_chunk = in_chunk;
	return node;
}

static void
node_free(struct vhost_iotlb_nodes *nodes, struct vhost_iotlb_node *node,
		enum vhost_iotlb_node_kind kind)
{
	vhost_iotlb_pool_put(&nodes->pool[kind], node, node->in_chunk);
}

static void
stock_push(struct vhost_iotlb_nodes *nodes, struct vhost_iotlb_node *node,
		enum vhost_iotlb_node_kind kind)
{
	node->next = nodes->stock[kind];
	nodes->stock[kind] = node;
	nodes->stocked.n[kind]++;
}

static struct vhost_iotlb_node *
stock_pop(struct vhost_iotlb_nodes *nodes, enum vhost_iotlb_node_kind kind)
{
	struct vhost_iotlb_node *node = nodes->stock[kind];

	nodes->stock[kind] = node->next;
	nodes->stocked.n[kind]--;
	return node;
}

/* Leave at most @p most of each kind in stock. */
static void
stock_trim(struct vhost_iotlb_nodes *nodes, const struct vhost_iotlb_need *most)
{
	for (unsigned int kind = 0; kind < VHOST_IOTLB_NODE_KINDS; kind++)
		while (nodes->stocked.n[kind] > most->n[kind])
			node_free(nodes, stock_pop(nodes, kind), kind);
}

/* No longer used by anybody. */
static void
release(struct vhost_iotlb_nodes *nodes, struct vhost_iotlb_node *node,
		enum vhost_iotlb_node_kind kind)
{
	if (nodes->stocked.n[kind] < keep.n[kind])
		stock_push(nodes, node, kind);
	else
		node_free(nodes, node, kind);
}

static void
release_list(struct vhost_iotlb_nodes *nodes, struct vhost_iotlb_node **list,
		enum vhost_iotlb_node_kind kind)
{
	struct vhost_iotlb_node *node;

	while ((node = *list) != NULL) {
		*list = node->next;
		release(nodes, node, kind);
	}
}

int
vhost_iotlb_nodes_reserve(struct vhost_iotlb_nodes *nodes, const struct vhost_iotlb_need *need)
{
	const struct vhost_iotlb_need before = nodes->stocked;

	for (unsigned int kind = 0; kind < VHOST_IOTLB_NODE_KINDS; kind++) {
		while (nodes->stocked.n[kind] < need->n[kind]) {
			struct vhost_iotlb_node *node = node_alloc(nodes, kind);

			if (node == NULL) {
				stock_trim(nodes, &before);
				return -ENOMEM;
			}
			stock_push(nodes, node, kind);
		}
	}
	return 0;
}

void
vhost_iotlb_nodes_settle(struct vhost_iotlb_nodes *nodes)
{
	stock_trim(nodes, &keep);
}

void
vhost_iotlb_nodes_fini(struct vhost_iotlb_nodes *nodes)
{
	static const struct vhost_iotlb_need none;

	stock_trim(nodes, &none);
	for (unsigned int kind = 0; kind < VHOST_IOTLB_NODE_KINDS; kind++)
		vhost_iotlb_pool_fini(&nodes->pool[kind]);
}

/* An empty node but for its entries and keys. */
static struct vhost_iotlb_node *
take_raw(struct vhost_iotlb_nodes *nodes, enum vhost_iotlb_node_kind kind)
{
	struct vhost_iotlb_node *node = stock_pop(nodes, kind);

	node->n = 0;
	node->epoch = 0;
	if (vhost_iotlb_nodes_in_txn(nodes)) {
		node->epoch = nodes->epoch;
		list_push(&nodes->made[kind], node);
	}
	return node;
}

struct vhost_iotlb_node *
vhost_iotlb_node_take(struct vhost_iotlb_nodes *nodes, enum vhost_iotlb_node_kind kind)
{
	struct vhost_iotlb_node *node = take_raw(nodes, kind);

	if (kind == VHOST_IOTLB_LEAF) {
		struct vhost_iotlb_leaf *leaf = vhost_iotlb_leaf_of(node);

		memset(leaf->start, 0xff, sizeof(leaf->start));
	} else {
		struct vhost_iotlb_inner *inner = vhost_iotlb_inner_of(node);

		memset(inner->low, 0xff, sizeof(inner->low));
	}
	return node;
}

static void
copy_leaf(struct vhost_iotlb_leaf *to, const struct vhost_iotlb_leaf *from)
{
	unsigned int n = from->node.n;

	memcpy(to->start, from->start, sizeof(to->start));
	memcpy(to->span, from->span, n * sizeof(to->span[0]));
	memcpy(to->map, from->map, n * sizeof(to->map[0]));
	memcpy(to->age, from->age, n * sizeof(to->age[0]));
}

static void
copy_inner(struct vhost_iotlb_inner *to, const struct vhost_iotlb_inner *from)
{
	memcpy(to->low, from->low, sizeof(to->low));
	memcpy(to->child, from->child, from->node.n * sizeof(to->child[0]));
}

struct vhost_iotlb_node *
vhost_iotlb_node_copy(struct vhost_iotlb_nodes *nodes, struct vhost_iotlb_node *node,
		enum vhost_iotlb_node_kind kind)
{
	struct vhost_iotlb_node *copy = take_raw(nodes, kind);

	copy->n = node->n;
	if (kind == VHOST_IOTLB_LEAF)
		copy_leaf(vhost_iotlb_leaf_of(copy), vhost_iotlb_leaf_of(node));
	else
		copy_inner(vhost_iotlb_inner_of(copy), vhost_iotlb_inner_of(node));
	return copy;
}

struct vhost_iotlb_node *
vhost_iotlb_node_own(struct vhost_iotlb_nodes *nodes, struct vhost_iotlb_node *node,
		enum vhost_iotlb_node_kind kind)
{
	struct vhost_iotlb_node *own;

	if (vhost_iotlb_node_is_own(nodes, node))
		return node;
	own = vhost_iotlb_node_copy(nodes, node, kind);
	list_push(&nodes->gone[kind], node);
	return own;
}

void
vhost_iotlb_node_drop(struct vhost_iotlb_nodes *nodes, struct vhost_iotlb_node *node,
		enum vhost_iotlb_node_kind kind)
{
	if (!vhost_iotlb_node_is_own(nodes, node)) {
		list_push(&nodes->gone[kind], node);
		return;
	}
	if (vhost_iotlb_nodes_in_txn(nodes))
		list_remove(&nodes->made[kind], node);
	release(nodes, node, kind);
}

/*
 * Transactions.
 */

void
vhost_iotlb_nodes_begin(struct vhost_iotlb_nodes *nodes)
{
	nodes->floor = ++nodes->epoch;
}

/* Free the nodes of @p dead and forget those of @p live, which are in the tree. */
static void
end_txn(struct vhost_iotlb_nodes *nodes, struct vhost_iotlb_node **dead,
		struct vhost_iotlb_node **live)
{
	for (unsigned int kind = 0; kind < VHOST_IOTLB_NODE_KINDS; kind++) {
		release_list(nodes, &dead[kind], kind);
		live[kind] = NULL;
	}
}

void
vhost_iotlb_nodes_commit(struct vhost_iotlb_nodes *nodes)
{
	end_txn(nodes, nodes->gone, nodes->made);
	nodes->floor = 0;
}

void
vhost_iotlb_nodes_abort(struct vhost_iotlb_nodes *nodes)
{
	end_txn(nodes, nodes->made, nodes->gone);
	nodes->floor = 0;
}

void
vhost_iotlb_nodes_restart(struct vhost_iotlb_nodes *nodes)
{
	end_txn(nodes, nodes->made, nodes->gone);
}

void
vhost_iotlb_nodes_sort(struct vhost_iotlb_nodes *nodes)
{
	nodes->made[VHOST_IOTLB_LEAF] = list_sort(nodes->made[VHOST_IOTLB_LEAF]);
	nodes->gone[VHOST_IOTLB_LEAF] = list_sort(nodes->gone[VHOST_IOTLB_LEAF]);
}

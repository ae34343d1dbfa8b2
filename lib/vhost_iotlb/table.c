/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "table.h"

static struct vhost_iotlb_node *
node_of(const struct vhost_iotlb_map *map)
{
	return (struct vhost_iotlb_node *)
		((uintptr_t)map - offsetof(struct vhost_iotlb_node, map));
}

static struct vhost_iotlb_node *
node_new(const struct vhost_iotlb_map *map)
{
	struct vhost_iotlb_node *n = aligned_alloc(VHOST_IOTLB_NODE_ALIGN, sizeof(*n));

	if (n != NULL)
		n->map = *map;
	return n;
}

static bool
map_is_valid(const struct vhost_iotlb_map *map)
{
	uint64_t room = UINT64_MAX - (map->last - map->start);

	if (map->start > map->last)
		return false;
	if (map->perm != VHOST_ACCESS_RO && map->perm != VHOST_ACCESS_WO &&
			map->perm != VHOST_ACCESS_RW)
		return false;
	if (vhost_iotlb_map_is_backed(map) && map->backing.offset > room)
		return false;
	return map->addr <= room;
}

/*
 * The order of age: a list from the oldest to the youngest. Nodes of the open transaction are
 * younger than all others, so that they are its end.
 */

static void
age_append(struct vhost_iotlb *t, struct vhost_iotlb_node *n)
{
	n->older = t->youngest;
	n->younger = NULL;
	if (t->youngest != NULL)
		t->youngest->younger = n;
	else
		t->oldest = n;
	t->youngest = n;
}

/* Takes n out and leaves its own pointers as they were: age_restore() reads them. */
static void
age_remove(struct vhost_iotlb *t, struct vhost_iotlb_node *n)
{
	if (n->older != NULL)
		n->older->younger = n->younger;
	else
		t->oldest = n->younger;
	if (n->younger != NULL)
		n->younger->older = n->older;
	else
		t->youngest = n->older;
}

/* Undo age_remove(). Everything that was removed later is back already, so that the node before
 * which n stood is in the list, or n was the oldest. The node behind it may have been a fresh one,
 * which is gone. */
static void
age_restore(struct vhost_iotlb *t, struct vhost_iotlb_node *n)
{
	n->younger = n->older != NULL ? n->older->younger : t->oldest;
	if (n->older != NULL)
		n->older->younger = n;
	else
		t->oldest = n;
	if (n->younger != NULL)
		n->younger->older = n;
	else
		t->youngest = n;
}

static void
link_new(struct vhost_iotlb *t, struct vhost_iotlb_node *n)
{
	n->fresh = t->txn;
	vhost_iotlb_tree_insert(&t->tree, n);
	age_append(t, n);
	t->count++;
}

/* Take a node out of the table: for good, or to wait for the end of the transaction. */
static void
drop(struct vhost_iotlb *t, struct vhost_iotlb_node *n)
{
	vhost_iotlb_tree_remove(&t->tree, n);
	age_remove(t, n);
	t->count--;
	if (t->txn && !n->fresh) {
		n->child[0] = t->removed;
		t->removed = n;
	} else {
		free(n);
	}
}

/* Can a table that is about to lose @p out maps take @p in more? */
static bool
has_room(const struct vhost_iotlb *t, size_t out, size_t in)
{
	return t->limit == VHOST_IOTLB_UNLIMITED || (t->flags & VHOST_IOTLB_RETIRE_OLDEST) != 0 ||
		t->count - out + in <= t->limit;
}

static void
link_retiring(struct vhost_iotlb *t, struct vhost_iotlb_node *n)
{
	if (t->limit != VHOST_IOTLB_UNLIMITED && t->count >= t->limit)
		drop(t, t->oldest);
	link_new(t, n);
}

struct vhost_iotlb *
vhost_iotlb_create(size_t limit, unsigned int flags)
{
	struct vhost_iotlb *t = calloc(1, sizeof(*t));

	if (t != NULL) {
		t->limit = limit;
		t->flags = flags;
	}
	return t;
}

void
vhost_iotlb_destroy(struct vhost_iotlb *t)
{
	if (t == NULL)
		return;
	vhost_iotlb_txn_commit(t);
	vhost_iotlb_reset(t);
	free(t);
}

int
vhost_iotlb_add(struct vhost_iotlb *t, const struct vhost_iotlb_map *map)
{
	struct vhost_iotlb_node *n;

	if (!map_is_valid(map))
		return -EINVAL;
	if (vhost_iotlb_first(t, map->start, map->last) != NULL)
		return -EEXIST;
	if (!has_room(t, 0, 1))
		return -ENOSPC;
	n = node_new(map);
	if (n == NULL)
		return -ENOMEM;
	link_retiring(t, n);
	return 0;
}

/* Make what is left of the first map of a range below it, and of its last map above it: NULL where
 * nothing is. Nothing is linked yet. */
static int
make_rests(const struct vhost_iotlb_map *first, const struct vhost_iotlb_map *end,
		uint64_t start, uint64_t last, struct vhost_iotlb_node *rest[2])
{
	struct vhost_iotlb_map part;

	rest[0] = NULL;
	rest[1] = NULL;
	if (first->start < start) {
		part = vhost_iotlb_map_slice(first, first->start, start - 1);
		rest[0] = node_new(&part);
		if (rest[0] == NULL)
			return -ENOMEM;
	}
	if (end->last > last) {
		part = vhost_iotlb_map_slice(end, last + 1, end->last);
		rest[1] = node_new(&part);
		if (rest[1] == NULL) {
			free(rest[0]);
			return -ENOMEM;
		}
	}
	return 0;
}

int
vhost_iotlb_del(struct vhost_iotlb *t, uint64_t start, uint64_t last)
{
	const struct vhost_iotlb_map *map, *first, *end = NULL;
	struct vhost_iotlb_node *n, *next, *rest[2];
	size_t hit = 0;
	int ret;

	if (start > last)
		return -EINVAL;
	first = vhost_iotlb_first(t, start, last);
	if (first == NULL)
		return 0;
	for (map = first; map != NULL; map = vhost_iotlb_next(t, map, last)) {
		end = map;
		hit++;
	}
	if (!has_room(t, hit, (first->start < start) + (end->last > last)))
		return -ENOSPC;
	ret = make_rests(first, end, start, last, rest);
	if (ret < 0)
		return ret;
	/* Nothing fails from here on. */
	for (n = node_of(first); hit > 0; hit--) {
		next = vhost_iotlb_tree_next(n);
		drop(t, n);
		n = next;
	}
	for (int i = 0; i < 2; i++)
		if (rest[i] != NULL)
			link_retiring(t, rest[i]);
	return 0;
}

void
vhost_iotlb_reset(struct vhost_iotlb *t)
{
	while (t->oldest != NULL)
		drop(t, t->oldest);
}

size_t
vhost_iotlb_count(const struct vhost_iotlb *t)
{
	return t->count;
}

const struct vhost_iotlb_map *
vhost_iotlb_lookup(const struct vhost_iotlb *t, uint64_t addr)
{
	return vhost_iotlb_first(t, addr, addr);
}

const struct vhost_iotlb_map *
vhost_iotlb_first(const struct vhost_iotlb *t, uint64_t start, uint64_t last)
{
	const struct vhost_iotlb_node *n = vhost_iotlb_tree_seek(&t->tree, start);

	return n != NULL && n->map.start <= last ? &n->map : NULL;
}

const struct vhost_iotlb_map *
vhost_iotlb_next(const struct vhost_iotlb *t, const struct vhost_iotlb_map *map, uint64_t last)
{
	const struct vhost_iotlb_node *n = vhost_iotlb_tree_next(node_of(map));

	(void)t;
	return n != NULL && n->map.start <= last ? &n->map : NULL;
}

struct vhost_iotlb *
vhost_iotlb_copy(const struct vhost_iotlb *t)
{
	struct vhost_iotlb *copy = vhost_iotlb_create(t->limit, t->flags);
	const struct vhost_iotlb_node *n;

	if (copy == NULL)
		return NULL;
	for (n = t->oldest; n != NULL; n = n->younger) {
		struct vhost_iotlb_node *twin = node_new(&n->map);

		if (twin == NULL) {
			vhost_iotlb_destroy(copy);
			return NULL;
		}
		link_new(copy, twin);
	}
	return copy;
}

int
vhost_iotlb_txn_begin(struct vhost_iotlb *t)
{
	if (t->txn)
		return -EBUSY;
	t->txn = true;
	return 0;
}

void
vhost_iotlb_txn_commit(struct vhost_iotlb *t)
{
	struct vhost_iotlb_node *n;

	t->txn = false;
	for (n = t->youngest; n != NULL && n->fresh; n = n->older)
		n->fresh = false;
	while ((n = t->removed) != NULL) {
		t->removed = n->child[0];
		free(n);
	}
}

void
vhost_iotlb_txn_abort(struct vhost_iotlb *t)
{
	struct vhost_iotlb_node *n;

	while (t->youngest != NULL && t->youngest->fresh)
		drop(t, t->youngest);
	/* The stack gives them back last removed first, as age_restore() wants it. */
	while ((n = t->removed) != NULL) {
		t->removed = n->child[0];
		vhost_iotlb_tree_insert(&t->tree, n);
		age_restore(t, n);
		t->count++;
	}
	t->txn = false;
}

bool
vhost_iotlb_txn_is_open(const struct vhost_iotlb *t)
{
	return t->txn;
}

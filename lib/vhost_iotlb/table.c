/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "table.h"

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

static bool
retires(const struct vhost_iotlb *t)
{
	return t->limit != VHOST_IOTLB_UNLIMITED && (t->flags & VHOST_IOTLB_RETIRE_OLDEST) != 0;
}

/* Can a table that is about to lose @p out maps take @p in more? */
static bool
has_room(const struct vhost_iotlb *t, size_t out, size_t in)
{
	return t->limit == VHOST_IOTLB_UNLIMITED || (t->flags & VHOST_IOTLB_RETIRE_OLDEST) != 0 ||
		t->tree.root.count - out + in <= t->limit;
}

/* A note of the order of age holds if the map that it tells of is still there. */
static bool
age_holds(const void *arg, const struct vhost_iotlb_age *note)
{
	const struct vhost_iotlb *t = arg;
	unsigned int at;
	const struct vhost_iotlb_leaf *leaf = vhost_iotlb_tree_find(&t->tree, note->start, &at);

	return leaf != NULL && leaf->age[at] == note->age;
}

/* A table that retires, and is full, drops its oldest map. */
static void
retire(struct vhost_iotlb *t)
{
	struct vhost_iotlb_age oldest;

	if (retires(t) && t->tree.root.count >= t->limit &&
			vhost_iotlb_ages_pop(&t->ages, age_holds, t, &oldest))
		vhost_iotlb_tree_remove(&t->tree, oldest.start);
}

/* The age of a map that is added now, at @p start. */
static uint64_t
new_age(struct vhost_iotlb *t, uint64_t start)
{
	if (retires(t))
		vhost_iotlb_ages_push(&t->ages, t->next_age, start);
	return t->next_age++;
}

/* Reserve what a change takes: @p need, and what goes with up to @p n maps that count as new. */
static int
reserve(struct vhost_iotlb *t, struct vhost_iotlb_need *need, size_t n)
{
	int ret;

	if (retires(t)) {
		/* One more to take out, and then other ways to the place of the new one. */
		vhost_iotlb_tree_need_any(&t->tree, need);
		vhost_iotlb_tree_need_any(&t->tree, need);
		ret = vhost_iotlb_ages_reserve(&t->ages, n, t->limit, age_holds, t);
		if (ret < 0)
			return ret;
	}
	return vhost_iotlb_nodes_reserve(&t->tree.nodes, need);
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
	vhost_iotlb_tree_fini(&t->tree);
	vhost_iotlb_ages_fini(&t->ages);
	free(t);
}

int
vhost_iotlb_add(struct vhost_iotlb *t, const struct vhost_iotlb_map *map)
{
	struct vhost_iotlb_need need = { 0 };
	int ret;

	if (!map_is_valid(map))
		return -EINVAL;
	if (vhost_iotlb_first(t, map->start, map->last) != NULL)
		return -EEXIST;
	if (!has_room(t, 0, 1))
		return -ENOSPC;
	vhost_iotlb_tree_need_insert(&t->tree, map->start, &need);
	ret = reserve(t, &need, 1);
	if (ret < 0)
		return ret;
	/* Nothing fails from here on. */
	retire(t);
	vhost_iotlb_tree_insert(&t->tree, map, new_age(t, map->start));
	vhost_iotlb_nodes_settle(&t->tree.nodes);
	return 0;
}

/* Leave of @p map, which reaches below @p start and above @p last, what is outside. */
static void
cut_in_two(struct vhost_iotlb *t, const struct vhost_iotlb_map *map, uint64_t start, uint64_t last)
{
	struct vhost_iotlb_map low = vhost_iotlb_map_slice(map, map->start, start - 1);
	struct vhost_iotlb_map high = vhost_iotlb_map_slice(map, last + 1, map->last);

	vhost_iotlb_tree_cut(&t->tree, low.start, &low, new_age(t, low.start));
	retire(t);
	vhost_iotlb_tree_insert(&t->tree, &high, new_age(t, high.start));
}

/* Take out what is in the range of the maps that overlap it, the first of which is @p map. */
static void
del_all(struct vhost_iotlb *t, const struct vhost_iotlb_map *map, uint64_t start, uint64_t last)
{
	struct vhost_iotlb_map rest;

	if (map->start < start) {
		rest = vhost_iotlb_map_slice(map, map->start, start - 1);
		vhost_iotlb_tree_cut(&t->tree, rest.start, &rest, new_age(t, rest.start));
	}
	while ((map = vhost_iotlb_first(t, start, last)) != NULL) {
		if (map->last > last) {
			rest = vhost_iotlb_map_slice(map, last + 1, map->last);
			vhost_iotlb_tree_cut(&t->tree, map->start, &rest, new_age(t, rest.start));
			break;
		}
		vhost_iotlb_tree_remove(&t->tree, map->start);
	}
}

int
vhost_iotlb_del(struct vhost_iotlb *t, uint64_t start, uint64_t last)
{
	struct vhost_iotlb_need need = { 0 };
	const struct vhost_iotlb_map *first;
	bool two;
	int ret;

	if (start > last)
		return -EINVAL;
	first = vhost_iotlb_first(t, start, last);
	if (first == NULL)
		return 0;
	/* There are more maps than before in this case alone. */
	two = first->start < start && first->last > last;
	if (two && !has_room(t, 0, 1))
		return -ENOSPC;
	vhost_iotlb_tree_need_range(&t->tree, start, last, &need);
	if (two)
		vhost_iotlb_tree_need_insert(&t->tree, first->start, &need);
	ret = reserve(t, &need, 2);
	if (ret < 0)
		return ret;
	/* Nothing fails from here on. */
	if (two)
		cut_in_two(t, first, start, last);
	else
		del_all(t, first, start, last);
	vhost_iotlb_nodes_settle(&t->tree.nodes);
	return 0;
}

void
vhost_iotlb_reset(struct vhost_iotlb *t)
{
	vhost_iotlb_tree_clear(&t->tree);
}

size_t
vhost_iotlb_count(const struct vhost_iotlb *t)
{
	return t->tree.root.count;
}

const struct vhost_iotlb_map *
vhost_iotlb_lookup(const struct vhost_iotlb *t, uint64_t addr)
{
	unsigned int at;
	const struct vhost_iotlb_leaf *leaf = vhost_iotlb_tree_find(&t->tree, addr, &at);

	return leaf != NULL ? &leaf->map[at] : NULL;
}

/* The map at @p pos, if it starts at or below @p last. */
static const struct vhost_iotlb_map *
map_upto(const struct vhost_iotlb_pos *pos, uint64_t last)
{
	return pos->leaf != NULL && pos->leaf->start[pos->at] <= last ?
		&pos->leaf->map[pos->at] : NULL;
}

const struct vhost_iotlb_map *
vhost_iotlb_first(const struct vhost_iotlb *t, uint64_t start, uint64_t last)
{
	struct vhost_iotlb_pos pos;

	if (start > last)
		return NULL;
	pos = vhost_iotlb_tree_seek(&t->tree.root, start);
	return map_upto(&pos, last);
}

const struct vhost_iotlb_map *
vhost_iotlb_next(const struct vhost_iotlb *t, const struct vhost_iotlb_map *map, uint64_t last)
{
	return map->last >= last ? NULL : vhost_iotlb_first(t, map->last + 1, last);
}

struct vhost_iotlb_iter
vhost_iotlb_iter_begin(const struct vhost_iotlb *t, uint64_t start, uint64_t last)
{
	struct vhost_iotlb_iter iter = { .table = t, .last = last };

	if (start <= last)
		iter.next = vhost_iotlb_tree_seek(&t->tree.root, start);
	return iter;
}

const struct vhost_iotlb_map *
vhost_iotlb_iter_next(struct vhost_iotlb_iter *iter)
{
	const struct vhost_iotlb_map *map = map_upto(&iter->next, iter->last);

	if (map != NULL)
		vhost_iotlb_tree_step(&iter->table->tree.root, &iter->next);
	return map;
}

struct vhost_iotlb *
vhost_iotlb_copy(const struct vhost_iotlb *t)
{
	struct vhost_iotlb *copy = vhost_iotlb_create(t->limit, t->flags);

	if (copy == NULL)
		return NULL;
	copy->next_age = t->next_age;
	if (vhost_iotlb_tree_copy(&copy->tree, &t->tree) < 0 ||
			vhost_iotlb_ages_copy(&copy->ages, &t->ages) < 0) {
		vhost_iotlb_destroy(copy);
		return NULL;
	}
	return copy;
}

int
vhost_iotlb_txn_begin(struct vhost_iotlb *t)
{
	if (vhost_iotlb_txn_is_open(t))
		return -EBUSY;
	vhost_iotlb_tree_begin(&t->tree);
	vhost_iotlb_ages_begin(&t->ages);
	return 0;
}

void
vhost_iotlb_txn_commit(struct vhost_iotlb *t)
{
	if (!vhost_iotlb_txn_is_open(t))
		return;
	vhost_iotlb_tree_commit(&t->tree);
	vhost_iotlb_ages_commit(&t->ages);
}

void
vhost_iotlb_txn_abort(struct vhost_iotlb *t)
{
	if (!vhost_iotlb_txn_is_open(t))
		return;
	vhost_iotlb_tree_abort(&t->tree);
	vhost_iotlb_ages_abort(&t->ages);
}

bool
vhost_iotlb_txn_is_open(const struct vhost_iotlb *t)
{
	return vhost_iotlb_nodes_in_txn(&t->tree.nodes);
}

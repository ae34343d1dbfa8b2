/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>

#include "table.h"

/* Host address at @p at. Where the backing says what the map is, 0 means "not mapped here" and has
 * no next address. */
static uint64_t
addr_at(const struct vhost_iotlb_map *map, uint64_t at)
{
	if (vhost_iotlb_map_is_backed(map) && map->addr == 0)
		return 0;
	return map->addr + (at - map->start);
}

static uint64_t
offset_at(const struct vhost_iotlb_map *map, uint64_t at)
{
	return map->backing.offset + (vhost_iotlb_map_is_backed(map) ? at - map->start : 0);
}

static bool
same_file(const struct vhost_iotlb_map *a, const struct vhost_iotlb_map *b)
{
	return a->backing.ino == b->backing.ino && a->backing.dev == b->backing.dev;
}

struct vhost_iotlb_map
vhost_iotlb_map_slice(const struct vhost_iotlb_map *map, uint64_t start, uint64_t last)
{
	struct vhost_iotlb_map slice = *map;

	slice.start = start;
	slice.last = last;
	slice.addr = addr_at(map, start);
	slice.backing.offset = offset_at(map, start);
	return slice;
}

bool
vhost_iotlb_map_same(const struct vhost_iotlb_map *a, const struct vhost_iotlb_map *b,
		uint64_t addr)
{
	if (a->perm != b->perm || vhost_iotlb_map_is_backed(a) != vhost_iotlb_map_is_backed(b))
		return false;
	if (!vhost_iotlb_map_is_backed(a))
		return addr_at(a, addr) == addr_at(b, addr);
	return same_file(a, b) && offset_at(a, addr) == offset_at(b, addr);
}

/* Reads maps in the order of addresses: all of a tree, or those of a list of leaves. */
struct cursor {
	const struct vhost_iotlb_root *root;       /* NULL: a list */
	struct vhost_iotlb_pos next;
};

static struct cursor
cursor_of_tree(const struct vhost_iotlb_root *root)
{
	return (struct cursor){ root, vhost_iotlb_tree_seek(root, 0) };
}

static struct cursor
cursor_of_list(struct vhost_iotlb_node *list)
{
	return (struct cursor){ NULL, { .leaf = list == NULL ? NULL : vhost_iotlb_leaf_of(list) } };
}

/* Go @p n maps on, at most to the first one of the next leaf. */
static void
cursor_step(struct cursor *c, unsigned int n)
{
	c->next.at += n - 1;
	if (c->root != NULL)
		vhost_iotlb_tree_step(c->root, &c->next);
	else if (++c->next.at == c->next.leaf->node.n)
		*c = cursor_of_list(c->next.leaf->node.next);
}

enum { FROM, TO };

/* Two sets of maps, read side by side and cut into pieces over which neither changes. */
struct sweep {
	/* At the first map that does not end before pos. */
	struct cursor side[2];
	/* Past what was read. Past the last address it is 0, and both sides are at their end. */
	uint64_t pos;
};

struct piece {
	uint64_t start, last;
	const struct vhost_iotlb_map *map[2];      /* what is there on each side, or NULL */
};

/* The maps of the next leaf, or others that are no trouble to look at. */
static const struct vhost_iotlb_map *
maps_after(const struct vhost_iotlb_pos *pos)
{
	const struct vhost_iotlb_leaf *after = vhost_iotlb_pos_after(pos);

	if (after == NULL)
		return pos->leaf->map;
	__builtin_prefetch(&after->node);
	__builtin_prefetch(&after->start[0]);
	return after->map;
}

/* How many maps in a row, of the leaves at which both sides are, are the same on both. */
static unsigned int
same_maps(const struct vhost_iotlb_pos *from, const struct vhost_iotlb_pos *to)
{
	const struct vhost_iotlb_map *a = &from->leaf->map[from->at], *b = &to->leaf->map[to->at];
	const struct vhost_iotlb_map *after_a = maps_after(from) + from->at;
	const struct vhost_iotlb_map *after_b = maps_after(to) + to->at;
	unsigned int most = from->leaf->node.n - from->at, n;

	if (to->leaf->node.n - to->at < most)
		most = to->leaf->node.n - to->at;
	for (n = 0; n < most; n++) {
		/* By the time the sweep gets there it is in the cache. */
		__builtin_prefetch(&after_a[n]);
		__builtin_prefetch(&after_b[n]);
		if (a[n].start != b[n].start || a[n].last != b[n].last ||
				!vhost_iotlb_map_same(&a[n], &b[n], a[n].start))
			break;
	}
	return n;
}

/* Pass over maps that are the same on both sides, of which nothing was read yet. */
static void
sweep_skip(struct sweep *s)
{
	const struct vhost_iotlb_pos *from = &s->side[FROM].next, *to = &s->side[TO].next;
	unsigned int n;

	while (from->leaf != NULL && to->leaf != NULL &&
			from->leaf->start[from->at] >= s->pos) {
		n = same_maps(from, to);
		if (n == 0)
			return;
		s->pos = from->leaf->map[from->at + n - 1].last + 1;
		cursor_step(&s->side[FROM], n);
		cursor_step(&s->side[TO], n);
	}
}

/* The next piece in which one side maps something. Pieces that are the same on both sides may be
 * left out. */
static bool
sweep_step(struct sweep *s, struct piece *p)
{
	const struct vhost_iotlb_map *m[2];

	sweep_skip(s);
	for (int i = FROM; i <= TO; i++)
		m[i] = vhost_iotlb_pos_map(&s->side[i].next);
	if (m[FROM] == NULL && m[TO] == NULL)
		return false;
	/* It starts where the first map does, unless that one began in an earlier piece. */
	p->start = UINT64_MAX;
	for (int i = FROM; i <= TO; i++)
		if (m[i] != NULL && m[i]->start < p->start)
			p->start = m[i]->start;
	if (p->start < s->pos)
		p->start = s->pos;
	/* It ends where a map does, or before one starts. */
	p->last = UINT64_MAX;
	for (int i = FROM; i <= TO; i++) {
		p->map[i] = m[i] != NULL && m[i]->start <= p->start ? m[i] : NULL;
		if (p->map[i] != NULL && m[i]->last < p->last)
			p->last = m[i]->last;
		else if (p->map[i] == NULL && m[i] != NULL && m[i]->start - 1 < p->last)
			p->last = m[i]->start - 1;
	}
	for (int i = FROM; i <= TO; i++)
		if (p->map[i] != NULL && p->map[i]->last == p->last)
			cursor_step(&s->side[i], 1);
	s->pos = p->last + 1;
	return true;
}

/* Is one map enough for @p run and @p next: does the second begin, in every respect, where the
 * first ends? */
static bool
continues(enum vhost_iotlb_op op, const struct vhost_iotlb_map *run,
		const struct vhost_iotlb_map *next)
{
	if (run->last + 1 != next->start)
		return false;
	if (op == VHOST_IOTLB_OP_UNMAP)
		return true;
	/* A run that ends at the last host address or file offset there is goes on nowhere, not at
	 * 0. */
	if ((next->addr == 0 && run->addr != 0) ||
			(vhost_iotlb_map_is_backed(next) && next->backing.offset == 0))
		return false;
	return vhost_iotlb_map_same(run, next, next->start) &&
		addr_at(run, next->start) == next->addr;
}

/* Where the steps of a difference go. */
struct sink {
	vhost_iotlb_diff_fn fn;
	void *arg;
	int steps;
};

static int
emit(struct sink *sink, enum vhost_iotlb_op op, const struct vhost_iotlb_map *map)
{
	if (sink->steps < INT_MAX)
		sink->steps++;
	return sink->fn == NULL ? 0 : sink->fn(sink->arg, op, map);
}

/* Does a piece need a step of this kind? */
static bool
piece_needs(const struct piece *p, enum vhost_iotlb_op op)
{
	const struct vhost_iotlb_map *from = p->map[FROM], *to = p->map[TO];

	if ((op == VHOST_IOTLB_OP_UNMAP ? from : to) == NULL)
		return false;
	return from == NULL || to == NULL || !vhost_iotlb_map_same(from, to, p->start);
}

/* What is to be done about a piece that needs it. */
static struct vhost_iotlb_map
piece_step(const struct piece *p, enum vhost_iotlb_op op)
{
	if (op == VHOST_IOTLB_OP_MAP)
		return vhost_iotlb_map_slice(p->map[TO], p->start, p->last);
	return (struct vhost_iotlb_map){ .start = p->start, .last = p->last, .backing.fd = -1 };
}

/* Steps of one kind, neighbours joined. */
struct run {
	enum vhost_iotlb_op op;
	struct vhost_iotlb_map map;                /* the step that may still grow */
	bool any;                                  /* there is one */
};

/* Add a piece to the run, or let it begin another one. */
static int
run_add(struct run *r, const struct piece *p, struct sink *sink)
{
	struct vhost_iotlb_map next = piece_step(p, r->op);
	int ret = 0;

	if (r->any && continues(r->op, &r->map, &next)) {
		r->map.last = next.last;
		return 0;
	}
	if (r->any)
		ret = emit(sink, r->op, &r->map);
	r->map = next;
	r->any = true;
	return ret;
}

static int
run_end(const struct run *r, struct sink *sink)
{
	return r->any ? emit(sink, r->op, &r->map) : 0;
}

/* All unmaps. Tells how many pieces of @p sweep need a map, and leaves @p sweep at the first
 * one. */
static int
pass_unmaps(struct sweep *sweep, struct sink *sink, size_t *maps)
{
	struct run run = { .op = VHOST_IOTLB_OP_UNMAP };
	struct sweep s = *sweep, before;
	struct piece p;
	int ret = 0;

	*maps = 0;
	for (before = s; ret == 0 && sweep_step(&s, &p); before = s) {
		if (piece_needs(&p, VHOST_IOTLB_OP_MAP) && (*maps)++ == 0)
			*sweep = before;
		if (piece_needs(&p, VHOST_IOTLB_OP_UNMAP))
			ret = run_add(&run, &p, sink);
	}
	return ret != 0 ? ret : run_end(&run, sink);
}

/* The next @p maps maps. */
static int
pass_maps(struct sweep *s, struct sink *sink, size_t maps)
{
	struct run run = { .op = VHOST_IOTLB_OP_MAP };
	struct piece p;
	int ret = 0;

	while (ret == 0 && maps > 0 && sweep_step(s, &p)) {
		if (!piece_needs(&p, VHOST_IOTLB_OP_MAP))
			continue;
		ret = run_add(&run, &p, sink);
		maps--;
	}
	return ret != 0 ? ret : run_end(&run, sink);
}

static int
compare(struct sweep *s, vhost_iotlb_diff_fn fn, void *arg)
{
	struct sink sink = { .fn = fn, .arg = arg };
	size_t maps;
	int ret;

	ret = pass_unmaps(s, &sink, &maps);
	if (ret == 0)
		ret = pass_maps(s, &sink, maps);
	return ret != 0 ? ret : sink.steps;
}

int
vhost_iotlb_diff(const struct vhost_iotlb *from, const struct vhost_iotlb *to,
		vhost_iotlb_diff_fn fn, void *arg)
{
	struct sweep s = { .side = {
		[FROM] = cursor_of_tree(&from->tree.root),
		[TO] = cursor_of_tree(&to->tree.root) } };

	return compare(&s, fn, arg);
}

static int
stop_at_first(void *arg, enum vhost_iotlb_op op, const struct vhost_iotlb_map *map)
{
	(void)arg;
	(void)op;
	(void)map;
	return 1;
}

bool
vhost_iotlb_equal(const struct vhost_iotlb *a, const struct vhost_iotlb *b)
{
	return vhost_iotlb_diff(a, b, stop_at_first, NULL) == 0;
}

int
vhost_iotlb_txn_diff(struct vhost_iotlb *t, vhost_iotlb_diff_fn fn, void *arg)
{
	struct vhost_iotlb_nodes *nodes = &t->tree.nodes;
	struct sweep s = { 0 };

	if (!vhost_iotlb_txn_is_open(t))
		return 0;
	/* What is in leaves that were there before and still are is the same on both sides. */
	vhost_iotlb_nodes_sort(nodes);
	s.side[FROM] = t->tree.all_gone ? cursor_of_tree(&t->tree.before) :
		cursor_of_list(nodes->gone[VHOST_IOTLB_LEAF]);
	s.side[TO] = cursor_of_list(nodes->made[VHOST_IOTLB_LEAF]);
	return compare(&s, fn, arg);
}

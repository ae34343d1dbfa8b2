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

/* Two tables read side by side, cut into pieces over which neither changes. */
struct sweep {
	const struct vhost_iotlb *table[2];
	const struct vhost_iotlb_map *next[2];     /* first map that does not end before pos */
	/* Past what was read. Past the last address it is 0, and both tables are at their end. */
	uint64_t pos;
};

enum { FROM, TO };

struct piece {
	uint64_t start, last;
	const struct vhost_iotlb_map *map[2];      /* what is there in each table, or NULL */
};

static void
sweep_begin(struct sweep *s, const struct vhost_iotlb *from, const struct vhost_iotlb *to)
{
	s->table[FROM] = from;
	s->table[TO] = to;
	s->pos = 0;
	for (int i = FROM; i <= TO; i++)
		s->next[i] = vhost_iotlb_first(s->table[i], 0, UINT64_MAX);
}

/* The next piece in which one of the tables maps something. */
static bool
sweep_step(struct sweep *s, struct piece *p)
{
	const struct vhost_iotlb_map *m;

	if (s->next[FROM] == NULL && s->next[TO] == NULL)
		return false;
	/* It starts where the first map does, unless that one began in an earlier piece. */
	p->start = UINT64_MAX;
	for (int i = FROM; i <= TO; i++)
		if ((m = s->next[i]) != NULL && m->start < p->start)
			p->start = m->start;
	if (p->start < s->pos)
		p->start = s->pos;
	/* It ends where a map does, or before one starts. */
	p->last = UINT64_MAX;
	for (int i = FROM; i <= TO; i++) {
		m = s->next[i];
		p->map[i] = m != NULL && m->start <= p->start ? m : NULL;
		if (p->map[i] != NULL && m->last < p->last)
			p->last = m->last;
		else if (p->map[i] == NULL && m != NULL && m->start - 1 < p->last)
			p->last = m->start - 1;
	}
	for (int i = FROM; i <= TO; i++)
		if (p->map[i] != NULL && p->map[i]->last == p->last)
			s->next[i] = vhost_iotlb_next(s->table[i], p->map[i], UINT64_MAX);
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

/* What has to be done about a piece in the pass for @p op? */
static bool
piece_needs(const struct piece *p, enum vhost_iotlb_op op, struct vhost_iotlb_map *todo)
{
	const struct vhost_iotlb_map *from = p->map[FROM], *to = p->map[TO];

	if ((op == VHOST_IOTLB_OP_UNMAP ? from : to) == NULL)
		return false;
	if (from != NULL && to != NULL && vhost_iotlb_map_same(from, to, p->start))
		return false;
	if (op == VHOST_IOTLB_OP_MAP)
		*todo = vhost_iotlb_map_slice(to, p->start, p->last);
	else
		*todo = (struct vhost_iotlb_map){
			.start = p->start, .last = p->last, .backing.fd = -1 };
	return true;
}

/* One pass over both tables: all steps of one kind, neighbours joined. */
static int
pass(const struct vhost_iotlb *from, const struct vhost_iotlb *to, enum vhost_iotlb_op op,
		struct sink *sink)
{
	struct vhost_iotlb_map run, todo;
	bool running = false;
	struct sweep s;
	struct piece p;
	int ret;

	sweep_begin(&s, from, to);
	while (sweep_step(&s, &p)) {
		if (!piece_needs(&p, op, &todo))
			continue;
		if (running && continues(op, &run, &todo)) {
			run.last = todo.last;
			continue;
		}
		ret = running ? emit(sink, op, &run) : 0;
		if (ret != 0)
			return ret;
		run = todo;
		running = true;
	}
	return running ? emit(sink, op, &run) : 0;
}

int
vhost_iotlb_diff(const struct vhost_iotlb *from, const struct vhost_iotlb *to,
		vhost_iotlb_diff_fn fn, void *arg)
{
	struct sink sink = { .fn = fn, .arg = arg };
	int ret;

	ret = pass(from, to, VHOST_IOTLB_OP_UNMAP, &sink);
	if (ret == 0)
		ret = pass(from, to, VHOST_IOTLB_OP_MAP, &sink);
	return ret != 0 ? ret : sink.steps;
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
vhost_iotlb_txn_diff(const struct vhost_iotlb *t, vhost_iotlb_diff_fn fn, void *arg)
{
	struct vhost_iotlb *from = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb *to = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	const struct vhost_iotlb_node *n;
	int ret = from == NULL || to == NULL ? -ENOMEM : 0;

	/* What the transaction did not touch is the same before and after, and need not be read. */
	for (n = t->removed; ret == 0 && n != NULL; n = n->child[0])
		ret = vhost_iotlb_add(from, &n->map);
	for (n = t->youngest; ret == 0 && n != NULL && n->fresh; n = n->older)
		ret = vhost_iotlb_add(to, &n->map);
	if (ret == 0)
		ret = vhost_iotlb_diff(from, to, fn, arg);
	vhost_iotlb_destroy(from);
	vhost_iotlb_destroy(to);
	return ret;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The map part of lib/vhost_iotlb against a naive array of maps: random changes, over an address
 * space of 64 addresses and over all 64-bit addresses in 64 cells; its errors, its transactions,
 * its differences.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "table.h"     /* the shape of the tree; all else goes through vhost_iotlb.h */

#define CELLS 64u
#define ROUNDS 20000
#define FILES 3u
#define SEED 0x9e3779b97f4a7c15ull

/* Allocation number fail_at (1 is the next) fails; 0: none does. */
static unsigned int fail_at;

void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

static bool
alloc_fails(void)
{
	return fail_at != 0 && --fail_at == 0;
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_aligned_alloc(size_t align, size_t size)
{
	return alloc_fails() ? NULL : __real_aligned_alloc(align, size);
}

static uint64_t random_state;

static unsigned int
rnd(unsigned int below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 32) % below;
}

/* An address space of CELLS cells of 1 << shift addresses: all of 64 bits with shift 58. */
struct space {
	unsigned int shift;
};

static const struct space small_space = { .shift = 0 }, full_space = { .shift = 58 };

static uint64_t
cell_start(const struct space *s, unsigned int cell)
{
	return (uint64_t)cell << s->shift;
}

static uint64_t
cell_last(const struct space *s, unsigned int cell)
{
	return cell_start(s, cell) + (UINT64_C(1) << s->shift) - 1;
}

/* The naive table: maps in the order of age. */
struct model {
	struct vhost_iotlb_map maps[2 * CELLS];
	size_t n, limit;
	bool retire;
};

static bool
overlaps(const struct vhost_iotlb_map *m, uint64_t start, uint64_t last)
{
	return m->start <= last && m->last >= start;
}

static void
model_remove_at(struct model *m, size_t i)
{
	memmove(&m->maps[i], &m->maps[i + 1], (m->n - i - 1) * sizeof(m->maps[0]));
	m->n--;
}

static void
model_append(struct model *m, const struct vhost_iotlb_map *map)
{
	if (m->limit != 0 && m->n == m->limit)
		model_remove_at(m, 0);
	m->maps[m->n++] = *map;
}

static int
model_add(struct model *m, const struct vhost_iotlb_map *map)
{
	for (size_t i = 0; i < m->n; i++)
		if (overlaps(&m->maps[i], map->start, map->last))
			return -EEXIST;
	if (m->limit != 0 && m->n == m->limit && !m->retire)
		return -ENOSPC;
	model_append(m, map);
	return 0;
}

static struct vhost_iotlb_map
model_slice(const struct vhost_iotlb_map *map, uint64_t start, uint64_t last)
{
	struct vhost_iotlb_map s = *map;
	uint64_t by = start - map->start;

	s.start = start;
	s.last = last;
	if (map->backing.ino == 0 || map->addr != 0)
		s.addr += by;
	if (map->backing.ino != 0)
		s.backing.offset += by;
	return s;
}

static int
model_del(struct model *m, uint64_t start, uint64_t last)
{
	struct model next = { .limit = m->limit, .retire = m->retire };
	struct vhost_iotlb_map low[1], high[1];
	size_t lows = 0, highs = 0;

	for (size_t i = 0; i < m->n; i++) {
		struct vhost_iotlb_map *map = &m->maps[i];

		if (!overlaps(map, start, last)) {
			next.maps[next.n++] = *map;
			continue;
		}
		if (map->start < start)
			low[lows++] = model_slice(map, map->start, start - 1);
		if (map->last > last)
			high[highs++] = model_slice(map, last + 1, map->last);
	}
	if (m->limit != 0 && next.n + lows + highs > m->limit && !m->retire)
		return -ENOSPC;
	if (lows != 0)
		model_append(&next, low);
	if (highs != 0)
		model_append(&next, high);
	*m = next;
	return 0;
}

static int
by_start(const void *a, const void *b)
{
	const struct vhost_iotlb_map *ma = a, *mb = b;

	return ma->start < mb->start ? -1 : ma->start > mb->start;
}

static void
assert_map(const struct vhost_iotlb_map *got, const struct vhost_iotlb_map *want)
{
	assert_non_null(got);
	assert_int_equal(got->start, want->start);
	assert_int_equal(got->last, want->last);
	assert_int_equal(got->addr, want->addr);
	assert_int_equal(got->perm, want->perm);
	assert_int_equal(got->backing.dev, want->backing.dev);
	assert_int_equal(got->backing.ino, want->backing.ino);
	assert_int_equal(got->backing.offset, want->backing.offset);
	assert_int_equal(got->backing.fd, want->backing.fd);
}

/* The heights are right, and no node leans by more than one. Returns the number of nodes. */
static size_t
assert_balanced(const struct vhost_iotlb_node *n, const struct vhost_iotlb_node *parent)
{
	int low, high;
	size_t count;

	if (n == NULL)
		return 0;
	assert_ptr_equal(n->parent, parent);
	count = 1 + assert_balanced(n->child[0], n) + assert_balanced(n->child[1], n);
	low = n->child[0] == NULL ? 0 : n->child[0]->height;
	high = n->child[1] == NULL ? 0 : n->child[1]->height;
	assert_in_range(low - high + 1, 0, 2);
	assert_int_equal(n->height, (low > high ? low : high) + 1);
	return count;
}

static void
assert_equals_model(const struct vhost_iotlb *t, const struct model *m)
{
	struct vhost_iotlb_map sorted[2 * CELLS];
	const struct vhost_iotlb_map *map;
	const struct vhost_iotlb_node *n;
	size_t i = 0;

	assert_int_equal(vhost_iotlb_count(t), m->n);
	assert_int_equal(assert_balanced(t->tree.root, NULL), m->n);
	for (n = t->oldest; n != NULL; n = n->younger)
		assert_map(&n->map, &m->maps[i++]);
	assert_int_equal(i, m->n);
	memcpy(sorted, m->maps, m->n * sizeof(sorted[0]));
	qsort(sorted, m->n, sizeof(sorted[0]), by_start);
	i = 0;
	VHOST_IOTLB_FOREACH(map, t)
		assert_map(map, &sorted[i++]);
	assert_int_equal(i, m->n);
}

/* Searches from and to any address, cell boundaries included. */
static void
assert_searches(const struct vhost_iotlb *t, const struct model *m, const struct space *s)
{
	unsigned int a = rnd(CELLS), b = a + rnd(CELLS - a);
	uint64_t start = rnd(2) ? cell_start(s, a) : cell_last(s, a);
	uint64_t last = cell_last(s, b);
	const struct vhost_iotlb_map *map;
	size_t found = 0, want = 0;

	VHOST_IOTLB_FOREACH_RANGE(map, t, start, last) {
		assert_true(overlaps(map, start, last));
		found++;
	}
	for (size_t i = 0; i < m->n; i++)
		want += overlaps(&m->maps[i], start, last);
	assert_int_equal(found, want);
	map = vhost_iotlb_lookup(t, start);
	for (size_t i = 0; i < m->n; i++)
		if (overlaps(&m->maps[i], start, start)) {
			assert_map(map, &m->maps[i]);
			return;
		}
	assert_null(map);
}

/* A map of some cells. Two maps of one file at the same distance between address and offset
 * continue each other, which is likely, since there are few distances. */
static struct vhost_iotlb_map
random_map(const struct space *s, unsigned int most_cells)
{
	unsigned int first = rnd(CELLS), room = CELLS - first;
	unsigned int cells = 1 + rnd(room < most_cells ? room : most_cells);
	struct vhost_iotlb_map map = {
		.start = cell_start(s, first),
		.last = cell_last(s, first + cells - 1),
		.perm = rnd(4) ? VHOST_ACCESS_RW : VHOST_ACCESS_RO,
		.backing = { .fd = -1 },
	};

	if (rnd(8) == 0) {                         /* not known what it is: 1:1, or from 0 on */
		map.addr = rnd(2) ? map.start : 0;
		return map;
	}
	map.backing.dev = 1 + rnd(2);
	map.backing.ino = 1 + rnd(FILES);
	map.backing.fd = rnd(9);
	map.backing.offset = rnd(2) ? map.start : 0;
	if (rnd(4))
		map.addr = map.backing.offset;
	return map;
}

static int
random_change(struct vhost_iotlb *t, struct model *m, const struct space *s)
{
	struct vhost_iotlb_map map = random_map(s, 8);
	int got, want;

	if (rnd(5) < 3) {
		got = vhost_iotlb_add(t, &map);
		want = model_add(m, &map);
	} else {
		got = vhost_iotlb_del(t, map.start, map.last);
		want = model_del(m, map.start, map.last);
	}
	assert_int_equal(got, want);
	return got;
}

static void
run_random(const struct space *s, size_t limit, unsigned int flags)
{
	struct vhost_iotlb *t = vhost_iotlb_create(limit, flags);
	struct model m = { .limit = limit, .retire = flags != 0 }, before;
	unsigned int left = 0;

	random_state = SEED + limit;
	assert_non_null(t);
	for (int i = 0; i < ROUNDS; i++) {
		if (left == 0 && rnd(10) == 0) {
			before = m;
			left = 1 + rnd(12);
			assert_int_equal(vhost_iotlb_txn_begin(t), 0);
			assert_int_equal(vhost_iotlb_txn_begin(t), -EBUSY);
		}
		random_change(t, &m, s);
		if (rnd(500) == 0) {
			vhost_iotlb_reset(t);
			m.n = 0;
		}
		if (left > 0 && --left == 0) {
			if (rnd(2)) {
				vhost_iotlb_txn_abort(t);
				m = before;
			} else {
				vhost_iotlb_txn_commit(t);
			}
		}
		assert_int_equal(vhost_iotlb_txn_is_open(t), left > 0);
		assert_equals_model(t, &m);
		assert_searches(t, &m, s);
	}
	vhost_iotlb_destroy(t);
}

static void
random_changes_small(void **state)
{
	(void)state;
	run_random(&small_space, VHOST_IOTLB_UNLIMITED, 0);
	run_random(&small_space, 5, 0);
	run_random(&small_space, 5, VHOST_IOTLB_RETIRE_OLDEST);
	run_random(&small_space, 1, VHOST_IOTLB_RETIRE_OLDEST);
}

static void
random_changes_full(void **state)
{
	(void)state;
	run_random(&full_space, VHOST_IOTLB_UNLIMITED, 0);
	run_random(&full_space, 7, 0);
	run_random(&full_space, 7, VHOST_IOTLB_RETIRE_OLDEST);
}

/* A table of random maps. */
static struct vhost_iotlb *
random_table(const struct space *s)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);

	for (unsigned int n = rnd(16); n > 0; n--) {
		struct vhost_iotlb_map map = random_map(s, 12);

		(void)vhost_iotlb_add(t, &map);
	}
	return t;
}

/* The same table in other slices: every map cut at random cells, other descriptors and, where the
 * memory is known otherwise, other host addresses. */
static struct vhost_iotlb *
resliced(const struct vhost_iotlb *t, const struct space *s)
{
	struct vhost_iotlb *new = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	const struct vhost_iotlb_map *map;

	VHOST_IOTLB_FOREACH(map, t) {
		unsigned int cell = map->start >> s->shift, end = map->last >> s->shift;

		while (cell <= end) {
			unsigned int cells = 1 + rnd(end - cell + 1);
			struct vhost_iotlb_map slice = vhost_iotlb_map_slice(map,
				cell_start(s, cell), cell_last(s, cell + cells - 1));

			slice.backing.fd = rnd(9);
			if (slice.backing.ino != 0)
				slice.addr = rnd(2) * slice.start;
			assert_int_equal(vhost_iotlb_add(new, &slice), 0);
			cell += cells;
		}
	}
	return new;
}

/* Something near @p t: the usual case of a difference. */
static struct vhost_iotlb *
random_variant(const struct vhost_iotlb *t, const struct space *s)
{
	struct vhost_iotlb *new = rnd(2) ? vhost_iotlb_copy(t) : resliced(t, s);

	for (unsigned int n = rnd(4); n > 0; n--) {
		struct vhost_iotlb_map map = random_map(s, 6);

		if (rnd(2))
			assert_int_equal(vhost_iotlb_del(new, map.start, map.last), 0);
		else
			(void)vhost_iotlb_add(new, &map);
	}
	return new;
}

/* Which steps a difference needs, cell by cell. */
static bool
cell_is_same(const struct vhost_iotlb *a, const struct vhost_iotlb *b, uint64_t at)
{
	const struct vhost_iotlb_map *ma = vhost_iotlb_lookup(a, at);
	const struct vhost_iotlb_map *mb = vhost_iotlb_lookup(b, at);
	struct vhost_iotlb_map sa, sb;

	if (ma == NULL || mb == NULL)
		return ma == mb;
	sa = model_slice(ma, at, ma->last);
	sb = model_slice(mb, at, mb->last);
	if (sa.perm != sb.perm || sa.backing.ino != sb.backing.ino)
		return false;
	if (sa.backing.ino == 0)
		return sa.addr == sb.addr;
	return sa.backing.dev == sb.backing.dev && sa.backing.offset == sb.backing.offset;
}

static bool
cell_continues(const struct vhost_iotlb *t, uint64_t before, uint64_t at)
{
	const struct vhost_iotlb_map *ma = vhost_iotlb_lookup(t, before);
	const struct vhost_iotlb_map *mb = vhost_iotlb_lookup(t, at);
	struct vhost_iotlb_map sa = model_slice(ma, before, ma->last);
	struct vhost_iotlb_map sb = model_slice(mb, at, mb->last);
	uint64_t step = at - before;

	if (sa.perm != sb.perm || sa.backing.ino != sb.backing.ino)
		return false;
	if (sa.backing.ino == 0)
		return sb.addr - sa.addr == step && sb.addr > sa.addr;
	if (sa.backing.dev != sb.backing.dev || sb.backing.offset - sa.backing.offset != step ||
			sb.backing.offset < sa.backing.offset)
		return false;
	return sa.addr == 0 || sb.addr == 0 ? sa.addr == sb.addr : sb.addr - sa.addr == step;
}

static int
fewest_steps(const struct vhost_iotlb *from, const struct vhost_iotlb *to, const struct space *s)
{
	bool unmapping = false, mapping = false;
	int steps = 0;

	for (unsigned int cell = 0; cell < CELLS; cell++) {
		uint64_t at = cell_start(s, cell);
		bool changed = !cell_is_same(from, to, at);
		bool unmap = changed && vhost_iotlb_lookup(from, at) != NULL;
		bool map = changed && vhost_iotlb_lookup(to, at) != NULL;

		steps += unmap && !unmapping;
		steps += map && !(mapping && cell_continues(to, cell_start(s, cell - 1), at));
		unmapping = unmap;
		mapping = map;
	}
	return steps;
}

/* Applies a difference to a table, and holds every step against the rules. */
struct applying {
	struct vhost_iotlb *t;
	const struct vhost_iotlb *to;
	bool maps_began;
	uint64_t next;                             /* steps of a kind come in order */
};

static int
apply_step(void *arg, enum vhost_iotlb_op op, const struct vhost_iotlb_map *map)
{
	struct applying *a = arg;
	const struct vhost_iotlb_map *old;
	uint64_t at = map->start;

	if (op == VHOST_IOTLB_OP_MAP && !a->maps_began) {
		a->maps_began = true;
		a->next = 0;
	}
	assert_true(map->start >= a->next && map->last >= map->start);
	a->next = map->last;
	if (op == VHOST_IOTLB_OP_MAP) {
		assert_int_equal(vhost_iotlb_add(a->t, map), 0);
		return 0;
	}
	assert_false(a->maps_began);
	for (;;) {                                 /* all of it was mapped */
		old = vhost_iotlb_lookup(a->t, at);
		assert_non_null(old);
		if (old->last >= map->last)
			break;
		at = old->last + 1;
	}
	return vhost_iotlb_del(a->t, map->start, map->last);
}

static void
run_differences(const struct space *s)
{
	random_state = SEED;
	for (int i = 0; i < ROUNDS; i++) {
		struct vhost_iotlb *from = random_table(s);
		struct vhost_iotlb *to = rnd(3) ? random_variant(from, s) : random_table(s);
		struct applying a = { .t = vhost_iotlb_copy(from), .to = to };
		int steps = vhost_iotlb_diff(from, to, apply_step, &a);

		assert_int_equal(steps, fewest_steps(from, to, s));
		assert_int_equal(steps, vhost_iotlb_diff(from, to, NULL, NULL));
		assert_int_equal(vhost_iotlb_diff(a.t, to, NULL, NULL), 0);
		assert_true(vhost_iotlb_equal(a.t, to));
		assert_int_equal(vhost_iotlb_equal(from, to), steps == 0);
		assert_int_equal(vhost_iotlb_equal(to, from), steps == 0);
		for (unsigned int cell = 0; cell < CELLS; cell++)
			assert_true(cell_is_same(a.t, to, cell_start(s, cell)));
		vhost_iotlb_destroy(a.t);
		vhost_iotlb_destroy(from);
		vhost_iotlb_destroy(to);
	}
}

static void
difference_is_the_fewest_steps_and_leads_there(void **state)
{
	(void)state;
	run_differences(&small_space);
	run_differences(&full_space);
}

static void
slicing_makes_no_difference(void **state)
{
	const struct space *spaces[] = { &small_space, &full_space };

	(void)state;
	random_state = SEED;
	for (int i = 0; i < ROUNDS; i++) {
		const struct space *s = spaces[i % 2];
		struct vhost_iotlb *a = random_table(s), *b = resliced(a, s);

		assert_true(vhost_iotlb_equal(a, b));
		assert_int_equal(vhost_iotlb_diff(a, b, NULL, NULL), 0);
		vhost_iotlb_destroy(a);
		vhost_iotlb_destroy(b);
	}
}

struct recorded {
	enum vhost_iotlb_op op[4 * CELLS];
	struct vhost_iotlb_map map[4 * CELLS];
	int n;
};

static int
record_step(void *arg, enum vhost_iotlb_op op, const struct vhost_iotlb_map *map)
{
	struct recorded *r = arg;

	r->op[r->n] = op;
	r->map[r->n++] = *map;
	return 0;
}

static void
transaction_difference_is_that_of_the_tables(void **state)
{
	(void)state;
	random_state = SEED;
	for (int i = 0; i < ROUNDS / 4; i++) {
		struct vhost_iotlb *t = random_table(&full_space), *before = vhost_iotlb_copy(t);
		static struct recorded want, got;

		assert_int_equal(vhost_iotlb_txn_begin(t), 0);
		for (unsigned int n = rnd(10); n > 0; n--) {
			struct vhost_iotlb_map map = random_map(&full_space, 8);

			if (rnd(2))
				(void)vhost_iotlb_add(t, &map);
			else
				(void)vhost_iotlb_del(t, map.start, map.last);
		}
		want.n = 0;
		got.n = 0;
		assert_int_equal(vhost_iotlb_diff(before, t, record_step, &want),
			vhost_iotlb_txn_diff(t, record_step, &got));
		assert_int_equal(got.n, want.n);
		for (int j = 0; j < got.n; j++) {
			assert_int_equal(got.op[j], want.op[j]);
			assert_map(&got.map[j], &want.map[j]);
		}
		vhost_iotlb_txn_abort(t);
		assert_int_equal(vhost_iotlb_diff(before, t, NULL, NULL), 0);
		assert_int_equal(vhost_iotlb_count(before), vhost_iotlb_count(t));
		vhost_iotlb_destroy(before);
		vhost_iotlb_destroy(t);
	}
}

static const struct vhost_iotlb_map page = {
	.start = 0x1000, .last = 0x1fff, .addr = 0x7000, .perm = VHOST_ACCESS_RW,
	.backing = { .dev = 1, .ino = 2, .offset = 0x3000, .fd = 4 },
};

static void
bad_maps_are_refused(void **state)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb_map m;

	(void)state;
	m = page;
	m.last = m.start - 1;
	assert_int_equal(vhost_iotlb_add(t, &m), -EINVAL);
	m.addr = 0;
	m.backing.offset = 0;
	assert_int_equal(vhost_iotlb_add(t, &m), -EINVAL);
	m = page;
	m.perm = 0;
	assert_int_equal(vhost_iotlb_add(t, &m), -EINVAL);
	m.perm = VHOST_ACCESS_RW + 1;
	assert_int_equal(vhost_iotlb_add(t, &m), -EINVAL);
	m = page;
	m.addr = UINT64_MAX - 0xffe;
	assert_int_equal(vhost_iotlb_add(t, &m), -EINVAL);
	m = page;
	m.backing.offset = UINT64_MAX - 0xffe;
	assert_int_equal(vhost_iotlb_add(t, &m), -EINVAL);
	m.backing.ino = 0;                 /* no file: its offset means nothing */
	assert_int_equal(vhost_iotlb_add(t, &m), 0);
	m = page;
	assert_int_equal(vhost_iotlb_add(t, &m), -EEXIST);
	m.start = m.last;
	assert_int_equal(vhost_iotlb_add(t, &m), -EEXIST);
	assert_int_equal(vhost_iotlb_del(t, 2, 1), -EINVAL);
	assert_int_equal(vhost_iotlb_count(t), 1);
	vhost_iotlb_destroy(t);
	vhost_iotlb_destroy(NULL);
}

static void
the_last_byte_of_everything_can_be_mapped(void **state)
{
	const unsigned int *wraps = *state;
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb *none = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb_map m = page;

	m.addr = *wraps & 1 ? UINT64_MAX - 0xfff : 0;
	m.backing.offset = *wraps & 2 ? UINT64_MAX - 0xfff : 0x1000;
	assert_int_equal(vhost_iotlb_add(t, &m), 0);
	/* Neither the address after the last nor the offset after the last is 0. */
	m.start += 0x1000;
	m.last += 0x1000;
	if (*wraps & 1)
		m.addr = 0;
	m.backing.offset = *wraps & 2 ? 0 : 0x2000;
	assert_int_equal(vhost_iotlb_add(t, &m), 0);
	assert_int_equal(vhost_iotlb_diff(none, t, NULL, NULL), 2);
	assert_int_equal(vhost_iotlb_diff(t, none, NULL, NULL), 1);
	vhost_iotlb_destroy(none);
	vhost_iotlb_destroy(t);
}

static void
one_map_of_all_addresses(void **state)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb *copy;
	struct vhost_iotlb_map all = {
		.start = 0, .last = UINT64_MAX, .addr = 0, .perm = VHOST_ACCESS_RW,
		.backing.fd = -1 };

	(void)state;
	assert_int_equal(vhost_iotlb_add(t, &all), 0);
	assert_int_equal(vhost_iotlb_add(t, &page), -EEXIST);
	assert_map(vhost_iotlb_lookup(t, 0), &all);
	assert_map(vhost_iotlb_lookup(t, UINT64_MAX), &all);
	copy = vhost_iotlb_copy(t);
	assert_int_equal(vhost_iotlb_del(t, 0x1000, 0x1fff), 0);
	assert_int_equal(vhost_iotlb_count(t), 2);
	assert_int_equal(vhost_iotlb_lookup(t, 0x2000)->addr, 0x2000);
	assert_null(vhost_iotlb_lookup(t, 0x1800));
	assert_int_equal(vhost_iotlb_diff(copy, t, NULL, NULL), 1);
	assert_int_equal(vhost_iotlb_diff(t, copy, NULL, NULL), 1);
	assert_int_equal(vhost_iotlb_del(t, 0, UINT64_MAX), 0);
	assert_int_equal(vhost_iotlb_count(t), 0);
	vhost_iotlb_destroy(copy);
	vhost_iotlb_destroy(t);
}

static void
a_full_table_refuses_or_retires(void **state)
{
	struct vhost_iotlb *t = vhost_iotlb_create(1, 0);
	struct vhost_iotlb_map next = page;

	(void)state;
	next.start = 0x2000;
	next.last = 0x2fff;
	assert_int_equal(vhost_iotlb_add(t, &page), 0);
	assert_int_equal(vhost_iotlb_add(t, &next), -ENOSPC);
	assert_int_equal(vhost_iotlb_del(t, 0x1800, 0x18ff), -ENOSPC);
	assert_map(vhost_iotlb_lookup(t, 0x1800), &page);
	assert_int_equal(vhost_iotlb_del(t, 0x1800, 0x1fff), 0);
	vhost_iotlb_destroy(t);
	t = vhost_iotlb_create(1, VHOST_IOTLB_RETIRE_OLDEST);
	assert_int_equal(vhost_iotlb_add(t, &page), 0);
	assert_int_equal(vhost_iotlb_add(t, &page), -EEXIST);
	assert_int_equal(vhost_iotlb_add(t, &next), 0);
	assert_null(vhost_iotlb_lookup(t, 0x1000));
	assert_map(vhost_iotlb_lookup(t, 0x2000), &next);
	vhost_iotlb_destroy(t);
}

static void
identity_is_the_backing_and_not_where_it_is_mapped(void **state)
{
	struct vhost_iotlb_map a = page, b = page;

	(void)state;
	b.addr = 0x9000;
	b.backing.fd = 99;
	assert_true(vhost_iotlb_map_same(&a, &b, 0x1234));
	b.backing.offset += 0x1000;
	assert_false(vhost_iotlb_map_same(&a, &b, 0x1234));
	b.start -= 0x1000;                 /* the offset of 0x1000 is the same again */
	b.backing.offset -= 0x2000;
	assert_true(vhost_iotlb_map_same(&a, &b, 0x1234));
	b.backing.ino++;
	assert_false(vhost_iotlb_map_same(&a, &b, 0x1234));
	b = page;
	b.backing.dev++;
	assert_false(vhost_iotlb_map_same(&a, &b, 0x1234));
	b = page;
	b.perm = VHOST_ACCESS_RO;
	assert_false(vhost_iotlb_map_same(&a, &b, 0x1234));
	b = page;
	b.backing.ino = 0;
	assert_false(vhost_iotlb_map_same(&a, &b, 0x1234));
	a = b;
	assert_true(vhost_iotlb_map_same(&a, &b, 0x1234));
	a.addr++;
	assert_false(vhost_iotlb_map_same(&a, &b, 0x1234));
}

static int
stop_at_second(void *arg, enum vhost_iotlb_op op, const struct vhost_iotlb_map *map)
{
	int *seen = arg;

	(void)op;
	(void)map;
	return ++*seen == 2 ? -EINTR : 0;
}

static void
a_difference_stops_where_it_is_told(void **state)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb *none = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb_map m = page;
	int seen = 0;

	(void)state;
	for (int i = 0; i < 4; i++) {
		m.start = i * 0x10000;
		m.last = m.start + 0xfff;
		assert_int_equal(vhost_iotlb_add(t, &m), 0);
	}
	assert_int_equal(vhost_iotlb_diff(t, none, stop_at_second, &seen), -EINTR);
	assert_int_equal(seen, 2);
	seen = 0;
	assert_int_equal(vhost_iotlb_diff(none, t, stop_at_second, &seen), -EINTR);
	vhost_iotlb_destroy(none);
	vhost_iotlb_destroy(t);
}

/* Every allocation of every function fails once; the table stays as it was. */
static void
out_of_memory_changes_nothing(void **state)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb_map other = page;
	struct model m = { 0 };
	int ret;

	(void)state;
	fail_at = 1;
	assert_null(vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0));
	assert_int_equal(vhost_iotlb_add(t, &page), model_add(&m, &page));
	other.start += 0x1000;
	other.last += 0x1000;
	fail_at = 1;
	assert_int_equal(vhost_iotlb_add(t, &other), -ENOMEM);
	for (unsigned int n = 1; n <= 2; n++) {
		fail_at = n;
		assert_int_equal(vhost_iotlb_del(t, 0x1800, 0x18ff), -ENOMEM);
		assert_equals_model(t, &m);
		fail_at = n;
		assert_null(vhost_iotlb_copy(t));
	}
	assert_int_equal(vhost_iotlb_txn_begin(t), 0);
	assert_int_equal(vhost_iotlb_del(t, 0x1800, 0x18ff), 0);
	for (unsigned int n = 1; ; n++) {
		fail_at = n;
		ret = vhost_iotlb_txn_diff(t, NULL, NULL);
		if (ret != -ENOMEM)
			break;
	}
	fail_at = 0;
	assert_int_equal(ret, 1);
	vhost_iotlb_txn_abort(t);
	assert_equals_model(t, &m);
	vhost_iotlb_destroy(t);
}

/* Depth as promised by the balance, at a size that a chain would not survive. */
static void
a_large_table_stays_flat(void **state)
{
	const unsigned int n = 1u << 17;
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb_map m = page;

	(void)state;
	for (unsigned int i = 0; i < n; i++) {
		m.start = (uint64_t)i << 12;
		m.last = m.start | 0xfff;
		assert_int_equal(vhost_iotlb_add(t, &m), 0);
	}
	assert_int_equal(assert_balanced(t->tree.root, NULL), n);
	assert_in_range(t->tree.root->height, 18, 25);   /* 1.44 log2(n) */
	for (unsigned int i = 0; i < n; i += 2) {
		m.start = (uint64_t)i << 12;
		assert_int_equal(vhost_iotlb_del(t, m.start, m.start | 0xfff), 0);
	}
	assert_int_equal(assert_balanced(t->tree.root, NULL), n / 2);
	assert_int_equal(vhost_iotlb_del(t, 0x800, UINT64_MAX), 0);
	assert_int_equal(vhost_iotlb_count(t), 0);
	vhost_iotlb_destroy(t);
}

int
main(void)
{
	static unsigned int wraps[] = { 1, 2, 3 };     /* 1: the host address; 2: the file offset */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_maps_are_refused),
		cmocka_unit_test_prestate(the_last_byte_of_everything_can_be_mapped, &wraps[0]),
		cmocka_unit_test_prestate(the_last_byte_of_everything_can_be_mapped, &wraps[1]),
		cmocka_unit_test_prestate(the_last_byte_of_everything_can_be_mapped, &wraps[2]),
		cmocka_unit_test(one_map_of_all_addresses),
		cmocka_unit_test(a_full_table_refuses_or_retires),
		cmocka_unit_test(identity_is_the_backing_and_not_where_it_is_mapped),
		cmocka_unit_test(random_changes_small),
		cmocka_unit_test(random_changes_full),
		cmocka_unit_test(difference_is_the_fewest_steps_and_leads_there),
		cmocka_unit_test(slicing_makes_no_difference),
		cmocka_unit_test(transaction_difference_is_that_of_the_tables),
		cmocka_unit_test(a_difference_stops_where_it_is_told),
		cmocka_unit_test(out_of_memory_changes_nothing),
		cmocka_unit_test(a_large_table_stays_flat),
	};

	return cmocka_run_group_tests_name("iotlb", tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Differences of tables of lib/vhost_iotlb: the fewest steps, by three ways of counting them; steps
 * that lead there; and transactions, whose differences are those of the tables.
 */
#include "iotlb_space.h"

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

/*
 * The fewest steps once more, with no idea of what they look like: a search through all that can be
 * reached by steps that touch no address in vain, in any order and by any detour. In a space of
 * SEARCH_CELLS cells each shows nothing or a page of one file; a state has a digit a cell.
 */

enum {
	SEARCH_CELLS = 5,
	SEARCH_PAGES = 3,
	SEARCH_STATES = 1024,                      /* (SEARCH_PAGES + 1) ^ SEARCH_CELLS */
	SEARCH_PAIRS = 4000,
};

static unsigned int
page_in(unsigned int state, unsigned int cell)
{
	return state >> 2 * cell & 3;
}

/* The state after cells [first, last] of @p state show page @p number and the ones after it, or
 * nothing with 0. */
static unsigned int
with_pages(unsigned int state, unsigned int first, unsigned int last, unsigned int number)
{
	for (unsigned int cell = first; cell <= last; cell++) {
		state &= ~(3u << 2 * cell);
		if (number != 0)
			state |= (number + cell - first) << 2 * cell;
	}
	return state;
}

static struct vhost_iotlb *
table_of_state(unsigned int state)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);

	for (unsigned int cell = 0; cell < SEARCH_CELLS; cell++) {
		struct vhost_iotlb_map map = { .start = cell, .last = cell,
			.perm = VHOST_ACCESS_RW,
			.backing = { .ino = 1, .offset = page_in(state, cell), .fd = -1 } };

		if (page_in(state, cell) != 0)
			assert_int_equal(vhost_iotlb_add(t, &map), 0);
	}
	return t;
}

/* What is reached from where, breadth first. */
struct search {
	unsigned int changed;                      /* cells that may be touched, a bit each */
	int steps[SEARCH_STATES];                  /* -1: not reached */
	unsigned int queue[SEARCH_STATES], head, tail;
};

static void
reach(struct search *s, unsigned int state, int steps)
{
	if (s->steps[state] >= 0)
		return;
	s->steps[state] = steps;
	s->queue[s->tail++] = state;
}

/* All that one step leads to: an unmap of cells that are all mapped, or a map of cells none of
 * which is. */
static void
search_step(struct search *s, unsigned int state)
{
	int steps = s->steps[state] + 1;

	for (unsigned int first = 0; first < SEARCH_CELLS; first++) {
		bool mapped = page_in(state, first) != 0;

		for (unsigned int last = first; last < SEARCH_CELLS; last++) {
			if ((s->changed >> last & 1) == 0 || (page_in(state, last) != 0) != mapped)
				break;
			if (mapped)
				reach(s, with_pages(state, first, last, 0), steps);
			for (unsigned int number = 1; !mapped && number + last - first <= SEARCH_PAGES;
					number++)
				reach(s, with_pages(state, first, last, number), steps);
		}
	}
}

static int
searched_steps(unsigned int from, unsigned int to)
{
	struct search s = { .changed = 0 };

	memset(s.steps, 0xff, sizeof(s.steps));
	for (unsigned int cell = 0; cell < SEARCH_CELLS; cell++)
		s.changed |= (page_in(from, cell) != page_in(to, cell)) << cell;
	for (reach(&s, from, 0); s.steps[to] < 0 && s.head < s.tail; s.head++)
		search_step(&s, s.queue[s.head]);
	return s.steps[to];
}

static void
no_other_steps_are_fewer_than_those_of_a_difference(void **state)
{
	(void)state;
	random_state = SEED;
	for (int i = 0; i < SEARCH_PAIRS; i++) {
		unsigned int from = rnd(SEARCH_STATES), to = rnd(SEARCH_STATES);
		struct vhost_iotlb *a = table_of_state(from), *b = table_of_state(to);

		assert_int_equal(vhost_iotlb_diff(a, b, NULL, NULL), searched_steps(from, to));
		vhost_iotlb_destroy(a);
		vhost_iotlb_destroy(b);
	}
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(difference_is_the_fewest_steps_and_leads_there),
		cmocka_unit_test(no_other_steps_are_fewer_than_those_of_a_difference),
		cmocka_unit_test(slicing_makes_no_difference),
		cmocka_unit_test(transaction_difference_is_that_of_the_tables),
		cmocka_unit_test(a_difference_stops_where_it_is_told),
	};

	return cmocka_run_group_tests_name("iotlb_diff", tests, NULL, NULL);
}

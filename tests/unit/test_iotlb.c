/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The map part of lib/vhost_iotlb against a naive array of maps: random changes, over an address
 * space of 64 addresses and over all 64-bit addresses in 64 cells; its errors, its transactions.
 * Differences: test_iotlb_diff.c.
 */
#include "iotlb_space.h"
#include "table.h"     /* the shape of the tree; all else goes through vhost_iotlb.h */

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

/* What checking a tree adds up. */
struct shape {
	size_t maps;
	uint64_t next;                             /* no map may start below it; 0 after the last */
	struct aged {
		uint64_t age;
		struct vhost_iotlb_map map;
	} *aged;                                   /* room for all maps, or NULL */
};

/* Keys from @p n on. */
static void
assert_unused(const uint64_t *key, unsigned int n, unsigned int room)
{
	for (unsigned int i = n; i < room; i++)
		assert_int_equal(key[i], VHOST_IOTLB_NO_KEY);
}

static void
assert_leaf(struct vhost_iotlb_node *node, struct shape *s)
{
	const struct vhost_iotlb_leaf *leaf = vhost_iotlb_leaf_of(node);

	assert_unused(leaf->start, node->n, VHOST_IOTLB_KEYS(VHOST_IOTLB_LEAF_MAPS));
	for (unsigned int at = 0; at < node->n; at++) {
		const struct vhost_iotlb_map *map = &leaf->map[at];

		assert_int_equal(leaf->start[at], map->start);
		assert_int_equal(leaf->span[at], map->last - map->start < VHOST_IOTLB_LONG ?
			map->last - map->start : VHOST_IOTLB_LONG);
		assert_true(map->start <= map->last);
		assert_true(map->start >= s->next && (s->next > 0 || s->maps == 0));
		s->next = map->last + 1;
		if (s->aged != NULL)
			s->aged[s->maps] = (struct aged){ leaf->age[at], *map };
		s->maps++;
	}
}

/* Nodes are full enough, hold what their parents say, in order. Returns the lowest address. */
static uint64_t
assert_node(struct vhost_iotlb_node *node, unsigned int height, bool root, bool last,
		struct shape *s)
{
	struct vhost_iotlb_inner *inner = vhost_iotlb_inner_of(node);
	unsigned int least = height > 0 ? VHOST_IOTLB_FANOUT / 2 : VHOST_IOTLB_LEAF_MAPS / 2;
	uint64_t lowest = 0, low;

	if (root || last)
		least = height > 0 ? 2 : 1;
	assert_in_range(node->n, least, height > 0 ? VHOST_IOTLB_FANOUT : VHOST_IOTLB_LEAF_MAPS);
	if (height == 0) {
		assert_leaf(node, s);
		return vhost_iotlb_leaf_of(node)->start[0];
	}
	assert_int_equal(inner->low[0], 0);
	assert_unused(inner->low, node->n, VHOST_IOTLB_KEYS(VHOST_IOTLB_FANOUT));
	for (unsigned int at = 0; at < node->n; at++) {
		low = assert_node(inner->child[at], height - 1, false, last && at == node->n - 1,
			s);
		if (at == 0)
			lowest = low;
		else
			assert_int_equal(low, inner->low[at]);
	}
	return lowest;
}

static void
assert_tree(const struct vhost_iotlb *t, struct shape *s)
{
	const struct vhost_iotlb_root *root = &t->tree.root;

	assert_true(root->height <= VHOST_IOTLB_MAX_HEIGHT);
	if (root->node == NULL)
		assert_int_equal(root->height, 0);
	else
		(void)assert_node(root->node, root->height, true, true, s);
	assert_int_equal(s->maps, root->count);
}

static int
by_age(const void *a, const void *b)
{
	const struct aged *ma = a, *mb = b;

	assert_int_not_equal(ma->age, mb->age);
	return ma->age < mb->age ? -1 : 1;
}

static void
assert_equals_model(const struct vhost_iotlb *t, const struct model *m)
{
	struct vhost_iotlb_map sorted[2 * CELLS];
	struct aged aged[2 * CELLS];
	struct shape shape = { .aged = aged };
	const struct vhost_iotlb_map *map;
	size_t i = 0;

	assert_int_equal(vhost_iotlb_count(t), m->n);
	assert_tree(t, &shape);
	qsort(aged, m->n, sizeof(aged[0]), by_age);
	for (i = 0; i < m->n; i++)
		assert_map(&aged[i].map, &m->maps[i]);
	memcpy(sorted, m->maps, m->n * sizeof(sorted[0]));
	qsort(sorted, m->n, sizeof(sorted[0]), by_start);
	i = 0;
	VHOST_IOTLB_FOREACH(map, t)
		assert_map(map, &sorted[i++]);
	assert_int_equal(i, m->n);
	i = 0;
	for (map = vhost_iotlb_first(t, 0, UINT64_MAX); map != NULL;
			map = vhost_iotlb_next(t, map, UINT64_MAX))
		assert_ptr_equal(map, vhost_iotlb_lookup(t, sorted[i++].last));
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

/* Either way in which a table changes. */
static int
change(struct vhost_iotlb *t, bool add, const struct vhost_iotlb_map *map)
{
	return add ? vhost_iotlb_add(t, map) : vhost_iotlb_del(t, map->start, map->last);
}

/* One change, or its refusal. Before that, in some cases, its first, second, ... allocation fails,
 * and nothing may have changed. */
static void
random_change(struct vhost_iotlb *t, struct model *m, const struct space *s)
{
	struct vhost_iotlb_map map = random_map(s, 8);
	bool add = rnd(5) < 3, starve = rnd(4) == 0;
	int got;

	for (unsigned int n = 1; ; n++) {
		fail_at = starve ? n : 0;
		got = change(t, add, &map);
		fail_at = 0;
		if (got != -ENOMEM)
			break;
		assert_true(starve);
		assert_equals_model(t, m);
	}
	assert_int_equal(got, add ? model_add(m, &map) : model_del(m, map.start, map.last));
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

/* A limit that no memory reaches is no limit, whatever is computed with it. */
static void
a_table_that_retires_may_be_as_large_as_can_be(void **state)
{
	struct vhost_iotlb *t = vhost_iotlb_create(SIZE_MAX, VHOST_IOTLB_RETIRE_OLDEST);
	struct vhost_iotlb_map map = page;

	(void)state;
	for (unsigned int i = 0; i < 100; i++) {
		map.start = UINT64_C(0x1000) * i;
		map.last = map.start + 0xfff;
		assert_int_equal(vhost_iotlb_add(t, &map), 0);
	}
	assert_int_equal(vhost_iotlb_count(t), 100);
	vhost_iotlb_destroy(t);
}

static void
a_range_that_ends_before_it_starts_overlaps_nothing(void **state)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	const struct vhost_iotlb_map *map;

	(void)state;
	assert_int_equal(vhost_iotlb_add(t, &page), 0);
	assert_null(vhost_iotlb_first(t, page.start + 2, page.start + 1));
	VHOST_IOTLB_FOREACH_RANGE(map, t, page.start + 2, page.start + 1)
		fail();
	assert_int_equal(vhost_iotlb_del(t, page.start + 2, page.start + 1), -EINVAL);
	assert_int_equal(vhost_iotlb_count(t), 1);
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

/* Every allocation of a function that makes a table fails once. (Those of changes:
 * random_change.) */
static void
without_memory_there_is_no_table(void **state)
{
	struct vhost_iotlb *t = NULL, *copy = NULL;
	struct vhost_iotlb_map m = page;
	unsigned int n;

	(void)state;
	fail_at = 1;
	assert_null(vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0));
	t = vhost_iotlb_create(500, VHOST_IOTLB_RETIRE_OLDEST);
	for (int i = 0; i < 400; i++) {
		m.start = i * 0x10000;
		m.last = m.start + 0xfff;
		assert_int_equal(vhost_iotlb_add(t, &m), 0);
	}
	for (n = 1; copy == NULL; n++) {
		fail_at = n;
		copy = vhost_iotlb_copy(t);
		fail_at = 0;
	}
	/* The table, its nodes or chunks of some, the order of age. */
	assert_true(n > 10);
	assert_int_equal(vhost_iotlb_count(copy), 400);
	assert_int_equal(vhost_iotlb_diff(t, copy, NULL, NULL), 0);
	assert_tree(copy, &(struct shape){ 0 });
	vhost_iotlb_destroy(copy);
	vhost_iotlb_destroy(t);
}

static void
undoing_allocates_nothing(void **state)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0), *before;
	struct vhost_iotlb_map m = page;

	(void)state;
	for (int i = 0; i < 400; i++) {
		m.start = i * 0x10000;
		m.last = m.start + 0xfff;
		assert_int_equal(vhost_iotlb_add(t, &m), 0);
	}
	before = vhost_iotlb_copy(t);
	assert_int_equal(vhost_iotlb_txn_begin(t), 0);
	assert_int_equal(vhost_iotlb_del(t, 0x800, 200 * 0x10000 + 0x7ff), 0);
	assert_int_equal(vhost_iotlb_txn_diff(t, NULL, NULL), 201);
	vhost_iotlb_reset(t);
	assert_int_equal(vhost_iotlb_add(t, &page), 0);
	fail_at = 1;
	assert_int_equal(vhost_iotlb_txn_diff(t, NULL, NULL), 401);
	vhost_iotlb_txn_abort(t);
	assert_int_equal(fail_at, 1);              /* nobody asked */
	fail_at = 0;
	assert_int_equal(vhost_iotlb_diff(before, t, NULL, NULL), 0);
	assert_tree(t, &(struct shape){ 0 });
	vhost_iotlb_destroy(before);
	vhost_iotlb_destroy(t);
}

/*
 * A table of thousands of maps: several levels of nodes of full size. The model is a line of cells,
 * each of which says where its map begins.
 */
#define LINE 20000u
#define LINE_ROUNDS 60000

struct line {
	unsigned int begin[LINE];                  /* of the map, plus 1; 0: not mapped */
	size_t maps;
};

static struct vhost_iotlb_map
line_map(unsigned int first, unsigned int cells)
{
	return (struct vhost_iotlb_map){
		.start = (uint64_t)first << 12, .last = ((uint64_t)(first + cells) << 12) - 1,
		.addr = ((uint64_t)first << 12) + 0x1000, .perm = VHOST_ACCESS_RW,
		.backing.fd = -1 };
}

static int
line_add(struct line *l, unsigned int first, unsigned int cells)
{
	for (unsigned int i = first; i < first + cells; i++)
		if (l->begin[i] != 0)
			return -EEXIST;
	for (unsigned int i = first; i < first + cells; i++)
		l->begin[i] = first + 1;
	l->maps++;
	return 0;
}

static void
line_del(struct line *l, unsigned int first, unsigned int cells)
{
	unsigned int end = first + cells;

	/* What is left above the range begins anew. */
	if (end < LINE && l->begin[end] != 0 && l->begin[end] <= end) {
		unsigned int old = l->begin[end];

		for (unsigned int i = end; i < LINE && l->begin[i] == old; i++)
			l->begin[i] = end + 1;
		l->maps++;
	}
	for (unsigned int i = first; i < end; i++) {
		/* A map ends here, unless part of it is left below the range. */
		if (l->begin[i] > first && (i + 1 == end || l->begin[i + 1] != l->begin[i]))
			l->maps--;
	}
	for (unsigned int i = first; i < end; i++)
		l->begin[i] = 0;
}

static void
assert_line_at(const struct vhost_iotlb *t, const struct line *l, unsigned int cell)
{
	const struct vhost_iotlb_map *map = vhost_iotlb_lookup(t, ((uint64_t)cell << 12) | 0x123);
	unsigned int end = cell;

	if (l->begin[cell] == 0) {
		assert_null(map);
		return;
	}
	while (end < LINE && l->begin[end] == l->begin[cell])
		end++;
	assert_non_null(map);
	assert_int_equal(map->start >> 12, l->begin[cell] - 1);
	assert_int_equal((map->last + 1) >> 12, end);
	assert_int_equal(map->addr, map->start + 0x1000);
}

static void
assert_line(const struct vhost_iotlb *t, const struct line *l)
{
	const struct vhost_iotlb_map *map;
	uint64_t mapped = 0, want = 0;

	assert_tree(t, &(struct shape){ 0 });
	assert_int_equal(vhost_iotlb_count(t), l->maps);
	for (unsigned int i = 0; i < LINE; i++)
		want += l->begin[i] != 0;
	VHOST_IOTLB_FOREACH(map, t) {
		assert_line_at(t, l, map->start >> 12);
		mapped += (map->last + 1 - map->start) >> 12;
	}
	assert_int_equal(mapped, want);
}

static void
thousands_of_maps(void **state)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	static struct line line, before;
	unsigned int left = 0;

	(void)state;
	random_state = SEED;
	for (int i = 0; i < LINE_ROUNDS; i++) {
		/* It fills up, and empties again. */
		bool add = rnd(10) < (i / 15000 % 2 == 0 ? 9 : 1);
		unsigned int cells = 1 + rnd(add || rnd(50) ? 4 : 400);
		unsigned int first = rnd(LINE - cells);
		struct vhost_iotlb_map map = line_map(first, cells);

		if (left == 0 && rnd(100) == 0) {
			before = line;
			left = 1 + rnd(300);
			assert_int_equal(vhost_iotlb_txn_begin(t), 0);
		}
		if (add) {
			assert_int_equal(vhost_iotlb_add(t, &map), line_add(&line, first, cells));
		} else {
			assert_int_equal(vhost_iotlb_del(t, map.start, map.last), 0);
			line_del(&line, first, cells);
		}
		assert_line_at(t, &line, rnd(LINE));
		if (left == 0 || --left > 0)
			continue;
		if (rnd(2)) {
			vhost_iotlb_txn_abort(t);
			line = before;
		} else {
			vhost_iotlb_txn_commit(t);
		}
		assert_line(t, &line);
	}
	assert_line(t, &line);
	vhost_iotlb_destroy(t);
}

/* As few levels as nodes that are half full make, at a size that a chain would not survive. */
static void
a_large_table_stays_flat(void **state)
{
	const unsigned int n = 1u << 17;
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb_map m = page;
	size_t levels = 1;

	(void)state;
	for (unsigned int i = 0; i < n; i++) {
		m.start = (uint64_t)i << 12;
		m.last = m.start | 0xfff;
		assert_int_equal(vhost_iotlb_add(t, &m), 0);
	}
	assert_tree(t, &(struct shape){ 0 });
	for (size_t holds = VHOST_IOTLB_LEAF_MAPS; holds < n; holds *= VHOST_IOTLB_FANOUT - 1)
		levels++;
	/* A table that grew upwards has full nodes. */
	assert_int_equal(t->tree.root.height + 1, levels);
	for (unsigned int i = 0; i < n; i += 2) {
		m.start = (uint64_t)i << 12;
		assert_int_equal(vhost_iotlb_del(t, m.start, m.start | 0xfff), 0);
	}
	assert_int_equal(vhost_iotlb_count(t), n / 2);
	assert_tree(t, &(struct shape){ 0 });
	assert_int_equal(vhost_iotlb_del(t, 0x800, UINT64_MAX), 0);
	assert_int_equal(vhost_iotlb_count(t), 0);
	assert_null(t->tree.root.node);
	/* Of its memory it keeps the stock and an empty chunk. */
	for (unsigned int kind = 0; kind < VHOST_IOTLB_NODE_KINDS; kind++)
		assert_true(t->tree.nodes.pool[kind].singles <= t->tree.nodes.stocked.n[kind]);
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
		cmocka_unit_test(a_table_that_retires_may_be_as_large_as_can_be),
		cmocka_unit_test(a_range_that_ends_before_it_starts_overlaps_nothing),
		cmocka_unit_test(identity_is_the_backing_and_not_where_it_is_mapped),
		cmocka_unit_test(random_changes_small),
		cmocka_unit_test(random_changes_full),
		cmocka_unit_test(without_memory_there_is_no_table),
		cmocka_unit_test(undoing_allocates_nothing),
		cmocka_unit_test(thousands_of_maps),
		cmocka_unit_test(a_large_table_stays_flat),
	};

	return cmocka_run_group_tests_name("iotlb", tests, NULL, NULL);
}

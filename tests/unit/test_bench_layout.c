/* SPDX-License-Identifier: BSD-3-Clause */
/* dpdk-test-vdpa: where things lie in guest memory, and how a memory table may slice it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"

#define GIB (1ull << 30)
#define MIB (1ull << 20)
#define HOLE_END (4 * GIB)

static struct layout_cfg
config(uint64_t bytes, unsigned int regions)
{
	return (struct layout_cfg){ .bytes = bytes, .page = LAYOUT_PAGE, .regions = regions,
		.rings = 8, .ring_bytes = 6662, .bufs = 1152 };
}

/* Guest addresses and file ranges of @n pieces: in order, apart, and all of the memory. */
static void
check_cover(const struct layout *l, const struct layout_slice *s, unsigned int n)
{
	uint64_t sum = 0;
	unsigned int i, k;

	for (i = 0; i < n; i++) {
		assert_true(s[i].bytes > 0);
		sum += s[i].bytes;
		for (k = 0; k < i; k++) {
			assert_true(s[k].gpa + s[k].bytes <= s[i].gpa);
			assert_true(s[k].file != s[i].file ||
					s[k].file_off + s[k].bytes <= s[i].file_off);
		}
	}
	assert_int_equal(sum, l->cfg.bytes);
}

/* A slice shows the same bytes of the same file at the same guest addresses as its span. */
static void
check_same_memory(const struct layout *l, const struct layout_slice *s)
{
	unsigned int i;

	for (i = 0; i < l->nspans; i++) {
		const struct layout_span *sp = &l->span[i];

		if (s->gpa < sp->gpa || s->gpa >= sp->gpa + sp->bytes)
			continue;
		assert_true(s->gpa + s->bytes <= sp->gpa + sp->bytes);
		assert_int_equal(s->file, sp->file);
		assert_int_equal(s->file_off - sp->file_off, s->gpa - sp->gpa);
		return;
	}
	fail_msg("slice outside of all spans");
}

static bool
within_one(const struct layout_slices *s, uint64_t gpa, uint64_t bytes)
{
	unsigned int i;

	for (i = 0; i < s->n; i++)
		if (gpa >= s->s[i].gpa && gpa + bytes <= s->s[i].gpa + s->s[i].bytes)
			return true;
	return false;
}

static void
test_one_region_has_no_hole(void **state)
{
	struct layout_cfg cfg = config(2 * GIB, 1);
	struct layout l;

	(void)state;
	assert_int_equal(layout_init(&l, &cfg), 0);
	assert_int_equal(l.nspans, 1);
	assert_int_equal(l.span[0].gpa, 0);
	assert_int_equal(l.file_bytes[0], 2 * GIB);
}

static void
test_more_regions_lie_around_the_hole(void **state)
{
	struct layout_cfg cfg = config(64 * GIB, 2);
	struct layout l;

	(void)state;
	assert_int_equal(layout_init(&l, &cfg), 0);
	assert_int_equal(l.nspans, 2);
	assert_true(l.span[0].bytes < HOLE_END);
	assert_int_equal(l.span[1].gpa, HOLE_END);
	assert_int_equal(l.nfiles, 1);
	cfg.regions = 3;
	assert_int_equal(layout_init(&l, &cfg), 0);
	assert_int_equal(l.nspans, 3);
	assert_int_equal(l.nfiles, 2);
	assert_int_equal(l.file_bytes[0] + l.file_bytes[1], 64 * GIB);
}

static void
check_slices(const struct layout *l, unsigned int n, uint64_t align, uint64_t seed)
{
	struct layout_slices s;
	unsigned int i;

	assert_int_equal(layout_slice(l, n, align, seed, &s), 0);
	assert_int_equal(s.n, n);
	check_cover(l, s.s, n);
	for (i = 0; i < n; i++) {
		check_same_memory(l, &s.s[i]);
		assert_int_equal(s.s[i].gpa % align, 0);
	}
}

static void
test_slices_of_any_number(void **state)
{
	unsigned int regions, n;
	struct layout l;
	uint64_t seed;

	(void)state;
	for (regions = 1; regions <= LAYOUT_MAX_SLICES; regions++) {
		struct layout_cfg cfg = config(256 * MIB, regions);

		assert_int_equal(layout_init(&l, &cfg), 0);
		for (n = l.nspans; n <= LAYOUT_MAX_SLICES; n++) {
			for (seed = 0; seed < 50; seed++) {
				check_slices(&l, n, 4096, seed);
				check_slices(&l, n, LAYOUT_PAGE, seed);
			}
		}
	}
}

static void
test_slices_differ(void **state)
{
	struct layout_cfg cfg = config(256 * MIB, 8);
	struct layout_slices s, before;
	struct layout l;
	unsigned int same = 0;
	uint64_t seed;

	(void)state;
	assert_int_equal(layout_init(&l, &cfg), 0);
	assert_int_equal(layout_slice(&l, 8, LAYOUT_PAGE, 0, &before), 0);
	for (seed = 1; seed < 100; seed++) {
		assert_int_equal(layout_slice(&l, 8, LAYOUT_PAGE, seed, &s), 0);
		same += memcmp(s.s, before.s, sizeof(s.s)) == 0;
		before = s;
	}
	assert_int_equal(same, 0);
}

/* A vhost back-end refuses a ring that lies in two regions. */
static void
test_rings_are_never_cut(void **state)
{
	struct layout_slices s;
	struct layout l;
	unsigned int regions, ring;
	uint64_t seed;

	(void)state;
	for (regions = 1; regions <= LAYOUT_MAX_SLICES; regions++) {
		struct layout_cfg cfg = config(64 * MIB, regions);

		assert_int_equal(layout_init(&l, &cfg), 0);
		for (seed = 0; seed < 50; seed++) {
			assert_int_equal(layout_slice(&l, 8, 4096, seed, &s), 0);
			for (ring = 0; ring < cfg.rings; ring++)
				assert_true(within_one(&s, layout_ring_gpa(&l, ring),
						cfg.ring_bytes));
		}
	}
}

static int
cmp_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
test_rings_and_buffers_are_apart(void **state)
{
	struct layout_slices spans;
	struct layout l;
	unsigned int regions, i;

	(void)state;
	for (regions = 1; regions <= 3; regions++) {
		struct layout_cfg cfg = config(32 * MIB, regions);
		uint64_t at[8 + 1152];

		assert_int_equal(layout_init(&l, &cfg), 0);
		assert_int_equal(layout_slice(&l, l.nspans, LAYOUT_PAGE, 0, &spans), 0);
		for (i = 0; i < cfg.rings; i++) {
			at[i] = layout_ring_gpa(&l, i);
			assert_int_not_equal(at[i], 0);
			assert_true(within_one(&spans, at[i], cfg.ring_bytes));
		}
		for (i = 0; i < cfg.bufs; i++) {
			at[cfg.rings + i] = layout_buf_gpa(&l, i);
			assert_true(within_one(&spans, at[cfg.rings + i], LAYOUT_BUF_BYTES));
		}
		qsort(at, cfg.rings + cfg.bufs, sizeof(at[0]), cmp_u64);
		for (i = 1; i < cfg.rings + cfg.bufs; i++)
			assert_true(at[i] - at[i - 1] >= LAYOUT_BUF_BYTES);
	}
}

static void
test_buffers_use_all_of_the_memory(void **state)
{
	struct layout_cfg cfg = config(2 * GIB, 4);
	struct layout l;
	unsigned int i, b;

	(void)state;
	assert_int_equal(layout_init(&l, &cfg), 0);
	for (i = 0; i < l.nspans; i++) {
		const struct layout_span *s = &l.span[i];
		uint64_t last = 0;

		for (b = 0; b < cfg.bufs; b++)
			if (layout_buf_gpa(&l, b) - s->gpa < s->bytes)
				last = layout_buf_gpa(&l, b) - s->gpa;
		assert_true(last > s->bytes - s->bytes / 16);
	}
}

static void
check_plug(const struct layout *l, uint64_t bytes, unsigned int least)
{
	unsigned int b, placed = 0;
	uint64_t off, next = 0;

	assert_int_equal(l->plug_gpa % GIB, 0);
	assert_true(l->plug_gpa >= l->span[l->nspans - 1].gpa + l->span[l->nspans - 1].bytes);
	for (b = 0; b < l->cfg.bufs; b++) {
		if (layout_plug_off(l, b, &off) != 0)
			continue;
		assert_int_equal(b % 2, 1);
		assert_true(off >= next && off + LAYOUT_BUF_BYTES <= bytes);
		next = off + LAYOUT_BUF_BYTES;
		placed++;
	}
	assert_true(placed >= least);
}

/* Every second buffer has a place there; where there is little memory, fewer have. */
static void
test_plugged_memory_is_apart_and_used(void **state)
{
	static const uint64_t sizes[] = { 0, 256 << 10, 8 * MIB, 256 * MIB };
	unsigned int regions, i;
	struct layout l;

	(void)state;
	for (regions = 1; regions <= LAYOUT_MAX_SLICES - 1; regions++) {
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct layout_cfg cfg = config(64 * MIB, regions);

			cfg.plug_bytes = sizes[i];
			assert_int_equal(layout_init(&l, &cfg), 0);
			check_plug(&l, sizes[i], sizes[i] >= 8 * MIB ? cfg.bufs / 2 :
					sizes[i] / (2 * LAYOUT_BUF_BYTES));
		}
	}
}

static void
test_too_small(void **state)
{
	struct layout_cfg cfg = config(2 * MIB, 1);
	struct layout_slices s;
	struct layout l;

	(void)state;
	assert_int_equal(layout_init(&l, &cfg), -ENOSPC);
	cfg = config(2 * MIB, 2);
	assert_int_equal(layout_init(&l, &cfg), -ENOSPC);
	cfg = config(8 * MIB, 4);
	assert_int_equal(layout_init(&l, &cfg), 0);
	assert_int_equal(layout_slice(&l, 8, LAYOUT_PAGE, 0, &s), -ENOSPC);
	assert_int_equal(layout_slice(&l, 2, 4096, 0, &s), -ENOSPC);
	assert_int_equal(layout_slice(&l, 9, 4096, 0, &s), -ENOSPC);
	assert_int_equal(layout_slice(&l, 8, 4096, 0, &s), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_region_has_no_hole),
		cmocka_unit_test(test_more_regions_lie_around_the_hole),
		cmocka_unit_test(test_slices_of_any_number),
		cmocka_unit_test(test_slices_differ),
		cmocka_unit_test(test_rings_are_never_cut),
		cmocka_unit_test(test_rings_and_buffers_are_apart),
		cmocka_unit_test(test_buffers_use_all_of_the_memory),
		cmocka_unit_test(test_plugged_memory_is_apart_and_used),
		cmocka_unit_test(test_too_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

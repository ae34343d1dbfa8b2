/* SPDX-License-Identifier: BSD-3-Clause */
/* dpdk-test-vdpa: what is marked is copied, once, nothing else; a page that differs is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "dirty.h"
#include "mem.h"

#define MIB (1ull << 20)
#define HIGH (4ull << 30)

static struct layout layout;
static struct mem *from, *to;
static struct dirty_log a, b;
static struct dirty_log *const logs[] = { &a, &b };

/* Two files, three spans, a hole. */
static int
setup(void **state)
{
	const struct layout_cfg cfg = { .bytes = 32 * MIB, .page = LAYOUT_PAGE, .regions = 3,
		.rings = 2, .ring_bytes = 8192, .bufs = 64 };
	char err[128];

	(void)state;
	if (layout_init(&layout, &cfg) != 0 ||
			mem_create(&from, &layout, MEM_MEMFD, true, err, sizeof(err)) != 0 ||
			mem_create(&to, &layout, MEM_MEMFD, true, err, sizeof(err)) != 0)
		return -1;
	return dirty_open(&a, &layout) != 0 || dirty_open(&b, &layout) != 0;
}

static int
teardown(void **state)
{
	(void)state;
	dirty_close(&b);
	dirty_close(&a);
	mem_destroy(to);
	mem_destroy(from);
	from = to = NULL;
	return 0;
}

static void
write_byte(uint64_t gpa, uint8_t value)
{
	*(uint8_t *)mem_ptr(from, gpa) = value;
}

static void
test_marked_pages_are_copied_once(void **state)
{
	(void)state;
	write_byte(0x5fff, 1);
	write_byte(HIGH, 2);
	write_byte(HIGH + 20 * MIB - 1, 3);	/* on the second file */
	dirty_mark(&a, 0x5fff, 1);
	dirty_mark(&b, HIGH, 1);
	dirty_mark(&b, HIGH + 20 * MIB - 1, 1);
	assert_int_equal(dirty_compare(from, to), 3);
	assert_int_equal(dirty_copy(logs, 2, from, to), 3);
	assert_int_equal(dirty_compare(from, to), 0);
	assert_int_equal(dirty_copy(logs, 2, from, to), 0);
}

static void
test_unmarked_pages_are_not_copied(void **state)
{
	(void)state;
	write_byte(0x5000, 1);
	write_byte(0x6000, 1);
	dirty_mark(&a, 0x5000, DIRTY_PAGE);
	assert_int_equal(dirty_copy(logs, 2, from, to), 1);
	assert_int_equal(dirty_compare(from, to), 1);
	dirty_copy_all(from, to);
	assert_int_equal(dirty_compare(from, to), 0);
}

static void
test_a_range_marks_every_page_it_touches(void **state)
{
	(void)state;
	dirty_mark(&a, 0x5fff, 2);
	assert_int_equal(dirty_copy(logs, 2, from, to), 2);
	dirty_mark(&a, 0x100000 - 1, 64 * DIRTY_PAGE + 2);	/* over words of the log */
	assert_int_equal(dirty_copy(logs, 2, from, to), 66);
}

static void
test_a_page_in_both_logs_is_one_page(void **state)
{
	(void)state;
	dirty_mark(&a, 0x7000, 1);
	dirty_mark(&b, 0x7000, 1);
	assert_int_equal(dirty_copy(logs, 2, from, to), 1);
	assert_int_equal(dirty_copy(logs, 2, from, to), 0);
}

/* As the specification of vhost-user has it, in bytes. */
static void
test_format(void **state)
{
	const uint8_t *bytes = (const uint8_t *)a.words;

	(void)state;
	dirty_mark(&a, 0x5000, 1);
	assert_int_equal(bytes[0], 1 << 5);
	dirty_mark(&a, HIGH + 9 * DIRTY_PAGE, 1);
	assert_int_equal(bytes[HIGH / DIRTY_PAGE / 8 + 1], 1 << 1);
	assert_true(a.bytes >= (HIGH + 20 * MIB) / DIRTY_PAGE / 8);
	assert_int_equal(a.bytes % DIRTY_PAGE, 0);
}

#define with_memory(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_memory(test_marked_pages_are_copied_once),
		with_memory(test_unmarked_pages_are_not_copied),
		with_memory(test_a_range_marks_every_page_it_touches),
		with_memory(test_a_page_in_both_logs_is_one_page),
		with_memory(test_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

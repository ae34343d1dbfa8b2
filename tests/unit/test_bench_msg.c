/* SPDX-License-Identifier: BSD-3-Clause */
/* dpdk-test-vdpa: vhost-user messages byte by byte, as the specification lays them out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "msg.h"

static struct vu_msg m;

static uint32_t
word(size_t at)
{
	uint32_t w;

	memcpy(&w, (const uint8_t *)&m + at, sizeof(w));
	return w;
}

static uint64_t
dword(size_t at)
{
	uint64_t w;

	memcpy(&w, (const uint8_t *)&m + at, sizeof(w));
	return w;
}

static void
check_header(uint32_t request, uint32_t size)
{
	assert_int_equal(word(0), request);
	assert_int_equal(word(4), 1);
	assert_int_equal(word(8), size);
}

/* Each test starts from garbage: no message may leak what was there before. */
static int
dirty(void **state)
{
	(void)state;
	memset(&m, 0xee, sizeof(m));
	return 0;
}

static void
test_empty(void **state)
{
	(void)state;
	vu_msg_init(&m, VU_SET_OWNER);
	check_header(3, 0);
}

static void
test_u64(void **state)
{
	(void)state;
	vu_msg_u64(&m, VU_SET_FEATURES, 0x123456789abcdef0);
	check_header(2, 8);
	assert_int_equal(dword(12), 0x123456789abcdef0);
}

static void
test_vring_state(void **state)
{
	(void)state;
	vu_msg_state(&m, VU_SET_VRING_BASE, 5, 0x80008000);
	check_header(10, 8);
	assert_int_equal(word(12), 5);
	assert_int_equal(word(16), 0x80008000);
}

/* Descriptors, used, available, log: not the order of the areas in memory. */
static void
test_vring_addr(void **state)
{
	const struct vhost_vring_addr addr = { .index = 3, .flags = 1, .desc_user_addr = 0x1000,
		.used_user_addr = 0x2000, .avail_user_addr = 0x3000, .log_guest_addr = 0x4000 };

	(void)state;
	vu_msg_addr(&m, &addr);
	check_header(9, 40);
	assert_int_equal(word(12), 3);
	assert_int_equal(word(16), 1);
	assert_int_equal(dword(20), 0x1000);
	assert_int_equal(dword(28), 0x2000);
	assert_int_equal(dword(36), 0x3000);
	assert_int_equal(dword(44), 0x4000);
}

/* The file is shared from its start. */
static void
test_log(void **state)
{
	(void)state;
	vu_msg_log(&m, 0x22000);
	check_header(6, 16);
	assert_int_equal(dword(12), 0x22000);
	assert_int_equal(dword(20), 0);
}

static void
test_mem_table(void **state)
{
	struct vu_mem_table table = { .n = 2 };

	(void)state;
	table.region[0] = (struct vu_region){ .gpa = 1, .bytes = 2, .uaddr = 3, .mmap_off = 4 };
	table.region[1] = (struct vu_region){ .gpa = 5, .bytes = 6, .uaddr = 7, .mmap_off = 8 };
	vu_msg_mem_table(&m, &table);
	check_header(5, 8 + 2 * 32);
	assert_int_equal(word(12), 2);
	assert_int_equal(word(16), 0);
	assert_int_equal(dword(20), 1);
	assert_int_equal(dword(44), 4);
	assert_int_equal(dword(52), 5);
	assert_int_equal(dword(76), 8);
}

static void
test_config(void **state)
{
	(void)state;
	vu_msg_config(&m, 0, 6);
	check_header(24, 12 + 6);
	assert_int_equal(word(12), 0);
	assert_int_equal(word(16), 6);
	assert_int_equal(word(20), 0);
	assert_int_equal(word(24), 0);
}

static void
test_answers(void **state)
{
	struct vu_hdr h = { .request = VU_GET_FEATURES, .flags = VU_VERSION | VU_REPLY, .size = 8 };

	(void)state;
	assert_true(vu_msg_answers(&h, VU_GET_FEATURES, 8));
	assert_false(vu_msg_answers(&h, VU_GET_STATUS, 8));
	assert_false(vu_msg_answers(&h, VU_GET_FEATURES, 4));
	h.flags = VU_VERSION;
	assert_false(vu_msg_answers(&h, VU_GET_FEATURES, 8));
	h.flags = VU_REPLY | 2;
	assert_false(vu_msg_answers(&h, VU_GET_FEATURES, 8));
}

static void
test_names(void **state)
{
	(void)state;
	assert_string_equal(vu_request_name(VU_SET_MEM_TABLE), "SET_MEM_TABLE");
	assert_string_equal(vu_request_name(0), "an unknown request");
	assert_string_equal(vu_request_name(4000000000u), "an unknown request");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_empty, dirty),
		cmocka_unit_test_setup(test_u64, dirty),
		cmocka_unit_test_setup(test_vring_state, dirty),
		cmocka_unit_test_setup(test_vring_addr, dirty),
		cmocka_unit_test_setup(test_log, dirty),
		cmocka_unit_test_setup(test_mem_table, dirty),
		cmocka_unit_test_setup(test_config, dirty),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

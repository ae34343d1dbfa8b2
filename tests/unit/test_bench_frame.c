/* SPDX-License-Identifier: BSD-3-Clause */
/* dpdk-test-vdpa: a frame is what it should be, and no wrong byte of it goes unnoticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "frame.h"

#define IP_AT 14
#define UDP_AT 34
#define STAMP_AT 42
#define PATTERN_AT 60

static const struct frame_addr addr = {
	.src = { 0x02, 0, 0, 0, 0, 1 }, .dst = { 0x02, 0, 0, 0, 0, 2 },
};

/* RFC 1071, the plain way. */
static uint16_t
csum(const uint8_t *p, size_t len, uint32_t sum)
{
	size_t i;

	for (i = 0; i < len; i++)
		sum += i % 2 ? p[i] : p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void
test_every_frame_verifies(void **state)
{
	uint8_t buf[FRAME_MAX];
	struct frame_id id, got;

	(void)state;
	for (id.queue = 0; id.queue < 3; id.queue++) {
		for (id.seq = 0; id.seq < 3000; id.seq++) {
			uint16_t len = frame_build(buf, &id, &addr);

			assert_int_equal(frame_check(buf, len, &addr, &got), FRAME_GOOD);
			assert_true(got.seq == id.seq && got.queue == id.queue);
		}
	}
}

/* The checksums are those of the protocols, for a device or a sniffer that looks at them. */
static void
test_headers_are_valid(void **state)
{
	struct frame_id id = { .queue = 5 };
	uint8_t buf[FRAME_MAX];

	(void)state;
	for (id.seq = 0; id.seq < 1000; id.seq++) {
		uint16_t len = frame_build(buf, &id, &addr);
		uint16_t udp = len - UDP_AT, pseudo;

		assert_memory_equal(buf, addr.dst, 6);
		assert_memory_equal(buf + 6, addr.src, 6);
		assert_int_equal(buf[IP_AT + 2] << 8 | buf[IP_AT + 3], len - IP_AT);
		assert_int_equal(csum(buf + IP_AT, 20, 0), 0xffff);
		assert_int_equal(buf[UDP_AT + 4] << 8 | buf[UDP_AT + 5], udp);
		pseudo = csum(buf + IP_AT + 12, 8, 17 + udp);
		assert_int_equal(csum(buf + UDP_AT, udp, pseudo), 0xffff);
	}
}

static void
test_sizes_and_ports_vary(void **state)
{
	unsigned int smallest = FRAME_MAX, largest = 0, ports = 0, i;
	struct frame_id id = { .queue = 1 };
	uint8_t buf[FRAME_MAX], seen[FRAME_FLOWS] = {0};

	(void)state;
	for (id.seq = 0; id.seq < 20000; id.seq++) {
		unsigned int len = frame_build(buf, &id, &addr);

		assert_in_range(len, FRAME_MIN, FRAME_MAX);
		smallest = len < smallest ? len : smallest;
		largest = len > largest ? len : largest;
		seen[buf[UDP_AT + 1] % FRAME_FLOWS] = 1;
	}
	for (i = 0; i < FRAME_FLOWS; i++)
		ports += seen[i];
	assert_int_equal(smallest, FRAME_MIN);
	assert_int_equal(largest, FRAME_MAX);
	assert_int_equal(ports, FRAME_FLOWS);
}

static void
test_any_changed_bit_is_corrupt(void **state)
{
	const struct frame_id id = { .seq = 77, .queue = 2 };
	uint8_t buf[FRAME_MAX];
	uint16_t len = frame_build(buf, &id, &addr);
	struct frame_id got;
	unsigned int bit;

	(void)state;
	for (bit = 0; bit < len * 8u; bit++) {
		enum frame_verdict v;

		buf[bit / 8] ^= 1u << bit % 8;
		v = frame_check(buf, len, &addr, &got);
		assert_true(v == FRAME_CORRUPT || v == FRAME_CORRUPT_KNOWN);
		if (bit / 8 >= PATTERN_AT)
			assert_true(v == FRAME_CORRUPT_KNOWN && got.seq == 77);
		buf[bit / 8] ^= 1u << bit % 8;
	}
	assert_int_equal(frame_check(buf, len, &addr, &got), FRAME_GOOD);
}

static void
test_wrong_length_is_corrupt(void **state)
{
	const struct frame_id id = { .seq = 3 };
	uint8_t buf[FRAME_MAX + 8] = {0};
	uint16_t len = frame_build(buf, &id, &addr);
	struct frame_id got;

	(void)state;
	assert_int_equal(frame_check(buf, len + 1, &addr, &got), FRAME_CORRUPT_KNOWN);
	assert_int_equal(frame_check(buf, len - 1, &addr, &got), FRAME_CORRUPT_KNOWN);
	assert_int_equal(frame_check(buf, STAMP_AT, &addr, &got), FRAME_CORRUPT);
	assert_int_equal(frame_check(buf, 0, &addr, &got), FRAME_CORRUPT);
}

/* What was written to the wrong place must not pass as somebody else's traffic. */
static void
test_only_strange_multicast_is_foreign(void **state)
{
	uint8_t buf[FRAME_MAX];
	struct frame_id got;

	(void)state;
	memset(buf, 0x5a, sizeof(buf));
	assert_int_equal(frame_check(buf, 100, &addr, &got), FRAME_CORRUPT);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(frame_check(buf, 100, &addr, &got), FRAME_CORRUPT);
	memset(buf, 0xff, 6);
	assert_int_equal(frame_check(buf, 100, &addr, &got), FRAME_FOREIGN);
	memcpy(buf + 6, addr.src, 6);
	assert_int_equal(frame_check(buf, 100, &addr, &got), FRAME_CORRUPT);
}

static void
test_on_a_shared_wire_strangers_are_foreign(void **state)
{
	struct frame_addr shared = addr;
	struct frame_id id = { .seq = 1 }, got;
	uint8_t buf[FRAME_MAX];
	uint16_t len;

	(void)state;
	shared.shared = true;
	len = frame_build(buf, &id, &shared);
	assert_int_equal(frame_check(buf, len, &shared, &got), FRAME_GOOD);
	buf[STAMP_AT] ^= 1;
	assert_int_equal(frame_check(buf, len, &shared, &got), FRAME_CORRUPT);
	buf[6 + 5] ^= 4;
	assert_int_equal(frame_check(buf, len, &shared, &got), FRAME_FOREIGN);
	assert_int_equal(frame_check(buf, IP_AT - 1, &shared, &got), FRAME_CORRUPT);
	memset(buf, 0, sizeof(buf));
	assert_int_equal(frame_check(buf, len, &shared, &got), FRAME_CORRUPT);
}

static void
test_small_frames(void **state)
{
	struct frame_addr small = addr;
	struct frame_id id = { .queue = 1 }, got;
	uint8_t buf[FRAME_MAX];

	(void)state;
	small.small = true;
	for (id.seq = 0; id.seq < 1000; id.seq++) {
		assert_int_equal(frame_build(buf, &id, &small), FRAME_MIN);
		assert_int_equal(frame_check(buf, FRAME_MIN, &small, &got), FRAME_GOOD);
		assert_true(got.seq == id.seq && got.queue == id.queue);
		buf[id.seq % FRAME_MIN] ^= 0x10;
		assert_int_not_equal(frame_check(buf, FRAME_MIN, &small, &got), FRAME_GOOD);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_frame_verifies),
		cmocka_unit_test(test_headers_are_valid),
		cmocka_unit_test(test_sizes_and_ports_vary),
		cmocka_unit_test(test_any_changed_bit_is_corrupt),
		cmocka_unit_test(test_wrong_length_is_corrupt),
		cmocka_unit_test(test_only_strange_multicast_is_foreign),
		cmocka_unit_test(test_on_a_shared_wire_strangers_are_foreign),
		cmocka_unit_test(test_small_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which frames a set of queues gets, by their addresses: what its flow rules match, and nothing of
 * its own accord. The wire brings every frame back (traffic.h).
 */
#include "traffic.h"

/* Addresses of 48 bits. MULTICAST_BIT: the first bit of an address on the wire. */
#define OWN UINT64_C(0x020000000001)
#define MULTICAST_BIT UINT64_C(0x010000000000)
#define WHOLE UINT64_C(0xffffffffffff)

enum { LEN = 100, KINDS_MAX = 8 };

static const struct kind {
	const char *name;
	uint64_t dmac;
	bool vlan;
	bool own, group;           /* for us; for a group of which we may be */
} kinds[] = {
	{ "our address", OWN, false, true, false },
	{ "our address in a VLAN", OWN, true, true, false },
	{ "another address", UINT64_C(0x020000000099), false, false, false },
	{ "broadcast", WHOLE, false, false, true },
	{ "broadcast in a VLAN", WHOLE, true, false, true },
	{ "a group of IPv4", UINT64_C(0x01005e0000fb), false, false, true },
	{ "a group of IPv6", UINT64_C(0x333300000001), false, false, true },
	{ "the bridge's group", UINT64_C(0x0180c2000000), false, false, true },
};
_Static_assert(DIM(kinds) <= KINDS_MAX, "");

static struct pair p;

static int
setup(void **state)
{
	pair_create(&p, *state, 0, 0);
	flow_destroy(&p.flow);
	pair_start(&p);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pair_discard(&p);
	return 0;
}

/* Frame of kind @p i, in its own transmit buffer. */
static void
send_kind(unsigned int i)
{
	uint8_t *frame = pair_tx_buf(&p, i) + NET_HDR;
	struct buf b = pair_tx(&p, i, LEN);
	unsigned int n;

	memset(pair_tx_buf(&p, i), 0, NET_HDR);
	frame_make(frame, LEN, i);
	for (n = 0; n < 6; n++)
		frame[n] = kinds[i].dmac >> (40 - 8 * n);
	if (kinds[i].vlan) {
		/* Tag of VLAN 7, then the type that was there. */
		memmove(frame + 16, frame + 12, 2);
		memcpy(frame + 12, (uint8_t[]) { 0x81, 0x00, 0x00, 0x07 }, 4);
	}
	ring_post(&p.tx.ring, &b, 1, 0);
}

/* Send a frame of each kind; those arrive, in order and whole, of which wanted() says so. */
static void
expect_kinds(bool (*wanted)(const struct kind *kind))
{
	struct vring_used_elem e;
	unsigned int i;

	pair_post_rx(&p, DIM(kinds));
	for (i = 0; i < DIM(kinds); i++)
		send_kind(i);
	queue_kick(&p.tx);
	for (i = 0; i < DIM(kinds); i++)
		assert_true(wait_until(ring_take(&p.tx.ring, &e)));
	for (i = 0; i < DIM(kinds); i++) {
		if (!wanted(&kinds[i]))
			continue;
		if (!wait_until(ring_take(&p.rx.ring, &e))) {
			print_error("%s did not arrive\n", kinds[i].name);
			fail();
		}
		assert_int_equal(e.len, NET_HDR + LEN);
		assert_memory_equal(p.mem.va + (p.rx.ring.desc[e.id].addr - p.mem.iova) + NET_HDR,
			pair_tx_buf(&p, i) + NET_HDR, LEN);
	}
	sleep_us(QUIET_MS * 1000);
	assert_int_equal(ring_pending(&p.rx.ring), 0);
}

static bool
all(const struct kind *kind)
{
	(void)kind;
	return true;
}

static bool
own(const struct kind *kind)
{
	return kind->own;
}

static bool
own_and_groups(const struct kind *kind)
{
	return kind->own || kind->group;
}

static bool
broadcast(const struct kind *kind)
{
	return kind->dmac == WHOLE;
}

/* As DPDK's drivers do: addresses are looked at by none of their rules. */
static void
a_rule_for_everything_gets_every_kind(void **state)
{
	static const struct match any = {0};

	assert_int_equal(flow_create(&p.flow, *state, 7, &any, &p.tir), 0);
	expect_kinds(all);
}

/* As Linux's mlx5_vdpa does: the device's address, and one rule for all groups. */
static void
rules_for_our_address_and_for_groups_get_those(void **state)
{
	static const struct match mine = { .dmac = OWN, .dmac_mask = WHOLE };
	static const struct match groups = { .dmac = MULTICAST_BIT, .dmac_mask = MULTICAST_BIT };
	struct flow f;

	assert_int_equal(flow_create(&p.flow, *state, 0, &mine, &p.tir), 0);
	expect_kinds(own);
	assert_int_equal(flow_create(&f, *state, 0, &groups, &p.tir), 0);
	expect_kinds(own_and_groups);
	flow_destroy(&f);
	expect_kinds(own);
}

static void
a_rule_for_broadcast_gets_no_other_group(void **state)
{
	static const struct match match = { .dmac = WHOLE, .dmac_mask = WHOLE };

	assert_int_equal(flow_create(&p.flow, *state, 0, &match, &p.tir), 0);
	expect_kinds(broadcast);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_rule_for_everything_gets_every_kind),
		TEST(rules_for_our_address_and_for_groups_get_those),
		TEST(a_rule_for_broadcast_gets_no_other_group),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

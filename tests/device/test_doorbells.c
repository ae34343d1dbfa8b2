/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Doorbells as a guest may ring them that owns the page: any value of any width, anywhere in it, at
 * any time and without an end. They start nothing that is not ready, and crash and lose nothing; a
 * queue that is suspended stays quiet, and goes on after one doorbell that follows its resumption.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "packed.h"
#include "traffic.h"

enum { LEN = 200, SIZE = PAIR_SIZE, SPARE_RING = 0xc000, VAR_PAGE = 4096 };

/* A pair whose rings are split or packed. */
static struct {
	struct pair p;
	struct packed rx, tx;
	bool packed;
	uint32_t seq;
} t;

static int
setup_split(void **state)
{
	memset(&t, 0, sizeof(t));
	pair_create(&t.p, *state, 0, 0);
	pair_start(&t.p);
	return 0;
}

static int
setup_packed(void **state)
{
	memset(&t, 0, sizeof(t));
	t.packed = true;
	pair_create_mem(&t.p, *state);
	packed_create(&t.rx, &t.p.rx, *state, 0, SIZE, &t.p.mem, t.p.mem.va + PAIR_RX_RING);
	packed_create(&t.tx, &t.p.tx, *state, 1, SIZE, &t.p.mem, t.p.mem.va + PAIR_TX_RING);
	pair_create_steering(&t.p);
	pair_start(&t.p);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pair_discard(&t.p);
	return 0;
}

/* Make a frame and a buffer for it available; no doorbell. Returns its number. */
static uint32_t
post(void)
{
	uint32_t seq = t.seq++, i = seq % SIZE;
	struct buf in = pair_rx(&t.p, i), out = pair_tx(&t.p, i, LEN);

	memset(pair_tx_buf(&t.p, i), 0, NET_HDR);
	frame_make(pair_tx_buf(&t.p, i) + NET_HDR, LEN, seq);
	if (t.packed) {
		packed_post(&t.rx, &in, 0, 1, i);
		packed_post(&t.tx, &out, 1, 0, i);
	} else {
		ring_post(&t.p.rx.ring, &in, 0, 1);
		ring_post(&t.p.tx.ring, &out, 1, 0);
	}
	return seq;
}

/* Take a completion of the receive or the transmit queue, if there is one. */
static bool
take(bool rx, uint32_t *len)
{
	struct vring_used_elem e;
	struct packed_used u;

	if (t.packed) {
		if (!packed_take(rx ? &t.rx : &t.tx, &u))
			return false;
		*len = u.len;
		return true;
	}
	if (!ring_take(rx ? &t.p.rx.ring : &t.p.tx.ring, &e))
		return false;
	*len = e.len;
	return true;
}

static void
expect(uint32_t seq)
{
	uint32_t len = 0;

	assert_true(wait_until(take(true, &len)));
	assert_int_equal(len, NET_HDR + LEN);
	assert_true(frame_is(pair_rx_buf(&t.p, seq % SIZE) + NET_HDR, LEN, seq));
	assert_true(wait_until(take(false, &len)));
}

static void
expect_nothing(void)
{
	uint32_t len;

	sleep_us(QUIET_MS * 1000);
	assert_false(take(true, &len));
	assert_false(take(false, &len));
}

static void
exchange(unsigned int n)
{
	uint32_t seq;

	while (n-- > 0) {
		seq = post();
		queue_kick(&t.p.tx);
		expect(seq);
	}
}

/* ---- what is written ---- */

static uint8_t *
doorbell(const struct dev *d)
{
	return d->var_page + VIRTIO_CAP(d, doorbell_bar_offset) % d->var->length;
}

static void
ring_value(const struct dev *d, uint32_t value)
{
	atomic_thread_fence(memory_order_seq_cst);
	*(volatile uint32_t *)doorbell(d) = htole32(value);
}

/* Every value of a kind, in every width; then all over the page. */
static void
ring_everything(const struct dev *d)
{
	const uint32_t max = VIRTIO_CAP(d, max_num_virtio_queues);
	const uint32_t values[] = { 0, 1, 2, 3, 77, max - 1, max, max + 1, 0x7fff, 0x8000, 0xfffe,
		0xffff, 0x10000, 0x10001, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff };
	uint8_t *page = d->var_page;
	size_t i;

	for (i = 0; i < DIM(values); i++) {
		ring_value(d, values[i]);
		*(volatile uint16_t *)doorbell(d) = htole16(values[i]);
		*(volatile uint8_t *)doorbell(d) = values[i];
		*(volatile uint64_t *)doorbell(d) = htole64(values[i] * UINT64_C(0x100000001));
	}
	for (i = 0; i < VAR_PAGE; i += 4)
		*(volatile uint32_t *)(page + i) = htole32(i * 2654435761u);
}

static void
values_of_all_kinds_harm_nothing(void **state)
{
	struct dev *d = *state;
	unsigned int i;

	exchange(2);
	for (i = 0; i < 20; i++) {
		ring_everything(d);
		exchange(2);
	}
	assert_int_equal(virtq_state(&t.p.rx.vq), MLX5_VIRTQ_STATE_RDY);
	assert_int_equal(virtq_state(&t.p.tx.vq), MLX5_VIRTQ_STATE_RDY);
}

/* Any doorbell is a hint: what is available may be taken or not, until the queue's own is rung. */
static void
a_frame_that_another_bell_was_rung_for_arrives_once(void **state)
{
	uint32_t seq;

	exchange(1);
	seq = post();
	ring_everything(*state);
	queue_kick(&t.p.tx);
	expect(seq);
	expect_nothing();
}

static void
bells_of_queues_that_are_gone_harm_nothing(void **state)
{
	struct dev *d = *state;
	struct queue q;
	unsigned int i;

	for (i = 0; i < 20; i++) {
		queue_create(&q, d, 3, SIZE, &t.p.mem, t.p.mem.va + SPARE_RING, 0);
		queue_go(&q, RDY);
		queue_kick(&q);
		queue_destroy(&q);
		ring_value(d, 3);
		exchange(1);
		ring_value(d, 3);
	}
}

/* A page of another device. */
static void
bells_of_another_device_harm_nothing(void **state)
{
	struct dev *other = dev_open_peer(*state);
	int i;

	assert_non_null(other);
	for (i = 0; i < 10; i++) {
		ring_everything(other);
		exchange(2);
	}
	assert_int_equal(dev_close(other), 0);
	exchange(2);
}

/* ---- suspended ---- */

static void
a_suspended_queue_stays_quiet_whatever_is_rung(void **state)
{
	struct dev *d = *state;
	struct virtq_status tx, rx;
	uint32_t seq[5], i;

	exchange(4);
	queue_go(&t.p.tx, SUSPEND);
	queue_go(&t.p.rx, SUSPEND);
	tx = virtq_query(&t.p.tx.vq);
	rx = virtq_query(&t.p.rx.vq);
	for (i = 0; i < DIM(seq); i++) {
		seq[i] = post();
		ring_everything(d);
		queue_kick(&t.p.tx);
		queue_kick(&t.p.rx);
	}
	expect_nothing();
	assert_int_equal(virtq_query(&t.p.tx.vq).hw_avail, tx.hw_avail);
	assert_int_equal(virtq_query(&t.p.tx.vq).hw_used, tx.hw_used);
	assert_int_equal(virtq_query(&t.p.rx.vq).hw_avail, rx.hw_avail);
	assert_int_equal(virtq_query(&t.p.rx.vq).hw_used, rx.hw_used);
	if (!VIRTIO_CAP(d, freeze_to_rdy_supported))
		return;
	queue_go(&t.p.rx, RDY);
	queue_kick(&t.p.rx);
	queue_go(&t.p.tx, RDY);
	queue_kick(&t.p.tx);
	for (i = 0; i < DIM(seq); i++)
		expect(seq[i]);
	expect_nothing();
}

/* ---- without an end ---- */

static atomic_bool storm_over;

static void *
storm(void *arg)
{
	const struct dev *d = arg;
	uint32_t x = 1;

	while (!atomic_load(&storm_over)) {
		x = x * 1664525u + 1013904223u;
		/* Mostly our queues' own, as a guest's that polls; anything else between. */
		ring_value(d, x >> 30 != 0 ? x >> 29 & 1 : x);
		*(volatile uint16_t *)doorbell(d) = x;
		sched_yield();
	}
	return NULL;
}

/* Frames before, during and after each suspension; each arrives once, in order, and nothing moves
 * while it lasts. */
static void
suspend_in_a_storm(unsigned int rounds)
{
	enum { BATCH = 8 };
	uint32_t seq[BATCH], i, len;
	struct virtq_status s;

	while (rounds-- > 0) {
		for (i = 0; i < BATCH / 2; i++)
			seq[i] = post();
		queue_go(&t.p.tx, SUSPEND);
		s = virtq_query(&t.p.tx.vq);
		assert_int_equal(s.hw_avail, s.hw_used);
		for (; i < BATCH; i++)
			seq[i] = post();
		sleep_us(500);
		assert_int_equal(virtq_query(&t.p.tx.vq).hw_used, s.hw_used);
		assert_int_equal(virtq_query(&t.p.tx.vq).hw_avail, s.hw_avail);
		queue_go(&t.p.tx, RDY);
		queue_kick(&t.p.tx);
		for (i = 0; i < BATCH; i++)
			expect(seq[i]);
	}
	assert_false(take(true, &len));
}

static void
churn_in_a_storm(struct dev *d, unsigned int rounds)
{
	struct packed r;
	struct queue q;

	while (rounds-- > 0) {
		if (t.packed)
			packed_create(&r, &q, d, 5, SIZE, &t.p.mem, t.p.mem.va + SPARE_RING);
		else
			queue_create(&q, d, 5, SIZE, &t.p.mem, t.p.mem.va + SPARE_RING, 0);
		queue_go(&q, RDY);
		if (rounds % 2 == 0)
			queue_go(&q, SUSPEND);
		queue_destroy(&q);
		exchange(1);
	}
}

static void
a_storm_of_bells_over_suspend_resume_and_destroy(void **state)
{
	struct dev *d = *state;
	pthread_t thread;

	exchange(2);
	atomic_store(&storm_over, false);
	assert_int_equal(pthread_create(&thread, NULL, storm, d), 0);
	if (VIRTIO_CAP(d, freeze_to_rdy_supported))
		suspend_in_a_storm(40);
	churn_in_a_storm(d, 20);
	atomic_store(&storm_over, true);
	pthread_join(thread, NULL);
	exchange(2);
	assert_true(dma_faults() <= 0);
}

#define BOTH(f) \
	{ #f "_split", f, setup_split, teardown, NULL }, \
	{ #f "_packed", f, setup_packed, teardown, NULL }

int
main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(values_of_all_kinds_harm_nothing),
		BOTH(a_frame_that_another_bell_was_rung_for_arrives_once),
		BOTH(bells_of_queues_that_are_gone_harm_nothing),
		BOTH(bells_of_another_device_harm_nothing),
		BOTH(a_suspended_queue_stays_quiet_whatever_is_rung),
		BOTH(a_storm_of_bells_over_suspend_resume_and_destroy),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

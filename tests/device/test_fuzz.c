/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings full of what no driver writes: random descriptors, tables and indices, split and packed, of
 * transmit and receive queues, while a second thread changes them. The queue may go on or break; it
 * may write what its key covers. The device, the host and the queues beside it are unharmed.
 *
 * The numbers are the same in every run; MLX5_TEST_SEED starts others.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "packed.h"
#include "traffic.h"

enum {
	ROUNDS = 150,
	SIZE = 64,
	OWN_BYTES = 1 << 16,       /* the hostile guest's memory */
	RING_AREA = 0x4000,        /* its rings at the start; the rest is tables and buffers */
	GUARD = 0x5a,
};

#define OWN_IOVA UINT64_C(0x80000000)

static struct pair p;
static struct mem own;

static uint64_t
next_random(uint64_t *x)
{
	/* splitmix64 */
	uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static bool
one_in(uint64_t *x, unsigned int n)
{
	return next_random(x) % n == 0;
}

/* The queue of this round. */
static struct {
	bool packed, rx;
	uint16_t start;            /* index, with the wrap counter where packed */
	struct queue q;
} h;

static unsigned int broken[8]; /* rounds by how they ended: error types */

/* Mostly an address with memory behind it, so that the device gets far. */
static uint64_t
random_address(uint64_t *x)
{
	uint64_t r = next_random(x);

	switch (r % 64) {
	case 0:
		return next_random(x);
	case 1:
		return OWN_IOVA + OWN_BYTES - r / 64 % 64;
	case 2:
		return PAIR_IOVA + r / 64 % PAIR_MEM; /* of the pair, which our key does not cover */
	case 3:
		return OWN_IOVA + r / 64 % RING_AREA; /* of the ring itself */
	default:
		return OWN_IOVA + RING_AREA + r / 64 % (OWN_BYTES - RING_AREA - 0x400);
	}
}

static uint32_t
random_length(uint64_t *x)
{
	static const uint32_t some[] = { 0, 1, 11, 12, 13, 16, 48, 64, 100, 1024, 1040, 0x4000,
		0xffff, 0x80000000, 0xfffffff0, 0xffffffff };

	if (one_in(x, 20))
		return some[next_random(x) % DIM(some)];
	/* Tables are of whole descriptors. */
	return one_in(x, 2) ? (1 + next_random(x) % 8) * 16 : 12 + next_random(x) % 200;
}

static uint16_t
random_flags(uint64_t *x)
{
	bool wrap = (h.start & PACKED_WRAP) != 0;
	uint16_t flags = h.rx ? VRING_DESC_F_WRITE : 0;

	if (one_in(x, 40))
		return next_random(x);
	flags |= one_in(x, 4) ? VRING_DESC_F_NEXT : one_in(x, 4) ? VRING_DESC_F_INDIRECT : 0;
	if (h.packed)
		flags |= 1u << (wrap != one_in(x, 30) ? VRING_PACKED_DESC_F_AVAIL :
			VRING_PACKED_DESC_F_USED);
	return flags;
}

/* Descriptors of both formats have address and length first. */
static void
random_desc(uint8_t *at, uint64_t *x)
{
	uint64_t address = random_address(x);
	uint32_t length = random_length(x);
	uint16_t number = one_in(x, 40) ? next_random(x) : next_random(x) % SIZE;
	uint16_t flags = random_flags(x);

	memcpy(at, &address, sizeof(address));
	memcpy(at + 8, &length, sizeof(length));
	memcpy(at + (h.packed ? 12 : 14), &number, sizeof(number));
	memcpy(at + (h.packed ? 14 : 12), &flags, sizeof(flags));
}

/* All memory is descriptors; of a split ring, a part of it available. */
static void
scribble(uint64_t *x)
{
	struct vring_avail *avail = h.q.ring.avail;
	unsigned int i;

	for (i = 0; i < OWN_BYTES; i += 16)
		random_desc(own.va + i, x);
	if (h.packed)
		return;
	for (i = 0; i < SIZE; i++)
		avail->ring[i] = one_in(x, 50) ? next_random(x) : next_random(x) % SIZE;
	avail->flags = next_random(x) % 2;
	avail->idx = h.start + (one_in(x, 20) ? next_random(x) : 1 + next_random(x) % SIZE);
}

/* ---- a queue that is changed while the device reads it ---- */

static atomic_bool quiet;

static void *
keep_scribbling(void *arg)
{
	uint64_t x = *(uint64_t *)arg;

	while (!atomic_load(&quiet)) {
		random_desc(own.va + next_random(&x) % (OWN_BYTES / 16) * 16, &x);
		sched_yield();
	}
	return NULL;
}

static void
make(struct dev *d, uint16_t index, uint64_t *x)
{
	uint8_t in[VIRTQ_IN_BYTES];
	struct virtq_attr a;
	struct packed r;

	h.start = next_random(x);
	if (h.packed) {
		h.start = h.start % SIZE | (h.start & PACKED_WRAP);
		packed_prepare(&r, &h.q, d, index, SIZE, &own, own.va, h.start, in);
	} else {
		queue_prepare(&h.q, d, index, SIZE, &own, own.va, &a);
		a.hw_avail = h.start;
		a.hw_used = next_random(x);
		fill_virtq(d, in, &a);
	}
	h.q.vq = create(d, in, sizeof(in));
}

/* Frames of the pair go to the hostile receive queue for a while. */
static void
feed(uint64_t *x)
{
	struct vring_used_elem e;
	uint8_t rqt[RQT_IN_BYTES];
	unsigned int i;

	assert_accepted(dev_modify(&p.rqt, rqt,
		fill_modify_rqt(rqt, p.rqt.id, &h.q.vq.id, 1)));
	for (i = 0; i < 32; i++)
		pair_post_tx(&p, FRAME_MIN + next_random(x) % 200);
	for (i = 0; i < 32; i++) {
		queue_kick(&h.q);
		queue_kick(&p.tx);
		assert_true(wait_until(ring_take(&p.tx.ring, &e)));
	}
	assert_accepted(dev_modify(&p.rqt, rqt,
		fill_modify_rqt(rqt, p.rqt.id, &p.rx.vq.id, 1)));
}

/* One hostile queue from its creation to its end. */
static void
round_of(struct dev *d, unsigned int n, uint64_t *x)
{
	uint64_t theirs = next_random(x);
	pthread_t thread;
	unsigned int i;

	h.rx = n % 2 == 1;
	h.packed = n / 2 % 2 == 1;
	make(d, h.rx ? 2 : 3, x);
	scribble(x);
	queue_go(&h.q, RDY);
	queue_kick(&h.q);
	atomic_store(&quiet, false);
	assert_int_equal(pthread_create(&thread, NULL, keep_scribbling, &theirs), 0);
	if (h.rx)
		feed(x);
	for (i = 0; i < 4; i++) {
		queue_kick(&h.q);
		sleep_us(200);
	}
	atomic_store(&quiet, true);
	pthread_join(thread, NULL);
	/* It may break up to the moment at which it is suspended. */
	if (virtq_set_state(&h.q.vq, MLX5_VIRTQ_STATE_SUSPEND).err != 0)
		assert_int_equal(virtq_state(&h.q.vq), MLX5_VIRTQ_STATE_ERR);
	broken[virtq_query(&h.q.vq).error_type & 7]++;
	queue_destroy(&h.q);
}

/* Frames that hostile queues sent may have come to the pair's receive queue before: they used up
 * its buffers. */
static void
expect_pair_works(void)
{
	struct vring_used_elem e;
	uint32_t seq;
	struct buf b;

	while (ring_take(&p.rx.ring, &e))
		continue;
	b = pair_rx(&p, 0);
	ring_post(&p.rx.ring, &b, 0, 1);
	queue_kick(&p.rx);
	seq = pair_post_tx(&p, 777);
	queue_kick(&p.tx);
	pair_expect(&p, seq, 777);
	assert_true(wait_until(ring_take(&p.tx.ring, &e)));
}

static void
nothing_that_a_guest_writes_harms_more_than_its_queue(void **state)
{
	const char *seed = getenv("MLX5_TEST_SEED");
	uint64_t x = seed != NULL ? strtoull(seed, NULL, 0) : 1;
	unsigned int i, j;

	for (i = 0; i < ROUNDS; i++) {
		round_of(*state, i, &x);
		if (i % 10 == 9)
			expect_pair_works();
	}
	print_message("[  ENDED   ] whole %u, bad descriptor %u, invalid buffer %u, "
		"chain too long %u, other %u\n", broken[0], broken[2], broken[3], broken[4],
		broken[1] + broken[5] + broken[6] + broken[7]);
	/* What the pair has behind its buffers is nobody's. */
	for (j = PAIR_TX_BUFS + PAIR_SIZE * BUF_BYTES; j < PAIR_MEM; j++)
		assert_int_equal(p.mem.va[j], GUARD);
}

static int
setup(void **state)
{
	struct dev *d = *state;

	pair_create(&p, d, 0, 0);
	memset(p.mem.va + PAIR_TX_BUFS + PAIR_SIZE * BUF_BYTES, GUARD,
		PAIR_MEM - PAIR_TX_BUFS - PAIR_SIZE * BUF_BYTES);
	own = mem_create(d->pd, OWN_BYTES, OWN_IOVA, MEM_RW);
	pair_start(&p);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pair_discard(&p);
	mem_discard(&own);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			nothing_that_a_guest_writes_harms_more_than_its_queue, setup, teardown),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

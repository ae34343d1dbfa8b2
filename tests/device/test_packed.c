/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets through packed rings: contents, chains, suspension, indices with their wrap counters, the
 * dirty bitmap, and rings that a guest has got wrong.
 */
#include "events.h"
#include "packed.h"
#include "traffic.h"

enum {
	LEN = 400,
	SIZE = PAIR_SIZE,
	SPARE_RING = 0xc000,
	/* Error types of a queue. */
	BAD_DESCRIPTOR = 2, INVALID_BUFFER = 3, LIST_EXCEEDS_LIMIT = 4, INTERNAL = 5,
};

static struct pair p;
static struct packed rx, tx;
static struct channel ch;

static int
setup(void **state)
{
	pair_create_mem(&p, *state);
	packed_create(&rx, &p.rx, *state, 0, SIZE, &p.mem, p.mem.va + PAIR_RX_RING);
	packed_create(&tx, &p.tx, *state, 1, SIZE, &p.mem, p.mem.va + PAIR_TX_RING);
	pair_create_steering(&p);
	ch = channel_create(*state);
	channel_subscribe(&ch, &p.rx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, 1);
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, 2);
	pair_start(&p);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	channel_discard(&ch);
	pair_discard(&p);
	return 0;
}

static bool
can_resume(void)
{
	return VIRTIO_CAP(p.d, freeze_to_rdy_supported);
}

/* ---- traffic ---- */

static void
post_rx(unsigned int i)
{
	struct buf b = pair_rx(&p, i % SIZE);

	memset(pair_rx_buf(&p, i % SIZE), 0xee, BUF_BYTES);
	packed_post(&rx, &b, 0, 1, i % SIZE);
}

/* Frame @p seq in transmit buffer seq % SIZE; no doorbell. */
static void
post_tx(uint32_t seq, uint32_t len)
{
	struct buf b = pair_tx(&p, seq % SIZE, len);

	memset(pair_tx_buf(&p, seq % SIZE), 0, NET_HDR);
	frame_make(pair_tx_buf(&p, seq % SIZE) + NET_HDR, len, seq);
	packed_post(&tx, &b, 1, 0, seq % SIZE);
}

#define expect(seq, len) check_packed((seq), (len), __FILE__, __LINE__)
static void
check_packed(uint32_t seq, uint32_t len, const char *file, int line)
{
	struct packed_used u;

	if (!wait_until(packed_take(&rx, &u))) {
		print_error("frame %u did not arrive\n", seq);
		_fail(file, line);
	}
	if (u.len != NET_HDR + len || !frame_is(pair_rx_buf(&p, u.id) + NET_HDR, len, seq)) {
		print_error("received %u bytes that are not frame %u of %u\n", u.len, seq, len);
		_fail(file, line);
	}
}

static void
reap(struct packed *r, unsigned int n)
{
	struct packed_used u;

	while (n-- > 0)
		assert_true(wait_until(packed_take(r, &u)));
}

static bool
none_used(struct packed *r)
{
	struct packed_used u;

	return !packed_take(r, &u);
}

/* @p n frames from number @p first on, one at a time. */
static void
exchange(uint32_t first, unsigned int n)
{
	uint32_t i, len;

	for (i = first; i < first + n; i++) {
		len = FRAME_MIN + i * 37 % (FRAME_MAX - FRAME_MIN + 1);
		post_rx(i);
		post_tx(i, len);
		queue_kick(&p.rx);
		queue_kick(&p.tx);
		expect(i, len);
		reap(&tx, 1);
	}
}

static void
frames_pass_many_laps(void **state)
{
	(void)state;
	exchange(0, SIZE * 3 + 5);
}

static void
a_full_ring_at_once_arrives_in_order(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < SIZE; i++)
		post_rx(i);
	queue_kick(&p.rx);
	for (i = 0; i < SIZE; i++)
		post_tx(i, FRAME_MIN + i * 20);
	queue_kick(&p.tx);
	for (i = 0; i < SIZE; i++)
		expect(i, FRAME_MIN + i * 20);
	reap(&tx, SIZE);
}

/* Chains of several pieces, in the ring and in tables, over the end of the ring. */
static void
chains_and_tables_of_many_pieces(void **state)
{
	static const uint32_t lens[] = { 3, 9, 1, 100, 7 };
	struct vring_packed_desc *tables = (void *)(p.mem.va + PAIR_TABLES);
	struct buf in[DIM(lens) + 1], out[DIM(lens) + 1];
	uint32_t round, i, off;

	(void)state;
	for (round = 0; round < 30; round++) {
		for (i = off = 0; i < DIM(lens); off += lens[i++]) {
			in[i] = (struct buf) { pair_rx(&p, 0).iova + off, lens[i] };
			out[i] = (struct buf) { pair_tx(&p, 0, LEN).iova + off, lens[i] };
		}
		in[i] = (struct buf) { pair_rx(&p, 0).iova + off, BUF_BYTES - off };
		out[i] = (struct buf) { pair_tx(&p, 0, LEN).iova + off, NET_HDR + LEN - off };
		if (round % 3 == 0)
			packed_post_indirect(&rx, &p.mem, tables, in, 0, DIM(in), 0);
		else
			packed_post(&rx, in, 0, DIM(in), 0);
		memset(pair_tx_buf(&p, 0), 0, NET_HDR);
		frame_make(pair_tx_buf(&p, 0) + NET_HDR, LEN, round);
		if (round % 3 == 1)
			packed_post_indirect(&tx, &p.mem, tables + 16, out, DIM(out), 0, 0);
		else
			packed_post(&tx, out, DIM(out), 0, 0);
		queue_kick(&p.rx);
		queue_kick(&p.tx);
		expect(round, LEN);
		reap(&tx, 1);
	}
}

/* ---- suspension and indices ---- */

static void
a_suspended_queue_moves_nothing_though_it_is_rung(void **state)
{
	struct virtq_status s;

	(void)state;
	exchange(0, 10);
	queue_go(&p.tx, SUSPEND);
	post_rx(10);
	post_tx(10, LEN);
	queue_kick(&p.tx);
	sleep_us(QUIET_MS * 1000);
	queue_kick(&p.tx);
	assert_true(none_used(&tx) && none_used(&rx));
	s = virtq_query(&p.tx.vq);
	assert_int_equal(s.hw_avail, PACKED_WRAP | 10);
	assert_int_equal(s.hw_used, PACKED_WRAP | 10);
	if (!can_resume())
		return;
	queue_go(&p.tx, RDY);
	queue_kick(&p.tx);
	expect(10, LEN);
}

/* What a query says is where the ring is, in either lap; a queue that is made with it goes on. */
static void
indices_are_carried_to_another_queue(void **state)
{
	struct virtq_status s;
	uint8_t in[VIRTQ_IN_BYTES];
	uint32_t seq = 0, round;
	struct packed old;
	struct queue q;

	for (round = 0; round < 4; round++, seq += SIZE - 7) {
		exchange(seq, SIZE - 7);
		queue_go(&p.tx, SUSPEND);
		s = virtq_query(&p.tx.vq);
		assert_int_equal(s.hw_avail, tx.next);
		assert_int_equal(s.hw_used, tx.used);
		destroy(&p.tx.vq);
		old = tx;
		q = p.tx;
		packed_prepare(&tx, &p.tx, *state, 1, SIZE, &p.mem,
			p.mem.va + (round % 2 == 0 ? SPARE_RING : PAIR_TX_RING), s.hw_avail, in);
		queue_discard(&q);
		/* What was used stays used. */
		assert_int_equal(tx.next, old.next);
		p.tx.vq = create(*state, in, sizeof(in));
		queue_go(&p.tx, RDY);
	}
	exchange(seq, 5);
}

/* Suspend in the middle of a full ring, many times. */
static void
suspending_under_traffic_loses_and_repeats_nothing(void **state)
{
	enum { BATCH = 24, ROUNDS = 60 };
	uint32_t round, got = 0, i;
	struct virtq_status s;

	(void)state;
	if (!can_resume())
		skip();
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < BATCH; i++) {
			post_rx(got + i);
			post_tx(got + i, FRAME_MIN + i);
		}
		queue_kick(&p.rx);
		queue_kick(&p.tx);
		sleep_us(round * 3);
		queue_go(&p.tx, SUSPEND);
		s = virtq_query(&p.tx.vq);
		assert_int_equal(s.hw_avail, s.hw_used);
		queue_go(&p.tx, RDY);
		queue_kick(&p.tx);
		for (i = 0; i < BATCH; i++)
			expect(got + i, FRAME_MIN + i);
		reap(&tx, BATCH);
		got += BATCH;
	}
	assert_true(none_used(&rx));
}

/* ---- the dirty bitmap ---- */

static void
log_to(struct queue *q, const struct mem *log, uint32_t bytes)
{
	uint8_t in[VIRTQ_IN_BYTES];

	fill_virtq_modify(in, q->vq.id, MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS |
		MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE);
	PRM_SET(virtio_net_q_object, VIRTQ_OBJ(in), dirty_bitmap_mkey, log->mkey);
	PRM_SET(virtio_net_q_object, VIRTQ_OBJ(in), dirty_bitmap_addr, log->iova);
	PRM_SET(virtio_net_q_object, VIRTQ_OBJ(in), dirty_bitmap_size, bytes);
	PRM_SET(virtio_net_q_object, VIRTQ_OBJ(in), dirty_bitmap_dump_enable, 1);
	assert_accepted(dev_modify(&q->vq, in, sizeof(in)));
}

static bool
is_dirty(const uint8_t *bitmap, const void *at)
{
	uint64_t page = mem_iova(&p.mem, at) >> 12;

	return bitmap[page / 8] >> page % 8 & 1;
}

/* Of running queues, as NVIDIA's driver turns it on: what the device writes, and nothing else. */
static void
written_pages_are_marked(void **state)
{
	const uint32_t bytes = (PAIR_IOVA + PAIR_MEM) / 4096 / 8;
	struct mem log = mem_create(p.d->pd, 1 << 16, 0, MEM_RW);
	unsigned int n = 0, i;

	(void)state;
	assert_true(bytes <= log.len);
	exchange(0, 5);
	log_to(&p.rx, &log, bytes);
	log_to(&p.tx, &log, bytes);
	post_rx(20);
	post_tx(20, LEN);
	queue_kick(&p.rx);
	queue_kick(&p.tx);
	expect(20, LEN);
	reap(&tx, 1);
	queue_go(&p.tx, SUSPEND);
	queue_go(&p.rx, SUSPEND);
	assert_true(is_dirty(log.va, pair_rx_buf(&p, 20)));
	assert_true(is_dirty(log.va, rx.desc));
	assert_true(is_dirty(log.va, tx.desc));
	for (i = 0; i < bytes; i++)
		n += __builtin_popcount(log.va[i]);
	assert_int_equal(n, 3);
	discard(&p.tx.vq);
	discard(&p.rx.vq);
	mem_discard(&log);
}

/* The bitmap belongs to whoever copies the guest's memory, who takes bits out, and to the guest's
 * other devices, who set theirs in the same bytes: a device changes its own bit and no other. */
static void
what_others_do_to_a_byte_of_the_bitmap_stays_done(void **state)
{
	enum { FRAMES = 500, LOOKS = 64 };
	struct mem log = mem_create(p.d->pd, 1 << 16, 0, MEM_RW);
	uint64_t page = mem_iova(&p.mem, tx.desc) >> 12;
	uint8_t mine, others, *byte = (uint8_t *)log.va + page / 8;
	unsigned int i, look, lost = 0;

	(void)state;
	exchange(0, 5);
	log_to(&p.tx, &log, log.len);
	log_to(&p.rx, &log, log.len);
	exchange(5, 5);
	mine = (uint8_t)(1u << page % 8);
	assert_true((*byte & mine) != 0);
	others = (uint8_t)(~*byte & -~*byte);
	assert_int_not_equal(others, 0);
	for (i = 0; i < FRAMES; i++) {
		post_tx(i, LEN);
		queue_kick(&p.tx);
		while (none_used(&tx)) {
			__atomic_fetch_and(byte, (uint8_t)~mine, __ATOMIC_SEQ_CST);
			__atomic_fetch_or(byte, others, __ATOMIC_SEQ_CST);
			for (look = 0; look < LOOKS; look++)
				lost += (__atomic_load_n(byte, __ATOMIC_SEQ_CST) & others) == 0;
			__atomic_fetch_and(byte, (uint8_t)~others, __ATOMIC_SEQ_CST);
		}
	}
	assert_int_equal(lost, 0);
	queue_go(&p.tx, SUSPEND);
	queue_go(&p.rx, SUSPEND);
	discard(&p.tx.vq);
	discard(&p.rx.vq);
	mem_discard(&log);
}

static void
a_page_beyond_the_bitmap_breaks_the_queue(void **state)
{
	(void)state;
	exchange(0, 1);
	log_to(&p.rx, &p.mem, 64);
	post_rx(1);
	post_tx(1, LEN);
	queue_kick(&p.tx);
	assert_true(wait_until(virtq_state(&p.rx.vq) == MLX5_VIRTQ_STATE_ERR));
	assert_int_equal(channel_wait(&ch, WAIT_MS), 1);
	assert_int_equal(virtq_state(&p.tx.vq), MLX5_VIRTQ_STATE_RDY);
}

/* ---- rings that a guest has got wrong ---- */

/* The queue is in error, once, with its event; another queue still sends, and the receive queue
 * takes it. */
static void
expect_broken(struct dev *d, uint8_t error_type)
{
	struct buf b = pair_tx(&p, 61, LEN);
	struct packed spare;
	struct queue q;

	assert_true(wait_until(virtq_state(&p.tx.vq) == MLX5_VIRTQ_STATE_ERR));
	assert_int_equal(virtq_query(&p.tx.vq).error_type, error_type);
	assert_int_equal(channel_wait(&ch, WAIT_MS), 2);
	queue_kick(&p.tx);
	packed_create(&spare, &q, d, 3, SIZE, &p.mem, p.mem.va + SPARE_RING);
	queue_go(&q, RDY);
	post_rx(60);
	memset(pair_tx_buf(&p, 61), 0, NET_HDR);
	frame_make(pair_tx_buf(&p, 61) + NET_HDR, LEN, 99);
	packed_post(&spare, &b, 1, 0, 0);
	queue_kick(&q);
	reap(&spare, 1);
	expect(99, LEN);
	queue_destroy(&q);
	assert_int_equal(channel_wait(&ch, QUIET_MS), 0);
}

/* A chain of one buffer with @p change made to its descriptor before it is available. */
#define BROKEN_RING(name, type, change) \
	static void \
	name(void **state) \
	{ \
		struct vring_packed_desc *d = packed_next(&tx); \
		uint16_t flags = 1u << VRING_PACKED_DESC_F_AVAIL; \
		memset(pair_tx_buf(&p, 0), 0, NET_HDR + LEN); \
		d->addr = pair_tx(&p, 0, LEN).iova; \
		d->len = NET_HDR + LEN; \
		change; \
		__atomic_store_n(&d->flags, flags, __ATOMIC_RELEASE); \
		queue_kick(&p.tx); \
		expect_broken(*state, type); \
	}

BROKEN_RING(an_empty_buffer_breaks_the_queue, BAD_DESCRIPTOR, d->len = 0)
BROKEN_RING(a_chain_shorter_than_a_header_breaks_the_queue, BAD_DESCRIPTOR, d->len = NET_HDR - 1)
BROKEN_RING(a_descriptor_for_writing_in_a_transmit_queue_breaks_it, BAD_DESCRIPTOR,
	flags |= VRING_DESC_F_WRITE)
BROKEN_RING(a_table_of_no_whole_descriptors_breaks_the_queue, BAD_DESCRIPTOR,
	d->len = 24; flags |= VRING_DESC_F_INDIRECT)
BROKEN_RING(next_beside_indirect_breaks_the_queue, BAD_DESCRIPTOR,
	d->len = 16; flags |= VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT)
BROKEN_RING(a_table_longer_than_the_queue_breaks_it, LIST_EXCEEDS_LIMIT,
	d->len = (SIZE + 1) * 16; flags |= VRING_DESC_F_INDIRECT)
BROKEN_RING(a_table_outside_the_memory_breaks_the_queue, INVALID_BUFFER,
	d->addr = PAIR_IOVA + PAIR_MEM; d->len = 16; flags |= VRING_DESC_F_INDIRECT)
BROKEN_RING(a_buffer_outside_the_memory_breaks_the_queue, INVALID_BUFFER,
	d->addr = PAIR_IOVA + PAIR_MEM)
BROKEN_RING(a_buffer_that_reaches_over_the_end_of_memory_breaks_the_queue, INVALID_BUFFER,
	d->addr = PAIR_IOVA + PAIR_MEM - 100)
BROKEN_RING(a_buffer_that_wraps_around_breaks_the_queue, INVALID_BUFFER, d->addr = UINT64_MAX - 10)

/* Every descriptor of the ring says that another follows. */
static void
a_chain_that_goes_round_the_ring_breaks_the_queue(void **state)
{
	struct buf b[SIZE];
	unsigned int i;

	for (i = 0; i < DIM(b); i++)
		b[i] = (struct buf) { pair_tx(&p, 0, LEN).iova, 8 };
	packed_post(&tx, b, SIZE, 0, 0);
	tx.desc[SIZE - 1].flags |= VRING_DESC_F_NEXT;
	queue_kick(&p.tx);
	expect_broken(*state, LIST_EXCEEDS_LIMIT);
}

/* The ring's key goes under a queue that runs. */
static void
a_ring_out_of_reach_breaks_the_queue(void **state)
{
	struct mem other = mem_create(p.d->pd, 4096 * 8, PAIR_IOVA, MEM_RW);
	struct packed r;
	struct queue q;

	(void)state;
	packed_create(&r, &q, p.d, 5, SIZE, &other, other.va);
	queue_go(&q, RDY);
	mem_destroy(&other);
	queue_kick(&q);
	assert_true(wait_until(virtq_state(&q.vq) == MLX5_VIRTQ_STATE_ERR));
	assert_int_equal(virtq_query(&q.vq).error_type, INTERNAL);
	exchange(0, 3);
	queue_destroy(&q);
}

/* A hole of the guest's memory: an indirect key with the null key behind it. */
static void
a_buffer_in_a_hole_breaks_the_queue(void **state)
{
	const uint64_t half = PAIR_MEM / 2, base = UINT64_C(1) << 40;
	uint8_t in[KLM_MKEY_IN_BYTES], vq_in[VIRTQ_IN_BYTES];
	struct ibv_mr *null = ibv_alloc_null_mr(p.d->pd);
	struct buf hole = { base + half, NET_HDR + LEN }, over = { base + half - 100, 200 };
	struct buf *bad[] = { &hole, &over };
	struct klm klm[2];
	struct packed r;
	struct queue q;
	struct mem view = p.mem;
	struct obj key;
	unsigned int i;

	(void)state;
	assert_non_null(null);
	klm[0] = (struct klm) { half, p.mem.mkey, PAIR_IOVA };
	klm[1] = (struct klm) { half, null->lkey, 0 };
	key = create(p.d, in, fill_klm_mkey(p.d, in, base, klm, 2));
	view.iova = base;
	view.mkey = key.id;
	for (i = 0; i < DIM(bad); i++) {
		packed_prepare(&r, &q, p.d, 5, SIZE, &view, view.va + SPARE_RING, PACKED_WRAP,
			vq_in);
		q.vq = create(p.d, vq_in, sizeof(vq_in));
		queue_go(&q, RDY);
		packed_post(&r, bad[i], 1, 0, 0);
		queue_kick(&q);
		assert_true(wait_until(virtq_state(&q.vq) == MLX5_VIRTQ_STATE_ERR));
		assert_int_equal(virtq_query(&q.vq).error_type, INVALID_BUFFER);
		queue_destroy(&q);
	}
	exchange(0, 3);
	destroy(&key);
	assert_int_equal(ibv_dereg_mr(null), 0);
}

static void
what_came_before_the_broken_chain_is_returned(void **state)
{
	struct buf bad = { PAIR_IOVA + PAIR_MEM, 100 };
	uint32_t i;

	for (i = 0; i < 5; i++) {
		post_rx(i);
		post_tx(i, 100 + i);
	}
	packed_post(&tx, &bad, 1, 0, 5);
	post_tx(6, LEN);
	queue_kick(&p.rx);
	queue_kick(&p.tx);
	for (i = 0; i < 5; i++)
		expect(i, 100 + i);
	reap(&tx, 5);
	assert_true(none_used(&tx));
	assert_true(wait_until(virtq_state(&p.tx.vq) == MLX5_VIRTQ_STATE_ERR));
	assert_int_equal(virtq_query(&p.tx.vq).hw_used, PACKED_WRAP | 5);
	expect_broken(*state, INVALID_BUFFER);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_pass_many_laps),
		TEST(a_full_ring_at_once_arrives_in_order),
		TEST(chains_and_tables_of_many_pieces),
		TEST(a_suspended_queue_moves_nothing_though_it_is_rung),
		TEST(indices_are_carried_to_another_queue),
		TEST(suspending_under_traffic_loses_and_repeats_nothing),
		TEST(written_pages_are_marked),
		TEST(what_others_do_to_a_byte_of_the_bitmap_stays_done),
		TEST(a_page_beyond_the_bitmap_breaks_the_queue),
		TEST(an_empty_buffer_breaks_the_queue),
		TEST(a_chain_shorter_than_a_header_breaks_the_queue),
		TEST(a_descriptor_for_writing_in_a_transmit_queue_breaks_it),
		TEST(a_table_of_no_whole_descriptors_breaks_the_queue),
		TEST(next_beside_indirect_breaks_the_queue),
		TEST(a_table_longer_than_the_queue_breaks_it),
		TEST(a_table_outside_the_memory_breaks_the_queue),
		TEST(a_buffer_outside_the_memory_breaks_the_queue),
		TEST(a_buffer_that_reaches_over_the_end_of_memory_breaks_the_queue),
		TEST(a_buffer_that_wraps_around_breaks_the_queue),
		TEST(a_chain_that_goes_round_the_ring_breaks_the_queue),
		TEST(a_ring_out_of_reach_breaks_the_queue),
		TEST(a_buffer_in_a_hole_breaks_the_queue),
		TEST(what_came_before_the_broken_chain_is_returned),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

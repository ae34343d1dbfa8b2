/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets through virtqueues: contents, descriptor chains, doorbells, indices, suspension, and
 * rings that a guest has got wrong.
 */
#include "events.h"
#include "traffic.h"

/* Cookies of the queues' events. */
enum { RX_EVENT = 1, TX_EVENT };

static struct pair p;
static struct channel ch;

static int
setup(void **state)
{
	pair_create(&p, *state, 0, 0);
	ch = channel_create(*state);
	channel_subscribe(&ch, &p.rx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, RX_EVENT);
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, TX_EVENT);
	return 0;
}

static int
setup_started(void **state)
{
	setup(state);
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

/* Reclaim transmit buffers; each was only read. */
static void
reap_tx(unsigned int n)
{
	struct vring_used_elem e;

	while (n-- > 0) {
		assert_true(wait_until(ring_take(&p.tx.ring, &e)));
		assert_int_equal(e.len, 0);
	}
}

/* ---- contents ---- */

static void
frames_of_every_length_arrive_whole(void **state)
{
	static const uint32_t lens[] = { FRAME_MIN, 61, 64, 65, 127, 128, 129, 511, 1000, 1513,
		FRAME_MAX };
	uint32_t seq;
	size_t i;

	(void)state;
	pair_post_rx(&p, DIM(lens));
	for (i = 0; i < DIM(lens); i++) {
		seq = pair_post_tx(&p, lens[i]);
		queue_kick(&p.tx);
		pair_expect(&p, seq, lens[i]);
	}
	reap_tx(DIM(lens));
}

static void
a_full_ring_at_once_arrives_in_order(void **state)
{
	uint32_t i;

	(void)state;
	pair_post_rx(&p, PAIR_SIZE);
	for (i = 0; i < PAIR_SIZE; i++)
		pair_post_tx(&p, FRAME_MIN + i * 20);
	queue_kick(&p.tx);
	for (i = 0; i < PAIR_SIZE; i++)
		pair_expect(&p, i, FRAME_MIN + i * 20);
	reap_tx(PAIR_SIZE);
}

static void
rings_wrap_around(void **state)
{
	(void)state;
	pair_exchange(&p, PAIR_SIZE * 3 + 5);
}

static void
nothing_behind_a_received_frame_is_written(void **state)
{
	const uint8_t *buf = pair_rx_buf(&p, 0);
	uint32_t seq, i;

	(void)state;
	pair_post_rx(&p, 1);
	seq = pair_post_tx(&p, 100);
	queue_kick(&p.tx);
	pair_expect(&p, seq, 100);
	for (i = NET_HDR + 100; i < BUF_BYTES; i++)
		assert_int_equal(buf[i], 0xee);
}

static void
a_received_frame_has_a_header_that_claims_nothing(void **state)
{
	const uint8_t *buf = pair_rx_buf(&p, 0);
	uint32_t seq;

	(void)state;
	pair_post_rx(&p, 1);
	seq = pair_post_tx(&p, 100);
	queue_kick(&p.tx);
	pair_expect(&p, seq, 100);
	/* flags, gso_type, sizes and offsets of a frame whose checksum nobody vouches for */
	for (seq = 0; seq < 10; seq++)
		assert_int_equal(buf[seq], 0);
}

/* ---- chains ---- */

/* Cut a buffer into pieces of the given lengths; the last takes the rest. */
static unsigned int
cut(struct buf whole, const uint32_t *lens, unsigned int n, struct buf *parts)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		parts[i] = (struct buf) { whole.iova, lens[i] };
		whole.iova += lens[i];
		whole.len -= lens[i];
	}
	parts[n] = whole;
	return n + 1;
}

enum { CHAIN_LEN = 900 };
static const uint32_t header_apart[] = { NET_HDR };
static const uint32_t many_parts[] = { 3, 9, 1, 100, 7, 256, 33 };

static void
exchange_chains(const uint32_t *tx_lens, unsigned int ntx, const uint32_t *rx_lens,
		unsigned int nrx, bool indirect)
{
	struct vring_desc *tables = (void *)(p.mem.va + PAIR_TABLES);
	struct buf parts[16];
	unsigned int n;

	n = cut(pair_rx(&p, 0), rx_lens, nrx, parts);
	if (indirect)
		ring_post_indirect(&p.rx.ring, &p.mem, tables, parts, 0, n);
	else
		ring_post(&p.rx.ring, parts, 0, n);
	queue_kick(&p.rx);
	memset(pair_tx_buf(&p, 0), 0, NET_HDR);
	frame_make(pair_tx_buf(&p, 0) + NET_HDR, CHAIN_LEN, 4711);
	n = cut(pair_tx(&p, 0, CHAIN_LEN), tx_lens, ntx, parts);
	if (indirect)
		ring_post_indirect(&p.tx.ring, &p.mem, tables + 16, parts, n, 0);
	else
		ring_post(&p.tx.ring, parts, n, 0);
	queue_kick(&p.tx);
}

static void
expect_chain(uint16_t head)
{
	struct vring_used_elem e;

	assert_true(wait_until(ring_take(&p.rx.ring, &e)));
	assert_int_equal(e.id, head);
	assert_int_equal(e.len, NET_HDR + CHAIN_LEN);
	assert_true(frame_is(pair_rx_buf(&p, 0) + NET_HDR, CHAIN_LEN, 4711));
	reap_tx(1);
}

static void
a_header_in_a_descriptor_of_its_own(void **state)
{
	(void)state;
	exchange_chains(header_apart, DIM(header_apart), header_apart, DIM(header_apart), false);
	expect_chain(0);
}

static void
frames_in_chains_of_many_descriptors(void **state)
{
	(void)state;
	exchange_chains(many_parts, DIM(many_parts), many_parts, DIM(many_parts), false);
	expect_chain(0);
}

static void
frames_in_indirect_tables(void **state)
{
	(void)state;
	exchange_chains(many_parts, DIM(many_parts), many_parts, DIM(many_parts), true);
	expect_chain(0);
}

static void
an_indirect_table_of_one_descriptor(void **state)
{
	(void)state;
	exchange_chains(NULL, 0, NULL, 0, true);
	expect_chain(0);
}

static void
a_chain_of_all_descriptors_of_the_ring(void **state)
{
	uint32_t lens[PAIR_SIZE - 1];
	struct buf parts[PAIR_SIZE];
	struct buf rx = pair_rx(&p, 0);
	unsigned int i, n;

	(void)state;
	for (i = 0; i < DIM(lens); i++)
		lens[i] = 1 + i % 17;
	ring_post(&p.rx.ring, &rx, 0, 1);
	queue_kick(&p.rx);
	memset(pair_tx_buf(&p, 0), 0, NET_HDR);
	frame_make(pair_tx_buf(&p, 0) + NET_HDR, CHAIN_LEN, 4711);
	n = cut(pair_tx(&p, 0, CHAIN_LEN), lens, DIM(lens), parts);
	assert_int_equal(n, PAIR_SIZE);
	ring_post(&p.tx.ring, parts, n, 0);
	queue_kick(&p.tx);
	expect_chain(0);
}

static void
chains_that_wrap_around_the_descriptor_table(void **state)
{
	uint16_t first = PAIR_SIZE - 3;

	(void)state;
	p.rx.ring.next_desc = p.tx.ring.next_desc = first;
	exchange_chains(many_parts, DIM(many_parts), many_parts, DIM(many_parts), false);
	expect_chain(first);
}

/* ---- buffers that do not suffice ---- */

static void
a_frame_without_a_buffer_is_dropped_and_the_next_arrives(void **state)
{
	uint32_t seq;

	(void)state;
	queue_kick(&p.rx);
	pair_post_tx(&p, 200);
	queue_kick(&p.tx);
	reap_tx(1);
	sleep_us(QUIET_MS * 1000);
	assert_int_equal(ring_pending(&p.rx.ring), 0);
	pair_post_rx(&p, 1);
	seq = pair_post_tx(&p, 300);
	queue_kick(&p.tx);
	pair_expect(&p, seq, 300);
	assert_int_equal(virtq_state(&p.rx.vq), MLX5_VIRTQ_STATE_RDY);
}

static void
a_frame_too_large_for_its_buffer_is_dropped_and_writes_nothing_past_it(void **state)
{
	const uint8_t *buf = pair_rx_buf(&p, 0);
	struct buf small = { mem_iova(&p.mem, buf), 128 };
	uint32_t i;

	(void)state;
	memset(pair_rx_buf(&p, 0), 0xee, BUF_BYTES);
	ring_post(&p.rx.ring, &small, 0, 1);
	queue_kick(&p.rx);
	pair_post_tx(&p, 1000);
	queue_kick(&p.tx);
	reap_tx(1);
	sleep_us(QUIET_MS * 1000);
	for (i = small.len; i < BUF_BYTES; i++)
		assert_int_equal(buf[i], 0xee);
	assert_int_equal(virtq_state(&p.tx.vq), MLX5_VIRTQ_STATE_RDY);
}

/* ---- doorbells ---- */

static void
a_frame_that_was_not_rung_for_stays(void **state)
{
	uint32_t seq;

	(void)state;
	/* A device may look at a ring for a while after it was busy. */
	pair_post_rx(&p, 2);
	seq = pair_post_tx(&p, 100);
	queue_kick(&p.tx);
	pair_expect(&p, seq, 100);
	reap_tx(1);
	sleep_us(300 * 1000);
	seq = pair_post_tx(&p, 200);
	sleep_us(QUIET_MS * 1000);
	assert_int_equal(ring_pending(&p.tx.ring), 0);
	queue_kick(&p.tx);
	pair_expect(&p, seq, 200);
}

static void
a_queue_that_becomes_ready_waits_for_its_doorbell(void **state)
{
	(void)state;
	queue_go(&p.rx, RDY);
	pair_post_rx(&p, 1);
	pair_post_tx(&p, 100);
	queue_go(&p.tx, RDY);
	sleep_us(QUIET_MS * 1000);
	assert_int_equal(ring_pending(&p.tx.ring), 0);
	queue_kick(&p.tx);
	pair_expect(&p, 0, 100);
}

static void
two_doorbells_in_one_word_are_both_heard(void **state)
{
	struct queue tx2;
	struct buf b = pair_tx(&p, 60, 100);
	struct vring_used_elem e;
	int i;

	queue_create(&tx2, *state, 3, PAIR_SIZE, &p.mem, p.mem.va + 0xc000, 0);
	queue_go(&tx2, RDY);
	memset(pair_tx_buf(&p, 60), 0, NET_HDR + 100);
	for (i = 0; i < 50; i++) {
		pair_post_tx(&p, 100);
		ring_post(&tx2.ring, &b, 1, 0);
		queue_kick(&p.tx);
		queue_kick(&tx2);
		reap_tx(1);
		assert_true(wait_until(ring_take(&tx2.ring, &e)));
	}
	queue_destroy(&tx2);
}

static void
a_doorbell_of_a_queue_that_does_not_exist_harms_nothing(void **state)
{
	struct queue nobody = { .d = *state, .index = 0x7ffe };

	pair_exchange(&p, 4);
	queue_kick(&nobody);
	nobody.index = 0xffff;
	queue_kick(&nobody);
	pair_exchange(&p, 4);
}

static void
a_queue_in_init_moves_nothing_though_it_is_rung(void **state)
{
	(void)state;
	queue_go(&p.rx, RDY);
	pair_post_rx(&p, 1);
	pair_post_tx(&p, 100);
	queue_kick(&p.tx);
	sleep_us(QUIET_MS * 1000);
	assert_int_equal(ring_pending(&p.tx.ring), 0);
	assert_int_equal(virtq_query(&p.tx.vq).hw_avail, 0);
	queue_go(&p.tx, RDY);
	queue_kick(&p.tx);
	pair_expect(&p, 0, 100);
}

/* ---- suspension ---- */

static bool
can_resume(void)
{
	return VIRTIO_CAP(p.d, freeze_to_rdy_supported);
}

static void
a_suspended_queue_moves_nothing_though_it_is_rung(void **state)
{
	(void)state;
	pair_exchange(&p, 10);
	queue_go(&p.tx, SUSPEND);
	pair_post_rx(&p, 4);
	pair_post_tx(&p, 100);
	pair_post_tx(&p, 100);
	queue_kick(&p.tx);
	sleep_us(QUIET_MS * 1000);
	queue_kick(&p.tx);
	assert_int_equal(ring_pending(&p.tx.ring), 0);
	assert_int_equal(ring_pending(&p.rx.ring), 0);
	assert_int_equal(virtq_query(&p.tx.vq).hw_avail, 10);
	assert_int_equal(virtq_query(&p.tx.vq).hw_used, 10);
}

static void
a_suspended_receive_queue_takes_nothing(void **state)
{
	(void)state;
	pair_exchange(&p, 3);
	pair_post_rx(&p, 4);
	queue_go(&p.rx, SUSPEND);
	pair_post_tx(&p, 100);
	queue_kick(&p.tx);
	reap_tx(1);
	sleep_us(QUIET_MS * 1000);
	assert_int_equal(ring_pending(&p.rx.ring), 0);
	assert_int_equal(virtq_query(&p.rx.vq).hw_used, 3);
	assert_int_equal(pair_rx_buf(&p, 0)[0], 0xee);
}

static void
what_was_rung_for_while_suspended_is_sent_after_resume(void **state)
{
	uint32_t i;

	(void)state;
	if (!can_resume())
		skip();
	pair_exchange(&p, 7);
	queue_go(&p.tx, SUSPEND);
	pair_post_rx(&p, 20);
	for (i = 0; i < 20; i++)
		pair_post_tx(&p, 100 + i);
	queue_kick(&p.tx);
	sleep_us(QUIET_MS * 1000);
	queue_go(&p.tx, RDY);
	/* Doorbells of the suspension may be lost: a driver rings once after it. */
	queue_kick(&p.tx);
	for (i = 0; i < 20; i++)
		pair_expect(&p, 7 + i, 100 + i);
	reap_tx(20);
}

/* Suspend in the middle of a full ring, many times: whatever was taken was sent and returned, and
 * the rest is sent after resume, each once and in order. */
static void
suspending_under_traffic_loses_and_repeats_nothing(void **state)
{
	unsigned int round, got = 0, batch = 32;
	struct vring_used_elem e;
	struct virtq_status s;
	struct buf b;
	uint32_t i;

	(void)state;
	if (!can_resume())
		skip();
	for (round = 0; round < 60; round++) {
		for (i = 0; i < batch; i++) {
			b = pair_rx(&p, (got + i) % PAIR_SIZE);
			ring_post(&p.rx.ring, &b, 0, 1);
			pair_post_tx(&p, FRAME_MIN + i);
		}
		queue_kick(&p.rx);
		queue_kick(&p.tx);
		sleep_us(round * 3);
		queue_go(&p.tx, SUSPEND);
		s = virtq_query(&p.tx.vq);
		assert_int_equal(s.state, MLX5_VIRTQ_STATE_SUSPEND);
		assert_int_equal(s.hw_used, p.tx.ring.used->idx);
		assert_int_equal(s.hw_avail, s.hw_used);
		queue_go(&p.tx, RDY);
		queue_kick(&p.tx);
		for (i = 0; i < batch; i++)
			pair_expect(&p, got + i, FRAME_MIN + i);
		got += batch;
		for (i = 0; i < batch; i++)
			assert_true(wait_until(ring_take(&p.tx.ring, &e)));
	}
	assert_int_equal(ring_pending(&p.rx.ring), 0);
}

static void
a_receive_queue_resumes_where_it_was(void **state)
{
	uint32_t seq;

	(void)state;
	if (!can_resume())
		skip();
	pair_exchange(&p, 3);
	pair_post_rx(&p, 8);
	queue_go(&p.rx, SUSPEND);
	queue_go(&p.rx, RDY);
	queue_kick(&p.rx);
	seq = pair_post_tx(&p, 222);
	queue_kick(&p.tx);
	pair_expect(&p, seq, 222);
	assert_int_equal(virtq_query(&p.rx.vq).hw_used, 4);
}

/* ---- indices ---- */

static void
queried_indices_are_those_of_the_rings(void **state)
{
	struct virtq_status tx, rx;

	(void)state;
	pair_exchange(&p, 33);
	queue_go(&p.tx, SUSPEND);
	queue_go(&p.rx, SUSPEND);
	tx = virtq_query(&p.tx.vq);
	rx = virtq_query(&p.rx.vq);
	assert_int_equal(tx.hw_avail, 33);
	assert_int_equal(tx.hw_used, 33);
	assert_int_equal(rx.hw_used, 33);
	assert_int_equal(rx.hw_avail, 33);
	assert_int_equal(p.tx.ring.used->idx, 33);
	assert_int_equal(p.rx.ring.used->idx, 33);
}

/* Rings that are at @p idx already, as after a migration. */
static void
start_at(struct queue *q, uint16_t idx)
{
	uint8_t in[VIRTQ_IN_BYTES];
	struct virtq_attr a = {
		.index = q->index, .size = PAIR_SIZE, .mkey = p.mem.mkey,
		.desc_iova = q->ring.desc_iova, .avail_iova = q->ring.avail_iova,
		.used_iova = q->ring.used_iova, .hw_avail = idx, .hw_used = idx,
	};
	int i;

	for (i = 0; i < 3; i++) {
		a.umem[i].id = q->umem[i].id;
		a.umem[i].size = q->umem[i].len;
	}
	destroy(&q->vq);
	q->ring.avail->idx = q->ring.used->idx = idx;
	q->ring.next_avail = q->ring.last_used = idx;
	fill_virtq(q->d, in, &a);
	q->vq = create(q->d, in, sizeof(in));
}

static void
a_queue_goes_on_from_the_indices_it_was_created_with(void **state)
{
	(void)state;
	flow_destroy(&p.flow);
	destroy(&p.tir);
	destroy(&p.rqt);
	start_at(&p.rx, 0xfff0);
	start_at(&p.tx, 0xfff0);
	pair_create_steering(&p);
	pair_start(&p);
	/* over the end of 16 bits, too */
	pair_exchange(&p, 100);
	queue_go(&p.tx, SUSPEND);
	assert_int_equal(virtq_query(&p.tx.vq).hw_used, (uint16_t)(0xfff0 + 100));
}

/* ---- counters ---- */

/* A transmit queue that counts, besides the pair. */
static void
make_counted(struct dev *d, struct queue *q, struct obj *counters)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)], vq_in[VIRTQ_IN_BYTES];
	struct virtq_attr a;

	fill_counters(in);
	*counters = create(d, in, sizeof(in));
	queue_prepare(q, d, 3, PAIR_SIZE, &p.mem, p.mem.va + 0xc000, &a);
	fill_virtq(d, vq_in, &a);
	PRM_SET(virtio_q, VIRTQ_CTX(vq_in), counter_set_id, counters->id);
	q->vq = create(d, vq_in, sizeof(vq_in));
	queue_go(q, RDY);
	memset(pair_tx_buf(&p, 60), 0, NET_HDR + 100);
}

struct counts {
	uint64_t received, completed;
	uint32_t error_cqes, bad_desc, chain, buffer;
};

static struct counts
counts_of(struct obj *counters)
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};
	uint8_t out[PRM_BYTES(query_virtio_q_counters_out)];
	const void *set = PRM_ADDR(query_virtio_q_counters_out, out, counters);

	PRM_SET(general_obj_in_cmd_hdr, in, opcode, MLX5_CMD_OP_QUERY_GENERAL_OBJECT);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_id, counters->id);
	assert_accepted(dev_query(counters, in, sizeof(in), out, sizeof(out)));
	return (struct counts) {
		PRM_GET(virtio_q_counters, set, received_desc),
		PRM_GET(virtio_q_counters, set, completed_desc),
		PRM_GET(virtio_q_counters, set, error_cqes),
		PRM_GET(virtio_q_counters, set, bad_desc_errors),
		PRM_GET(virtio_q_counters, set, exceed_max_chain),
		PRM_GET(virtio_q_counters, set, invalid_buffer),
	};
}

static void
counters_count_chains(void **state)
{
	struct buf b = pair_tx(&p, 60, 100);
	struct vring_used_elem e;
	struct obj counters;
	struct counts n;
	struct queue q;
	int i;

	make_counted(*state, &q, &counters);
	for (i = 0; i < 9; i++)
		ring_post(&q.ring, &b, 1, 0);
	queue_kick(&q);
	for (i = 0; i < 9; i++)
		assert_true(wait_until(ring_take(&q.ring, &e)));
	queue_go(&q, SUSPEND);
	n = counts_of(&counters);
	assert_true(n.received == 9 && n.completed == 9);
	assert_int_equal(n.error_cqes + n.bad_desc + n.chain + n.buffer, 0);
	queue_destroy(&q);
	destroy(&counters);
}

/* Counters outlive the queue that counted. */
static void
counters_count_errors_by_their_kind(void **state)
{
	struct buf bad = { PAIR_IOVA + PAIR_MEM, 100 }, good = pair_tx(&p, 60, 100);
	struct obj counters;
	struct counts n;
	struct queue q;

	make_counted(*state, &q, &counters);
	ring_post(&q.ring, &bad, 1, 0);
	queue_kick(&q);
	assert_true(wait_until(virtq_state(&q.vq) == MLX5_VIRTQ_STATE_ERR));
	queue_destroy(&q);
	n = counts_of(&counters);
	assert_int_equal(n.buffer, 1);
	assert_int_equal(n.error_cqes + n.bad_desc + n.chain, 0);
	destroy(&counters);

	make_counted(*state, &q, &counters);
	ring_post(&q.ring, &good, 1, 0);
	q.ring.desc[0].flags = VRING_DESC_F_NEXT; /* and it is its own next */
	queue_kick(&q);
	assert_true(wait_until(virtq_state(&q.vq) == MLX5_VIRTQ_STATE_ERR));
	queue_destroy(&q);
	n = counts_of(&counters);
	assert_int_equal(n.chain, 1);
	assert_int_equal(n.error_cqes + n.bad_desc + n.buffer, 0);
	destroy(&counters);

	make_counted(*state, &q, &counters);
	ring_post(&q.ring, &good, 1, 0);
	q.ring.avail->ring[0] = PAIR_SIZE;
	queue_kick(&q);
	assert_true(wait_until(virtq_state(&q.vq) == MLX5_VIRTQ_STATE_ERR));
	queue_destroy(&q);
	n = counts_of(&counters);
	assert_int_equal(n.bad_desc, 1);
	assert_int_equal(n.error_cqes + n.buffer + n.chain, 0);
	destroy(&counters);
}

/* A ring whose key was destroyed. */
static void
counters_count_rings_out_of_reach(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)], vq_in[VIRTQ_IN_BYTES];
	struct mem own = mem_create(p.d->pd, 0x4000, PAIR_IOVA, MEM_RW);
	struct virtq_attr a;
	struct obj counters;
	struct counts n;
	struct queue q;

	fill_counters(in);
	counters = create(*state, in, sizeof(in));
	queue_prepare(&q, *state, 3, PAIR_SIZE, &own, own.va, &a);
	fill_virtq(*state, vq_in, &a);
	PRM_SET(virtio_q, VIRTQ_CTX(vq_in), counter_set_id, counters.id);
	q.vq = create(*state, vq_in, sizeof(vq_in));
	queue_go(&q, RDY);
	mem_destroy(&own);
	queue_kick(&q);
	assert_true(wait_until(virtq_state(&q.vq) == MLX5_VIRTQ_STATE_ERR));
	queue_destroy(&q);
	n = counts_of(&counters);
	assert_int_equal(n.error_cqes, 1);
	assert_int_equal(n.bad_desc + n.chain + n.buffer + n.received + n.completed, 0);
	destroy(&counters);
}

/* ---- rings that a guest has got wrong: the queue goes to error, the device goes on ---- */

/* Error types of a queue. */
enum { BAD_DESCRIPTOR = 2, INVALID_BUFFER = 3, LIST_EXCEEDS_LIMIT = 4 };

static void
assert_broken(struct queue *q, uint8_t error_type)
{
	assert_true(wait_until(virtq_state(&q->vq) == MLX5_VIRTQ_STATE_ERR));
	assert_int_equal(virtq_query(&q->vq).error_type, error_type);
	assert_int_equal(channel_wait(&ch, WAIT_MS), q == &p.rx ? RX_EVENT : TX_EVENT);
}

/* Another transmit queue still sends, and the receive queue of the pair takes it. */
static void
assert_device_goes_on(struct dev *d)
{
	struct vring_used_elem e;
	struct queue q;
	struct buf b = pair_tx(&p, 61, 128);

	queue_create(&q, d, 3, PAIR_SIZE, &p.mem, p.mem.va + 0xc000, 0);
	queue_go(&q, RDY);
	pair_post_rx(&p, 1);
	memset(pair_tx_buf(&p, 61), 0, NET_HDR);
	frame_make(pair_tx_buf(&p, 61) + NET_HDR, 128, 99);
	ring_post(&q.ring, &b, 1, 0);
	queue_kick(&q);
	assert_true(wait_until(ring_take(&q.ring, &e)));
	pair_expect(&p, 99, 128);
	queue_destroy(&q);
}

static struct vring_desc *
last_desc(void)
{
	return &p.tx.ring.desc[(p.tx.ring.next_desc + PAIR_SIZE - 1) % PAIR_SIZE];
}

#define BROKEN_RING(name, type, ...) \
	static void \
	name(void **state) \
	{ \
		struct buf b = pair_tx(&p, 0, 100); \
		memset(pair_tx_buf(&p, 0), 0, NET_HDR + 100); \
		ring_post(&p.tx.ring, &b, 1, 0); \
		__VA_ARGS__; \
		queue_kick(&p.tx); \
		assert_broken(&p.tx, type); \
		assert_device_goes_on(*state); \
	}

BROKEN_RING(a_head_outside_the_table_breaks_the_queue, BAD_DESCRIPTOR,
	p.tx.ring.avail->ring[0] = PAIR_SIZE)
BROKEN_RING(an_available_index_too_far_ahead_breaks_the_queue, BAD_DESCRIPTOR,
	p.tx.ring.avail->idx = PAIR_SIZE + 1)
BROKEN_RING(an_available_index_that_goes_back_breaks_the_queue, BAD_DESCRIPTOR,
	p.tx.ring.avail->idx = 0xffff)
BROKEN_RING(an_available_index_half_way_around_breaks_the_queue, BAD_DESCRIPTOR,
	p.tx.ring.avail->idx = 0x8000)
BROKEN_RING(an_empty_buffer_breaks_the_queue, BAD_DESCRIPTOR, last_desc()->len = 0)
BROKEN_RING(a_chain_shorter_than_a_header_breaks_the_queue, BAD_DESCRIPTOR,
	last_desc()->len = NET_HDR - 1)
BROKEN_RING(a_buffer_of_all_lengths_there_are_breaks_the_queue, INVALID_BUFFER,
	last_desc()->len = UINT32_MAX, last_desc()->addr = UINT64_MAX - 100)
BROKEN_RING(an_indirect_table_outside_the_memory_breaks_the_queue, INVALID_BUFFER,
	last_desc()->flags = VRING_DESC_F_INDIRECT, last_desc()->len = 16,
	last_desc()->addr = PAIR_IOVA + PAIR_MEM)
BROKEN_RING(an_indirect_table_longer_than_the_queue_breaks_it, LIST_EXCEEDS_LIMIT,
	last_desc()->flags = VRING_DESC_F_INDIRECT, last_desc()->len = (PAIR_SIZE + 1) * 16)
BROKEN_RING(next_beside_indirect_breaks_the_queue, BAD_DESCRIPTOR,
	last_desc()->flags = VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, last_desc()->len = 16)
BROKEN_RING(a_next_outside_the_table_breaks_the_queue, BAD_DESCRIPTOR,
	last_desc()->flags = VRING_DESC_F_NEXT, last_desc()->next = PAIR_SIZE)
BROKEN_RING(a_chain_that_loops_breaks_the_queue, LIST_EXCEEDS_LIMIT,
	last_desc()->flags = VRING_DESC_F_NEXT, last_desc()->next = 0)
BROKEN_RING(a_descriptor_for_writing_in_a_transmit_queue_breaks_it, BAD_DESCRIPTOR,
	last_desc()->flags = VRING_DESC_F_WRITE)
BROKEN_RING(an_indirect_table_of_no_whole_descriptors_breaks_the_queue, BAD_DESCRIPTOR,
	last_desc()->flags = VRING_DESC_F_INDIRECT, last_desc()->len = 24)
BROKEN_RING(a_buffer_outside_the_memory_breaks_the_queue, INVALID_BUFFER,
	last_desc()->addr = PAIR_IOVA + PAIR_MEM)
BROKEN_RING(a_buffer_that_reaches_over_the_end_of_memory_breaks_the_queue, INVALID_BUFFER,
	last_desc()->addr = PAIR_IOVA + PAIR_MEM - 100)
BROKEN_RING(a_buffer_that_wraps_around_breaks_the_queue, INVALID_BUFFER,
	last_desc()->addr = UINT64_MAX - 10)

static void
an_indirect_table_in_an_indirect_table_breaks_the_queue(void **state)
{
	struct vring_desc *table = (void *)(p.mem.va + PAIR_TABLES);
	struct buf b = pair_tx(&p, 0, 100);

	ring_post_indirect(&p.tx.ring, &p.mem, table, &b, 1, 0);
	table->flags = VRING_DESC_F_INDIRECT;
	table->len = sizeof(*table);
	queue_kick(&p.tx);
	assert_broken(&p.tx, BAD_DESCRIPTOR);
	assert_device_goes_on(*state);
}

static void
a_next_outside_the_indirect_table_breaks_the_queue(void **state)
{
	struct vring_desc *table = (void *)(p.mem.va + PAIR_TABLES);
	struct buf b = pair_tx(&p, 0, 100);

	ring_post_indirect(&p.tx.ring, &p.mem, table, &b, 1, 0);
	table->flags = VRING_DESC_F_NEXT;
	table->next = 1;
	queue_kick(&p.tx);
	assert_broken(&p.tx, BAD_DESCRIPTOR);
	assert_device_goes_on(*state);
}

static void
a_descriptor_for_reading_in_a_receive_queue_breaks_it(void **state)
{
	struct buf b = pair_rx(&p, 0);

	(void)state;
	ring_post(&p.rx.ring, &b, 1, 0);
	queue_kick(&p.rx);
	pair_post_tx(&p, 100);
	queue_kick(&p.tx);
	assert_broken(&p.rx, BAD_DESCRIPTOR);
	assert_int_equal(virtq_state(&p.tx.vq), MLX5_VIRTQ_STATE_RDY);
}

static void
what_came_before_the_broken_chain_is_returned(void **state)
{
	struct buf bad = { PAIR_IOVA + PAIR_MEM, 100 };
	uint32_t i;

	(void)state;
	pair_post_rx(&p, 5);
	for (i = 0; i < 5; i++)
		pair_post_tx(&p, 100 + i);
	ring_post(&p.tx.ring, &bad, 1, 0);
	pair_post_tx(&p, 200);
	queue_kick(&p.tx);
	for (i = 0; i < 5; i++)
		pair_expect(&p, i, 100 + i);
	assert_broken(&p.tx, INVALID_BUFFER);
	assert_int_equal(ring_pending(&p.tx.ring), 5);
	assert_int_equal(virtq_query(&p.tx.vq).hw_used, 5);
	assert_int_equal(ring_pending(&p.rx.ring), 0);
}

static void
a_queue_in_error_moves_nothing_though_it_is_rung(void **state)
{
	struct buf bad = { PAIR_IOVA + PAIR_MEM, 100 };

	(void)state;
	ring_post(&p.tx.ring, &bad, 1, 0);
	queue_kick(&p.tx);
	assert_broken(&p.tx, INVALID_BUFFER);
	pair_post_rx(&p, 1);
	pair_post_tx(&p, 100);
	queue_kick(&p.tx);
	sleep_us(QUIET_MS * 1000);
	assert_int_equal(ring_pending(&p.tx.ring), 0);
	assert_int_equal(ring_pending(&p.rx.ring), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_started, teardown)
#define TEST_INIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_of_every_length_arrive_whole),
		TEST(a_full_ring_at_once_arrives_in_order),
		TEST(rings_wrap_around),
		TEST(nothing_behind_a_received_frame_is_written),
		TEST(a_received_frame_has_a_header_that_claims_nothing),
		TEST(a_header_in_a_descriptor_of_its_own),
		TEST(frames_in_chains_of_many_descriptors),
		TEST(frames_in_indirect_tables),
		TEST(an_indirect_table_of_one_descriptor),
		TEST(a_chain_of_all_descriptors_of_the_ring),
		TEST(chains_that_wrap_around_the_descriptor_table),
		TEST(a_frame_without_a_buffer_is_dropped_and_the_next_arrives),
		TEST(a_frame_too_large_for_its_buffer_is_dropped_and_writes_nothing_past_it),
		TEST(a_frame_that_was_not_rung_for_stays),
		TEST_INIT(a_queue_that_becomes_ready_waits_for_its_doorbell),
		TEST(two_doorbells_in_one_word_are_both_heard),
		TEST(a_doorbell_of_a_queue_that_does_not_exist_harms_nothing),
		TEST_INIT(a_queue_in_init_moves_nothing_though_it_is_rung),
		TEST(a_suspended_queue_moves_nothing_though_it_is_rung),
		TEST(a_suspended_receive_queue_takes_nothing),
		TEST(what_was_rung_for_while_suspended_is_sent_after_resume),
		TEST(suspending_under_traffic_loses_and_repeats_nothing),
		TEST(a_receive_queue_resumes_where_it_was),
		TEST(queried_indices_are_those_of_the_rings),
		TEST_INIT(a_queue_goes_on_from_the_indices_it_was_created_with),
		TEST(counters_count_chains),
		TEST(counters_count_errors_by_their_kind),
		TEST(counters_count_rings_out_of_reach),
		TEST(a_head_outside_the_table_breaks_the_queue),
		TEST(an_available_index_too_far_ahead_breaks_the_queue),
		TEST(an_available_index_that_goes_back_breaks_the_queue),
		TEST(an_available_index_half_way_around_breaks_the_queue),
		TEST(an_empty_buffer_breaks_the_queue),
		TEST(a_chain_shorter_than_a_header_breaks_the_queue),
		TEST(a_buffer_of_all_lengths_there_are_breaks_the_queue),
		TEST(an_indirect_table_outside_the_memory_breaks_the_queue),
		TEST(an_indirect_table_longer_than_the_queue_breaks_it),
		TEST(next_beside_indirect_breaks_the_queue),
		TEST(a_next_outside_the_table_breaks_the_queue),
		TEST(a_chain_that_loops_breaks_the_queue),
		TEST(a_descriptor_for_writing_in_a_transmit_queue_breaks_it),
		TEST(an_indirect_table_of_no_whole_descriptors_breaks_the_queue),
		TEST(a_buffer_outside_the_memory_breaks_the_queue),
		TEST(a_buffer_that_reaches_over_the_end_of_memory_breaks_the_queue),
		TEST(a_buffer_that_wraps_around_breaks_the_queue),
		TEST(an_indirect_table_in_an_indirect_table_breaks_the_queue),
		TEST(a_next_outside_the_indirect_table_breaks_the_queue),
		TEST(a_descriptor_for_reading_in_a_receive_queue_breaks_it),
		TEST(what_came_before_the_broken_chain_is_returned),
		TEST(a_queue_in_error_moves_nothing_though_it_is_rung),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

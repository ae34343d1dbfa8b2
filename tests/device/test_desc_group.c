/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue with two memory keys: the descriptor group's for what its ring consists of, the queue's
 * for everything that descriptors point to, indirect tables among it (Linux: "vdpa: introduce
 * dedicated descriptor group for virtqueue"). Split and packed.
 */
#include "packed.h"
#include "traffic.h"

enum {
	LEN = 500,
	RINGS_IOVA = 0x7f0000000000, /* where the buffers' key has nothing */
	RINGS_BYTES = 0x8000,
};

/* Ring memory of its own, a pair's memory for the rest, and queues on both. */
struct group {
	struct pair p;
	struct mem rings;
	struct packed rx, tx;      /* where packed */
};

static struct group g;

static bool
can(struct dev *d)
{
	return VIRTIO_CAP(d, desc_group_mkey_supported);
}

static void
create_split(struct queue *q, struct dev *d, uint16_t index, void *va)
{
	uint8_t in[VIRTQ_IN_BYTES];
	struct virtq_attr a;

	queue_prepare(q, d, index, PAIR_SIZE, &g.rings, va, &a);
	a.mkey = g.p.mem.mkey;
	fill_virtq(d, in, &a);
	PRM_SET(virtio_q, VIRTQ_CTX(in), desc_group_mkey, g.rings.mkey);
	q->vq = create(d, in, sizeof(in));
}

static void
create_packed(struct packed *r, struct queue *q, struct dev *d, uint16_t index, void *va)
{
	uint8_t in[VIRTQ_IN_BYTES];

	packed_prepare(r, q, d, index, PAIR_SIZE, &g.rings, va, PACKED_WRAP, in);
	PRM_SET(virtio_q, VIRTQ_CTX(in), virtio_q_mkey, g.p.mem.mkey);
	PRM_SET(virtio_q, VIRTQ_CTX(in), desc_group_mkey, g.rings.mkey);
	q->vq = create(d, in, sizeof(in));
}

static int
setup(void **state)
{
	struct dev *d = *state;

	memset(&g, 0, sizeof(g));
	pair_create_mem(&g.p, d);
	g.rings = mem_create(d->pd, RINGS_BYTES, RINGS_IOVA, MEM_RW);
	return 0;
}

static int
setup_split(void **state)
{
	setup(state);
	if (!can(*state))
		return 0;
	create_split(&g.p.rx, *state, 0, g.rings.va);
	create_split(&g.p.tx, *state, 1, g.rings.va + RINGS_BYTES / 2);
	pair_create_steering(&g.p);
	pair_start(&g.p);
	return 0;
}

static int
setup_packed(void **state)
{
	setup(state);
	if (!can(*state) || (VIRTIO_CAP((struct dev *)*state, virtio_queue_type) &
			1 << MLX5_VIRTQ_TYPE_PACKED) == 0)
		return 0;
	create_packed(&g.rx, &g.p.rx, *state, 0, g.rings.va);
	create_packed(&g.tx, &g.p.tx, *state, 1, g.rings.va + RINGS_BYTES / 2);
	pair_create_steering(&g.p);
	pair_start(&g.p);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pair_discard(&g.p);
	mem_discard(&g.rings);
	return 0;
}

static void
make_frame(uint32_t seq)
{
	memset(pair_tx_buf(&g.p, 0), 0, NET_HDR);
	frame_make(pair_tx_buf(&g.p, 0) + NET_HDR, LEN, seq);
}

/* ---- traffic ---- */

static void
a_split_ring_goes_by_the_groups_key_and_its_buffers_by_the_queues(void **state)
{
	if (!can(*state))
		skip();
	pair_exchange(&g.p, PAIR_SIZE + 5);
	assert_int_equal(virtq_query(&g.p.tx.vq).hw_used, PAIR_SIZE + 5);
}

static void
an_indirect_table_of_a_split_ring_goes_by_the_queues_key(void **state)
{
	struct vring_desc *tables = (void *)(g.p.mem.va + PAIR_TABLES);
	struct buf rx = pair_rx(&g.p, 0), tx = pair_tx(&g.p, 0, LEN);
	struct vring_used_elem e;

	if (!can(*state))
		skip();
	ring_post_indirect(&g.p.rx.ring, &g.p.mem, tables, &rx, 0, 1);
	queue_kick(&g.p.rx);
	make_frame(7);
	ring_post_indirect(&g.p.tx.ring, &g.p.mem, tables + 1, &tx, 1, 0);
	queue_kick(&g.p.tx);
	assert_true(wait_until(ring_take(&g.p.rx.ring, &e)));
	assert_true(e.len == NET_HDR + LEN &&
		frame_is(pair_rx_buf(&g.p, 0) + NET_HDR, LEN, 7));
}

static void
a_packed_ring_goes_by_the_groups_key_and_its_buffers_by_the_queues(void **state)
{
	struct vring_packed_desc *tables = (void *)(g.p.mem.va + PAIR_TABLES);
	struct buf rx = pair_rx(&g.p, 0), tx = pair_tx(&g.p, 0, LEN);
	struct packed_used u;
	uint32_t i;

	(void)state;
	if (g.p.rx.vq.obj == NULL)
		skip();
	for (i = 0; i < PAIR_SIZE + 5; i++) {
		make_frame(i);
		if (i % 2 == 0) {
			packed_post(&g.rx, &rx, 0, 1, 0);
			packed_post(&g.tx, &tx, 1, 0, 0);
		} else {
			packed_post_indirect(&g.rx, &g.p.mem, tables, &rx, 0, 1, 0);
			packed_post_indirect(&g.tx, &g.p.mem, tables + 1, &tx, 1, 0, 0);
		}
		queue_kick(&g.p.rx);
		queue_kick(&g.p.tx);
		assert_true(wait_until(packed_take(&g.rx, &u)));
		assert_int_equal(u.len, NET_HDR + LEN);
		assert_true(frame_is(pair_rx_buf(&g.p, 0) + NET_HDR, LEN, i));
		assert_true(wait_until(packed_take(&g.tx, &u)));
	}
}

/* ---- what the other key has is out of reach ---- */

enum { INVALID_BUFFER = 3, INTERNAL = 5 };

static void
a_buffer_that_only_the_groups_key_has_breaks_the_queue(void **state)
{
	struct buf b = { RINGS_IOVA, NET_HDR + LEN };

	if (!can(*state))
		skip();
	ring_post(&g.p.tx.ring, &b, 1, 0);
	queue_kick(&g.p.tx);
	assert_true(wait_until(virtq_state(&g.p.tx.vq) == MLX5_VIRTQ_STATE_ERR));
	assert_int_equal(virtq_query(&g.p.tx.vq).error_type, INVALID_BUFFER);
}

static void
an_indirect_table_that_only_the_groups_key_has_breaks_the_queue(void **state)
{
	struct buf b = pair_tx(&g.p, 0, LEN);
	struct vring_desc *table = (void *)(g.rings.va + RINGS_BYTES - 4096);

	if (!can(*state))
		skip();
	ring_post_indirect(&g.p.tx.ring, &g.rings, table, &b, 1, 0);
	queue_kick(&g.p.tx);
	assert_true(wait_until(virtq_state(&g.p.tx.vq) == MLX5_VIRTQ_STATE_ERR));
	assert_int_equal(virtq_query(&g.p.tx.vq).error_type, INVALID_BUFFER);
}

/* ---- changing it ---- */

static struct verdict
set_group(struct obj *vq, uint32_t mkey)
{
	uint8_t in[VIRTQ_IN_BYTES];

	fill_virtq_modify(in, vq->id, MLX5_VIRTQ_MODIFY_DESC_GROUP_MKEY);
	PRM_SET(virtio_q, VIRTQ_CTX(in), desc_group_mkey, mkey);
	return dev_modify(vq, in, sizeof(in));
}

/* Without a group's key the queue's own reaches for the ring, and finds nothing there. */
static void
a_suspended_queue_changes_its_groups_key(void **state)
{
	uint8_t out_of_rdy;

	if (!can(*state) || !VIRTIO_CAP((struct dev *)*state, freeze_to_rdy_supported))
		skip();
	pair_exchange(&g.p, 3);
	out_of_rdy = set_group(&g.p.tx.vq, 0).status;
	assert_int_equal(out_of_rdy, MLX5_CMD_STAT_BAD_RES_STATE_ERR);
	queue_go(&g.p.tx, SUSPEND);
	assert_accepted(set_group(&g.p.tx.vq, 0));
	queue_go(&g.p.tx, RDY);
	pair_post_tx(&g.p, LEN);
	queue_kick(&g.p.tx);
	assert_true(wait_until(virtq_state(&g.p.tx.vq) == MLX5_VIRTQ_STATE_ERR));
	assert_int_equal(virtq_query(&g.p.tx.vq).error_type, INTERNAL);
}

static void
a_group_key_can_be_replaced_while_suspended(void **state)
{
	struct mem other = {0};

	if (!can(*state) || !VIRTIO_CAP((struct dev *)*state, freeze_to_rdy_supported))
		skip();
	pair_exchange(&g.p, 3);
	queue_go(&g.p.tx, SUSPEND);
	/* The same memory by another key, at the same addresses. */
	other.mr = ibv_reg_mr_iova(g.p.d->pd, g.rings.va, g.rings.len, RINGS_IOVA, MEM_RW);
	assert_non_null(other.mr);
	assert_accepted(set_group(&g.p.tx.vq, other.mr->lkey));
	queue_go(&g.p.tx, RDY);
	pair_exchange(&g.p, 3);
	destroy(&g.p.tx.vq);
	assert_int_equal(ibv_dereg_mr(other.mr), 0);
}

static void
without_the_capability_it_is_refused(void **state)
{
	struct queue q;
	struct virtq_attr a;
	uint8_t in[VIRTQ_IN_BYTES];

	if (can(*state))
		skip();
	queue_prepare(&q, *state, 5, PAIR_SIZE, &g.rings, g.rings.va, &a);
	a.mkey = g.p.mem.mkey;
	fill_virtq(*state, in, &a);
	PRM_SET(virtio_q, VIRTQ_CTX(in), desc_group_mkey, g.rings.mkey);
	assert_create_refused(*state, in, sizeof(in), BAD_RES_ERR);
	queue_discard(&q);
}

#define TEST(f, how) cmocka_unit_test_setup_teardown(f, how, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_split_ring_goes_by_the_groups_key_and_its_buffers_by_the_queues,
			setup_split),
		TEST(an_indirect_table_of_a_split_ring_goes_by_the_queues_key, setup_split),
		TEST(a_packed_ring_goes_by_the_groups_key_and_its_buffers_by_the_queues,
			setup_packed),
		TEST(a_buffer_that_only_the_groups_key_has_breaks_the_queue, setup_split),
		TEST(an_indirect_table_that_only_the_groups_key_has_breaks_the_queue, setup_split),
		TEST(a_suspended_queue_changes_its_groups_key, setup_split),
		TEST(a_group_key_can_be_replaced_while_suspended, setup_split),
		TEST(without_the_capability_it_is_refused, setup),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

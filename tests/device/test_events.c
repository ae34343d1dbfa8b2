/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events: from a virtqueue through its queue pair and CQ to a channel, and of objects.
 */
#include "events.h"
#include "traffic.h"

enum { COOKIE_TX = 0x7e57, COOKIE_RX = 0xec0, COOKIE_OBJ = 0x0bec7 };

static struct {
	struct evq tx, rx;
	struct channel ch;
	struct pair p;
} t;

static int
setup(void **state)
{
	struct dev *d = *state;

	memset(&t, 0, sizeof(t));
	t.ch = channel_create(d);
	evq_create(&t.tx, d);
	evq_create(&t.rx, d);
	channel_subscribe(&t.ch, &t.tx.cq, MLX5_EVENT_TYPE_COMP, COOKIE_TX);
	channel_subscribe(&t.ch, &t.rx.cq, MLX5_EVENT_TYPE_COMP, COOKIE_RX);
	evq_connect(&t.tx);
	evq_connect(&t.rx);
	pair_create(&t.p, d, t.rx.fw_qp.id, t.tx.fw_qp.id);
	pair_start(&t.p);
	pair_post_rx(&t.p, 32);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pair_discard(&t.p);
	evq_discard(&t.rx);
	evq_discard(&t.tx);
	channel_discard(&t.ch);
	return 0;
}

/* Send one frame and see it arrive. */
static void
send_one(void)
{
	struct vring_used_elem e;
	uint32_t seq = pair_post_tx(&t.p, 100);

	queue_kick(&t.p.tx);
	pair_expect(&t.p, seq, 100);
	assert_true(wait_until(ring_take(&t.p.tx.ring, &e)));
}

static uint32_t
be32_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

/* ---- completions ---- */

static void
used_buffers_make_a_completion_that_names_the_qp_and_the_wqe(void **state)
{
	const uint8_t *cqe;
	uint32_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		send_one();
		assert_true(wait_until(evq_completions(&t.tx) == i + 1));
		cqe = evq_cqe(&t.tx, i);
		assert_int_equal(cqe[MLX5_CQE_OFF_OP_OWN] >> 4, MLX5_CQE_OP_RESP_SEND);
		assert_int_equal(cqe[MLX5_CQE_OFF_OP_OWN] & MLX5_CQE_OWNER_BIT, 0);
		assert_int_equal(be32_at(cqe + MLX5_CQE_OFF_QPN) & 0xffffff, t.tx.sw_qp.id);
		assert_int_equal(cqe[MLX5_CQE_OFF_WQE_COUNTER] << 8 |
			cqe[MLX5_CQE_OFF_WQE_COUNTER + 1], i);
	}
	/* Receiving made completions of its own. */
	assert_true(wait_until(evq_completions(&t.rx) == 4));
}

static void
the_owner_bit_changes_with_every_pass(void **state)
{
	uint32_t i;

	(void)state;
	evq_post_receives(&t.tx, 3 * EVQ_SIZE);
	for (i = 0; i < EVQ_SIZE + 1; i++)
		send_one();
	/* Entry 0 was written in a second pass, entry 1 was not. */
	assert_true(wait_until((evq_cqe(&t.tx, 0)[MLX5_CQE_OFF_OP_OWN] & MLX5_CQE_OWNER_BIT) == 1));
	assert_int_equal(evq_cqe(&t.tx, 1)[MLX5_CQE_OFF_OP_OWN] & MLX5_CQE_OWNER_BIT, 0);
}

static void
a_collapsed_cq_has_every_completion_in_its_first_entry(void **state)
{
	struct dev *d = *state;
	uint8_t in[PRM_BYTES(create_cq_in)], qp_in[PRM_BYTES(create_qp_in)];
	struct evq *e = &t.tx;
	const uint8_t *cqe = evq_cqe(e, 0);
	uint32_t i;

	/* The same again, with a CQ that collapses. */
	pair_discard(&t.p);
	destroy(&e->sw_qp);
	destroy(&e->cq);
	fill_cq(d, in, e->umem.id, e->cq_dbr_off, EVQ_LOG_SIZE);
	PRM_SET(cqc, PRM_ADDR(create_cq_in, in, cq_context), cc, 1);
	e->cq = create(d, in, sizeof(in));
	fill_sw_qp(d, qp_in, e->cq.id, e->umem.id, e->qp_dbr_off, EVQ_LOG_SIZE);
	PRM_SET(create_qp_in, qp_in, wq_umem_offset, e->wq_off);
	e->sw_qp = create(d, qp_in, sizeof(qp_in));
	assert_accepted(qp_step(&e->fw_qp, MLX5_CMD_OP_2RST_QP, 0));
	evq_connect(e);
	pair_create(&t.p, d, 0, e->fw_qp.id);
	pair_start(&t.p);
	pair_post_rx(&t.p, 8);
	for (i = 0; i < 5; i++)
		send_one();
	assert_true(wait_until((cqe[MLX5_CQE_OFF_WQE_COUNTER] << 8 |
		cqe[MLX5_CQE_OFF_WQE_COUNTER + 1]) == 4));
	assert_int_equal(cqe[MLX5_CQE_OFF_OP_OWN] >> 4, MLX5_CQE_OP_RESP_SEND);
	assert_int_equal(evq_completions(e), 1);
}

static void
no_completion_when_the_guest_does_not_want_interrupts(void **state)
{
	uint32_t before;

	(void)state;
	t.p.tx.ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	send_one();
	sleep_us(QUIET_MS * 1000);
	before = evq_completions(&t.tx);
	assert_int_equal(before, 0);
	t.p.tx.ring.avail->flags = 0;
	send_one();
	assert_true(wait_until(evq_completions(&t.tx) == 1));
}

static void
an_event_waits_for_a_receive_wqe(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < EVQ_SIZE; i++)
		send_one();
	assert_true(wait_until(evq_completions(&t.tx) == EVQ_SIZE));
	/* All receive WQEs are consumed: the next event has to wait, the queue does not. */
	evq_arm(&t.tx, EVQ_SIZE);
	send_one();
	send_one();
	assert_int_equal(channel_wait(&t.ch, QUIET_MS), 0);
	evq_post_receives(&t.tx, 2 * EVQ_SIZE);
	assert_int_equal(channel_wait(&t.ch, WAIT_MS), COOKIE_TX);
}

static void
a_queue_moves_on_when_its_event_qp_is_not_connected(void **state)
{
	(void)state;
	assert_accepted(qp_step(&t.tx.sw_qp, MLX5_CMD_OP_2RST_QP, 0));
	send_one();
	send_one();
	assert_int_equal(virtq_state(&t.p.tx.vq), MLX5_VIRTQ_STATE_RDY);
	assert_int_equal(evq_completions(&t.tx), 0);
}

/* ---- arming ---- */

static void
an_armed_cq_raises_an_event_with_the_cookie_of_its_subscription(void **state)
{
	(void)state;
	evq_arm(&t.tx, 0);
	send_one();
	assert_int_equal(channel_wait(&t.ch, WAIT_MS), COOKIE_TX);
}

static void
a_cq_that_is_not_armed_raises_no_event(void **state)
{
	(void)state;
	send_one();
	assert_true(wait_until(evq_completions(&t.tx) == 1));
	assert_int_equal(channel_wait(&t.ch, QUIET_MS), 0);
}

static void
a_cq_that_was_never_armed_raises_no_event_when_its_neighbour_is_armed(void **state)
{
	(void)state;
	/* Both take their doorbells in one page. */
	evq_arm(&t.tx, 0);
	send_one();
	assert_true(wait_until(evq_completions(&t.rx) == 1));
	assert_int_equal(channel_wait(&t.ch, WAIT_MS), COOKIE_TX);
	assert_int_equal(channel_wait(&t.ch, QUIET_MS), 0);
}

static void
one_arming_is_one_event(void **state)
{
	uint32_t i;

	(void)state;
	evq_arm(&t.tx, 0);
	for (i = 0; i < 5; i++)
		send_one();
	assert_int_equal(channel_wait(&t.ch, WAIT_MS), COOKIE_TX);
	assert_int_equal(channel_wait(&t.ch, QUIET_MS), 0);
	evq_arm(&t.tx, 5);
	assert_int_equal(channel_wait(&t.ch, QUIET_MS), 0);
	send_one();
	assert_int_equal(channel_wait(&t.ch, WAIT_MS), COOKIE_TX);
}

static void
arming_behind_a_completion_raises_the_event_at_once(void **state)
{
	(void)state;
	send_one();
	send_one();
	assert_true(wait_until(evq_completions(&t.tx) == 2));
	evq_arm(&t.tx, 1);
	assert_int_equal(channel_wait(&t.ch, WAIT_MS), COOKIE_TX);
}

static void
a_doorbell_with_a_sequence_number_that_was_seen_does_not_arm(void **state)
{
	uint64_t db;

	(void)state;
	db = evq_arm_record(&t.tx, 0);
	evq_ring(&t.tx, db);
	send_one();
	assert_int_equal(channel_wait(&t.ch, WAIT_MS), COOKIE_TX);
	evq_ring(&t.tx, db);
	send_one();
	assert_int_equal(channel_wait(&t.ch, QUIET_MS), 0);
}

static void
two_queues_raise_their_own_events(void **state)
{
	uint64_t a, b;

	(void)state;
	evq_arm(&t.tx, 0);
	evq_arm(&t.rx, 0);
	send_one();
	a = channel_wait(&t.ch, WAIT_MS);
	b = channel_wait(&t.ch, WAIT_MS);
	assert_true((a == COOKIE_TX && b == COOKIE_RX) || (a == COOKIE_RX && b == COOKIE_TX));
}

static void
no_event_after_its_cq_was_destroyed(void **state)
{
	(void)state;
	evq_arm(&t.tx, 0);
	pair_discard(&t.p);
	destroy(&t.tx.sw_qp);
	destroy(&t.tx.cq);
	assert_int_equal(channel_wait(&t.ch, QUIET_MS), 0);
}

/* ---- events of objects ---- */

static void
a_queue_that_breaks_says_so(void **state)
{
	struct buf bad = { PAIR_IOVA + PAIR_MEM, 100 };

	(void)state;
	channel_subscribe(&t.ch, &t.p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE_OBJ);
	ring_post(&t.p.tx.ring, &bad, 1, 0);
	queue_kick(&t.p.tx);
	assert_int_equal(channel_wait(&t.ch, WAIT_MS), COOKIE_OBJ);
	assert_int_equal(virtq_state(&t.p.tx.vq), MLX5_VIRTQ_STATE_ERR);
}

static void
what_a_driver_changes_is_no_event(void **state)
{
	(void)state;
	channel_subscribe(&t.ch, &t.p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE_OBJ);
	queue_go(&t.p.tx, SUSPEND);
	assert_int_equal(channel_wait(&t.ch, QUIET_MS), 0);
}

static void
an_event_goes_to_those_who_subscribed_and_to_no_others(void **state)
{
	struct channel other = channel_create(*state);
	struct buf bad = { PAIR_IOVA + PAIR_MEM, 100 };
	uint64_t mine, theirs;

	channel_subscribe(&other, &t.p.rx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE_RX);
	channel_subscribe(&t.ch, &t.p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE_OBJ);
	ring_post(&t.p.tx.ring, &bad, 1, 0);
	queue_kick(&t.p.tx);
	mine = channel_wait(&t.ch, WAIT_MS);
	theirs = channel_wait(&other, QUIET_MS);
	channel_discard(&other);
	assert_int_equal(mine, COOKIE_OBJ);
	assert_int_equal(theirs, 0);
}

static void
a_channel_without_events_does_not_block(void **state)
{
	struct mlx5dv_devx_async_event_hdr ev;

	(void)state;
	errno = 0;
	assert_true(mlx5dv_devx_get_event(t.ch.ch, &ev, sizeof(ev)) < 0);
	assert_int_equal(errno, EAGAIN);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(used_buffers_make_a_completion_that_names_the_qp_and_the_wqe),
		TEST(the_owner_bit_changes_with_every_pass),
		TEST(a_collapsed_cq_has_every_completion_in_its_first_entry),
		TEST(no_completion_when_the_guest_does_not_want_interrupts),
		TEST(an_event_waits_for_a_receive_wqe),
		TEST(a_queue_moves_on_when_its_event_qp_is_not_connected),
		TEST(an_armed_cq_raises_an_event_with_the_cookie_of_its_subscription),
		TEST(a_cq_that_is_not_armed_raises_no_event),
		TEST(a_cq_that_was_never_armed_raises_no_event_when_its_neighbour_is_armed),
		TEST(one_arming_is_one_event),
		TEST(arming_behind_a_completion_raises_the_event_at_once),
		TEST(a_doorbell_with_a_sequence_number_that_was_seen_does_not_arm),
		TEST(two_queues_raise_their_own_events),
		TEST(no_event_after_its_cq_was_destroyed),
		TEST(a_queue_that_breaks_says_so),
		TEST(what_a_driver_changes_is_no_event),
		TEST(an_event_goes_to_those_who_subscribed_and_to_no_others),
		TEST(a_channel_without_events_does_not_block),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

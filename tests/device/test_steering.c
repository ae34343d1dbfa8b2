/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive steering: RQTs, TIRs and flow rules; what they refuse, and where frames go.
 */
#include <netinet/in.h>

#include "traffic.h"

static struct pair p;
static struct queue rx2;               /* a second receive queue */

enum { RX2_RING = 0xc000, RX2_BUF = 40 };

static int
setup(void **state)
{
	pair_create_mem(&p, *state);
	pair_create_queues(&p, p.mem.mkey, 0, 0);
	queue_create(&rx2, *state, 2, PAIR_SIZE, &p.mem, p.mem.va + RX2_RING, 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	flow_destroy(&p.flow);
	discard(&p.tir);
	discard(&p.rqt);
	queue_discard(&rx2);
	pair_discard(&p);
	return 0;
}

static struct obj
make_rqt(struct dev *d, const uint32_t *ids, uint32_t n)
{
	uint8_t in[RQT_IN_BYTES];
	size_t len = fill_rqt(in, ids, n);

	return create(d, in, len);
}

static struct obj
make_tir(struct dev *d, uint32_t rqtn)
{
	uint8_t in[PRM_BYTES(create_tir_in)];

	fill_tir(d, in, rqtn);
	return create(d, in, sizeof(in));
}

/* ---- RQT ---- */

#define RQT_REFUSED(name, stat, ...) \
	static void \
	name(void **state) \
	{ \
		uint32_t ids[RQT_MAX] = { p.rx.vq.id, rx2.vq.id }; \
		uint8_t in[RQT_IN_BYTES]; \
		size_t len = fill_rqt(in, ids, 2); \
		void *rqtc = PRM_ADDR(create_rqt_in, in, rqt_context); \
		(void)rqtc; \
		__VA_ARGS__; \
		assert_create_refused(*state, in, len, stat); \
	}

RQT_REFUSED(an_rqt_with_an_unknown_queue_is_refused, BAD_RES_ERR,
	ids[1] = NO_SUCH_ID(24); len = fill_rqt(in, ids, 2))
RQT_REFUSED(an_rqt_with_a_transmit_queue_is_refused, BAD_PARAM_ERR,
	ids[1] = p.tx.vq.id; len = fill_rqt(in, ids, 2))
RQT_REFUSED(an_rqt_with_a_dead_queue_is_refused, BAD_RES_ERR,
	destroy(&rx2.vq))
RQT_REFUSED(an_rqt_larger_than_the_device_allows_is_refused, LIM_ERR,
	PRM_SET(rqtc, rqtc, rqt_max_size, 0xffff))
RQT_REFUSED(an_rqt_with_more_entries_than_its_size_is_refused, BAD_PARAM_ERR,
	PRM_SET(rqtc, rqtc, rqt_max_size, 1))
RQT_REFUSED(an_rqt_without_entries_is_refused, BAD_PARAM_ERR,
	PRM_SET(rqtc, rqtc, rqt_actual_size, 0))
RQT_REFUSED(an_rqt_whose_list_ends_early_is_refused, BAD_INP_LEN_ERR,
	len -= PRM_BYTES(rq_num))
RQT_REFUSED(an_rqt_of_a_queue_type_that_does_not_exist_is_refused, BAD_PARAM_ERR,
	PRM_SET(rqtc, rqtc, list_q_type, 7))

static void
an_rqt_with_another_users_queue_is_refused(void **state)
{
	struct dev *other = dev_open(false);
	struct verdict v;
	struct obj o = {0};
	uint8_t in[RQT_IN_BYTES];
	size_t len = fill_rqt(in, &p.rx.vq.id, 1);

	(void)state;
	assert_non_null(other);
	v = dev_create(other, in, len, &o);
	discard(&o);
	assert_int_equal(dev_close(other), 0);
	assert_refused(v, BAD_RES_ERR);
}

static void
an_rqt_can_change_its_queues_but_not_grow_over_its_size(void **state)
{
	uint32_t ids[4] = { p.rx.vq.id, rx2.vq.id, p.rx.vq.id, rx2.vq.id };
	uint8_t in[RQT_IN_BYTES];
	size_t len;

	p.rqt = make_rqt(*state, ids, 2);
	ids[0] = rx2.vq.id;
	len = fill_modify_rqt(in, p.rqt.id, ids, 2);
	assert_accepted(dev_modify(&p.rqt, in, len));
	len = fill_modify_rqt(in, p.rqt.id, ids, 4);
	assert_refused(dev_modify(&p.rqt, in, len), BAD_PARAM_ERR);
	ids[1] = NO_SUCH_ID(24);
	len = fill_modify_rqt(in, p.rqt.id, ids, 2);
	assert_refused(dev_modify(&p.rqt, in, len), BAD_RES_ERR);
}

static void
an_rqt_is_busy_while_a_tir_uses_it(void **state)
{
	p.rqt = make_rqt(*state, &p.rx.vq.id, 1);
	p.tir = make_tir(*state, p.rqt.id);
	assert_busy(&p.rqt);
	destroy(&p.tir);
	destroy(&p.rqt);
}

/* ---- TIR ---- */

#define TIR_REFUSED(name, stat, ...) \
	static void \
	name(void **state) \
	{ \
		uint8_t in[PRM_BYTES(create_tir_in)]; \
		void *tirc = PRM_ADDR(create_tir_in, in, ctx); \
		(void)tirc; \
		p.rqt = make_rqt(*state, &p.rx.vq.id, 1); \
		fill_tir(*state, in, p.rqt.id); \
		__VA_ARGS__; \
		assert_create_refused(*state, in, sizeof(in), stat); \
	}

TIR_REFUSED(a_tir_without_rqt_is_refused, BAD_RES_ERR,
	PRM_SET(tirc, tirc, indirect_table, 0))
TIR_REFUSED(a_tir_with_an_unknown_rqt_is_refused, BAD_RES_ERR,
	PRM_SET(tirc, tirc, indirect_table, NO_SUCH_ID(24)))
TIR_REFUSED(a_tir_with_a_dead_rqt_is_refused, BAD_RES_ERR,
	destroy(&p.rqt))
TIR_REFUSED(a_tir_in_an_unknown_transport_domain_is_refused, BAD_RES_ERR,
	PRM_SET(tirc, tirc, transport_domain, NO_SUCH_ID(24)))
TIR_REFUSED(a_tir_with_a_hash_that_does_not_exist_is_refused, BAD_PARAM_ERR,
	PRM_SET(tirc, tirc, rx_hash_fn, 9))
TIR_REFUSED(a_tir_of_a_kind_that_does_not_exist_is_refused, BAD_PARAM_ERR,
	PRM_SET(tirc, tirc, disp_type, 9))

static void
a_transport_domain_is_busy_while_a_tir_is_in_it(void **state)
{
	struct dev *d = *state;
	uint8_t td_in[PRM_BYTES(alloc_transport_domain_in)], in[PRM_BYTES(create_tir_in)];
	struct obj td;

	fill_td(td_in);
	td = create(d, td_in, sizeof(td_in));
	p.rqt = make_rqt(d, &p.rx.vq.id, 1);
	fill_tir(d, in, p.rqt.id);
	PRM_SET(tirc, PRM_ADDR(create_tir_in, in, ctx), transport_domain, td.id);
	p.tir = create(d, in, sizeof(in));
	assert_busy(&td);
	destroy(&p.tir);
	destroy(&td);
}

static void
a_tir_is_busy_while_a_rule_leads_to_it(void **state)
{
	pair_create_steering(&p);
	(void)state;
	assert_busy(&p.tir);
	flow_destroy(&p.flow);
	destroy(&p.tir);
}

/* ---- where frames go ---- */

/* One buffer in each receive queue, @p frame sent: which queue got it, NULL for none. */
static struct queue *
send_frame(const uint8_t *frame, uint32_t len)
{
	struct buf b0 = pair_rx(&p, 0), b2 = pair_rx(&p, RX2_BUF), tx = pair_tx(&p, 0, len);
	struct vring_used_elem e;
	struct queue *got = NULL;
	uint64_t end;

	if (ring_pending(&p.rx.ring) == 0 && p.rx.ring.next_avail == p.rx.ring.last_used) {
		ring_post(&p.rx.ring, &b0, 0, 1);
		queue_kick(&p.rx);
	}
	if (ring_pending(&rx2.ring) == 0 && rx2.ring.next_avail == rx2.ring.last_used) {
		ring_post(&rx2.ring, &b2, 0, 1);
		queue_kick(&rx2);
	}
	memset(pair_tx_buf(&p, 0), 0, NET_HDR);
	memcpy(pair_tx_buf(&p, 0) + NET_HDR, frame, len);
	ring_post(&p.tx.ring, &tx, 1, 0);
	queue_kick(&p.tx);
	assert_true(wait_until(ring_take(&p.tx.ring, &e)));
	for (end = now_ms() + QUIET_MS; got == NULL && now_ms() < end; sleep_us(200)) {
		if (ring_take(&p.rx.ring, &e))
			got = &p.rx;
		else if (ring_take(&rx2.ring, &e))
			got = &rx2;
	}
	if (got != NULL)
		assert_memory_equal(pair_rx_buf(&p, got == &p.rx ? 0 : RX2_BUF) + NET_HDR, frame,
			len);
	return got;
}

static void
start_all(void)
{
	pair_start(&p);
	queue_go(&rx2, RDY);
}

static void
without_a_rule_nothing_arrives(void **state)
{
	uint8_t frame[100];

	(void)state;
	start_all();
	frame_make(frame, sizeof(frame), 1);
	assert_null(send_frame(frame, sizeof(frame)));
}

static void
a_rule_leads_to_its_tir_until_it_is_destroyed(void **state)
{
	uint8_t frame[100];

	(void)state;
	start_all();
	pair_create_steering(&p);
	frame_make(frame, sizeof(frame), 1);
	assert_ptr_equal(send_frame(frame, sizeof(frame)), &p.rx);
	flow_destroy(&p.flow);
	assert_null(send_frame(frame, sizeof(frame)));
}

static void
a_rule_of_lower_priority_number_comes_first(void **state)
{
	static const struct match any = {0}, udp4 = { 4, IPPROTO_UDP };
	struct dev *d = *state;
	uint8_t plain[100], udp[100];
	struct obj rqt2, tir2;
	struct flow special;

	start_all();
	p.rqt = make_rqt(d, &p.rx.vq.id, 1);
	p.tir = make_tir(d, p.rqt.id);
	rqt2 = make_rqt(d, &rx2.vq.id, 1);
	tir2 = make_tir(d, rqt2.id);
	frame_make(plain, sizeof(plain), 1);
	frame_make_udp4(udp, sizeof(udp), 2, 1, 2, 1000, 2000);
	/* The general rule is made first: order of making must not matter. */
	assert_int_equal(flow_create(&p.flow, d, 1, &any, &p.tir), 0);
	assert_int_equal(flow_create(&special, d, 0, &udp4, &tir2), 0);
	assert_ptr_equal(send_frame(plain, sizeof(plain)), &p.rx);
	assert_ptr_equal(send_frame(udp, sizeof(udp)), &rx2);
	flow_destroy(&special);
	assert_ptr_equal(send_frame(udp, sizeof(udp)), &p.rx);
	destroy(&tir2);
	destroy(&rqt2);
}

static void
a_special_rule_behind_a_general_one_is_never_reached(void **state)
{
	static const struct match any = {0}, udp4 = { 4, IPPROTO_UDP };
	struct dev *d = *state;
	struct obj rqt2, tir2;
	struct flow special;
	uint8_t udp[100];

	start_all();
	p.rqt = make_rqt(d, &p.rx.vq.id, 1);
	p.tir = make_tir(d, p.rqt.id);
	rqt2 = make_rqt(d, &rx2.vq.id, 1);
	tir2 = make_tir(d, rqt2.id);
	frame_make_udp4(udp, sizeof(udp), 2, 1, 2, 1000, 2000);
	assert_int_equal(flow_create(&special, d, 1, &udp4, &tir2), 0);
	assert_int_equal(flow_create(&p.flow, d, 0, &any, &p.tir), 0);
	assert_ptr_equal(send_frame(udp, sizeof(udp)), &p.rx);
	flow_destroy(&special);
	destroy(&tir2);
	destroy(&rqt2);
}

static void
a_rule_takes_only_what_it_matches(void **state)
{
	static const struct match ip6 = { 6, 0 }, tcp4 = { 4, IPPROTO_TCP };
	struct dev *d = *state;
	struct flow f6, f4;
	uint8_t udp[100];

	start_all();
	p.rqt = make_rqt(d, &p.rx.vq.id, 1);
	p.tir = make_tir(d, p.rqt.id);
	frame_make_udp4(udp, sizeof(udp), 2, 1, 2, 1000, 2000);
	assert_int_equal(flow_create(&f6, d, 0, &ip6, &p.tir), 0);
	assert_int_equal(flow_create(&f4, d, 0, &tcp4, &p.tir), 0);
	assert_null(send_frame(udp, sizeof(udp)));
	flow_destroy(&f4);
	flow_destroy(&f6);
}

static void
changing_the_rqt_moves_the_frames(void **state)
{
	uint8_t frame[100], in[RQT_IN_BYTES];
	size_t len;

	(void)state;
	start_all();
	pair_create_steering(&p);
	frame_make(frame, sizeof(frame), 1);
	assert_ptr_equal(send_frame(frame, sizeof(frame)), &p.rx);
	len = fill_modify_rqt(in, p.rqt.id, &rx2.vq.id, 1);
	assert_accepted(dev_modify(&p.rqt, in, len));
	assert_ptr_equal(send_frame(frame, sizeof(frame)), &rx2);
}

static void
frames_for_a_queue_that_is_not_ready_are_dropped(void **state)
{
	uint8_t frame[100];

	(void)state;
	pair_start(&p);
	pair_create_steering(&p);
	queue_go(&p.rx, SUSPEND);
	frame_make(frame, sizeof(frame), 1);
	assert_null(send_frame(frame, sizeof(frame)));
}

static void
frames_for_a_queue_that_was_destroyed_are_dropped(void **state)
{
	static const struct match any = {0};
	uint32_t ids[] = { rx2.vq.id, rx2.vq.id };
	uint8_t frame[100], in[RQT_IN_BYTES];
	size_t len;

	start_all();
	p.rqt = make_rqt(*state, ids, 2);
	p.tir = make_tir(*state, p.rqt.id);
	assert_int_equal(flow_create(&p.flow, *state, 0, &any, &p.tir), 0);
	frame_make(frame, sizeof(frame), 1);
	assert_ptr_equal(send_frame(frame, sizeof(frame)), &rx2);
	destroy(&rx2.vq);
	assert_null(send_frame(frame, sizeof(frame)));
	/* The table takes queues that live, as before. */
	ids[0] = ids[1] = p.rx.vq.id;
	len = fill_modify_rqt(in, p.rqt.id, ids, 2);
	assert_accepted(dev_modify(&p.rqt, in, len));
	assert_ptr_equal(send_frame(frame, sizeof(frame)), &p.rx);
}

/* A TIR that hashes addresses and ports over two queues. */
static void
spread(struct dev *d)
{
	static const struct match udp4 = { 4, IPPROTO_UDP };
	uint32_t ids[] = { p.rx.vq.id, rx2.vq.id };
	uint8_t in[PRM_BYTES(create_tir_in)];
	void *tirc = PRM_ADDR(create_tir_in, in, ctx);
	void *sel = PRM_ADDR(tirc, tirc, rx_hash_field_selector_outer);
	unsigned int i;

	start_all();
	p.rqt = make_rqt(d, ids, 2);
	fill_tir(d, in, p.rqt.id);
	for (i = 0; i < 10; i++)
		PRM_SET_AT(tirc, tirc, rx_hash_toeplitz_key, i, 0x6d5a56da * (i + 1) ^ i << 20);
	PRM_SET(rx_hash_field_select, sel, l3_prot_type, MLX5_L3_PROT_TYPE_IPV4);
	PRM_SET(rx_hash_field_select, sel, l4_prot_type, MLX5_L4_PROT_TYPE_UDP);
	PRM_SET(rx_hash_field_select, sel, selected_fields, MLX5_HASH_FIELD_SEL_SRC_IP |
		MLX5_HASH_FIELD_SEL_DST_IP | MLX5_HASH_FIELD_SEL_L4_SPORT |
		MLX5_HASH_FIELD_SEL_L4_DPORT);
	p.tir = create(d, in, sizeof(in));
	assert_int_equal(flow_create(&p.flow, d, 0, &udp4, &p.tir), 0);
}

static void
a_hash_spreads_flows_and_keeps_each_on_its_queue(void **state)
{
	unsigned int first = 0, second = 0, flow;
	struct queue *q;
	uint8_t udp[100];

	spread(*state);
	for (flow = 0; flow < 32; flow++) {
		frame_make_udp4(udp, sizeof(udp), flow, 1, 2, 1000 + flow, 2000 + flow / 4);
		q = send_frame(udp, sizeof(udp));
		assert_non_null(q);
		*(q == &p.rx ? &first : &second) += 1;
		frame_make_udp4(udp, sizeof(udp), ~flow, 1, 2, 1000 + flow, 2000 + flow / 4);
		assert_ptr_equal(send_frame(udp, sizeof(udp)), q);
	}
	assert_true(first > 4);
	assert_true(second > 4);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_rqt_with_an_unknown_queue_is_refused),
		TEST(an_rqt_with_a_transmit_queue_is_refused),
		TEST(an_rqt_with_a_dead_queue_is_refused),
		TEST(an_rqt_with_another_users_queue_is_refused),
		TEST(an_rqt_larger_than_the_device_allows_is_refused),
		TEST(an_rqt_with_more_entries_than_its_size_is_refused),
		TEST(an_rqt_without_entries_is_refused),
		TEST(an_rqt_whose_list_ends_early_is_refused),
		TEST(an_rqt_of_a_queue_type_that_does_not_exist_is_refused),
		TEST(an_rqt_can_change_its_queues_but_not_grow_over_its_size),
		TEST(an_rqt_is_busy_while_a_tir_uses_it),
		TEST(a_tir_without_rqt_is_refused),
		TEST(a_tir_with_an_unknown_rqt_is_refused),
		TEST(a_tir_with_a_dead_rqt_is_refused),
		TEST(a_tir_in_an_unknown_transport_domain_is_refused),
		TEST(a_tir_with_a_hash_that_does_not_exist_is_refused),
		TEST(a_tir_of_a_kind_that_does_not_exist_is_refused),
		TEST(a_transport_domain_is_busy_while_a_tir_is_in_it),
		TEST(a_tir_is_busy_while_a_rule_leads_to_it),
		TEST(without_a_rule_nothing_arrives),
		TEST(a_rule_leads_to_its_tir_until_it_is_destroyed),
		TEST(a_rule_of_lower_priority_number_comes_first),
		TEST(a_special_rule_behind_a_general_one_is_never_reached),
		TEST(a_rule_takes_only_what_it_matches),
		TEST(changing_the_rqt_moves_the_frames),
		TEST(frames_for_a_queue_that_is_not_ready_are_dropped),
		TEST(frames_for_a_queue_that_was_destroyed_are_dropped),
		TEST(a_hash_spreads_flows_and_keeps_each_on_its_queue),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

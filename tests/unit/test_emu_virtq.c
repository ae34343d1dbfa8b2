/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: completion queues, event queue pairs, virtio-net queue objects: what is refused,
 * states, and the way of an event from a used buffer to a CQ's event.
 */
#include "emu_card.h"

enum {
	RX = 0,
	TX = 1,
	SIZE = 16,
	LOG_SIZE = 2,              /* of event queues: 4 entries */
	HDR = EMU_VIRTIO_NET_HDR_MAX,
	FRAME = 60,
};

static void
quiet(void)
{
	usleep(CARD_QUIET_MS * 1000);
}

/* ---- completion queues ---- */

static void
a_cq_is_refused_for_what_it_can_not_be(void **state)
{
	static const size_t t = PRM_OFF(create_cq_in, cq_context);
	const struct refusal r[] = {
		CHANGE(0, create_cq_in, cq_umem_valid, 0, BAD_PARAM_ERR),
		CHANGE(0, create_cq_in, cq_umem_id, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(0, create_cq_in, cq_umem_offset, CARD_MEM - 64, BAD_PARAM_ERR),
		CHANGE(0, create_cq_in, cq_umem_offset, 8, BAD_PARAM_ERR),
		CHANGE(t, cqc, dbr_umem_valid, 0, BAD_PARAM_ERR),
		CHANGE(t, cqc, dbr_umem_id, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(t, cqc, dbr_addr, CARD_MEM, BAD_PARAM_ERR),
		CHANGE(t, cqc, dbr_addr, 4, BAD_PARAM_ERR),
		CHANGE(t, cqc, uar_page, 200, BAD_RES_ERR),
		CHANGE(t, cqc, c_eqn_or_apu_element, 1000, BAD_RES_ERR),
		CHANGE(t, cqc, log_cq_size, 31, LIM_ERR),
		CHANGE(t, cqc, cqe_sz, 1, BAD_PARAM_ERR),
		CHANGE(t, cqc, cqe_comp_en, 1, BAD_PARAM_ERR),
		CHANGE(t, cqc, apu_cq, 1, BAD_PARAM_ERR),
	};
	uint8_t in[PRM_BYTES(create_cq_in)];
	struct card *card = *state;
	struct evq e;

	evq_fill_cq(card, &e, LOG_SIZE, in);
	check_refusals(card, MLX5_CMD_OP_CREATE_CQ, in, sizeof(in), PRM_BYTES(create_cq_out), r,
		DIM(r));
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_CQ, in, sizeof(in),
		PRM_BYTES(create_cq_out)), 0);
	e.cqn = PRM_GET(create_cq_out, card->out, cqn);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DEALLOC_UAR, card->uar),
		MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_CQ, e.cqn), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_CQ, e.cqn),
		MLX5_CMD_STAT_BAD_RES_ERR);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DEALLOC_UAR, card->uar), 0);
}

/* ---- queue pairs ---- */

static void
a_qp_is_refused_for_what_it_can_not_be(void **state)
{
	static const size_t t = PRM_OFF(create_qp_in, qpc);
	const struct refusal sw[] = {
		CHANGE(0, create_qp_in, qpc_ext, 1, BAD_PARAM_ERR),
		CHANGE(0, create_qp_in, input_qpn, 5, BAD_PARAM_ERR),
		CHANGE(t, qpc, st, 2, BAD_PARAM_ERR),
		CHANGE(t, qpc, no_sq, 0, BAD_PARAM_ERR),
		CHANGE(t, qpc, pd, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(t, qpc, rq_type, MLX5_QP_SRQ_RQ, BAD_PARAM_ERR),
		/* With memory of its own it is no firmware QP. */
		CHANGE(t, qpc, rq_type, MLX5_QP_ZERO_LEN_RQ, BAD_PARAM_ERR),
		CHANGE(0, create_qp_in, wq_umem_valid, 0, BAD_PARAM_ERR),
		CHANGE(0, create_qp_in, wq_umem_id, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(0, create_qp_in, wq_umem_offset, CARD_MEM - 16, BAD_PARAM_ERR),
		CHANGE(t, qpc, dbr_umem_valid, 0, BAD_PARAM_ERR),
		CHANGE(t, qpc, dbr_umem_id, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(t, qpc, dbr_addr, CARD_MEM, BAD_PARAM_ERR),
		CHANGE(t, qpc, dbr_addr, 4, BAD_PARAM_ERR),
		CHANGE(t, qpc, cqn_rcv, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(t, qpc, uar_page, 200, BAD_RES_ERR),
	};
	uint8_t in[PRM_BYTES(create_qp_in)];
	struct card *card = *state;
	struct evq e;

	evq_create(card, &e, LOG_SIZE, true);
	evq_fill_sw(card, &e, in);
	check_refusals(card, MLX5_CMD_OP_CREATE_QP, in, sizeof(in), PRM_BYTES(create_qp_out), sw,
		DIM(sw));
}

static void
a_qp_changes_state_step_by_step(void **state)
{
	static const uint16_t ops[] = {
		MLX5_CMD_OP_RST2INIT_QP, MLX5_CMD_OP_INIT2RTR_QP, MLX5_CMD_OP_RTR2RTS_QP
	};
	struct card *card = *state;
	struct evq e;
	unsigned int at, op, i;

	evq_create(card, &e, LOG_SIZE, true);
	for (at = 0; at <= DIM(ops); at++) {
		for (op = 0; op < DIM(ops); op++) {
			assert_int_equal(qp_modify(card, MLX5_CMD_OP_2RST_QP, e.fw, 0), 0);
			for (i = 0; i < at; i++)
				assert_int_equal(qp_modify(card, ops[i], e.fw, e.sw), 0);
			assert_int_equal(qp_modify(card, ops[op], e.fw, e.sw),
				op == at ? 0 : MLX5_CMD_STAT_BAD_QP_STATE_ERR);
			assert_int_equal(qp_state(card, e.fw), at + (op == at));
		}
	}
	assert_int_equal(qp_modify(card, MLX5_CMD_OP_2RST_QP, NO_SUCH_ID, 0),
		MLX5_CMD_STAT_BAD_RES_ERR);
}

static void
a_qp_connects_to_another_one_of_the_device(void **state)
{
	const size_t t = PRM_OFF(init2rtr_qp_in, qpc);
	const size_t path = t + PRM_OFF(qpc, primary_address_path);
	uint8_t in[PRM_BYTES(init2rtr_qp_in)] = {0};
	void *qpc = PRM_ADDR(init2rtr_qp_in, in, qpc);
	struct card *card = *state;
	struct evq e;

	evq_create(card, &e, LOG_SIZE, true);
	PRM_SET(init2rtr_qp_in, in, qpn, e.fw);
	PRM_SET(qpc, qpc, pm_state, MLX5_QP_PM_STATE_MIGRATED);
	PRM_SET(qpc, qpc, mtu, MLX5_QP_MTU_256);
	PRM_SET(qpc, qpc, remote_qpn, e.sw);
	PRM_SET(ads, PRM_ADDR(qpc, qpc, primary_address_path), vhca_port_num, 1);
	PRM_SET(ads, PRM_ADDR(qpc, qpc, primary_address_path), fl, 1);
	{
		const struct refusal r[] = {
			CHANGE(path, ads, vhca_port_num, 0, BAD_PARAM_ERR),
			CHANGE(t, qpc, pm_state, 0, BAD_PARAM_ERR),
		};

		check_refusals(card, MLX5_CMD_OP_RST2INIT_QP, in, sizeof(in),
			PRM_BYTES(rst2init_qp_out), r, DIM(r));
	}
	assert_int_equal(qp_modify(card, MLX5_CMD_OP_RST2INIT_QP, e.fw, 0), 0);
	{
		const struct refusal r[] = {
			CHANGE(path, ads, vhca_port_num, 2, BAD_PARAM_ERR),
			CHANGE(path, ads, fl, 0, BAD_PARAM_ERR),
			CHANGE(t, qpc, mtu, 0, BAD_PARAM_ERR),
			CHANGE(t, qpc, remote_qpn, NO_SUCH_ID, BAD_RES_ERR),
		};

		check_refusals(card, MLX5_CMD_OP_INIT2RTR_QP, in, sizeof(in),
			PRM_BYTES(init2rtr_qp_out), r, DIM(r));
	}
	assert_int_equal(qp_modify(card, MLX5_CMD_OP_INIT2RTR_QP, e.fw, e.fw),
		MLX5_CMD_STAT_BAD_RES_ERR);
}

static void
what_a_qp_needs_is_busy_while_it_lives(void **state)
{
	struct card *card = *state;
	struct evq e;

	evq_create(card, &e, LOG_SIZE, true);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_CQ, e.cqn), MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_QP, e.sw), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_CQ, e.cqn), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_QP, e.fw), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DEALLOC_UAR, card->uar), 0);
}

/* ---- the way of an event ---- */

/* A transmit queue with an event queue pair, ready: each buffer that it uses owes an event. */
struct sender {
	struct card *card;
	struct evq e;
	struct queue q;
	uint16_t sent;
};

static void
sender_start(struct sender *s, struct card *card, bool collapsed)
{
	s->card = card;
	s->sent = 0;
	evq_create(card, &s->e, LOG_SIZE, collapsed);
	evq_start(card, &s->e);
	queue_create_with(card, &s->q, TX, SIZE, &s->e, 0);
	assert_int_equal(queue_set_state(&s->q, MLX5_VIRTQ_STATE_RDY), 0);
}

static void
send_one(struct sender *s)
{
	struct seg seg = { card_alloc(s->card, HDR + FRAME, 2), HDR + FRAME };

	queue_add(&s->q, RING_DIRECT, &seg, 1, false);
	s->sent++;
	card_kick(s->card);
	WAIT_FOR(queue_used_idx(&s->q) == s->sent);
	queue_query(&s->q); /* the turn is over */
}

static unsigned int
completions(struct sender *s)
{
	return card_events(s->card, MLX5_EVENT_TYPE_COMP, s->e.cqn);
}

static void
entries_have_number_and_owner(void **state)
{
	struct sender s;
	const uint8_t *cqe;
	uint32_t qpn;
	unsigned int i;

	sender_start(&s, *state, false);
	for (i = 0; i < 10; i++) {
		send_one(&s);
		cqe = s.e.cqe + i % 4 * MLX5_CQE_BYTES;
		assert_int_equal(evq_counter(&s.e, i % 4), i);
		assert_int_equal(cqe[MLX5_CQE_OFF_OP_OWN], MLX5_CQE_OP_RESP_SEND << 4 |
			(i / 4 & 1));
		memcpy(&qpn, cqe + MLX5_CQE_OFF_QPN, sizeof(qpn));
		assert_int_equal(be32toh(qpn), s.e.sw);
		evq_consume(&s.e, i + 1);
		evq_post(&s.e, i + 1 + 4);
	}
}

/* As NVIDIA's driver uses it: the counter in the one entry says how many there were. */
static void
a_collapsed_queue_always_writes_its_first_entry(void **state)
{
	struct sender s;
	unsigned int i;

	sender_start(&s, *state, true);
	for (i = 0; i < 10; i++) {
		send_one(&s);
		assert_int_equal(evq_counter(&s.e, 0), i);
		assert_int_equal(evq_counter(&s.e, 1), UINT16_MAX);
		evq_consume(&s.e, i + 1);
		evq_post(&s.e, i + 1 + 4);
	}
}

static void
an_armed_queue_raises_one_event(void **state)
{
	struct sender s;

	sender_start(&s, *state, true);
	send_one(&s);
	assert_int_equal(completions(&s), 0);
	/* Armed behind what happened: nothing until the next. */
	evq_arm(s.card, &s.e, 1);
	quiet();
	assert_int_equal(completions(&s), 0);
	send_one(&s);
	assert_int_equal(completions(&s), 1);
	send_one(&s);
	assert_int_equal(completions(&s), 1);
	/* Armed before what happened: at once. */
	evq_arm(s.card, &s.e, 2);
	WAIT_FOR(completions(&s) == 2);
	send_one(&s);
	assert_int_equal(completions(&s), 2);
}

static void
a_doorbell_is_a_hint_for_all_queues_of_its_page(void **state)
{
	struct sender s;
	struct evq other;

	sender_start(&s, *state, true);
	evq_create(s.card, &other, LOG_SIZE, true);
	/* Our doorbell is overwritten before the device can see it. */
	s.e.cq_dbr[MLX5_CQ_DBR_ARM] = htobe32(1u << MLX5_CQ_DBR_ARM_SN_SHIFT);
	evq_arm(s.card, &other, 0);
	quiet();
	send_one(&s);
	assert_int_equal(completions(&s), 1);
}

static void
an_event_waits_for_a_receive_wqe(void **state)
{
	struct sender s;
	unsigned int i;

	sender_start(&s, *state, true);
	for (i = 0; i < 6; i++)
		send_one(&s);
	/* Four WQEs: four events went through, of the rest one is owed. */
	assert_int_equal(evq_counter(&s.e, 0), 3);
	evq_consume(&s.e, 4);
	evq_post(&s.e, 5);
	WAIT_FOR(evq_counter(&s.e, 0) == 4);
	evq_consume(&s.e, 5);
	evq_post(&s.e, 8);
	quiet();
	assert_int_equal(evq_counter(&s.e, 0), 4);
}

static void
an_event_waits_over_a_suspension(void **state)
{
	struct sender s;
	unsigned int i;

	sender_start(&s, *state, true);
	for (i = 0; i < 5; i++)
		send_one(&s);
	assert_int_equal(queue_set_state(&s.q, MLX5_VIRTQ_STATE_SUSPEND), 0);
	evq_consume(&s.e, 4);
	evq_post(&s.e, 8);
	quiet();
	assert_int_equal(evq_counter(&s.e, 0), 3);
	assert_int_equal(queue_set_state(&s.q, MLX5_VIRTQ_STATE_RDY), 0);
	WAIT_FOR(evq_counter(&s.e, 0) == 4);
}

/* The counters of a receive queue are 16 bits: 65,536 events on, nothing is different. */
static void
counters_wrap(void **state)
{
	struct sender s;
	unsigned int i;

	sender_start(&s, *state, true);
	pthread_mutex_lock(&s.card->dev->lock);
	for (i = 0; i < 65534; i++) {
		evq_post(&s.e, i + 4);
		evq_consume(&s.e, i);
		assert_true(emu_qp_event(s.card->dev, s.e.fw));
	}
	pthread_mutex_unlock(&s.card->dev->lock);
	for (; i < 65540; i++) {
		evq_consume(&s.e, i);
		evq_post(&s.e, i + 4);
		send_one(&s);
		assert_int_equal(evq_counter(&s.e, 0), i & 0xffff);
	}
}

static void
an_overrun_breaks_the_queue(void **state)
{
	struct sender s;
	unsigned int i;

	sender_start(&s, *state, true);
	evq_arm(s.card, &s.e, 0);
	evq_post(&s.e, 100);
	/* Four entries, and nobody consumes. */
	for (i = 0; i < 6; i++)
		send_one(&s);
	assert_int_equal(evq_counter(&s.e, 0), 3);
	assert_int_equal(card_events(s.card, MLX5_EVENT_TYPE_CQ_ERROR, s.e.cqn), 1);
	assert_int_equal(qp_state(s.card, s.e.sw), MLX5_QP_STATE_ERR);
	assert_int_equal(queue_state(&s.q), MLX5_VIRTQ_STATE_RDY);
}

static void
an_overrun_may_be_ignored(void **state)
{
	uint8_t in[PRM_BYTES(create_cq_in)], qp[PRM_BYTES(create_qp_in)];
	struct card *card = *state;
	struct sender s = { .card = card };
	unsigned int i;

	evq_create(card, &s.e, LOG_SIZE, true);
	i = s.e.fw;
	evq_fill_cq(card, &s.e, LOG_SIZE, in);
	PRM_SET(cqc, PRM_ADDR(create_cq_in, in, cq_context), oi, 1);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_CQ, in, sizeof(in),
		PRM_BYTES(create_cq_out)), 0);
	s.e.cqn = PRM_GET(create_cq_out, card->out, cqn);
	s.e.fw = i;
	evq_fill_sw(card, &s.e, qp);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_QP, qp, sizeof(qp),
		PRM_BYTES(create_qp_out)), 0);
	s.e.sw = PRM_GET(create_qp_out, card->out, qpn);
	evq_start(card, &s.e);
	evq_post(&s.e, 100);
	queue_create_with(card, &s.q, TX, SIZE, &s.e, 0);
	assert_int_equal(queue_set_state(&s.q, MLX5_VIRTQ_STATE_RDY), 0);
	for (i = 0; i < 6; i++)
		send_one(&s);
	assert_int_equal(evq_counter(&s.e, 5 % 4), 5);
	assert_int_equal(card_events(card, MLX5_EVENT_TYPE_CQ_ERROR, s.e.cqn), 0);
}

/* NVIDIA's driver keeps queue pairs over the destruction of their queue, and resets them then. */
static void
destroying_a_queue_breaks_its_firmware_qp_until_it_is_reset(void **state)
{
	struct sender s;
	unsigned int i;

	sender_start(&s, *state, true);
	send_one(&s);
	assert_int_equal(card_destroy(s.card, MLX5_CMD_OP_DESTROY_QP, s.e.fw),
		MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(queue_set_state(&s.q, MLX5_VIRTQ_STATE_SUSPEND), 0);
	assert_int_equal(queue_destroy(&s.q), 0);
	assert_int_equal(qp_state(s.card, s.e.fw), MLX5_QP_STATE_ERR);
	assert_int_equal(qp_state(s.card, s.e.sw), MLX5_QP_STATE_RTS);
	assert_int_equal(qp_modify(s.card, MLX5_CMD_OP_RST2INIT_QP, s.e.fw, s.e.sw),
		MLX5_CMD_STAT_BAD_QP_STATE_ERR);
	assert_int_equal(qp_modify(s.card, MLX5_CMD_OP_2RST_QP, s.e.fw, 0), 0);
	assert_int_equal(qp_modify(s.card, MLX5_CMD_OP_2RST_QP, s.e.sw, 0), 0);
	evq_start(s.card, &s.e);
	queue_create_with(s.card, &s.q, TX, SIZE, &s.e, 0);
	assert_int_equal(queue_set_state(&s.q, MLX5_VIRTQ_STATE_RDY), 0);
	s.sent = 0;
	evq_consume(&s.e, 1);
	/* WQEs count from 0 again; the CQ goes on. */
	for (i = 0; i < 3; i++) {
		send_one(&s);
		assert_int_equal(evq_counter(&s.e, 0), i);
	}
}

/* ---- queues: creation ---- */

static void
a_queue_is_refused_for_what_it_can_not_be(void **state)
{
	static const size_t o = PRM_OFF(create_virtio_net_q_in, obj_context);
	static const size_t q = PRM_OFF(create_virtio_net_q_in, obj_context) +
		PRM_OFF(virtio_net_q_object, virtio_q_context);
	const struct refusal r[] = {
		CHANGE(o, virtio_net_q_object, state, MLX5_VIRTQ_STATE_RDY, BAD_PARAM_ERR),
		CHANGE(q, virtio_q, queue_index, 512, LIM_ERR),
		CHANGE(q, virtio_q, queue_index, 2, BAD_RES_STATE_ERR),
		CHANGE(q, virtio_q, queue_size, 48, BAD_PARAM_ERR),
		CHANGE(q, virtio_q, virtio_q_type, MLX5_VIRTQ_TYPE_PACKED + 1, BAD_PARAM_ERR),
		CHANGE(q, virtio_q, offload_type, MLX5_VIRTQ_OFFLOAD_DESC_TUNNEL, BAD_PARAM_ERR),
		CHANGE(o, virtio_net_q_object, queue_feature_bit_mask_2_0, 1, BAD_PARAM_ERR),
		CHANGE(q, virtio_q, event_mode, MLX5_VIRTQ_EVENT_MODE_MSIX, BAD_PARAM_ERR),
		CHANGE(q, virtio_q, event_qpn_or_msix, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(q, virtio_q, virtio_q_mkey, 0xfffff000, BAD_RES_ERR),
		CHANGE(q, virtio_q, desc_group_mkey, 0xfffff000, BAD_RES_ERR),
		CHANGE(q, virtio_q, desc_addr, CARD_GPA + 8, BAD_PARAM_ERR),
		CHANGE(q, virtio_q, umem_2_id, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(q, virtio_q, umem_3_size, 4096, BAD_PARAM_ERR),
		CHANGE(q, virtio_q, umem_1_offset, 4096, BAD_PARAM_ERR),
		CHANGE(q, virtio_q, counter_set_id, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(q, virtio_q, pd, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(o, virtio_net_q_object, tisn_or_qpn, NO_SUCH_ID, BAD_RES_ERR),
		CHANGE(q, virtio_q, full_emulation, 1, BAD_PARAM_ERR),
		CHANGE(o, virtio_net_q_object, dirty_bitmap_dump_enable, 1, BAD_PARAM_ERR),
	};
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	struct card *card = *state;
	struct queue other, vq;
	struct evq e;

	evq_create(card, &e, LOG_SIZE, true);
	queue_create(card, &other, 2, SIZE);
	queue_fill(card, &vq, RX, SIZE, in);
	PRM_SET(virtio_q, ctx, event_mode, MLX5_VIRTQ_EVENT_MODE_QP);
	PRM_SET(virtio_q, ctx, event_qpn_or_msix, e.fw);
	check_refusals(card, MLX5_CMD_OP_CREATE_GENERAL_OBJECT, in, sizeof(in),
		PRM_BYTES(general_obj_out_cmd_hdr), r, DIM(r));
	/* The driver's end is no firmware QP, and the firmware's serves one queue. */
	PRM_SET(virtio_q, ctx, event_qpn_or_msix, e.sw);
	assert_int_equal(queue_try_create(&vq, in), MLX5_CMD_STAT_BAD_RES_STATE_ERR);
	PRM_SET(virtio_q, ctx, event_qpn_or_msix, e.fw);
	assert_int_equal(queue_try_create(&vq, in), 0);
	PRM_SET(virtio_q, ctx, queue_index, 4);
	assert_int_equal(queue_try_create(&vq, in), MLX5_CMD_STAT_BAD_RES_STATE_ERR);
}

static void
capabilities_that_are_taken_away_are_missed(void **state)
{
	static const char *const caps[] = { "virtio_version_1_0", "eth_frame_offload_type",
		"event_mode", "virtio_queue_type" };
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	struct card *card;
	struct queue q;
	char spec[64];
	size_t i;

	(void)state;
	for (i = 0; i < DIM(caps); i++) {
		snprintf(spec, sizeof(spec), "caps=-%s", caps[i]);
		card = card_new(spec);
		queue_fill(card, &q, RX, SIZE, in);
		assert_int_equal(queue_try_create(&q, in), MLX5_CMD_STAT_BAD_PARAM_ERR);
		card_free(card);
	}
}

/* NVIDIA's driver creates queues in advance with all four, and takes away later what its guest did
 * not negotiate. */
static void
each_offload_needs_its_capability(void **state)
{
	static const struct { const char *cap; uint32_t off; } offloads[] = {
		{ "tso_ipv4", PRM_virtio_net_q_object__tso_ipv4__OFF },
		{ "tso_ipv6", PRM_virtio_net_q_object__tso_ipv6__OFF },
		{ "tx_csum", PRM_virtio_net_q_object__tx_csum__OFF },
		{ "rx_csum", PRM_virtio_net_q_object__rx_csum__OFF },
	};
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	struct card *card;
	struct queue q;
	char spec[64];
	size_t i, j;

	(void)state;
	for (i = 0; i < DIM(offloads); i++) {
		snprintf(spec, sizeof(spec), "caps=-%s", offloads[i].cap);
		card = card_new(spec);
		queue_fill(card, &q, RX, SIZE, in);
		for (j = 0; j < DIM(offloads); j++)
			prm_set(obj, offloads[j].off, 1, 1);
		assert_int_equal(queue_try_create(&q, in), MLX5_CMD_STAT_BAD_PARAM_ERR);
		prm_set(obj, offloads[i].off, 1, 0);
		assert_int_equal(queue_try_create(&q, in), 0);
		for (j = 0; j < DIM(offloads); j++)
			assert_int_equal(prm_get(queue_query(&q), offloads[j].off, 1), i != j);
		queue_fill_modify(&q, MLX5_VIRTQ_MODIFY_QUEUE_FEATURES, in);
		assert_int_equal(queue_modify(&q, in), 0);
		for (j = 0; j < DIM(offloads); j++)
			assert_int_equal(prm_get(queue_query(&q), offloads[j].off, 1), 0);
		prm_set(obj, offloads[i].off, 1, 1);
		assert_int_equal(queue_modify(&q, in), MLX5_CMD_STAT_BAD_PARAM_ERR);
		card_free(card);
	}
}

static void
what_a_queue_needs_is_busy_while_it_lives(void **state)
{
	struct card *card = *state;
	uint32_t counters = card_counters(card);
	struct queue q;

	queue_create_with(card, &q, TX, SIZE, NULL, counters);
	assert_int_equal(card_destroy_general(card, MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS, counters),
		MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_TIS, card->tis),
		MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DEALLOC_PD, card->pd),
		MLX5_CMD_STAT_RES_BUSY);
	/* Its key does not have to live: what it does then is its first access that faults. */
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_MKEY,
		card->mkey >> EMU_MKEY_INDEX_SHIFT), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_UMEM, card->umem),
		MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(queue_destroy(&q), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_UMEM, card->umem), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_TIS, card->tis), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DEALLOC_PD, card->pd), 0);
	assert_int_equal(card_destroy_general(card, MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS, counters), 0);
	assert_int_equal(card_destroy_general(card, MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS, counters),
		MLX5_CMD_STAT_BAD_RES_ERR);
	assert_int_equal(queue_destroy(&q), MLX5_CMD_STAT_BAD_RES_ERR);
}

/* ---- queues: states ---- */

static void
bring_to(struct card *card, struct queue *q, unsigned int state)
{
	queue_create(card, q, TX, SIZE);
	if (state == MLX5_VIRTQ_STATE_INIT)
		return;
	assert_int_equal(queue_set_state(q, MLX5_VIRTQ_STATE_RDY), 0);
	if (state == MLX5_VIRTQ_STATE_SUSPEND)
		assert_int_equal(queue_set_state(q, MLX5_VIRTQ_STATE_SUSPEND), 0);
	if (state == MLX5_VIRTQ_STATE_ERR) {
		queue_add_head(q, SIZE);
		card_kick(card);
		WAIT_FOR(card_events(card, MLX5_EVENT_TYPE_OBJECT_CHANGE, q->id) > 0);
	}
	assert_int_equal(queue_state(q), state);
}

static void
check_moves(struct card *card, bool resume)
{
	const bool allowed[4][4] = {
		[MLX5_VIRTQ_STATE_INIT] = { [MLX5_VIRTQ_STATE_RDY] = true },
		[MLX5_VIRTQ_STATE_RDY] = { [MLX5_VIRTQ_STATE_SUSPEND] = true },
		[MLX5_VIRTQ_STATE_SUSPEND] = { [MLX5_VIRTQ_STATE_RDY] = resume },
	};
	unsigned int from, to;
	struct queue q;

	for (from = 0; from < 4; from++) {
		for (to = 0; to < 6; to++) {
			bring_to(card, &q, from);
			if (to < 4 && allowed[from][to]) {
				assert_int_equal(queue_set_state(&q, to), 0);
				assert_int_equal(queue_state(&q), to);
			} else {
				assert_int_equal(queue_set_state(&q, to),
					MLX5_CMD_STAT_BAD_RES_STATE_ERR);
				assert_int_equal(queue_state(&q), from);
			}
			/* Whatever it is in, it can be destroyed. */
			assert_int_equal(queue_destroy(&q), 0);
		}
	}
}

static void
every_change_of_state_is_as_the_table_says(void **state)
{
	struct card *card = card_new("caps=-freeze_to_rdy_supported");

	check_moves(*state, true);
	check_moves(card, false);
	card_free(card);
}

static void
a_queue_without_a_key_does_not_become_ready(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	struct card *card = *state;
	struct queue q;

	queue_fill(card, &q, RX, SIZE, in);
	PRM_SET(virtio_q, ctx, virtio_q_mkey, 0);
	assert_int_equal(queue_try_create(&q, in), 0);
	assert_int_equal(queue_set_state(&q, MLX5_VIRTQ_STATE_RDY), MLX5_CMD_STAT_BAD_RES_ERR);
	/* NVIDIA's driver gives a queue that it created ahead all at once. */
	queue_fill_modify(&q, MLX5_VIRTQ_MODIFY_STATE | MLX5_VIRTQ_MODIFY_Q_MKEY |
		MLX5_VIRTQ_MODIFY_ADDRS, in);
	PRM_SET(virtio_net_q_object, obj, state, MLX5_VIRTQ_STATE_RDY);
	PRM_SET(virtio_q, ctx, virtio_q_mkey, card->mkey);
	PRM_SET(virtio_q, ctx, desc_addr, card_gpa(card, q.desc));
	PRM_SET(virtio_q, ctx, available_addr, card_gpa(card, q.avail));
	PRM_SET(virtio_q, ctx, used_addr, card_gpa(card, q.used));
	assert_int_equal(queue_modify(&q, in), 0);
	assert_int_equal(queue_state(&q), MLX5_VIRTQ_STATE_RDY);
	/* Nor does it come back with a key that is gone; but suspending is always possible. */
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_MKEY,
		card->mkey >> EMU_MKEY_INDEX_SHIFT), 0);
	assert_int_equal(queue_set_state(&q, MLX5_VIRTQ_STATE_SUSPEND), 0);
	assert_int_equal(queue_set_state(&q, MLX5_VIRTQ_STATE_RDY), MLX5_CMD_STAT_BAD_RES_ERR);
}

/* ---- queues: modification ---- */

/* What can be selected, and the capability that it needs. */
static const struct {
	uint64_t bit;
	const char *cap;
	bool in_rdy;
} fields[] = {
	{ MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS, NULL, true },
	{ MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE, NULL, true },
	{ MLX5_VIRTQ_MODIFY_QUEUE_PERIOD, "vnet_modify_ext", false },
	{ MLX5_VIRTQ_MODIFY_ADDRS, "virtio_net_q_addr_modify", false },
	{ MLX5_VIRTQ_MODIFY_AVAIL_IDX, "virtio_q_index_modify", false },
	{ MLX5_VIRTQ_MODIFY_USED_IDX, "virtio_q_index_modify", false },
	{ MLX5_VIRTQ_MODIFY_Q_TYPE, "vnet_modify_ext", false },
	{ MLX5_VIRTQ_MODIFY_VIRTIO_VERSION, "vnet_modify_ext", false },
	{ MLX5_VIRTQ_MODIFY_Q_MKEY, "vnet_modify_ext", false },
	{ MLX5_VIRTQ_MODIFY_QUEUE_FEATURES, "vnet_modify_ext", false },
	{ MLX5_VIRTQ_MODIFY_EVENT_MODE, "vnet_modify_ext", false },
};

static void
fields_change_where_they_may(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	struct card *card = *state;
	unsigned int from;
	struct queue q;
	uint8_t want;
	size_t i;

	for (from = 0; from < 4; from++) {
		bring_to(card, &q, from);
		for (i = 0; i < DIM(fields); i++) {
			want = MLX5_CMD_STAT_OK;
			if (from == MLX5_VIRTQ_STATE_ERR ||
					(from == MLX5_VIRTQ_STATE_RDY && !fields[i].in_rdy))
				want = MLX5_CMD_STAT_BAD_RES_STATE_ERR;
			queue_fill_modify(&q, fields[i].bit, in);
			assert_int_equal(queue_modify(&q, in), want);
			assert_int_equal(queue_state(&q), from);
		}
		assert_int_equal(queue_destroy(&q), 0);
	}
	for (i = 0; i < DIM(fields); i++) {
		char spec[64];

		if (fields[i].cap == NULL)
			continue;
		snprintf(spec, sizeof(spec), "caps=-%s", fields[i].cap);
		card = card_new(spec);
		queue_create(card, &q, TX, SIZE);
		queue_fill_modify(&q, fields[i].bit, in);
		assert_int_equal(queue_modify(&q, in), MLX5_CMD_STAT_BAD_PARAM_ERR);
		card_free(card);
	}
}

static void
a_selection_must_mean_something(void **state)
{
	static const uint64_t none[] = { 0, 1 << 1, 1 << 2, 1 << 15, UINT64_C(1) << 63,
		1 << 1 | MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE,
		MLX5_VIRTQ_MODIFY_DESC_GROUP_MKEY };
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	struct queue q;
	size_t i;

	queue_create(*state, &q, TX, SIZE);
	for (i = 0; i < DIM(none); i++) {
		queue_fill_modify(&q, none[i], in);
		assert_int_equal(queue_modify(&q, in), MLX5_CMD_STAT_BAD_PARAM_ERR);
	}
}

static void
a_modification_happens_as_a_whole_or_not_at_all(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	struct card *card = *state;
	const void *now;
	struct queue q;

	queue_create(card, &q, TX, SIZE);
	queue_fill_modify(&q, MLX5_VIRTQ_MODIFY_AVAIL_IDX | MLX5_VIRTQ_MODIFY_Q_MKEY |
		MLX5_VIRTQ_MODIFY_STATE, in);
	PRM_SET(virtio_net_q_object, obj, hw_available_index, 7);
	PRM_SET(virtio_net_q_object, obj, state, MLX5_VIRTQ_STATE_RDY);
	PRM_SET(virtio_q, ctx, virtio_q_mkey, 0xfffff000);
	assert_int_equal(queue_modify(&q, in), MLX5_CMD_STAT_BAD_RES_ERR);
	PRM_SET(virtio_q, ctx, virtio_q_mkey, card->mkey);
	PRM_SET(virtio_net_q_object, obj, state, MLX5_VIRTQ_STATE_SUSPEND);
	assert_int_equal(queue_modify(&q, in), MLX5_CMD_STAT_BAD_RES_STATE_ERR);
	now = queue_query(&q);
	assert_int_equal(PRM_GET(virtio_net_q_object, now, hw_available_index), 0);
	assert_int_equal(PRM_GET(virtio_net_q_object, now, state), MLX5_VIRTQ_STATE_INIT);
	/* What is not selected is not looked at: not even a size that there can't be. */
	PRM_SET(virtio_net_q_object, obj, state, MLX5_VIRTQ_STATE_RDY);
	PRM_SET(virtio_q, ctx, queue_size, 3);
	PRM_SET(virtio_q, ctx, used_addr, 1);
	assert_int_equal(queue_modify(&q, in), 0);
	now = queue_query(&q);
	assert_int_equal(PRM_GET(virtio_net_q_object, now, hw_available_index), 7);
	assert_int_equal(PRM_GET(virtio_net_q_object, now, hw_used_index), 0);
	now = PRM_ADDR(virtio_net_q_object, now, virtio_q_context);
	assert_int_equal(PRM_GET(virtio_q, now, queue_size), SIZE);
	assert_true(PRM_GET(virtio_q, now, used_addr) == card_gpa(card, q.used));
}

static void
a_queue_may_choose_another_event_qp(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	struct card *card = *state;
	struct evq a, b;
	struct queue q;

	evq_create(card, &a, LOG_SIZE, true);
	evq_create(card, &b, LOG_SIZE, true);
	queue_create_with(card, &q, TX, SIZE, &a, 0);
	queue_fill_modify(&q, MLX5_VIRTQ_MODIFY_EVENT_MODE, in);
	PRM_SET(virtio_q, ctx, event_mode, MLX5_VIRTQ_EVENT_MODE_QP);
	PRM_SET(virtio_q, ctx, event_qpn_or_msix, a.fw);
	assert_int_equal(queue_modify(&q, in), 0);
	PRM_SET(virtio_q, ctx, event_qpn_or_msix, b.fw);
	assert_int_equal(queue_modify(&q, in), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_QP, b.fw), MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(qp_state(card, a.fw), MLX5_QP_STATE_RST);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_QP, a.fw), 0);
	PRM_SET(virtio_q, ctx, event_mode, MLX5_VIRTQ_EVENT_MODE_NO_MSIX);
	assert_int_equal(queue_modify(&q, in), 0);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_QP, b.fw), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, card_setup, card_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_cq_is_refused_for_what_it_can_not_be),
		TEST(a_qp_is_refused_for_what_it_can_not_be),
		TEST(a_qp_changes_state_step_by_step),
		TEST(a_qp_connects_to_another_one_of_the_device),
		TEST(what_a_qp_needs_is_busy_while_it_lives),
		TEST(entries_have_number_and_owner),
		TEST(a_collapsed_queue_always_writes_its_first_entry),
		TEST(an_armed_queue_raises_one_event),
		TEST(a_doorbell_is_a_hint_for_all_queues_of_its_page),
		TEST(an_event_waits_for_a_receive_wqe),
		TEST(an_event_waits_over_a_suspension),
		TEST(counters_wrap),
		TEST(an_overrun_breaks_the_queue),
		TEST(an_overrun_may_be_ignored),
		TEST(destroying_a_queue_breaks_its_firmware_qp_until_it_is_reset),
		TEST(a_queue_is_refused_for_what_it_can_not_be),
		cmocka_unit_test(capabilities_that_are_taken_away_are_missed),
		cmocka_unit_test(each_offload_needs_its_capability),
		TEST(what_a_queue_needs_is_busy_while_it_lives),
		TEST(every_change_of_state_is_as_the_table_says),
		TEST(a_queue_without_a_key_does_not_become_ready),
		TEST(fields_change_where_they_may),
		TEST(a_selection_must_mean_something),
		TEST(a_modification_happens_as_a_whole_or_not_at_all),
		TEST(a_queue_may_choose_another_event_qp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

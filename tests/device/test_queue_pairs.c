/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completion queues and event queue pairs: what is refused, and the states of a queue pair.
 */
#include "events.h"

static struct evq evq;
static struct umem umem;               /* for mailboxes that have to be refused */

static int
setup(void **state)
{
	evq_create(&evq, *state);
	umem = umem_create(*state, 4096);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	evq_discard(&evq);
	umem_discard(&umem);
	return 0;
}

/* ---- CQ: one field of a good create is changed ---- */

enum { CQ_LOG_SIZE = 4, CQ_DBR_OFF = 2048 };

#define CQ_REFUSED(name, stat, ...) \
	static void \
	name(void **state) \
	{ \
		uint8_t in[PRM_BYTES(create_cq_in)]; \
		void *cqc = PRM_ADDR(create_cq_in, in, cq_context); \
		(void)cqc; \
		fill_cq(*state, in, umem.id, CQ_DBR_OFF, CQ_LOG_SIZE); \
		__VA_ARGS__; \
		assert_create_refused(*state, in, sizeof(in), stat); \
	}

CQ_REFUSED(a_cq_in_an_unknown_umem_is_refused, BAD_RES_ERR,
	PRM_SET(create_cq_in, in, cq_umem_id, NO_SUCH_ID(24)))
CQ_REFUSED(a_cq_larger_than_its_umem_is_refused, BAD_PARAM_ERR,
	PRM_SET(cqc, cqc, log_cq_size, 7))
CQ_REFUSED(a_cq_that_reaches_over_its_umems_end_is_refused, BAD_PARAM_ERR,
	PRM_SET(create_cq_in, in, cq_umem_offset, 4096 - 64))
CQ_REFUSED(a_cq_whose_offset_wraps_around_is_refused, BAD_PARAM_ERR,
	PRM_SET(create_cq_in, in, cq_umem_offset, UINT64_MAX - 63))
CQ_REFUSED(a_cq_larger_than_the_device_allows_is_refused, LIM_ERR,
	PRM_SET(cqc, cqc, log_cq_size, 31))
CQ_REFUSED(a_cq_with_a_doorbell_record_in_an_unknown_umem_is_refused, BAD_RES_ERR,
	PRM_SET(cqc, cqc, dbr_umem_id, NO_SUCH_ID(24)))
CQ_REFUSED(a_cq_with_a_doorbell_record_outside_its_umem_is_refused, BAD_PARAM_ERR,
	PRM_SET(cqc, cqc, dbr_addr, 4096))
CQ_REFUSED(a_cq_with_an_unknown_uar_is_refused, BAD_RES_ERR,
	PRM_SET(cqc, cqc, uar_page, NO_SUCH_ID(24)))

static void
a_cq_with_an_unknown_event_queue_is_stopped_by_the_kernel(void **state)
{
	uint8_t in[PRM_BYTES(create_cq_in)];
	struct obj o = {0};
	struct verdict v;

	/* Events pass through the kernel: it looks the queue up first. */
	fill_cq(*state, in, umem.id, CQ_DBR_OFF, CQ_LOG_SIZE);
	PRM_SET(cqc, PRM_ADDR(create_cq_in, in, cq_context), c_eqn_or_apu_element, 0xfffffd);
	v = dev_create(*state, in, sizeof(in), &o);
	discard(&o);
	assert_refused_by_kernel(v);
	assert_int_equal(v.err, ENOENT);
}

static void
a_cq_is_busy_while_a_qp_completes_into_it(void **state)
{
	(void)state;
	assert_busy(&evq.cq);
}

/* ---- QP ---- */

#define QP_REFUSED(name, stat, ...) \
	static void \
	name(void **state) \
	{ \
		uint8_t in[PRM_BYTES(create_qp_in)]; \
		void *qpc = PRM_ADDR(create_qp_in, in, qpc); \
		(void)qpc; \
		fill_sw_qp(*state, in, evq.cq.id, umem.id, CQ_DBR_OFF, 4); \
		__VA_ARGS__; \
		assert_create_refused(*state, in, sizeof(in), stat); \
	}

QP_REFUSED(a_qp_in_an_unknown_protection_domain_is_refused, BAD_RES_ERR,
	PRM_SET(qpc, qpc, pd, NO_SUCH_ID(24)))
QP_REFUSED(a_qp_with_an_unknown_cq_is_refused, BAD_RES_ERR,
	PRM_SET(qpc, qpc, cqn_rcv, NO_SUCH_ID(24)))
QP_REFUSED(a_qp_in_an_unknown_umem_is_refused, BAD_RES_ERR,
	PRM_SET(create_qp_in, in, wq_umem_id, NO_SUCH_ID(24)))
QP_REFUSED(a_qp_larger_than_its_umem_is_refused, BAD_PARAM_ERR,
	PRM_SET(qpc, qpc, log_rq_size, 9))
QP_REFUSED(a_qp_that_reaches_over_its_umems_end_is_refused, BAD_PARAM_ERR,
	PRM_SET(create_qp_in, in, wq_umem_offset, 4096 - 64))
QP_REFUSED(a_qp_with_a_doorbell_record_in_an_unknown_umem_is_refused, BAD_RES_ERR,
	PRM_SET(qpc, qpc, dbr_umem_id, NO_SUCH_ID(24)))
QP_REFUSED(a_qp_with_a_doorbell_record_outside_its_umem_is_refused, BAD_PARAM_ERR,
	PRM_SET(qpc, qpc, dbr_addr, 4096))
QP_REFUSED(a_qp_with_an_unknown_uar_is_refused, BAD_RES_ERR,
	PRM_SET(qpc, qpc, uar_page, NO_SUCH_ID(24)))

static void
a_qp_of_another_users_protection_domain_is_refused(void **state)
{
	struct dev *d = *state, *other = dev_open(false);
	uint8_t in[PRM_BYTES(create_qp_in)];
	struct obj o = {0};
	struct verdict v;

	assert_non_null(other);
	fill_fw_qp(d, in);
	PRM_SET(qpc, PRM_ADDR(create_qp_in, in, qpc), pd, other->pdn);
	v = dev_create(d, in, sizeof(in), &o);
	discard(&o);
	assert_int_equal(dev_close(other), 0);
	assert_refused(v, BAD_RES_ERR);
}

static void
a_qp_of_another_users_cq_is_refused(void **state)
{
	struct dev *other = dev_open(false);
	uint8_t in[PRM_BYTES(create_qp_in)];
	struct obj o = {0};
	struct verdict v;
	struct evq theirs;

	assert_non_null(other);
	evq_create_cq(&theirs, other);
	fill_sw_qp(*state, in, theirs.cq.id, umem.id, CQ_DBR_OFF, 4);
	v = dev_create(*state, in, sizeof(in), &o);
	discard(&o);
	evq_discard(&theirs);
	assert_int_equal(dev_close(other), 0);
	assert_refused(v, BAD_RES_ERR);
}

static void
a_qp_with_a_doorbell_record_that_is_not_aligned_is_refused(void **state)
{
	uint8_t in[PRM_BYTES(create_qp_in)];

	fill_sw_qp(*state, in, evq.cq.id, umem.id, CQ_DBR_OFF + 4, 4);
	assert_create_refused(*state, in, sizeof(in), BAD_PARAM_ERR);
}

/* ---- states of a QP ---- */

static const uint16_t steps[] = {
	MLX5_CMD_OP_RST2INIT_QP, MLX5_CMD_OP_INIT2RTR_QP, MLX5_CMD_OP_RTR2RTS_QP,
	MLX5_CMD_OP_2RST_QP,
};

static const uint8_t states[] = {
	MLX5_QP_STATE_RST, MLX5_QP_STATE_INIT, MLX5_QP_STATE_RTR, MLX5_QP_STATE_RTS,
};

static void
bring_to(struct obj *qp, uint8_t want, uint32_t remote)
{
	size_t i;

	assert_accepted(qp_step(qp, MLX5_CMD_OP_2RST_QP, 0));
	for (i = 0; states[i] != want; i++)
		assert_accepted(qp_step(qp, steps[i], remote));
	assert_int_equal(qp_state(qp), want);
}

/* Each of the three steps leads from one state to the next; 2RST leads back from everywhere. */
static void
a_qp_takes_each_step_from_its_state_and_from_no_other(void **state)
{
	struct verdict v;
	size_t s, t;

	(void)state;
	for (s = 0; s < DIM(states); s++) {
		for (t = 0; t < DIM(steps); t++) {
			bring_to(&evq.sw_qp, states[s], evq.fw_qp.id);
			v = qp_step(&evq.sw_qp, steps[t], evq.fw_qp.id);
			if (steps[t] == MLX5_CMD_OP_2RST_QP) {
				assert_accepted(v);
				assert_int_equal(qp_state(&evq.sw_qp), MLX5_QP_STATE_RST);
			} else if (s == t) {
				assert_accepted(v);
				assert_int_equal(qp_state(&evq.sw_qp), states[s + 1]);
			} else {
				assert_refused(v, BAD_QP_STATE_ERR);
				assert_int_equal(qp_state(&evq.sw_qp), states[s]);
			}
		}
	}
}

static void
a_new_qp_is_in_reset(void **state)
{
	(void)state;
	assert_int_equal(qp_state(&evq.fw_qp), MLX5_QP_STATE_RST);
	assert_int_equal(qp_state(&evq.sw_qp), MLX5_QP_STATE_RST);
}

static void
a_step_of_one_qp_with_anothers_number_is_stopped_by_the_kernel(void **state)
{
	uint8_t in[PRM_BYTES(rst2init_qp_in)];
	size_t len = fill_qp_step(in, MLX5_CMD_OP_RST2INIT_QP, evq.fw_qp.id, 0);

	(void)state;
	assert_refused_by_kernel(dev_modify(&evq.sw_qp, in, len));
	assert_int_equal(qp_state(&evq.fw_qp), MLX5_QP_STATE_RST);
}

static void
two_qps_connect(void **state)
{
	(void)state;
	evq_connect(&evq);
	assert_int_equal(qp_state(&evq.fw_qp), MLX5_QP_STATE_RTS);
	assert_int_equal(qp_state(&evq.sw_qp), MLX5_QP_STATE_RTS);
	assert_int_equal(evq_completions(&evq), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_cq_in_an_unknown_umem_is_refused),
		TEST(a_cq_larger_than_its_umem_is_refused),
		TEST(a_cq_that_reaches_over_its_umems_end_is_refused),
		TEST(a_cq_whose_offset_wraps_around_is_refused),
		TEST(a_cq_larger_than_the_device_allows_is_refused),
		TEST(a_cq_with_a_doorbell_record_in_an_unknown_umem_is_refused),
		TEST(a_cq_with_a_doorbell_record_outside_its_umem_is_refused),
		TEST(a_cq_with_an_unknown_event_queue_is_stopped_by_the_kernel),
		TEST(a_cq_with_an_unknown_uar_is_refused),
		TEST(a_cq_is_busy_while_a_qp_completes_into_it),
		TEST(a_qp_in_an_unknown_protection_domain_is_refused),
		TEST(a_qp_with_an_unknown_cq_is_refused),
		TEST(a_qp_in_an_unknown_umem_is_refused),
		TEST(a_qp_larger_than_its_umem_is_refused),
		TEST(a_qp_that_reaches_over_its_umems_end_is_refused),
		TEST(a_qp_with_a_doorbell_record_in_an_unknown_umem_is_refused),
		TEST(a_qp_with_a_doorbell_record_outside_its_umem_is_refused),
		TEST(a_qp_with_an_unknown_uar_is_refused),
		TEST(a_qp_of_another_users_protection_domain_is_refused),
		TEST(a_qp_of_another_users_cq_is_refused),
		TEST(a_qp_with_a_doorbell_record_that_is_not_aligned_is_refused),
		TEST(a_new_qp_is_in_reset),
		TEST(a_qp_takes_each_step_from_its_state_and_from_no_other),
		TEST(a_step_of_one_qp_with_anothers_number_is_stopped_by_the_kernel),
		TEST(two_qps_connect),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands in general, capabilities, and the objects that others stand on: protection domains,
 * transport domains, TISes, umems, counters.
 */
#include <sys/mman.h>

#include "device.h"

/* ---- mailboxes ---- */

static void
an_opcode_that_does_not_exist_is_refused(void **state)
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};
	uint8_t out[PRM_BYTES(general_obj_out_cmd_hdr)];

	/* The kernel lets the numbers from 0xb00 to 0xcff pass to firmware unseen. */
	PRM_SET(general_obj_in_cmd_hdr, in, opcode, 0xcff);
	assert_refused(dev_cmd(*state, in, sizeof(in), out, sizeof(out)), BAD_OP_ERR);
}

static void
a_create_that_creates_nothing_is_stopped_by_the_kernel(void **state)
{
	uint8_t in[PRM_BYTES(query_hca_cap_in)] = {0};
	struct obj o = {0};
	struct verdict v;

	PRM_SET(query_hca_cap_in, in, opcode, MLX5_CMD_OP_QUERY_HCA_CAP);
	v = dev_create(*state, in, sizeof(in), &o);
	assert_null(o.obj);
	assert_refused_by_kernel(v);
}

static void
an_input_shorter_than_the_command_is_refused(void **state)
{
	struct dev *d = *state;
	uint8_t tis[PRM_BYTES(create_tis_in)];

	fill_tis(tis, d->tdn);
	assert_create_refused(d, tis, sizeof(tis) - 4, BAD_INP_LEN_ERR);
	assert_create_refused(d, tis, PRM_BYTES(general_obj_in_cmd_hdr), BAD_INP_LEN_ERR);
}

static void
an_output_shorter_than_the_answer_is_refused(void **state)
{
	uint8_t in[PRM_BYTES(query_hca_cap_in)] = {0};
	uint8_t out[PRM_BYTES(general_obj_out_cmd_hdr)];

	PRM_SET(query_hca_cap_in, in, opcode, MLX5_CMD_OP_QUERY_HCA_CAP);
	PRM_SET(query_hca_cap_in, in, op_mod, MLX5_HCA_CAP_GENERAL | MLX5_HCA_CAP_OPMOD_CUR);
	assert_refused(dev_cmd(*state, in, sizeof(in), out, sizeof(out)), BAD_OUTP_LEN_ERR);
}

static void
an_op_mod_that_the_command_does_not_have_is_refused(void **state)
{
	struct dev *d = *state;
	uint8_t tis[PRM_BYTES(create_tis_in)];

	fill_tis(tis, d->tdn);
	PRM_SET(create_tis_in, tis, op_mod, 1);
	assert_create_refused(d, tis, sizeof(tis), BAD_PARAM_ERR);
}

static void
a_general_object_of_unknown_type_is_refused(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)];

	fill_counters(in);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, 0x3e);
	assert_create_refused(*state, in, sizeof(in), BAD_PARAM_ERR);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, 0xffff);
	assert_create_refused(*state, in, sizeof(in), BAD_PARAM_ERR);
}

static void
refusals_of_one_command_have_syndromes_that_tell_them_apart(void **state)
{
	struct dev *d = *state;
	uint8_t tis[PRM_BYTES(create_tis_in)];
	struct obj o = {0};
	struct verdict td, mod;

	fill_tis(tis, NO_SUCH_ID(24));
	td = dev_create(d, tis, sizeof(tis), &o);
	fill_tis(tis, d->tdn);
	PRM_SET(create_tis_in, tis, op_mod, 1);
	mod = dev_create(d, tis, sizeof(tis), &o);
	assert_int_not_equal(td.syndrome, 0);
	assert_int_not_equal(mod.syndrome, 0);
	assert_int_not_equal(td.syndrome, mod.syndrome);
}

/* ---- capabilities ---- */

static struct verdict
query_cap(struct dev *d, uint16_t op_mod, uint8_t out[PRM_BYTES(query_hca_cap_out)])
{
	uint8_t in[PRM_BYTES(query_hca_cap_in)] = {0};

	PRM_SET(query_hca_cap_in, in, opcode, MLX5_CMD_OP_QUERY_HCA_CAP);
	PRM_SET(query_hca_cap_in, in, op_mod, op_mod);
	return dev_cmd(d, in, sizeof(in), out, PRM_BYTES(query_hca_cap_out));
}

static void
capabilities_of_an_unknown_type_are_refused(void **state)
{
	uint8_t out[PRM_BYTES(query_hca_cap_out)];

	assert_refused(query_cap(*state, 0x3f << 1 | MLX5_HCA_CAP_OPMOD_CUR, out), BAD_PARAM_ERR);
}

static void
the_largest_capabilities_are_no_less_than_the_current_ones(void **state)
{
	struct dev *d = *state;
	uint8_t max[PRM_BYTES(query_hca_cap_out)];
	const void *cap = PRM_ADDR(query_hca_cap_out, max, capability);

	assert_accepted(query_cap(d, MLX5_HCA_CAP_GENERAL, max));
	assert_true(PRM_GET(cmd_hca_cap, cap, log_max_qp) >= HCA_CAP(d, log_max_qp));
	assert_true(PRM_GET(cmd_hca_cap, cap, log_max_mkey) >= HCA_CAP(d, log_max_mkey));
	assert_true((PRM_GET(cmd_hca_cap, cap, general_obj_types) &
		HCA_CAP(d, general_obj_types)) == HCA_CAP(d, general_obj_types));
}

static void
the_device_says_that_it_has_virtio_net_queues_and_what_they_take(void **state)
{
	struct dev *d = *state;

	assert_true(HCA_CAP(d, general_obj_types) >> MLX5_OBJ_TYPE_VIRTIO_NET_Q & 1);
	assert_true(HCA_CAP(d, general_obj_types) >> MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS & 1);
	assert_true(VIRTIO_CAP(d, eth_frame_offload_type));
	assert_true(VIRTIO_CAP(d, virtio_version_1_0));
	assert_true(VIRTIO_CAP(d, max_num_virtio_queues) >= 2);
	assert_true(VIRTIO_CAP(d, virtio_queue_type) >> MLX5_VIRTQ_TYPE_SPLIT & 1);
	assert_true(VIRTIO_CAP(d, event_mode) >> MLX5_VIRTQ_EVENT_MODE_QP & 1);
	assert_true(VIRTIO_CAP(d, umem_1_buffer_param_a) > 0);
	assert_true(VIRTIO_CAP(d, umem_2_buffer_param_a) > 0);
	assert_true(VIRTIO_CAP(d, umem_3_buffer_param_a) > 0);
}

/* ---- transport domains and TISes ---- */

static void
a_tis_of_an_unknown_transport_domain_is_refused(void **state)
{
	uint8_t in[PRM_BYTES(create_tis_in)];

	fill_tis(in, NO_SUCH_ID(24));
	assert_create_refused(*state, in, sizeof(in), BAD_RES_ERR);
}

static void
a_tis_of_another_users_transport_domain_is_refused(void **state)
{
	struct dev *d = *state, *other = dev_open(false);
	uint8_t in[PRM_BYTES(create_tis_in)];
	struct obj o = {0};
	struct verdict v;

	assert_non_null(other);
	fill_tis(in, other->tdn);
	v = dev_create(d, in, sizeof(in), &o);
	discard(&o);
	assert_int_equal(dev_close(other), 0);
	assert_refused(v, BAD_RES_ERR);
}

static void
a_transport_domain_is_busy_while_a_tis_is_in_it(void **state)
{
	struct dev *d = *state;
	uint8_t td_in[PRM_BYTES(alloc_transport_domain_in)], tis_in[PRM_BYTES(create_tis_in)];
	struct obj td, tis;

	fill_td(td_in);
	td = create(d, td_in, sizeof(td_in));
	fill_tis(tis_in, td.id);
	tis = create(d, tis_in, sizeof(tis_in));
	assert_busy(&td);
	destroy(&tis);
	destroy(&td);
}

static void
objects_of_one_type_have_numbers_of_their_own(void **state)
{
	struct dev *d = *state;
	uint8_t in[PRM_BYTES(alloc_transport_domain_in)];
	struct obj a, b;

	fill_td(in);
	a = create(d, in, sizeof(in));
	b = create(d, in, sizeof(in));
	assert_int_not_equal(a.id, b.id);
	assert_int_not_equal(a.id, d->tdn);
	destroy(&b);
	destroy(&a);
}

/* ---- protection domains ---- */

static void
a_protection_domain_is_busy_while_a_qp_is_in_it(void **state)
{
	struct dev *d = *state;
	uint8_t pd_in[PRM_BYTES(alloc_pd_in)], qp_in[PRM_BYTES(create_qp_in)];
	struct obj pd, qp;

	fill_pd(pd_in);
	pd = create(d, pd_in, sizeof(pd_in));
	fill_fw_qp(d, qp_in);
	PRM_SET(qpc, PRM_ADDR(create_qp_in, qp_in, qpc), pd, pd.id);
	qp = create(d, qp_in, sizeof(qp_in));
	assert_busy(&pd);
	destroy(&qp);
	destroy(&pd);
}

static void
a_protection_domain_is_busy_while_a_key_is_in_it(void **state)
{
	struct dev *d = *state;
	uint8_t pd_in[PRM_BYTES(alloc_pd_in)], in[PRM_BYTES(create_mkey_in)];
	struct umem u = umem_create(d, 8192);
	struct obj pd, mkey;

	fill_pd(pd_in);
	pd = create(d, pd_in, sizeof(pd_in));
	fill_umem_mkey(d, in, u.id, 0, 8192);
	PRM_SET(mkc, PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry), pd, pd.id);
	mkey = create(d, in, sizeof(in));
	assert_busy(&pd);
	destroy(&mkey);
	destroy(&pd);
	umem_destroy(&u);
}

static void
a_protection_domain_of_verbs_is_busy_while_a_memory_region_is_in_it(void **state)
{
	struct dev *d = *state;
	struct ibv_pd *pd = ibv_alloc_pd(d->ctx);
	static uint8_t page[4096] __attribute__((aligned(4096)));
	struct ibv_mr *mr;

	assert_non_null(pd);
	mr = ibv_reg_mr(pd, page, sizeof(page), IBV_ACCESS_LOCAL_WRITE);
	assert_non_null(mr);
	assert_int_equal(ibv_dealloc_pd(pd), EBUSY);
	assert_int_equal(ibv_dereg_mr(mr), 0);
	assert_int_equal(ibv_dealloc_pd(pd), 0);
}

/* ---- umems ---- */

static void
a_umem_of_memory_that_is_not_there_is_refused(void **state)
{
	struct dev *d = *state;
	void *hole = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct mlx5dv_devx_umem *u;

	assert_ptr_not_equal(hole, MAP_FAILED);
	munmap(hole, 8192);
	errno = 0;
	u = mlx5dv_devx_umem_reg(d->ctx, hole, 8192, IBV_ACCESS_LOCAL_WRITE);
	assert_null(u);
	assert_int_equal(errno, EFAULT);
}

static void
a_writable_umem_of_memory_that_is_read_only_is_refused(void **state)
{
	struct dev *d = *state;
	void *ro = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct mlx5dv_devx_umem *u;

	assert_ptr_not_equal(ro, MAP_FAILED);
	errno = 0;
	u = mlx5dv_devx_umem_reg(d->ctx, ro, 4096, IBV_ACCESS_LOCAL_WRITE);
	assert_null(u);
	assert_int_equal(errno, EFAULT);
	munmap(ro, 4096);
}

static void
a_umem_is_busy_while_a_cq_lives_in_it(void **state)
{
	struct dev *d = *state;
	uint8_t in[PRM_BYTES(create_cq_in)];
	struct umem u = umem_create(d, 4096);
	struct obj cq;

	fill_cq(d, in, u.id, 2048, 4);
	cq = create(d, in, sizeof(in));
	assert_int_equal(mlx5dv_devx_umem_dereg(u.umem), EBUSY);
	destroy(&cq);
	umem_destroy(&u);
}

/* ---- counters of virtqueues ---- */

static struct verdict
query_counters(struct obj *o, uint32_t id, uint8_t out[PRM_BYTES(query_virtio_q_counters_out)])
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};

	PRM_SET(general_obj_in_cmd_hdr, in, opcode, MLX5_CMD_OP_QUERY_GENERAL_OBJECT);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_id, id);
	return dev_query(o, in, sizeof(in), out, PRM_BYTES(query_virtio_q_counters_out));
}

static void
new_counters_are_zero(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)];
	uint8_t out[PRM_BYTES(query_virtio_q_counters_out)];
	const void *c = PRM_ADDR(query_virtio_q_counters_out, out, counters);
	struct obj o;

	fill_counters(in);
	o = create(*state, in, sizeof(in));
	assert_accepted(query_counters(&o, o.id, out));
	assert_true(PRM_GET(virtio_q_counters, c, received_desc) == 0);
	assert_true(PRM_GET(virtio_q_counters, c, completed_desc) == 0);
	assert_int_equal(PRM_GET(virtio_q_counters, c, error_cqes), 0);
	assert_int_equal(PRM_GET(virtio_q_counters, c, bad_desc_errors), 0);
	assert_int_equal(PRM_GET(virtio_q_counters, c, exceed_max_chain), 0);
	assert_int_equal(PRM_GET(virtio_q_counters, c, invalid_buffer), 0);
	destroy(&o);
}

static void
a_query_through_one_object_for_anothers_id_is_stopped_by_the_kernel(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)];
	uint8_t out[PRM_BYTES(query_virtio_q_counters_out)];
	struct obj a, b;
	struct verdict v;

	fill_counters(in);
	a = create(*state, in, sizeof(in));
	b = create(*state, in, sizeof(in));
	v = query_counters(&a, b.id, out);
	destroy(&b);
	destroy(&a);
	assert_refused_by_kernel(v);
}

#define TEST(f) cmocka_unit_test(f)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_opcode_that_does_not_exist_is_refused),
		TEST(a_create_that_creates_nothing_is_stopped_by_the_kernel),
		TEST(an_input_shorter_than_the_command_is_refused),
		TEST(an_output_shorter_than_the_answer_is_refused),
		TEST(an_op_mod_that_the_command_does_not_have_is_refused),
		TEST(a_general_object_of_unknown_type_is_refused),
		TEST(refusals_of_one_command_have_syndromes_that_tell_them_apart),
		TEST(capabilities_of_an_unknown_type_are_refused),
		TEST(the_largest_capabilities_are_no_less_than_the_current_ones),
		TEST(the_device_says_that_it_has_virtio_net_queues_and_what_they_take),
		TEST(a_tis_of_an_unknown_transport_domain_is_refused),
		TEST(a_tis_of_another_users_transport_domain_is_refused),
		TEST(a_transport_domain_is_busy_while_a_tis_is_in_it),
		TEST(objects_of_one_type_have_numbers_of_their_own),
		TEST(a_protection_domain_is_busy_while_a_qp_is_in_it),
		TEST(a_protection_domain_is_busy_while_a_key_is_in_it),
		TEST(a_protection_domain_of_verbs_is_busy_while_a_memory_region_is_in_it),
		TEST(a_umem_of_memory_that_is_not_there_is_refused),
		TEST(a_writable_umem_of_memory_that_is_read_only_is_refused),
		TEST(a_umem_is_busy_while_a_cq_lives_in_it),
		TEST(new_counters_are_zero),
		TEST(a_query_through_one_object_for_anothers_id_is_stopped_by_the_kernel),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive steering through libmlx5's direct rules, on the root table: the way NVIDIA's driver takes.
 */
#include "traffic.h"

/* What a rule is made of. */
struct rule {
	struct mlx5dv_dr_domain *domain;
	struct mlx5dv_dr_table *table;
	struct mlx5dv_dr_matcher *matcher;
	struct mlx5dv_dr_action *action;
	struct mlx5dv_dr_rule *rule;
};

static struct pair p;
static struct rule r;

/* Everything is matched. */
static struct {
	struct mlx5dv_flow_match_parameters head;
	uint8_t bytes[PRM_BYTES(fte_match_param)];
} any = { .head.match_sz = sizeof(any.bytes) };

static int
setup(void **state)
{
	r = (struct rule) {0};
	pair_create(&p, *state, 0, 0);
	flow_destroy(&p.flow);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (r.rule != NULL)
		mlx5dv_dr_rule_destroy(r.rule);
	if (r.action != NULL)
		mlx5dv_dr_action_destroy(r.action);
	if (r.matcher != NULL)
		mlx5dv_dr_matcher_destroy(r.matcher);
	if (r.table != NULL)
		mlx5dv_dr_table_destroy(r.table);
	if (r.domain != NULL)
		mlx5dv_dr_domain_destroy(r.domain);
	pair_discard(&p);
	return 0;
}

static void
make_table(struct dev *d)
{
	r.domain = mlx5dv_dr_domain_create(d->ctx, MLX5DV_DR_DOMAIN_TYPE_NIC_RX);
	assert_non_null(r.domain);
	r.table = mlx5dv_dr_table_create(r.domain, 0);
	assert_non_null(r.table);
}

/* A rule in the pair's TIR. */
static void
make_rule(struct dev *d)
{
	make_table(d);
	r.matcher = mlx5dv_dr_matcher_create(r.table, 0, 0, &any.head);
	assert_non_null(r.matcher);
	r.action = mlx5dv_dr_action_create_dest_devx_tir(p.tir.obj);
	assert_non_null(r.action);
	r.rule = mlx5dv_dr_rule_create(r.matcher, &any.head, 1, &r.action);
	assert_non_null(r.rule);
}

/* ---- what is refused ---- */

static void
a_domain_of_a_kind_that_does_not_exist_is_refused(void **state)
{
	struct dev *d = *state;

	errno = 0;
	assert_null(mlx5dv_dr_domain_create(d->ctx, MLX5DV_DR_DOMAIN_TYPE_FDB + 1));
	assert_int_equal(errno, EINVAL);
}

/* Does the device let software own its receive tables? */
static bool
software_owns_tables(struct dev *d)
{
	uint8_t in[PRM_BYTES(query_hca_cap_in)] = {0}, out[PRM_BYTES(query_hca_cap_out)];
	const void *page = PRM_ADDR(query_hca_cap_out, out, capability), *rx;

	PRM_SET(query_hca_cap_in, in, opcode, MLX5_CMD_OP_QUERY_HCA_CAP);
	PRM_SET(query_hca_cap_in, in, op_mod, MLX5_HCA_CAP_NIC_FLOW_TABLE | MLX5_HCA_CAP_OPMOD_CUR);
	assert_accepted(dev_cmd(d, in, sizeof(in), out, sizeof(out)));
	rx = PRM_ADDR(flow_table_nic_cap, page, flow_table_properties_nic_receive);
	assert_int_equal(PRM_GET(flow_table_prop_layout, rx, ft_support), 1);
	return PRM_GET(flow_table_prop_layout, rx, sw_owner) != 0 ||
		PRM_GET(flow_table_prop_layout, rx, sw_owner_v2) != 0;
}

static void
a_table_of_another_level_needs_a_device_that_software_steers(void **state)
{
	if (software_owns_tables(*state))
		skip();
	make_table(*state);
	errno = 0;
	assert_null(mlx5dv_dr_table_create(r.domain, 1));
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(mlx5dv_dr_domain_sync(r.domain, MLX5DV_DR_DOMAIN_SYNC_FLAGS_SW),
		EOPNOTSUPP);
}

static void
an_action_leads_to_a_tir_and_nothing_else(void **state)
{
	(void)state;
	errno = 0;
	assert_null(mlx5dv_dr_action_create_dest_devx_tir(p.rqt.obj));
	assert_int_equal(errno, EINVAL);
}

static void
an_action_leads_to_no_root_table(void **state)
{
	make_table(*state);
	errno = 0;
	assert_null(mlx5dv_dr_action_create_dest_table(r.table));
	assert_int_equal(errno, EINVAL);
}

static void
a_rule_without_a_destination_is_refused(void **state)
{
	make_table(*state);
	r.matcher = mlx5dv_dr_matcher_create(r.table, 0, 0, &any.head);
	assert_non_null(r.matcher);
	r.action = mlx5dv_dr_action_create_tag(7);
	assert_non_null(r.action);
	errno = 0;
	assert_null(mlx5dv_dr_rule_create(r.matcher, &any.head, 1, &r.action));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(mlx5dv_dr_action_destroy(r.action), 0);
	r.action = NULL;
}

static void
a_matcher_of_no_size_is_refused(void **state)
{
	struct mlx5dv_flow_match_parameters none = {0};

	make_table(*state);
	errno = 0;
	assert_null(mlx5dv_dr_matcher_create(r.table, 0, 0, &none));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(mlx5dv_dr_table_destroy(r.table), 0);
	r.table = NULL;
}

/* ---- what works ---- */

static void
a_rule_leads_to_its_tir_until_it_is_destroyed(void **state)
{
	make_rule(*state);
	pair_start(&p);
	pair_post_rx(&p, 8);
	pair_exchange(&p, 4);
	assert_int_equal(mlx5dv_dr_rule_destroy(r.rule), 0);
	r.rule = NULL;
	pair_post_tx(&p, FRAME_MIN);
	queue_kick(&p.tx);
	sleep_us(QUIET_MS * 1000);
	assert_int_equal(p.rx.ring.used->idx, 4);
}

static void
what_a_rule_needs_is_busy(void **state)
{
	make_rule(*state);
	assert_busy(&p.tir);
	assert_int_equal(mlx5dv_dr_action_destroy(r.action), EBUSY);
	assert_int_equal(mlx5dv_dr_matcher_destroy(r.matcher), EBUSY);
	assert_int_equal(mlx5dv_dr_table_destroy(r.table), EBUSY);
	assert_int_equal(mlx5dv_dr_domain_destroy(r.domain), EBUSY);
}

static void
one_action_serves_several_rules(void **state)
{
	struct mlx5dv_dr_rule *second;

	make_rule(*state);
	second = mlx5dv_dr_rule_create(r.matcher, &any.head, 1, &r.action);
	assert_non_null(second);
	assert_int_equal(mlx5dv_dr_rule_destroy(r.rule), 0);
	r.rule = second;
	assert_int_equal(mlx5dv_dr_action_destroy(r.action), EBUSY);
	pair_start(&p);
	pair_post_rx(&p, 4);
	pair_exchange(&p, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_domain_of_a_kind_that_does_not_exist_is_refused),
		TEST(a_table_of_another_level_needs_a_device_that_software_steers),
		TEST(an_action_leads_to_a_tir_and_nothing_else),
		TEST(an_action_leads_to_no_root_table),
		TEST(a_rule_without_a_destination_is_refused),
		TEST(a_matcher_of_no_size_is_refused),
		TEST(a_rule_leads_to_its_tir_until_it_is_destroyed),
		TEST(what_a_rule_needs_is_busy),
		TEST(one_action_serves_several_rules),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

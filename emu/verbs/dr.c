/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Direct rules, as libmlx5 has them on a device that does not let software own its flow tables:
 * domains with their root table alone, whose matchers and rules are the kernel's (flow.c).
 * Domains, tables and actions are memory of the library; what they cost of the device is what
 * making a domain asks of it.
 *
 * Threads: any; counts of users are atomic. Nothing but the kernel's objects is known to the
 * context: as with the real library, a program that closes it first leaks the rest.
 */
#include <stdlib.h>
#include <time.h>

#include "face.h"

struct mlx5dv_dr_domain {
	struct face_ctx *ctx;
	enum mlx5dv_dr_domain_type type;
	atomic_uint users;         /* tables */
};

struct mlx5dv_dr_table {
	struct mlx5dv_dr_domain *domain;
	atomic_uint users;         /* matchers */
};

struct mlx5dv_dr_matcher {
	struct mlx5dv_dr_table *table;
	struct mlx5dv_flow_matcher *kernel;
	atomic_uint users;         /* rules */
};

struct mlx5dv_dr_action {
	struct mlx5dv_flow_action_attr attr;
	atomic_uint users;         /* rules */
};

struct mlx5dv_dr_rule {
	struct mlx5dv_dr_matcher *matcher;
	struct ibv_flow *kernel;
	size_t num_actions;
	struct mlx5dv_dr_action *actions[];
};

/* What a query takes on a card, roughly. */
enum { QUERY_NS = 300000 };

/* ---- domains ---- */

static int
query_page(struct face_ctx *ctx, uint16_t page)
{
	uint8_t in[PRM_BYTES(query_hca_cap_in)] = { 0 };
	uint8_t out[PRM_BYTES(query_hca_cap_out)];

	PRM_SET(query_hca_cap_in, in, opcode, MLX5_CMD_OP_QUERY_HCA_CAP);
	PRM_SET(query_hca_cap_in, in, op_mod, page | MLX5_HCA_CAP_OPMOD_CUR);
	return mlx5dv_devx_general_cmd(&ctx->verbs.context, in, sizeof(in), out, sizeof(out));
}

/*
 * What libmlx5 asks of the device to see whether software may own its tables. A page that is not
 * there ends the questions: root tables do without. On a card each is a system call that sleeps
 * until firmware has answered, and the program's other threads get the processor meanwhile.
 * NVIDIA's vDPA driver can't do without that: a task that it hands to a thread that has not gone to
 * sleep yet is forgotten.
 */
static void
query_device(struct face_ctx *ctx)
{
	const struct timespec answer = { .tv_nsec = QUERY_NS };
	static const uint16_t pages[] = {
		MLX5_HCA_CAP_GENERAL, MLX5_HCA_CAP_NIC_FLOW_TABLE, MLX5_HCA_CAP_DEVICE_MEMORY,
	};
	size_t i;

	for (i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		nanosleep(&answer, NULL);
		if (query_page(ctx, pages[i]) != 0)
			return;
	}
}

struct mlx5dv_dr_domain *
mlx5dv_dr_domain_create(struct ibv_context *context, enum mlx5dv_dr_domain_type type)
{
	struct mlx5dv_dr_domain *domain;

	if (type > MLX5DV_DR_DOMAIN_TYPE_FDB)
		return face_null(-EINVAL);
	domain = calloc(1, sizeof(*domain));
	if (domain == NULL)
		return face_null(-ENOMEM);
	domain->ctx = face_ctx_of(context);
	domain->type = type;
	query_device(domain->ctx);
	emu_alive_add("dr_domain", 1);
	return domain;
}

int
mlx5dv_dr_domain_destroy(struct mlx5dv_dr_domain *domain)
{
	if (domain->users > 0)
		return EBUSY;
	free(domain);
	emu_alive_add("dr_domain", -1);
	return 0;
}

/* Orders changes to tables that software owns. */
int
mlx5dv_dr_domain_sync(struct mlx5dv_dr_domain *domain, uint32_t flags)
{
	(void)domain;
	(void)flags;
	return face_errno(-EOPNOTSUPP);
}

/* Both are about rules in tables that software owns. */
void
mlx5dv_dr_domain_set_reclaim_device_memory(struct mlx5dv_dr_domain *domain, bool enable)
{
	(void)domain;
	(void)enable;
}

void
mlx5dv_dr_domain_allow_duplicate_rules(struct mlx5dv_dr_domain *domain, bool allow)
{
	(void)domain;
	(void)allow;
}

/* ---- tables ---- */

struct mlx5dv_dr_table *
mlx5dv_dr_table_create(struct mlx5dv_dr_domain *domain, uint32_t level)
{
	struct mlx5dv_dr_table *table;

	/* Level 0 is the kernel's; others are for software to own. */
	if (level != 0)
		return face_null(FACE_UNSUPPORTED("mlx5dv_dr_table_create() but for level 0"));
	table = calloc(1, sizeof(*table));
	if (table == NULL)
		return face_null(-ENOMEM);
	table->domain = domain;
	domain->users++;
	emu_alive_add("dr_table", 1);
	return table;
}

int
mlx5dv_dr_table_destroy(struct mlx5dv_dr_table *table)
{
	if (table->users > 0)
		return EBUSY;
	table->domain->users--;
	free(table);
	emu_alive_add("dr_table", -1);
	return 0;
}

/* ---- matchers ---- */

static enum mlx5dv_flow_table_type
table_type(const struct mlx5dv_dr_domain *domain)
{
	switch (domain->type) {
	case MLX5DV_DR_DOMAIN_TYPE_NIC_RX:
		return MLX5DV_FLOW_TABLE_TYPE_NIC_RX;
	case MLX5DV_DR_DOMAIN_TYPE_NIC_TX:
		return MLX5DV_FLOW_TABLE_TYPE_NIC_TX;
	default:
		return MLX5DV_FLOW_TABLE_TYPE_FDB;
	}
}

struct mlx5dv_dr_matcher *
mlx5dv_dr_matcher_create(struct mlx5dv_dr_table *table, uint16_t priority,
		uint8_t match_criteria_enable, struct mlx5dv_flow_match_parameters *mask)
{
	struct mlx5dv_flow_matcher_attr attr = {
		.type = IBV_FLOW_ATTR_NORMAL,
		.priority = priority,
		.match_criteria_enable = match_criteria_enable,
		.match_mask = mask,
		.comp_mask = MLX5DV_FLOW_MATCHER_MASK_FT_TYPE,
		.ft_type = table_type(table->domain),
	};
	struct mlx5dv_dr_matcher *matcher = calloc(1, sizeof(*matcher));

	if (matcher == NULL)
		return face_null(-ENOMEM);
	matcher->kernel = mlx5dv_create_flow_matcher(&table->domain->ctx->verbs.context, &attr);
	if (matcher->kernel == NULL) {
		free(matcher);
		return NULL;
	}
	matcher->table = table;
	table->users++;
	return matcher;
}

int
mlx5dv_dr_matcher_destroy(struct mlx5dv_dr_matcher *matcher)
{
	if (matcher->users > 0)
		return EBUSY;
	mlx5dv_destroy_flow_matcher(matcher->kernel);
	matcher->table->users--;
	free(matcher);
	return 0;
}

/* A size for tables that software owns. */
int
mlx5dv_dr_matcher_set_layout(struct mlx5dv_dr_matcher *matcher,
		struct mlx5dv_dr_matcher_layout *layout)
{
	(void)matcher;
	(void)layout;
	return face_errno(-ENOTSUP);
}

/* ---- actions ---- */

static struct mlx5dv_dr_action *
action_create(enum mlx5dv_flow_action_type type)
{
	struct mlx5dv_dr_action *action = calloc(1, sizeof(*action));

	if (action == NULL)
		return face_null(-ENOMEM);
	action->attr.type = type;
	emu_alive_add("dr_action", 1);
	return action;
}

struct mlx5dv_dr_action *
mlx5dv_dr_action_create_dest_devx_tir(struct mlx5dv_devx_obj *devx_obj)
{
	struct mlx5dv_dr_action *action;

	if (devx_obj->opcode != MLX5_CMD_OP_CREATE_TIR)
		return face_null(-EINVAL);
	action = action_create(MLX5DV_FLOW_ACTION_DEST_DEVX);
	if (action != NULL)
		action->attr.obj = devx_obj;
	return action;
}

struct mlx5dv_dr_action *
mlx5dv_dr_action_create_tag(uint32_t tag_value)
{
	enum { TAG_MASK = (1 << 24) - 1 };
	struct mlx5dv_dr_action *action = action_create(MLX5DV_FLOW_ACTION_TAG);

	if (action != NULL)
		action->attr.tag_value = tag_value & TAG_MASK;
	return action;
}

/* These two become of use in a rule; flow.c says there what the device does not do. */
struct mlx5dv_dr_action *
mlx5dv_dr_action_create_drop(void)
{
	return action_create(MLX5DV_FLOW_ACTION_DROP);
}

struct mlx5dv_dr_action *
mlx5dv_dr_action_create_default_miss(void)
{
	return action_create(MLX5DV_FLOW_ACTION_DEFAULT_MISS);
}

/* With level 0 alone, there is no table to go to. */
struct mlx5dv_dr_action *
mlx5dv_dr_action_create_dest_table(struct mlx5dv_dr_table *table)
{
	(void)table;
	return face_null(-EINVAL);
}

int
mlx5dv_dr_action_destroy(struct mlx5dv_dr_action *action)
{
	if (action->users > 0)
		return EBUSY;
	free(action);
	emu_alive_add("dr_action", -1);
	return 0;
}

/* ---- rules ---- */

static struct ibv_flow *
create_flow(struct mlx5dv_dr_rule *rule, struct mlx5dv_flow_match_parameters *value)
{
	struct mlx5dv_flow_action_attr *attrs;
	struct ibv_flow *flow;
	size_t i;

	attrs = calloc(rule->num_actions, sizeof(*attrs));
	if (attrs == NULL)
		return face_null(-ENOMEM);
	for (i = 0; i < rule->num_actions; i++)
		attrs[i] = rule->actions[i]->attr;
	flow = mlx5dv_create_flow(rule->matcher->kernel, value, rule->num_actions, attrs);
	free(attrs);
	return flow;
}

struct mlx5dv_dr_rule *
mlx5dv_dr_rule_create(struct mlx5dv_dr_matcher *matcher,
		struct mlx5dv_flow_match_parameters *value, size_t num_actions,
		struct mlx5dv_dr_action *actions[])
{
	struct mlx5dv_dr_rule *rule;
	size_t i;

	if (num_actions == 0)
		return face_null(-EINVAL);
	rule = calloc(1, sizeof(*rule) + num_actions * sizeof(actions[0]));
	if (rule == NULL)
		return face_null(-ENOMEM);
	rule->matcher = matcher;
	rule->num_actions = num_actions;
	for (i = 0; i < num_actions; i++)
		rule->actions[i] = actions[i];
	rule->kernel = create_flow(rule, value);
	if (rule->kernel == NULL) {
		free(rule);
		return NULL;
	}
	for (i = 0; i < num_actions; i++)
		actions[i]->users++;
	matcher->users++;
	return rule;
}

int
mlx5dv_dr_rule_destroy(struct mlx5dv_dr_rule *rule)
{
	int rc = ibv_destroy_flow(rule->kernel);
	size_t i;

	if (rc != 0)
		return rc;
	for (i = 0; i < rule->num_actions; i++)
		rule->actions[i]->users--;
	rule->matcher->users--;
	free(rule);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flow rules, as the kernel keeps them for users of verbs: a table for each priority, in it
 * groups of entries with the same mask, which here are those of one matcher. All come with the
 * first rule that needs them and go with the last.
 */
#include <stdlib.h>
#include <string.h>

#include "face.h"

enum {
	/* Linux, mlx5_ib: users have 16 priorities; each is two of the driver's own, of which
	 * these rules get the second; rules on multicast addresses alone are in a table behind
	 * all. */
	PRIORITIES = 16,
	TABLES = 2 * PRIORITIES + 1,
	TABLE_MULTICAST = 2 * PRIORITIES,
	/* A table takes 64 groups of 64 rules. */
	LOG_TABLE_ENTRIES = 12,
	GROUPS = 64,
	GROUP_ENTRIES = 64,
	FLOW_TAG_END = 1 << 24,
};

struct table;

struct mlx5dv_flow_matcher {
	struct face_obj obj;
	uint16_t priority;
	uint8_t criteria;          /* match_criteria_enable */
	unsigned int rules;
	uint8_t mask[PRM_BYTES(fte_match_param)];
};

struct group {
	struct table *table;
	const struct mlx5dv_flow_matcher *matcher;
	unsigned int slot;         /* its entries start at slot * GROUP_ENTRIES */
	uint32_t id;
	uint64_t used;             /* a bit an entry */
	LIST_ENTRY(group) next;
};

struct table {
	unsigned int level;
	uint32_t id;
	uint64_t slots;            /* of groups: a bit each */
	LIST_HEAD(, group) groups;
};

struct flow {
	struct face_obj obj;
	struct mlx5dv_flow_matcher *matcher;
	struct group *group;
	unsigned int entry;        /* in the group */
	struct ibv_flow ibv;
};

struct face_flows {
	pthread_mutex_t lock;      /* all of it, and the commands */
	struct table *tables[TABLES];
};

/* What a rule does. */
struct action {
	bool has_dest, has_tag;
	uint32_t tirn;
	uint32_t tag;
};

int
face_flows_create(struct face_dev *dev)
{
	struct face_flows *flows = calloc(1, sizeof(*flows));

	if (flows == NULL)
		return -ENOMEM;
	pthread_mutex_init(&flows->lock, NULL);
	dev->flows = flows;
	return 0;
}

void
face_flows_destroy(struct face_dev *dev)
{
	pthread_mutex_destroy(&dev->flows->lock);
	free(dev->flows);
}

/* ---- matchers: nothing of the device ---- */

static int
matcher_destroy(struct face_obj *obj)
{
	struct mlx5dv_flow_matcher *m = FACE_CONTAINER(obj, struct mlx5dv_flow_matcher, obj);

	if (m->rules > 0)
		return -EBUSY;
	free(m);
	emu_alive_add("flow_matcher", -1);
	return 0;
}

static int
check_matcher(const struct mlx5dv_flow_matcher_attr *attr)
{
	bool has_type = (attr->comp_mask & MLX5DV_FLOW_MATCHER_MASK_FT_TYPE) != 0;

	if ((attr->comp_mask & ~(uint64_t)MLX5DV_FLOW_MATCHER_MASK_FT_TYPE) != 0 ||
			attr->type != IBV_FLOW_ATTR_NORMAL)
		return -EOPNOTSUPP;
	if (attr->match_mask->match_sz == 0 ||
			attr->match_mask->match_sz > PRM_BYTES(fte_match_param) ||
			(has_type && attr->flags != 0))
		return -EINVAL;
	if ((has_type && attr->ft_type != MLX5DV_FLOW_TABLE_TYPE_NIC_RX) || attr->flags != 0)
		return FACE_UNSUPPORTED("mlx5dv_create_flow_matcher() other than NIC_RX");
	return 0;
}

struct mlx5dv_flow_matcher *
mlx5dv_create_flow_matcher(struct ibv_context *context, struct mlx5dv_flow_matcher_attr *attr)
{
	struct mlx5dv_flow_matcher *m;
	int rc;

	rc = check_matcher(attr);
	if (rc != 0)
		return face_null(rc);
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return face_null(-ENOMEM);
	m->priority = attr->priority;
	m->criteria = attr->match_criteria_enable;
	memcpy(m->mask, attr->match_mask->match_buf, attr->match_mask->match_sz);
	face_obj_add(face_ctx_of(context), &m->obj, matcher_destroy);
	emu_alive_add("flow_matcher", 1);
	return m;
}

int
mlx5dv_destroy_flow_matcher(struct mlx5dv_flow_matcher *matcher)
{
	return face_errno(face_obj_destroy(&matcher->obj));
}

/* ---- tables ---- */

static int
table_create(struct face_dev *dev, unsigned int level, struct table **out)
{
	uint8_t in[PRM_BYTES(create_flow_table_in)] = { 0 };
	uint8_t answer[PRM_BYTES(create_flow_table_out)];
	void *ctx = PRM_ADDR(create_flow_table_in, in, flow_table_context);
	struct table *t = calloc(1, sizeof(*t));
	int rc;

	if (t == NULL)
		return -ENOMEM;
	PRM_SET(create_flow_table_in, in, opcode, MLX5_CMD_OP_CREATE_FLOW_TABLE);
	PRM_SET(create_flow_table_in, in, table_type, MLX5_FLOW_TABLE_TYPE_NIC_RX);
	PRM_SET(flow_table_context, ctx, level, level);
	PRM_SET(flow_table_context, ctx, log_size, LOG_TABLE_ENTRIES);
	rc = face_cmd(dev, in, sizeof(in), answer, sizeof(answer));
	if (rc != 0) {
		free(t);
		return rc;
	}
	t->id = PRM_GET(create_flow_table_out, answer, table_id);
	t->level = level;
	LIST_INIT(&t->groups);
	dev->flows->tables[level] = t;
	*out = t;
	return 0;
}

/* If it is empty. One that the device refuses to destroy is kept for the next rule. */
static void
table_put(struct face_dev *dev, struct table *t)
{
	uint8_t in[PRM_BYTES(destroy_flow_table_in)] = { 0 };
	uint8_t out[PRM_BYTES(destroy_flow_table_out)];

	if (!LIST_EMPTY(&t->groups))
		return;
	PRM_SET(destroy_flow_table_in, in, opcode, MLX5_CMD_OP_DESTROY_FLOW_TABLE);
	PRM_SET(destroy_flow_table_in, in, table_type, MLX5_FLOW_TABLE_TYPE_NIC_RX);
	PRM_SET(destroy_flow_table_in, in, table_id, t->id);
	if (face_cmd(dev, in, sizeof(in), out, sizeof(out)) != 0)
		return;
	dev->flows->tables[t->level] = NULL;
	free(t);
}

/* ---- groups ---- */

static int
group_create(struct face_dev *dev, struct table *t, const struct mlx5dv_flow_matcher *m,
		struct group **out)
{
	uint8_t in[PRM_BYTES(create_flow_group_in)] = { 0 };
	uint8_t answer[PRM_BYTES(create_flow_group_out)];
	struct group *g;
	int rc;

	if (t->slots == UINT64_MAX)
		return -ENOSPC;
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return -ENOMEM;
	g->slot = (unsigned int)__builtin_ctzll(~t->slots);
	PRM_SET(create_flow_group_in, in, opcode, MLX5_CMD_OP_CREATE_FLOW_GROUP);
	PRM_SET(create_flow_group_in, in, table_type, MLX5_FLOW_TABLE_TYPE_NIC_RX);
	PRM_SET(create_flow_group_in, in, table_id, t->id);
	PRM_SET(create_flow_group_in, in, start_flow_index, g->slot * GROUP_ENTRIES);
	PRM_SET(create_flow_group_in, in, end_flow_index, (g->slot + 1) * GROUP_ENTRIES - 1);
	PRM_SET(create_flow_group_in, in, match_criteria_enable, m->criteria);
	memcpy(PRM_ADDR(create_flow_group_in, in, match_criteria), m->mask, sizeof(m->mask));
	rc = face_cmd(dev, in, sizeof(in), answer, sizeof(answer));
	if (rc != 0) {
		free(g);
		return rc;
	}
	g->id = PRM_GET(create_flow_group_out, answer, group_id);
	g->table = t;
	g->matcher = m;
	t->slots |= UINT64_C(1) << g->slot;
	LIST_INSERT_HEAD(&t->groups, g, next);
	*out = g;
	return 0;
}

static void
group_put(struct face_dev *dev, struct group *g)
{
	uint8_t in[PRM_BYTES(destroy_flow_group_in)] = { 0 };
	uint8_t out[PRM_BYTES(destroy_flow_group_out)];

	if (g->used != 0)
		return;
	PRM_SET(destroy_flow_group_in, in, opcode, MLX5_CMD_OP_DESTROY_FLOW_GROUP);
	PRM_SET(destroy_flow_group_in, in, table_type, MLX5_FLOW_TABLE_TYPE_NIC_RX);
	PRM_SET(destroy_flow_group_in, in, table_id, g->table->id);
	PRM_SET(destroy_flow_group_in, in, group_id, g->id);
	/* Where the device refuses, its indices are not used again. */
	if (face_cmd(dev, in, sizeof(in), out, sizeof(out)) == 0)
		g->table->slots &= ~(UINT64_C(1) << g->slot);
	LIST_REMOVE(g, next);
	free(g);
}

static struct group *
group_with_room(struct table *t, const struct mlx5dv_flow_matcher *m)
{
	struct group *g;

	LIST_FOREACH(g, &t->groups, next) {
		if (g->matcher == m && g->used != UINT64_MAX)
			return g;
	}
	return NULL;
}

/* ---- entries ---- */

static int
set_fte(struct face_dev *dev, const struct flow *f, const struct action *a, const void *value,
		size_t value_len)
{
	enum { IN_BYTES = PRM_BYTES(set_fte_in) + PRM_BYTES(dest_format_struct) };
	uint8_t in[IN_BYTES] = { 0 }, out[PRM_BYTES(set_fte_out)];
	void *ctx = PRM_ADDR(set_fte_in, in, flow_context);
	void *dest = PRM_ADDR(flow_context, ctx, destination);

	PRM_SET(set_fte_in, in, opcode, MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY);
	PRM_SET(set_fte_in, in, table_type, MLX5_FLOW_TABLE_TYPE_NIC_RX);
	PRM_SET(set_fte_in, in, table_id, f->group->table->id);
	PRM_SET(set_fte_in, in, flow_index, f->group->slot * GROUP_ENTRIES + f->entry);
	PRM_SET(flow_context, ctx, group_id, f->group->id);
	PRM_SET(flow_context, ctx, flow_tag, a->tag);
	PRM_SET(flow_context, ctx, action, MLX5_FLOW_CONTEXT_ACTION_FWD_DEST);
	PRM_SET(flow_context, ctx, destination_list_size, 1);
	memcpy(PRM_ADDR(flow_context, ctx, match_value), value, value_len);
	PRM_SET(dest_format_struct, dest, destination_type, MLX5_FLOW_DESTINATION_TYPE_TIR);
	PRM_SET(dest_format_struct, dest, destination_id, a->tirn);
	return face_cmd(dev, in, sizeof(in), out, sizeof(out));
}

static int
delete_fte(struct face_dev *dev, const struct flow *f)
{
	uint8_t in[PRM_BYTES(delete_fte_in)] = { 0 }, out[PRM_BYTES(delete_fte_out)];

	PRM_SET(delete_fte_in, in, opcode, MLX5_CMD_OP_DELETE_FLOW_TABLE_ENTRY);
	PRM_SET(delete_fte_in, in, table_type, MLX5_FLOW_TABLE_TYPE_NIC_RX);
	PRM_SET(delete_fte_in, in, table_id, f->group->table->id);
	PRM_SET(delete_fte_in, in, flow_index, f->group->slot * GROUP_ENTRIES + f->entry);
	return face_cmd(dev, in, sizeof(in), out, sizeof(out));
}

/* ---- rules ---- */

/* A rule that matches multicast addresses alone (Linux: raw_fs_is_multicast()). */
static bool
is_multicast(const struct mlx5dv_flow_matcher *m, const uint8_t *value)
{
	const uint8_t *outer = value, *mask = m->mask;
	const size_t dmac = PRM_OFF(fte_match_set_lyr_2_4, dmac_47_16);
	/* The first bytes of an IPv4 address. */
	const size_t ipv4 = PRM_OFF(fte_match_set_lyr_2_4, dst_ipv4_dst_ipv6) + 12;

	if ((m->criteria & MLX5_MATCH_OUTER_HEADERS) == 0)
		return false;
	return (outer[dmac] & mask[dmac] & 1) != 0 ||
		((outer[ipv4] & 0xf0) == 0xe0 && (mask[ipv4] & 0xf0) == 0xe0);
}

static int
rule_add(struct face_dev *dev, struct flow *f, const struct action *a, const uint8_t *value,
		size_t value_len)
{
	unsigned int level = is_multicast(f->matcher, value) ? TABLE_MULTICAST :
		2u * f->matcher->priority + 1;
	struct table *t = dev->flows->tables[level];
	struct group *g;
	int rc = 0;

	if (t == NULL)
		rc = table_create(dev, level, &t);
	if (rc != 0)
		return rc;
	g = group_with_room(t, f->matcher);
	if (g == NULL)
		rc = group_create(dev, t, f->matcher, &g);
	if (rc != 0)
		goto err_table;
	f->group = g;
	f->entry = (unsigned int)__builtin_ctzll(~g->used);
	rc = set_fte(dev, f, a, value, value_len);
	if (rc != 0)
		goto err_group;
	g->used |= UINT64_C(1) << f->entry;
	f->matcher->rules++;
	return 0;

err_group:
	group_put(dev, g);
err_table:
	table_put(dev, t);
	return rc;
}

static int
flow_destroy(struct face_obj *obj)
{
	struct flow *f = FACE_CONTAINER(obj, struct flow, obj);
	struct face_dev *dev = obj->ctx->dev;
	struct table *t = f->group->table;
	int rc;

	pthread_mutex_lock(&dev->flows->lock);
	rc = delete_fte(dev, f);
	if (rc == 0) {
		f->group->used &= ~(UINT64_C(1) << f->entry);
		f->matcher->rules--;
		group_put(dev, f->group);
		table_put(dev, t);
	}
	pthread_mutex_unlock(&dev->flows->lock);
	if (rc == 0)
		free(f);
	return rc;
}

static int
parse_actions(size_t n, const struct mlx5dv_flow_action_attr *attrs, struct action *a)
{
	size_t i;

	*a = (struct action){ .has_dest = false };
	for (i = 0; i < n; i++) {
		switch (attrs[i].type) {
		case MLX5DV_FLOW_ACTION_DEST_DEVX:
			if (a->has_dest)
				return -EOPNOTSUPP;
			if (attrs[i].obj->opcode != MLX5_CMD_OP_CREATE_TIR)
				return -EINVAL;
			a->has_dest = true;
			a->tirn = attrs[i].obj->id;
			break;
		case MLX5DV_FLOW_ACTION_TAG:
			if (a->has_tag || attrs[i].tag_value >= FLOW_TAG_END)
				return -EINVAL;
			a->has_tag = true;
			a->tag = attrs[i].tag_value;
			break;
		default:
			return FACE_UNSUPPORTED("mlx5dv_create_flow() with other actions");
		}
	}
	return a->has_dest ? 0 : -EINVAL;
}

struct ibv_flow *
mlx5dv_create_flow(struct mlx5dv_flow_matcher *matcher,
		struct mlx5dv_flow_match_parameters *match_value, size_t num_actions,
		struct mlx5dv_flow_action_attr actions_attr[])
{
	struct face_ctx *ctx = matcher->obj.ctx;
	uint8_t value[PRM_BYTES(fte_match_param)] = { 0 };
	struct action action;
	struct flow *f;
	int rc;

	if (match_value->match_sz == 0 || match_value->match_sz > sizeof(value))
		return face_null(-EINVAL);
	rc = parse_actions(num_actions, actions_attr, &action);
	if (rc == 0 && matcher->priority >= PRIORITIES)
		rc = -ENOMEM; /* as the kernel has it */
	if (rc != 0)
		return face_null(rc);
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return face_null(-ENOMEM);
	memcpy(value, match_value->match_buf, match_value->match_sz);
	f->matcher = matcher;
	f->ibv.context = &ctx->verbs.context;
	pthread_mutex_lock(&ctx->dev->flows->lock);
	rc = rule_add(ctx->dev, f, &action, value, sizeof(value));
	pthread_mutex_unlock(&ctx->dev->flows->lock);
	if (rc != 0) {
		free(f);
		return face_null(rc);
	}
	face_obj_add(ctx, &f->obj, flow_destroy);
	return &f->ibv;
}

int
face_destroy_flow(struct ibv_flow *flow)
{
	return face_errno(face_obj_destroy(&FACE_CONTAINER(flow, struct flow, ibv)->obj));
}

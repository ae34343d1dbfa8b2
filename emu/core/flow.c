/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Flow tables of received frames: tables, groups (a mask each), entries (a value and a TIR each).
 *
 * A frame meets the tables in ascending level. In a table the entry with the lowest index that
 * matches wins; the first table that has one decides. Where none does, the frame is discarded.
 */
#include <netinet/in.h>

#include "engine.h"

/* Syndromes, one set for all: each command uses those that apply. */
enum {
	SYN_NO_ROOM = 1,
	SYN_NOT_FOUND,
	SYN_BUSY,
	SYN_VPORT,                 /* tables of other functions */
	SYN_TABLE_TYPE,            /* table_type: NIC_RX is offered, where nic_flow_table is */
	SYN_TABLE_KIND,            /* tables that rewrite, terminate, or that software owns */
	SYN_MISS,                  /* table_miss_action: the default is to go on */
	SYN_TABLE_SIZE,
	SYN_TABLE,                 /* no such table */
	SYN_GROUP_RANGE,           /* indices outside the table, or the wrong way round */
	SYN_GROUP_OVERLAP,         /* indices of another group */
	SYN_GROUP_TYPE,
	SYN_CRITERIA,              /* match_criteria_enable: outer headers are offered */
	SYN_MASK,                  /* match_criteria: a field that the device does not look at */
	SYN_GROUP,                 /* no such group in the table */
	SYN_INDEX,                 /* flow_index: outside the group */
	SYN_INDEX_USED,
	SYN_MODIFY,                /* modify_enable_mask: an entry is deleted and set anew */
	SYN_ACTION,                /* action: forwarding to one destination is offered */
	SYN_DESTINATIONS,          /* destination_list_size other than 1 */
	SYN_DESTINATION_SHORT,     /* the mailbox ends before the list does */
	SYN_DESTINATION_TYPE,      /* destination_type: a TIR is offered */
	SYN_TIR,                   /* no such TIR */
	SYN_LEVEL,                 /* max_ft_level levels, from 0 on */
};

enum {
	MATCH_WORDS = PRM_BYTES(fte_match_set_lyr_2_4) / 8,
	/* IEEE 802.1Q, RFC 791, RFC 8200. */
	ETHER_ADDR = 6,
	ETHER_HDR = 14,
	ETHER_TYPE_OFF = 12,
	VLAN_HDR = 4,
	VLAN_TAGS_MAX = 2,
	ETHERTYPE_CVLAN = 0x8100,
	ETHERTYPE_SVLAN = 0x88a8,
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_IPV6 = 0x86dd,
	IPV4_HDR = 20,
	IPV4_FRAGMENT = 0x3fff,    /* more fragments, or an offset */
	IPV6_HDR = 40,
	PORTS = 4,
};

struct fte {
	struct emu_obj obj;
	struct emu_flow_table *table;
	struct flow_group *group;
	struct emu_tir *tir;
	uint32_t index;
	uint64_t value[MATCH_WORDS];       /* under the group's mask */
	TAILQ_ENTRY(fte) link;
};

struct flow_group {
	struct emu_obj obj;
	struct emu_flow_table *table;
	uint32_t first, last;
	uint64_t mask[MATCH_WORDS];
};

struct emu_flow_table {
	struct emu_obj obj;
	uint8_t level;
	uint32_t size;
	TAILQ_HEAD(, fte) entries;         /* ascending index */
	TAILQ_ENTRY(emu_flow_table) link;
};

/* ---- the headers of a frame ---- */

static uint16_t
be16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void
parse_ports(struct emu_flow_key *key, uint8_t proto, const uint8_t *p, uint32_t len)
{
	void *m = key->match;

	if (len < PORTS || (proto != IPPROTO_TCP && proto != IPPROTO_UDP))
		return;
	key->l4 = proto;
	if (proto == IPPROTO_TCP) {
		PRM_SET(fte_match_set_lyr_2_4, m, tcp_sport, be16_at(p));
		PRM_SET(fte_match_set_lyr_2_4, m, tcp_dport, be16_at(p + 2));
	} else {
		PRM_SET(fte_match_set_lyr_2_4, m, udp_sport, be16_at(p));
		PRM_SET(fte_match_set_lyr_2_4, m, udp_dport, be16_at(p + 2));
	}
}

static void
parse_ipv4(struct emu_flow_key *key, const uint8_t *p, uint32_t len)
{
	uint8_t *src = PRM_ADDR(fte_match_set_lyr_2_4, key->match, src_ipv4_src_ipv6);
	uint8_t *dst = PRM_ADDR(fte_match_set_lyr_2_4, key->match, dst_ipv4_dst_ipv6);
	const unsigned int last = sizeof(struct in6_addr) - sizeof(struct in_addr);
	void *m = key->match;
	uint32_t hdr;

	if (len < IPV4_HDR || p[0] >> 4 != 4)
		return;
	hdr = (p[0] & 0xfu) * 4;
	if (hdr < IPV4_HDR || hdr > len)
		return;
	key->l3 = 4;
	PRM_SET(fte_match_set_lyr_2_4, m, ip_version, 4);
	PRM_SET(fte_match_set_lyr_2_4, m, ip_dscp, p[1] >> 2);
	PRM_SET(fte_match_set_lyr_2_4, m, ip_ecn, p[1]);
	PRM_SET(fte_match_set_lyr_2_4, m, ttl_hoplimit, p[8]);
	PRM_SET(fte_match_set_lyr_2_4, m, ip_protocol, p[9]);
	memcpy(src + last, p + 12, sizeof(struct in_addr));
	memcpy(dst + last, p + 16, sizeof(struct in_addr));
	/* Fragments after the first have no ports; without them all of a packet goes one way. */
	if ((be16_at(p + 6) & IPV4_FRAGMENT) != 0)
		PRM_SET(fte_match_set_lyr_2_4, m, frag, 1);
	else
		parse_ports(key, p[9], p + hdr, len - hdr);
}

static void
parse_ipv6(struct emu_flow_key *key, const uint8_t *p, uint32_t len)
{
	void *m = key->match;

	if (len < IPV6_HDR || p[0] >> 4 != 6)
		return;
	key->l3 = 6;
	PRM_SET(fte_match_set_lyr_2_4, m, ip_version, 6);
	PRM_SET(fte_match_set_lyr_2_4, m, ip_dscp, be16_at(p) >> 6);
	PRM_SET(fte_match_set_lyr_2_4, m, ip_ecn, be16_at(p) >> 4);
	PRM_SET(fte_match_set_lyr_2_4, m, ip_protocol, p[6]);
	PRM_SET(fte_match_set_lyr_2_4, m, frag, p[6] == IPPROTO_FRAGMENT);
	PRM_SET(fte_match_set_lyr_2_4, m, ttl_hoplimit, p[7]);
	memcpy(PRM_ADDR(fte_match_set_lyr_2_4, m, src_ipv4_src_ipv6), p + 8,
		sizeof(struct in6_addr));
	memcpy(PRM_ADDR(fte_match_set_lyr_2_4, m, dst_ipv4_dst_ipv6), p + 24,
		sizeof(struct in6_addr));
	parse_ports(key, p[6], p + IPV6_HDR, len - IPV6_HDR);
}

/* The first tag, if any; returns where the payload starts, and its type. */
static uint32_t
parse_vlan(struct emu_flow_key *key, const uint8_t *p, uint32_t len, uint16_t *type)
{
	uint32_t off = ETHER_HDR, tags;
	void *m = key->match;
	uint16_t tci;

	*type = be16_at(p + ETHER_TYPE_OFF);
	for (tags = 0; tags < VLAN_TAGS_MAX && len >= off + VLAN_HDR; tags++) {
		if (*type != ETHERTYPE_CVLAN && *type != ETHERTYPE_SVLAN)
			break;
		if (tags == 0) {
			tci = be16_at(p + off);
			PRM_SET(fte_match_set_lyr_2_4, m, cvlan_tag, *type == ETHERTYPE_CVLAN);
			PRM_SET(fte_match_set_lyr_2_4, m, svlan_tag, *type == ETHERTYPE_SVLAN);
			PRM_SET(fte_match_set_lyr_2_4, m, first_prio, tci >> 13);
			PRM_SET(fte_match_set_lyr_2_4, m, first_cfi, tci >> 12);
			PRM_SET(fte_match_set_lyr_2_4, m, first_vid, tci);
		}
		*type = be16_at(p + off + 2);
		off += VLAN_HDR;
	}
	return off;
}

bool
emu_flow_key_parse(struct emu_flow_key *key, const void *frame, uint32_t len)
{
	const uint8_t *p = frame;
	void *m = key->match;
	uint16_t type;
	uint32_t off;

	if (len < ETHER_HDR)
		return false;
	memset(key, 0, sizeof(*key));
	memcpy((uint8_t *)m + PRM_OFF(fte_match_set_lyr_2_4, dmac_47_16), p, ETHER_ADDR);
	memcpy((uint8_t *)m + PRM_OFF(fte_match_set_lyr_2_4, smac_47_16), p + ETHER_ADDR,
		ETHER_ADDR);
	off = parse_vlan(key, p, len, &type);
	PRM_SET(fte_match_set_lyr_2_4, m, ethertype, type);
	if (type == ETHERTYPE_IPV4)
		parse_ipv4(key, p + off, len - off);
	else if (type == ETHERTYPE_IPV6)
		parse_ipv6(key, p + off, len - off);
	return true;
}

/* What the parser above fills in. */
static void
matchable(uint64_t mask[MATCH_WORDS])
{
	void *m = mask;

	memset(mask, 0, MATCH_WORDS * sizeof(mask[0]));
	PRM_SET(fte_match_set_lyr_2_4, m, smac_47_16, UINT32_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, smac_15_0, UINT16_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, ethertype, UINT16_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, dmac_47_16, UINT32_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, dmac_15_0, UINT16_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, first_prio, UINT8_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, first_cfi, UINT8_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, first_vid, UINT16_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, ip_protocol, UINT8_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, ip_dscp, UINT8_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, ip_ecn, UINT8_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, cvlan_tag, UINT8_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, svlan_tag, UINT8_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, frag, UINT8_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, ip_version, UINT8_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, tcp_sport, UINT16_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, tcp_dport, UINT16_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, ttl_hoplimit, UINT8_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, udp_sport, UINT16_MAX);
	PRM_SET(fte_match_set_lyr_2_4, m, udp_dport, UINT16_MAX);
	memset(PRM_ADDR(fte_match_set_lyr_2_4, m, src_ipv4_src_ipv6), UINT8_MAX,
		sizeof(struct in6_addr));
	memset(PRM_ADDR(fte_match_set_lyr_2_4, m, dst_ipv4_dst_ipv6), UINT8_MAX,
		sizeof(struct in6_addr));
}

/* ---- matching ---- */

static bool
matches(const struct fte *fte, const struct emu_flow_key *key)
{
	uint64_t differ = 0;
	unsigned int i;

	for (i = 0; i < MATCH_WORDS; i++)
		differ |= (key->match[i] & fte->group->mask[i]) ^ fte->value[i];
	return differ == 0;
}

struct emu_virtq *
emu_steer_rx(struct emu_dev *dev, const void *frame, uint32_t len)
{
	struct emu_flow_table *table;
	struct emu_flow_key key;
	struct fte *fte;

	if (!emu_flow_key_parse(&key, frame, len))
		return NULL;
	TAILQ_FOREACH(table, &dev->engine->steering.tables, link) {
		TAILQ_FOREACH(fte, &table->entries, link) {
			if (matches(fte, &key))
				return emu_tir_pick(fte->tir, &key);
		}
	}
	return NULL;
}

/* ---- tables ---- */

/* other_vport, vport_number and table_type have the same place in all of these commands. */
static uint8_t
check_side(struct emu_dev *dev, struct emu_cmd *c)
{
	if (PRM_GET(create_flow_table_in, c->in, other_vport) ||
			PRM_GET(create_flow_table_in, c->in, vport_number) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_VPORT);
	if (PRM_GET(create_flow_table_in, c->in, table_type) != MLX5_FLOW_TABLE_TYPE_NIC_RX ||
			PRM_GET(cmd_hca_cap, dev->caps.general, nic_flow_table) == 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_TABLE_TYPE);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
check_table(struct emu_dev *dev, struct emu_cmd *c, const void *ctx)
{
	uint8_t status = check_side(dev, c);

	if (status != MLX5_CMD_STAT_OK)
		return status;
	if (PRM_GET(flow_table_context, ctx, reformat_en) ||
			PRM_GET(flow_table_context, ctx, decap_en) ||
			PRM_GET(flow_table_context, ctx, sw_owner) ||
			PRM_GET(flow_table_context, ctx, termination_table))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_TABLE_KIND);
	if (PRM_GET(flow_table_context, ctx, table_miss_action) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_MISS);
	if (PRM_GET(flow_table_context, ctx, level) >= EMU_FLOW_LEVELS)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_LEVEL);
	if (PRM_GET(flow_table_context, ctx, log_size) > EMU_LOG_FLOW_TABLE_SIZE)
		return emu_refuse(c, MLX5_CMD_STAT_LIM_ERR, SYN_TABLE_SIZE);
	return MLX5_CMD_STAT_OK;
}

static void
table_insert(struct emu_flow_tables *tables, struct emu_flow_table *table)
{
	struct emu_flow_table *t;

	TAILQ_FOREACH(t, tables, link) {
		if (t->level > table->level) {
			TAILQ_INSERT_BEFORE(t, table, link);
			return;
		}
	}
	TAILQ_INSERT_TAIL(tables, table, link);
}

uint8_t
emu_create_flow_table(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *ctx = PRM_ADDR(create_flow_table_in, c->in, flow_table_context);
	uint8_t status = check_table(dev, c, ctx);
	struct emu_flow_table *table;

	if (status != MLX5_CMD_STAT_OK)
		return status;
	table = emu_obj_new(dev, EMU_FLOW_TABLE, c->uid, sizeof(*table));
	if (table == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	table->level = PRM_GET(flow_table_context, ctx, level);
	table->size = 1u << PRM_GET(flow_table_context, ctx, log_size);
	TAILQ_INIT(&table->entries);
	table_insert(&dev->engine->steering.tables, table);
	PRM_SET(create_flow_table_out, c->out, table_id, table->obj.id);
	return MLX5_CMD_STAT_OK;
}

/* The table of a command on a group or an entry, or of its own destruction. */
static struct emu_flow_table *
find_table(struct emu_dev *dev, struct emu_cmd *c)
{
	return emu_obj_find(dev, EMU_FLOW_TABLE, PRM_GET(destroy_flow_table_in, c->in, table_id),
		c->uid);
}

uint8_t
emu_destroy_flow_table(struct emu_dev *dev, struct emu_cmd *c)
{
	struct emu_flow_table *table = find_table(dev, c);
	uint8_t status = check_side(dev, c);

	if (status != MLX5_CMD_STAT_OK)
		return status;
	if (table == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if (table->obj.refs > 0)
		return emu_refuse(c, MLX5_CMD_STAT_RES_BUSY, SYN_BUSY);
	TAILQ_REMOVE(&dev->engine->steering.tables, table, link);
	emu_obj_del(table);
	return MLX5_CMD_STAT_OK;
}

/* ---- groups ---- */

static uint8_t
check_range(struct emu_dev *dev, struct emu_cmd *c, const struct emu_flow_table *table)
{
	uint32_t first = PRM_GET(create_flow_group_in, c->in, start_flow_index);
	uint32_t last = PRM_GET(create_flow_group_in, c->in, end_flow_index);
	struct flow_group *g = NULL;

	if (first > last || last >= table->size)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_GROUP_RANGE);
	while ((g = emu_obj_next(dev, EMU_FLOW_GROUP, g)) != NULL) {
		if (g->table == table && first <= g->last && g->first <= last)
			return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_GROUP_OVERLAP);
	}
	return MLX5_CMD_STAT_OK;
}

/* Outer headers, and of them what the parser knows; nothing where the criteria are off. */
static uint8_t
check_mask(struct emu_cmd *c, uint64_t mask[MATCH_WORDS])
{
	const uint8_t *param = PRM_ADDR(create_flow_group_in, c->in, match_criteria);
	const uint8_t *outer = PRM_ADDR(fte_match_param, param, outer_headers);
	uint32_t enable = PRM_GET(create_flow_group_in, c->in, match_criteria_enable);
	uint64_t allowed[MATCH_WORDS] = {0};
	size_t i;

	if ((enable & ~(uint32_t)MLX5_MATCH_OUTER_HEADERS) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_CRITERIA);
	if (enable != 0)
		matchable(allowed);
	memcpy(mask, outer, MATCH_WORDS * sizeof(mask[0]));
	for (i = 0; i < MATCH_WORDS; i++) {
		if ((mask[i] & ~allowed[i]) != 0)
			return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_MASK);
	}
	for (i = MATCH_WORDS * sizeof(mask[0]); i < PRM_BYTES(fte_match_param); i++) {
		if (param[i] != 0)
			return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_MASK);
	}
	return MLX5_CMD_STAT_OK;
}

uint8_t
emu_create_flow_group(struct emu_dev *dev, struct emu_cmd *c)
{
	struct emu_flow_table *table = find_table(dev, c);
	uint8_t status = check_side(dev, c);
	uint64_t mask[MATCH_WORDS];
	struct flow_group *group;

	if (status != MLX5_CMD_STAT_OK)
		return status;
	if (table == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_TABLE);
	if (PRM_GET(create_flow_group_in, c->in, group_type) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_GROUP_TYPE);
	status = check_range(dev, c, table);
	if (status == MLX5_CMD_STAT_OK)
		status = check_mask(c, mask);
	if (status != MLX5_CMD_STAT_OK)
		return status;
	group = emu_obj_new(dev, EMU_FLOW_GROUP, c->uid, sizeof(*group));
	if (group == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	group->table = table;
	group->first = PRM_GET(create_flow_group_in, c->in, start_flow_index);
	group->last = PRM_GET(create_flow_group_in, c->in, end_flow_index);
	memcpy(group->mask, mask, sizeof(group->mask));
	emu_obj_hold(table);
	PRM_SET(create_flow_group_out, c->out, group_id, group->obj.id);
	return MLX5_CMD_STAT_OK;
}

static struct flow_group *
find_group(struct emu_dev *dev, struct emu_cmd *c, uint32_t id)
{
	struct flow_group *group = emu_obj_find(dev, EMU_FLOW_GROUP, id, c->uid);

	return group != NULL && group->table == find_table(dev, c) ? group : NULL;
}

uint8_t
emu_destroy_flow_group(struct emu_dev *dev, struct emu_cmd *c)
{
	struct flow_group *group;
	uint8_t status = check_side(dev, c);

	if (status != MLX5_CMD_STAT_OK)
		return status;
	group = find_group(dev, c, PRM_GET(destroy_flow_group_in, c->in, group_id));
	if (group == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if (group->obj.refs > 0)
		return emu_refuse(c, MLX5_CMD_STAT_RES_BUSY, SYN_BUSY);
	emu_obj_put(group->table);
	emu_obj_del(group);
	return MLX5_CMD_STAT_OK;
}

/* ---- entries ---- */

static struct fte *
find_fte(const struct emu_flow_table *table, uint32_t index)
{
	struct fte *fte;

	TAILQ_FOREACH(fte, &table->entries, link) {
		if (fte->index == index)
			return fte;
	}
	return NULL;
}

static uint8_t
check_destination(struct emu_dev *dev, struct emu_cmd *c, const void *ctx, struct emu_tir **tir)
{
	const void *dest = PRM_ADDR(flow_context, ctx, destination);

	if (PRM_GET(flow_context, ctx, action) != MLX5_FLOW_CONTEXT_ACTION_FWD_DEST)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_ACTION);
	if (PRM_GET(flow_context, ctx, destination_list_size) != 1 ||
			PRM_GET(flow_context, ctx, extended_destination) ||
			PRM_GET(flow_context, ctx, flow_counter_list_size) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_DESTINATIONS);
	if (c->inlen < PRM_BYTES(set_fte_in) + PRM_BYTES(dest_format_struct))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_INP_LEN_ERR, SYN_DESTINATION_SHORT);
	if (PRM_GET(dest_format_struct, dest, destination_type) != MLX5_FLOW_DESTINATION_TYPE_TIR)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_DESTINATION_TYPE);
	*tir = emu_obj_find(dev, EMU_TIR, PRM_GET(dest_format_struct, dest, destination_id),
		c->uid);
	if (*tir == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_TIR);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
check_place(struct emu_cmd *c, const struct emu_flow_table *table, const struct flow_group *group,
		uint32_t index)
{
	if (table == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_TABLE);
	if (PRM_GET(set_fte_in, c->in, modify_enable_mask) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_MODIFY);
	if (group == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_GROUP);
	if (index < group->first || index > group->last)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_INDEX);
	if (find_fte(table, index) != NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_STATE_ERR, SYN_INDEX_USED);
	return MLX5_CMD_STAT_OK;
}

static void
fte_insert(struct emu_flow_table *table, struct fte *fte)
{
	struct fte *e;

	TAILQ_FOREACH(e, &table->entries, link) {
		if (e->index > fte->index) {
			TAILQ_INSERT_BEFORE(e, fte, link);
			return;
		}
	}
	TAILQ_INSERT_TAIL(&table->entries, fte, link);
}

uint8_t
emu_set_fte(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *ctx = PRM_ADDR(set_fte_in, c->in, flow_context);
	const void *value = PRM_ADDR(fte_match_param, PRM_ADDR(flow_context, ctx, match_value),
		outer_headers);
	struct flow_group *group = find_group(dev, c, PRM_GET(flow_context, ctx, group_id));
	struct emu_flow_table *table = find_table(dev, c);
	uint32_t index = PRM_GET(set_fte_in, c->in, flow_index);
	uint8_t status = check_side(dev, c);
	struct emu_tir *tir = NULL;
	struct fte *fte;
	unsigned int i;

	if (status == MLX5_CMD_STAT_OK)
		status = check_place(c, table, group, index);
	if (status == MLX5_CMD_STAT_OK)
		status = check_destination(dev, c, ctx, &tir);
	if (status != MLX5_CMD_STAT_OK)
		return status;
	fte = emu_obj_new(dev, EMU_FTE, c->uid, sizeof(*fte));
	if (fte == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	fte->table = table;
	fte->group = group;
	fte->tir = tir;
	fte->index = index;
	memcpy(fte->value, value, sizeof(fte->value));
	for (i = 0; i < MATCH_WORDS; i++)
		fte->value[i] &= group->mask[i];
	emu_obj_hold(table);
	emu_obj_hold(group);
	emu_obj_hold(tir);
	fte_insert(table, fte);
	return MLX5_CMD_STAT_OK;
}

uint8_t
emu_delete_fte(struct emu_dev *dev, struct emu_cmd *c)
{
	struct emu_flow_table *table = find_table(dev, c);
	uint8_t status = check_side(dev, c);
	struct fte *fte;

	if (status != MLX5_CMD_STAT_OK)
		return status;
	if (table == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_TABLE);
	fte = find_fte(table, PRM_GET(delete_fte_in, c->in, flow_index));
	if (fte == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	TAILQ_REMOVE(&table->entries, fte, link);
	emu_obj_put(fte->tir);
	emu_obj_put(fte->group);
	emu_obj_put(table);
	emu_obj_del(fte);
	return MLX5_CMD_STAT_OK;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <mlx5_prm.h>
#include <rte_bitops.h>
#include <rte_common.h>

#include "hw.h"
#include "mlx5p_log.h"
#include "steer.h"

/* Entries of the table. More than queues, so that a hash spreads evenly over any number of them. */
#define RQT_ENTRIES 512

/* Bytes of match parameters that every kernel with DevX takes: six sets, outer headers to
 * misc 3. */
#define MATCH_BYTES (6 * PRM_BYTES(fte_match_set_lyr_2_4))

/* Matchers by how much they look at; a higher priority number is tried later. */
enum match_on { ON_L4, ON_L3, ON_ANY, MATCHERS };

static const struct {
	uint16_t priority;
	uint8_t ip_version_mask, ip_protocol_mask;
} matchers[MATCHERS] = {
	[ON_L4] = { 5, 0xf, 0xff },
	[ON_L3] = { 6, 0xf, 0 },
	[ON_ANY] = { 7, 0, 0 },
};

#define HASH_IP (MLX5_HASH_FIELD_SEL_SRC_IP | MLX5_HASH_FIELD_SEL_DST_IP)
#define HASH_L4 (HASH_IP | MLX5_HASH_FIELD_SEL_L4_SPORT | MLX5_HASH_FIELD_SEL_L4_DPORT)

static const struct {
	enum match_on match;
	uint8_t ip_version, ip_protocol;
	uint8_t l3, l4;
	uint32_t hash;
} rules[] = {
	{ ON_L4, 4, IPPROTO_TCP, MLX5_L3_PROT_TYPE_IPV4, MLX5_L4_PROT_TYPE_TCP, HASH_L4 },
	{ ON_L4, 4, IPPROTO_UDP, MLX5_L3_PROT_TYPE_IPV4, MLX5_L4_PROT_TYPE_UDP, HASH_L4 },
	{ ON_L4, 6, IPPROTO_TCP, MLX5_L3_PROT_TYPE_IPV6, MLX5_L4_PROT_TYPE_TCP, HASH_L4 },
	{ ON_L4, 6, IPPROTO_UDP, MLX5_L3_PROT_TYPE_IPV6, MLX5_L4_PROT_TYPE_UDP, HASH_L4 },
	{ ON_L3, 4, 0, MLX5_L3_PROT_TYPE_IPV4, 0, HASH_IP },
	{ ON_L3, 6, 0, MLX5_L3_PROT_TYPE_IPV6, 0, HASH_IP },
	{ ON_ANY, 0, 0, 0, 0, 0 },
};

struct mlx5p_steer {
	const struct mlx5p_hw *hw;
	struct mlx5p_obj rqt;
	struct mlx5dv_flow_matcher *matchers[MATCHERS];
	struct {
		struct mlx5p_obj tir;
		struct ibv_flow *flow;
	} rules[RTE_DIM(rules)];
	uint32_t *queues;          /* in the table now */
	uint32_t nqueues;
};

struct mlx5p_steer *
mlx5p_steer_create(const struct mlx5p_hw *hw)
{
	struct mlx5p_steer *steer = calloc(1, sizeof(*steer));

	if (steer != NULL)
		steer->hw = hw;
	return steer;
}

void
mlx5p_steer_destroy(struct mlx5p_steer *steer)
{
	if (steer == NULL)
		return;
	mlx5p_steer_clear(steer);
	free(steer);
}

/* ---- rules ---- */

/* mlx5dv's flexible-array struct with room for MATCH_BYTES. */
union match {
	struct mlx5dv_flow_match_parameters param;
	uint8_t room[sizeof(struct mlx5dv_flow_match_parameters) + MATCH_BYTES];
};

static void
fill_match(union match *m, uint8_t ip_version, uint8_t ip_protocol)
{
	void *outer = PRM_ADDR(fte_match_param, m->param.match_buf, outer_headers);

	memset(m, 0, sizeof(*m));
	m->param.match_sz = MATCH_BYTES;
	PRM_SET(fte_match_set_lyr_2_4, outer, ip_version, ip_version);
	PRM_SET(fte_match_set_lyr_2_4, outer, ip_protocol, ip_protocol);
}

static int
create_matcher(struct mlx5p_steer *steer, enum match_on on)
{
	struct mlx5dv_flow_matcher_attr attr = {
		.type = IBV_FLOW_ATTR_NORMAL,
		.priority = matchers[on].priority,
		.match_criteria_enable = on == ON_ANY ? 0 : MLX5_MATCH_OUTER_HEADERS,
	};
	union match mask;

	fill_match(&mask, matchers[on].ip_version_mask, matchers[on].ip_protocol_mask);
	attr.match_mask = &mask.param;
	errno = 0;
	steer->matchers[on] = mlx5dv_create_flow_matcher(steer->hw->ctx, &attr);
	if (steer->matchers[on] != NULL)
		return 0;
	MLX5P_LOG(ERR, steer->hw->name, "cannot create flow matcher of priority %u: %s",
		attr.priority, strerror(errno));
	return errno ? -errno : -EIO;
}

/* Rule @i: packets of its type go to a TIR that hashes them into the table. */
static int
create_rule(struct mlx5p_steer *steer, size_t i)
{
	const struct mlx5p_tir_attr tir = {
		.rqt = steer->rqt.id,
		.l3_prot_type = rules[i].l3,
		.l4_prot_type = rules[i].l4,
		.selected_fields = rules[i].hash,
	};
	struct mlx5dv_flow_action_attr action = { .type = MLX5DV_FLOW_ACTION_DEST_DEVX };
	union match value;
	int ret = 0;

	if (!mlx5p_obj_exists(&steer->rules[i].tir))
		ret = mlx5p_devx_create_tir(steer->hw, &tir, &steer->rules[i].tir);
	if (ret < 0)
		return ret;
	action.obj = steer->rules[i].tir.obj;
	fill_match(&value, rules[i].ip_version, rules[i].ip_protocol);
	errno = 0;
	steer->rules[i].flow = mlx5dv_create_flow(steer->matchers[rules[i].match], &value.param, 1,
		&action);
	if (steer->rules[i].flow != NULL)
		return 0;
	MLX5P_LOG(ERR, steer->hw->name, "cannot create flow rule %zu: %s", i, strerror(errno));
	return errno ? -errno : -EIO;
}

static int
create_rules(struct mlx5p_steer *steer)
{
	int ret = 0;
	size_t i;

	for (i = 0; i < MATCHERS && ret == 0; i++) {
		if (steer->matchers[i] == NULL)
			ret = create_matcher(steer, i);
	}
	for (i = 0; i < RTE_DIM(rules) && ret == 0; i++) {
		if (steer->rules[i].flow == NULL)
			ret = create_rule(steer, i);
	}
	return ret;
}

static int
destroy_rule(struct mlx5p_steer *steer, size_t i)
{
	int ret;

	if (steer->rules[i].flow != NULL) {
		ret = ibv_destroy_flow(steer->rules[i].flow);
		if (ret != 0) {
			MLX5P_LOG(ERR, steer->hw->name, "cannot destroy flow rule %zu: %s", i,
				strerror(ret));
			return -ret;
		}
		steer->rules[i].flow = NULL;
	}
	return mlx5p_devx_try_destroy(steer->hw, &steer->rules[i].tir, "TIR");
}

/* @return 0, or the first error: something is left. */
static int
destroy_rules(struct mlx5p_steer *steer)
{
	bool used[MATCHERS] = { false };
	int ret = 0, one;
	size_t i;

	for (i = 0; i < RTE_DIM(rules); i++) {
		one = destroy_rule(steer, i);
		used[rules[i].match] |= steer->rules[i].flow != NULL;
		ret = ret < 0 ? ret : one;
	}
	for (i = 0; i < MATCHERS; i++) {
		if (steer->matchers[i] == NULL || used[i])
			continue;
		mlx5dv_destroy_flow_matcher(steer->matchers[i]);
		steer->matchers[i] = NULL;
	}
	return ret;
}

/* ---- the table ---- */

static int
write_table(struct mlx5p_steer *steer, const uint32_t *virtq_ids, uint32_t n)
{
	uint32_t size = RTE_MIN((uint32_t)RQT_ENTRIES, RTE_BIT32(steer->hw->caps.log_max_rqt_size));
	uint32_t entries[RQT_ENTRIES], i;

	for (i = 0; i < size; i++)
		entries[i] = virtq_ids[i % n];
	if (mlx5p_obj_exists(&steer->rqt))
		return mlx5p_devx_modify_rqt(steer->hw, &steer->rqt, entries, size);
	return mlx5p_devx_create_rqt(steer->hw, entries, size, &steer->rqt);
}

int
mlx5p_steer_set(struct mlx5p_steer *steer, const uint32_t *virtq_ids, uint32_t n)
{
	uint32_t *queues;
	int ret;

	if (n == 0) {
		mlx5p_steer_clear(steer);
		return 0;
	}
	if (n == steer->nqueues && memcmp(virtq_ids, steer->queues, n * sizeof(*queues)) == 0)
		return 0;
	queues = malloc(n * sizeof(*queues));
	if (queues == NULL)
		return -ENOMEM;
	memcpy(queues, virtq_ids, n * sizeof(*queues));
	ret = write_table(steer, virtq_ids, n);
	if (ret == 0)
		ret = create_rules(steer);
	if (ret < 0) {
		if (steer->nqueues == 0)
			mlx5p_steer_clear(steer);
		free(queues);
		return ret;
	}
	free(steer->queues);
	steer->queues = queues;
	steer->nqueues = n;
	return 0;
}

void
mlx5p_steer_forget(struct mlx5p_steer *steer, uint32_t virtq_id)
{
	uint32_t rest[RQT_ENTRIES], i, n = 0;

	for (i = 0; i < steer->nqueues && n < RTE_DIM(rest); i++) {
		if (steer->queues[i] != virtq_id)
			rest[n++] = steer->queues[i];
	}
	/* Better no reception than a table that leads to a queue that is gone. */
	if (n < steer->nqueues && mlx5p_steer_set(steer, rest, n) < 0)
		mlx5p_steer_clear(steer);
}

void
mlx5p_steer_clear(struct mlx5p_steer *steer)
{
	if (destroy_rules(steer) == 0)
		mlx5p_devx_try_destroy(steer->hw, &steer->rqt, "RQT");
	free(steer->queues);
	steer->queues = NULL;
	steer->nqueues = 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>

#include <rte_common.h>

#include "hw.h"
#include "stats.h"
#include "virtq.h"

/* Names and order of NVIDIA's driver, which scripts know; then ours. */
static const char *const names[] = {
	"received_descriptors",
	"completed_descriptors",
	"bad descriptor errors",
	"exceed max chain",
	"invalid buffer",
	"completion errors",
	"queue errors",            /* how often the queue object went to error */
	"queue recoveries",        /* how often it was brought back */
};

int
mlx5p_stats_names(struct rte_vdpa_stat_name *out, unsigned int size)
{
	unsigned int i;

	for (i = 0; out != NULL && i < size && i < RTE_DIM(names); i++)
		snprintf(out[i].name, sizeof(out[i].name), "%s", names[i]);
	return RTE_DIM(names);
}

int
mlx5p_stats_get(struct mlx5p_virtq *vq, struct rte_vdpa_stat *stats, unsigned int n)
{
	const struct mlx5p_virtq_counters *base = &vq->counters_base;
	struct mlx5p_virtq_counters now;
	unsigned int i;
	int ret;

	if (!mlx5p_obj_exists(&vq->counters))
		return -EINVAL;
	ret = mlx5p_devx_query_counters(vq->env->hw, &vq->counters, &now);
	if (ret < 0)
		return ret;
	{
		/* Counters of 32 bits wrap: subtract in their width. */
		const uint64_t values[RTE_DIM(names)] = {
			now.received_desc - base->received_desc,
			now.completed_desc - base->completed_desc,
			now.bad_desc_errors - base->bad_desc_errors,
			now.exceed_max_chain - base->exceed_max_chain,
			now.invalid_buffer - base->invalid_buffer,
			now.error_cqes - base->error_cqes,
			vq->errors,
			vq->recoveries,
		};

		for (i = 0; i < n && i < RTE_DIM(names); i++)
			stats[i] = (struct rte_vdpa_stat) { .id = i, .value = values[i] };
	}
	return i;
}

int
mlx5p_stats_reset(struct mlx5p_virtq *vq)
{
	vq->errors = vq->recoveries = 0;
	if (!mlx5p_obj_exists(&vq->counters))
		return 0; /* nothing counted yet */
	return mlx5p_devx_query_counters(vq->env->hw, &vq->counters, &vq->counters_base);
}

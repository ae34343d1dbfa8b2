/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>

#include <rte_common.h>

#include "memory.h"
#include "mlx5p_log.h"
#include "queues.h"
#include "restart.h"

#define GUEST_AS 0                 /* the address space with the guest's memory */

static bool
wanted(void)
{
	return rte_log_can_log(mlx5p_logtype, RTE_LOG_INFO);
}

void
mlx5p_restart_stop(struct mlx5p_restart *r, const struct mlx5p_memory *memory,
		const struct mlx5p_queues *queues)
{
	r->stopped = wanted();
	if (!r->stopped)
		return;
	mlx5p_pins_stats(mlx5p_memory_pins(memory), &r->pins);
	mlx5p_aspace_stats(mlx5p_memory_aspace(memory, GUEST_AS), &r->aspace);
	r->queues_made = mlx5p_queues_made(queues);
}

void
mlx5p_restart_forget(struct mlx5p_restart *r)
{
	r->stopped = false;
}

/* The key over the guest's memory. */
static void
say_key(const struct mlx5p_aspace_stats *before, const struct mlx5p_memory *memory, char *text,
		size_t len)
{
	struct mlx5p_aspace_stats now;

	mlx5p_aspace_stats(mlx5p_memory_aspace(memory, GUEST_AS), &now);
	if (now.rebuilds == before->rebuilds)
		snprintf(text, len, "kept");
	else if (now.last == MLX5P_REBUILD_FIRST)
		snprintf(text, len, "made anew (all maps had been dropped)");
	else
		snprintf(text, len, "made anew (%s)", mlx5p_rebuild_name(now.last));
}

/* The queue objects. */
static void
say_queues(uint64_t made_before, const struct mlx5p_queues *queues, char *text, size_t len)
{
	uint32_t running = mlx5p_queues_running(queues);
	uint64_t made = RTE_MIN(mlx5p_queues_made(queues) - made_before, (uint64_t)running);
	const char *why = "";

	if (made > 0)
		why = mlx5p_queues_resume(queues) ? " (the change was not to be made to them)" :
			" (stopped ones are not resumed)";
	snprintf(text, len, "%" PRIu64 " kept, %" PRIu64 " made anew%s", running - made, made, why);
}

void
mlx5p_restart_done(struct mlx5p_restart *r, const char *name, const struct mlx5p_memory *memory,
		const struct mlx5p_queues *queues)
{
	uint64_t pinned, unpinned;
	struct mlx5p_pins_stats now;
	char key[96], objects[96];
	size_t maps;

	if (!r->stopped || !wanted())
		return;
	r->stopped = false;
	mlx5p_pins_stats(mlx5p_memory_pins(memory), &now);
	pinned = now.bytes_total - r->pins.bytes_total;
	unpinned = r->pins.bytes + pinned - now.bytes;
	maps = vhost_iotlb_count(mlx5p_memory_maps(memory));
	say_key(&r->aspace, memory, key, sizeof(key));
	say_queues(r->queues_made, queues, objects, sizeof(objects));
	MLX5P_LOG(INFO, name, "reset: %zu map%s, the key over them %s; %" PRIu64
		" bytes kept pinned, %" PRIu64 " pinned, %" PRIu64 " unpinned; queues: %s",
		maps, maps == 1 ? "" : "s", key, now.bytes - pinned, pinned, unpinned, objects);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <rte_common.h>

#include "args.h"
#include "clock.h"
#include "hw.h"
#include "memory.h"
#include "mlx5p_log.h"

/* Address spaces: all of the guest's memory, and the same for its rings (desc_group_mkey). A
 * vhost-user front-end has one table for both, so that the contract knows the first. */
enum { GUEST_AS, RING_AS, NAS };

/* A table that a connection may soon start with. */
struct coming {
	int vid;
	struct mlx5p_hold hold;
};

struct mlx5p_memory {
	const struct mlx5p_hw *hw;
	struct mlx5p_memory_owner owner;
	enum mlx5p_persist persist;
	bool iommu;                /* offered */
	uint32_t timeout_ms;       /* that pins wait for a front-end to come back */
	uint64_t deadline;         /* of those that wait, CLOCK_MONOTONIC in ns; 0: none do */
	uint64_t other_bytes;      /* that a table did not want, since they wait */
	struct mlx5p_pins *pins;
	struct coming *coming;     /* NULL: none */
	struct mlx5p_aspace *as[NAS];
	bool ring_as;              /* the card has a key for it, and the arguments want it */
	bool leaving;              /* the front-end: its maps go, its pins may wait */
	struct vhost_iotlb_dev *iotlb;
	struct vhost_iotlb_user user;
};

/* ---- a table that is to come ---- */

/* What of it is not in force by now is not needed. */
static void
end_coming(struct mlx5p_memory *m)
{
	struct coming *coming = m->coming;

	if (coming == NULL)
		return;
	mlx5p_pins_cancel(&coming->hold);
	mlx5p_pins_rollback(m->pins, &coming->hold);
	free(coming);
	m->coming = NULL;
}

/* Begin to pin what is new in a table. What fails is told when the table is to come into force. */
static void
begin_coming(struct mlx5p_memory *m, int vid, const struct vhost_iotlb *table)
{
	struct coming *coming = calloc(1, sizeof(*coming));

	if (coming == NULL) {
		end_coming(m);
		return;
	}
	coming->vid = vid;
	/* What both tables have stays: the new one holds it before the old one lets go. */
	if (m->coming != NULL)
		mlx5p_pins_cancel(&m->coming->hold);
	if (mlx5p_aspace_plan(m->pins, table, &coming->hold) < 0) {
		mlx5p_pins_rollback(m->pins, &coming->hold);
		free(coming);
		end_coming(m);
		return;
	}
	end_coming(m);
	m->coming = coming;
	/* What waits and is not of this table goes first: both may be more than can be pinned. */
	m->other_bytes += mlx5p_pins_sweep(m->pins);
	mlx5p_pins_begin(m->pins, &coming->hold);
}

void
mlx5p_memory_withdraw(struct mlx5p_memory *m, int vid)
{
	if (m->coming != NULL && m->coming->vid == vid)
		end_coming(m);
}

/* ---- the contract: operations of the parent ---- */

static int
op_reset(void *parent)
{
	RTE_SET_USED(parent); /* close stopped the queues; maps are none of a reset's business */
	return 0;
}

static void
clear_keys(struct mlx5p_memory *m)
{
	unsigned int asid;

	for (asid = 0; asid < NAS; asid++)
		mlx5p_aspace_clear(m->as[asid]);
}

/* The initial mapping is empty: a queue without maps would fault on every access. */
static void
clear_maps(struct mlx5p_memory *m)
{
	m->owner.forget_keys(m->owner.arg);
	clear_keys(m);
}

static int
op_compat_reset(void *parent, uint32_t flags)
{
	struct mlx5p_memory *m = parent;

	if ((flags & VHOST_IOTLB_RESET_CLEAN_MAP) == 0)
		return 0;
	clear_maps(m);
	mlx5p_pins_sweep(m->pins);
	return 0;
}

static void
set_deadline(struct mlx5p_memory *m, uint64_t when_ns)
{
	m->deadline = when_ns;
	m->other_bytes = 0;
	m->owner.wake_at(m->owner.arg, when_ns);
}

/* A table is in force: what it does not need of what waited is gone. */
static void
end_wait(struct mlx5p_memory *m, const struct mlx5p_pins_stats *before)
{
	struct mlx5p_pins_stats now;

	if (m->deadline == 0)
		return;
	mlx5p_pins_stats(m->pins, &now);
	MLX5P_LOG(INFO, m->hw->name, "a front-end is back: of its memory %" PRIu64
		" bytes were pinned still, %" PRIu64 " were not; %" PRIu64
		" bytes that waited were other memory",
		now.hit_bytes - before->hit_bytes, now.miss_bytes - before->miss_bytes,
		m->other_bytes + before->bytes + now.bytes_total - before->bytes_total -
			now.bytes);
	set_deadline(m, 0);
}

static bool
use_key(struct mlx5p_memory *m, uint32_t mkey, uint32_t ring_mkey)
{
	return m->owner.use_key != NULL && m->owner.use_key(m->owner.arg, mkey, ring_mkey);
}

/* Rings do with the key of all memory if there can't be one for them. */
static void
map_rings(struct mlx5p_memory *m, const struct vhost_iotlb *maps)
{
	if (!m->ring_as || mlx5p_aspace_set(m->as[RING_AS], maps) == 0)
		return;
	MLX5P_LOG(NOTICE, m->hw->name, "no address space for rings: they share the guest's");
	m->ring_as = false;
}

static int
op_set_map(void *parent, unsigned int asid, const struct vhost_iotlb *maps)
{
	struct mlx5p_memory *m = parent;
	struct mlx5p_pins_stats before;
	int ret;

	RTE_SET_USED(asid); /* the contract knows one */
	if (vhost_iotlb_count(maps) == 0) {
		/* Queues that run go on, without memory; with an IOTLB, which comes to that in good
		 * order, they stand. */
		if (!vhost_iotlb_user_iotlb(&m->user) && use_key(m, m->hw->null_mkey, 0))
			clear_keys(m);
		else
			clear_maps(m);
		if (!m->leaving)
			mlx5p_pins_sweep_later(m->pins); /* unmapped is unpinned */
		return 0;
	}
	/* A pin that failed there fails the table that wants it. */
	if (m->coming != NULL)
		mlx5p_pins_finish(&m->coming->hold);
	mlx5p_pins_stats(m->pins, &before);
	ret = mlx5p_aspace_set(m->as[GUEST_AS], maps);
	if (ret < 0)
		return ret;
	end_wait(m, &before);
	map_rings(m, maps);
	if (use_key(m, mlx5p_memory_mkey(m), mlx5p_memory_ring_mkey(m)))
		mlx5p_memory_reap(m);
	return 0;
}

static int
op_reset_map(void *parent, unsigned int asid)
{
	RTE_SET_USED(asid); /* the contract knows one */
	clear_maps(parent);
	return 0;
}

const struct vhost_iotlb_parent_ops mlx5p_memory_parent_ops = {
	.reset = op_reset,
	.compat_reset = op_compat_reset,
	.set_map = op_set_map,
	.reset_map = op_reset_map,
};

/* ---- set-up ---- */

static void
forget_nothing(void *arg)
{
	RTE_SET_USED(arg);
}

static void
wake_never(void *arg, uint64_t when_ns)
{
	RTE_SET_USED(arg);
	RTE_SET_USED(when_ns);
}

int
mlx5p_memory_create(const struct mlx5p_hw *hw, const struct mlx5p_args *args,
		struct mlx5p_workers *workers, const struct mlx5p_memory_owner *owner,
		struct mlx5p_memory **memory)
{
	struct mlx5p_memory *m = calloc(1, sizeof(*m));
	unsigned int asid;
	int ret = -ENOMEM;

	if (m == NULL)
		return -ENOMEM;
	m->hw = hw;
	m->owner = *owner;
	m->persist = args->persist;
	m->iommu = args->iommu;
	if (args->persist == MLX5P_PERSIST_RECONNECT)
		m->timeout_ms = args->persist_timeout_ms;
	m->pins = mlx5p_pins_create(hw, args->mr_backend, workers);
	if (m->pins == NULL)
		goto fail;
	for (asid = 0; asid < NAS; asid++) {
		m->as[asid] = mlx5p_aspace_create(hw, m->pins);
		if (m->as[asid] == NULL)
			goto fail;
	}
	m->ring_as = args->ring_as && hw->caps.desc_group_mkey_supported;
	ret = vhost_iotlb_dev_create(&mlx5p_memory_parent_ops, m, 1, &m->iotlb);
	if (ret < 0)
		goto fail;
	*memory = m;
	return 0;
fail:
	mlx5p_memory_destroy(m);
	return ret;
}

void
mlx5p_memory_destroy(struct mlx5p_memory *m)
{
	unsigned int asid;

	if (m == NULL)
		return;
	m->owner.forget_keys = forget_nothing;
	m->owner.use_key = NULL;
	m->owner.wake_at = wake_never;
	end_coming(m);
	vhost_iotlb_user_detach(&m->user);
	vhost_iotlb_dev_destroy(m->iotlb);
	for (asid = 0; asid < NAS; asid++)
		mlx5p_aspace_destroy(m->as[asid]);
	mlx5p_pins_destroy(m->pins);
	free(m);
}

/* ---- a connection ---- */

/* A table arrived. If there was a device that runs, it has it by now. */
static void
user_table(void *arg, const struct vhost_iotlb *table)
{
	struct mlx5p_memory *m = arg;

	if (vhost_iotlb_equal(mlx5p_memory_maps(m), table))
		mlx5p_memory_withdraw(m, m->user.vid);
	else
		begin_coming(m, m->user.vid, table);
}

/* The guest's status asks for it. */
static void
user_stop(void *arg)
{
	struct mlx5p_memory *m = arg;

	m->owner.stop(m->owner.arg);
}

static void
user_start(void *arg)
{
	struct mlx5p_memory *m = arg;

	m->owner.start(m->owner.arg);
}

static void
user_reset(void *arg)
{
	struct mlx5p_memory *m = arg;

	m->owner.reset(m->owner.arg);
}

int
mlx5p_memory_attach(struct mlx5p_memory *m, int vid)
{
	static const struct vhost_iotlb_user_ops ops = {
		.table = user_table, .stop = user_stop, .start = user_start,
		.reset = user_reset,
	};
	const struct vhost_iotlb_user_conf conf = {
		.name = m->hw->name,
		.persist = m->persist != MLX5P_PERSIST_OFF,
		.iommu = m->iommu,
		.hook = m->owner.hook,
		.ops = &ops,
		.arg = m,
	};

	/* What was taken for a RESET_OWNER was the end. */
	if (vhost_iotlb_user_in_limbo(&m->user))
		mlx5p_memory_release(m);
	return vhost_iotlb_user_attach(&m->user, vid, m->iotlb, &conf);
}

int
mlx5p_memory_take(struct mlx5p_memory *m, int vid)
{
	int ret = mlx5p_memory_attach(m, vid);

	if (ret == 0)
		ret = vhost_iotlb_user_sync_table(&m->user, NULL);
	end_coming(m);
	if (ret == 0)
		mlx5p_pins_sweep(m->pins); /* what it alone held back is other memory */
	return ret;
}

bool
mlx5p_memory_attached(const struct mlx5p_memory *m)
{
	return vhost_iotlb_user_attached(&m->user);
}

bool
mlx5p_memory_is_for(const struct mlx5p_memory *m, int vid)
{
	return vhost_iotlb_user_is_for(&m->user, vid);
}

void
mlx5p_memory_virtio_reset(struct mlx5p_memory *m)
{
	if (mlx5p_memory_attached(m))
		vhost_iotlb_user_stopped(&m->user);
}

void
mlx5p_memory_release(struct mlx5p_memory *m)
{
	struct mlx5p_pins_stats stats;

	if (!mlx5p_memory_attached(m))
		return;
	m->leaving = true;
	vhost_iotlb_user_detach(&m->user);
	m->leaving = false;
	if (m->timeout_ms == 0) {
		mlx5p_pins_sweep_later(m->pins);
		return;
	}
	/* One that left before its memory was in force changed nothing: the clock runs on. */
	mlx5p_pins_stats(m->pins, &stats);
	if (m->deadline != 0 || stats.waiting == 0)
		return;
	set_deadline(m, mlx5p_now_ns() + m->timeout_ms * MLX5P_NS_IN_MS);
	MLX5P_LOG(INFO, m->hw->name, "the front-end is gone: %" PRIu64 " bytes in %u pins wait %u "
		"ms for it to come back", stats.bytes_waiting, stats.waiting, m->timeout_ms);
}

void
mlx5p_memory_expire(struct mlx5p_memory *m)
{
	struct mlx5p_pins_stats stats;

	if (m->deadline == 0 || mlx5p_now_ns() < m->deadline)
		return;
	m->deadline = 0;
	mlx5p_pins_stats(m->pins, &stats);
	mlx5p_pins_sweep_later(m->pins);
	if (stats.waiting == 0)
		return;
	MLX5P_LOG(INFO, m->hw->name, "nobody came back with the same memory: %" PRIu64
		" bytes are unpinned", stats.bytes_waiting);
}

int
mlx5p_memory_drop(struct mlx5p_memory *m, uint64_t *bytes)
{
	struct mlx5p_pins_stats stats;

	mlx5p_pins_stats(m->pins, &stats);
	*bytes = 0;
	if (stats.waiting == 0 && stats.pins > 0) {
		MLX5P_LOG(ERR, m->hw->name, "cannot drop pins: a front-end is connected and needs "
			"all %" PRIu64 " bytes of them", stats.bytes);
		return -EBUSY;
	}
	*bytes = mlx5p_pins_sweep(m->pins);
	if (m->deadline != 0)
		set_deadline(m, 0);
	MLX5P_LOG(INFO, m->hw->name, "pins dropped on request: %" PRIu64 " bytes", *bytes);
	return 0;
}

void
mlx5p_memory_reap(struct mlx5p_memory *m)
{
	unsigned int asid;

	for (asid = 0; asid < NAS; asid++)
		mlx5p_aspace_reap(m->as[asid]);
	if (!m->ring_as)
		mlx5p_aspace_clear(m->as[RING_AS]); /* of maps that were, if any */
	mlx5p_pins_sweep_later(m->pins); /* the device is up; this is behind it */
}

uint32_t
mlx5p_memory_mkey(const struct mlx5p_memory *m)
{
	return mlx5p_aspace_mkey(m->as[GUEST_AS]);
}

uint32_t
mlx5p_memory_ring_mkey(const struct mlx5p_memory *m)
{
	return m->ring_as ? mlx5p_aspace_mkey(m->as[RING_AS]) : 0;
}

const struct vhost_iotlb *
mlx5p_memory_maps(const struct mlx5p_memory *m)
{
	return vhost_iotlb_dev_table(m->iotlb, GUEST_AS);
}

/* ---- seen ---- */

const struct mlx5p_pins *
mlx5p_memory_pins(const struct mlx5p_memory *m)
{
	return m->pins;
}

const struct mlx5p_aspace *
mlx5p_memory_aspace(const struct mlx5p_memory *m, unsigned int asid)
{
	return asid < NAS ? m->as[asid] : NULL;
}

struct vhost_iotlb_user *
mlx5p_memory_user(struct mlx5p_memory *m)
{
	return &m->user;
}

const struct vhost_iotlb_dev *
mlx5p_memory_iotlb(const struct mlx5p_memory *m)
{
	return m->iotlb;
}

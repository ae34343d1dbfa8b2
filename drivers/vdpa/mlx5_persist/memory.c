/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>

#include "args.h"
#include "hw.h"
#include "memory.h"
#include "mlx5p_log.h"

/* Address spaces: one, with all of the guest's memory. */
enum { GUEST_AS, NAS };

struct mlx5p_memory {
	const struct mlx5p_hw *hw;
	struct mlx5p_memory_owner owner;
	enum mlx5p_persist persist;
	struct mlx5p_pins *pins;
	struct mlx5p_aspace *as[NAS];
	struct vhost_iotlb_dev *iotlb;
	struct vhost_iotlb_user user;
};

/* ---- the contract: operations of the parent ---- */

static int
op_reset(void *parent)
{
	RTE_SET_USED(parent); /* close stopped the queues; maps are none of a reset's business */
	return 0;
}

/* The initial mapping is empty: a queue without maps would fault on every access. */
static void
clear_maps(struct mlx5p_memory *m, unsigned int asid)
{
	m->owner.forget_keys(m->owner.arg);
	mlx5p_aspace_clear(m->as[asid]);
}

static int
op_compat_reset(void *parent, uint32_t flags)
{
	struct mlx5p_memory *m = parent;
	unsigned int asid;

	if ((flags & VHOST_IOTLB_RESET_CLEAN_MAP) == 0)
		return 0;
	for (asid = 0; asid < NAS; asid++)
		clear_maps(m, asid);
	mlx5p_pins_sweep(m->pins);
	return 0;
}

static int
op_set_map(void *parent, unsigned int asid, const struct vhost_iotlb *maps)
{
	struct mlx5p_memory *m = parent;

	if (vhost_iotlb_count(maps) == 0) {
		clear_maps(m, asid);
		return 0;
	}
	return mlx5p_aspace_set(m->as[asid], maps);
}

static int
op_reset_map(void *parent, unsigned int asid)
{
	clear_maps(parent, asid);
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

int
mlx5p_memory_create(const struct mlx5p_hw *hw, const struct mlx5p_args *args,
		const struct mlx5p_memory_owner *owner, struct mlx5p_memory **memory)
{
	struct mlx5p_memory *m = calloc(1, sizeof(*m));
	unsigned int asid;
	int ret = -ENOMEM;

	if (m == NULL)
		return -ENOMEM;
	m->hw = hw;
	m->owner = *owner;
	m->persist = args->persist;
	m->pins = mlx5p_pins_create(hw, args->mr_backend);
	if (m->pins == NULL)
		goto fail;
	for (asid = 0; asid < NAS; asid++) {
		m->as[asid] = mlx5p_aspace_create(hw, m->pins);
		if (m->as[asid] == NULL)
			goto fail;
	}
	ret = vhost_iotlb_dev_create(&mlx5p_memory_parent_ops, m, NAS, &m->iotlb);
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
	vhost_iotlb_user_detach(&m->user);
	vhost_iotlb_dev_destroy(m->iotlb);
	for (asid = 0; asid < NAS; asid++)
		mlx5p_aspace_destroy(m->as[asid]);
	mlx5p_pins_destroy(m->pins);
	free(m);
}

/* ---- a connection ---- */

int
mlx5p_memory_take(struct mlx5p_memory *m, int vid)
{
	int ret;

	ret = vhost_iotlb_user_attach(&m->user, vid, m->iotlb, m->hw->name,
		m->persist != MLX5P_PERSIST_OFF);
	return ret < 0 ? ret : vhost_iotlb_user_sync_table(&m->user, NULL);
}

bool
mlx5p_memory_attached(const struct mlx5p_memory *m)
{
	return vhost_iotlb_user_attached(&m->user);
}

bool
mlx5p_memory_is_for(const struct mlx5p_memory *m, int vid)
{
	return !mlx5p_memory_attached(m) || m->user.vid == vid;
}

void
mlx5p_memory_virtio_reset(struct mlx5p_memory *m)
{
	if (mlx5p_memory_attached(m))
		vhost_iotlb_user_virtio_reset(&m->user);
}

void
mlx5p_memory_release(struct mlx5p_memory *m)
{
	vhost_iotlb_user_detach(&m->user);
	mlx5p_pins_sweep(m->pins);
}

void
mlx5p_memory_reap(struct mlx5p_memory *m)
{
	unsigned int asid;

	for (asid = 0; asid < NAS; asid++)
		mlx5p_aspace_reap(m->as[asid]);
	mlx5p_pins_sweep(m->pins);
}

uint32_t
mlx5p_memory_mkey(const struct mlx5p_memory *m)
{
	return mlx5p_aspace_mkey(m->as[GUEST_AS]);
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

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <core.h>
#include <face.h>

#include "args.h"
#include "conformance_mlx5.h"
#include "hw.h"
#include "memory.h"
#include "workers.h"

/* What a key that is gone must not read, and no page of a scenario begins with. */
#define READ_BY_A_STALE_KEY UINT64_MAX

/* The card, opened once: scenarios come and go on it as front-ends do. */
static struct mlx5p_hw hw;
static struct mlx5p_workers *workers;              /* none: it all happens on our thread */
static bool is_open;

struct parent {
	struct mlx5p_memory *memory;
	uint32_t key;                              /* of the guest's memory, when last asked */
	uint32_t stale_key;                        /* the one before it, 0: none */
};

/* There are no queues that could know a key. */
static void
forget_nothing(void *arg)
{
	(void)arg;
}

static bool
card_open(void)
{
	static const char name[] = "mlx5_0";
	struct ibv_context *ctx;
	int node = -1;

	if (is_open)
		return true;
	ctx = mlx5p_hw_find(name, &node);
	if (ctx == NULL) {
		fprintf(stderr, "no emulated card: %s\n", strerror(errno));
		return false;
	}
	if (mlx5p_hw_open(&hw, name, ctx, node) < 0)
		return false;
	is_open = mlx5p_workers_get(-1, 0, &workers) == 0;
	if (!is_open)
		mlx5p_hw_close(&hw);
	return is_open;
}

void
conformance_mlx5_close(void)
{
	if (is_open) {
		mlx5p_workers_put(workers);
		mlx5p_hw_close(&hw);
	}
	is_open = false;
}

static void *
create(unsigned int nas, enum mlx5p_mr_backend backend)
{
	const struct mlx5p_args args = { .persist = MLX5P_PERSIST_RESET, .mr_backend = backend };
	static const struct mlx5p_memory_owner owner = { .forget_keys = forget_nothing };
	struct parent *p;

	if (nas != 1 || !card_open())
		return NULL;
	p = calloc(1, sizeof(*p));
	if (p != NULL && mlx5p_memory_create(&hw, &args, workers, &owner, &p->memory) < 0) {
		free(p);
		return NULL;
	}
	return p;
}

static void *
create_verbs(unsigned int nas)
{
	return create(nas, MLX5P_MR_VERBS);
}

static void *
create_devx(unsigned int nas)
{
	return create(nas, MLX5P_MR_DEVX);
}

static void
destroy(void *parent)
{
	struct parent *p = parent;

	mlx5p_memory_destroy(p->memory);
	free(p);
}

static int
dma_read(uint32_t key, uint64_t addr, uint64_t *value)
{
	struct emu_tlb tlb = { .gen = 0 };

	/* In the initial mapping there is no key, and no queue runs without one. */
	if (key == 0)
		return -EFAULT;
	return emu_dma_read(face_dev_of(hw.ctx->device)->dev, &tlb, hw.pdn, key, addr, value,
		sizeof(*value));
}

static int
device_read(void *parent, unsigned int group, uint64_t addr, uint64_t *value)
{
	struct parent *p = parent;
	uint32_t key;

	(void)group;                               /* there is one */
	/* The device's next step after a change, when its queues have the new key. */
	mlx5p_memory_reap(p->memory);
	key = mlx5p_memory_mkey(p->memory);
	if (key != p->key) {
		p->stale_key = p->key;
		p->key = key;
	}
	/* A key that is no longer in force reaches nothing, mapped or not. */
	if (p->stale_key != key && dma_read(p->stale_key, addr, value) == 0) {
		*value = READ_BY_A_STALE_KEY;
		return 0;
	}
	return dma_read(key, addr, value);
}

/* The operations with the parent that they are for. */

static int
op_reset(void *parent)
{
	return mlx5p_memory_parent_ops.reset(((struct parent *)parent)->memory);
}

static int
op_compat_reset(void *parent, uint32_t flags)
{
	return mlx5p_memory_parent_ops.compat_reset(((struct parent *)parent)->memory, flags);
}

static int
op_set_map(void *parent, unsigned int asid, const struct vhost_iotlb *maps)
{
	return mlx5p_memory_parent_ops.set_map(((struct parent *)parent)->memory, asid, maps);
}

static int
op_reset_map(void *parent, unsigned int asid)
{
	return mlx5p_memory_parent_ops.reset_map(((struct parent *)parent)->memory, asid);
}

static const struct vhost_iotlb_parent_ops ops = {
	.reset = op_reset, .compat_reset = op_compat_reset, .set_map = op_set_map,
	.reset_map = op_reset_map };

const struct vhost_iotlb_conf_adapter conformance_mlx5 = {
	.name = "mlx5_persist", .what = "the driver's, on an emulated card; initial mapping empty",
	.ops = &ops, .create = create_verbs, .destroy = destroy, .read = device_read, .max_nas = 1,
	.initial_is_empty = true };

const struct vhost_iotlb_conf_adapter conformance_mlx5_devx = {
	.name = "mr_backend=devx", .what = "the same with that argument",
	.ops = &ops, .create = create_devx, .destroy = destroy, .read = device_read, .max_nas = 1,
	.initial_is_empty = true };

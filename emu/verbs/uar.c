/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages of the BAR that programs ring doorbells in: UARs, and the VARs of virtio queues.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "face.h"

enum {
	UAR_BYTES = 4096,
	/* A UAR has two BlueFlame registers; libmlx5 hands them out one by one. */
	REGS = 2,
	REG_OFFSET = 0x800,
};

struct uar;

struct uar_reg {
	struct mlx5dv_devx_uar dv;
	struct uar *uar;
	bool used;
};

struct uar {
	struct face_uars *uars;
	uint32_t page;
	uint8_t *map;
	struct uar_reg regs[REGS];
	LIST_ENTRY(uar) next;
};

/* UARs live as long as the context: freed ones wait in it for the next. */
struct face_uars {
	pthread_mutex_t lock;
	struct uar *nc;            /* mapped without caching: one, for all who want it */
	LIST_HEAD(, uar) list;
};

/* ---- UARs ---- */

static int
alloc_page(struct face_ctx *ctx, uint32_t *page)
{
	uint8_t in[PRM_BYTES(alloc_uar_in)] = { 0 }, out[PRM_BYTES(alloc_uar_out)];
	int rc;

	PRM_SET(alloc_uar_in, in, opcode, MLX5_CMD_OP_ALLOC_UAR);
	PRM_SET(alloc_uar_in, in, uid, ctx->uid);
	rc = face_cmd(ctx->dev, in, sizeof(in), out, sizeof(out));
	if (rc == 0)
		*page = PRM_GET(alloc_uar_out, out, uar);
	return rc;
}

static void
dealloc_page(struct face_ctx *ctx, uint32_t page)
{
	uint8_t in[PRM_BYTES(dealloc_uar_in)] = { 0 }, out[PRM_BYTES(dealloc_uar_out)];

	PRM_SET(dealloc_uar_in, in, opcode, MLX5_CMD_OP_DEALLOC_UAR);
	PRM_SET(dealloc_uar_in, in, uid, ctx->uid);
	PRM_SET(dealloc_uar_in, in, uar, page);
	face_cmd(ctx->dev, in, sizeof(in), out, sizeof(out));
}

static int
uar_create(struct face_ctx *ctx, struct face_uars *uars, struct uar **out)
{
	unsigned int reg_bytes = 1u << PRM_GET(cmd_hca_cap, ctx->dev->caps, log_bf_reg_size);
	struct uar *uar = calloc(1, sizeof(*uar));
	unsigned int i;
	int rc;

	if (uar == NULL)
		return -ENOMEM;
	uar->uars = uars;
	rc = alloc_page(ctx, &uar->page);
	if (rc != 0)
		goto err_uar;
	uar->map = mmap(NULL, UAR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		ctx->verbs.context.cmd_fd, (off_t)uar->page * UAR_BYTES);
	if (uar->map == MAP_FAILED) {
		rc = -errno;
		goto err_page;
	}
	for (i = 0; i < REGS; i++) {
		uar->regs[i].uar = uar;
		uar->regs[i].dv = (struct mlx5dv_devx_uar){
			.reg_addr = uar->map + REG_OFFSET + i * reg_bytes,
			.base_addr = uar->map,
			.page_id = uar->page,
			.mmap_off = (off_t)uar->page * UAR_BYTES,
		};
	}
	*out = uar;
	return 0;

err_page:
	dealloc_page(ctx, uar->page);
err_uar:
	free(uar);
	return rc;
}

static void
uar_destroy(struct face_ctx *ctx, struct uar *uar)
{
	munmap(uar->map, UAR_BYTES);
	dealloc_page(ctx, uar->page);
	free(uar);
}

int
face_uars_create(struct face_ctx *ctx)
{
	struct face_uars *uars = calloc(1, sizeof(*uars));

	if (uars == NULL)
		return -ENOMEM;
	pthread_mutex_init(&uars->lock, NULL);
	LIST_INIT(&uars->list);
	/* A context opens without it if the device has none left. */
	if (uar_create(ctx, uars, &uars->nc) != 0)
		uars->nc = NULL;
	ctx->uars = uars;
	return 0;
}

void
face_uars_destroy(struct face_ctx *ctx)
{
	struct face_uars *uars = ctx->uars;
	struct uar *uar;

	while ((uar = LIST_FIRST(&uars->list)) != NULL) {
		LIST_REMOVE(uar, next);
		uar_destroy(ctx, uar);
	}
	if (uars->nc != NULL)
		uar_destroy(ctx, uars->nc);
	pthread_mutex_destroy(&uars->lock);
	free(uars);
}

static struct uar_reg *
unused_reg(struct face_uars *uars)
{
	struct uar *uar;
	unsigned int i;

	LIST_FOREACH(uar, &uars->list, next) {
		for (i = 0; i < REGS; i++) {
			if (!uar->regs[i].used)
				return &uar->regs[i];
		}
	}
	return NULL;
}

struct mlx5dv_devx_uar *
mlx5dv_devx_alloc_uar(struct ibv_context *context, uint32_t flags)
{
	struct face_ctx *ctx = face_ctx_of(context);
	struct face_uars *uars = ctx->uars;
	struct uar_reg *reg;
	struct uar *uar;
	int rc = 0;

	if ((flags & ~(uint32_t)MLX5DV_UAR_ALLOC_TYPE_NC) != 0)
		return face_null(-EOPNOTSUPP);
	if (flags == MLX5DV_UAR_ALLOC_TYPE_NC)
		return uars->nc != NULL ? &uars->nc->regs[0].dv : face_null(-EOPNOTSUPP);
	pthread_mutex_lock(&uars->lock);
	reg = unused_reg(uars);
	if (reg == NULL) {
		rc = uar_create(ctx, uars, &uar);
		if (rc == 0) {
			LIST_INSERT_HEAD(&uars->list, uar, next);
			reg = &uar->regs[0];
		}
	}
	if (reg != NULL)
		reg->used = true;
	pthread_mutex_unlock(&uars->lock);
	return reg != NULL ? &reg->dv : face_null(rc);
}

void
mlx5dv_devx_free_uar(struct mlx5dv_devx_uar *devx_uar)
{
	struct uar_reg *reg = FACE_CONTAINER(devx_uar, struct uar_reg, dv);
	struct face_uars *uars = reg->uar->uars;

	/* The one for all is never marked. */
	pthread_mutex_lock(&uars->lock);
	reg->used = false;
	pthread_mutex_unlock(&uars->lock);
}

/* ---- VARs: doorbell pages of virtio queues, which other processes may map, too ---- */

struct face_vars {
	pthread_mutex_t lock;
	uint8_t *map;              /* of the doorbell area */
	uint64_t offset, length, stride;
	uint64_t n;
	bool used[];
};

struct face_var {
	struct face_obj obj;
	struct mlx5dv_var dv;
};

int
face_vars_create(struct face_dev *dev)
{
	uint64_t offset, length, stride;
	struct face_vars *vars;

	emu_dev_doorbell_area(dev->dev, &offset, &length, &stride);
	vars = calloc(1, sizeof(*vars) + length / stride * sizeof(vars->used[0]));
	if (vars == NULL)
		return -ENOMEM;
	vars->map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, emu_dev_bar_fd(dev->dev),
		(off_t)offset);
	if (vars->map == MAP_FAILED) {
		free(vars);
		return -errno;
	}
	vars->offset = offset;
	vars->length = length;
	vars->stride = stride;
	vars->n = length / stride;
	pthread_mutex_init(&vars->lock, NULL);
	dev->vars = vars;
	return 0;
}

void
face_vars_destroy(struct face_dev *dev)
{
	munmap(dev->vars->map, dev->vars->length);
	pthread_mutex_destroy(&dev->vars->lock);
	free(dev->vars);
}

static int
var_destroy(struct face_obj *obj)
{
	struct face_var *var = FACE_CONTAINER(obj, struct face_var, obj);
	struct face_vars *vars = obj->ctx->dev->vars;

	/* The next owner must not inherit a doorbell. */
	__atomic_store_n((uint32_t *)(void *)(vars->map + var->dv.page_id * vars->stride),
		EMU_DOORBELL_IDLE, __ATOMIC_RELEASE);
	pthread_mutex_lock(&vars->lock);
	vars->used[var->dv.page_id] = false;
	pthread_mutex_unlock(&vars->lock);
	free(var);
	emu_alive_add("var", -1);
	return 0;
}

struct mlx5dv_var *
mlx5dv_alloc_var(struct ibv_context *context, uint32_t flags)
{
	struct face_ctx *ctx = face_ctx_of(context);
	struct face_vars *vars = ctx->dev->vars;
	struct face_var *var;
	uint64_t i;

	if (flags != 0)
		return face_null(-EOPNOTSUPP);
	var = calloc(1, sizeof(*var));
	if (var == NULL)
		return face_null(-ENOMEM);
	pthread_mutex_lock(&vars->lock);
	for (i = 0; i < vars->n && vars->used[i]; i++)
		;
	if (i < vars->n)
		vars->used[i] = true;
	pthread_mutex_unlock(&vars->lock);
	if (i == vars->n) {
		free(var);
		return face_null(-ENOSPC);
	}
	var->dv = (struct mlx5dv_var){
		.page_id = (uint32_t)i,
		.length = (uint32_t)vars->stride,
		.mmap_off = (off_t)(vars->offset + i * vars->stride),
	};
	face_obj_add(ctx, &var->obj, var_destroy);
	emu_alive_add("var", 1);
	return &var->dv;
}

void
mlx5dv_free_var(struct mlx5dv_var *dv_var)
{
	face_obj_destroy(&FACE_CONTAINER(dv_var, struct face_var, dv)->obj);
}

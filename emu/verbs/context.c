/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open devices: what the kernel makes for each, and the list of what the program made through it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "face.h"

/* ---- objects of a context ---- */

void
face_obj_add(struct face_ctx *ctx, struct face_obj *obj, int (*destroy)(struct face_obj *obj))
{
	obj->ctx = ctx;
	obj->destroy = destroy;
	pthread_mutex_lock(&ctx->lock);
	TAILQ_INSERT_TAIL(&ctx->objs, obj, next);
	pthread_mutex_unlock(&ctx->lock);
}

int
face_obj_destroy(struct face_obj *obj)
{
	struct face_ctx *ctx = obj->ctx;
	int rc;

	pthread_mutex_lock(&ctx->lock);
	TAILQ_REMOVE(&ctx->objs, obj, next);
	pthread_mutex_unlock(&ctx->lock);
	rc = obj->destroy(obj);
	if (rc != 0) {
		pthread_mutex_lock(&ctx->lock);
		TAILQ_INSERT_TAIL(&ctx->objs, obj, next);
		pthread_mutex_unlock(&ctx->lock);
	}
	return rc;
}

/* The youngest first; again, while some go, for those that were busy with another. What the device
 * keeps refusing to destroy is left to it, as the kernel leaves it, and is not freed. */
static void
destroy_objs(struct face_ctx *ctx)
{
	struct face_objs refused = TAILQ_HEAD_INITIALIZER(refused);
	struct face_obj *obj;
	unsigned int gone, left;

	do {
		gone = left = 0;
		while ((obj = TAILQ_LAST(&ctx->objs, face_objs)) != NULL) {
			TAILQ_REMOVE(&ctx->objs, obj, next);
			if (obj->destroy(obj) == 0) {
				gone++;
				continue;
			}
			TAILQ_INSERT_HEAD(&refused, obj, next);
			left++;
		}
		TAILQ_CONCAT(&ctx->objs, &refused, next);
	} while (gone > 0 && left > 0);
	if (left > 0)
		fprintf(stderr, "mlx5-emu: %s: a context is closed with %u objects that the device "
			"refuses to destroy\n", ctx->dev->ibv.name, left);
}

/* ---- what the kernel makes for a context ---- */

static int
create_uctx(struct face_ctx *ctx)
{
	uint8_t in[PRM_BYTES(create_uctx_in)] = { 0 }, out[PRM_BYTES(create_uctx_out)];
	int rc;

	if (PRM_GET(cmd_hca_cap, ctx->dev->caps, log_max_uctx) == 0)
		return -EINVAL;
	PRM_SET(create_uctx_in, in, opcode, MLX5_CMD_OP_CREATE_UCTX);
	/* The rights of a process that may use raw sockets and devices; all that the device
	 * knows. */
	PRM_SET(uctx, PRM_ADDR(create_uctx_in, in, uctx), cap,
		PRM_GET(cmd_hca_cap, ctx->dev->caps, uctx_cap));
	rc = face_cmd(ctx->dev, in, sizeof(in), out, sizeof(out));
	if (rc == 0)
		ctx->uid = PRM_GET(create_uctx_out, out, uid);
	return rc;
}

static void
destroy_uctx(struct face_ctx *ctx)
{
	uint8_t in[PRM_BYTES(destroy_uctx_in)] = { 0 }, out[PRM_BYTES(destroy_uctx_out)];

	if (ctx->uid == 0)
		return;
	PRM_SET(destroy_uctx_in, in, opcode, MLX5_CMD_OP_DESTROY_UCTX);
	PRM_SET(destroy_uctx_in, in, uid, ctx->uid);
	face_cmd(ctx->dev, in, sizeof(in), out, sizeof(out));
}

static int
create_td(struct face_ctx *ctx)
{
	uint8_t in[PRM_BYTES(alloc_transport_domain_in)] = { 0 };
	uint8_t out[PRM_BYTES(alloc_transport_domain_out)];
	int rc;

	PRM_SET(alloc_transport_domain_in, in, opcode, MLX5_CMD_OP_ALLOC_TRANSPORT_DOMAIN);
	PRM_SET(alloc_transport_domain_in, in, uid, ctx->uid);
	rc = face_cmd(ctx->dev, in, sizeof(in), out, sizeof(out));
	if (rc == 0)
		ctx->tdn = PRM_GET(alloc_transport_domain_out, out, transport_domain);
	return rc;
}

static void
destroy_td(struct face_ctx *ctx)
{
	uint8_t in[PRM_BYTES(dealloc_transport_domain_in)] = { 0 };
	uint8_t out[PRM_BYTES(dealloc_transport_domain_out)];

	PRM_SET(dealloc_transport_domain_in, in, opcode, MLX5_CMD_OP_DEALLOC_TRANSPORT_DOMAIN);
	PRM_SET(dealloc_transport_domain_in, in, uid, ctx->uid);
	PRM_SET(dealloc_transport_domain_in, in, transport_domain, ctx->tdn);
	face_cmd(ctx->dev, in, sizeof(in), out, sizeof(out));
}

/* ---- open and close ---- */

/* What the program sees of it. The command file of a context is the BAR, for its mmap; the one
 * of asynchronous events never becomes readable: DevX objects raise none of those, and the port
 * stays up. */
static int
fill_context(struct face_ctx *ctx)
{
	struct ibv_context *ibv = &ctx->verbs.context;

	ibv->cmd_fd = fcntl(emu_dev_bar_fd(ctx->dev->dev), F_DUPFD_CLOEXEC, 0);
	if (ibv->cmd_fd < 0)
		return -errno;
	ibv->async_fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	if (ibv->async_fd < 0) {
		int rc = -errno;

		close(ibv->cmd_fd);
		return rc;
	}
	ibv->device = &ctx->dev->ibv;
	ibv->num_comp_vectors = (int)face_vectors();
	pthread_mutex_init(&ibv->mutex, NULL);
	ibv->abi_compat = __VERBS_ABI_IS_EXTENDED;
	ctx->verbs.sz = sizeof(ctx->verbs);
	ctx->verbs.alloc_null_mr = face_alloc_null_mr;
	ctx->verbs.ibv_destroy_flow = face_destroy_flow;
	face_device_ops(&ctx->verbs);
	face_fill_unsupported(&ctx->verbs);
	return 0;
}

static void
empty_context(struct face_ctx *ctx)
{
	pthread_mutex_destroy(&ctx->verbs.context.mutex);
	close(ctx->verbs.context.async_fd);
	close(ctx->verbs.context.cmd_fd);
}

/* @p devx: fail if there can be no user context; otherwise open without. */
static int
open_device(struct face_dev *dev, bool devx, struct ibv_context **out)
{
	struct face_ctx *ctx = calloc(1, sizeof(*ctx));
	int rc;

	if (ctx == NULL)
		return -ENOMEM;
	ctx->dev = dev;
	pthread_mutex_init(&ctx->lock, NULL);
	TAILQ_INIT(&ctx->objs);
	rc = create_uctx(ctx);
	if (rc != 0 && devx)
		goto err_ctx;
	rc = create_td(ctx);
	if (rc != 0)
		goto err_uctx;
	rc = fill_context(ctx);
	if (rc != 0)
		goto err_td;
	rc = face_uars_create(ctx);
	if (rc != 0)
		goto err_fill;
	emu_alive_add("context", 1);
	*out = &ctx->verbs.context;
	return 0;

err_fill:
	empty_context(ctx);
err_td:
	destroy_td(ctx);
err_uctx:
	destroy_uctx(ctx);
err_ctx:
	pthread_mutex_destroy(&ctx->lock);
	free(ctx);
	return rc;
}

struct ibv_context *
ibv_open_device(struct ibv_device *device)
{
	struct ibv_context *ctx;
	int rc = open_device(face_dev_of(device), false, &ctx);

	return rc == 0 ? ctx : face_null(rc);
}

struct ibv_context *
mlx5dv_open_device(struct ibv_device *device, struct mlx5dv_context_attr *attr)
{
	struct ibv_context *ctx;
	uint32_t flags = attr != NULL ? attr->flags : 0;
	int rc;

	if ((flags & ~(uint32_t)MLX5DV_CONTEXT_FLAGS_DEVX) != 0 ||
			(attr != NULL && attr->comp_mask != 0))
		return face_null(-EINVAL);
	rc = open_device(face_dev_of(device), flags != 0, &ctx);
	return rc == 0 ? ctx : face_null(rc);
}

int
ibv_close_device(struct ibv_context *context)
{
	struct face_ctx *ctx = face_ctx_of(context);

	/* What the program had left to it. */
	emu_reclaim(true);
	destroy_objs(ctx);
	emu_reclaim(false);
	face_uars_destroy(ctx);
	empty_context(ctx);
	destroy_td(ctx);
	destroy_uctx(ctx);
	pthread_mutex_destroy(&ctx->lock);
	free(ctx);
	emu_alive_add("context", -1);
	return 0;
}

int
mlx5dv_set_context_attr(struct ibv_context *context, enum mlx5dv_set_ctx_attr_type type, void *attr)
{
	if (type != MLX5DV_CTX_ATTR_BUF_ALLOCATORS)
		return face_errno(-ENOTSUP);
	/* For the buffers of verbs queues. */
	face_ctx_of(context)->allocators = *(struct mlx5dv_ctx_allocators *)attr;
	return 0;
}

/* ---- asynchronous events ---- */

int
ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *event)
{
	uint64_t n;

	(void)event;
	/* Blocks, unless the program set the file to non-blocking; nobody writes: see
	 * fill_context(). */
	if (read(context->async_fd, &n, sizeof(n)) >= 0)
		errno = EIO;
	return -1;
}

void
ibv_ack_async_event(struct ibv_async_event *event)
{
	/* Those of queues are counted; there are none. */
	(void)event;
}

/* ---- fork: the kernel copies pinned pages to children (Linux 5.12), nothing is to be done ---- */

int
ibv_fork_init(void)
{
	return 0;
}

enum ibv_fork_status
ibv_is_fork_initialized(void)
{
	return IBV_FORK_UNNEEDED;
}

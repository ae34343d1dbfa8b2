/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DevX: firmware commands of the program's own. The kernel puts the context's user id into each,
 * passes on those that it lists, and keeps track of what they create.
 */
#include <stdlib.h>
#include <string.h>

#include "devx_cmds.h"
#include "face.h"

static int
check_lengths(const void *in, size_t inlen, const void *out, size_t outlen)
{
	if (in == NULL || out == NULL || inlen < PRM_BYTES(general_obj_in_cmd_hdr) ||
			outlen < PRM_BYTES(general_obj_out_cmd_hdr) || inlen > DEVX_MAILBOX_MAX ||
			outlen > DEVX_MAILBOX_MAX)
		return -EINVAL;
	return 0;
}

/* The command as the kernel sends it. */
static void *
copy_cmd(const struct face_ctx *ctx, const void *in, size_t inlen)
{
	void *copy = malloc(inlen);

	if (copy == NULL)
		return NULL;
	memcpy(copy, in, inlen);
	PRM_SET(general_obj_in_cmd_hdr, copy, uid, ctx->uid);
	return copy;
}

/* ---- objects ---- */

static int
obj_destroy(struct face_obj *face_obj)
{
	struct mlx5dv_devx_obj *obj = FACE_CONTAINER(face_obj, struct mlx5dv_devx_obj, obj);
	uint8_t out[PRM_BYTES(general_obj_out_cmd_hdr)];
	int rc;

	rc = face_cmd(face_obj->ctx->dev, obj->din, obj->dinlen, out, sizeof(out));
	if (rc != 0)
		return rc;
	face_events_forget(obj);
	free(obj);
	return 0;
}

/* The kernel takes an event queue only if it has it. */
static int
check_eqn(const void *in, size_t inlen)
{
	const void *cqc = PRM_ADDR(create_cq_in, in, cq_context);
	uint32_t eqn;

	if (PRM_GET(general_obj_in_cmd_hdr, in, opcode) != MLX5_CMD_OP_CREATE_CQ ||
			inlen < PRM_BYTES(create_cq_in))
		return 0;
	eqn = PRM_GET(cqc, cqc, c_eqn_or_apu_element);
	return eqn >= FACE_EQN_FIRST && eqn < FACE_EQN_FIRST + face_vectors() ? 0 : -ENOENT;
}

static int
check_create(const struct face_ctx *ctx, const void *in, size_t inlen)
{
	if (PRM_GET(general_obj_in_cmd_hdr, in, vhca_tunnel_id) != 0 || ctx->uid == 0 ||
			!devx_is_create(in, inlen))
		return -EINVAL;
	if (PRM_GET(general_obj_in_cmd_hdr, in, opcode) == MLX5_CMD_OP_CREATE_MKEY &&
			inlen < PRM_OFF(create_mkey_in, memory_key_mkey_entry) + PRM_BYTES(mkc))
		return -EINVAL;
	return check_eqn(in, inlen);
}

struct mlx5dv_devx_obj *
mlx5dv_devx_obj_create(struct ibv_context *context, const void *in, size_t inlen, void *out,
		size_t outlen)
{
	struct face_ctx *ctx = face_ctx_of(context);
	struct mlx5dv_devx_obj *obj;
	void *cmd;
	int rc;

	rc = check_lengths(in, inlen, out, outlen);
	if (rc == 0)
		rc = check_create(ctx, in, inlen);
	if (rc != 0)
		return face_null(rc);
	obj = calloc(1, sizeof(*obj) + DEVX_DESTROY_MAX);
	cmd = copy_cmd(ctx, in, inlen);
	if (obj == NULL || cmd == NULL) {
		rc = -ENOMEM;
		goto err;
	}
	devx_set_umem_valid(cmd, inlen);
	rc = face_cmd_user(ctx->dev, cmd, inlen, out, outlen);
	if (rc != 0)
		goto err;
	obj->opcode = PRM_GET(general_obj_in_cmd_hdr, cmd, opcode);
	if (obj->opcode == MLX5_CMD_OP_CREATE_GENERAL_OBJECT)
		obj->obj_type = PRM_GET(general_obj_in_cmd_hdr, cmd, obj_type);
	obj->dinlen = devx_destroy_cmd(cmd, out, obj->din, &obj->id);
	LIST_INIT(&obj->subs);
	face_obj_add(ctx, &obj->obj, obj_destroy);
	free(cmd);
	return obj;

err:
	free(cmd);
	free(obj);
	return face_null(rc);
}

int
mlx5dv_devx_obj_destroy(struct mlx5dv_devx_obj *obj)
{
	return face_errno(face_obj_destroy(&obj->obj));
}

/* A command on an object must be on this one. */
static int
obj_cmd(struct mlx5dv_devx_obj *obj, const void *in, size_t inlen, void *out, size_t outlen,
		bool (*find_target)(const void *, size_t, struct devx_target *))
{
	struct face_ctx *ctx = obj->obj.ctx;
	struct devx_target target;
	void *cmd;
	int rc;

	rc = check_lengths(in, inlen, out, outlen);
	if (rc != 0)
		return rc;
	if (PRM_GET(general_obj_in_cmd_hdr, in, vhca_tunnel_id) != 0 ||
			!find_target(in, inlen, &target) || target.create != obj->opcode ||
			target.obj_type != obj->obj_type || target.id != obj->id)
		return -EINVAL;
	cmd = copy_cmd(ctx, in, inlen);
	if (cmd == NULL)
		return -ENOMEM;
	rc = face_cmd_user(ctx->dev, cmd, inlen, out, outlen);
	free(cmd);
	return rc;
}

int
mlx5dv_devx_obj_modify(struct mlx5dv_devx_obj *obj, const void *in, size_t inlen, void *out,
		size_t outlen)
{
	return face_errno(obj_cmd(obj, in, inlen, out, outlen, devx_modify_target));
}

int
mlx5dv_devx_obj_query(struct mlx5dv_devx_obj *obj, const void *in, size_t inlen, void *out,
		size_t outlen)
{
	return face_errno(obj_cmd(obj, in, inlen, out, outlen, devx_query_target));
}

/* ---- commands without an object ---- */

static int
general_cmd(struct face_ctx *ctx, const void *in, size_t inlen, void *out, size_t outlen)
{
	void *cmd;
	int rc;

	rc = check_lengths(in, inlen, out, outlen);
	if (rc != 0)
		return rc;
	/* Where the program has no user id, the kernel uses its own for what it lists as
	 * harmless. */
	if ((ctx->uid == 0 && !devx_needs_no_uid(in)) || !devx_is_general(in))
		return -EINVAL;
	cmd = copy_cmd(ctx, in, inlen);
	if (cmd == NULL)
		return -ENOMEM;
	rc = face_cmd_user(ctx->dev, cmd, inlen, out, outlen);
	free(cmd);
	return rc;
}

int
mlx5dv_devx_general_cmd(struct ibv_context *context, const void *in, size_t inlen, void *out,
		size_t outlen)
{
	return face_errno(general_cmd(face_ctx_of(context), in, inlen, out, outlen));
}

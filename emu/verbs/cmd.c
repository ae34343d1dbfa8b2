/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands as the kernel's mlx5_core issues them.
 */
#include "face.h"

/* A system call is not a place at which a thread is cancelled: neither is this. */
static int
execute(struct face_dev *dev, const void *in, size_t inlen, void *out, size_t outlen)
{
	int cancel, status;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	status = emu_cmd(dev->dev, in, inlen, out, outlen);
	pthread_setcancelstate(cancel, NULL);
	return status;
}

int
face_cmd_user(struct face_dev *dev, const void *in, size_t inlen, void *out, size_t outlen)
{
	int status = execute(dev, in, inlen, out, outlen);

	if (status < 0)
		return status;
	return status == MLX5_CMD_STAT_OK ? 0 : -EREMOTEIO;
}

/* Linux: cmd_status_to_err() */
static int
errno_of_status(int status)
{
	switch (status) {
	case MLX5_CMD_STAT_OK:
		return 0;
	case MLX5_CMD_STAT_BAD_OP_ERR:
	case MLX5_CMD_STAT_BAD_PARAM_ERR:
	case MLX5_CMD_STAT_BAD_RES_ERR:
	case MLX5_CMD_STAT_BAD_RES_STATE_ERR:
	case MLX5_CMD_STAT_IX_ERR:
	case MLX5_CMD_STAT_BAD_QP_STATE_ERR:
	case MLX5_CMD_STAT_BAD_PKT_ERR:
	case MLX5_CMD_STAT_BAD_SIZE_OUTS_CQES_ERR:
		return -EINVAL;
	case MLX5_CMD_STAT_RES_BUSY:
		return -EBUSY;
	case MLX5_CMD_STAT_LIM_ERR:
		return -ENOMEM;
	case MLX5_CMD_STAT_NOT_READY:
	case MLX5_CMD_STAT_NO_RES_ERR:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

int
face_cmd(struct face_dev *dev, const void *in, size_t inlen, void *out, size_t outlen)
{
	int status = execute(dev, in, inlen, out, outlen);

	return status < 0 ? status : errno_of_status(status);
}

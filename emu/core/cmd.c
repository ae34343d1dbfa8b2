/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Firmware commands: what is checked of every command, then its handler, then the books.
 *
 * Lock: a handler runs under dev->lock. Accounting and trace come after it, so that a slow trace
 * file does not hold up packets.
 */
#include <errno.h>
#include <time.h>

#include "core.h"

#define DIM(a) (sizeof(a) / sizeof((a)[0]))

/* Syndromes of the checks that all commands share; handlers count theirs from 1. */
enum {
	SYN_OPCODE = 0xff01,   /* no such command */
	SYN_OBJ_TYPE,          /* no such general object, or the capabilities do not show it */
	SYN_INLEN,
	SYN_OUTLEN,
	SYN_UID,               /* no such user context */
	SYN_OP_MOD,
	SYN_INJECTED,          /* --fail asked for it */
};

static const struct emu_cmd_desc *const tables[] = {
	emu_cmds_base,
	emu_cmds_caps,
	emu_cmds_mem,
	emu_cmds_mkey,
	emu_cmds_cq,
	emu_cmds_qp,
	emu_cmds_virtq,
	emu_cmds_steer,
};

static bool
is_general_object(uint16_t opcode)
{
	switch (opcode) {
	case MLX5_CMD_OP_CREATE_GENERAL_OBJECT:
	case MLX5_CMD_OP_MODIFY_GENERAL_OBJECT:
	case MLX5_CMD_OP_QUERY_GENERAL_OBJECT:
	case MLX5_CMD_OP_DESTROY_GENERAL_OBJECT:
		return true;
	default:
		return false;
	}
}

static const struct emu_cmd_desc *
find_row(uint16_t opcode, uint16_t obj_type)
{
	const struct emu_cmd_desc *row;
	size_t i;

	for (i = 0; i < DIM(tables); i++) {
		for (row = tables[i]; row->fn != NULL; row++) {
			if (row->opcode == opcode && row->obj_type == obj_type)
				return row;
		}
	}
	return NULL;
}

/* Bit n of general_obj_types stands for type n. */
static bool
obj_type_offered(const struct emu_dev *dev, uint16_t obj_type)
{
	return obj_type < 64 &&
		(PRM_GET(cmd_hca_cap, dev->caps.general, general_obj_types) >> obj_type & 1) != 0;
}

static uint8_t
execute(struct emu_dev *dev, struct emu_cmd *c)
{
	uint16_t opcode = PRM_GET(general_obj_in_cmd_hdr, c->in, opcode);
	/* One field, two names: general objects have their type where others have op_mod. */
	uint16_t op_mod = PRM_GET(general_obj_in_cmd_hdr, c->in, obj_type);
	bool general = is_general_object(opcode);
	const struct emu_cmd_desc *row = find_row(opcode, general ? op_mod : 0);
	uint8_t status;

	status = emu_fail_check(opcode);
	if (status != 0)
		return emu_refuse(c, status, SYN_INJECTED);
	if (general && (row == NULL || !obj_type_offered(dev, op_mod)))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_OBJ_TYPE);
	if (row == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_OP_ERR, SYN_OPCODE);
	if (c->inlen < row->in_bytes)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_INP_LEN_ERR, SYN_INLEN);
	if (c->outlen < row->out_bytes)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_OUTP_LEN_ERR, SYN_OUTLEN);
	if (!general && op_mod != 0 && opcode != MLX5_CMD_OP_QUERY_HCA_CAP)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_OP_MOD);
	emu_dev_lock(dev);
	if (c->uid != 0 && emu_obj_find(dev, EMU_UCTX, c->uid, 0) == NULL)
		status = emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_UID);
	else
		status = row->fn(dev, c);
	emu_dev_unlock(dev);
	return status;
}

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int
emu_cmd(struct emu_dev *dev, const void *in, size_t inlen, void *out, size_t outlen)
{
	struct emu_cmd c = { .in = in, .inlen = inlen, .out = out, .outlen = outlen };
	uint64_t start, ns;
	int cancel_state;
	uint8_t status;

	if (inlen < PRM_BYTES(general_obj_in_cmd_hdr) ||
			outlen < PRM_BYTES(general_obj_out_cmd_hdr))
		return -EINVAL;
	/* A thread that is cancelled inside would take the device's lock along. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	start = now_ns();
	c.uid = PRM_GET(general_obj_in_cmd_hdr, in, uid);
	memset(out, 0, outlen);
	status = execute(dev, &c);
	PRM_SET(general_obj_out_cmd_hdr, out, status, status);
	PRM_SET(general_obj_out_cmd_hdr, out, syndrome, status != 0 ? c.syndrome : 0);
	emu_latency_charge(dev, &c, status, start);
	ns = now_ns() - start;
	emu_stats_cmd(PRM_GET(general_obj_in_cmd_hdr, in, opcode), status, ns);
	emu_trace_cmd(dev, &c, status, ns);
	pthread_setcancelstate(cancel_state, NULL);
	return status;
}

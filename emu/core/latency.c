/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Latency profiles: a command takes as long as on a real card, by sleeping on the thread that gave
 * it, outside of all locks.
 *
 * The card has one place that commands pass one after the other, for a part of their time; for the
 * rest they overlap. So a command is two figures: its time alone, and the part in which no other
 * passes. Commands given one at a time take the sum of the former; N given at once take N times the
 * latter, and once what is left of the former. Each device has a place of its own.
 *
 * Figures and how they follow from published ones: doc/guides/latency.rst, in the order of the rows
 * below. The profile is chosen once, before there are devices.
 */
#include <errno.h>
#include <sys/prctl.h>
#include <time.h>

#include "core.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_US UINT64_C(1000)
#define GIB (UINT64_C(1) << 30)
#define DIM(a) (sizeof(a) / sizeof((a)[0]))

/* Commands that take different times under one opcode. */
enum kind {
	ANY,
	VIRTQ,                     /* a general object of that type */
	VIRTQ_SUSPEND,             /* MODIFY: to SUSPEND, and no field */
	VIRTQ_STATE,               /* MODIFY: to another state, and no field; or dirty logging */
	VIRTQ_FIELDS,              /* MODIFY: fields of the queue, not its state */
	VIRTQ_FIELDS_STATE,        /* MODIFY: both, in one command */
};

struct row {
	uint16_t opcode;
	enum kind kind;
	uint32_t us;               /* alone */
	uint32_t single_us;        /* of it: one at a time */
	uint32_t us_per_gib;       /* besides, for the memory that a key covers */
	uint32_t single_us_per_gib;
};

struct emu_latency_profile {
	const char *name;
	const struct row *rows;
	size_t nrows;
	struct row other;          /* commands without a row, and those that are refused */
};

/* Frozen on 2026-11-21: a comparison of drivers stands on it. Another reading of the figures makes
 * another profile, with a name of its own. */
static const struct row cx6dx_rows[] = {
	{ MLX5_CMD_OP_MODIFY_GENERAL_OBJECT, VIRTQ_SUSPEND, 500, 33, 0, 0 },
	{ MLX5_CMD_OP_QUERY_GENERAL_OBJECT, VIRTQ, 328, 21, 0, 0 },
	{ MLX5_CMD_OP_MODIFY_GENERAL_OBJECT, VIRTQ_STATE, 500, 145, 0, 0 },
	{ MLX5_CMD_OP_MODIFY_GENERAL_OBJECT, VIRTQ_FIELDS, 1375, 399, 0, 0 },
	{ MLX5_CMD_OP_MODIFY_GENERAL_OBJECT, VIRTQ_FIELDS_STATE, 1875, 544, 0, 0 },
	{ MLX5_CMD_OP_CREATE_CQ, ANY, 700, 203, 0, 0 },
	{ MLX5_CMD_OP_CREATE_QP, ANY, 700, 203, 0, 0 },
	{ MLX5_CMD_OP_2RST_QP, ANY, 500, 145, 0, 0 },
	{ MLX5_CMD_OP_RST2INIT_QP, ANY, 500, 145, 0, 0 },
	{ MLX5_CMD_OP_INIT2RTR_QP, ANY, 500, 145, 0, 0 },
	{ MLX5_CMD_OP_RTR2RTS_QP, ANY, 500, 145, 0, 0 },
	{ MLX5_CMD_OP_CREATE_GENERAL_OBJECT, VIRTQ, 4612, 1338, 0, 0 },
	{ MLX5_CMD_OP_CREATE_MKEY, ANY, 280, 70, 1018, 254 },
	{ MLX5_CMD_OP_DESTROY_MKEY, ANY, 200, 25, 727, 91 },
};

static const struct emu_latency_profile profiles[] = {
	{ "cx6dx", cx6dx_rows, DIM(cx6dx_rows), { .us = 200, .single_us = 58 } },
};

static const struct emu_latency_profile *active; /* NULL: none */

int
emu_latency_set(const char *name, char *err, size_t errlen)
{
	const struct emu_latency_profile *found = NULL;
	size_t i;

	for (i = 0; i < DIM(profiles); i++) {
		if (strcmp(profiles[i].name, name) == 0)
			found = &profiles[i];
	}
	if (found == NULL && strcmp(name, "none") != 0) {
		snprintf(err, errlen, "latency=%.80s: allowed are none, cx6dx", name);
		return -EINVAL;
	}
	active = found;
	return 0;
}

/* ---- what a command costs ---- */

static enum kind
kind_of_modify(const void *in)
{
	const uint64_t state = MLX5_VIRTQ_MODIFY_STATE;
	const uint64_t light = state | MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS |
		MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE;
	const void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	uint64_t select = PRM_GET(virtio_net_q_object, obj, modify_field_select);

	if ((select & ~light) != 0)
		return (select & state) != 0 ? VIRTQ_FIELDS_STATE : VIRTQ_FIELDS;
	if ((select & state) != 0 &&
			PRM_GET(virtio_net_q_object, obj, state) == MLX5_VIRTQ_STATE_SUSPEND)
		return VIRTQ_SUSPEND;
	return VIRTQ_STATE;
}

/* Of a command that succeeded, whose mailbox is therefore whole. */
static enum kind
kind_of(uint16_t opcode, const void *in)
{
	switch (opcode) {
	case MLX5_CMD_OP_CREATE_GENERAL_OBJECT:
	case MLX5_CMD_OP_MODIFY_GENERAL_OBJECT:
	case MLX5_CMD_OP_QUERY_GENERAL_OBJECT:
	case MLX5_CMD_OP_DESTROY_GENERAL_OBJECT:
		break;
	default:
		return ANY;
	}
	if (PRM_GET(general_obj_in_cmd_hdr, in, obj_type) != MLX5_OBJ_TYPE_VIRTIO_NET_Q)
		return ANY;
	return opcode == MLX5_CMD_OP_MODIFY_GENERAL_OBJECT ? kind_of_modify(in) : VIRTQ;
}

static const struct row *
find_row(const struct emu_latency_profile *p, const struct emu_cmd *c, uint8_t status)
{
	uint16_t opcode = PRM_GET(general_obj_in_cmd_hdr, c->in, opcode);
	enum kind kind;
	size_t i;

	if (status != MLX5_CMD_STAT_OK)
		return &p->other;
	kind = kind_of(opcode, c->in);
	for (i = 0; i < p->nrows; i++) {
		if (p->rows[i].opcode == opcode && p->rows[i].kind == kind)
			return &p->rows[i];
	}
	return &p->other;
}

/* In ns. */
static uint64_t
cost(uint32_t us, uint32_t us_per_gib, uint64_t bytes)
{
	uint64_t whole = bytes / GIB * us_per_gib, part = bytes % GIB * us_per_gib / GIB;

	return (us + whole + part) * NS_PER_US;
}

/* ---- waiting ---- */

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* To the point: a thread's timer slack, 50 us by default, would be a quarter of a short command. */
static void
sleep_until(uint64_t ns)
{
	const struct timespec ts = {
		.tv_sec = (time_t)(ns / NS_PER_S),
		.tv_nsec = (long)(ns % NS_PER_S),
	};
	int slack;

	if (now_ns() >= ns)
		return;
	slack = prctl(PR_GET_TIMERSLACK);
	prctl(PR_SET_TIMERSLACK, 1);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		continue;
	if (slack > 0)
		prctl(PR_SET_TIMERSLACK, slack);
}

/* Pass the place where commands go one at a time, for @p ns, after those that came before. Returns
 * when that is over. */
static uint64_t
pass(struct emu_dev *dev, uint64_t now, uint64_t ns)
{
	uint64_t free_at = atomic_load(&dev->latency_free_at), end;

	do {
		end = (free_at > now ? free_at : now) + ns;
	} while (!atomic_compare_exchange_weak(&dev->latency_free_at, &free_at, end));
	return end;
}

void
emu_latency_charge(struct emu_dev *dev, const struct emu_cmd *c, uint8_t status, uint64_t start)
{
	const struct row *row;
	uint64_t all, single;

	if (active == NULL)
		return;
	row = find_row(active, c, status);
	all = cost(row->us, row->us_per_gib, c->key_bytes);
	single = cost(row->single_us, row->single_us_per_gib, c->key_bytes);
	sleep_until(pass(dev, start, single) + all - single);
}

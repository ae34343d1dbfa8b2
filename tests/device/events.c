/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>

#include "events.h"

/* ---- channels ---- */

struct channel
channel_create(struct dev *d)
{
	struct channel c;

	c.ch = mlx5dv_devx_create_event_channel(d->ctx,
		MLX5DV_DEVX_CREATE_EVENT_CHANNEL_FLAGS_OMIT_EV_DATA);
	assert_non_null(c.ch);
	assert_int_equal(fcntl(c.ch->fd, F_SETFL, O_NONBLOCK), 0);
	return c;
}

void
channel_discard(struct channel *c)
{
	if (c->ch != NULL)
		mlx5dv_devx_destroy_event_channel(c->ch);
	c->ch = NULL;
}

void
channel_subscribe(struct channel *c, struct obj *obj, uint16_t type, uint64_t cookie)
{
	uint16_t events[] = { type };

	assert_int_equal(mlx5dv_devx_subscribe_devx_event(c->ch, obj->obj, sizeof(events), events,
		cookie), 0);
}

uint64_t
channel_wait(struct channel *c, unsigned int ms)
{
	struct pollfd p = { .fd = c->ch->fd, .events = POLLIN };
	struct mlx5dv_devx_async_event_hdr ev;
	ssize_t n;

	if (poll(&p, 1, (int)ms) != 1)
		return 0;
	n = mlx5dv_devx_get_event(c->ch, &ev, sizeof(ev));
	if (n < 0)
		return 0;
	assert_int_equal(n, sizeof(ev));
	return ev.cookie;
}

/* ---- CQ and QPs ---- */

void
evq_create_cq(struct evq *e, struct dev *d)
{
	uint8_t in[PRM_BYTES(create_cq_in)];
	uint8_t *cqe;
	int i;

	*e = (struct evq) { .d = d };
	e->cq_dbr_off = EVQ_SIZE * MLX5_CQE_BYTES;
	e->qp_dbr_off = e->cq_dbr_off + 64;
	e->wq_off = e->qp_dbr_off + 64;
	e->umem = umem_create(d, 4096);
	for (i = 0; i < EVQ_SIZE; i++) {
		/* Entries that nobody has written yet belong to the device. */
		cqe = (uint8_t *)e->umem.addr + i * MLX5_CQE_BYTES;
		cqe[MLX5_CQE_OFF_OP_OWN] = MLX5_CQE_OP_INVALID << 4 | MLX5_CQE_OWNER_BIT;
	}
	fill_cq(d, in, e->umem.id, e->cq_dbr_off, EVQ_LOG_SIZE);
	e->cq = create(d, in, sizeof(in));
}

void
evq_create(struct evq *e, struct dev *d)
{
	uint8_t in[PRM_BYTES(create_qp_in)];

	evq_create_cq(e, d);
	fill_fw_qp(d, in);
	e->fw_qp = create(d, in, sizeof(in));
	fill_sw_qp(d, in, e->cq.id, e->umem.id, e->qp_dbr_off, EVQ_LOG_SIZE);
	PRM_SET(create_qp_in, in, wq_umem_offset, e->wq_off);
	e->sw_qp = create(d, in, sizeof(in));
}

struct verdict
qp_step(struct obj *qp, uint16_t opcode, uint32_t remote_qpn)
{
	uint8_t in[PRM_BYTES(rst2init_qp_in)];
	size_t len = fill_qp_step(in, opcode, qp->id, remote_qpn);

	return dev_modify(qp, in, len);
}

uint8_t
qp_state(struct obj *qp)
{
	uint8_t in[PRM_BYTES(query_qp_in)] = {0}, out[PRM_BYTES(query_qp_out)];

	PRM_SET(query_qp_in, in, opcode, MLX5_CMD_OP_QUERY_QP);
	PRM_SET(query_qp_in, in, qpn, qp->id);
	assert_accepted(dev_query(qp, in, sizeof(in), out, sizeof(out)));
	return PRM_GET(qpc, PRM_ADDR(query_qp_out, out, qpc), state);
}

void
evq_connect(struct evq *e)
{
	static const uint16_t steps[] = { MLX5_CMD_OP_RST2INIT_QP, MLX5_CMD_OP_INIT2RTR_QP,
		MLX5_CMD_OP_RTR2RTS_QP };
	size_t i;

	for (i = 0; i < DIM(steps); i++) {
		assert_accepted(qp_step(&e->fw_qp, steps[i], e->sw_qp.id));
		assert_accepted(qp_step(&e->sw_qp, steps[i], e->fw_qp.id));
	}
	evq_post_receives(e, EVQ_SIZE);
}

void
evq_discard(struct evq *e)
{
	discard(&e->sw_qp);
	discard(&e->fw_qp);
	discard(&e->cq);
	umem_discard(&e->umem);
}

void
evq_destroy(struct evq *e)
{
	destroy(&e->sw_qp);
	destroy(&e->fw_qp);
	destroy(&e->cq);
	umem_destroy(&e->umem);
}

void
evq_post_receives(struct evq *e, uint32_t total)
{
	uint32_t *dbr = (uint32_t *)((uint8_t *)e->umem.addr + e->qp_dbr_off);

	__atomic_store_n(dbr, htobe32(total), __ATOMIC_RELEASE);
}

const uint8_t *
evq_cqe(const struct evq *e, uint32_t i)
{
	return (const uint8_t *)e->umem.addr + i * MLX5_CQE_BYTES;
}

uint32_t
evq_completions(const struct evq *e)
{
	uint32_t n;
	uint8_t op_own;

	for (n = 0; n < EVQ_SIZE; n++) {
		op_own = __atomic_load_n(evq_cqe(e, n) + MLX5_CQE_OFF_OP_OWN, __ATOMIC_ACQUIRE);
		if (op_own >> 4 == MLX5_CQE_OP_INVALID)
			break;
	}
	return n;
}

uint64_t
evq_arm_record(struct evq *e, uint32_t ci)
{
	uint32_t *dbr = (uint32_t *)((uint8_t *)e->umem.addr + e->cq_dbr_off);
	uint32_t arm = (e->arm_sn & MLX5_CQ_DBR_ARM_SN_MASK) << MLX5_CQ_DBR_ARM_SN_SHIFT |
		MLX5_CQ_DBR_CMD_ALL | (ci & 0xffffff);

	e->arm_sn++;
	__atomic_store_n(&dbr[MLX5_CQ_DBR_ARM], htobe32(arm), __ATOMIC_RELEASE);
	return (uint64_t)arm << 32 | e->cq.id;
}

void
evq_ring(const struct evq *e, uint64_t doorbell)
{
	uint64_t *reg = (uint64_t *)((uint8_t *)e->d->uar->base_addr + MLX5_UAR_CQ_DOORBELL);

	atomic_thread_fence(memory_order_seq_cst);
	*(volatile uint64_t *)reg = htobe64(doorbell);
}

void
evq_arm(struct evq *e, uint32_t ci)
{
	evq_ring(e, evq_arm_record(e, ci));
}

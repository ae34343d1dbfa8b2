/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Event queue pairs.
 *
 * The device has RC queue pairs for one purpose: a virtio queue's completion events. Two kinds,
 * which the driver creates and connects to each other:
 *
 *	firmware   the device's end: no send queue, a receive queue of length zero, no CQ, UAR or
 *	           memory
 *	software   receives: a ring of data segments in a umem, a doorbell record with its producer
 *	           counter, and a CQ. Messages are empty, so that the segments are never looked at
 *
 * States, and who makes the change:
 *
 *	from \ to | INIT      RTR       RTS       ERR      RST
 *	RST       | RST2INIT  -         -         device   2RST
 *	INIT      | -         INIT2RTR  -         device   2RST
 *	RTR       | -         -         RTR2RTS   device   2RST
 *	RTS       | -         -         -         device   2RST
 *	ERR       | -         -         -         -        2RST
 *
 * The device puts the firmware end into ERR when the virtio queue that used it is destroyed
 * (NVIDIA's driver counts on having to reset it then), and the software end when its CQ is broken.
 */
#include <errno.h>

#include "event_qp.h"

/* Syndromes, one set for all: each command uses those that apply. */
enum {
	SYN_NO_ROOM = 1,       /* more QPs than log_max_qp */
	SYN_NOT_FOUND,         /* no such QP, or another user context's */
	SYN_BUSY,              /* a virtio queue sends its events through it */
	SYN_STATE,             /* this change is not made from the state that the QP is in */
	SYN_SERVICE,           /* st other than RC */
	SYN_SQ,                /* no_sq is 0: event queue pairs have no send queue */
	SYN_EXTENSION,         /* qpc_ext */
	SYN_INPUT_QPN,         /* a number of the driver's choice: not offered */
	SYN_PD,
	SYN_RQ_TYPE,           /* neither an own receive queue nor one of length zero */
	SYN_FW_MEMORY,         /* a firmware QP has no CQ, UAR or memory */
	SYN_RQ_SIZE,           /* log_rq_size above log_max_qp_sz */
	SYN_CQ,
	SYN_UAR,
	SYN_NO_UMEM,           /* wq_umem_valid is 0 */
	SYN_UMEM,
	SYN_UMEM_RANGE,
	SYN_NO_DBR,            /* dbr_umem_valid is 0 */
	SYN_DBR,
	SYN_DBR_RANGE,
	SYN_DBR_ALIGN,
	SYN_PORT,              /* primary_address_path names no port of the device */
	SYN_PATH_MIGRATION,    /* pm_state other than MIGRATED: there is no second path */
	SYN_REMOTE_QPN,        /* no peer */
	SYN_LOOPBACK,          /* the peer is on this device: force loopback must be set */
	SYN_MTU,
};

enum {
	DBR_BYTES = 8,
	DBR_RECEIVE = 0,       /* word of the doorbell record: be32 receive producer counter */
	MTU_4096 = 5,          /* qpc.mtu counts from 1, 256 bytes, by powers of two */
};

struct emu_qp {
	struct emu_obj obj;
	uint8_t state;
	bool fw;
	struct emu_obj *pd, *uar;
	struct emu_cq *cq;
	struct emu_umem *umem, *dbr_umem;
	uint64_t dbr_off;
	uint32_t remote_qpn;       /* from RTR on */
	uint16_t consumed;         /* receive WQEs; index of the next */
	bool attached;             /* a virtio queue uses it */
	uint8_t context[PRM_BYTES(qpc)]; /* as created, for QUERY_QP */
};

/* ---- events ---- */

/* The other end, if the two are connected to each other and ready. */
static struct emu_qp *
ready_peer(const struct emu_qp *qp)
{
	struct emu_qp *peer;

	if (qp == NULL || qp->state != MLX5_QP_STATE_RTS)
		return NULL;
	peer = emu_obj_find(qp->obj.dev, EMU_QP, qp->remote_qpn, qp->obj.uid);
	if (peer == NULL || peer->fw || peer->state != MLX5_QP_STATE_RTS ||
			peer->remote_qpn != qp->obj.id)
		return NULL;
	return peer;
}

static int
receive_producer(const struct emu_qp *qp, uint16_t *producer)
{
	uint32_t be;
	int ret = emu_umem_read(qp->obj.dev, qp->dbr_umem, qp->dbr_off + DBR_RECEIVE * sizeof(be),
		&be, sizeof(be));

	*producer = (uint16_t)be32toh(be);
	return ret;
}

static void
qp_break(struct emu_qp *qp)
{
	qp->state = MLX5_QP_STATE_ERR;
	emu_event(qp->obj.dev, MLX5_EVENT_TYPE_WQ_CATAS_ERROR, 0, qp->obj.id, 0);
}

bool
emu_qp_event(struct emu_dev *dev, uint32_t qpn)
{
	struct emu_qp *peer = ready_peer(emu_obj_find(dev, EMU_QP, qpn, 0));
	uint16_t producer;

	if (peer == NULL)
		return false;
	if (receive_producer(peer, &producer) != 0) {
		qp_break(peer);
		return false;
	}
	if (producer == peer->consumed)
		return false;
	if (emu_cq_post(peer->cq, peer->obj.id, peer->consumed) != 0) {
		qp_break(peer);
		return false;
	}
	peer->consumed++;
	return true;
}

/* ---- users ---- */

bool
emu_qp_is_free_fw(const struct emu_qp *qp)
{
	return qp->fw && !qp->attached;
}

void
emu_qp_attach(struct emu_qp *qp)
{
	qp->attached = true;
	emu_obj_hold(qp);
}

void
emu_qp_detach(struct emu_qp *qp, bool destroyed)
{
	qp->attached = false;
	emu_obj_put(qp);
	if (destroyed)
		qp->state = MLX5_QP_STATE_ERR;
}

/* ---- create, destroy, query ---- */

/* The umem valid bits say nothing: the kernel sets them in every queue pair that a user creates
 * (Linux: devx_set_umem_valid). */
static uint8_t
check_fw(struct emu_cmd *c, const void *qpc)
{
	if (PRM_GET(qpc, qpc, cqn_rcv) != 0 || PRM_GET(qpc, qpc, uar_page) != 0 ||
			PRM_GET(create_qp_in, c->in, wq_umem_id) != 0 ||
			PRM_GET(qpc, qpc, dbr_umem_id) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_FW_MEMORY);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
check_receive_queue(struct emu_dev *dev, struct emu_cmd *c, const void *qpc, struct emu_qp *qp)
{
	uint32_t log_size = PRM_GET(qpc, qpc, log_rq_size);
	uint32_t log_stride = MLX5_LOG_RQ_STRIDE_SHIFT + PRM_GET(qpc, qpc, log_rq_stride);

	if (log_size > PRM_GET(cmd_hca_cap, dev->caps.general, log_max_qp_sz))
		return emu_refuse(c, MLX5_CMD_STAT_LIM_ERR, SYN_RQ_SIZE);
	if (!PRM_GET(create_qp_in, c->in, wq_umem_valid))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_NO_UMEM);
	qp->umem = emu_obj_find(dev, EMU_UMEM, PRM_GET(create_qp_in, c->in, wq_umem_id), c->uid);
	if (qp->umem == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_UMEM);
	if (!emu_umem_covers(qp->umem, PRM_GET(create_qp_in, c->in, wq_umem_offset),
			UINT64_C(1) << (log_size + log_stride)))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_UMEM_RANGE);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
check_sw(struct emu_dev *dev, struct emu_cmd *c, const void *qpc, struct emu_qp *qp)
{
	uint8_t status = check_receive_queue(dev, c, qpc, qp);

	if (status != MLX5_CMD_STAT_OK)
		return status;
	if (!PRM_GET(qpc, qpc, dbr_umem_valid))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_NO_DBR);
	qp->dbr_umem = emu_obj_find(dev, EMU_UMEM, PRM_GET(qpc, qpc, dbr_umem_id), c->uid);
	if (qp->dbr_umem == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_DBR);
	qp->dbr_off = PRM_GET(qpc, qpc, dbr_addr);
	if (qp->dbr_off % DBR_BYTES != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_DBR_ALIGN);
	if (!emu_umem_covers(qp->dbr_umem, qp->dbr_off, DBR_BYTES))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_DBR_RANGE);
	qp->cq = emu_obj_find(dev, EMU_CQ, PRM_GET(qpc, qpc, cqn_rcv), c->uid);
	if (qp->cq == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_CQ);
	qp->uar = emu_obj_find(dev, EMU_UAR, PRM_GET(qpc, qpc, uar_page), c->uid);
	if (qp->uar == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_UAR);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
check_create(struct emu_dev *dev, struct emu_cmd *c, const void *qpc, struct emu_qp *qp)
{
	if (PRM_GET(create_qp_in, c->in, qpc_ext))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_EXTENSION);
	if (PRM_GET(create_qp_in, c->in, input_qpn) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_INPUT_QPN);
	if (PRM_GET(qpc, qpc, st) != MLX5_QP_ST_RC)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_SERVICE);
	if (!PRM_GET(qpc, qpc, no_sq))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_SQ);
	qp->pd = emu_obj_find(dev, EMU_PD, PRM_GET(qpc, qpc, pd), c->uid);
	if (qp->pd == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_PD);
	switch (PRM_GET(qpc, qpc, rq_type)) {
	case MLX5_QP_ZERO_LEN_RQ:
		qp->fw = true;
		return check_fw(c, qpc);
	case MLX5_QP_NON_ZERO_RQ:
		return check_sw(dev, c, qpc, qp);
	default:
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_RQ_TYPE);
	}
}

static uint8_t
create_qp(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *qpc = PRM_ADDR(create_qp_in, c->in, qpc);
	struct emu_qp want = { .state = MLX5_QP_STATE_RST };
	uint8_t status = check_create(dev, c, qpc, &want);
	struct emu_qp *qp;

	if (status != MLX5_CMD_STAT_OK)
		return status;
	qp = emu_obj_new(dev, EMU_QP, c->uid, sizeof(*qp));
	if (qp == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	want.obj = qp->obj;
	memcpy(want.context, qpc, sizeof(want.context));
	*qp = want;
	emu_obj_hold(qp->pd);
	emu_obj_hold(qp->umem);
	emu_obj_hold(qp->dbr_umem);
	emu_obj_hold(qp->cq);
	emu_obj_hold(qp->uar);
	PRM_SET(create_qp_out, c->out, qpn, qp->obj.id);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
destroy_qp(struct emu_dev *dev, struct emu_cmd *c)
{
	struct emu_qp *qp;

	qp = emu_obj_find(dev, EMU_QP, PRM_GET(destroy_qp_in, c->in, qpn), c->uid);
	if (qp == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if (qp->obj.refs > 0)
		return emu_refuse(c, MLX5_CMD_STAT_RES_BUSY, SYN_BUSY);
	emu_obj_put(qp->uar);
	emu_obj_put(qp->cq);
	emu_obj_put(qp->dbr_umem);
	emu_obj_put(qp->umem);
	emu_obj_put(qp->pd);
	emu_obj_del(qp);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
query_qp(struct emu_dev *dev, struct emu_cmd *c)
{
	void *qpc = PRM_ADDR(query_qp_out, c->out, qpc);
	uint16_t producer = 0;
	struct emu_qp *qp;

	qp = emu_obj_find(dev, EMU_QP, PRM_GET(query_qp_in, c->in, qpn), c->uid);
	if (qp == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	memcpy(qpc, qp->context, sizeof(qp->context));
	PRM_SET(qpc, qpc, state, qp->state);
	PRM_SET(qpc, qpc, remote_qpn, qp->remote_qpn);
	PRM_SET(qpc, qpc, hw_rq_counter, qp->consumed);
	if (!qp->fw && receive_producer(qp, &producer) == 0)
		PRM_SET(qpc, qpc, sw_rq_counter, producer);
	return MLX5_CMD_STAT_OK;
}

/* ---- states ---- */

/* The QP of a change of state, if it is in the state that the change starts from. The qpn has the
 * same place in all of these commands. */
static uint8_t
find_in_state(struct emu_dev *dev, struct emu_cmd *c, uint8_t state, struct emu_qp **qp)
{
	*qp = emu_obj_find(dev, EMU_QP, PRM_GET(rst2init_qp_in, c->in, qpn), c->uid);
	if (*qp == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if ((*qp)->state != state)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_QP_STATE_ERR, SYN_STATE);
	return MLX5_CMD_STAT_OK;
}

static bool
port_exists(const struct emu_dev *dev, const void *path)
{
	uint32_t port = PRM_GET(ads, path, vhca_port_num);

	return port >= 1 && port <= PRM_GET(cmd_hca_cap, dev->caps.general, num_ports);
}

static uint8_t
rst2init_qp(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *qpc = PRM_ADDR(rst2init_qp_in, c->in, qpc);
	struct emu_qp *qp;
	uint8_t status = find_in_state(dev, c, MLX5_QP_STATE_RST, &qp);

	if (status != MLX5_CMD_STAT_OK)
		return status;
	if (!port_exists(dev, PRM_ADDR(qpc, qpc, primary_address_path)))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_PORT);
	if (PRM_GET(qpc, qpc, pm_state) != MLX5_QP_PM_STATE_MIGRATED)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_PATH_MIGRATION);
	qp->state = MLX5_QP_STATE_INIT;
	return MLX5_CMD_STAT_OK;
}

static uint8_t
init2rtr_qp(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *qpc = PRM_ADDR(init2rtr_qp_in, c->in, qpc);
	const void *path = PRM_ADDR(qpc, qpc, primary_address_path);
	uint32_t remote_qpn = PRM_GET(qpc, qpc, remote_qpn);
	uint32_t mtu = PRM_GET(qpc, qpc, mtu);
	struct emu_qp *qp;
	uint8_t status = find_in_state(dev, c, MLX5_QP_STATE_INIT, &qp);

	if (status != MLX5_CMD_STAT_OK)
		return status;
	if (!port_exists(dev, path))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_PORT);
	if (!PRM_GET(ads, path, fl))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_LOOPBACK);
	if (mtu < MLX5_QP_MTU_256 || mtu > MTU_4096)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_MTU);
	/* The peer is another queue pair of this device, in any state. */
	if (emu_obj_find(dev, EMU_QP, remote_qpn, c->uid) == NULL || remote_qpn == qp->obj.id)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_REMOTE_QPN);
	qp->remote_qpn = remote_qpn;
	qp->state = MLX5_QP_STATE_RTR;
	return MLX5_CMD_STAT_OK;
}

static uint8_t
rtr2rts_qp(struct emu_dev *dev, struct emu_cmd *c)
{
	struct emu_qp *qp;
	uint8_t status = find_in_state(dev, c, MLX5_QP_STATE_RTR, &qp);

	if (status == MLX5_CMD_STAT_OK)
		qp->state = MLX5_QP_STATE_RTS;
	return status;
}

/* From any state. The receive ring starts over: the driver's producer counter does, too. */
static uint8_t
qp_2rst(struct emu_dev *dev, struct emu_cmd *c)
{
	struct emu_qp *qp;

	qp = emu_obj_find(dev, EMU_QP, PRM_GET(qp_2rst_in, c->in, qpn), c->uid);
	if (qp == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	qp->state = MLX5_QP_STATE_RST;
	qp->remote_qpn = 0;
	qp->consumed = 0;
	return MLX5_CMD_STAT_OK;
}

const struct emu_cmd_desc emu_cmds_qp[] = {
	EMU_CMD(CREATE_QP, create_qp, create_qp),
	EMU_CMD(DESTROY_QP, destroy_qp, destroy_qp),
	EMU_CMD(RST2INIT_QP, rst2init_qp, rst2init_qp),
	EMU_CMD(INIT2RTR_QP, init2rtr_qp, init2rtr_qp),
	EMU_CMD(RTR2RTS_QP, rtr2rts_qp, rtr2rts_qp),
	EMU_CMD(2RST_QP, qp_2rst, qp_2rst),
	EMU_CMD(QUERY_QP, query_qp, query_qp),
	EMU_CMDS_END
};

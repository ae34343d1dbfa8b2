/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completion queues.
 *
 * A CQ lives in a user memory, as does its doorbell record: word 0 is the driver's consumer
 * counter, word 1 what it arms the queue with. A write to the doorbell register of the UAR page
 * says "look at word 1"; the register is one word that all CQs of the page share, so that its value
 * is a hint.
 *
 * A card takes the CQ from the register, and never writes the record. Here a CQ that was never
 * armed must not seem so when its neighbour's doorbell rings, although a driver's first arming is
 * often the word 0 that the record holds already: CREATE_CQ leaves a word that no driver writes.
 *
 *	arm     the record has a sequence number that was not seen yet: armed from the record's
 *	        counter on
 *	event   something completed past that counter already, or completes now: COMP event, and
 *	        disarmed
 */
#include <errno.h>

#include "engine.h"

/* Syndromes of CREATE_CQ and DESTROY_CQ. */
enum {
	SYN_NO_ROOM = 1,       /* more CQs than log_max_cq */
	SYN_NOT_FOUND,         /* no such CQ, or another user context's */
	SYN_BUSY,              /* a QP completes into it */
	SYN_NO_UMEM,           /* cq_umem_valid is 0: only the kernel names pages one by one */
	SYN_UMEM,              /* no such umem */
	SYN_UMEM_RANGE,        /* the entries don't fit behind cq_umem_offset */
	SYN_UMEM_ALIGN,        /* cq_umem_offset is not that of an entry */
	SYN_NO_DBR,            /* dbr_umem_valid is 0 */
	SYN_DBR,               /* no such umem for the doorbell record */
	SYN_DBR_RANGE,
	SYN_DBR_ALIGN,
	SYN_UAR,               /* no such UAR page */
	SYN_EQN,               /* no such event queue */
	SYN_SIZE,              /* log_cq_size above log_max_cq_sz */
	SYN_CQE_SIZE,          /* cqe_sz other than 64 bytes */
	SYN_COMPRESSION,       /* cqe_comp_en: entries of event queue pairs are not compressed */
	SYN_APU,               /* apu_cq */
	SYN_DBR_ACCESS,        /* the doorbell record can't be written */
};

/* cqc.cqe_sz */
enum { CQE_SZ_64 = 0 };
/* cq_error.syndrome of the CQ_ERROR event. */
enum { CQ_ERROR_OVERRUN = 1, CQ_ERROR_ACCESS = 2 };

enum {
	DBR_BYTES = 8,
	COUNTER_SIGN = 0x800000,       /* the top one of MLX5_CQ_CI_MASK: CQ counters are 24 bits */
	CQE_LAST_WORD = MLX5_CQE_OFF_WQE_COUNTER,
};

/* Word 1 of a doorbell record before the first arming: a command that does not exist. */
#define DBR_NEVER_ARMED UINT32_MAX

struct emu_cq {
	struct emu_obj obj;
	struct emu_umem *umem, *dbr_umem;
	struct emu_obj *uar;
	uint64_t umem_off, dbr_off;
	uint8_t log_size;
	bool collapsed;            /* cc: every entry is written to the first slot */
	bool overrun_ok;           /* oi */
	bool error;
	uint32_t produced;         /* entries written, 24 bits */
	bool armed, ever_armed;
	uint8_t arm_sn;            /* sequence number of the last arm that was seen */
};

/* a - b of 24-bit counters, as a signed number. */
static int32_t
counter_diff(uint32_t a, uint32_t b)
{
	uint32_t d = (a - b) & MLX5_CQ_CI_MASK;

	return (d & COUNTER_SIGN) != 0 ? (int32_t)d - (MLX5_CQ_CI_MASK + 1) : (int32_t)d;
}

static int
dbr_write(const struct emu_cq *cq, struct emu_dev *dev, unsigned int word, uint32_t val)
{
	uint32_t be = htobe32(val);

	return emu_umem_write(dev, cq->dbr_umem, cq->dbr_off + word * sizeof(be), &be, sizeof(be));
}

static int
dbr_read(struct emu_cq *cq, unsigned int word, uint32_t *val)
{
	uint32_t be;
	int ret = emu_umem_read(cq->obj.dev, cq->dbr_umem, cq->dbr_off + word * sizeof(be), &be,
		sizeof(be));

	*val = be32toh(be);
	return ret;
}

static void
cq_error(struct emu_cq *cq, uint8_t syndrome)
{
	cq->error = true;
	cq->armed = false;
	emu_event(cq->obj.dev, MLX5_EVENT_TYPE_CQ_ERROR, 0, cq->obj.id, syndrome);
}

static void
cq_completion_event(struct emu_cq *cq)
{
	cq->armed = false;
	emu_event(cq->obj.dev, MLX5_EVENT_TYPE_COMP, 0, cq->obj.id, 0);
}

/* The driver reads the last word of an entry at once: counter and owner bit change together, after
 * everything else. */
static int
cqe_write(struct emu_cq *cq, uint32_t qpn, uint16_t wqe_counter)
{
	uint32_t slot = cq->collapsed ? 0 : cq->produced & ((1u << cq->log_size) - 1);
	uint64_t off = cq->umem_off + (uint64_t)slot * MLX5_CQE_BYTES;
	uint8_t owner = cq->produced >> cq->log_size & MLX5_CQE_OWNER_BIT;
	uint8_t cqe[MLX5_CQE_BYTES] = {0};
	uint32_t be_qpn = htobe32(qpn);
	uint16_t be_counter = htobe16(wqe_counter);
	int ret;

	memcpy(cqe + MLX5_CQE_OFF_QPN, &be_qpn, sizeof(be_qpn));
	memcpy(cqe + MLX5_CQE_OFF_WQE_COUNTER, &be_counter, sizeof(be_counter));
	cqe[MLX5_CQE_OFF_OP_OWN] = MLX5_CQE_OP_RESP_SEND << 4 | owner;
	ret = emu_umem_write(cq->obj.dev, cq->umem, off, cqe, CQE_LAST_WORD);
	if (ret != 0)
		return ret;
	return emu_umem_write(cq->obj.dev, cq->umem, off + CQE_LAST_WORD, cqe + CQE_LAST_WORD,
		MLX5_CQE_BYTES - CQE_LAST_WORD);
}

int
emu_cq_post(struct emu_cq *cq, uint32_t qpn, uint16_t wqe_counter)
{
	uint32_t ci;

	if (cq->error)
		return -EFAULT;
	if (!cq->overrun_ok) {
		if (dbr_read(cq, MLX5_CQ_DBR_SET_CI, &ci) != 0)
			goto access;
		/* A consumer counter ahead of the device's says nothing about room: NVIDIA's driver
		 * has one after it reset the queue pair of a queue that was enabled again. */
		if (counter_diff(cq->produced, ci) >= 1 << cq->log_size) {
			cq_error(cq, CQ_ERROR_OVERRUN);
			return -EFAULT;
		}
	}
	if (cqe_write(cq, qpn, wqe_counter) != 0)
		goto access;
	cq->produced = (cq->produced + 1) & MLX5_CQ_CI_MASK;
	if (cq->armed)
		cq_completion_event(cq);
	return 0;
access:
	cq_error(cq, CQ_ERROR_ACCESS);
	return -EFAULT;
}

static void
cq_look_at_arm(struct emu_cq *cq)
{
	uint32_t rec;
	uint8_t sn;

	if (cq->error)
		return;
	if (dbr_read(cq, MLX5_CQ_DBR_ARM, &rec) != 0) {
		cq_error(cq, CQ_ERROR_ACCESS);
		return;
	}
	sn = rec >> MLX5_CQ_DBR_ARM_SN_SHIFT & MLX5_CQ_DBR_ARM_SN_MASK;
	if (rec == DBR_NEVER_ARMED || (cq->ever_armed && sn == cq->arm_sn))
		return;
	cq->ever_armed = true;
	cq->armed = true;
	cq->arm_sn = sn;
	if (counter_diff(cq->produced, rec & MLX5_CQ_CI_MASK) > 0)
		cq_completion_event(cq);
}

/* ---- doorbells ---- */

static uint64_t *
uar_doorbell(const struct emu_dev *dev, uint32_t page)
{
	return (uint64_t *)(dev->bar + (size_t)page * EMU_PAGE + MLX5_UAR_CQ_DOORBELL);
}

static void
uar_watch(struct emu_dev *dev, uint32_t page, int delta)
{
	struct emu_uar_watch *w = &dev->engine->uars;
	uint64_t bit = UINT64_C(1) << (page % 64);

	w->cqs[page] += delta;
	if (w->cqs[page] > 0)
		atomic_fetch_or(&w->pages[page / 64], bit);
	else
		atomic_fetch_and(&w->pages[page / 64], ~bit);
}

/* Lowest watched page from @p from on, EMU_UARS when there is none. */
static uint32_t
uar_next(const struct emu_uar_watch *w, uint32_t from)
{
	uint32_t word = from / 64;
	uint64_t bits, mask = UINT64_MAX << (from % 64);

	for (; word < EMU_UARS / 64; word++, mask = UINT64_MAX) {
		bits = atomic_load_explicit(&w->pages[word], memory_order_relaxed) & mask;
		if (bits != 0)
			return word * 64 + (uint32_t)__builtin_ctzll(bits);
	}
	return EMU_UARS;
}

bool
emu_uar_rung(const struct emu_dev *dev, const struct emu_uar_watch *w)
{
	uint32_t page;

	for (page = uar_next(w, 0); page < EMU_UARS; page = uar_next(w, page + 1)) {
		if (__atomic_load_n(uar_doorbell(dev, page), __ATOMIC_RELAXED) != 0)
			return true;
	}
	return false;
}

static void
uar_look_at_arms(struct emu_dev *dev, uint32_t page)
{
	struct emu_cq *cq;

	for (cq = emu_obj_next(dev, EMU_CQ, NULL); cq != NULL; cq = emu_obj_next(dev, EMU_CQ, cq)) {
		if (cq->uar->id == page)
			cq_look_at_arm(cq);
	}
}

void
emu_cq_poll_arms(struct emu_dev *dev)
{
	const struct emu_uar_watch *w = &dev->engine->uars;
	uint64_t *doorbell;
	uint32_t page;

	for (page = uar_next(w, 0); page < EMU_UARS; page = uar_next(w, page + 1)) {
		doorbell = uar_doorbell(dev, page);
		if (__atomic_load_n(doorbell, __ATOMIC_RELAXED) == 0)
			continue;
		/* Whoever rings from here on is seen next time. */
		if (__atomic_exchange_n(doorbell, 0, __ATOMIC_ACQ_REL) != 0)
			uar_look_at_arms(dev, page);
	}
}

/* ---- commands ---- */

static uint8_t
check_context(struct emu_dev *dev, struct emu_cmd *c, const void *cqc)
{
	const void *caps = dev->caps.general;

	if (PRM_GET(cqc, cqc, apu_cq))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_APU);
	if (PRM_GET(cqc, cqc, cqe_sz) != CQE_SZ_64)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_CQE_SIZE);
	if (PRM_GET(cqc, cqc, cqe_comp_en))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_COMPRESSION);
	if (PRM_GET(cqc, cqc, log_cq_size) > PRM_GET(cmd_hca_cap, caps, log_max_cq_sz))
		return emu_refuse(c, MLX5_CMD_STAT_LIM_ERR, SYN_SIZE);
	if (PRM_GET(cqc, cqc, c_eqn_or_apu_element) >= 1u << PRM_GET(cmd_hca_cap, caps, log_max_eq))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_EQN);
	return MLX5_CMD_STAT_OK;
}

/* Entries and doorbell record, both in user memories. */
static uint8_t
check_memory(struct emu_dev *dev, struct emu_cmd *c, const void *cqc, struct emu_cq *cq)
{
	uint64_t bytes = (uint64_t)MLX5_CQE_BYTES << cq->log_size;

	if (!PRM_GET(create_cq_in, c->in, cq_umem_valid))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_NO_UMEM);
	cq->umem = emu_obj_find(dev, EMU_UMEM, PRM_GET(create_cq_in, c->in, cq_umem_id), c->uid);
	if (cq->umem == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_UMEM);
	cq->umem_off = PRM_GET(create_cq_in, c->in, cq_umem_offset);
	if (cq->umem_off % MLX5_CQE_BYTES != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_UMEM_ALIGN);
	if (!emu_umem_covers(cq->umem, cq->umem_off, bytes))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_UMEM_RANGE);
	if (!PRM_GET(cqc, cqc, dbr_umem_valid))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_NO_DBR);
	cq->dbr_umem = emu_obj_find(dev, EMU_UMEM, PRM_GET(cqc, cqc, dbr_umem_id), c->uid);
	if (cq->dbr_umem == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_DBR);
	cq->dbr_off = PRM_GET(cqc, cqc, dbr_addr);
	if (cq->dbr_off % DBR_BYTES != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_DBR_ALIGN);
	if (!emu_umem_covers(cq->dbr_umem, cq->dbr_off, DBR_BYTES))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_DBR_RANGE);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
create_cq(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *cqc = PRM_ADDR(create_cq_in, c->in, cq_context);
	struct emu_cq want = { .log_size = PRM_GET(cqc, cqc, log_cq_size) };
	struct emu_cq *cq;
	uint8_t status;

	status = check_context(dev, c, cqc);
	if (status == MLX5_CMD_STAT_OK)
		status = check_memory(dev, c, cqc, &want);
	if (status != MLX5_CMD_STAT_OK)
		return status;
	want.uar = emu_obj_find(dev, EMU_UAR, PRM_GET(cqc, cqc, uar_page), c->uid);
	if (want.uar == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_UAR);
	if (dbr_write(&want, dev, MLX5_CQ_DBR_ARM, DBR_NEVER_ARMED) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_DBR_ACCESS);
	cq = emu_obj_new(dev, EMU_CQ, c->uid, sizeof(*cq));
	if (cq == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	want.obj = cq->obj;
	want.collapsed = PRM_GET(cqc, cqc, cc);
	want.overrun_ok = PRM_GET(cqc, cqc, oi);
	*cq = want;
	emu_obj_hold(cq->umem);
	emu_obj_hold(cq->dbr_umem);
	emu_obj_hold(cq->uar);
	uar_watch(dev, cq->uar->id, 1);
	PRM_SET(create_cq_out, c->out, cqn, cq->obj.id);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
destroy_cq(struct emu_dev *dev, struct emu_cmd *c)
{
	struct emu_cq *cq;

	cq = emu_obj_find(dev, EMU_CQ, PRM_GET(destroy_cq_in, c->in, cqn), c->uid);
	if (cq == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if (cq->obj.refs > 0)
		return emu_refuse(c, MLX5_CMD_STAT_RES_BUSY, SYN_BUSY);
	uar_watch(dev, cq->uar->id, -1);
	emu_obj_put(cq->uar);
	emu_obj_put(cq->dbr_umem);
	emu_obj_put(cq->umem);
	emu_obj_del(cq);
	return MLX5_CMD_STAT_OK;
}

const struct emu_cmd_desc emu_cmds_cq[] = {
	EMU_CMD(CREATE_CQ, create_cq, create_cq),
	EMU_CMD(DESTROY_CQ, destroy_cq, destroy_cq),
	EMU_CMDS_END
};

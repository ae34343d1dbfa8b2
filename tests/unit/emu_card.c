/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/mman.h>

#include "emu_card.h"

enum { QPN_ANY = 0xffffff, PAS_PER_OCTWORD = 2 };

/* ---- the host: bus addresses are virtual addresses ---- */

static bool
reachable(const struct card *card, uint64_t bus, uint32_t len)
{
	uint64_t mem = (uintptr_t)card->mem, gone = (uintptr_t)card->gone;

	if (bus < mem || bus + len > mem + CARD_MEM)
		return false;
	return gone == 0 || bus + len <= gone || bus >= gone + EMU_PAGE;
}

/* Small accesses are single copies, and a thread's accesses keep their order. */
static void
copy(void *dst, const void *src, uint32_t len)
{
	if (len == 2 && ((uintptr_t)dst | (uintptr_t)src) % 2 == 0)
		*(volatile uint16_t *)dst = *(const volatile uint16_t *)src;
	else if (len == 4 && ((uintptr_t)dst | (uintptr_t)src) % 4 == 0)
		*(volatile uint32_t *)dst = *(const volatile uint32_t *)src;
	else
		memcpy(dst, src, len);
}

static int
host_read(void *host, uint64_t bus, void *dst, uint32_t len)
{
	if (!reachable(host, bus, len))
		return -EFAULT;
	copy(dst, (const void *)(uintptr_t)bus, len);
	atomic_thread_fence(memory_order_acquire);
	return 0;
}

static int
host_write(void *host, uint64_t bus, const void *src, uint32_t len)
{
	if (!reachable(host, bus, len))
		return -EFAULT;
	atomic_thread_fence(memory_order_release);
	copy((void *)(uintptr_t)bus, src, len);
	return 0;
}

static int
host_set_bits(void *host, uint64_t bus, uint8_t bits)
{
	if (!reachable(host, bus, sizeof(bits)))
		return -EFAULT;
	__atomic_fetch_or((uint8_t *)(uintptr_t)bus, bits, __ATOMIC_SEQ_CST);
	return 0;
}

static const struct emu_host_ops host_ops = {
	.read = host_read,
	.write = host_write,
	.set_bits = host_set_bits,
};

static void
host_event(void *arg, const struct emu_event *ev)
{
	struct card *card = arg;

	pthread_mutex_lock(&card->lock);
	if (card->nevents < CARD_EVENTS)
		card->event[card->nevents++] = *ev;
	pthread_mutex_unlock(&card->lock);
}

unsigned int
card_events(struct card *card, uint16_t type, uint32_t obj_id)
{
	unsigned int i, n = 0;

	pthread_mutex_lock(&card->lock);
	for (i = 0; i < card->nevents; i++)
		n += card->event[i].type == type && card->event[i].obj_id == obj_id;
	pthread_mutex_unlock(&card->lock);
	return n;
}

/* ---- memory ---- */

void *
card_alloc(struct card *card, size_t len, size_t align)
{
	size_t at = (card->used + align - 1) / align * align;

	assert_true(at + len <= CARD_MEM);
	card->used = at + len;
	memset(card->mem + at, 0, len);
	return card->mem + at;
}

uint64_t
card_off(const struct card *card, const void *p)
{
	return (uint64_t)((const uint8_t *)p - card->mem);
}

uint64_t
card_gpa(const struct card *card, const void *p)
{
	return CARD_GPA + card_off(card, p);
}

/* ---- commands ---- */

uint8_t
card_cmd(struct card *card, uint16_t opcode, void *in, size_t inlen, size_t outlen)
{
	int status;

	assert_true(outlen <= sizeof(card->out));
	PRM_SET(general_obj_in_cmd_hdr, in, opcode, opcode);
	PRM_SET(general_obj_in_cmd_hdr, in, uid, card->uid);
	status = emu_cmd(card->dev, in, inlen, card->out, outlen);
	assert_in_range(status, 0, UINT8_MAX);
	card->syndrome = PRM_GET(general_obj_out_cmd_hdr, card->out, syndrome);
	assert_int_equal(card->syndrome != 0, status != MLX5_CMD_STAT_OK);
	return (uint8_t)status;
}

uint8_t
card_destroy(struct card *card, uint16_t opcode, uint32_t id)
{
	uint8_t in[PRM_BYTES(dealloc_pd_in)] = {0};

	PRM_SET(dealloc_pd_in, in, pd, id);
	return card_cmd(card, opcode, in, sizeof(in), PRM_BYTES(dealloc_pd_out));
}

uint8_t
card_destroy_general(struct card *card, uint16_t type, uint32_t id)
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};

	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, type);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_id, id);
	return card_cmd(card, MLX5_CMD_OP_DESTROY_GENERAL_OBJECT, in, sizeof(in),
		PRM_BYTES(general_obj_out_cmd_hdr));
}

uint32_t
card_counters(struct card *card)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)] = {0};

	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_GENERAL_OBJECT, in, sizeof(in),
		PRM_BYTES(general_obj_out_cmd_hdr)), 0);
	return PRM_GET(general_obj_out_cmd_hdr, card->out, obj_id);
}

void
check_refusals(struct card *card, uint16_t opcode, const void *good, size_t len, size_t outlen,
		const struct refusal *r, size_t n)
{
	uint32_t syndromes[64];
	uint8_t *in = malloc(len);
	size_t i, j;

	assert_true(n <= DIM(syndromes));
	for (i = 0; i < n; i++) {
		memcpy(in, good, len);
		prm_set(in, r[i].off, r[i].width, r[i].val);
		if (card_cmd(card, opcode, in, len, outlen) != r[i].status)
			fail_msg("change %zu: status 0x%x, syndrome 0x%x", i,
				PRM_GET(general_obj_out_cmd_hdr, card->out, status),
				card->syndrome);
		syndromes[i] = card->syndrome;
		for (j = 0; j < i; j++) {
			if (syndromes[i] == syndromes[j])
				fail_msg("changes %zu and %zu have one syndrome", j, i);
		}
	}
	free(in);
}

/* ---- what every test needs ---- */

static void
create_uctx(struct card *card)
{
	uint8_t in[PRM_BYTES(create_uctx_in)] = {0};

	card->uid = 0;
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_UCTX, in, sizeof(in),
		PRM_BYTES(create_uctx_out)), 0);
	card->uid = (uint16_t)PRM_GET(create_uctx_out, card->out, uid);
}

static uint32_t
create_umem(struct card *card)
{
	const size_t pages = CARD_MEM / EMU_PAGE, len = PRM_BYTES(create_umem_in) + pages * 8;
	uint8_t *in = calloc(1, len);
	void *umem = PRM_ADDR(create_umem_in, in, umem);
	size_t i;

	PRM_SET(umem, umem, num_of_mtt, pages);
	for (i = 0; i < pages; i++)
		prm_set((uint8_t *)PRM_ADDR(umem, umem, mtt) + i * 8, 0, 64,
			(uintptr_t)card->mem + i * EMU_PAGE);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_UMEM, in, len,
		PRM_BYTES(create_umem_out)), 0);
	free(in);
	return PRM_GET(create_umem_out, card->out, umem_id);
}

/* All of the memory, from CARD_GPA on. */
static uint32_t
create_mkey(struct card *card)
{
	uint8_t in[PRM_BYTES(create_mkey_in)] = {0};
	void *mkc = PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry);

	PRM_SET(create_mkey_in, in, mkey_umem_valid, 1);
	PRM_SET(create_mkey_in, in, mkey_umem_id, card->umem);
	PRM_SET(create_mkey_in, in, translations_octword_actual_size,
		CARD_MEM / EMU_PAGE / PAS_PER_OCTWORD);
	PRM_SET(mkc, mkc, translations_octword_size, CARD_MEM / EMU_PAGE / PAS_PER_OCTWORD);
	PRM_SET(mkc, mkc, access_mode_1_0, MLX5_MKC_ACCESS_MODE_MTT);
	PRM_SET(mkc, mkc, lr, 1);
	PRM_SET(mkc, mkc, lw, 1);
	PRM_SET(mkc, mkc, qpn, QPN_ANY);
	PRM_SET(mkc, mkc, pd, card->pd);
	PRM_SET(mkc, mkc, start_addr, CARD_GPA);
	PRM_SET(mkc, mkc, len, CARD_MEM);
	PRM_SET(mkc, mkc, log_page_size, MLX5_ADAPTER_PAGE_SHIFT);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_MKEY, in, sizeof(in),
		PRM_BYTES(create_mkey_out)), 0);
	return PRM_GET(create_mkey_out, card->out, mkey_index) << EMU_MKEY_INDEX_SHIFT;
}

static uint32_t
create_tis(struct card *card)
{
	uint8_t in[PRM_BYTES(create_tis_in)] = {0};

	PRM_SET(tisc, PRM_ADDR(create_tis_in, in, ctx), transport_domain, card->td);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_TIS, in, sizeof(in),
		PRM_BYTES(create_tis_out)), 0);
	return PRM_GET(create_tis_out, card->out, tisn);
}

struct card *
card_new(const char *spec)
{
	uint8_t in[PRM_BYTES(alloc_pd_in)] = {0};
	struct card *card = calloc(1, sizeof(*card));
	struct emu_dev_config cfg;
	uint64_t off, len, var;
	char err[256];

	assert_non_null(card);
	pthread_mutex_init(&card->lock, NULL);
	card->mem = mmap(NULL, CARD_MEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		0);
	assert_ptr_not_equal(card->mem, MAP_FAILED);
	emu_config_default(&cfg, 0);
	assert_int_equal(emu_config_parse(&cfg, spec, err, sizeof(err)), 0);
	assert_int_equal(emu_dev_create(&cfg, &host_ops, card, host_event, card, &card->dev), 0);
	emu_dev_doorbell_area(card->dev, &off, &len, &var);
	card->bar = mmap(NULL, off + len, PROT_READ | PROT_WRITE, MAP_SHARED,
		emu_dev_bar_fd(card->dev), 0);
	assert_ptr_not_equal(card->bar, MAP_FAILED);
	create_uctx(card);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_ALLOC_PD, in, sizeof(in),
		PRM_BYTES(alloc_pd_out)), 0);
	card->pd = PRM_GET(alloc_pd_out, card->out, pd);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_ALLOC_TRANSPORT_DOMAIN, in, sizeof(in),
		PRM_BYTES(alloc_pd_out)), 0);
	card->td = PRM_GET(alloc_transport_domain_out, card->out, transport_domain);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_ALLOC_UAR, in, sizeof(in),
		PRM_BYTES(alloc_uar_out)), 0);
	card->uar = PRM_GET(alloc_uar_out, card->out, uar);
	card->umem = create_umem(card);
	card->mkey = create_mkey(card);
	card->tis = create_tis(card);
	return card;
}

void
card_free(struct card *card)
{
	uint64_t off, len, var;

	emu_dev_doorbell_area(card->dev, &off, &len, &var);
	munmap(card->bar, off + len);
	emu_dev_destroy(card->dev);
	munmap(card->mem, CARD_MEM);
	pthread_mutex_destroy(&card->lock);
	free(card);
}

int
card_setup(void **state)
{
	*state = card_new("");
	return 0;
}

int
card_teardown(void **state)
{
	card_free(*state);
	return 0;
}

/* ---- event queue pairs ---- */

void
evq_fill_cq(struct card *card, struct evq *e, uint32_t log_size, uint8_t *in)
{
	void *cqc = PRM_ADDR(create_cq_in, in, cq_context);

	memset(e, 0, sizeof(*e));
	e->log_size = log_size;
	e->cqe = card_alloc(card, (size_t)MLX5_CQE_BYTES << log_size, MLX5_CQE_BYTES);
	e->cq_dbr = card_alloc(card, 2 * sizeof(*e->cq_dbr), MLX5_CQE_BYTES);
	memset(in, 0, PRM_BYTES(create_cq_in));
	PRM_SET(create_cq_in, in, cq_umem_valid, 1);
	PRM_SET(create_cq_in, in, cq_umem_id, card->umem);
	PRM_SET(create_cq_in, in, cq_umem_offset, card_off(card, e->cqe));
	PRM_SET(cqc, cqc, dbr_umem_valid, 1);
	PRM_SET(cqc, cqc, dbr_umem_id, card->umem);
	PRM_SET(cqc, cqc, dbr_addr, card_off(card, e->cq_dbr));
	PRM_SET(cqc, cqc, log_cq_size, log_size);
	PRM_SET(cqc, cqc, uar_page, card->uar);
}

void
evq_fill_fw(struct card *card, uint8_t *in)
{
	void *qpc = PRM_ADDR(create_qp_in, in, qpc);

	memset(in, 0, PRM_BYTES(create_qp_in));
	PRM_SET(qpc, qpc, st, MLX5_QP_ST_RC);
	PRM_SET(qpc, qpc, pd, card->pd);
	PRM_SET(qpc, qpc, no_sq, 1);
	PRM_SET(qpc, qpc, rq_type, MLX5_QP_ZERO_LEN_RQ);
	/* Linux sets both in every CREATE_QP that comes from user space. */
	PRM_SET(qpc, qpc, dbr_umem_valid, 1);
	PRM_SET(create_qp_in, in, wq_umem_valid, 1);
}

void
evq_fill_sw(struct card *card, struct evq *e, uint8_t *in)
{
	void *qpc = PRM_ADDR(create_qp_in, in, qpc);
	void *wq = card_alloc(card, (size_t)MLX5_WSEG_BYTES << e->log_size, MLX5_CQE_BYTES);

	e->qp_dbr = card_alloc(card, 2 * sizeof(*e->qp_dbr), MLX5_CQE_BYTES);
	evq_fill_fw(card, in);
	PRM_SET(qpc, qpc, rq_type, MLX5_QP_NON_ZERO_RQ);
	PRM_SET(qpc, qpc, pm_state, MLX5_QP_PM_STATE_MIGRATED);
	PRM_SET(qpc, qpc, uar_page, card->uar);
	PRM_SET(qpc, qpc, cqn_rcv, e->cqn);
	PRM_SET(qpc, qpc, log_rq_size, e->log_size);
	PRM_SET(qpc, qpc, dbr_umem_id, card->umem);
	PRM_SET(qpc, qpc, dbr_addr, card_off(card, e->qp_dbr));
	PRM_SET(create_qp_in, in, wq_umem_id, card->umem);
	PRM_SET(create_qp_in, in, wq_umem_offset, card_off(card, wq));
}

static uint32_t
create_qp(struct card *card, uint8_t *in)
{
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_QP, in, PRM_BYTES(create_qp_in),
		PRM_BYTES(create_qp_out)), 0);
	return PRM_GET(create_qp_out, card->out, qpn);
}

void
evq_create(struct card *card, struct evq *e, uint32_t log_size, bool collapsed)
{
	uint8_t cq[PRM_BYTES(create_cq_in)], qp[PRM_BYTES(create_qp_in)];
	unsigned int i;

	evq_fill_cq(card, e, log_size, cq);
	PRM_SET(cqc, PRM_ADDR(create_cq_in, cq, cq_context), cc, collapsed);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_CQ, cq, sizeof(cq),
		PRM_BYTES(create_cq_out)), 0);
	e->cqn = PRM_GET(create_cq_out, card->out, cqn);
	for (i = 0; i < 1u << log_size; i++) {
		memset(e->cqe + i * MLX5_CQE_BYTES, 0xff, MLX5_CQE_BYTES);
		e->cqe[i * MLX5_CQE_BYTES + MLX5_CQE_OFF_OP_OWN] =
			MLX5_CQE_OP_INVALID << 4 | MLX5_CQE_OWNER_BIT;
	}
	evq_fill_fw(card, qp);
	e->fw = create_qp(card, qp);
	evq_fill_sw(card, e, qp);
	e->sw = create_qp(card, qp);
}

uint8_t
qp_modify(struct card *card, uint16_t opcode, uint32_t qpn, uint32_t remote)
{
	uint8_t in[PRM_BYTES(init2rtr_qp_in)] = {0};
	void *qpc = PRM_ADDR(init2rtr_qp_in, in, qpc);
	void *path = PRM_ADDR(qpc, qpc, primary_address_path);

	PRM_SET(init2rtr_qp_in, in, qpn, qpn);
	PRM_SET(qpc, qpc, pm_state, MLX5_QP_PM_STATE_MIGRATED);
	PRM_SET(qpc, qpc, mtu, MLX5_QP_MTU_256);
	PRM_SET(qpc, qpc, remote_qpn, remote);
	PRM_SET(ads, path, vhca_port_num, 1);
	PRM_SET(ads, path, fl, 1);
	return card_cmd(card, opcode, in, sizeof(in), PRM_BYTES(init2rtr_qp_out));
}

uint8_t
qp_state(struct card *card, uint32_t qpn)
{
	uint8_t in[PRM_BYTES(query_qp_in)] = {0};

	PRM_SET(query_qp_in, in, qpn, qpn);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_QUERY_QP, in, sizeof(in),
		PRM_BYTES(query_qp_out)), 0);
	return (uint8_t)PRM_GET(qpc, PRM_ADDR(query_qp_out, card->out, qpc), state);
}

void
evq_start(struct card *card, struct evq *e)
{
	static const uint16_t ops[] = {
		MLX5_CMD_OP_RST2INIT_QP, MLX5_CMD_OP_INIT2RTR_QP, MLX5_CMD_OP_RTR2RTS_QP
	};
	size_t i;

	for (i = 0; i < DIM(ops); i++) {
		assert_int_equal(qp_modify(card, ops[i], e->fw, e->sw), 0);
		assert_int_equal(qp_modify(card, ops[i], e->sw, e->fw), 0);
	}
	evq_post(e, 1u << e->log_size);
}

void
evq_post(struct evq *e, uint32_t producer)
{
	__atomic_store_n(&e->qp_dbr[0], htobe32(producer), __ATOMIC_RELEASE);
}

void
evq_consume(struct evq *e, uint32_t ci)
{
	__atomic_store_n(&e->cq_dbr[MLX5_CQ_DBR_SET_CI], htobe32(ci & MLX5_CQ_CI_MASK),
		__ATOMIC_RELEASE);
}

void
evq_arm(struct card *card, struct evq *e, uint32_t ci)
{
	uint32_t hi = (e->arm_sn++ & MLX5_CQ_DBR_ARM_SN_MASK) << MLX5_CQ_DBR_ARM_SN_SHIFT |
		MLX5_CQ_DBR_CMD_ALL | (ci & MLX5_CQ_CI_MASK);
	uint64_t *doorbell = (uint64_t *)(card->bar + (size_t)card->uar * EMU_PAGE +
		MLX5_UAR_CQ_DOORBELL);

	__atomic_store_n(&e->cq_dbr[MLX5_CQ_DBR_ARM], htobe32(hi), __ATOMIC_RELEASE);
	__atomic_store_n(doorbell, htobe64((uint64_t)hi << 32 | e->cqn), __ATOMIC_RELEASE);
}

uint16_t
evq_counter(const struct evq *e, unsigned int i)
{
	const uint16_t *p = (const uint16_t *)(e->cqe + i * MLX5_CQE_BYTES +
		MLX5_CQE_OFF_WQE_COUNTER);

	return be16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

/* ---- queues ---- */

static void
fill_umems(struct card *card, void *q)
{
	PRM_SET(virtio_q, q, umem_1_id, card->umem);
	PRM_SET(virtio_q, q, umem_1_size, CARD_MEM);
	PRM_SET(virtio_q, q, umem_2_id, card->umem);
	PRM_SET(virtio_q, q, umem_2_size, CARD_MEM);
	PRM_SET(virtio_q, q, umem_3_id, card->umem);
	PRM_SET(virtio_q, q, umem_3_size, CARD_MEM);
}

void
queue_fill(struct card *card, struct queue *q, uint16_t index, uint16_t size, uint8_t *in)
{
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);

	*q = (struct queue){ .card = card, .index = index, .size = size };
	q->desc = card_alloc(card, size * sizeof(*q->desc), 16);
	q->avail = card_alloc(card, (size + 2u) * sizeof(*q->avail), 2);
	q->used = card_alloc(card, 4 + size * sizeof(struct emu_vring_used_elem), 4);
	memset(in, 0, PRM_BYTES(create_virtio_net_q_in));
	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, MLX5_OBJ_TYPE_VIRTIO_NET_Q);
	PRM_SET(virtio_net_q_object, obj, tisn_or_qpn, card->tis);
	PRM_SET(virtio_q, ctx, queue_index, index);
	PRM_SET(virtio_q, ctx, queue_size, size);
	PRM_SET(virtio_q, ctx, virtio_version_1_0, 1);
	PRM_SET(virtio_q, ctx, desc_addr, card_gpa(card, q->desc));
	PRM_SET(virtio_q, ctx, available_addr, card_gpa(card, q->avail));
	PRM_SET(virtio_q, ctx, used_addr, card_gpa(card, q->used));
	PRM_SET(virtio_q, ctx, virtio_q_mkey, card->mkey);
	PRM_SET(virtio_q, ctx, pd, card->pd);
	fill_umems(card, ctx);
}

uint8_t
queue_try_create(struct queue *q, uint8_t *in)
{
	uint8_t status = card_cmd(q->card, MLX5_CMD_OP_CREATE_GENERAL_OBJECT, in,
		PRM_BYTES(create_virtio_net_q_in), PRM_BYTES(general_obj_out_cmd_hdr));

	if (status == MLX5_CMD_STAT_OK)
		q->id = PRM_GET(general_obj_out_cmd_hdr, q->card->out, obj_id);
	return status;
}

void
queue_create_with(struct card *card, struct queue *q, uint16_t index, uint16_t size,
		const struct evq *e, uint32_t counters)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);

	queue_fill(card, q, index, size, in);
	PRM_SET(virtio_q, ctx, counter_set_id, counters);
	if (e != NULL) {
		PRM_SET(virtio_q, ctx, event_mode, MLX5_VIRTQ_EVENT_MODE_QP);
		PRM_SET(virtio_q, ctx, event_qpn_or_msix, e->fw);
	}
	assert_int_equal(queue_try_create(q, in), 0);
}

void
queue_create(struct card *card, struct queue *q, uint16_t index, uint16_t size)
{
	queue_create_with(card, q, index, size, NULL, 0);
}

void
queue_fill_modify(const struct queue *q, uint64_t select, uint8_t *in)
{
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);

	memset(in, 0, PRM_BYTES(create_virtio_net_q_in));
	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, MLX5_OBJ_TYPE_VIRTIO_NET_Q);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_id, q->id);
	PRM_SET(virtio_net_q_object, obj, modify_field_select, select);
}

uint8_t
queue_modify(struct queue *q, uint8_t *in)
{
	return card_cmd(q->card, MLX5_CMD_OP_MODIFY_GENERAL_OBJECT, in,
		PRM_BYTES(create_virtio_net_q_in), PRM_BYTES(general_obj_out_cmd_hdr));
}

uint8_t
queue_set_state(struct queue *q, unsigned int state)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];

	queue_fill_modify(q, MLX5_VIRTQ_MODIFY_STATE, in);
	PRM_SET(virtio_net_q_object, PRM_ADDR(create_virtio_net_q_in, in, obj_context), state,
		state);
	return queue_modify(q, in);
}

const void *
queue_query(struct queue *q)
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};

	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, MLX5_OBJ_TYPE_VIRTIO_NET_Q);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_id, q->id);
	assert_int_equal(card_cmd(q->card, MLX5_CMD_OP_QUERY_GENERAL_OBJECT, in, sizeof(in),
		PRM_BYTES(query_virtio_net_q_out)), 0);
	return PRM_ADDR(query_virtio_net_q_out, q->card->out, obj_context);
}

unsigned int
queue_state(struct queue *q)
{
	return PRM_GET(virtio_net_q_object, queue_query(q), state);
}

uint8_t
queue_destroy(struct queue *q)
{
	return card_destroy_general(q->card, MLX5_OBJ_TYPE_VIRTIO_NET_Q, q->id);
}

/* ---- rings ---- */

void
card_kick(struct card *card)
{
	uint64_t off, len, var;

	emu_dev_doorbell_area(card->dev, &off, &len, &var);
	__atomic_store_n((uint32_t *)(card->bar + off), 0, __ATOMIC_RELEASE);
}

void
queue_add_head(struct queue *q, uint16_t head)
{
	uint16_t idx = le16toh(q->avail[1]);

	q->avail[2 + idx % q->size] = htole16(head);
	__atomic_store_n(&q->avail[1], htole16((uint16_t)(idx + 1)), __ATOMIC_RELEASE);
}

static void
fill_desc(struct emu_vring_desc *d, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	d->addr = htole64(gpa);
	d->len = htole32(len);
	d->flags = htole16(flags);
	d->next = htole16(next);
}

uint16_t
queue_add(struct queue *q, enum ring_kind kind, const struct seg *segs, unsigned int n, bool write)
{
	uint16_t flags = write ? DESC_WRITE : 0, head = q->next_desc, i, next;
	struct emu_vring_desc *table = q->desc;

	if (kind == RING_INDIRECT) {
		table = card_alloc(q->card, n * sizeof(*table), 16);
		fill_desc(&q->desc[head], card_gpa(q->card, table), n * (uint32_t)sizeof(*table),
			DESC_INDIRECT, 0);
		q->next_desc = (uint16_t)((head + 1) % q->size);
	}
	for (i = 0; i < n; i++) {
		next = kind == RING_INDIRECT ? i + 1 : (uint16_t)((q->next_desc + 1) % q->size);
		fill_desc(&table[kind == RING_INDIRECT ? i : q->next_desc],
			card_gpa(q->card, segs[i].addr), segs[i].len,
			flags | (i + 1u < n ? DESC_NEXT : 0), next);
		if (kind == RING_DIRECT)
			q->next_desc = next;
	}
	queue_add_head(q, head);
	return head;
}

uint16_t
queue_used_idx(const struct queue *q)
{
	return le16toh(__atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE));
}

struct emu_vring_used_elem
queue_used(const struct queue *q, uint16_t i)
{
	const struct emu_vring_used_elem *e = (const void *)(q->used + 2);
	struct emu_vring_used_elem ret = e[i % q->size];

	ret.id = le32toh(ret.id);
	ret.len = le32toh(ret.len);
	return ret;
}

/* ---- steering ---- */

uint32_t
steer_rqt(struct card *card, struct queue *const *queues, uint32_t n)
{
	size_t len = PRM_BYTES(create_rqt_in) + n * PRM_BYTES(rq_num);
	uint8_t *in = calloc(1, len);
	void *rqtc = PRM_ADDR(create_rqt_in, in, rqt_context);
	uint8_t status;
	uint32_t i;

	PRM_SET(rqtc, rqtc, list_q_type, MLX5_RQTC_LIST_Q_TYPE_VIRTIO_NET_Q);
	PRM_SET(rqtc, rqtc, rqt_max_size, n);
	PRM_SET(rqtc, rqtc, rqt_actual_size, n);
	for (i = 0; i < n; i++)
		PRM_SET(rq_num, (uint8_t *)PRM_ADDR(rqtc, rqtc, rq_num) + i * PRM_BYTES(rq_num),
			rq_num, queues[i]->id);
	status = card_cmd(card, MLX5_CMD_OP_CREATE_RQT, in, len, PRM_BYTES(create_rqt_out));
	free(in);
	return status == MLX5_CMD_STAT_OK ? PRM_GET(create_rqt_out, card->out, rqtn) : 0;
}

void
steer_fill_tir(struct card *card, uint8_t *in, uint32_t rqtn)
{
	void *tirc = PRM_ADDR(create_tir_in, in, ctx);

	memset(in, 0, PRM_BYTES(create_tir_in));
	PRM_SET(tirc, tirc, disp_type, MLX5_TIRC_DISP_TYPE_INDIRECT);
	PRM_SET(tirc, tirc, indirect_table, rqtn);
	PRM_SET(tirc, tirc, transport_domain, card->td);
}

uint32_t
steer_tir(struct card *card, uint32_t rqtn)
{
	uint8_t in[PRM_BYTES(create_tir_in)];

	steer_fill_tir(card, in, rqtn);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_TIR, in, sizeof(in),
		PRM_BYTES(create_tir_out)), 0);
	return PRM_GET(create_tir_out, card->out, tirn);
}

uint32_t
steer_table(struct card *card, uint8_t level)
{
	uint8_t in[PRM_BYTES(create_flow_table_in)] = {0};
	void *ctx = PRM_ADDR(create_flow_table_in, in, flow_table_context);

	PRM_SET(flow_table_context, ctx, level, level);
	PRM_SET(flow_table_context, ctx, log_size, 4);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_FLOW_TABLE, in, sizeof(in),
		PRM_BYTES(create_flow_table_out)), 0);
	return PRM_GET(create_flow_table_out, card->out, table_id);
}

static uint32_t
steer_group(struct card *card, uint32_t table, uint32_t index, const void *mask)
{
	uint8_t in[PRM_BYTES(create_flow_group_in)] = {0};

	PRM_SET(create_flow_group_in, in, table_id, table);
	PRM_SET(create_flow_group_in, in, start_flow_index, index);
	PRM_SET(create_flow_group_in, in, end_flow_index, index);
	if (mask != NULL) {
		PRM_SET(create_flow_group_in, in, match_criteria_enable, MLX5_MATCH_OUTER_HEADERS);
		memcpy(PRM_ADDR(create_flow_group_in, in, match_criteria), mask,
			PRM_BYTES(fte_match_set_lyr_2_4));
	}
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_FLOW_GROUP, in, sizeof(in),
		PRM_BYTES(create_flow_group_out)), 0);
	return PRM_GET(create_flow_group_out, card->out, group_id);
}

void
steer_rule(struct card *card, uint32_t table, uint32_t index, const void *mask, const void *value,
		uint32_t tirn)
{
	uint8_t in[PRM_BYTES(set_fte_in) + PRM_BYTES(dest_format_struct)] = {0};
	void *ctx = PRM_ADDR(set_fte_in, in, flow_context);
	void *dest = PRM_ADDR(flow_context, ctx, destination);

	PRM_SET(flow_context, ctx, group_id, steer_group(card, table, index, mask));
	PRM_SET(set_fte_in, in, table_id, table);
	PRM_SET(set_fte_in, in, flow_index, index);
	PRM_SET(flow_context, ctx, action, MLX5_FLOW_CONTEXT_ACTION_FWD_DEST);
	PRM_SET(flow_context, ctx, destination_list_size, 1);
	PRM_SET(dest_format_struct, dest, destination_type, MLX5_FLOW_DESTINATION_TYPE_TIR);
	PRM_SET(dest_format_struct, dest, destination_id, tirn);
	if (value != NULL)
		memcpy(PRM_ADDR(flow_context, ctx, match_value), value,
			PRM_BYTES(fte_match_set_lyr_2_4));
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY, in, sizeof(in),
		PRM_BYTES(set_fte_out)), 0);
}

void
steer_all(struct card *card, struct queue *const *queues, uint32_t n)
{
	uint32_t rqtn = steer_rqt(card, queues, n);

	assert_int_not_equal(rqtn, 0);
	steer_rule(card, steer_table(card, 0), 0, NULL, NULL, steer_tir(card, rqtn));
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory keys: what a create refuses, what DMA through them reaches, and what it does not.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "events.h"
#include "traffic.h"

enum { COOKIE = 0xfa17 };

/* A pair whose queues may use another key than the memory's own. */
static struct pair p;

/* What tests make besides; torn down in this order. */
static struct obj klm, klm2;
static struct mem extra;
static struct channel ch;

static int
setup(void **state)
{
	klm = klm2 = (struct obj) {0};
	extra = (struct mem) {0};
	ch = channel_create(*state);
	pair_create_mem(&p, *state);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pair_discard(&p);
	discard(&klm2);
	discard(&klm);
	mem_discard(&extra);
	channel_discard(&ch);
	return 0;
}

/* ---- creates that are refused ---- */

#define KLM_REFUSED(name, stat, ...) \
	static void \
	name(void **state) \
	{ \
		struct klm e[2] = { \
			{ 65536, p.mem.mkey, PAIR_IOVA }, \
			{ 65536, p.mem.mkey, PAIR_IOVA + 65536 }, \
		}; \
		uint8_t in[KLM_MKEY_IN_BYTES]; \
		void *mkc = PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry); \
		uint8_t *list = PRM_ADDR(create_mkey_in, in, klm_pas_mtt); \
		size_t len = fill_klm_mkey(*state, in, 0, e, 2); \
		(void)mkc; \
		(void)list; \
		__VA_ARGS__; \
		assert_create_refused(*state, in, len, stat); \
	}

KLM_REFUSED(a_key_in_an_unknown_protection_domain_is_refused, BAD_RES_ERR,
	PRM_SET(mkc, mkc, pd, NO_SUCH_ID(24)))
KLM_REFUSED(a_key_of_no_length_is_refused, BAD_PARAM_ERR,
	PRM_SET(mkc, mkc, len, 0))
KLM_REFUSED(a_key_that_wraps_around_is_refused, BAD_PARAM_ERR,
	PRM_SET(mkc, mkc, start_addr, UINT64_MAX - 4096))
KLM_REFUSED(a_key_longer_than_its_entries_is_refused, BAD_PARAM_ERR,
	PRM_SET(mkc, mkc, len, (UINT64_C(1) << 33) + 131072))
KLM_REFUSED(a_key_of_unknown_mode_is_refused, BAD_PARAM_ERR,
	PRM_SET(mkc, mkc, access_mode_4_2, 7))
KLM_REFUSED(a_list_longer_than_its_mailbox_is_refused, BAD_INP_LEN_ERR,
	PRM_SET(create_mkey_in, in, translations_octword_actual_size, 64);
	PRM_SET(mkc, mkc, translations_octword_size, 64))
KLM_REFUSED(an_entry_of_more_than_2_gib_is_refused, BAD_PARAM_ERR,
	PRM_SET(klm, list, byte_count, 0x80000001))
KLM_REFUSED(an_entry_that_wraps_around_is_refused, BAD_PARAM_ERR,
	PRM_SET(klm, list, address, UINT64_MAX - 100))

static void
a_key_of_entries_of_fixed_size_is_refused_without_its_capability(void **state)
{
	struct klm e = { 0, p.mem.mkey, PAIR_IOVA };
	uint8_t in[KLM_MKEY_IN_BYTES];
	void *mkc = PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry);
	size_t len = fill_klm_mkey(*state, in, 0, &e, 1);

	if (HCA_CAP((struct dev *)*state, fixed_buffer_size))
		skip();
	PRM_SET(mkc, mkc, access_mode_1_0, MLX5_MKC_ACCESS_MODE_KLM_FBS);
	PRM_SET(mkc, mkc, log_page_size, 16);
	PRM_SET(mkc, mkc, len, 65536);
	assert_create_refused(*state, in, len, BAD_PARAM_ERR);
}

static void
a_key_over_an_unknown_umem_is_refused(void **state)
{
	uint8_t in[PRM_BYTES(create_mkey_in)];

	fill_umem_mkey(*state, in, NO_SUCH_ID(24), 0, 8192);
	assert_create_refused(*state, in, sizeof(in), BAD_RES_ERR);
}

static void
a_key_longer_than_its_umem_is_refused(void **state)
{
	struct umem u = umem_create(*state, 8192);
	uint8_t in[PRM_BYTES(create_mkey_in)];

	fill_umem_mkey(*state, in, u.id, 0, 12288);
	assert_create_refused(*state, in, sizeof(in), BAD_PARAM_ERR);
	umem_destroy(&u);
}

static void
a_umem_is_busy_while_a_key_translates_by_it(void **state)
{
	struct umem u = umem_create(*state, 8192);
	uint8_t in[PRM_BYTES(create_mkey_in)];

	fill_umem_mkey(*state, in, u.id, 0, 8192);
	klm = create(*state, in, sizeof(in));
	assert_int_equal(mlx5dv_devx_umem_dereg(u.umem), EBUSY);
	destroy(&klm);
	umem_destroy(&u);
}

static void
a_memory_region_of_memory_that_is_not_there_is_refused(void **state)
{
	struct dev *d = *state;
	void *hole = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ibv_mr *mr;

	assert_ptr_not_equal(hole, MAP_FAILED);
	munmap(hole, 8192);
	errno = 0;
	mr = ibv_reg_mr(d->pd, hole, 8192, IBV_ACCESS_LOCAL_WRITE);
	assert_null(mr);
	assert_int_equal(errno, EFAULT);
}

static void
a_writable_memory_region_of_read_only_memory_is_refused(void **state)
{
	struct dev *d = *state;
	void *ro = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ibv_mr *mr;

	assert_ptr_not_equal(ro, MAP_FAILED);
	errno = 0;
	mr = ibv_reg_mr(d->pd, ro, 4096, IBV_ACCESS_LOCAL_WRITE);
	assert_null(mr);
	assert_int_equal(errno, EFAULT);
	munmap(ro, 4096);
}

/* ---- keys that work ---- */

static void
run_pair_with(uint32_t mkey, unsigned int frames)
{
	pair_create_queues(&p, mkey, 0, 0);
	pair_create_steering(&p);
	pair_start(&p);
	pair_exchange(&p, frames);
}

static void
guest_memory_through_a_memory_region(void **state)
{
	(void)state;
	run_pair_with(p.mem.mkey, 80);
}

static void
guest_memory_through_a_umem_key(void **state)
{
	struct mlx5dv_devx_umem *u;
	uint8_t in[PRM_BYTES(create_mkey_in)];
	struct dev *d = *state;

	u = mlx5dv_devx_umem_reg(d->ctx, p.mem.va, p.mem.len, IBV_ACCESS_LOCAL_WRITE);
	assert_non_null(u);
	fill_umem_mkey(d, in, u->umem_id, PAIR_IOVA, PAIR_MEM);
	klm = create(d, in, sizeof(in));
	run_pair_with(klm.id, 80);
	pair_discard(&p);
	destroy(&klm);
	assert_int_equal(mlx5dv_devx_umem_dereg(u), 0);
}

static void
guest_memory_through_an_indirect_key(void **state)
{
	struct klm e[] = {
		{ 0x10000, p.mem.mkey, PAIR_IOVA },
		{ 0x20800, p.mem.mkey, PAIR_IOVA + 0x10000 },
		{ PAIR_MEM - 0x30800, p.mem.mkey, PAIR_IOVA + 0x30800 },
	};
	uint8_t in[KLM_MKEY_IN_BYTES];
	size_t len = fill_klm_mkey(*state, in, PAIR_IOVA, e, 3);

	klm = create(*state, in, len);
	run_pair_with(klm.id, 80);
}

/* Pieces of one size, each with its address alone, in another order than the memory's. */
static void
guest_memory_through_an_indirect_key_of_fixed_size(void **state)
{
	enum { LOG_PIECE = 16, PIECES = PAIR_MEM >> LOG_PIECE };
	struct buf tx = pair_tx(&p, 0, 300), rx = { PAIR_IOVA + 0x80000, BUF_BYTES };
	struct klm e[PIECES];
	uint8_t in[KLM_MKEY_IN_BYTES];
	void *mkc = PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry);
	struct dev *d = *state;
	size_t len, i;

	if (!HCA_CAP(d, fixed_buffer_size))
		skip();
	extra = mem_create(d->pd, PAIR_MEM, 0x9000000, MEM_RW);
	for (i = 0; i < PIECES; i++) {
		e[i].bytes = 0;
		e[i].mkey = i % 2 == 0 ? p.mem.mkey : extra.mkey;
		e[i].address = (i % 2 == 0 ? PAIR_IOVA : 0x9000000) + (i << LOG_PIECE);
	}
	len = fill_klm_mkey(d, in, PAIR_IOVA, e, PIECES);
	PRM_SET(mkc, mkc, access_mode_1_0, MLX5_MKC_ACCESS_MODE_KLM_FBS);
	PRM_SET(mkc, mkc, log_page_size, LOG_PIECE);
	PRM_SET(mkc, mkc, len, PAIR_MEM);
	klm = create(d, in, len);
	/* Rings lie in piece 0, the frame in piece 5: that is the other region's. */
	pair_create_queues(&p, klm.id, 0, 0);
	pair_create_steering(&p);
	pair_start(&p);
	frame_make(extra.va + PAIR_TX_BUFS + NET_HDR, 300, 8);
	ring_post(&p.rx.ring, &rx, 0, 1);
	queue_kick(&p.rx);
	ring_post(&p.tx.ring, &tx, 1, 0);
	queue_kick(&p.tx);
	pair_expect(&p, 8, 300);
}

/* A second region holds the transmit buffers' upper half: a buffer straddles the two keys. */
static void
a_buffer_across_two_entries_of_an_indirect_key(void **state)
{
	const uint32_t at = PAIR_TX_BUFS + 1000;  /* where the second region begins */
	struct klm e[] = {
		{ at, p.mem.mkey, PAIR_IOVA },
		{ 0x10000, 0, 0 },
		{ PAIR_MEM - at - 0x10000, p.mem.mkey, PAIR_IOVA + at + 0x10000 },
	};
	struct dev *d = *state;
	uint8_t in[KLM_MKEY_IN_BYTES], frame[1400];
	struct buf b;
	size_t len;

	extra = mem_create(d->pd, 0x10000, 0x7000000, MEM_RW);
	e[1].mkey = extra.mkey;
	e[1].address = extra.iova;
	len = fill_klm_mkey(d, in, PAIR_IOVA, e, 3);
	klm = create(d, in, len);
	pair_create_queues(&p, klm.id, 0, 0);
	pair_create_steering(&p);
	pair_start(&p);
	pair_post_rx(&p, 1);
	frame_make(frame, sizeof(frame), 5);
	memset(pair_tx_buf(&p, 0), 0, BUF_BYTES);
	memcpy(pair_tx_buf(&p, 0) + NET_HDR, frame, 1000 - NET_HDR);
	memcpy(extra.va, frame + 1000 - NET_HDR, sizeof(frame) - (1000 - NET_HDR));
	b = pair_tx(&p, 0, sizeof(frame));
	ring_post(&p.tx.ring, &b, 1, 0);
	queue_kick(&p.tx);
	pair_expect(&p, 5, sizeof(frame));
}

static void
an_indirect_key_over_an_indirect_key(void **state)
{
	struct klm e = { PAIR_MEM, p.mem.mkey, PAIR_IOVA };
	uint8_t in[KLM_MKEY_IN_BYTES];
	size_t len = fill_klm_mkey(*state, in, 0x100000000, &e, 1);

	klm = create(*state, in, len);
	e = (struct klm) { PAIR_MEM, klm.id, 0x100000000 };
	len = fill_klm_mkey(*state, in, PAIR_IOVA, &e, 1);
	klm2 = create(*state, in, len);
	run_pair_with(klm2.id, 20);
}

static void
a_new_key_takes_the_place_of_one_while_suspended(void **state)
{
	struct klm e = { PAIR_MEM, p.mem.mkey, PAIR_IOVA };
	struct dev *d = *state;
	uint8_t in[KLM_MKEY_IN_BYTES], modify[VIRTQ_IN_BYTES];
	struct queue *queues[] = { &p.rx, &p.tx };
	size_t len, i;

	if (!VIRTIO_CAP(d, vnet_modify_ext) || !VIRTIO_CAP(d, freeze_to_rdy_supported))
		skip();
	len = fill_klm_mkey(d, in, PAIR_IOVA, &e, 1);
	klm = create(d, in, len);
	run_pair_with(klm.id, 10);
	klm2 = create(d, in, len);
	for (i = 0; i < DIM(queues); i++) {
		queue_go(queues[i], SUSPEND);
		fill_virtq_modify(modify, queues[i]->vq.id, MLX5_VIRTQ_MODIFY_Q_MKEY |
			MLX5_VIRTQ_MODIFY_STATE);
		PRM_SET(virtio_net_q_object, VIRTQ_OBJ(modify), state, MLX5_VIRTQ_STATE_RDY);
		PRM_SET(virtio_q, VIRTQ_CTX(modify), virtio_q_mkey, klm2.id);
		assert_accepted(dev_modify(&queues[i]->vq, modify, sizeof(modify)));
		queue_kick(queues[i]);
	}
	destroy(&klm);
	pair_exchange(&p, 20);
}

/* ---- DMA that faults ---- */

/* The transmit queue has faulted: it says so, in every way; the receive queue does not mind. */
static void
assert_faulted(struct queue *q, struct queue *other, int64_t faults_before)
{
	assert_int_equal(channel_wait(&ch, WAIT_MS), COOKIE);
	assert_int_equal(virtq_state(&q->vq), MLX5_VIRTQ_STATE_ERR);
	assert_int_not_equal(virtq_query(&q->vq).error_type, 0);
	if (faults_before >= 0)
		assert_true(dma_faults() > faults_before);
	assert_int_equal(virtq_state(&other->vq), MLX5_VIRTQ_STATE_RDY);
}

/* Transmit one frame from @p iova through a queue of key @p mkey: it has to fault. */
static void
check_tx_fault(uint32_t mkey, uint64_t iova)
{
	int64_t faults = dma_faults();
	struct buf b = { iova, NET_HDR + 100 };

	pair_create_queues(&p, mkey, 0, 0);
	pair_create_steering(&p);
	pair_start(&p);
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE);
	ring_post(&p.tx.ring, &b, 1, 0);
	queue_kick(&p.tx);
	assert_faulted(&p.tx, &p.rx, faults);
}

static void
below_a_memory_region_dma_faults(void **state)
{
	(void)state;
	check_tx_fault(p.mem.mkey, PAIR_IOVA - 4096);
}

static void
behind_a_memory_region_dma_faults(void **state)
{
	(void)state;
	check_tx_fault(p.mem.mkey, PAIR_IOVA + PAIR_MEM);
}

static void
across_the_end_of_a_memory_region_dma_faults(void **state)
{
	(void)state;
	check_tx_fault(p.mem.mkey, PAIR_IOVA + PAIR_MEM - 50);
}

static void
at_the_process_address_of_a_region_that_starts_elsewhere_dma_faults(void **state)
{
	(void)state;
	check_tx_fault(p.mem.mkey, (uintptr_t)p.mem.va + PAIR_TX_BUFS);
}

/* An indirect key over the memory with a hole where the upper transmit buffers are. */
static uint32_t
key_with_hole(struct dev *d, uint32_t hole_mkey)
{
	struct klm e[] = {
		{ PAIR_TX_BUFS, p.mem.mkey, PAIR_IOVA },
		{ 0x1000, hole_mkey, PAIR_IOVA + PAIR_TX_BUFS },
		{ PAIR_MEM - PAIR_TX_BUFS - 0x1000, p.mem.mkey, PAIR_IOVA + PAIR_TX_BUFS + 0x1000 },
	};
	uint8_t in[KLM_MKEY_IN_BYTES];
	size_t len = fill_klm_mkey(d, in, PAIR_IOVA, e, 3);

	klm = create(d, in, len);
	return klm.id;
}

static void
in_a_hole_of_an_indirect_key_dma_faults(void **state)
{
	struct dev *d = *state;
	struct ibv_mr *null = ibv_alloc_null_mr(d->pd);
	uint32_t key;

	assert_non_null(null);
	key = key_with_hole(d, null->lkey);
	assert_int_equal(ibv_dereg_mr(null), 0);
	check_tx_fault(key, PAIR_IOVA + PAIR_TX_BUFS + 16);
}

static void
into_a_hole_of_an_indirect_key_dma_faults(void **state)
{
	struct dev *d = *state;
	struct ibv_mr *null = ibv_alloc_null_mr(d->pd);
	uint32_t key;

	assert_non_null(null);
	key = key_with_hole(d, null->lkey);
	assert_int_equal(ibv_dereg_mr(null), 0);
	check_tx_fault(key, PAIR_IOVA + PAIR_TX_BUFS - 50);
}

static void
beside_a_hole_of_an_indirect_key_traffic_goes_on(void **state)
{
	struct dev *d = *state;
	struct ibv_mr *null = ibv_alloc_null_mr(d->pd);
	uint32_t key, seq;

	assert_non_null(null);
	key = key_with_hole(d, null->lkey);
	assert_int_equal(ibv_dereg_mr(null), 0);
	pair_create_queues(&p, key, 0, 0);
	pair_create_steering(&p);
	pair_start(&p);
	pair_post_rx(&p, 4);
	p.sent = 2; /* the hole is where buffers 0 and 1 are */
	seq = pair_post_tx(&p, 500);
	queue_kick(&p.tx);
	pair_expect(&p, seq, 500);
}

static void
through_an_entry_of_a_key_that_does_not_exist_dma_faults(void **state)
{
	check_tx_fault(key_with_hole(*state, NO_SUCH_ID(24) << 8), PAIR_IOVA + PAIR_TX_BUFS);
}

static void
through_an_entry_of_another_protection_domain_dma_faults(void **state)
{
	struct dev *d = *state;
	struct ibv_pd *pd = ibv_alloc_pd(d->ctx);
	uint32_t key;

	assert_non_null(pd);
	extra = mem_create(pd, 0x1000, PAIR_IOVA + PAIR_TX_BUFS, MEM_RW);
	key = key_with_hole(d, extra.mkey);
	check_tx_fault(key, PAIR_IOVA + PAIR_TX_BUFS);
	pair_discard(&p);
	destroy(&klm);
	mem_destroy(&extra);
	assert_int_equal(ibv_dealloc_pd(pd), 0);
}

static void
through_an_entry_that_leads_out_of_its_key_dma_faults(void **state)
{
	struct dev *d = *state;

	/* The entry is 4 KiB long, the key behind it is shorter. */
	extra = mem_create(d->pd, 0x1000, PAIR_IOVA + PAIR_TX_BUFS - 0x1000, MEM_RW);
	check_tx_fault(key_with_hole(d, extra.mkey), PAIR_IOVA + PAIR_TX_BUFS);
}

static void
through_a_key_of_another_variant_dma_faults(void **state)
{
	/* The low byte of a key guards against stale ones. */
	check_tx_fault(key_with_hole(*state, p.mem.mkey ^ 0x5a), PAIR_IOVA + PAIR_TX_BUFS);
}

static void
through_too_many_levels_of_indirection_dma_faults(void **state)
{
	struct dev *d = *state;
	uint32_t levels = HCA_CAP(d, max_indirection) + 1, i;
	struct obj keys[32] = { {0} };
	uint8_t in[KLM_MKEY_IN_BYTES];
	struct klm e = { PAIR_MEM, p.mem.mkey, PAIR_IOVA };
	size_t len;

	if (levels > DIM(keys))
		skip();
	for (i = 0; i < levels; i++) {
		len = fill_klm_mkey(d, in, PAIR_IOVA, &e, 1);
		keys[i] = create(d, in, len);
		e.mkey = keys[i].id;
	}
	check_tx_fault(key_with_hole(d, keys[levels - 1].id), PAIR_IOVA + PAIR_TX_BUFS);
	pair_discard(&p);
	destroy(&klm);
	while (i-- > 0)
		destroy(&keys[i]);
}

static void
through_the_null_key_dma_faults(void **state)
{
	struct dev *d = *state;
	struct ibv_mr *null = ibv_alloc_null_mr(d->pd);
	int64_t faults = dma_faults();
	struct buf b;

	assert_non_null(null);
	b = (struct buf) { PAIR_IOVA + PAIR_TX_BUFS, NET_HDR + 100 };
	queue_create(&p.rx, d, 0, PAIR_SIZE, &p.mem, p.mem.va + PAIR_RX_RING, 0);
	extra = p.mem;
	extra.mkey = null->lkey;
	queue_create(&p.tx, d, 1, PAIR_SIZE, &extra, p.mem.va + PAIR_TX_RING, 0);
	extra = (struct mem) {0};
	pair_start(&p);
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE);
	ring_post(&p.tx.ring, &b, 1, 0);
	queue_kick(&p.tx);
	assert_faulted(&p.tx, &p.rx, faults);
	assert_int_equal(ibv_dereg_mr(null), 0);
}

static void
a_queue_of_one_protection_domain_with_a_key_of_another_faults(void **state)
{
	struct dev *d = *state;
	struct ibv_pd *pd = ibv_alloc_pd(d->ctx);
	int64_t faults = dma_faults();
	struct buf b = { 0x9000000, NET_HDR + 100 };

	assert_non_null(pd);
	extra = mem_create(pd, PAIR_MEM, 0x9000000, MEM_RW);
	queue_create(&p.rx, d, 0, PAIR_SIZE, &p.mem, p.mem.va + PAIR_RX_RING, 0);
	queue_create(&p.tx, d, 1, PAIR_SIZE, &extra, extra.va + PAIR_TX_RING, 0);
	pair_start(&p);
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE);
	ring_post(&p.tx.ring, &b, 1, 0);
	queue_kick(&p.tx);
	assert_faulted(&p.tx, &p.rx, faults);
	queue_discard(&p.tx);
	mem_destroy(&extra);
	assert_int_equal(ibv_dealloc_pd(pd), 0);
}

static void
receiving_into_memory_that_was_registered_for_reading_faults(void **state)
{
	struct dev *d = *state;
	struct klm e[] = {
		{ PAIR_RX_BUFS, p.mem.mkey, PAIR_IOVA },
		{ 0x1000, 0, PAIR_IOVA + PAIR_RX_BUFS },
		{ PAIR_MEM - PAIR_RX_BUFS - 0x1000, p.mem.mkey, PAIR_IOVA + PAIR_RX_BUFS + 0x1000 },
	};
	int64_t faults = dma_faults();
	uint8_t in[KLM_MKEY_IN_BYTES];
	size_t len, i;

	extra = mem_create(d->pd, 0x1000, PAIR_IOVA + PAIR_RX_BUFS, 0);
	memset(extra.va, 0x77, extra.len);
	e[1].mkey = extra.mkey;
	len = fill_klm_mkey(d, in, PAIR_IOVA, e, 3);
	klm = create(d, in, len);
	pair_create_queues(&p, klm.id, 0, 0);
	pair_create_steering(&p);
	pair_start(&p);
	channel_subscribe(&ch, &p.rx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE);
	pair_post_rx(&p, 1);
	pair_post_tx(&p, 100);
	queue_kick(&p.tx);
	assert_faulted(&p.rx, &p.tx, faults);
	for (i = 0; i < extra.len; i++)
		assert_int_equal(extra.va[i], 0x77);
}

/* A key over the whole memory with only one of its two rights. */
static struct mem
memory_through_key_with(struct dev *d, bool read, bool write)
{
	struct klm e = { PAIR_MEM, p.mem.mkey, PAIR_IOVA };
	uint8_t in[KLM_MKEY_IN_BYTES];
	void *mkc = PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry);
	size_t len = fill_klm_mkey(d, in, PAIR_IOVA, &e, 1);
	struct mem m = p.mem;

	PRM_SET(mkc, mkc, lr, read);
	PRM_SET(mkc, mkc, lw, write);
	klm = create(d, in, len);
	m.mkey = klm.id;
	return m;
}

static void
a_key_without_the_right_to_write_faults_where_it_is_written(void **state)
{
	struct mem m = memory_through_key_with(*state, true, false);
	int64_t faults = dma_faults();
	struct buf b;

	queue_create(&p.rx, *state, 0, PAIR_SIZE, &p.mem, p.mem.va + PAIR_RX_RING, 0);
	queue_create(&p.tx, *state, 1, PAIR_SIZE, &m, p.mem.va + PAIR_TX_RING, 0);
	pair_start(&p);
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE);
	b = pair_tx(&p, 0, 100);
	ring_post(&p.tx.ring, &b, 1, 0);
	queue_kick(&p.tx);
	/* The frame was read; it can't be returned in the used ring. */
	assert_faulted(&p.tx, &p.rx, faults);
	assert_int_equal(p.tx.ring.used->idx, 0);
}

static void
a_key_without_the_right_to_read_faults_where_it_is_read(void **state)
{
	struct mem m = memory_through_key_with(*state, false, true);
	int64_t faults = dma_faults();
	struct buf b;

	queue_create(&p.rx, *state, 0, PAIR_SIZE, &p.mem, p.mem.va + PAIR_RX_RING, 0);
	queue_create(&p.tx, *state, 1, PAIR_SIZE, &m, p.mem.va + PAIR_TX_RING, 0);
	pair_start(&p);
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE);
	b = pair_tx(&p, 0, 100);
	ring_post(&p.tx.ring, &b, 1, 0);
	queue_kick(&p.tx);
	assert_faulted(&p.tx, &p.rx, faults);
}

/* A region that ends within a page, in the place of the hole. */
static void
make_region_of_3000_bytes(struct dev *d)
{
	extra = mem_create(d->pd, 0x1000, PAIR_IOVA + PAIR_TX_BUFS, MEM_RW);
	assert_int_equal(ibv_dereg_mr(extra.mr), 0);
	extra.mr = ibv_reg_mr_iova(d->pd, extra.va, 3000, PAIR_IOVA + PAIR_TX_BUFS, MEM_RW);
	assert_non_null(extra.mr);
	extra.mkey = extra.mr->lkey;
}

static void
a_region_ends_with_its_last_byte_and_not_with_its_page(void **state)
{
	make_region_of_3000_bytes(*state);
	check_tx_fault(key_with_hole(*state, extra.mkey),
		PAIR_IOVA + PAIR_TX_BUFS + 3000 - (NET_HDR + 100) + 1);
}

static void
the_last_byte_of_a_region_is_reached(void **state)
{
	struct buf b = { PAIR_IOVA + PAIR_TX_BUFS + 3000 - (NET_HDR + 100), NET_HDR + 100 };

	make_region_of_3000_bytes(*state);
	pair_create_queues(&p, key_with_hole(*state, extra.mkey), 0, 0);
	pair_create_steering(&p);
	pair_start(&p);
	pair_post_rx(&p, 1);
	frame_make(extra.va + 2900, 100, 21);
	ring_post(&p.tx.ring, &b, 1, 0);
	queue_kick(&p.tx);
	pair_expect(&p, 21, 100);
}

static void
sending_from_memory_that_was_registered_for_reading(void **state)
{
	struct dev *d = *state;
	struct buf b = { PAIR_IOVA + PAIR_TX_BUFS, NET_HDR + 100 };

	extra = mem_create(d->pd, 0x1000, PAIR_IOVA + PAIR_TX_BUFS, 0);
	key_with_hole(d, extra.mkey);
	pair_create_queues(&p, klm.id, 0, 0);
	pair_create_steering(&p);
	pair_start(&p);
	pair_post_rx(&p, 1);
	memset(extra.va, 0, NET_HDR);
	frame_make(extra.va + NET_HDR, 100, 77);
	ring_post(&p.tx.ring, &b, 1, 0);
	queue_kick(&p.tx);
	pair_expect(&p, 77, 100);
}

static void
a_ring_in_memory_that_is_not_there_faults(void **state)
{
	struct dev *d = *state;
	int64_t faults = dma_faults();
	uint8_t in[VIRTQ_IN_BYTES];
	struct virtq_attr a;

	queue_create(&p.rx, d, 0, PAIR_SIZE, &p.mem, p.mem.va + PAIR_RX_RING, 0);
	queue_prepare(&p.tx, d, 1, PAIR_SIZE, &p.mem, p.mem.va + PAIR_TX_RING, &a);
	a.avail_iova = PAIR_IOVA + PAIR_MEM + 0x1000;
	fill_virtq(d, in, &a);
	p.tx.vq = create(d, in, sizeof(in));
	pair_start(&p);
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE);
	queue_kick(&p.tx);
	assert_faulted(&p.tx, &p.rx, faults);
}

/* ---- keys and memory that go away ---- */

static void
a_key_destroyed_under_a_running_queue_faults_at_the_next_access(void **state)
{
	struct klm e = { PAIR_MEM, p.mem.mkey, PAIR_IOVA };
	uint8_t in[KLM_MKEY_IN_BYTES];
	size_t len = fill_klm_mkey(*state, in, PAIR_IOVA, &e, 1);
	struct mem through_klm = p.mem;
	int64_t faults;

	klm = create(*state, in, len);
	through_klm.mkey = klm.id;
	queue_create(&p.rx, *state, 0, PAIR_SIZE, &p.mem, p.mem.va + PAIR_RX_RING, 0);
	queue_create(&p.tx, *state, 1, PAIR_SIZE, &through_klm, p.mem.va + PAIR_TX_RING, 0);
	pair_create_steering(&p);
	pair_start(&p);
	pair_exchange(&p, 10);
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE);
	faults = dma_faults();
	destroy(&klm);
	pair_post_tx(&p, 100);
	queue_kick(&p.tx);
	assert_faulted(&p.tx, &p.rx, faults);
}

static void
a_key_that_is_gone_does_not_come_back_with_its_number(void **state)
{
	uint32_t key = key_with_hole(*state, p.mem.mkey), i;
	struct klm e = { PAIR_MEM, p.mem.mkey, PAIR_IOVA };
	uint8_t in[KLM_MKEY_IN_BYTES];
	size_t len = fill_klm_mkey(*state, in, PAIR_IOVA, &e, 1);

	/* However soon the number is given out again: the new key has another variant. */
	destroy(&klm);
	PRM_SET(mkc, PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry), mkey_7_0, 0x42);
	for (i = 0; i < 8; i++) {
		klm = create(*state, in, len);
		assert_int_not_equal(klm.id, key);
		destroy(&klm);
	}
	check_tx_fault(key_with_hole(*state, key), PAIR_IOVA + PAIR_TX_BUFS);
}

static bool
is_filled_with(const uint8_t *at, size_t len, uint8_t value)
{
	while (len-- > 0) {
		if (*at++ != value)
			return false;
	}
	return true;
}

enum { EXTRA_BYTES = 0x10000, EXTRA_IOVA = PAIR_IOVA + PAIR_RX_BUFS };

/* Receive buffers lie in the extra region, behind an indirect key. */
static void
receive_into_extra(struct dev *d)
{
	const uint32_t after = PAIR_RX_BUFS + EXTRA_BYTES;
	struct klm e[] = {
		{ PAIR_RX_BUFS, p.mem.mkey, PAIR_IOVA },
		{ EXTRA_BYTES, extra.mkey, EXTRA_IOVA },
		{ PAIR_MEM - after, p.mem.mkey, PAIR_IOVA + after },
	};
	uint8_t in[KLM_MKEY_IN_BYTES];
	size_t len = fill_klm_mkey(d, in, PAIR_IOVA, e, 3);

	klm = create(d, in, len);
	pair_create_queues(&p, klm.id, 0, 0);
	pair_create_steering(&p);
	pair_start(&p);
}

/* Post a receive buffer at @p iova, send a frame, and wait until it was received. Returns the
 * frame's number; where it lies is for the caller to look. */
static uint32_t
receive_at(uint64_t iova, uint32_t frame_len)
{
	struct buf b = { iova, BUF_BYTES };
	struct vring_used_elem e;
	uint32_t seq;

	ring_post(&p.rx.ring, &b, 0, 1);
	queue_kick(&p.rx);
	seq = pair_post_tx(&p, frame_len);
	queue_kick(&p.tx);
	assert_true(wait_until(ring_take(&p.rx.ring, &e)));
	assert_int_equal(e.len, NET_HDR + frame_len);
	return seq;
}

static uint32_t
receive_one(unsigned int i, uint32_t frame_len)
{
	return receive_at(pair_rx(&p, i).iova, frame_len);
}

static void
deregistered_memory_is_never_written_again(void **state)
{
	struct buf waiting = pair_rx(&p, 1);
	int64_t faults;
	uint32_t seq;

	extra = mem_create(((struct dev *)*state)->pd, EXTRA_BYTES, EXTRA_IOVA, MEM_RW);
	receive_into_extra(*state);
	seq = receive_one(0, 400);
	assert_true(frame_is(extra.va + NET_HDR, 400, seq));
	/* A buffer is posted and waiting when its region goes. */
	ring_post(&p.rx.ring, &waiting, 0, 1);
	queue_kick(&p.rx);
	assert_int_equal(ibv_dereg_mr(extra.mr), 0);
	extra.mr = NULL;
	memset(extra.va, 0xaa, extra.len);
	channel_subscribe(&ch, &p.rx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, COOKIE);
	faults = dma_faults();
	pair_post_tx(&p, 400);
	queue_kick(&p.tx);
	assert_faulted(&p.rx, &p.tx, faults);
	assert_true(is_filled_with(extra.va, extra.len, 0xaa));
}

static void
one_memory_registered_twice_outlives_one_of_its_keys(void **state)
{
	struct dev *d = *state;
	struct ibv_mr *again;

	again = ibv_reg_mr_iova(d->pd, p.mem.va, p.mem.len, PAIR_IOVA, MEM_RW);
	assert_non_null(again);
	assert_int_not_equal(again->lkey, p.mem.mkey);
	run_pair_with(p.mem.mkey, 5);
	assert_int_equal(ibv_dereg_mr(again), 0);
	pair_exchange(&p, 5);
}

/* ---- a region is the pages that were registered, not their address ---- */

static void
memory_that_was_unmapped_is_still_reached_and_what_came_in_its_place_is_not(void **state)
{
	uint8_t *view, *other;
	uint32_t seq;

	extra = mem_create(((struct dev *)*state)->pd, EXTRA_BYTES, EXTRA_IOVA, MEM_RW);
	receive_into_extra(*state);
	receive_one(0, 100);
	view = mmap(NULL, EXTRA_BYTES, PROT_READ, MAP_SHARED, extra.fd, 0);
	assert_ptr_not_equal(view, MAP_FAILED);
	other = mmap(extra.va, EXTRA_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_ptr_equal(other, extra.va);
	memset(other, 0xaa, EXTRA_BYTES);
	seq = receive_one(1, 700);
	assert_true(frame_is(view + BUF_BYTES + NET_HDR, 700, seq));
	assert_true(is_filled_with(other, EXTRA_BYTES, 0xaa));
	munmap(view, EXTRA_BYTES);
}

static void
memory_that_was_unmapped_for_good_is_still_reached(void **state)
{
	uint8_t *view;
	uint32_t seq;

	extra = mem_create(((struct dev *)*state)->pd, EXTRA_BYTES, EXTRA_IOVA, MEM_RW);
	receive_into_extra(*state);
	view = mmap(NULL, EXTRA_BYTES, PROT_READ, MAP_SHARED, extra.fd, 0);
	assert_ptr_not_equal(view, MAP_FAILED);
	munmap(extra.va, EXTRA_BYTES);
	seq = receive_one(3, 1200);
	assert_true(frame_is(view + 3 * BUF_BYTES + NET_HDR, 1200, seq));
	extra.va = view; /* to be unmapped */
}

static void
memory_is_followed_when_it_moves(void **state)
{
	uint8_t *target, *moved;
	uint32_t seq;

	extra = mem_create(((struct dev *)*state)->pd, EXTRA_BYTES, EXTRA_IOVA, MEM_RW);
	receive_into_extra(*state);
	receive_one(0, 100);
	target = mmap(NULL, EXTRA_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(target, MAP_FAILED);
	moved = mremap(extra.va, EXTRA_BYTES, EXTRA_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, target);
	assert_ptr_equal(moved, target);
	extra.va = moved;
	seq = receive_one(2, 900);
	assert_true(frame_is(moved + 2 * BUF_BYTES + NET_HDR, 900, seq));
}

static void
shared_memory_without_a_file_is_followed_too(void **state)
{
	struct dev *d = *state;
	uint8_t *va, *target, *moved;
	uint32_t seq;

	va = mmap(NULL, EXTRA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(va, MAP_FAILED);
	extra = (struct mem) { .va = va, .len = EXTRA_BYTES, .iova = EXTRA_IOVA, .fd = -1 };
	extra.mr = ibv_reg_mr_iova(d->pd, va, EXTRA_BYTES, EXTRA_IOVA, MEM_RW);
	assert_non_null(extra.mr);
	extra.mkey = extra.mr->lkey;
	receive_into_extra(d);
	target = mmap(NULL, EXTRA_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(target, MAP_FAILED);
	moved = mremap(va, EXTRA_BYTES, EXTRA_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, target);
	assert_ptr_equal(moved, target);
	extra.va = moved;
	seq = receive_one(2, 900);
	assert_true(frame_is(moved + 2 * BUF_BYTES + NET_HDR, 900, seq));
}

static void
private_memory_is_reached_where_it_is(void **state)
{
	struct dev *d = *state;
	uint8_t *va;
	uint32_t seq;

	va = mmap(NULL, EXTRA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(va, MAP_FAILED);
	extra = (struct mem) { .va = va, .len = EXTRA_BYTES, .iova = EXTRA_IOVA, .fd = -1 };
	extra.mr = ibv_reg_mr_iova(d->pd, va, EXTRA_BYTES, EXTRA_IOVA, MEM_RW);
	assert_non_null(extra.mr);
	extra.mkey = extra.mr->lkey;
	receive_into_extra(d);
	seq = receive_one(2, 900);
	assert_true(frame_is(va + 2 * BUF_BYTES + NET_HDR, 900, seq));
}

static void
one_region_over_two_files_side_by_side(void **state)
{
	const size_t half = EXTRA_BYTES / 2;
	struct dev *d = *state;
	uint8_t *va;
	uint32_t seq;
	int fd[2], i;

	va = mmap(NULL, EXTRA_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(va, MAP_FAILED);
	for (i = 0; i < 2; i++) {
		fd[i] = memfd_create("half", MFD_CLOEXEC);
		assert_true(fd[i] >= 0);
		assert_int_equal(ftruncate(fd[i], half), 0);
		assert_ptr_equal(mmap(va + i * half, half, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_FIXED, fd[i], 0), va + i * half);
	}
	close(fd[1]);
	extra = (struct mem) { .va = va, .len = EXTRA_BYTES, .iova = EXTRA_IOVA, .fd = fd[0] };
	extra.mr = ibv_reg_mr_iova(d->pd, va, EXTRA_BYTES, EXTRA_IOVA, MEM_RW);
	assert_non_null(extra.mr);
	extra.mkey = extra.mr->lkey;
	receive_into_extra(d);
	/* Buffers 15 and 16 lie on both sides of the seam; one more across it. */
	seq = receive_one(15, 900);
	assert_true(frame_is(va + 15 * BUF_BYTES + NET_HDR, 900, seq));
	seq = receive_one(16, 900);
	assert_true(frame_is(va + 16 * BUF_BYTES + NET_HDR, 900, seq));
	seq = receive_at(EXTRA_IOVA + half - 500, 1400);
	assert_true(frame_is(va + half - 500 + NET_HDR, 1400, seq));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_in_an_unknown_protection_domain_is_refused),
		TEST(a_key_of_no_length_is_refused),
		TEST(a_key_that_wraps_around_is_refused),
		TEST(a_key_longer_than_its_entries_is_refused),
		TEST(a_key_of_unknown_mode_is_refused),
		TEST(a_list_longer_than_its_mailbox_is_refused),
		TEST(an_entry_of_more_than_2_gib_is_refused),
		TEST(an_entry_that_wraps_around_is_refused),
		TEST(a_key_of_entries_of_fixed_size_is_refused_without_its_capability),
		TEST(a_key_over_an_unknown_umem_is_refused),
		TEST(a_key_longer_than_its_umem_is_refused),
		TEST(a_umem_is_busy_while_a_key_translates_by_it),
		TEST(a_memory_region_of_memory_that_is_not_there_is_refused),
		TEST(a_writable_memory_region_of_read_only_memory_is_refused),
		TEST(guest_memory_through_a_memory_region),
		TEST(guest_memory_through_a_umem_key),
		TEST(guest_memory_through_an_indirect_key),
		TEST(guest_memory_through_an_indirect_key_of_fixed_size),
		TEST(a_buffer_across_two_entries_of_an_indirect_key),
		TEST(an_indirect_key_over_an_indirect_key),
		TEST(a_new_key_takes_the_place_of_one_while_suspended),
		TEST(below_a_memory_region_dma_faults),
		TEST(behind_a_memory_region_dma_faults),
		TEST(across_the_end_of_a_memory_region_dma_faults),
		TEST(at_the_process_address_of_a_region_that_starts_elsewhere_dma_faults),
		TEST(in_a_hole_of_an_indirect_key_dma_faults),
		TEST(into_a_hole_of_an_indirect_key_dma_faults),
		TEST(beside_a_hole_of_an_indirect_key_traffic_goes_on),
		TEST(through_an_entry_of_a_key_that_does_not_exist_dma_faults),
		TEST(through_an_entry_of_another_protection_domain_dma_faults),
		TEST(through_an_entry_that_leads_out_of_its_key_dma_faults),
		TEST(through_a_key_of_another_variant_dma_faults),
		TEST(through_too_many_levels_of_indirection_dma_faults),
		TEST(through_the_null_key_dma_faults),
		TEST(a_queue_of_one_protection_domain_with_a_key_of_another_faults),
		TEST(receiving_into_memory_that_was_registered_for_reading_faults),
		TEST(a_key_without_the_right_to_write_faults_where_it_is_written),
		TEST(a_key_without_the_right_to_read_faults_where_it_is_read),
		TEST(a_region_ends_with_its_last_byte_and_not_with_its_page),
		TEST(the_last_byte_of_a_region_is_reached),
		TEST(sending_from_memory_that_was_registered_for_reading),
		TEST(a_ring_in_memory_that_is_not_there_faults),
		TEST(a_key_destroyed_under_a_running_queue_faults_at_the_next_access),
		TEST(a_key_that_is_gone_does_not_come_back_with_its_number),
		TEST(deregistered_memory_is_never_written_again),
		TEST(one_memory_registered_twice_outlives_one_of_its_keys),
		TEST(memory_that_was_unmapped_is_still_reached_and_what_came_in_its_place_is_not),
		TEST(memory_that_was_unmapped_for_good_is_still_reached),
		TEST(memory_is_followed_when_it_moves),
		TEST(shared_memory_without_a_file_is_followed_too),
		TEST(private_memory_is_reached_where_it_is),
		TEST(one_region_over_two_files_side_by_side),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

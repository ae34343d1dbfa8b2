/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: umems, memory keys, and DMA through them.
 */
#include <errno.h>

#include "emu_fixture.h"

enum {
	VARIANT = 0x42,            /* the low 8 bits that these tests give their keys */
	NULL_KEY = EMU_NULL_MKEY,
	QPN_ANY = 0xffffff,
	PAGE_SHIFT = 12,
	OCTWORD = 16,
};

#define GIB (UINT64_C(1) << 30)

/* ---- making keys ---- */

static void *
mkc_of(struct fixture *fx)
{
	return PRM_ADDR(create_mkey_in, fx->in, memory_key_mkey_entry);
}

/* The mailbox of a key without its list; every right, uid 0. */
static void
mkey_begin(struct fixture *fx, uint32_t pd, unsigned int mode, uint64_t start, uint64_t len,
		unsigned int shift, uint32_t octwords)
{
	void *mkc = mkc_of(fx);

	cmd_begin(fx, MLX5_CMD_OP_CREATE_MKEY, 0);
	PRM_SET(create_mkey_in, fx->in, translations_octword_actual_size, octwords);
	PRM_SET(mkc, mkc, translations_octword_size, octwords);
	PRM_SET(mkc, mkc, access_mode_1_0, mode);
	PRM_SET(mkc, mkc, lr, 1);
	PRM_SET(mkc, mkc, lw, 1);
	PRM_SET(mkc, mkc, qpn, QPN_ANY);
	PRM_SET(mkc, mkc, mkey_7_0, VARIANT);
	PRM_SET(mkc, mkc, pd, pd);
	PRM_SET(mkc, mkc, start_addr, start);
	PRM_SET(mkc, mkc, len, len);
	PRM_SET(mkc, mkc, log_page_size, shift);
}

static uint8_t *
list_of(struct fixture *fx)
{
	return PRM_ADDR(create_mkey_in, fx->in, klm_pas_mtt);
}

static uint8_t
mkey_run(struct fixture *fx)
{
	uint32_t octwords = PRM_GET(create_mkey_in, fx->in, translations_octword_actual_size);

	return cmd_run(fx, PRM_BYTES(create_mkey_in) + octwords * OCTWORD,
		PRM_BYTES(create_mkey_out));
}

static uint32_t
must_mkey(struct fixture *fx)
{
	assert_int_equal(mkey_run(fx), 0);
	return PRM_GET(create_mkey_out, fx->out, mkey_index) << EMU_MKEY_INDEX_SHIFT | VARIANT;
}

static void
mtt_begin(struct fixture *fx, uint32_t pd, uint64_t start, uint64_t len, unsigned int shift,
		const uint64_t *pages, uint32_t n)
{
	uint32_t i;

	mkey_begin(fx, pd, MLX5_MKC_ACCESS_MODE_MTT, start, len, shift, (n + 1) / 2);
	for (i = 0; i < n; i++)
		prm_set(list_of(fx) + i * 8, 0, 64, pages[i]);
}

static uint32_t
must_mtt(struct fixture *fx, uint32_t pd, uint64_t start, uint64_t len, unsigned int shift,
		const uint64_t *pages, uint32_t n)
{
	mtt_begin(fx, pd, start, len, shift, pages, n);
	return must_mkey(fx);
}

/* A key over one page of the host, from @p start on. */
static uint32_t
must_page_key(struct fixture *fx, uint32_t pd, uint64_t start, unsigned int page)
{
	const uint64_t bus = HOST_BUS + page * EMU_PAGE;

	return must_mtt(fx, pd, start, EMU_PAGE, PAGE_SHIFT, &bus, 1);
}

struct klm {
	uint32_t count, key;
	uint64_t addr;
};

static void
klm_begin(struct fixture *fx, uint32_t pd, uint64_t start, uint64_t len, const struct klm *klms,
		uint32_t n)
{
	uint8_t *e = list_of(fx);
	uint32_t i;

	mkey_begin(fx, pd, MLX5_MKC_ACCESS_MODE_KLM, start, len, 0, n);
	for (i = 0; i < n; i++, e += PRM_BYTES(klm)) {
		PRM_SET(klm, e, byte_count, klms[i].count);
		PRM_SET(klm, e, mkey, klms[i].key);
		PRM_SET(klm, e, address, klms[i].addr);
	}
}

static uint32_t
must_klm(struct fixture *fx, uint32_t pd, uint64_t start, uint64_t len, const struct klm *klms,
		uint32_t n)
{
	klm_begin(fx, pd, start, len, klms, n);
	return must_mkey(fx);
}

static void
must_destroy_key(struct fixture *fx, uint32_t key)
{
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_MKEY, 0, key >> EMU_MKEY_INDEX_SHIFT), 0);
}

/* ---- making umems ---- */

static void
umem_begin(struct fixture *fx, unsigned int shift, uint32_t page_offset, const uint64_t *pages,
		uint32_t n)
{
	void *ctx = PRM_ADDR(create_umem_in, fx->in, umem);
	uint32_t i;

	cmd_begin(fx, MLX5_CMD_OP_CREATE_UMEM, 0);
	PRM_SET(umem, ctx, log_page_size, shift - MLX5_ADAPTER_PAGE_SHIFT);
	PRM_SET(umem, ctx, page_offset, page_offset);
	PRM_SET(umem, ctx, num_of_mtt, n);
	for (i = 0; i < n; i++)
		PRM_SET_AT(umem, ctx, mtt, i, pages[i]);
}

static uint8_t
umem_run(struct fixture *fx)
{
	uint64_t n = PRM_GET(umem, PRM_ADDR(create_umem_in, fx->in, umem), num_of_mtt);

	return cmd_run(fx, PRM_BYTES(create_umem_in) + n * 8, PRM_BYTES(create_umem_out));
}

static uint32_t
must_umem(struct fixture *fx, unsigned int shift, uint32_t page_offset, const uint64_t *pages,
		uint32_t n)
{
	umem_begin(fx, shift, page_offset, pages, n);
	assert_int_equal(umem_run(fx), 0);
	return PRM_GET(create_umem_out, fx->out, umem_id);
}

static void
umem_key_begin(struct fixture *fx, uint32_t pd, uint32_t umem, uint64_t off, uint64_t start,
		uint64_t len)
{
	uint64_t pages = ((start & (EMU_PAGE - 1)) + len + EMU_PAGE - 1) >> PAGE_SHIFT;

	mkey_begin(fx, pd, MLX5_MKC_ACCESS_MODE_MTT, start, len, PAGE_SHIFT, 0);
	PRM_SET(mkc, mkc_of(fx), translations_octword_size, (pages + 1) / 2);
	PRM_SET(create_mkey_in, fx->in, mkey_umem_valid, 1);
	PRM_SET(create_mkey_in, fx->in, mkey_umem_id, umem);
	PRM_SET(create_mkey_in, fx->in, mkey_umem_offset, off);
}

/* ---- access ---- */

static int
rd(struct fixture *fx, struct emu_tlb *tlb, uint32_t pd, uint32_t key, uint64_t va, void *dst,
		uint32_t len)
{
	int ret;

	fx->host.calls = 0;
	emu_dev_lock(fx->dev);
	ret = emu_dma_read(fx->dev, tlb, pd, key, va, dst, len);
	emu_dev_unlock(fx->dev);
	return ret;
}

static int
wr(struct fixture *fx, struct emu_tlb *tlb, uint32_t pd, uint32_t key, uint64_t va, const void *src,
		uint32_t len)
{
	int ret;

	fx->host.calls = 0;
	emu_dev_lock(fx->dev);
	ret = emu_dma_write(fx->dev, tlb, pd, key, va, src, len);
	emu_dev_unlock(fx->dev);
	return ret;
}

/* The access must fault, and be counted once. */
#define assert_faults(access) do { \
	int64_t before_ = report_number("dma.faults"); \
	assert_int_equal(access, -EFAULT); \
	assert_int_equal(report_number("dma.faults"), before_ + 1); \
} while (0)

/* Where a byte leads, on a host that reads as its addresses. */
static uint64_t
where(struct fixture *fx, uint32_t pd, uint32_t key, uint64_t va)
{
	struct emu_tlb tlb = { 0 };
	uint64_t bus;

	assert_true(fx->host.echo);
	assert_int_equal(rd(fx, &tlb, pd, key, va, &bus, sizeof(bus)), 0);
	return bus;
}

/* ---- direct keys ---- */

static void
direct_key_reaches_its_pages_in_the_order_of_the_list(void **state)
{
	/* Out of order and apart; the key starts 0x100 into its first page. */
	static const uint64_t pages[] = { HOST_BUS + 5 * EMU_PAGE, HOST_BUS + 2 * EMU_PAGE,
		HOST_BUS + 9 * EMU_PAGE };
	const uint64_t start = 0x10000100;
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t key = must_mtt(fx, pd, start, 2 * EMU_PAGE + 0x80, PAGE_SHIFT, pages, 3);
	struct emu_tlb tlb = { 0 };
	uint8_t buf[2 * EMU_PAGE + 0x80];

	assert_int_equal(rd(fx, &tlb, pd, key, start, buf, sizeof(buf)), 0);
	assert_int_equal(fx->host.calls, 3);
	assert_memory_equal(buf, fx->host.mem + 5 * EMU_PAGE + 0x100, EMU_PAGE - 0x100);
	assert_memory_equal(buf + EMU_PAGE - 0x100, fx->host.mem + 2 * EMU_PAGE, EMU_PAGE);
	assert_memory_equal(buf + 2 * EMU_PAGE - 0x100, fx->host.mem + 9 * EMU_PAGE, 0x180);
	/* Writing goes the same way. */
	memset(buf, 0xa5, sizeof(buf));
	assert_int_equal(wr(fx, &tlb, pd, key, start + EMU_PAGE - 0x110, buf, 0x20), 0);
	assert_int_equal(fx->host.calls, 2);
	assert_memory_equal(fx->host.mem + 6 * EMU_PAGE - 0x10, buf, 0x10);
	assert_memory_equal(fx->host.mem + 2 * EMU_PAGE, buf, 0x10);
	must_destroy_key(fx, key);
}

static void
contiguous_pages_are_one_access_and_one_translation(void **state)
{
	static const uint64_t pages[] = { HOST_BUS, HOST_BUS + EMU_PAGE, HOST_BUS + 2 * EMU_PAGE,
		HOST_BUS + 3 * EMU_PAGE };
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t key = must_mtt(fx, pd, 0, sizeof(pages) / 8 * EMU_PAGE, PAGE_SHIFT, pages, 4);
	struct emu_tlb tlb = { 0 };
	uint8_t buf[3 * EMU_PAGE];

	assert_int_equal(rd(fx, &tlb, pd, key, 0x800, buf, sizeof(buf)), 0);
	assert_int_equal(fx->host.calls, 1);
	assert_memory_equal(buf, fx->host.mem + 0x800, sizeof(buf));
	assert_int_equal(tlb.va, 0);
	assert_int_equal(tlb.last, 4 * EMU_PAGE - 1);
	assert_int_equal(tlb.bus, HOST_BUS);
}

static void
aligned_words_reach_the_host_as_one_access(void **state)
{
	static const uint64_t pages[] = { HOST_BUS + 4 * EMU_PAGE, HOST_BUS + EMU_PAGE };
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t key = must_mtt(fx, pd, 0, 2 * EMU_PAGE, PAGE_SHIFT, pages, 2);
	struct emu_tlb tlb = { 0 };
	uint32_t len;
	uint64_t w;

	for (len = 2; len <= sizeof(w); len *= 2) {
		assert_int_equal(rd(fx, &tlb, pd, key, EMU_PAGE - len, &w, len), 0);
		assert_int_equal(fx->host.calls, 1);
		assert_int_equal(fx->host.len, len);
		assert_int_equal(wr(fx, &tlb, pd, key, EMU_PAGE, &w, len), 0);
		assert_int_equal(fx->host.calls, 1);
		assert_int_equal(fx->host.len, len);
	}
}

static void
page_of_a_gibibyte_is_one_translation(void **state)
{
	static const uint64_t pages[] = { 7 * GIB, 3 * GIB };
	const uint64_t start = 0x12345000;
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t key = must_mtt(fx, pd, start, GIB, 30, pages, 2);

	fx->host.echo = true;
	assert_int_equal(where(fx, pd, key, start), 7 * GIB + start);
	assert_int_equal(where(fx, pd, key, GIB - 8), 8 * GIB - 8);
	assert_int_equal(where(fx, pd, key, GIB), 3 * GIB);
	assert_int_equal(where(fx, pd, key, start + GIB - 8), 3 * GIB + start - 8);
}

static void
access_outside_the_range_faults(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t key = must_page_key(fx, pd, 0x5000, 1);
	struct emu_tlb tlb = { 0 };
	uint8_t buf[16];

	assert_faults(rd(fx, &tlb, pd, key, 0x4fff, buf, 1));
	assert_faults(rd(fx, &tlb, pd, key, 0x6000, buf, 1));
	assert_faults(rd(fx, &tlb, pd, key, UINT64_MAX, buf, 1));
	/* The end counts, also where the translation is known. */
	assert_int_equal(rd(fx, &tlb, pd, key, 0x5ff0, buf, 16), 0);
	assert_faults(rd(fx, &tlb, pd, key, 0x5ff1, buf, 16));
	assert_faults(wr(fx, &tlb, pd, key, 0x5ff1, buf, 16));
	assert_int_equal(rd(fx, &tlb, pd, key, 0x4fff, buf, 0), 0);
}

static void
key_at_the_end_of_the_address_space_does_not_wrap(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	const uint64_t start = UINT64_MAX - EMU_PAGE + 1;
	uint32_t key = must_page_key(fx, pd, start, 1);
	struct emu_tlb tlb = { 0 };
	uint8_t buf[EMU_PAGE + 1];

	assert_int_equal(rd(fx, &tlb, pd, key, start, buf, EMU_PAGE), 0);
	assert_faults(rd(fx, &tlb, pd, key, start, buf, EMU_PAGE + 1));
}

static void
keys_that_do_not_exist_fault(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t key = must_page_key(fx, pd, 0, 1);
	struct emu_tlb tlb = { 0 };
	uint8_t b;

	assert_faults(rd(fx, &tlb, pd, 0, 0, &b, 1));
	assert_faults(rd(fx, &tlb, pd, UINT32_MAX, 0, &b, 1));
	assert_faults(rd(fx, &tlb, pd, key + (1 << EMU_MKEY_INDEX_SHIFT), 0, &b, 1));
	/* The right index with other low bits is another key. */
	assert_faults(rd(fx, &tlb, pd, key ^ 1, 0, &b, 1));
	assert_int_equal(rd(fx, &tlb, pd, key, 0, &b, 1), 0);
	assert_faults(rd(fx, &tlb, pd, key ^ 1, 0, &b, 1));
}

static void
null_key_faults_and_its_index_is_nobodys(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	struct emu_tlb tlb = { 0 };
	uint32_t key;
	uint8_t b;

	assert_faults(rd(fx, &tlb, pd, NULL_KEY, 0, &b, 1));
	assert_faults(wr(fx, &tlb, pd, NULL_KEY, 0, &b, 1));
	key = must_page_key(fx, pd, 0, 0);
	assert_int_not_equal(key >> EMU_MKEY_INDEX_SHIFT, NULL_KEY >> EMU_MKEY_INDEX_SHIFT);
	cmd_begin(fx, MLX5_CMD_OP_QUERY_SPECIAL_CONTEXTS, 0);
	assert_int_equal(cmd_run(fx, PRM_BYTES(query_special_contexts_in),
		PRM_BYTES(query_special_contexts_out)), 0);
	assert_int_equal(PRM_GET(query_special_contexts_out, fx->out, null_mkey), NULL_KEY);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_MKEY, 0, 1), MLX5_CMD_STAT_BAD_RES_ERR);
}

static void
special_keys_go_with_their_capabilities(void **state)
{
	struct fixture *fx = fixture_new("caps=-null_mkey"), *other;

	(void)state;
	cmd_begin(fx, MLX5_CMD_OP_QUERY_SPECIAL_CONTEXTS, 0);
	assert_int_equal(cmd_run(fx, PRM_BYTES(query_special_contexts_in),
		PRM_BYTES(query_special_contexts_out)), 0);
	assert_int_equal(PRM_GET(query_special_contexts_out, fx->out, null_mkey), 0);
	assert_int_equal(PRM_GET(query_special_contexts_out, fx->out, dump_fill_mkey), NULL_KEY);
	fixture_free(fx);
	other = fixture_new("caps=-dump_fill_mkey");
	cmd_begin(other, MLX5_CMD_OP_QUERY_SPECIAL_CONTEXTS, 0);
	assert_int_equal(cmd_run(other, PRM_BYTES(query_special_contexts_in),
		PRM_BYTES(query_special_contexts_out)), 0);
	assert_int_equal(PRM_GET(query_special_contexts_out, other->out, null_mkey), NULL_KEY);
	assert_int_equal(PRM_GET(query_special_contexts_out, other->out, dump_fill_mkey), 0);
	fixture_free(other);
}

static void
other_protection_domain_faults(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0), other = must_alloc_pd(fx, 0);
	uint32_t key = must_page_key(fx, pd, 0, 1);
	struct emu_tlb tlb = { 0 };
	uint8_t b;

	assert_faults(rd(fx, &tlb, other, key, 0, &b, 1));
	/* Not even with the translation at hand. */
	assert_int_equal(rd(fx, &tlb, pd, key, 0, &b, 1), 0);
	assert_faults(rd(fx, &tlb, other, key, 0, &b, 1));
}

static void
rights_are_those_of_the_key(void **state)
{
	const uint64_t bus = HOST_BUS;
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0), readable, writable, through;
	struct emu_tlb tlb = { 0 };
	struct klm klm;
	uint8_t b = 0;

	mtt_begin(fx, pd, 0, EMU_PAGE, PAGE_SHIFT, &bus, 1);
	PRM_SET(mkc, mkc_of(fx), lw, 0);
	readable = must_mkey(fx);
	mtt_begin(fx, pd, 0, EMU_PAGE, PAGE_SHIFT, &bus, 1);
	PRM_SET(mkc, mkc_of(fx), lr, 0);
	writable = must_mkey(fx);

	assert_int_equal(rd(fx, &tlb, pd, readable, 0, &b, 1), 0);
	assert_faults(wr(fx, &tlb, pd, readable, 0, &b, 1));
	assert_int_equal(wr(fx, &tlb, pd, writable, 0, &b, 1), 0);
	assert_faults(rd(fx, &tlb, pd, writable, 0, &b, 1));
	/* An indirect key adds no right. */
	klm = (struct klm){ EMU_PAGE, readable, 0 };
	through = must_klm(fx, pd, 0, EMU_PAGE, &klm, 1);
	assert_int_equal(rd(fx, &tlb, pd, through, 0, &b, 1), 0);
	assert_faults(wr(fx, &tlb, pd, through, 0, &b, 1));
	/* Remote rights are none for the device's own access. */
	mtt_begin(fx, pd, 0, EMU_PAGE, PAGE_SHIFT, &bus, 1);
	PRM_SET(mkc, mkc_of(fx), lr, 0);
	PRM_SET(mkc, mkc_of(fx), lw, 0);
	PRM_SET(mkc, mkc_of(fx), rr, 1);
	PRM_SET(mkc, mkc_of(fx), rw, 1);
	through = must_mkey(fx);
	assert_faults(rd(fx, &tlb, pd, through, 0, &b, 1));
	assert_faults(wr(fx, &tlb, pd, through, 0, &b, 1));
}

static void
refusal_of_the_host_is_a_fault(void **state)
{
	static const uint64_t pages[] = { HOST_BUS, HOST_BUS + EMU_PAGE };
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t key = must_mtt(fx, pd, 0, 2 * EMU_PAGE, PAGE_SHIFT, pages, 2);
	struct emu_tlb tlb = { 0 };
	uint8_t buf[2 * EMU_PAGE];

	fx->host.gone = HOST_BUS + EMU_PAGE;
	assert_int_equal(rd(fx, &tlb, pd, key, 0, buf, EMU_PAGE), 0);
	assert_faults(rd(fx, &tlb, pd, key, 0, buf, EMU_PAGE + 1));
	assert_faults(wr(fx, &tlb, pd, key, EMU_PAGE, buf, 1));
}

/* ---- indirect keys ---- */

static void
klm_entries_are_walked_in_order_and_holes_fault(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t a = must_page_key(fx, pd, 0x1000000, 3);
	uint32_t b = must_page_key(fx, pd, 0, 8);
	const struct klm klms[] = {
		{ EMU_PAGE, a, 0x1000000 },
		{ EMU_PAGE, NULL_KEY, 0 },
		{ 0x200, b, 0xe00 },
		{ 0x300, a, 0x1000010 },
	};
	const uint64_t start = 0xc0000000;
	uint32_t key = must_klm(fx, pd, start, 2 * EMU_PAGE + 0x500, klms, 4);
	struct emu_tlb tlb = { 0 };
	uint8_t buf[0x500];

	assert_int_equal(rd(fx, &tlb, pd, key, start + 0x10, buf, 0x20), 0);
	assert_memory_equal(buf, fx->host.mem + 3 * EMU_PAGE + 0x10, 0x20);
	assert_faults(rd(fx, &tlb, pd, key, start + EMU_PAGE, buf, 1));
	assert_faults(rd(fx, &tlb, pd, key, start + 2 * EMU_PAGE - 1, buf, 1));
	/* One access over two entries, not of one size. */
	assert_int_equal(rd(fx, &tlb, pd, key, start + 2 * EMU_PAGE, buf, 0x500), 0);
	assert_int_equal(fx->host.calls, 2);
	assert_memory_equal(buf, fx->host.mem + 8 * EMU_PAGE + 0xe00, 0x200);
	assert_memory_equal(buf + 0x200, fx->host.mem + 3 * EMU_PAGE + 0x10, 0x300);
	/* Into the hole: what lies before it is done, then it faults. */
	memset(buf, 0x3c, sizeof(buf));
	assert_faults(wr(fx, &tlb, pd, key, start + EMU_PAGE - 0x10, buf, 0x20));
	assert_memory_equal(fx->host.mem + 4 * EMU_PAGE - 0x10, buf, 0x10);
	assert_faults(rd(fx, &tlb, pd, key, start + 2 * EMU_PAGE + 0x500, buf, 1));
}

static void
klm_entry_reaches_no_further_than_the_key_it_names(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t page = must_page_key(fx, pd, 0, 1);
	const struct klm klm = { 4 * EMU_PAGE, page, 0 };
	uint32_t key = must_klm(fx, pd, 0, 4 * EMU_PAGE, &klm, 1);
	struct emu_tlb tlb = { 0 };
	uint8_t b;

	assert_int_equal(rd(fx, &tlb, pd, key, EMU_PAGE - 1, &b, 1), 0);
	assert_int_equal(tlb.last, EMU_PAGE - 1);
	assert_faults(rd(fx, &tlb, pd, key, EMU_PAGE, &b, 1));
}

static void
klm_counts_up_to_two_gibibytes(void **state)
{
	static const uint64_t pages[] = { 16 * GIB, 17 * GIB, 40 * GIB, 41 * GIB };
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t lo = must_mtt(fx, pd, 0, 2 * GIB, 30, pages, 2);
	uint32_t hi = must_mtt(fx, pd, 0, 2 * GIB, 30, pages + 2, 2);
	const struct klm klms[] = { { 0x80000000, lo, 0 }, { 0x80000000, hi, 0 } };
	uint32_t key = must_klm(fx, pd, 0, 4 * GIB, klms, 2);

	fx->host.echo = true;
	assert_int_equal(where(fx, pd, key, 0), 16 * GIB);
	assert_int_equal(where(fx, pd, key, 2 * GIB - 8), 18 * GIB - 8);
	assert_int_equal(where(fx, pd, key, 2 * GIB), 40 * GIB);
	assert_int_equal(where(fx, pd, key, 4 * GIB - 8), 42 * GIB - 8);
}

static void
klm_list_may_be_padded(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t page = must_page_key(fx, pd, 0, 2);
	const struct klm klms[] = { { EMU_PAGE, page, 0 }, { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } };
	uint32_t key = must_klm(fx, pd, 0, EMU_PAGE - 8, klms, 4);
	struct emu_tlb tlb = { 0 };
	uint8_t b;

	assert_int_equal(rd(fx, &tlb, pd, key, EMU_PAGE - 9, &b, 1), 0);
	assert_faults(rd(fx, &tlb, pd, key, EMU_PAGE - 8, &b, 1));
}

static void
klm_may_name_keys_that_come_later(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t probe = must_page_key(fx, pd, 0, 1);
	/* Ids ascend: the indirect key takes the next index, the page after it the one behind. */
	const struct klm klm = { EMU_PAGE, probe + (2 << EMU_MKEY_INDEX_SHIFT), 0 };
	uint32_t key = must_klm(fx, pd, 0, EMU_PAGE, &klm, 1);
	struct emu_tlb tlb = { 0 };
	uint8_t b;

	assert_faults(rd(fx, &tlb, pd, key, 0, &b, 1));
	assert_int_equal(must_page_key(fx, pd, 0, 6), klm.key);
	assert_int_equal(rd(fx, &tlb, pd, key, 0, &b, 1), 0);
	assert_int_equal(b, fx->host.mem[6 * EMU_PAGE]);
}

static void
klm_checks_the_domain_of_every_key_on_the_way(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0), other = must_alloc_pd(fx, 0);
	uint32_t foreign = must_page_key(fx, other, 0, 1);
	const struct klm klm = { EMU_PAGE, foreign, 0 };
	uint32_t key = must_klm(fx, pd, 0, EMU_PAGE, &klm, 1);
	struct emu_tlb tlb = { 0 };
	uint8_t b;

	assert_faults(rd(fx, &tlb, pd, key, 0, &b, 1));
	assert_faults(rd(fx, &tlb, other, key, 0, &b, 1));
	assert_int_equal(rd(fx, &tlb, other, foreign, 0, &b, 1), 0);
}

static void
klm_nests_as_deep_as_the_capability_says(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t key = must_page_key(fx, pd, 0, 1), depth;
	uint32_t max = PRM_GET(cmd_hca_cap, fx->dev->caps.general, max_indirection);
	struct emu_tlb tlb = { 0 };
	struct klm klm;
	uint8_t b;

	assert_int_not_equal(max, 0);
	for (depth = 1; depth <= max + 1; depth++) {
		klm = (struct klm){ EMU_PAGE, key, 0 };
		key = must_klm(fx, pd, 0, EMU_PAGE, &klm, 1);
		if (depth <= max)
			assert_int_equal(rd(fx, &tlb, pd, key, 0, &b, 1), 0);
		else
			assert_faults(rd(fx, &tlb, pd, key, 0, &b, 1));
	}
	/* A key that names itself is as deep as can be. */
	klm = (struct klm){ EMU_PAGE, key + (1 << EMU_MKEY_INDEX_SHIFT), 0 };
	assert_int_equal(must_klm(fx, pd, 0, EMU_PAGE, &klm, 1), klm.key);
	assert_faults(rd(fx, &tlb, pd, klm.key, 0, &b, 1));
}

static void
klm_with_fixed_buffer_size_needs_the_capability(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0), key, i;
	uint32_t pages[2] = { must_page_key(fx, pd, 0, 4), must_page_key(fx, pd, 0x7000, 2) };
	const uint64_t addr[2] = { 0, 0x7000 };
	struct emu_tlb tlb = { 0 };
	uint8_t *e, b;

	PRM_SET(cmd_hca_cap, fx->dev->caps.general, fixed_buffer_size, 0);
	mkey_begin(fx, pd, MLX5_MKC_ACCESS_MODE_KLM_FBS, 0, 2 * EMU_PAGE, PAGE_SHIFT, 2);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);

	PRM_SET(cmd_hca_cap, fx->dev->caps.general, fixed_buffer_size, 1);
	mkey_begin(fx, pd, MLX5_MKC_ACCESS_MODE_KLM_FBS, 0, 2 * EMU_PAGE, PAGE_SHIFT, 2);
	for (i = 0, e = list_of(fx); i < 2; i++, e += PRM_BYTES(klm)) {
		PRM_SET(klm, e, mkey, pages[i]);
		PRM_SET(klm, e, address, addr[i]);
	}
	key = must_mkey(fx);
	assert_int_equal(rd(fx, &tlb, pd, key, EMU_PAGE - 1, &b, 1), 0);
	assert_int_equal(b, fx->host.mem[5 * EMU_PAGE - 1]);
	assert_int_equal(rd(fx, &tlb, pd, key, EMU_PAGE, &b, 1), 0);
	assert_int_equal(b, fx->host.mem[2 * EMU_PAGE]);
	/* Entries count from the start address, whatever that is. */
	mkey_begin(fx, pd, MLX5_MKC_ACCESS_MODE_KLM_FBS, 0x10800, 2 * EMU_PAGE, PAGE_SHIFT, 2);
	for (i = 0, e = list_of(fx); i < 2; i++, e += PRM_BYTES(klm)) {
		PRM_SET(klm, e, mkey, pages[i]);
		PRM_SET(klm, e, address, addr[i]);
	}
	key = must_mkey(fx);
	assert_int_equal(rd(fx, &tlb, pd, key, 0x10800 + EMU_PAGE - 1, &b, 1), 0);
	assert_int_equal(b, fx->host.mem[5 * EMU_PAGE - 1]);
	assert_int_equal(rd(fx, &tlb, pd, key, 0x10800 + EMU_PAGE, &b, 1), 0);
	assert_int_equal(b, fx->host.mem[2 * EMU_PAGE]);
}

/* ---- translations that are remembered ---- */

static void
known_translations_die_with_any_key(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t page = must_page_key(fx, pd, 0, 1);
	const struct klm klm = { EMU_PAGE, page, 0 };
	uint32_t key = must_klm(fx, pd, 0, EMU_PAGE, &klm, 1);
	struct emu_tlb tlb = { 0 };
	uint8_t b = 0;

	assert_int_equal(wr(fx, &tlb, pd, key, 0, &b, 1), 0);
	must_destroy_key(fx, page);
	assert_faults(wr(fx, &tlb, pd, key, 0, &b, 1));
	/* A new key of other memory is not the old one, nor does it get its index. */
	assert_int_not_equal(must_page_key(fx, pd, 0, 2), page);
	assert_faults(wr(fx, &tlb, pd, key, 0, &b, 1));
	must_destroy_key(fx, key);
	assert_faults(wr(fx, &tlb, pd, key, 0, &b, 1));
}

static void
known_translations_survive_what_does_not_concern_keys(void **state)
{
	static const uint64_t pages[] = { HOST_BUS };
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t key = must_page_key(fx, pd, 0, 1), umem;
	struct emu_tlb tlb = { 0 };
	uint64_t gen;
	uint8_t b;

	assert_int_equal(rd(fx, &tlb, pd, key, 0, &b, 1), 0);
	gen = fx->dev->mkey_gen;
	must_alloc_pd(fx, 0);
	umem = must_umem(fx, PAGE_SHIFT, 0, pages, 1);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_UMEM, 0, umem), 0);
	assert_int_equal(fx->dev->mkey_gen, gen);
	assert_int_equal(tlb.gen, gen);
}

/* ---- what CREATE_MKEY refuses ---- */

/* One field that is not as it should be, on top of a key that is fine. */
struct refusal {
	const char *why;
	uint8_t status;
	void (*spoil)(struct fixture *fx);
};

#define SPOIL(name, statement) \
static void \
name(struct fixture *fx) \
{ \
	void *in = fx->in, *mkc = mkc_of(fx); \
\
	(void)in; \
	(void)mkc; \
	statement; \
}

SPOIL(length_0, PRM_SET(mkc, mkc, len, 0))
SPOIL(length_wraps, PRM_SET(mkc, mkc, start_addr, UINT64_MAX - EMU_PAGE + 2))
SPOIL(length64, PRM_SET(mkc, mkc, length64, 1))
SPOIL(one_qp, PRM_SET(mkc, mkc, qpn, 5))
SPOIL(free_key, PRM_SET(mkc, mkc, free, 1))
SPOIL(bsf, PRM_SET(mkc, mkc, bsf_en, 1))
SPOIL(paging, PRM_SET(create_mkey_in, in, pg_access, 1))
SPOIL(mode_pa, PRM_SET(mkc, mkc, access_mode_1_0, MLX5_MKC_ACCESS_MODE_PA))
SPOIL(mode_unknown, PRM_SET(mkc, mkc, access_mode_4_2, 7))
SPOIL(page_too_small, PRM_SET(mkc, mkc, log_page_size, 11))
SPOIL(page_too_large, PRM_SET(mkc, mkc, log_page_size, 32))
SPOIL(page_misaligned, prm_set(list_of(fx), 0, 64, HOST_BUS + 0x800))
SPOIL(page_smaller_than_its_size, PRM_SET(mkc, mkc, log_page_size, 13))
SPOIL(pd_unknown, PRM_SET(mkc, mkc, pd, 0xabcdef))
SPOIL(list_larger_than_its_room, PRM_SET(mkc, mkc, translations_octword_size, 0))
SPOIL(list_short, PRM_SET(mkc, mkc, len, 3 * EMU_PAGE))
SPOIL(list_short_by_a_byte, PRM_SET(mkc, mkc, start_addr, 1))
SPOIL(umem_unknown, PRM_SET(create_mkey_in, in, mkey_umem_valid, 1);
	PRM_SET(create_mkey_in, in, mkey_umem_id, 77))

static void
create_mkey_refuses_what_is_wrong_with_a_direct_key(void **state)
{
	static const struct refusal refusals[] = {
		{ "length 0", MLX5_CMD_STAT_BAD_PARAM_ERR, length_0 },
		{ "length wraps", MLX5_CMD_STAT_BAD_PARAM_ERR, length_wraps },
		{ "length64", MLX5_CMD_STAT_BAD_PARAM_ERR, length64 },
		{ "one QP", MLX5_CMD_STAT_BAD_PARAM_ERR, one_qp },
		{ "free", MLX5_CMD_STAT_BAD_PARAM_ERR, free_key },
		{ "bsf", MLX5_CMD_STAT_BAD_PARAM_ERR, bsf },
		{ "paging", MLX5_CMD_STAT_BAD_PARAM_ERR, paging },
		{ "PA", MLX5_CMD_STAT_BAD_PARAM_ERR, mode_pa },
		{ "unknown mode", MLX5_CMD_STAT_BAD_PARAM_ERR, mode_unknown },
		{ "small page", MLX5_CMD_STAT_BAD_PARAM_ERR, page_too_small },
		{ "large page", MLX5_CMD_STAT_BAD_PARAM_ERR, page_too_large },
		{ "misaligned page", MLX5_CMD_STAT_BAD_PARAM_ERR, page_misaligned },
		{ "page and size", MLX5_CMD_STAT_BAD_PARAM_ERR, page_smaller_than_its_size },
		{ "unknown PD", MLX5_CMD_STAT_BAD_RES_ERR, pd_unknown },
		{ "no room", MLX5_CMD_STAT_BAD_PARAM_ERR, list_larger_than_its_room },
		{ "short list", MLX5_CMD_STAT_BAD_PARAM_ERR, list_short },
		{ "short by a byte", MLX5_CMD_STAT_BAD_PARAM_ERR, list_short_by_a_byte },
		{ "unknown umem", MLX5_CMD_STAT_BAD_RES_ERR, umem_unknown },
	};
	/* No multiples of two pages. */
	static const uint64_t pages[] = { HOST_BUS + EMU_PAGE, HOST_BUS + 3 * EMU_PAGE };
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint64_t gen = fx->dev->mkey_gen;
	int64_t alive = report_number("alive.total");
	size_t i;

	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		mtt_begin(fx, pd, 0, 2 * EMU_PAGE, PAGE_SHIFT, pages, 2);
		refusals[i].spoil(fx);
		if (mkey_run(fx) != refusals[i].status)
			fail_msg("%s: syndrome 0x%x", refusals[i].why, fx->syndrome);
	}
	/* What is refused leaves nothing behind. */
	assert_int_equal(report_number("alive.total"), alive);
	assert_int_equal(fx->dev->mkey_gen, gen);
	must_mtt(fx, pd, 0, 2 * EMU_PAGE, PAGE_SHIFT, pages, 2);
}

SPOIL(klm_short, PRM_SET(mkc, mkc, len, 2 * EMU_PAGE + 1))
SPOIL(klm_count, PRM_SET(klm, list_of(fx), byte_count, 0x80000001))
SPOIL(klm_of_nothing, PRM_SET(klm, list_of(fx), byte_count, 0))
SPOIL(klm_wraps, PRM_SET(klm, list_of(fx), address, UINT64_MAX - 0x10))
SPOIL(klm_page_size, PRM_SET(mkc, mkc, log_page_size, PAGE_SHIFT))
SPOIL(klm_umem, PRM_SET(create_mkey_in, in, mkey_umem_valid, 1))
SPOIL(klm_empty, PRM_SET(create_mkey_in, in, translations_octword_actual_size, 0))

static void
create_mkey_refuses_what_is_wrong_with_an_indirect_key(void **state)
{
	static const struct refusal refusals[] = {
		{ "short", MLX5_CMD_STAT_BAD_PARAM_ERR, klm_short },
		{ "count", MLX5_CMD_STAT_BAD_PARAM_ERR, klm_count },
		{ "nothing", MLX5_CMD_STAT_BAD_PARAM_ERR, klm_of_nothing },
		{ "wraps", MLX5_CMD_STAT_BAD_PARAM_ERR, klm_wraps },
		{ "page size", MLX5_CMD_STAT_BAD_PARAM_ERR, klm_page_size },
		{ "umem", MLX5_CMD_STAT_BAD_PARAM_ERR, klm_umem },
		{ "empty", MLX5_CMD_STAT_BAD_PARAM_ERR, klm_empty },
	};
	static const struct klm klms[] = { { EMU_PAGE, 0x1234, 0 }, { EMU_PAGE, NULL_KEY, 0 } };
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	size_t i;

	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		klm_begin(fx, pd, 0, 2 * EMU_PAGE, klms, 2);
		refusals[i].spoil(fx);
		if (mkey_run(fx) != refusals[i].status)
			fail_msg("%s: syndrome 0x%x", refusals[i].why, fx->syndrome);
	}
	must_klm(fx, pd, 0, 2 * EMU_PAGE, klms, 2);
}

static void
create_mkey_refuses_a_list_that_the_mailbox_does_not_hold(void **state)
{
	static const uint64_t pages[] = { HOST_BUS, HOST_BUS + EMU_PAGE };
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);

	mtt_begin(fx, pd, 0, 2 * EMU_PAGE, PAGE_SHIFT, pages, 2);
	assert_int_equal(cmd_run(fx, PRM_BYTES(create_mkey_in) + OCTWORD - 1,
		PRM_BYTES(create_mkey_out)), MLX5_CMD_STAT_BAD_INP_LEN_ERR);
	/* A size that would wrap when it is turned into bytes. */
	mtt_begin(fx, pd, 0, 2 * EMU_PAGE, PAGE_SHIFT, pages, 2);
	PRM_SET(create_mkey_in, fx->in, translations_octword_actual_size, UINT32_MAX);
	PRM_SET(mkc, mkc_of(fx), translations_octword_size, UINT32_MAX);
	assert_int_equal(cmd_run(fx, PRM_BYTES(create_mkey_in) + OCTWORD,
		PRM_BYTES(create_mkey_out)), MLX5_CMD_STAT_BAD_INP_LEN_ERR);
}

static void
create_mkey_refuses_more_entries_than_the_capability_allows(void **state)
{
	static const struct klm klms[] = { { EMU_PAGE, 0x1234, 0 }, { EMU_PAGE, 0x1234, 0 },
		{ EMU_PAGE, 0x1234, 0 } };
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);

	PRM_SET(cmd_hca_cap, fx->dev->caps.general, log_max_klm_list_size, 1);
	must_klm(fx, pd, 0, 2 * EMU_PAGE, klms, 2);
	klm_begin(fx, pd, 0, 3 * EMU_PAGE, klms, 3);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_LIM_ERR);
}

static void
relaxed_ordering_needs_its_capability(void **state)
{
	const uint64_t bus = HOST_BUS;
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	void *caps = fx->dev->caps.general;

	mtt_begin(fx, pd, 0, EMU_PAGE, PAGE_SHIFT, &bus, 1);
	PRM_SET(mkc, mkc_of(fx), relaxed_ordering_write, 1);
	PRM_SET(mkc, mkc_of(fx), relaxed_ordering_read, 1);
	must_mkey(fx);
	PRM_SET(cmd_hca_cap, caps, relaxed_ordering_read_pci_enabled, 0);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	PRM_SET(mkc, mkc_of(fx), relaxed_ordering_read, 0);
	must_mkey(fx);
	PRM_SET(cmd_hca_cap, caps, relaxed_ordering_write, 0);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
}

static void
limit_of_keys_is_that_of_the_capability(void **state)
{
	struct fixture *fx = fixture_new("caps=-log_max_mkey");
	uint32_t pd = must_alloc_pd(fx, 0);
	const uint64_t bus = HOST_BUS;
	uint32_t key;

	(void)state;
	/* 2^0 of them. */
	key = must_mtt(fx, pd, 0, EMU_PAGE, PAGE_SHIFT, &bus, 1);
	mtt_begin(fx, pd, 0, EMU_PAGE, PAGE_SHIFT, &bus, 1);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_NO_RES_ERR);
	must_destroy_key(fx, key);
	must_mtt(fx, pd, 0, EMU_PAGE, PAGE_SHIFT, &bus, 1);
	fixture_free(fx);
}

static void
key_holds_its_domain(void **state)
{
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t key = must_page_key(fx, pd, 0, 1);

	assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_PD, 0, pd), MLX5_CMD_STAT_RES_BUSY);
	must_destroy_key(fx, key);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_PD, 0, pd), 0);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_MKEY, 0, key >> EMU_MKEY_INDEX_SHIFT),
		MLX5_CMD_STAT_BAD_RES_ERR);
}

static void
keys_and_umems_belong_to_their_user_context(void **state)
{
	static const uint64_t pages[] = { HOST_BUS };
	struct fixture *fx = *state;
	uint16_t me = must_create_uctx(fx), you = must_create_uctx(fx);
	uint32_t pd = must_alloc_pd(fx, me), key, umem;

	mtt_begin(fx, pd, 0, EMU_PAGE, PAGE_SHIFT, pages, 1);
	PRM_SET(create_mkey_in, fx->in, uid, you);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_BAD_RES_ERR);
	PRM_SET(create_mkey_in, fx->in, uid, me);
	key = must_mkey(fx) >> EMU_MKEY_INDEX_SHIFT;
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_MKEY, you, key),
		MLX5_CMD_STAT_BAD_RES_ERR);
	umem_begin(fx, PAGE_SHIFT, 0, pages, 1);
	PRM_SET(create_umem_in, fx->in, uid, me);
	assert_int_equal(umem_run(fx), 0);
	umem = PRM_GET(create_umem_out, fx->out, umem_id);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_UMEM, you, umem),
		MLX5_CMD_STAT_BAD_RES_ERR);
	assert_int_equal(destroy_uctx(fx, me), MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_UMEM, me, umem), 0);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_MKEY, me, key), 0);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_PD, me, pd), 0);
	assert_int_equal(destroy_uctx(fx, me), 0);
	assert_int_equal(destroy_uctx(fx, you), 0);
}

/* ---- umems ---- */

static void
umem_offsets_count_from_the_page_offset(void **state)
{
	/* Rights in the low bits, as the kernel writes them. */
	static const uint64_t pages[] = { (HOST_BUS + 6 * EMU_PAGE) | 3,
		(HOST_BUS + EMU_PAGE) | 3 };
	struct fixture *fx = *state;
	uint32_t id = must_umem(fx, PAGE_SHIFT, 0x100, pages, 2);
	struct emu_umem *umem = emu_obj_find(fx->dev, EMU_UMEM, id, 0);
	uint8_t buf[2 * EMU_PAGE];
	uint64_t w = UINT64_C(0x1122334455667788);

	assert_int_equal(umem->length, 2 * EMU_PAGE - 0x100);
	assert_int_equal(emu_umem_read(fx->dev, umem, 0, buf, (uint32_t)umem->length), 0);
	assert_memory_equal(buf, fx->host.mem + 6 * EMU_PAGE + 0x100, EMU_PAGE - 0x100);
	assert_memory_equal(buf + EMU_PAGE - 0x100, fx->host.mem + EMU_PAGE, EMU_PAGE);
	fx->host.calls = 0;
	assert_int_equal(emu_umem_write(fx->dev, umem, EMU_PAGE - 0x108, &w, sizeof(w)), 0);
	assert_int_equal(fx->host.calls, 1);
	assert_memory_equal(fx->host.mem + 7 * EMU_PAGE - 8, &w, sizeof(w));
	assert_faults(emu_umem_read(fx->dev, umem, umem->length, buf, 1));
	assert_faults(emu_umem_write(fx->dev, umem, umem->length - 7, &w, sizeof(w)));
	assert_faults(emu_umem_read(fx->dev, umem, UINT64_MAX, buf, 2));
	fx->host.gone = HOST_BUS + EMU_PAGE;
	assert_faults(emu_umem_read(fx->dev, umem, EMU_PAGE, buf, 1));
}

static void
key_of_a_umem_reaches_its_bytes_and_holds_it(void **state)
{
	/* Pages of 8 KiB; the key starts in the middle of one. */
	static const uint64_t pages[] = { HOST_BUS + 8 * EMU_PAGE, HOST_BUS + 2 * EMU_PAGE };
	const uint64_t start = 0x40000234;
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0), key;
	uint32_t umem = must_umem(fx, 13, 0x1034, pages, 2);
	struct emu_tlb tlb = { 0 };
	uint8_t buf[0x1000];

	umem_key_begin(fx, pd, umem, 0x200, start, 0x2000);
	key = must_mkey(fx);
	assert_int_equal(rd(fx, &tlb, pd, key, start, buf, 8), 0);
	assert_memory_equal(buf, fx->host.mem + 8 * EMU_PAGE + 0x1234, 8);
	assert_int_equal(rd(fx, &tlb, pd, key, start + 0xdcc - 4, buf, 8), 0);
	assert_memory_equal(buf, fx->host.mem + 10 * EMU_PAGE - 4, 4);
	assert_memory_equal(buf + 4, fx->host.mem + 2 * EMU_PAGE, 4);
	assert_faults(rd(fx, &tlb, pd, key, start + 0x2000, buf, 1));

	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_UMEM, 0, umem), MLX5_CMD_STAT_RES_BUSY);
	must_destroy_key(fx, key);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_UMEM, 0, umem), 0);
}

static void
key_of_a_umem_is_refused_where_it_does_not_fit(void **state)
{
	static const uint64_t pages[] = { HOST_BUS, HOST_BUS + 3 * EMU_PAGE };
	static const uint64_t three[] = { HOST_BUS, HOST_BUS + EMU_PAGE, HOST_BUS + 2 * EMU_PAGE };
	struct fixture *fx = *state;
	uint32_t pd = must_alloc_pd(fx, 0);
	uint32_t umem = must_umem(fx, PAGE_SHIFT, 0x10, pages, 2);

	/* Too long; from behind the end; an offset that wraps. */
	umem_key_begin(fx, pd, umem, 0, 0x10, 2 * EMU_PAGE);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	umem_key_begin(fx, pd, umem, 2 * EMU_PAGE, 0x10, 1);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	umem_key_begin(fx, pd, umem, UINT64_MAX, 0xf, 2);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	/* Start and memory are not equally deep in a page. */
	umem_key_begin(fx, pd, umem, 0, 0, EMU_PAGE);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	/* Pages larger than the umem's. */
	umem_key_begin(fx, pd, umem, 0, 0x10, EMU_PAGE);
	PRM_SET(mkc, mkc_of(fx), log_page_size, PAGE_SHIFT + 1);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	/* Three pages touched, in a list for two: the first and the last are counted, too. */
	umem = must_umem(fx, PAGE_SHIFT, 0x10, three, 3);
	umem_key_begin(fx, pd, umem, 0, 0x10, 2 * EMU_PAGE);
	PRM_SET(mkc, mkc_of(fx), translations_octword_size, 1);
	assert_int_equal(mkey_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	umem_key_begin(fx, pd, umem, 0, 0x10, 2 * EMU_PAGE);
	must_mkey(fx);
}

static void
create_umem_refuses_what_is_wrong(void **state)
{
	static const uint64_t pages[] = { HOST_BUS, HOST_BUS + EMU_PAGE };
	static const uint64_t crooked[] = { HOST_BUS + 0x10 };
	struct fixture *fx = *state;
	void *ctx = PRM_ADDR(create_umem_in, fx->in, umem);
	int64_t alive = report_number("alive.by_type.umem");

	umem_begin(fx, PAGE_SHIFT, 0, pages, 0);
	assert_int_equal(umem_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	umem_begin(fx, PAGE_SHIFT, EMU_PAGE, pages, 2);
	assert_int_equal(umem_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	umem_begin(fx, PAGE_SHIFT, 0, crooked, 1);
	assert_int_equal(umem_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	umem_begin(fx, PAGE_SHIFT + 1, 0, pages, 2);
	assert_int_equal(umem_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	umem_begin(fx, PAGE_SHIFT, 0, pages, 2);
	PRM_SET(umem, ctx, ats, 1);
	assert_int_equal(umem_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	umem_begin(fx, PAGE_SHIFT, 0, pages, 2);
	assert_int_equal(cmd_run(fx, PRM_BYTES(create_umem_in) + 15, PRM_BYTES(create_umem_out)),
		MLX5_CMD_STAT_BAD_INP_LEN_ERR);
	PRM_SET(umem, ctx, num_of_mtt, UINT64_MAX);
	assert_int_equal(cmd_run(fx, PRM_BYTES(create_umem_in) + 16, PRM_BYTES(create_umem_out)),
		MLX5_CMD_STAT_BAD_INP_LEN_ERR);
	/* The largest page that the field can say is fine, where an address is a multiple of it. */
	umem_begin(fx, 43, UINT32_MAX, pages + 1, 1);
	assert_int_equal(umem_run(fx), MLX5_CMD_STAT_BAD_PARAM_ERR);
	PRM_SET_AT(umem, ctx, mtt, 0, UINT64_C(1) << 43);
	assert_int_equal(umem_run(fx), 0);
	assert_int_equal(report_number("alive.by_type.umem"), alive + 1);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_UMEM, 0,
		PRM_GET(create_umem_out, fx->out, umem_id)), 0);
	assert_int_equal(report_number("alive.by_type.umem"), alive);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DESTROY_UMEM, 0, 1), MLX5_CMD_STAT_BAD_RES_ERR);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(direct_key_reaches_its_pages_in_the_order_of_the_list),
		TEST(contiguous_pages_are_one_access_and_one_translation),
		TEST(aligned_words_reach_the_host_as_one_access),
		TEST(page_of_a_gibibyte_is_one_translation),
		TEST(access_outside_the_range_faults),
		TEST(key_at_the_end_of_the_address_space_does_not_wrap),
		TEST(keys_that_do_not_exist_fault),
		TEST(null_key_faults_and_its_index_is_nobodys),
		cmocka_unit_test(special_keys_go_with_their_capabilities),
		TEST(other_protection_domain_faults),
		TEST(rights_are_those_of_the_key),
		TEST(refusal_of_the_host_is_a_fault),
		TEST(klm_entries_are_walked_in_order_and_holes_fault),
		TEST(klm_entry_reaches_no_further_than_the_key_it_names),
		TEST(klm_counts_up_to_two_gibibytes),
		TEST(klm_list_may_be_padded),
		TEST(klm_may_name_keys_that_come_later),
		TEST(klm_checks_the_domain_of_every_key_on_the_way),
		TEST(klm_nests_as_deep_as_the_capability_says),
		TEST(klm_with_fixed_buffer_size_needs_the_capability),
		TEST(known_translations_die_with_any_key),
		TEST(known_translations_survive_what_does_not_concern_keys),
		TEST(create_mkey_refuses_what_is_wrong_with_a_direct_key),
		TEST(create_mkey_refuses_what_is_wrong_with_an_indirect_key),
		TEST(create_mkey_refuses_a_list_that_the_mailbox_does_not_hold),
		TEST(create_mkey_refuses_more_entries_than_the_capability_allows),
		TEST(relaxed_ordering_needs_its_capability),
		TEST(limit_of_keys_is_that_of_the_capability),
		TEST(key_holds_its_domain),
		TEST(keys_and_umems_belong_to_their_user_context),
		TEST(umem_offsets_count_from_the_page_offset),
		TEST(key_of_a_umem_reaches_its_bytes_and_holds_it),
		TEST(key_of_a_umem_is_refused_where_it_does_not_fit),
		TEST(create_umem_refuses_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

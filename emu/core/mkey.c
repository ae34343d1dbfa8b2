/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory keys: CREATE_MKEY and DESTROY_MKEY.
 *
 * A direct key (MTT) translates to bus addresses, by a list of pages in the command or by the pages
 * of a umem. An indirect key (KLM; KLM with fixed buffer size) translates to addresses in other
 * keys, which are looked at when memory is accessed and not before. Both kinds become a list of
 * runs, where what lies side by side has grown together.
 */
#include "mkey.h"

enum {
	SYN_NO_ROOM = 1,       /* as many as log_max_mkey allows are alive */
	SYN_NOT_FOUND,
	SYN_BUSY,
	SYN_PD,
	SYN_UMEM,
	SYN_FREE,              /* a key to be filled in by work requests: there are none here */
	SYN_MODE,
	SYN_QPN,               /* a key for one QP: not here */
	SYN_LENGTH,            /* 0, larger than log_max_mrw_sz, or wraps around */
	SYN_LENGTH64,
	SYN_BSF,               /* no byte stream functions */
	SYN_PG_ACCESS,         /* no on-demand paging */
	SYN_ORDERING,          /* relaxed ordering, not offered */
	SYN_PAGE_SIZE,
	SYN_LIST_SIZE,         /* mkc.translations_octword_size is less than the actual size */
	SYN_LIST_LENGTH,       /* the mailbox ends before the list does */
	SYN_LIST_SHORT,        /* the list covers less than the length */
	SYN_LIST_LIMIT,        /* more entries than log_max_klm_list_size allows */
	SYN_PAGE_ALIGN,        /* a page does not lie at a multiple of its size */
	SYN_KLM_COUNT,         /* an entry of no bytes, or of more than 2 GiB */
	SYN_KLM_WRAP,
	SYN_START_ALIGN,       /* start address and first page are not aligned alike */
	SYN_UMEM_RANGE,        /* the umem ends before the key does */
	SYN_UMEM_INDIRECT,     /* pages for a key that has none */
	SYN_UMEM_SIZE,         /* mkc.translations_octword_size has no room for the umem's pages */
};

enum {
	QPN_ANY = 0xffffff,
	OCTWORD_BYTES = 16,
	PAS_PER_OCTWORD = 2,
	/* mkc.log_page_size that make sense: from the adapter's page up to Linux's largest. */
	MIN_PAGE_SHIFT = MLX5_ADAPTER_PAGE_SHIFT,
	MAX_PAGE_SHIFT = 31,
};

/* What a key is made of, and the list as it grows. */
struct builder {
	struct emu_cmd *c;
	const void *mkc;
	const uint8_t *list;       /* klm_pas_mtt */
	uint64_t octwords;         /* in it */
	unsigned int mode;
	unsigned int page_shift;
	uint64_t start, len;
	struct emu_obj *pd;
	struct emu_umem *umem;
	uint64_t umem_off;

	struct emu_mkey_run *run;  /* NULL: count only */
	uint64_t nruns;
	uint64_t off;              /* bytes translated so far */
	uint64_t next_target;      /* where the last run would go on */
	uint32_t last_key;
};

static bool
is_indirect(const struct builder *b)
{
	return b->mode != MLX5_MKC_ACCESS_MODE_MTT;
}

static uint8_t
refuse(struct builder *b, uint16_t syndrome)
{
	return emu_refuse(b->c, MLX5_CMD_STAT_BAD_PARAM_ERR, syndrome);
}

/* The next @p len bytes of the key are @p target on; what exceeds the key is cut. */
static void
add_run(struct builder *b, uint32_t key, uint64_t target, uint64_t len)
{
	if (len > b->len - b->off)
		len = b->len - b->off;
	if (len == 0)
		return;
	if (b->nruns == 0 || key != b->last_key || target != b->next_target) {
		if (b->run != NULL) {
			b->run[b->nruns].off = b->off;
			b->run[b->nruns].target = target;
			b->run[b->nruns].key = key;
		}
		b->nruns++;
	}
	b->last_key = key;
	b->next_target = target + len;
	b->off += len;
}

/* ---- the lists ---- */

/* Pages in the mailbox. The start address says where in the first page the key begins. */
static uint8_t
add_pas(struct builder *b)
{
	uint64_t size = UINT64_C(1) << b->page_shift;
	uint64_t skip = b->start & (size - 1);
	uint64_t i, page;

	for (i = 0; i < b->octwords * PAS_PER_OCTWORD && b->off < b->len; i++) {
		page = prm_get(b->list + i * sizeof(page), 0, 64);
		if ((page & (size - 1)) != 0)
			return refuse(b, SYN_PAGE_ALIGN);
		add_run(b, 0, page + skip, size - skip);
		skip = 0;
	}
	return b->off < b->len ? refuse(b, SYN_LIST_SHORT) : MLX5_CMD_STAT_OK;
}

/* Pages of a umem from umem_off on. */
static uint8_t
add_umem(struct builder *b)
{
	const struct emu_umem *umem = b->umem;
	uint64_t size = UINT64_C(1) << umem->log_page_size;
	uint64_t at, i, skip, pages;

	if (b->umem_off > umem->length || b->len > umem->length - b->umem_off)
		return refuse(b, SYN_UMEM_RANGE);
	/* As many as the key touches, like Linux's driver counts them for its own keys: one more
	 * than its length says, maybe. */
	pages = ((b->start & ((UINT64_C(1) << b->page_shift) - 1)) + (b->len - 1)) >> b->page_shift;
	if (pages / PAS_PER_OCTWORD + 1 > PRM_GET(mkc, b->mkc, translations_octword_size))
		return refuse(b, SYN_UMEM_SIZE);
	at = umem->page_offset + b->umem_off;
	/* The card finds a page by the start address: both must lie equally deep in a page. */
	if (b->page_shift > umem->log_page_size)
		return refuse(b, SYN_PAGE_SIZE);
	if (((b->start ^ at) & ((UINT64_C(1) << b->page_shift) - 1)) != 0)
		return refuse(b, SYN_START_ALIGN);
	skip = at & (size - 1);
	for (i = at >> umem->log_page_size; b->off < b->len; i++) {
		add_run(b, 0, umem->bus[i] + skip, size - skip);
		skip = 0;
	}
	return MLX5_CMD_STAT_OK;
}

/* Entries of other keys, each with its own length. Lists are padded: what follows the end of the
 * key is not looked at. */
static uint8_t
add_klms(struct builder *b)
{
	const uint8_t *klm = b->list;
	uint64_t i, addr, count;

	for (i = 0; i < b->octwords && b->off < b->len; i++, klm += PRM_BYTES(klm)) {
		count = PRM_GET(klm, klm, byte_count);
		addr = PRM_GET(klm, klm, address);
		if (count == 0 || count > MLX5_KLM_MAX_BYTES)
			return refuse(b, SYN_KLM_COUNT);
		if (addr + (count - 1) < addr)
			return refuse(b, SYN_KLM_WRAP);
		add_run(b, PRM_GET(klm, klm, mkey), addr, count);
	}
	return b->off < b->len ? refuse(b, SYN_LIST_SHORT) : MLX5_CMD_STAT_OK;
}

/* Entries of other keys, each of 2^log_page_size bytes, counted from the start address: NVIDIA's
 * driver aligns that to nothing (as guest memory at 1 GiB, in one entry of 2 GiB, on Arm). */
static uint8_t
add_fixed_klms(struct builder *b)
{
	uint64_t size = UINT64_C(1) << b->page_shift;
	const uint8_t *klm = b->list;
	uint64_t i, addr;

	for (i = 0; i < b->octwords && b->off < b->len; i++, klm += PRM_BYTES(klm)) {
		addr = PRM_GET(klm, klm, address);
		if (addr + (size - 1) < addr)
			return refuse(b, SYN_KLM_WRAP);
		add_run(b, PRM_GET(klm, klm, mkey), addr, size);
	}
	return b->off < b->len ? refuse(b, SYN_LIST_SHORT) : MLX5_CMD_STAT_OK;
}

static uint8_t
add_all(struct builder *b)
{
	b->nruns = 0;
	b->off = 0;
	switch (b->mode) {
	case MLX5_MKC_ACCESS_MODE_KLM:
		return add_klms(b);
	case MLX5_MKC_ACCESS_MODE_KLM_FBS:
		return add_fixed_klms(b);
	default:
		return b->umem != NULL ? add_umem(b) : add_pas(b);
	}
}

/* ---- what is checked of the context ---- */

static uint8_t
check_mode(struct builder *b, const void *caps)
{
	bool shift_ok = b->page_shift >= MIN_PAGE_SHIFT && b->page_shift <= MAX_PAGE_SHIFT;

	switch (b->mode) {
	case MLX5_MKC_ACCESS_MODE_MTT:
		break;
	case MLX5_MKC_ACCESS_MODE_KLM:
		shift_ok = b->page_shift == 0; /* entries have lengths of their own */
		break;
	case MLX5_MKC_ACCESS_MODE_KLM_FBS:
		if (PRM_GET(cmd_hca_cap, caps, fixed_buffer_size) == 0)
			return refuse(b, SYN_MODE);
		break;
	default:
		return refuse(b, SYN_MODE);
	}
	return shift_ok ? MLX5_CMD_STAT_OK : refuse(b, SYN_PAGE_SIZE);
}

static uint8_t
check_length(struct builder *b, const void *caps)
{
	uint32_t log_max = PRM_GET(cmd_hca_cap, caps, log_max_mrw_sz);

	if (PRM_GET(mkc, b->mkc, length64) != 0)
		return refuse(b, SYN_LENGTH64);
	if (b->len == 0 || b->start + (b->len - 1) < b->start)
		return refuse(b, SYN_LENGTH);
	if (log_max < 64 && b->len > UINT64_C(1) << log_max)
		return refuse(b, SYN_LENGTH);
	return MLX5_CMD_STAT_OK;
}

/* What a context can ask for and this device does not have. */
static uint8_t
check_functions(struct builder *b, const void *caps)
{
	if (PRM_GET(mkc, b->mkc, free) != 0)
		return refuse(b, SYN_FREE);
	if (PRM_GET(mkc, b->mkc, qpn) != QPN_ANY)
		return refuse(b, SYN_QPN);
	if (PRM_GET(mkc, b->mkc, bsf_en) != 0)
		return refuse(b, SYN_BSF);
	if (PRM_GET(create_mkey_in, b->c->in, pg_access) != 0)
		return refuse(b, SYN_PG_ACCESS);
	if (PRM_GET(mkc, b->mkc, relaxed_ordering_write) != 0 &&
			PRM_GET(cmd_hca_cap, caps, relaxed_ordering_write) == 0)
		return refuse(b, SYN_ORDERING);
	if (PRM_GET(mkc, b->mkc, relaxed_ordering_read) != 0 &&
			PRM_GET(cmd_hca_cap, caps, relaxed_ordering_read) == 0 &&
			PRM_GET(cmd_hca_cap, caps, relaxed_ordering_read_pci_enabled) == 0)
		return refuse(b, SYN_ORDERING);
	return MLX5_CMD_STAT_OK;
}

/* The list in the mailbox, in units of 16 bytes; a umem stands in for it. */
static uint8_t
check_list(struct builder *b, const void *caps)
{
	uint32_t log_max = PRM_GET(cmd_hca_cap, caps, log_max_klm_list_size);
	size_t room = (b->c->inlen - PRM_BYTES(create_mkey_in)) / OCTWORD_BYTES;

	if (PRM_GET(create_mkey_in, b->c->in, mkey_umem_valid) != 0)
		return is_indirect(b) ? refuse(b, SYN_UMEM_INDIRECT) : MLX5_CMD_STAT_OK;
	if (b->octwords > PRM_GET(mkc, b->mkc, translations_octword_size))
		return refuse(b, SYN_LIST_SIZE);
	if (b->octwords > room)
		return emu_refuse(b->c, MLX5_CMD_STAT_BAD_INP_LEN_ERR, SYN_LIST_LENGTH);
	if (is_indirect(b) && b->octwords > UINT64_C(1) << log_max)
		return emu_refuse(b->c, MLX5_CMD_STAT_LIM_ERR, SYN_LIST_LIMIT);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
find_referred(struct emu_dev *dev, struct builder *b)
{
	const void *in = b->c->in;

	b->pd = emu_obj_find(dev, EMU_PD, PRM_GET(mkc, b->mkc, pd), b->c->uid);
	if (b->pd == NULL)
		return emu_refuse(b->c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_PD);
	if (PRM_GET(create_mkey_in, in, mkey_umem_valid) == 0)
		return MLX5_CMD_STAT_OK;
	b->umem = emu_obj_find(dev, EMU_UMEM, PRM_GET(create_mkey_in, in, mkey_umem_id), b->c->uid);
	if (b->umem == NULL)
		return emu_refuse(b->c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_UMEM);
	b->umem_off = PRM_GET(create_mkey_in, in, mkey_umem_offset);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
check_all(struct emu_dev *dev, struct builder *b)
{
	static uint8_t (*const checks[])(struct builder *, const void *) = {
		check_functions, check_mode, check_length, check_list,
	};
	uint8_t status;
	size_t i;

	for (i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		status = checks[i](b, dev->caps.general);
		if (status != MLX5_CMD_STAT_OK)
			return status;
	}
	status = find_referred(dev, b);
	return status == MLX5_CMD_STAT_OK ? add_all(b) : status;
}

/* ---- commands ---- */

static uint8_t
create_mkey(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *mkc = PRM_ADDR(create_mkey_in, c->in, memory_key_mkey_entry);
	struct builder b = {
		.c = c,
		.mkc = mkc,
		.list = PRM_ADDR(create_mkey_in, c->in, klm_pas_mtt),
		.octwords = PRM_GET(create_mkey_in, c->in, translations_octword_actual_size),
		.mode = PRM_GET(mkc, mkc, access_mode_4_2) << 2 |
			PRM_GET(mkc, mkc, access_mode_1_0),
		.page_shift = PRM_GET(mkc, mkc, log_page_size),
		.start = PRM_GET(mkc, mkc, start_addr),
		.len = PRM_GET(mkc, mkc, len),
	};
	uint8_t status = check_all(dev, &b);
	struct emu_mkey *mkey;

	if (status != MLX5_CMD_STAT_OK)
		return status;
	mkey = emu_obj_new(dev, EMU_MKEY, c->uid, sizeof(*mkey) + b.nruns * sizeof(mkey->run[0]));
	if (mkey == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	mkey->variant = PRM_GET(mkc, mkc, mkey_7_0);
	mkey->indirect = is_indirect(&b);
	mkey->local_read = PRM_GET(mkc, mkc, lr);
	mkey->local_write = PRM_GET(mkc, mkc, lw);
	mkey->start = b.start;
	mkey->len = b.len;
	mkey->pd = b.pd;
	mkey->umem = b.umem;
	emu_obj_hold(b.pd);
	emu_obj_hold(b.umem);
	mkey->nruns = b.nruns;
	b.run = mkey->run;
	add_all(&b);
	c->key_bytes = mkey->indirect ? 0 : mkey->len;
	dev->mkey_gen++;
	PRM_SET(create_mkey_out, c->out, mkey_index, mkey->obj.id);
	return MLX5_CMD_STAT_OK;
}

/* A key in use by a queue can be destroyed: the queue's next access faults. */
static uint8_t
destroy_mkey(struct emu_dev *dev, struct emu_cmd *c)
{
	uint32_t index = PRM_GET(destroy_mkey_in, c->in, mkey_index);
	struct emu_mkey *mkey = emu_obj_find(dev, EMU_MKEY, index, c->uid);

	if (mkey == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if (mkey->obj.refs > 0)
		return emu_refuse(c, MLX5_CMD_STAT_RES_BUSY, SYN_BUSY);
	c->key_bytes = mkey->indirect ? 0 : mkey->len;
	emu_obj_put(mkey->umem);
	emu_obj_put(mkey->pd);
	emu_obj_del(mkey);
	dev->mkey_gen++;
	return MLX5_CMD_STAT_OK;
}

const struct emu_cmd_desc emu_cmds_mkey[] = {
	EMU_CMD(CREATE_MKEY, create_mkey, create_mkey),
	EMU_CMD(DESTROY_MKEY, destroy_mkey, destroy_mkey),
	EMU_CMDS_END
};

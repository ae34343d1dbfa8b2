/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Umems: user memory that device objects live in. Their commands, and DMA by offset.
 */
#include <errno.h>

#include "core.h"

enum {
	SYN_NO_ROOM = 1,       /* as many as log_max_umem allows are alive */
	SYN_NOT_FOUND,
	SYN_BUSY,              /* a key, CQ, QP or queue lives in it */
	SYN_ATS,               /* address translation services are not offered */
	SYN_NO_PAGES,
	SYN_LIST_LENGTH,       /* the mailbox ends before the list does */
	SYN_PAGE_OFFSET,       /* byte 0 is not in the first page */
	SYN_PAGE_ALIGN,        /* a page does not lie at a multiple of its size */
	SYN_TOO_LARGE,         /* more bytes than 64 bits count */
};

/* An entry of the list is a page's address with rights in its low bits (Linux: mtt.wr_en, rd_en).
 * The rights that matter were given when the page was pinned, and the host looks at those. */
#define MTT_RIGHTS UINT64_C(0x3)

static uint64_t
mtt_page(const void *umem, uint64_t i)
{
	const uint8_t *list = PRM_ADDR(umem, umem, mtt);

	return prm_get(list + i * sizeof(uint64_t), 0, 64) & ~MTT_RIGHTS;
}

static uint8_t
check_pages(struct emu_cmd *c, const void *umem, uint64_t npages, unsigned int shift)
{
	size_t room = (c->inlen - PRM_BYTES(create_umem_in)) / sizeof(uint64_t);
	uint64_t i;

	if (npages == 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_NO_PAGES);
	if (npages > room)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_INP_LEN_ERR, SYN_LIST_LENGTH);
	if (npages > UINT64_MAX >> shift)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_TOO_LARGE);
	for (i = 0; i < npages; i++) {
		if ((mtt_page(umem, i) & ((UINT64_C(1) << shift) - 1)) != 0)
			return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_PAGE_ALIGN);
	}
	return MLX5_CMD_STAT_OK;
}

static uint8_t
create_umem(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *ctx = PRM_ADDR(create_umem_in, c->in, umem);
	unsigned int shift = PRM_GET(umem, ctx, log_page_size) + MLX5_ADAPTER_PAGE_SHIFT;
	uint32_t page_offset = PRM_GET(umem, ctx, page_offset);
	uint64_t i, npages = PRM_GET(umem, ctx, num_of_mtt);
	struct emu_umem *umem;
	uint8_t status;

	if (PRM_GET(umem, ctx, ats) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_ATS);
	if ((uint64_t)page_offset >> shift != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_PAGE_OFFSET);
	status = check_pages(c, ctx, npages, shift);
	if (status != MLX5_CMD_STAT_OK)
		return status;
	umem = emu_obj_new(dev, EMU_UMEM, c->uid, sizeof(*umem) + npages * sizeof(umem->bus[0]));
	if (umem == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	umem->length = (npages << shift) - page_offset;
	umem->page_offset = page_offset;
	umem->log_page_size = (uint8_t)shift;
	umem->npages = npages;
	for (i = 0; i < npages; i++)
		umem->bus[i] = mtt_page(ctx, i);
	PRM_SET(create_umem_out, c->out, umem_id, umem->obj.id);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
destroy_umem(struct emu_dev *dev, struct emu_cmd *c)
{
	uint32_t id = PRM_GET(destroy_umem_in, c->in, umem_id);
	struct emu_umem *umem = emu_obj_find(dev, EMU_UMEM, id, c->uid);

	if (umem == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if (umem->obj.refs > 0)
		return emu_refuse(c, MLX5_CMD_STAT_RES_BUSY, SYN_BUSY);
	emu_obj_del(umem);
	return MLX5_CMD_STAT_OK;
}

const struct emu_cmd_desc emu_cmds_mem[] = {
	EMU_CMD(CREATE_UMEM, create_umem, create_umem),
	EMU_CMD(DESTROY_UMEM, destroy_umem, destroy_umem),
	EMU_CMDS_END
};

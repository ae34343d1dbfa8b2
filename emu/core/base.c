/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands of the small objects that others stand on: user contexts, UAR pages, protection domains,
 * transport domains; and the special keys.
 */
#include "core.h"

/* Syndromes, one set for all: each command uses those that apply. */
enum {
	SYN_NO_ROOM = 1,       /* as many as the capabilities allow are alive */
	SYN_NOT_FOUND,         /* no such object, or another user context's */
	SYN_BUSY,              /* something that needs it is alive */
	SYN_NOT_KERNEL,        /* only the kernel may do that */
	SYN_UCTX_CAP,          /* a right that the device's uctx_cap does not show */
};

/* What has an id and an owner and no more. */
struct plain {
	struct emu_obj obj;
};

static uint8_t
plain_alloc(struct emu_dev *dev, struct emu_cmd *c, enum emu_obj_type type, uint32_t *id)
{
	struct plain *p = emu_obj_new(dev, type, c->uid, sizeof(*p));

	if (p == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	*id = p->obj.id;
	return MLX5_CMD_STAT_OK;
}

static uint8_t
plain_dealloc(struct emu_dev *dev, struct emu_cmd *c, enum emu_obj_type type, uint32_t id)
{
	struct plain *p = emu_obj_find(dev, type, id, c->uid);

	if (p == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if (p->obj.refs > 0)
		return emu_refuse(c, MLX5_CMD_STAT_RES_BUSY, SYN_BUSY);
	emu_obj_del(p);
	return MLX5_CMD_STAT_OK;
}

/* ---- user contexts: a uid is the id of one, and owns what is created through it ---- */

static uint8_t
create_uctx(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *uctx = PRM_ADDR(create_uctx_in, c->in, uctx);
	uint32_t offered = PRM_GET(cmd_hca_cap, dev->caps.general, uctx_cap);
	uint32_t id = 0;
	uint8_t status;

	if (c->uid != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_NOT_KERNEL);
	if ((PRM_GET(uctx, uctx, cap) & ~offered) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_UCTX_CAP);
	status = plain_alloc(dev, c, EMU_UCTX, &id);
	PRM_SET(create_uctx_out, c->out, uid, id);
	return status;
}

static uint8_t
destroy_uctx(struct emu_dev *dev, struct emu_cmd *c)
{
	if (c->uid != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_NOT_KERNEL);
	return plain_dealloc(dev, c, EMU_UCTX, PRM_GET(destroy_uctx_in, c->in, uid));
}

/* ---- UAR: the id is the page's number in the BAR ---- */

static uint8_t
alloc_uar(struct emu_dev *dev, struct emu_cmd *c)
{
	uint32_t id = 0;
	uint8_t status = plain_alloc(dev, c, EMU_UAR, &id);

	/* Whoever gets the page must not see, or inherit, doorbells of who had it before. */
	if (status == MLX5_CMD_STAT_OK)
		memset(dev->bar + (size_t)id * EMU_PAGE, 0, EMU_PAGE);
	PRM_SET(alloc_uar_out, c->out, uar, id);
	return status;
}

static uint8_t
dealloc_uar(struct emu_dev *dev, struct emu_cmd *c)
{
	return plain_dealloc(dev, c, EMU_UAR, PRM_GET(dealloc_uar_in, c->in, uar));
}

/* ---- protection domains ---- */

static uint8_t
alloc_pd(struct emu_dev *dev, struct emu_cmd *c)
{
	uint32_t id = 0;
	uint8_t status = plain_alloc(dev, c, EMU_PD, &id);

	PRM_SET(alloc_pd_out, c->out, pd, id);
	return status;
}

static uint8_t
dealloc_pd(struct emu_dev *dev, struct emu_cmd *c)
{
	return plain_dealloc(dev, c, EMU_PD, PRM_GET(dealloc_pd_in, c->in, pd));
}

/* ---- transport domains ---- */

static uint8_t
alloc_td(struct emu_dev *dev, struct emu_cmd *c)
{
	uint32_t id = 0;
	uint8_t status = plain_alloc(dev, c, EMU_TD, &id);

	PRM_SET(alloc_transport_domain_out, c->out, transport_domain, id);
	return status;
}

static uint8_t
dealloc_td(struct emu_dev *dev, struct emu_cmd *c)
{
	return plain_dealloc(dev, c, EMU_TD,
		PRM_GET(dealloc_transport_domain_in, c->in, transport_domain));
}

/* ---- special keys ---- */

static uint8_t
query_special_contexts(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *caps = dev->caps.general;

	/* This device has one special key, which faults on every access. The other names are for
	 * DMA of the kernel's own, which does not pass here. A name without its capability is
	 * nobody's. */
	if (PRM_GET(cmd_hca_cap, caps, null_mkey))
		PRM_SET(query_special_contexts_out, c->out, null_mkey, EMU_NULL_MKEY);
	if (PRM_GET(cmd_hca_cap, caps, dump_fill_mkey))
		PRM_SET(query_special_contexts_out, c->out, dump_fill_mkey, EMU_NULL_MKEY);
	PRM_SET(query_special_contexts_out, c->out, resd_lkey, EMU_NULL_MKEY);
	return MLX5_CMD_STAT_OK;
}

const struct emu_cmd_desc emu_cmds_base[] = {
	EMU_CMD(CREATE_UCTX, create_uctx, create_uctx),
	EMU_CMD(DESTROY_UCTX, destroy_uctx, destroy_uctx),
	EMU_CMD(ALLOC_UAR, alloc_uar, alloc_uar),
	EMU_CMD(DEALLOC_UAR, dealloc_uar, dealloc_uar),
	EMU_CMD(ALLOC_PD, alloc_pd, alloc_pd),
	EMU_CMD(DEALLOC_PD, dealloc_pd, dealloc_pd),
	EMU_CMD(ALLOC_TRANSPORT_DOMAIN, alloc_transport_domain, alloc_td),
	EMU_CMD(DEALLOC_TRANSPORT_DOMAIN, dealloc_transport_domain, dealloc_td),
	EMU_CMD(QUERY_SPECIAL_CONTEXTS, query_special_contexts, query_special_contexts),
	EMU_CMDS_END
};

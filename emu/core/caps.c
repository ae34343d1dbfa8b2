/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capabilities: what the device says of itself, and QUERY_HCA_CAP.
 *
 * Values marked [D] are what a real ConnectX-6 Dx answers, published with NVIDIA's mlx5ctl tool
 * (README of the tool, output of its `devcap` command on a device whose node description is
 * "MT4125 ConnectX6Dx"). Where this device can't do what the card can, the capability says what
 * this device can; fields that are not set here are 0: no such function.
 */
#include <errno.h>
#include <stdlib.h>

#include "core.h"

enum {
	SYN_CAP_TYPE = 1,      /* a capability page that this device does not have */
	SYN_OTHER_FUNCTION,    /* another function's capabilities: there is none to manage */
};

/* Rights of a user context (Linux: MLX5_UCTX_CAP_*). */
enum {
	UCTX_RAW_TX = 1 << 0,
	UCTX_INTERNAL_DEV_RES = 1 << 1,
};

/* Figures that no public source gives. */
enum {
	LOG_MAX_UCTX = 10,         /* open devices (processes) of one function */
	LOG_MAX_UMEM = 20,         /* three a queue and one a region of guest memory, with room */
	LOG_MAX_RQT_SIZE = 11,     /* [D] has it as rss_ind_tbl_cap of the Ethernet page */
	LOG_MAX_FLOW = 16,         /* flow tables, and entries of all; obj.c's limit without a page */
};

static void
set_limits(void *gen)
{
	PRM_SET(cmd_hca_cap, gen, log_max_uctx, LOG_MAX_UCTX);
	PRM_SET(cmd_hca_cap, gen, log_max_umem, LOG_MAX_UMEM);
	PRM_SET(cmd_hca_cap, gen, log_max_pd, 23);                     /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_transport_domain, 16);       /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_mkey, 24);                   /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_cq, 24);                     /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_cq_sz, 22);                  /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_eq, 7);                      /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_qp, 17);                     /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_qp_sz, 15);                  /* [D] */
	PRM_SET(cmd_hca_cap, gen, max_wqe_sz_sq, 1024);                /* [D] */
	PRM_SET(cmd_hca_cap, gen, max_wqe_sz_rq, 512);                 /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_tir, 16);                    /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_tis, 23);                    /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_rqt, 20);                    /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_rqt_size, LOG_MAX_RQT_SIZE);
}

static void
set_memory(void *gen)
{
	PRM_SET(cmd_hca_cap, gen, log_pg_sz, MLX5_ADAPTER_PAGE_SHIFT); /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_mrw_sz, 64);                 /* [D] */
	PRM_SET(cmd_hca_cap, gen, null_mkey, 1);                       /* [D] */
	PRM_SET(cmd_hca_cap, gen, dump_fill_mkey, 1);                  /* [D] */
	PRM_SET(cmd_hca_cap, gen, max_indirection, 4);                 /* [D] */
	PRM_SET(cmd_hca_cap, gen, log_max_klm_list_size, 16);          /* [D] */
	PRM_SET(cmd_hca_cap, gen, fixed_buffer_size, 1);               /* [D] */
	PRM_SET(cmd_hca_cap, gen, relaxed_ordering_write, 1);          /* [D] */
	/* [D], under its old name */
	PRM_SET(cmd_hca_cap, gen, relaxed_ordering_read_pci_enabled, 1);
}

static void
set_general(void *gen, const struct emu_dev_config *cfg, const struct emu_model *model)
{
	unsigned int bus = 0, device = 0, function = 0;

	/* Firmware numbers functions itself; all that matters is that no two devices share one. */
	sscanf(cfg->bdf, "%*x:%x:%x.%x", &bus, &device, &function);
	PRM_SET(cmd_hca_cap, gen, vhca_id, bus << 8 | device << 3 | function);
	PRM_SET(cmd_hca_cap, gen, port_type, 1);                       /* [D]: Ethernet */
	PRM_SET(cmd_hca_cap, gen, num_ports, 1);                       /* [D] */
	PRM_SET(cmd_hca_cap, gen, num_lag_ports, 1);                   /* [D] 2: here is one port */
	PRM_SET(cmd_hca_cap, gen, nic_flow_table, 1);                  /* [D] */
	PRM_SET(cmd_hca_cap, gen, eth_net_offloads, 1);                /* [D] */
	/* [D] has more pages: hca_cap_2, qos, roce, event_cap, ... announce none of them here. */
	PRM_SET(cmd_hca_cap, gen, steering_format_version, model->steering_format_version);
	/* sq_ts_format, rq_ts_format 0: free-running time stamps (DPDK). */
	PRM_SET(cmd_hca_cap, gen, uctx_cap, UCTX_RAW_TX | UCTX_INTERNAL_DEV_RES); /* [D] */
	/* Linux turns 4 KiB UARs on where it can, and then sets these. The UAR part of the BAR has
	 * 2^uar_sz MiB; a UAR's BlueFlame registers have 2^log_bf_reg_size bytes. */
	PRM_SET(cmd_hca_cap, gen, uar_4k, 1);
	PRM_SET(cmd_hca_cap, gen, uar_sz, 0);
	PRM_SET(cmd_hca_cap, gen, log_uar_page_sz, 0);
	PRM_SET(cmd_hca_cap, gen, num_of_uars_per_page, 1);
	PRM_SET(cmd_hca_cap, gen, log_bf_reg_size, 9);                 /* [D] */
	PRM_SET(cmd_hca_cap, gen, general_obj_types,
		UINT64_C(1) << MLX5_OBJ_TYPE_VIRTIO_NET_Q |
		UINT64_C(1) << MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS);
}

static void
set_vdpa(void *vdpa, const struct emu_dev_config *cfg)
{
	/* Of device_features_bits_mask (Linux) [D] has bits 12 to 9: these four. Not among them is bit
	 * 2, mergeable receive buffers. */
	PRM_SET(virtio_emulation_cap, vdpa, eth_frame_offload_type, 1);        /* [D] */
	PRM_SET(virtio_emulation_cap, vdpa, virtio_version_1_0, 1);            /* [D] */
	PRM_SET(virtio_emulation_cap, vdpa, tso_ipv4, 1);                      /* [D] */
	PRM_SET(virtio_emulation_cap, vdpa, tso_ipv6, 1);                      /* [D] */
	PRM_SET(virtio_emulation_cap, vdpa, tx_csum, 1);                       /* [D] */
	PRM_SET(virtio_emulation_cap, vdpa, rx_csum, 1);                       /* [D] */
	PRM_SET(virtio_emulation_cap, vdpa, event_mode,                        /* [D] */
		1 << MLX5_VIRTQ_EVENT_MODE_NO_MSIX | 1 << MLX5_VIRTQ_EVENT_MODE_QP);
	/* [D] has split alone; newer firmware has packed, too (DPDK's feature matrix of vdpa/mlx5). */
	PRM_SET(virtio_emulation_cap, vdpa, virtio_queue_type,
		1 << MLX5_VIRTQ_TYPE_SPLIT | 1 << MLX5_VIRTQ_TYPE_PACKED);
	/* [D] 256, and Linux's "vdpa mgmtdev show" 257 with the control queue: max_vqs= decides. */
	PRM_SET(virtio_emulation_cap, vdpa, max_num_virtio_queues, cfg->max_vqs);
	/* Linux counts 2^log_doorbell_bar_size pages of 4 KiB / 2^log_doorbell_stride VARs from
	 * doorbell_bar_offset on (mlx5_ib's VAR table). [D] has stride 12, size 0: one VAR. */
	PRM_SET(virtio_emulation_cap, vdpa, log_doorbell_stride, EMU_LOG_VAR);
	PRM_SET(virtio_emulation_cap, vdpa, log_doorbell_bar_size, EMU_LOG_VARS);
	PRM_SET(virtio_emulation_cap, vdpa, doorbell_bar_offset, EMU_BAR_DOORBELL_OFF);
	/* What newer firmware added after [D] was taken (fields of Linux and DPDK). */
	PRM_SET(virtio_emulation_cap, vdpa, vnet_modify_ext, 1);
	PRM_SET(virtio_emulation_cap, vdpa, virtio_net_q_addr_modify, 1);
	PRM_SET(virtio_emulation_cap, vdpa, virtio_q_index_modify, 1);
	PRM_SET(virtio_emulation_cap, vdpa, freeze_to_rdy_supported, 1);
	/* Bytes of umem n of a queue: a * entries + b. [D] */
	PRM_SET(virtio_emulation_cap, vdpa, umem_1_buffer_param_a, 128);
	PRM_SET(virtio_emulation_cap, vdpa, umem_1_buffer_param_b, 4168);
	PRM_SET(virtio_emulation_cap, vdpa, umem_2_buffer_param_a, 128);
	PRM_SET(virtio_emulation_cap, vdpa, umem_2_buffer_param_b, 8200);
	PRM_SET(virtio_emulation_cap, vdpa, umem_3_buffer_param_a, 32);
	PRM_SET(virtio_emulation_cap, vdpa, umem_3_buffer_param_b, 16392);
}

/* ---- pages that are made when they are asked for ---- */

/* There are no send and receive queues of Ethernet's own here, so that little of it is left. */
static void
fill_ethernet(void *page)
{
	PRM_SET(per_protocol_networking_offload_caps, page, wqe_inline_mode, 2);    /* [D] */
	PRM_SET(per_protocol_networking_offload_caps, page, rss_ind_tbl_cap,        /* [D] */
		LOG_MAX_RQT_SIZE);
}

/* What a flow group can match: what flow.c finds in a frame. */
static void
fill_flow_fields(void *fields)
{
	PRM_SET(flow_table_fields_supported, fields, outer_dmac, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_smac, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_ether_type, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_ip_version, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_first_prio, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_first_cfi, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_first_vid, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_ipv4_ttl, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_sip, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_dip, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_frag, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_ip_protocol, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_ip_ecn, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_ip_dscp, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_udp_sport, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_udp_dport, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_tcp_sport, 1);
	PRM_SET(flow_table_fields_supported, fields, outer_tcp_dport, 1);
}

/* Tables of received frames, that firmware owns; their rules go to one destination. */
static void
fill_flow(void *page)
{
	void *rx = PRM_ADDR(flow_table_nic_cap, page, flow_table_properties_nic_receive);

	PRM_SET(flow_table_prop_layout, rx, ft_support, 1);
	PRM_SET(flow_table_prop_layout, rx, log_max_ft_size, EMU_LOG_FLOW_TABLE_SIZE);
	PRM_SET(flow_table_prop_layout, rx, max_ft_level, EMU_FLOW_LEVELS);
	PRM_SET(flow_table_prop_layout, rx, log_max_ft_num, LOG_MAX_FLOW);
	PRM_SET(flow_table_prop_layout, rx, log_max_destination, 0);
	PRM_SET(flow_table_prop_layout, rx, log_max_flow, LOG_MAX_FLOW);
	fill_flow_fields(PRM_ADDR(flow_table_prop_layout, rx, ft_field_support));
	fill_flow_fields(PRM_ADDR(flow_table_prop_layout, rx, ft_field_bitmask_support));
}

/* ---- caps=: names with + or -, or with a value, joined by ':' ---- */

static const struct prm_field *
find_field(const char *layout, const char *name)
{
	const struct prm_layout *l = prm_layout_find(layout);
	uint32_t i;

	for (i = 0; i < l->nfields; i++) {
		if (strcmp(l->fields[i].name, name) == 0)
			return &l->fields[i];
	}
	return NULL;
}

/* What the device does besides, and does not show by default: single bits. */
static bool
is_hidden(const struct prm_field *f)
{
	static const char *const hidden[] = {
		"desc_group_mkey_supported", "relaxed_ordering_read",
	};
	size_t i;

	for (i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		if (strcmp(f->name, hidden[i]) == 0)
			return true;
	}
	return false;
}

/* Fields whose bits are things by themselves. */
static bool
is_mask(const struct prm_field *f)
{
	static const char *const masks[] = {
		"virtio_queue_type", "event_mode", "uctx_cap", "general_obj_types",
	};
	size_t i;

	for (i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		if (strcmp(f->name, masks[i]) == 0)
			return true;
	}
	return false;
}

/* One item of caps=, taken apart. */
struct item {
	char sign;                 /* '+', '-', or 0: a value */
	char name[64];
	uint64_t value;
};

static bool
item_parse(const char *text, struct item *item)
{
	const char *value = strchr(text, '=');
	const char *name = text;
	size_t len = value != NULL ? (size_t)(value - text) : strlen(text);
	char *end;

	item->sign = value == NULL ? *name++ : '\0';
	if (value == NULL) {
		if (item->sign != '+' && item->sign != '-')
			return false;
		len--;
	} else {
		if (value[1] < '0' || value[1] > '9')
			return false;
		errno = 0;
		item->value = strtoull(value + 1, &end, 0);
		if (*end != '\0' || errno != 0)
			return false;
	}
	if (len >= sizeof(item->name))
		len = sizeof(item->name) - 1;
	memcpy(item->name, name, len);
	item->name[len] = '\0';
	return true;
}

/* Nothing is promised that the model, @p has of this field, does not. Returns what is allowed. */
static const char *
item_obstacle(const struct item *item, const struct prm_field *f, uint64_t has, char *why,
		size_t len)
{
	bool fits;

	if (item->sign == '-')
		return NULL;
	if (item->sign == '+' && f->width != 1) {
		snprintf(why, len, "'%s' has %u bits: allowed is -%s, which makes it 0, or %s=N",
			f->name, f->width, f->name, f->name);
		return why;
	}
	fits = is_mask(f) ? (item->value & ~has) == 0 : item->value <= has;
	if (item->sign == '+' ? has != 0 : fits)
		return NULL;
	if (item->sign == '+')
		snprintf(why, len, "the emulated device can't do what '%s' promises", f->name);
	else
		snprintf(why, len, "'%s' is 0x%llx: allowed is %s", f->name,
			(unsigned long long)has, is_mask(f) ? "a part of it" : "no more");
	return why;
}

/* @p model: as it is without caps=. */
static int
apply_one(struct emu_caps *caps, const struct emu_caps *model, const char *text, char *err,
		size_t errlen)
{
	const void *model_page = model->general;
	const struct prm_field *f;
	void *page = caps->general;
	struct item item;
	uint64_t has;
	char why[160];

	if (!item_parse(text, &item)) {
		snprintf(err, errlen, "'%.80s' is none of +CAPABILITY, -CAPABILITY, CAPABILITY=N",
			text);
		return -EINVAL;
	}
	f = find_field("cmd_hca_cap", item.name);
	if (f == NULL) {
		page = caps->vdpa;
		model_page = model->vdpa;
		f = find_field("virtio_emulation_cap", item.name);
	}
	if (f == NULL) {
		snprintf(err, errlen, "no capability is named '%s'", item.name);
		return -EINVAL;
	}
	has = is_hidden(f) ? 1 : prm_get(model_page, f->off, f->width);
	if (item_obstacle(&item, f, has, why, sizeof(why)) != NULL) {
		snprintf(err, errlen, "%s", why);
		return -EINVAL;
	}
	prm_set(page, f->off, f->width, item.sign == '\0' ? item.value : item.sign == '+');
	return 0;
}

int
emu_caps_init(struct emu_caps *caps, const struct emu_dev_config *cfg, char *err, size_t errlen)
{
	char copy[sizeof(cfg->caps)];
	char *rest = copy, *item;
	const struct emu_model *card = emu_model_find(cfg->model);
	struct emu_caps model;

	if (card == NULL) {
		snprintf(err, errlen, "no model is named '%s'", cfg->model);
		return -EINVAL;
	}
	memset(caps, 0, sizeof(*caps));
	set_limits(caps->general);
	set_memory(caps->general);
	set_general(caps->general, cfg, card);
	set_vdpa(caps->vdpa, cfg);
	model = *caps;
	strcpy(copy, cfg->caps);
	while (copy[0] != '\0' && (item = strsep(&rest, ":")) != NULL) {
		if (apply_one(caps, &model, item, err, errlen) != 0)
			return -EINVAL;
	}
	return 0;
}

/* ---- QUERY_HCA_CAP ---- */

static uint8_t
query_hca_cap(struct emu_dev *dev, struct emu_cmd *c)
{
	void *page = PRM_ADDR(query_hca_cap_out, c->out, capability);
	uint32_t op_mod = PRM_GET(query_hca_cap_in, c->in, op_mod);

	if (PRM_GET(query_hca_cap_in, c->in, other_function) != 0 ||
			PRM_GET(query_hca_cap_in, c->in, ec_vf_function) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_OTHER_FUNCTION);
	/* Nobody can raise a capability of this device: what is current is the maximum. */
	switch (op_mod & ~(uint32_t)MLX5_HCA_CAP_OPMOD_CUR) {
	case MLX5_HCA_CAP_GENERAL:
		memcpy(page, dev->caps.general, sizeof(dev->caps.general));
		return MLX5_CMD_STAT_OK;
	case MLX5_HCA_CAP_ETHERNET_OFFLOADS:
		if (PRM_GET(cmd_hca_cap, dev->caps.general, eth_net_offloads) == 0)
			break;
		fill_ethernet(page);
		return MLX5_CMD_STAT_OK;
	case MLX5_HCA_CAP_NIC_FLOW_TABLE:
		if (PRM_GET(cmd_hca_cap, dev->caps.general, nic_flow_table) == 0)
			break;
		fill_flow(page);
		return MLX5_CMD_STAT_OK;
	case MLX5_HCA_CAP_VDPA_EMULATION:
		memcpy(page, dev->caps.vdpa, sizeof(dev->caps.vdpa));
		return MLX5_CMD_STAT_OK;
	}
	return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_CAP_TYPE);
}

const struct emu_cmd_desc emu_cmds_caps[] = {
	EMU_CMD(QUERY_HCA_CAP, query_hca_cap, query_hca_cap),
	EMU_CMDS_END
};

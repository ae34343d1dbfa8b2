/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices: making them, the list of them, and what can be asked of them.
 */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "face.h"
#include "host.h"
#include "sysfs.h"

/* verbs.h's own name for it is a macro around the operation. */
#undef ibv_query_port

enum {
	PORT = 1,
	/* IBTA: port attributes; RoCE shows Ethernet ports with these. */
	PHYS_LINK_UP = 5,
	WIDTH_4X = 2,
	SPEED_EDR = 32,            /* 25 Gb/s a lane */
	MAX_MSG = 1 << 30,
	/* What a queue of a ConnectX takes, in its verbs. */
	MAX_SGE = 30,
	MAX_RD_ATOMIC = 16,
	MAX_PKEYS = 128,
};

#define PAGE_SIZES UINT64_C(0xfffffffffffff000)

/* ---- making a device: what the driver's load asks of it ---- */

static int
read_caps(struct face_dev *d)
{
	uint8_t in[PRM_BYTES(query_hca_cap_in)] = { 0 };
	uint8_t out[PRM_BYTES(query_hca_cap_out)];
	int rc;

	PRM_SET(query_hca_cap_in, in, opcode, MLX5_CMD_OP_QUERY_HCA_CAP);
	PRM_SET(query_hca_cap_in, in, op_mod, MLX5_HCA_CAP_GENERAL | MLX5_HCA_CAP_OPMOD_CUR);
	rc = face_cmd(d, in, sizeof(in), out, sizeof(out));
	if (rc == 0)
		memcpy(d->caps, PRM_ADDR(query_hca_cap_out, out, capability), sizeof(d->caps));
	return rc;
}

static int
read_special_keys(struct face_dev *d)
{
	uint8_t in[PRM_BYTES(query_special_contexts_in)] = { 0 };
	uint8_t out[PRM_BYTES(query_special_contexts_out)];
	int rc;

	PRM_SET(query_special_contexts_in, in, opcode, MLX5_CMD_OP_QUERY_SPECIAL_CONTEXTS);
	rc = face_cmd(d, in, sizeof(in), out, sizeof(out));
	if (rc == 0)
		d->null_key = PRM_GET(query_special_contexts_out, out, dump_fill_mkey);
	return rc;
}

static void
fill_ibv(struct face_dev *d, const struct emu_dev_config *cfg, const char *sysfs)
{
	d->ibv.node_type = IBV_NODE_CA;
	d->ibv.transport_type = IBV_TRANSPORT_IB;
	snprintf(d->ibv.name, sizeof(d->ibv.name), "%s", cfg->name);
	snprintf(d->ibv.dev_name, sizeof(d->ibv.dev_name), "uverbs%u", d->index);
	snprintf(d->ibv.dev_path, sizeof(d->ibv.dev_path), "%s/infiniband_verbs/uverbs%u", sysfs,
		d->index);
	snprintf(d->ibv.ibdev_path, sizeof(d->ibv.ibdev_path), "%s/infiniband/%s", sysfs,
		cfg->name);
}

int
face_dev_create(const struct emu_dev_config *cfg, unsigned int index, const char *sysfs,
		struct emu_host *host, struct face_dev **dev)
{
	struct face_dev *d = calloc(1, sizeof(*d));
	int rc = -ENOMEM;

	if (d == NULL)
		goto err;
	d->index = index;
	d->host = host;
	fill_ibv(d, cfg, sysfs);
	rc = face_events_create(d);
	if (rc != 0)
		goto err_dev;
	rc = emu_dev_create(cfg, &emu_host_ops, host, face_event, d, &d->dev);
	if (rc != 0)
		goto err_events;
	rc = read_caps(d);
	if (rc == 0)
		rc = read_special_keys(d);
	if (rc != 0)
		goto err_emu;
	rc = face_vars_create(d);
	if (rc != 0)
		goto err_emu;
	rc = face_flows_create(d);
	if (rc != 0)
		goto err_vars;
	*dev = d;
	return 0;

err_vars:
	face_vars_destroy(d);
err_emu:
	emu_dev_destroy(d->dev);
err_events:
	face_events_destroy(d);
err_dev:
	free(d);
err:
	fprintf(stderr, "mlx5-emu: %s: %s\n", cfg->bdf, strerror(-rc));
	return rc;
}

void
face_dev_destroy(struct face_dev *d)
{
	face_flows_destroy(d);
	face_vars_destroy(d);
	emu_dev_destroy(d->dev);
	face_events_destroy(d);
	free(d);
}

/* ---- the list ---- */

struct ibv_device **
ibv_get_device_list(int *num_devices)
{
	struct face_dev *const *devs;
	struct ibv_device **list;
	int i, n;

	if (num_devices != NULL)
		*num_devices = 0;
	n = face_devices(&devs);
	if (n < 0)
		return face_null(n);
	list = calloc((size_t)n + 1, sizeof(struct ibv_device *));
	if (list == NULL)
		return face_null(-ENOMEM);
	for (i = 0; i < n; i++)
		list[i] = &devs[i]->ibv;
	if (num_devices != NULL)
		*num_devices = n;
	return list;
}

void
ibv_free_device_list(struct ibv_device **list)
{
	free(list);
}

const char *
ibv_get_device_name(struct ibv_device *device)
{
	return device->name;
}

int
ibv_get_device_index(struct ibv_device *device)
{
	return (int)face_dev_of(device)->index;
}

__be64
ibv_get_device_guid(struct ibv_device *device)
{
	return htobe64(emu_sysfs_guid(emu_dev_config(face_dev_of(device)->dev)));
}

bool
mlx5dv_is_supported(struct ibv_device *device)
{
	(void)device;
	return true;
}

/* ---- queries ---- */

static void
fill_attr(struct face_dev *d, struct ibv_device_attr *a)
{
	const uint8_t *caps = d->caps;
	uint64_t guid = htobe64(emu_sysfs_guid(emu_dev_config(d->dev)));

	memset(a, 0, sizeof(*a));
	snprintf(a->fw_ver, sizeof(a->fw_ver), "%s",
		emu_model_find(emu_dev_config(d->dev)->model)->fw_ver);
	a->node_guid = guid;
	a->sys_image_guid = guid;
	a->max_mr_size = UINT64_MAX;
	a->page_size_cap = PAGE_SIZES;
	a->vendor_id = EMU_VENDOR_OUI;
	a->vendor_part_id = emu_sysfs_pci_device(emu_dev_config(d->dev));
	a->max_qp = 1 << PRM_GET(cmd_hca_cap, caps, log_max_qp);
	a->max_qp_wr = 1 << PRM_GET(cmd_hca_cap, caps, log_max_qp_sz);
	a->device_cap_flags = IBV_DEVICE_PORT_ACTIVE_EVENT | IBV_DEVICE_SYS_IMAGE_GUID;
	a->max_sge = MAX_SGE;
	a->max_sge_rd = MAX_SGE;
	a->max_cq = 1 << PRM_GET(cmd_hca_cap, caps, log_max_cq);
	a->max_cqe = (1 << PRM_GET(cmd_hca_cap, caps, log_max_cq_sz)) - 1;
	a->max_mr = 1 << PRM_GET(cmd_hca_cap, caps, log_max_mkey);
	a->max_pd = 1 << PRM_GET(cmd_hca_cap, caps, log_max_pd);
	a->max_qp_rd_atom = MAX_RD_ATOMIC;
	a->max_qp_init_rd_atom = MAX_RD_ATOMIC;
	a->max_res_rd_atom = a->max_qp * a->max_qp_rd_atom;
	a->atomic_cap = IBV_ATOMIC_NONE;
	a->max_pkeys = MAX_PKEYS;
	a->phys_port_cnt = PORT;
}

int
ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
	fill_attr(face_ctx_of(context)->dev, attr);
	return 0;
}

/* Of the extended attributes, the device has none; they read as zero. */
static int
query_device_ex(struct ibv_context *context, const struct ibv_query_device_ex_input *input,
		struct ibv_device_attr_ex *attr, size_t size)
{
	if (input != NULL && input->comp_mask != 0)
		return EINVAL;
	if (size < sizeof(attr->orig_attr))
		return EINVAL;
	memset(attr, 0, size);
	fill_attr(face_ctx_of(context)->dev, &attr->orig_attr);
	if (size >= sizeof(*attr))
		attr->phys_port_cnt_ex = PORT;
	return 0;
}

static int
query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *attr, size_t size)
{
	struct ibv_port_attr a = {
		.state = IBV_PORT_ACTIVE,
		.max_mtu = IBV_MTU_4096,
		.active_mtu = IBV_MTU_1024,
		.gid_tbl_len = FACE_GIDS,
		.port_cap_flags = IBV_PORT_CM_SUP,
		.max_msg_sz = MAX_MSG,
		.pkey_tbl_len = 1,
		.active_width = WIDTH_4X,
		.active_speed = SPEED_EDR,
		.phys_state = PHYS_LINK_UP,
		.link_layer = IBV_LINK_LAYER_ETHERNET,
	};

	(void)context;
	if (port != PORT)
		return EINVAL;
	memset(attr, 0, size);
	memcpy(attr, &a, size < sizeof(a) ? size : sizeof(a));
	return 0;
}

/* As programs see it that were built before the operation existed: without the newest fields. */
int
ibv_query_port(struct ibv_context *context, uint8_t port, struct _compat_ibv_port_attr *attr)
{
	return query_port(context, port, (struct ibv_port_attr *)(void *)attr,
		offsetof(struct ibv_port_attr, port_cap_flags2));
}

void
face_device_ops(struct verbs_context *verbs)
{
	verbs->query_device_ex = query_device_ex;
	verbs->query_port = query_port;
}

int
mlx5dv_query_device(struct ibv_context *context, struct mlx5dv_context *attrs)
{
	(void)context;
	attrs->version = 0;
	attrs->flags = MLX5DV_CONTEXT_FLAGS_CQE_V1;
	/* None of the optional parts is offered: none of those asked for is filled. */
	attrs->comp_mask = 0;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include <mlx5_prm.h>
#include <rte_common.h>

#include "devx.h"
#include "hw.h"
#include "mlx5p_log.h"

/* In words what firmware refused, and the errno. EREMOTEIO tells that @out holds its verdict. */
static int
verdict(const void *out, char *text, size_t len)
{
	int err = errno ? errno : EIO;

	if (err == EREMOTEIO) {
		uint8_t status = PRM_GET(general_obj_out_cmd_hdr, out, status);

		snprintf(text, len, "firmware status %s (0x%x), syndrome 0x%08x",
			prm_status_name(status), status,
			PRM_GET(general_obj_out_cmd_hdr, out, syndrome));
	} else {
		snprintf(text, len, "%s", strerror(err));
	}
	return -err;
}

/* Say what firmware refused and return the errno. */
static int
refused(const struct mlx5p_hw *hw, const void *out, const char *verb, const char *what)
{
	char why[MLX5P_DEVX_WHY];
	int ret = verdict(out, why, sizeof(why));

	MLX5P_LOG(ERR, hw->name, "cannot %s %s: %s", verb, what, why);
	return ret;
}

static int
create(const struct mlx5p_hw *hw, const char *what, const void *in, size_t inlen, void *out,
		size_t outlen, struct mlx5p_obj *o)
{
	errno = 0;
	o->obj = mlx5dv_devx_obj_create(hw->ctx, in, inlen, out, outlen);
	return o->obj != NULL ? 0 : refused(hw, out, "create", what);
}

static int
modify(const struct mlx5p_hw *hw, const char *what, struct mlx5p_obj *o, const void *in,
		size_t inlen)
{
	uint8_t out[PRM_BYTES(general_obj_out_cmd_hdr)] = {0};

	errno = 0;
	if (mlx5dv_devx_obj_modify(o->obj, in, inlen, out, sizeof(out)))
		return refused(hw, out, "modify", what);
	return 0;
}

int
mlx5p_devx_try_destroy(const struct mlx5p_hw *hw, struct mlx5p_obj *o, const char *what)
{
	if (o->obj == NULL)
		return 0;
	errno = 0;
	if (mlx5dv_devx_obj_destroy(o->obj)) {
		MLX5P_LOG(ERR, hw->name, "cannot destroy %s 0x%x: %s", what, o->id,
			strerror(errno));
		return errno ? -errno : -EIO;
	}
	*o = (struct mlx5p_obj) { .obj = NULL };
	return 0;
}

void
mlx5p_devx_destroy(const struct mlx5p_hw *hw, struct mlx5p_obj *o, const char *what)
{
	if (mlx5p_devx_try_destroy(hw, o, what) < 0)
		*o = (struct mlx5p_obj) { .obj = NULL };
}

/* ---- capabilities ---- */

/* QUERY_HCA_CAP of one capability type; @out is as large as the answer. */
static int
query_cap(const struct mlx5p_hw *hw, uint16_t type, void *out, size_t outlen, const char *what)
{
	uint8_t in[PRM_BYTES(query_hca_cap_in)] = {0};

	PRM_SET(query_hca_cap_in, in, opcode, MLX5_CMD_OP_QUERY_HCA_CAP);
	PRM_SET(query_hca_cap_in, in, op_mod, type | MLX5_HCA_CAP_OPMOD_CUR);
	errno = 0;
	if (mlx5dv_devx_general_cmd(hw->ctx, in, sizeof(in), out, outlen))
		return refused(hw, out, "query", what);
	return 0;
}

int
mlx5p_devx_query_caps(const struct mlx5p_hw *hw, struct mlx5p_caps *caps)
{
	uint8_t out[PRM_BYTES(query_hca_cap_out)];
	const void *cap = PRM_ADDR(query_hca_cap_out, out, capability);
	int ret;

	memset(caps, 0, sizeof(*caps));
	memset(out, 0, sizeof(out));
	ret = query_cap(hw, MLX5_HCA_CAP_GENERAL, out, sizeof(out), "general capabilities");
	if (ret < 0)
		return ret;
	caps->general_obj_types = PRM_GET(cmd_hca_cap, cap, general_obj_types);
	caps->log_max_rqt_size = PRM_GET(cmd_hca_cap, cap, log_max_rqt_size);
	caps->num_lag_ports = PRM_GET(cmd_hca_cap, cap, num_lag_ports);
	/* A card with any other format than free-running takes "default"; Linux decides alike. */
	caps->qp_ts_format = PRM_GET(cmd_hca_cap, cap, rq_ts_format) != 0 ?
		MLX5_TIMESTAMP_FORMAT_DEFAULT : MLX5_TIMESTAMP_FORMAT_FREE_RUNNING;

	memset(out, 0, sizeof(out));
	ret = query_cap(hw, MLX5_HCA_CAP_VDPA_EMULATION, out, sizeof(out), "virtio capabilities");
	if (ret < 0)
		return ret;
#define CAP(field) caps->field = PRM_GET(virtio_emulation_cap, cap, field)
	CAP(eth_frame_offload_type);
	CAP(virtio_version_1_0);
	CAP(tso_ipv4);
	CAP(tso_ipv6);
	CAP(tx_csum);
	CAP(rx_csum);
	CAP(event_mode);
	CAP(virtio_queue_type);
	CAP(vnet_modify_ext);
	CAP(virtio_net_q_addr_modify);
	CAP(virtio_q_index_modify);
	CAP(freeze_to_rdy_supported);
	CAP(desc_group_mkey_supported);
	CAP(max_num_virtio_queues);
	CAP(doorbell_bar_offset);
#undef CAP
	caps->umem[0].a = PRM_GET(virtio_emulation_cap, cap, umem_1_buffer_param_a);
	caps->umem[0].b = PRM_GET(virtio_emulation_cap, cap, umem_1_buffer_param_b);
	caps->umem[1].a = PRM_GET(virtio_emulation_cap, cap, umem_2_buffer_param_a);
	caps->umem[1].b = PRM_GET(virtio_emulation_cap, cap, umem_2_buffer_param_b);
	caps->umem[2].a = PRM_GET(virtio_emulation_cap, cap, umem_3_buffer_param_a);
	caps->umem[2].b = PRM_GET(virtio_emulation_cap, cap, umem_3_buffer_param_b);
	return 0;
}

/* ---- memory keys ---- */

/* What every key of ours has in common: local access, any queue pair. */
static void
fill_mkc(void *mkc, const struct mlx5p_hw *hw, uint8_t mode, uint64_t start, uint64_t len)
{
	PRM_SET(mkc, mkc, access_mode_1_0, mode);
	PRM_SET(mkc, mkc, lr, 1);
	PRM_SET(mkc, mkc, lw, 1);
	PRM_SET(mkc, mkc, qpn, 0xffffff);
	PRM_SET(mkc, mkc, pd, hw->pdn);
	PRM_SET(mkc, mkc, start_addr, start);
	PRM_SET(mkc, mkc, len, len);
}

/* A key is its index and an 8-bit variant; ours have variant 0. */
static uint32_t
mkey_of(const void *out)
{
	return PRM_GET(create_mkey_out, out, mkey_index) << 8;
}

int
mlx5p_devx_create_klm(const struct mlx5p_hw *hw, uint64_t start, uint64_t len,
		const struct mlx5p_klm *klm, uint32_t n, struct mlx5p_obj *o)
{
	/* The translation list comes in groups of four 16-byte entries. */
	uint32_t i, padded = (n + 3) & ~3u;
	size_t inlen = PRM_BYTES(create_mkey_in) + padded * PRM_BYTES(klm);
	uint8_t out[PRM_BYTES(create_mkey_out)] = {0};
	uint8_t *in, *entry;
	void *mkc;
	int ret;

	if (n > MLX5P_KLM_MAX) {
		MLX5P_LOG(ERR, hw->name, "guest memory is too fragmented: %u entries, at most %u",
			n, MLX5P_KLM_MAX);
		return -E2BIG;
	}
	in = calloc(1, inlen);
	if (in == NULL)
		return -ENOMEM;
	PRM_SET(create_mkey_in, in, opcode, MLX5_CMD_OP_CREATE_MKEY);
	PRM_SET(create_mkey_in, in, translations_octword_actual_size, padded);
	mkc = PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry);
	fill_mkc(mkc, hw, MLX5_MKC_ACCESS_MODE_KLM, start, len);
	PRM_SET(mkc, mkc, translations_octword_size, padded);
	entry = PRM_ADDR(create_mkey_in, in, klm_pas_mtt);
	for (i = 0; i < n; i++, entry += PRM_BYTES(klm)) {
		PRM_SET(klm, entry, byte_count, klm[i].bytes);
		PRM_SET(klm, entry, mkey, klm[i].mkey);
		PRM_SET(klm, entry, address, klm[i].address);
	}
	ret = create(hw, "indirect mkey", in, inlen, out, sizeof(out), o);
	if (ret == 0)
		o->id = mkey_of(out);
	free(in);
	return ret;
}

int
mlx5p_devx_create_umem_mkey(const struct mlx5p_hw *hw, uint32_t umem_id, uint64_t iova,
		uint64_t len, bool read_only, struct mlx5p_obj *o)
{
	uint8_t in[PRM_BYTES(create_mkey_in)] = {0};
	uint8_t out[PRM_BYTES(create_mkey_out)] = {0};
	uint32_t log_page = __builtin_ctzl(sysconf(_SC_PAGESIZE));
	uint64_t page = UINT64_C(1) << log_page;
	/* The key may begin and end within a page. */
	uint64_t pages = ((iova & (page - 1)) + len + page - 1) >> log_page;
	void *mkc = PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry);
	uint32_t octwords = (pages + 1) / 2; /* two 8-byte page addresses in 16 bytes */
	int ret;

	PRM_SET(create_mkey_in, in, opcode, MLX5_CMD_OP_CREATE_MKEY);
	PRM_SET(create_mkey_in, in, mkey_umem_valid, 1);
	PRM_SET(create_mkey_in, in, mkey_umem_id, umem_id);
	PRM_SET(create_mkey_in, in, translations_octword_actual_size, octwords);
	fill_mkc(mkc, hw, MLX5_MKC_ACCESS_MODE_MTT, iova, len);
	PRM_SET(mkc, mkc, lw, !read_only);
	PRM_SET(mkc, mkc, log_page_size, log_page);
	PRM_SET(mkc, mkc, translations_octword_size, octwords);
	ret = create(hw, "direct mkey", in, sizeof(in), out, sizeof(out), o);
	if (ret == 0)
		o->id = mkey_of(out);
	return ret;
}

/* ---- completion queue and queue pairs of the events ---- */

int
mlx5p_devx_create_cq(const struct mlx5p_hw *hw, uint32_t umem_id, uint32_t dbr_off,
		uint32_t log_size, struct mlx5p_obj *o)
{
	uint8_t in[PRM_BYTES(create_cq_in)] = {0};
	uint8_t out[PRM_BYTES(create_cq_out)] = {0};
	void *cqc = PRM_ADDR(create_cq_in, in, cq_context);
	int ret;

	PRM_SET(create_cq_in, in, opcode, MLX5_CMD_OP_CREATE_CQ);
	PRM_SET(create_cq_in, in, cq_umem_valid, 1);
	PRM_SET(create_cq_in, in, cq_umem_id, umem_id);
	PRM_SET(cqc, cqc, cc, 1); /* all completions in entry 0: its counter is what we look at */
	PRM_SET(cqc, cqc, log_cq_size, log_size);
	PRM_SET(cqc, cqc, uar_page, hw->uar->page_id);
	PRM_SET(cqc, cqc, c_eqn_or_apu_element, hw->eqn);
	PRM_SET(cqc, cqc, dbr_umem_valid, 1);
	PRM_SET(cqc, cqc, dbr_umem_id, umem_id);
	PRM_SET(cqc, cqc, dbr_addr, dbr_off);
	ret = create(hw, "CQ", in, sizeof(in), out, sizeof(out), o);
	if (ret == 0)
		o->id = PRM_GET(create_cq_out, out, cqn);
	return ret;
}

static int
create_qp(const struct mlx5p_hw *hw, void *in, size_t inlen, const char *what, struct mlx5p_obj *o)
{
	uint8_t out[PRM_BYTES(create_qp_out)] = {0};
	void *qpc = PRM_ADDR(create_qp_in, in, qpc);
	int ret;

	PRM_SET(create_qp_in, in, opcode, MLX5_CMD_OP_CREATE_QP);
	PRM_SET(qpc, qpc, st, MLX5_QP_ST_RC);
	PRM_SET(qpc, qpc, pd, hw->pdn);
	PRM_SET(qpc, qpc, no_sq, 1);
	PRM_SET(qpc, qpc, ts_format, hw->caps.qp_ts_format);
	ret = create(hw, what, in, inlen, out, sizeof(out), o);
	if (ret == 0)
		o->id = PRM_GET(create_qp_out, out, qpn);
	return ret;
}

int
mlx5p_devx_create_fw_qp(const struct mlx5p_hw *hw, struct mlx5p_obj *o)
{
	uint8_t in[PRM_BYTES(create_qp_in)] = {0};
	void *qpc = PRM_ADDR(create_qp_in, in, qpc);

	PRM_SET(qpc, qpc, rq_type, MLX5_QP_ZERO_LEN_RQ);
	return create_qp(hw, in, sizeof(in), "firmware QP", o);
}

int
mlx5p_devx_create_sw_qp(const struct mlx5p_hw *hw, uint32_t cqn, uint32_t umem_id, uint32_t dbr_off,
		uint32_t log_size, struct mlx5p_obj *o)
{
	uint8_t in[PRM_BYTES(create_qp_in)] = {0};
	void *qpc = PRM_ADDR(create_qp_in, in, qpc);

	PRM_SET(qpc, qpc, pm_state, MLX5_QP_PM_STATE_MIGRATED);
	PRM_SET(qpc, qpc, uar_page, hw->uar->page_id);
	PRM_SET(qpc, qpc, cqn_rcv, cqn);
	PRM_SET(qpc, qpc, rq_type, MLX5_QP_NON_ZERO_RQ);
	PRM_SET(qpc, qpc, log_rq_size, log_size);
	PRM_SET(qpc, qpc, log_rq_stride, 0); /* 16 bytes */
	PRM_SET(qpc, qpc, dbr_umem_valid, 1);
	PRM_SET(qpc, qpc, dbr_umem_id, umem_id);
	PRM_SET(qpc, qpc, dbr_addr, dbr_off);
	PRM_SET(create_qp_in, in, wq_umem_valid, 1);
	PRM_SET(create_qp_in, in, wq_umem_id, umem_id);
	return create_qp(hw, in, sizeof(in), "software QP", o);
}

int
mlx5p_devx_modify_qp(const struct mlx5p_hw *hw, struct mlx5p_obj *qp, uint16_t opcode,
		uint32_t remote_qpn)
{
	uint8_t in[PRM_BYTES(rst2init_qp_in)] = {0};
	void *qpc = PRM_ADDR(rst2init_qp_in, in, qpc);
	void *path = PRM_ADDR(qpc, qpc, primary_address_path);
	size_t inlen = sizeof(in);

	/* The state steps share one layout; 2RST has no QP context behind its header. */
	PRM_SET(rst2init_qp_in, in, opcode, opcode);
	PRM_SET(rst2init_qp_in, in, qpn, qp->id);
	switch (opcode) {
	case MLX5_CMD_OP_RST2INIT_QP:
		PRM_SET(ads, path, vhca_port_num, 1);
		PRM_SET(qpc, qpc, pm_state, MLX5_QP_PM_STATE_MIGRATED);
		PRM_SET(qpc, qpc, rre, 1);
		PRM_SET(qpc, qpc, rwe, 1);
		break;
	case MLX5_CMD_OP_INIT2RTR_QP:
		PRM_SET(ads, path, vhca_port_num, 1);
		PRM_SET(ads, path, fl, 1); /* force loopback: the peer is on this card */
		PRM_SET(qpc, qpc, mtu, MLX5_QP_MTU_256);
		PRM_SET(qpc, qpc, log_msg_max, MLX5_QP_LOG_MSG_MAX);
		PRM_SET(qpc, qpc, remote_qpn, remote_qpn);
		break;
	case MLX5_CMD_OP_RTR2RTS_QP:
		PRM_SET(ads, path, ack_timeout, MLX5_QP_ACK_TIMEOUT);
		PRM_SET(qpc, qpc, retry_count, MLX5_QP_RETRY_MAX);
		PRM_SET(qpc, qpc, rnr_retry, MLX5_QP_RETRY_MAX); /* 7: without end */
		break;
	default:
		inlen = PRM_BYTES(qp_2rst_in);
		break;
	}
	return modify(hw, prm_opcode_name(opcode), qp, in, inlen);
}

/* ---- virtqueues ---- */

static void
fill_hdr(void *hdr, uint16_t opcode, uint16_t type, uint32_t id)
{
	PRM_SET(general_obj_in_cmd_hdr, hdr, opcode, opcode);
	PRM_SET(general_obj_in_cmd_hdr, hdr, obj_type, type);
	PRM_SET(general_obj_in_cmd_hdr, hdr, obj_id, id);
}

static void
fill_features(void *obj, uint64_t features)
{
#define FEATURE(bit) (features >> (bit) & 1)
	bool tso4 = FEATURE(VIRTIO_NET_F_HOST_TSO4), tso6 = FEATURE(VIRTIO_NET_F_HOST_TSO6);

	PRM_SET(virtio_net_q_object, obj, tso_ipv4, tso4);
	PRM_SET(virtio_net_q_object, obj, tso_ipv6, tso6);
	/* Segmentation depends on checksums (virtio 1.2, section 5.1.3.1): a guest that forgot to
	 * negotiate them would send segments with bad ones. */
	PRM_SET(virtio_net_q_object, obj, tx_csum, FEATURE(VIRTIO_NET_F_CSUM) || tso4 || tso6);
	PRM_SET(virtio_net_q_object, obj, rx_csum, FEATURE(VIRTIO_NET_F_GUEST_CSUM));
#undef FEATURE
}

/* Fields that a modify can select, in the order of its bits. */
static void
fill_virtq(void *obj, const struct mlx5p_virtq_attr *a, uint64_t select)
{
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);

	if (select & MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS) {
		PRM_SET(virtio_net_q_object, obj, dirty_bitmap_mkey, a->bitmap.mkey);
		PRM_SET(virtio_net_q_object, obj, dirty_bitmap_size, a->bitmap.size);
		PRM_SET(virtio_net_q_object, obj, dirty_bitmap_addr, a->bitmap.addr);
	}
	if (select & MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE)
		PRM_SET(virtio_net_q_object, obj, dirty_bitmap_dump_enable, a->bitmap.mkey != 0);
	if (select & MLX5_VIRTQ_MODIFY_QUEUE_PERIOD) {
		PRM_SET(virtio_q, ctx, queue_period_mode, a->moderation.latency_mode);
		PRM_SET(virtio_q, ctx, queue_period_us, a->moderation.max_latency_us);
		PRM_SET(virtio_q, ctx, queue_max_count, a->moderation.max_pending);
	}
	if (select & MLX5_VIRTQ_MODIFY_ADDRS) {
		PRM_SET(virtio_q, ctx, desc_addr, a->desc_addr);
		PRM_SET(virtio_q, ctx, used_addr, a->used_addr);
		PRM_SET(virtio_q, ctx, available_addr, a->available_addr);
	}
	if (select & MLX5_VIRTQ_MODIFY_AVAIL_IDX)
		PRM_SET(virtio_net_q_object, obj, hw_available_index, a->hw_available_index);
	if (select & MLX5_VIRTQ_MODIFY_USED_IDX)
		PRM_SET(virtio_net_q_object, obj, hw_used_index, a->hw_used_index);
	if (select & MLX5_VIRTQ_MODIFY_Q_TYPE)
		PRM_SET(virtio_q, ctx, virtio_q_type,
			a->packed ? MLX5_VIRTQ_TYPE_PACKED : MLX5_VIRTQ_TYPE_SPLIT);
	if (select & MLX5_VIRTQ_MODIFY_VIRTIO_VERSION)
		PRM_SET(virtio_q, ctx, virtio_version_1_0, a->features >> VIRTIO_F_VERSION_1 & 1);
	if (select & MLX5_VIRTQ_MODIFY_Q_MKEY)
		PRM_SET(virtio_q, ctx, virtio_q_mkey, a->mkey);
	if (select & MLX5_VIRTQ_MODIFY_DESC_GROUP_MKEY)
		PRM_SET(virtio_q, ctx, desc_group_mkey, a->ring_mkey);
	if (select & MLX5_VIRTQ_MODIFY_QUEUE_FEATURES)
		fill_features(obj, a->features);
	if (select & MLX5_VIRTQ_MODIFY_EVENT_MODE) {
		PRM_SET(virtio_q, ctx, event_mode, MLX5_VIRTQ_EVENT_MODE_QP);
		PRM_SET(virtio_q, ctx, event_qpn_or_msix, a->event_qpn);
	}
}

int
mlx5p_devx_create_virtq(const struct mlx5p_hw *hw, const struct mlx5p_virtq_attr *a,
		struct mlx5p_obj *o)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)] = {0};
	uint8_t out[PRM_BYTES(general_obj_out_cmd_hdr)] = {0};
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	char what[32];
	int ret;

	fill_hdr(in, MLX5_CMD_OP_CREATE_GENERAL_OBJECT, MLX5_OBJ_TYPE_VIRTIO_NET_Q, 0);
	/* A queue is born without a dirty bitmap. */
	fill_virtq(obj, a, ~(MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS |
		MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE));
	PRM_SET(virtio_net_q_object, obj, tisn_or_qpn, a->tisn);
	PRM_SET(virtio_q, ctx, queue_index, a->index);
	PRM_SET(virtio_q, ctx, queue_size, a->size);
	PRM_SET(virtio_q, ctx, offload_type, MLX5_VIRTQ_OFFLOAD_ETH_FRAME);
	PRM_SET(virtio_q, ctx, umem_1_id, a->umem[0].id);
	PRM_SET(virtio_q, ctx, umem_1_size, a->umem[0].size);
	PRM_SET(virtio_q, ctx, umem_2_id, a->umem[1].id);
	PRM_SET(virtio_q, ctx, umem_2_size, a->umem[1].size);
	PRM_SET(virtio_q, ctx, umem_3_id, a->umem[2].id);
	PRM_SET(virtio_q, ctx, umem_3_size, a->umem[2].size);
	PRM_SET(virtio_q, ctx, counter_set_id, a->counter_set_id);
	PRM_SET(virtio_q, ctx, pd, hw->pdn);
	snprintf(what, sizeof(what), "virtqueue %u", a->index);
	ret = create(hw, what, in, sizeof(in), out, sizeof(out), o);
	if (ret == 0)
		o->id = PRM_GET(general_obj_out_cmd_hdr, out, obj_id);
	return ret;
}

int
mlx5p_devx_try_modify_virtq(struct mlx5p_obj *o, uint64_t select, uint8_t state,
		const struct mlx5p_virtq_attr *a, char *why, size_t len)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)] = {0};
	uint8_t out[PRM_BYTES(general_obj_out_cmd_hdr)] = {0};
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);

	fill_hdr(in, MLX5_CMD_OP_MODIFY_GENERAL_OBJECT, MLX5_OBJ_TYPE_VIRTIO_NET_Q, o->id);
	PRM_SET(virtio_net_q_object, obj, modify_field_select, select);
	if (select & MLX5_VIRTQ_MODIFY_STATE)
		PRM_SET(virtio_net_q_object, obj, state, state);
	fill_virtq(obj, a, select);
	/* Not to be modified: it says to whoever reads a trace which queue this is. */
	PRM_SET(virtio_q, ctx, queue_index, a->index);
	errno = 0;
	if (mlx5dv_devx_obj_modify(o->obj, in, sizeof(in), out, sizeof(out)))
		return verdict(out, why, len);
	return 0;
}

int
mlx5p_devx_modify_virtq(const struct mlx5p_hw *hw, struct mlx5p_obj *o, uint64_t select,
		uint8_t state, const struct mlx5p_virtq_attr *a)
{
	char why[MLX5P_DEVX_WHY];
	int ret = mlx5p_devx_try_modify_virtq(o, select, state, a, why, sizeof(why));

	if (ret < 0)
		MLX5P_LOG(ERR, hw->name, "cannot modify virtqueue %u: %s", a->index, why);
	return ret;
}

int
mlx5p_devx_query_virtq(const struct mlx5p_hw *hw, struct mlx5p_obj *o, uint16_t index,
		struct mlx5p_virtq_status *status)
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};
	uint8_t out[PRM_BYTES(query_virtio_net_q_out)] = {0};
	const void *obj = PRM_ADDR(query_virtio_net_q_out, out, obj_context);
	const void *ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	char what[32];

	fill_hdr(in, MLX5_CMD_OP_QUERY_GENERAL_OBJECT, MLX5_OBJ_TYPE_VIRTIO_NET_Q, o->id);
	errno = 0;
	if (mlx5dv_devx_obj_query(o->obj, in, sizeof(in), out, sizeof(out))) {
		snprintf(what, sizeof(what), "virtqueue %u", index);
		return refused(hw, out, "query", what);
	}
	status->state = PRM_GET(virtio_net_q_object, obj, state);
	status->error_type = PRM_GET(virtio_q, ctx, error_type);
	status->hw_available_index = PRM_GET(virtio_net_q_object, obj, hw_available_index);
	status->hw_used_index = PRM_GET(virtio_net_q_object, obj, hw_used_index);
	return 0;
}

int
mlx5p_devx_create_counters(const struct mlx5p_hw *hw, struct mlx5p_obj *o)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)] = {0};
	uint8_t out[PRM_BYTES(general_obj_out_cmd_hdr)] = {0};
	int ret;

	fill_hdr(in, MLX5_CMD_OP_CREATE_GENERAL_OBJECT, MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS, 0);
	ret = create(hw, "virtqueue counters", in, sizeof(in), out, sizeof(out), o);
	if (ret == 0)
		o->id = PRM_GET(general_obj_out_cmd_hdr, out, obj_id);
	return ret;
}

int
mlx5p_devx_query_counters(const struct mlx5p_hw *hw, struct mlx5p_obj *o,
		struct mlx5p_virtq_counters *counters)
{
	uint8_t in[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};
	uint8_t out[PRM_BYTES(query_virtio_q_counters_out)] = {0};
	const void *set = PRM_ADDR(query_virtio_q_counters_out, out, counters);

	fill_hdr(in, MLX5_CMD_OP_QUERY_GENERAL_OBJECT, MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS, o->id);
	errno = 0;
	if (mlx5dv_devx_obj_query(o->obj, in, sizeof(in), out, sizeof(out)))
		return refused(hw, out, "query", "virtqueue counters");
#define COUNTER(field) counters->field = PRM_GET(virtio_q_counters, set, field)
	COUNTER(received_desc);
	COUNTER(completed_desc);
	COUNTER(error_cqes);
	COUNTER(bad_desc_errors);
	COUNTER(exceed_max_chain);
	COUNTER(invalid_buffer);
#undef COUNTER
	return 0;
}

/* ---- transport and steering ---- */

int
mlx5p_devx_create_td(const struct mlx5p_hw *hw, struct mlx5p_obj *o)
{
	uint8_t in[PRM_BYTES(alloc_transport_domain_in)] = {0};
	uint8_t out[PRM_BYTES(alloc_transport_domain_out)] = {0};
	int ret;

	PRM_SET(alloc_transport_domain_in, in, opcode, MLX5_CMD_OP_ALLOC_TRANSPORT_DOMAIN);
	ret = create(hw, "transport domain", in, sizeof(in), out, sizeof(out), o);
	if (ret == 0)
		o->id = PRM_GET(alloc_transport_domain_out, out, transport_domain);
	return ret;
}

int
mlx5p_devx_create_tis(const struct mlx5p_hw *hw, uint32_t td, uint8_t lag_port, struct mlx5p_obj *o)
{
	uint8_t in[PRM_BYTES(create_tis_in)] = {0};
	uint8_t out[PRM_BYTES(create_tis_out)] = {0};
	void *tisc = PRM_ADDR(create_tis_in, in, ctx);
	int ret;

	PRM_SET(create_tis_in, in, opcode, MLX5_CMD_OP_CREATE_TIS);
	PRM_SET(tisc, tisc, transport_domain, td);
	PRM_SET(tisc, tisc, lag_tx_port_affinity, lag_port);
	ret = create(hw, "TIS", in, sizeof(in), out, sizeof(out), o);
	if (ret == 0)
		o->id = PRM_GET(create_tis_out, out, tisn);
	return ret;
}

/* CREATE_RQT and MODIFY_RQT: header, then the context at the same place, then the list. */
static void *
alloc_rqt_in(const uint32_t *virtq_ids, uint32_t n, size_t *inlen)
{
	uint8_t *in, *rqtc, *entry;
	uint32_t i;

	*inlen = PRM_BYTES(create_rqt_in) + n * PRM_BYTES(rq_num);
	in = calloc(1, *inlen);
	if (in == NULL)
		return NULL;
	rqtc = PRM_ADDR(create_rqt_in, in, rqt_context);
	PRM_SET(rqtc, rqtc, list_q_type, MLX5_RQTC_LIST_Q_TYPE_VIRTIO_NET_Q);
	PRM_SET(rqtc, rqtc, rqt_max_size, n);
	PRM_SET(rqtc, rqtc, rqt_actual_size, n);
	entry = PRM_ADDR(rqtc, rqtc, rq_num);
	for (i = 0; i < n; i++, entry += PRM_BYTES(rq_num))
		PRM_SET(rq_num, entry, rq_num, virtq_ids[i]);
	return in;
}

int
mlx5p_devx_create_rqt(const struct mlx5p_hw *hw, const uint32_t *virtq_ids, uint32_t n,
		struct mlx5p_obj *o)
{
	uint8_t out[PRM_BYTES(create_rqt_out)] = {0};
	size_t inlen;
	void *in = alloc_rqt_in(virtq_ids, n, &inlen);
	int ret;

	if (in == NULL)
		return -ENOMEM;
	PRM_SET(create_rqt_in, in, opcode, MLX5_CMD_OP_CREATE_RQT);
	ret = create(hw, "RQT", in, inlen, out, sizeof(out), o);
	if (ret == 0)
		o->id = PRM_GET(create_rqt_out, out, rqtn);
	free(in);
	return ret;
}

int
mlx5p_devx_modify_rqt(const struct mlx5p_hw *hw, struct mlx5p_obj *o, const uint32_t *virtq_ids,
		uint32_t n)
{
	size_t inlen;
	void *in = alloc_rqt_in(virtq_ids, n, &inlen);
	int ret;

	if (in == NULL)
		return -ENOMEM;
	PRM_SET(modify_rqt_in, in, opcode, MLX5_CMD_OP_MODIFY_RQT);
	PRM_SET(modify_rqt_in, in, rqtn, o->id);
	PRM_SET(rqt_bitmask, PRM_ADDR(modify_rqt_in, in, bitmask), rqn_list, 1);
	ret = modify(hw, "RQT", o, in, inlen);
	free(in);
	return ret;
}

/* Key of the Toeplitz hash. Symmetric hashing swaps what it needs itself; any key with enough
 * entropy spreads well: this one is the well-known example of the RSS specification. */
static const uint32_t toeplitz_key[] = {
	0x6d5a56da, 0x255b0ec2, 0x4167253d, 0x43a38fb0, 0xd0ca2bcb,
	0xae7b30b4, 0x77cb2da3, 0x8030f20c, 0x6a42b73b, 0xbeac01fa,
};

int
mlx5p_devx_create_tir(const struct mlx5p_hw *hw, const struct mlx5p_tir_attr *a,
		struct mlx5p_obj *o)
{
	uint8_t in[PRM_BYTES(create_tir_in)] = {0};
	uint8_t out[PRM_BYTES(create_tir_out)] = {0};
	void *tirc = PRM_ADDR(create_tir_in, in, ctx);
	void *select = PRM_ADDR(tirc, tirc, rx_hash_field_selector_outer);
	size_t i;
	int ret;

	PRM_SET(create_tir_in, in, opcode, MLX5_CMD_OP_CREATE_TIR);
	PRM_SET(tirc, tirc, disp_type, MLX5_TIRC_DISP_TYPE_INDIRECT);
	PRM_SET(tirc, tirc, indirect_table, a->rqt);
	PRM_SET(tirc, tirc, transport_domain, hw->td.id);
	PRM_SET(tirc, tirc, rx_hash_fn, MLX5_RX_HASH_FN_TOEPLITZ);
	PRM_SET(tirc, tirc, rx_hash_symmetric, 1);
	for (i = 0; i < RTE_DIM(toeplitz_key); i++)
		PRM_SET_AT(tirc, tirc, rx_hash_toeplitz_key, i, toeplitz_key[i]);
	PRM_SET(rx_hash_field_select, select, l3_prot_type, a->l3_prot_type);
	PRM_SET(rx_hash_field_select, select, l4_prot_type, a->l4_prot_type);
	PRM_SET(rx_hash_field_select, select, selected_fields, a->selected_fields);
	ret = create(hw, "TIR", in, sizeof(in), out, sizeof(out), o);
	if (ret == 0)
		o->id = PRM_GET(create_tir_out, out, tirn);
	return ret;
}

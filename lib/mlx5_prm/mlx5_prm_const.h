/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Constants of the PRM that the layouts refer to. Sources: Linux include/linux/mlx5/{mlx5_ifc,
 * mlx5_ifc_vdpa,device,qp}.h, and DPDK drivers/common/mlx5/mlx5_prm.h where it alone has the number.
 */
#ifndef MLX5_PRM_CONST_H
#define MLX5_PRM_CONST_H

/* Commands: X(name, opcode). */
#define PRM_OPCODES(X) \
	X(QUERY_HCA_CAP, 0x100) \
	X(CREATE_MKEY, 0x200) \
	X(DESTROY_MKEY, 0x202) \
	X(QUERY_SPECIAL_CONTEXTS, 0x203) \
	X(CREATE_CQ, 0x400) \
	X(DESTROY_CQ, 0x401) \
	X(CREATE_QP, 0x500) \
	X(DESTROY_QP, 0x501) \
	X(RST2INIT_QP, 0x502) \
	X(INIT2RTR_QP, 0x503) \
	X(RTR2RTS_QP, 0x504) \
	X(2RST_QP, 0x50a) \
	X(QUERY_QP, 0x50b) \
	X(ALLOC_PD, 0x800) \
	X(DEALLOC_PD, 0x801) \
	X(ALLOC_UAR, 0x802) \
	X(DEALLOC_UAR, 0x803) \
	X(ALLOC_TRANSPORT_DOMAIN, 0x816) \
	X(DEALLOC_TRANSPORT_DOMAIN, 0x817) \
	X(CREATE_TIR, 0x900) \
	X(DESTROY_TIR, 0x902) \
	X(CREATE_TIS, 0x912) \
	X(DESTROY_TIS, 0x914) \
	X(CREATE_RQT, 0x916) \
	X(MODIFY_RQT, 0x917) \
	X(DESTROY_RQT, 0x918) \
	X(CREATE_FLOW_TABLE, 0x930) \
	X(DESTROY_FLOW_TABLE, 0x931) \
	X(CREATE_FLOW_GROUP, 0x933) \
	X(DESTROY_FLOW_GROUP, 0x934) \
	X(SET_FLOW_TABLE_ENTRY, 0x936) \
	X(DELETE_FLOW_TABLE_ENTRY, 0x938) \
	X(CREATE_GENERAL_OBJECT, 0xa00) \
	X(MODIFY_GENERAL_OBJECT, 0xa01) \
	X(QUERY_GENERAL_OBJECT, 0xa02) \
	X(DESTROY_GENERAL_OBJECT, 0xa03) \
	X(CREATE_UCTX, 0xa04) \
	X(DESTROY_UCTX, 0xa06) \
	X(CREATE_UMEM, 0xa08) \
	X(DESTROY_UMEM, 0xa0a)

enum {
#define X(name, op) MLX5_CMD_OP_##name = op,
	PRM_OPCODES(X)
#undef X
};

/* Command delivery status: X(name, status). */
#define PRM_STATUSES(X) \
	X(OK, 0x00) \
	X(INT_ERR, 0x01) \
	X(BAD_OP_ERR, 0x02) \
	X(BAD_PARAM_ERR, 0x03) \
	X(BAD_SYS_STATE_ERR, 0x04) \
	X(BAD_RES_ERR, 0x05) \
	X(RES_BUSY, 0x06) \
	X(NOT_READY, 0x07) \
	X(LIM_ERR, 0x08) \
	X(BAD_RES_STATE_ERR, 0x09) \
	X(IX_ERR, 0x0a) \
	X(NO_RES_ERR, 0x0f) \
	X(BAD_QP_STATE_ERR, 0x10) \
	X(BAD_PKT_ERR, 0x30) \
	X(BAD_SIZE_OUTS_CQES_ERR, 0x40) \
	X(BAD_INP_LEN_ERR, 0x50) \
	X(BAD_OUTP_LEN_ERR, 0x51)

enum {
#define X(name, st) MLX5_CMD_STAT_##name = st,
	PRM_STATUSES(X)
#undef X
};

/* QUERY_HCA_CAP op_mod: capability type << 1 | 1 for the current values (0: the maximum). */
enum {
	MLX5_HCA_CAP_OPMOD_CUR = 1,
	MLX5_HCA_CAP_GENERAL = 0x0 << 1,
	MLX5_HCA_CAP_ETHERNET_OFFLOADS = 0x1 << 1,
	MLX5_HCA_CAP_NIC_FLOW_TABLE = 0x7 << 1,
	MLX5_HCA_CAP_DEVICE_MEMORY = 0xf << 1,
	MLX5_HCA_CAP_VDPA_EMULATION = 0x13 << 1,
};

/* General objects; bit n of general_obj_types says that the device has type n. */
enum {
	MLX5_OBJ_TYPE_VIRTIO_NET_Q = 0x000d,
	MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS = 0x001c,
};

/* mkc.access_mode_1_0. */
enum {
	MLX5_MKC_ACCESS_MODE_PA = 0x0,
	MLX5_MKC_ACCESS_MODE_MTT = 0x1,
	MLX5_MKC_ACCESS_MODE_KLM = 0x2,
	MLX5_MKC_ACCESS_MODE_KLM_FBS = 0x3, /* KLM with fixed buffer size (KSM) */
};

/* A KLM entry covers at most this many bytes (byte_count 0x80000000). */
#define MLX5_KLM_MAX_BYTES (UINT64_C(1) << 31)

/* virtio_net_q_object.state. */
enum {
	MLX5_VIRTQ_STATE_INIT = 0,
	MLX5_VIRTQ_STATE_RDY = 1,
	MLX5_VIRTQ_STATE_SUSPEND = 2,
	MLX5_VIRTQ_STATE_ERR = 3,
};

/* virtio_q.error_type, as NVIDIA's SNAP library names the values: X(name, value). */
#define PRM_VIRTQ_ERRORS(X) \
	X(NO_ERROR, 0) \
	X(NETWORK_ERROR, 1) \
	X(BAD_DESCRIPTORS, 2) \
	X(INVALID_BUFFER, 3) \
	X(DESCRIPTOR_LIST_EXCEED_LIMIT, 4) \
	X(INTERNAL_ERROR, 5)

enum {
#define X(name, type) MLX5_VIRTQ_ERROR_##name = type,
	PRM_VIRTQ_ERRORS(X)
#undef X
};

/* virtio_net_q_object.modify_field_select. */
#define MLX5_VIRTQ_MODIFY_STATE (UINT64_C(1) << 0)
#define MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS (UINT64_C(1) << 3)
#define MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE (UINT64_C(1) << 4)
#define MLX5_VIRTQ_MODIFY_QUEUE_PERIOD (UINT64_C(1) << 5)
#define MLX5_VIRTQ_MODIFY_ADDRS (UINT64_C(1) << 6)
#define MLX5_VIRTQ_MODIFY_AVAIL_IDX (UINT64_C(1) << 7)
#define MLX5_VIRTQ_MODIFY_USED_IDX (UINT64_C(1) << 8)
#define MLX5_VIRTQ_MODIFY_Q_TYPE (UINT64_C(1) << 9)
#define MLX5_VIRTQ_MODIFY_VIRTIO_VERSION (UINT64_C(1) << 10)
#define MLX5_VIRTQ_MODIFY_Q_MKEY (UINT64_C(1) << 11)
#define MLX5_VIRTQ_MODIFY_QUEUE_FEATURES (UINT64_C(1) << 12)
#define MLX5_VIRTQ_MODIFY_EVENT_MODE (UINT64_C(1) << 13)
#define MLX5_VIRTQ_MODIFY_DESC_GROUP_MKEY (UINT64_C(1) << 14)

/* virtio_q.virtio_q_type, virtio_q.event_mode; the capability fields are bitmaps of these. */
enum { MLX5_VIRTQ_TYPE_SPLIT = 0, MLX5_VIRTQ_TYPE_PACKED = 1 };
enum {
	MLX5_VIRTQ_EVENT_MODE_NO_MSIX = 0, /* no completion events: the guest polls */
	MLX5_VIRTQ_EVENT_MODE_QP = 1,
	MLX5_VIRTQ_EVENT_MODE_MSIX = 2,
};
/* virtio_q.offload_type. */
enum { MLX5_VIRTQ_OFFLOAD_ETH_FRAME = 0, MLX5_VIRTQ_OFFLOAD_DESC_TUNNEL = 1 };

/* rqtc.list_q_type. */
enum { MLX5_RQTC_LIST_Q_TYPE_RQ = 0, MLX5_RQTC_LIST_Q_TYPE_VIRTIO_NET_Q = 1 };

/* tirc: disp_type, rx_hash_fn, and rx_hash_field_select. */
enum { MLX5_TIRC_DISP_TYPE_DIRECT = 0, MLX5_TIRC_DISP_TYPE_INDIRECT = 1 };
enum {
	MLX5_RX_HASH_FN_NONE = 0,
	MLX5_RX_HASH_FN_INVERTED_XOR8 = 1,
	MLX5_RX_HASH_FN_TOEPLITZ = 2,
};
enum { MLX5_L3_PROT_TYPE_IPV4 = 0, MLX5_L3_PROT_TYPE_IPV6 = 1 };
enum { MLX5_L4_PROT_TYPE_TCP = 0, MLX5_L4_PROT_TYPE_UDP = 1 };
enum {
	MLX5_HASH_FIELD_SEL_SRC_IP = 1 << 0,
	MLX5_HASH_FIELD_SEL_DST_IP = 1 << 1,
	MLX5_HASH_FIELD_SEL_L4_SPORT = 1 << 2,
	MLX5_HASH_FIELD_SEL_L4_DPORT = 1 << 3,
};

/* Flow steering: table_type, match_criteria_enable, flow_context.action, destination_type. */
enum { MLX5_FLOW_TABLE_TYPE_NIC_RX = 0 };
enum { MLX5_MATCH_OUTER_HEADERS = 1 << 0 };
enum { MLX5_FLOW_CONTEXT_ACTION_FWD_DEST = 0x4 };
enum { MLX5_FLOW_DESTINATION_TYPE_TIR = 0x2 };

/* qpc: st (service type), state, pm_state, rq_type. */
enum { MLX5_QP_ST_RC = 0x0 };
enum {
	MLX5_QP_STATE_RST = 0x0,
	MLX5_QP_STATE_INIT = 0x1,
	MLX5_QP_STATE_RTR = 0x2,
	MLX5_QP_STATE_RTS = 0x3,
	MLX5_QP_STATE_ERR = 0x6,
};
enum { MLX5_QP_PM_STATE_MIGRATED = 0x3 };
enum { MLX5_TIMESTAMP_FORMAT_FREE_RUNNING = 0, MLX5_TIMESTAMP_FORMAT_DEFAULT = 1 };
enum { MLX5_QP_MTU_256 = 1, MLX5_QP_LOG_MSG_MAX = 30, MLX5_QP_ACK_TIMEOUT = 16, MLX5_QP_RETRY_MAX = 7 };
enum { MLX5_QP_NON_ZERO_RQ = 0x0, MLX5_QP_SRQ_RQ = 0x1, MLX5_QP_ZERO_LEN_RQ = 0x3 };

/* Event types of an event queue entry. */
enum {
	MLX5_EVENT_TYPE_COMP = 0x00,
	MLX5_EVENT_TYPE_PATH_MIG = 0x01,
	MLX5_EVENT_TYPE_COMM_EST = 0x02,
	MLX5_EVENT_TYPE_SQ_DRAINED = 0x03,
	MLX5_EVENT_TYPE_CQ_ERROR = 0x04,
	MLX5_EVENT_TYPE_WQ_CATAS_ERROR = 0x05,
	MLX5_EVENT_TYPE_PATH_MIG_FAILED = 0x07,
	MLX5_EVENT_TYPE_PORT_CHANGE = 0x09,
	MLX5_EVENT_TYPE_WQ_INVAL_REQ_ERROR = 0x10,
	MLX5_EVENT_TYPE_WQ_ACCESS_ERROR = 0x11,
	MLX5_EVENT_TYPE_SRQ_CATAS_ERROR = 0x12,
	MLX5_EVENT_TYPE_SRQ_LAST_WQE = 0x13,
	MLX5_EVENT_TYPE_SRQ_RQ_LIMIT = 0x14,
	MLX5_EVENT_TYPE_XRQ_ERROR = 0x18,
	MLX5_EVENT_TYPE_DCT_DRAINED = 0x1c,
	MLX5_EVENT_TYPE_DCT_KEY_VIOLATION = 0x1d,
	MLX5_EVENT_TYPE_OBJECT_CHANGE = 0x27,
};

/* 64-byte completion queue entry: the bytes that a consumer of event QPs looks at. */
enum {
	MLX5_CQE_BYTES = 64,
	MLX5_CQE_OFF_QPN = 56,         /* be32, low 24 bits */
	MLX5_CQE_OFF_WQE_COUNTER = 60, /* be16 */
	MLX5_CQE_OFF_SIGNATURE = 62,
	MLX5_CQE_OFF_OP_OWN = 63,      /* opcode << 4 | owner bit */
	MLX5_CQE_OP_RESP_SEND = 0x2,
	MLX5_CQE_OP_REQ_ERR = 0xd,
	MLX5_CQE_OP_RESP_ERR = 0xe,
	MLX5_CQE_OP_INVALID = 0xf,
	MLX5_CQE_OWNER_BIT = 0x1, /* rdma-core has the name MLX5_CQE_OWNER_MASK */
};

/* CQ doorbell record: two be32 words in host memory; and the arm register in the UAR page. */
enum {
	MLX5_CQ_DBR_SET_CI = 0,        /* word 0: consumer counter, 24 bits */
	MLX5_CQ_DBR_ARM = 1,           /* word 1: sn << 28 | command << 24 | ci */
	MLX5_CQ_DBR_ARM_SN_SHIFT = 28,
	MLX5_CQ_DBR_ARM_SN_MASK = 0x3,
	MLX5_CQ_CI_MASK = 0xffffff,
	MLX5_CQ_DBR_CMD_ALL = 0 << 24, /* event on the next completion of any kind */
	MLX5_UAR_CQ_DOORBELL = 0x20,   /* be64: arm word << 32 | cqn */
};

/* A receive WQE of the event QP is one 16-byte data segment. */
enum { MLX5_WSEG_BYTES = 16, MLX5_LOG_RQ_STRIDE_SHIFT = 4 };

/* Pages of the device's own translations are at least 4 KiB: log_page_size fields of CQ and QP count
 * from there; those of mkeys and umems are absolute (umem: from 4 KiB). */
enum { MLX5_ADAPTER_PAGE_SHIFT = 12 };

#endif /* MLX5_PRM_CONST_H */

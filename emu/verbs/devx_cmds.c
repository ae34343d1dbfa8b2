/* SPDX-License-Identifier: BSD-3-Clause */
#include <mlx5_prm.h>

#include "devx_cmds.h"

/* Opcodes that this device does not have, but that the kernel passes on: the device refuses
 * them, and not the kernel. (Linux: include/linux/mlx5/mlx5_ifc.h) */
enum {
	OP_QUERY_ADAPTER = 0x101,
	OP_QUERY_ISSI = 0x10a,
	OP_QUERY_MKEY = 0x201,
	OP_QUERY_CQ = 0x402,
	OP_MODIFY_CQ = 0x403,
	OP_RTS2RTS_QP = 0x505,
	OP_SQERR2RTS_QP = 0x506,
	OP_2ERR_QP = 0x507,
	OP_INIT2INIT_QP = 0x50e,
	OP_CREATE_PSV = 0x600,
	OP_CREATE_SRQ = 0x700,
	OP_CREATE_XRC_SRQ = 0x705,
	OP_CREATE_DCT = 0x710,
	OP_CREATE_XRQ = 0x717,
	OP_QUERY_VPORT_STATE = 0x750,
	OP_QUERY_ESW_VPORT_CONTEXT = 0x752,
	OP_QUERY_NIC_VPORT_CONTEXT = 0x754,
	OP_QUERY_ROCE_ADDRESS = 0x760,
	OP_QUERY_HCA_VPORT_CONTEXT = 0x762,
	OP_QUERY_VNIC_ENV = 0x76f,
	OP_QUERY_VPORT_COUNTER = 0x770,
	OP_ALLOC_Q_COUNTER = 0x771,
	OP_CREATE_SCHEDULING_ELEMENT = 0x782,
	OP_ATTACH_TO_MCG = 0x806,
	OP_GET_DROPPED_PACKET_LOG = 0x80a,
	OP_NOP = 0x80d,
	OP_ALLOC_XRCD = 0x80e,
	OP_QUERY_CONG_STATUS = 0x822,
	OP_QUERY_CONG_PARAMS = 0x824,
	OP_QUERY_CONG_STATISTICS = 0x826,
	OP_ADD_VXLAN_UDP_DPORT = 0x827,
	OP_SET_L2_TABLE_ENTRY = 0x829,
	OP_QUERY_LAG = 0x842,
	OP_MODIFY_TIR = 0x901,
	OP_QUERY_TIR = 0x903,
	OP_CREATE_SQ = 0x904,
	OP_CREATE_RQ = 0x908,
	OP_CREATE_RMP = 0x90c,
	OP_MODIFY_TIS = 0x913,
	OP_QUERY_TIS = 0x915,
	OP_QUERY_RQT = 0x919,
	OP_QUERY_FLOW_TABLE = 0x932,
	OP_QUERY_FLOW_GROUP = 0x935,
	OP_QUERY_FLOW_TABLE_ENTRY = 0x937,
	OP_ALLOC_FLOW_COUNTER = 0x939,
	OP_MODIFY_FLOW_TABLE = 0x93c,
	OP_ALLOC_PACKET_REFORMAT_CONTEXT = 0x93d,
	OP_ALLOC_MODIFY_HEADER_CONTEXT = 0x940,
	/* Commands without objects by their nature. */
	OP_GENERAL_START = 0xb00,
	OP_GENERAL_END = 0xd00,
};

/* SET_FLOW_TABLE_ENTRY's op_mod: a new entry, or a change. */
enum { SET_FTE_NEW = 0, SET_FTE_MODIFY = 1 };

/* Where most commands have their object's number; those on flow tables have their own. */
enum {
	ID_OFF = 0x48, ID_WIDTH = 24,
	TABLE_ID_OFF = PRM_destroy_flow_table_in__table_id__OFF,
	GROUP_ID_OFF = PRM_destroy_flow_group_in__group_id__OFF,
	FLOW_INDEX_OFF = PRM_set_fte_in__flow_index__OFF,
};

static uint16_t
opcode_of(const void *in)
{
	return (uint16_t)PRM_GET(general_obj_in_cmd_hdr, in, opcode);
}

static bool
is_one_of(uint16_t opcode, const uint16_t *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (list[i] == opcode)
			return true;
	}
	return false;
}

#define IS_ONE_OF(opcode, list) is_one_of(opcode, list, sizeof(list) / sizeof((list)[0]))

/* ---- create and destroy ---- */

struct creation {
	uint16_t create, destroy;
	uint16_t out_off;          /* of the number in the answer; 0: at din_off of the command */
	uint16_t din_off;          /* of the number in the command that destroys */
	uint8_t width;
	uint8_t dinlen;
};

#define PLAIN(name, op) { MLX5_CMD_OP_##name, MLX5_CMD_OP_##op, ID_OFF, ID_OFF, ID_WIDTH, \
	PRM_BYTES(general_obj_in_cmd_hdr) }

static const struct creation creations[] = {
	{ MLX5_CMD_OP_CREATE_GENERAL_OBJECT, MLX5_CMD_OP_DESTROY_GENERAL_OBJECT,
		PRM_general_obj_out_cmd_hdr__obj_id__OFF, PRM_general_obj_in_cmd_hdr__obj_id__OFF,
		32, PRM_BYTES(general_obj_in_cmd_hdr) },
	PLAIN(CREATE_MKEY, DESTROY_MKEY),
	PLAIN(CREATE_CQ, DESTROY_CQ),
	PLAIN(ALLOC_PD, DEALLOC_PD),
	PLAIN(ALLOC_TRANSPORT_DOMAIN, DEALLOC_TRANSPORT_DOMAIN),
	PLAIN(CREATE_RQT, DESTROY_RQT),
	PLAIN(CREATE_TIR, DESTROY_TIR),
	PLAIN(CREATE_TIS, DESTROY_TIS),
	PLAIN(CREATE_QP, DESTROY_QP),
	{ MLX5_CMD_OP_CREATE_FLOW_TABLE, MLX5_CMD_OP_DESTROY_FLOW_TABLE,
		ID_OFF, TABLE_ID_OFF, ID_WIDTH, PRM_BYTES(destroy_flow_table_in) },
	{ MLX5_CMD_OP_CREATE_FLOW_GROUP, MLX5_CMD_OP_DESTROY_FLOW_GROUP,
		ID_OFF, GROUP_ID_OFF, 32, PRM_BYTES(destroy_flow_group_in) },
	{ MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY, MLX5_CMD_OP_DELETE_FLOW_TABLE_ENTRY,
		0, FLOW_INDEX_OFF, 32, PRM_BYTES(delete_fte_in) },
};

static const struct creation *
find_creation(uint16_t create)
{
	size_t i;

	for (i = 0; i < sizeof(creations) / sizeof(creations[0]); i++) {
		if (creations[i].create == create)
			return &creations[i];
	}
	return NULL;
}

bool
devx_is_create(const void *in, size_t inlen)
{
	static const uint16_t refused_by_device[] = {
		OP_CREATE_RMP, OP_CREATE_SQ, OP_CREATE_RQ, OP_ALLOC_Q_COUNTER,
		OP_ALLOC_FLOW_COUNTER, OP_ALLOC_PACKET_REFORMAT_CONTEXT,
		OP_ALLOC_MODIFY_HEADER_CONTEXT,
		OP_CREATE_SCHEDULING_ELEMENT, OP_ADD_VXLAN_UDP_DPORT, OP_SET_L2_TABLE_ENTRY,
		OP_CREATE_SRQ, OP_CREATE_XRC_SRQ, OP_CREATE_DCT, OP_CREATE_XRQ, OP_ATTACH_TO_MCG,
		OP_ALLOC_XRCD, OP_CREATE_PSV,
	};
	uint16_t opcode = opcode_of(in);

	if (opcode == MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY)
		return inlen >= PRM_BYTES(set_fte_in) &&
			PRM_GET(set_fte_in, in, op_mod) == SET_FTE_NEW;
	return find_creation(opcode) != NULL || IS_ONE_OF(opcode, refused_by_device);
}

size_t
devx_destroy_cmd(const void *in, const void *out, void *din, uint32_t *id)
{
	const struct creation *c = find_creation(opcode_of(in));

	if (c == NULL)
		return 0;
	*id = (uint32_t)(c->out_off != 0 ? prm_get(out, c->out_off, c->width) :
		prm_get(in, c->din_off, c->width));
	/* Tables, groups and entries are destroyed in the table (of the port) that they were
	 * made in. */
	if (c->dinlen == PRM_BYTES(destroy_flow_table_in)) {
		PRM_SET(destroy_flow_table_in, din, other_vport,
			PRM_GET(create_flow_group_in, in, other_vport));
		PRM_SET(destroy_flow_table_in, din, vport_number,
			PRM_GET(create_flow_group_in, in, vport_number));
		PRM_SET(destroy_flow_table_in, din, table_type,
			PRM_GET(create_flow_group_in, in, table_type));
		if (c->create != MLX5_CMD_OP_CREATE_FLOW_TABLE)
			PRM_SET(destroy_flow_table_in, din, table_id,
				PRM_GET(create_flow_group_in, in, table_id));
	}
	if (c->create == MLX5_CMD_OP_CREATE_GENERAL_OBJECT)
		PRM_SET(general_obj_in_cmd_hdr, din, obj_type,
			PRM_GET(general_obj_in_cmd_hdr, in, obj_type));
	PRM_SET(general_obj_in_cmd_hdr, din, opcode, c->destroy);
	PRM_SET(general_obj_in_cmd_hdr, din, uid, PRM_GET(general_obj_in_cmd_hdr, in, uid));
	prm_set(din, c->din_off, c->width, *id);
	return c->dinlen;
}

/* ---- commands on objects ---- */

struct access {
	uint16_t opcode;
	uint16_t create;           /* of the object */
	uint16_t off;
	uint8_t width;
};

#define ON(op, create, off, width) { op, MLX5_CMD_OP_##create, off, width }
#define ON_PLAIN(op, create) ON(op, create, ID_OFF, ID_WIDTH)
#define ON_GENERAL(op) ON(op, CREATE_GENERAL_OBJECT, PRM_general_obj_in_cmd_hdr__obj_id__OFF, 32)

static const struct access modifies[] = {
	ON_GENERAL(MLX5_CMD_OP_MODIFY_GENERAL_OBJECT),
	ON_PLAIN(MLX5_CMD_OP_MODIFY_RQT, CREATE_RQT),
	ON_PLAIN(OP_MODIFY_CQ, CREATE_CQ),
	ON_PLAIN(OP_MODIFY_TIR, CREATE_TIR),
	ON_PLAIN(OP_MODIFY_TIS, CREATE_TIS),
	ON_PLAIN(MLX5_CMD_OP_RST2INIT_QP, CREATE_QP),
	ON_PLAIN(MLX5_CMD_OP_INIT2RTR_QP, CREATE_QP),
	ON_PLAIN(MLX5_CMD_OP_RTR2RTS_QP, CREATE_QP),
	ON_PLAIN(MLX5_CMD_OP_2RST_QP, CREATE_QP),
	ON_PLAIN(OP_RTS2RTS_QP, CREATE_QP),
	ON_PLAIN(OP_SQERR2RTS_QP, CREATE_QP),
	ON_PLAIN(OP_2ERR_QP, CREATE_QP),
	ON_PLAIN(OP_INIT2INIT_QP, CREATE_QP),
	ON(OP_MODIFY_FLOW_TABLE, CREATE_FLOW_TABLE, TABLE_ID_OFF, ID_WIDTH),
	ON(MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY, SET_FLOW_TABLE_ENTRY, FLOW_INDEX_OFF, 32),
};

static const struct access queries[] = {
	ON_GENERAL(MLX5_CMD_OP_QUERY_GENERAL_OBJECT),
	ON_PLAIN(OP_QUERY_MKEY, CREATE_MKEY),
	ON_PLAIN(OP_QUERY_CQ, CREATE_CQ),
	ON_PLAIN(OP_QUERY_RQT, CREATE_RQT),
	ON_PLAIN(OP_QUERY_TIR, CREATE_TIR),
	ON_PLAIN(OP_QUERY_TIS, CREATE_TIS),
	ON_PLAIN(MLX5_CMD_OP_QUERY_QP, CREATE_QP),
	ON(OP_QUERY_FLOW_TABLE, CREATE_FLOW_TABLE, TABLE_ID_OFF, ID_WIDTH),
	ON(OP_QUERY_FLOW_GROUP, CREATE_FLOW_GROUP, GROUP_ID_OFF, 32),
	ON(OP_QUERY_FLOW_TABLE_ENTRY, SET_FLOW_TABLE_ENTRY, FLOW_INDEX_OFF, 32),
};

static bool
find_target(const struct access *list, size_t n, const void *in, size_t inlen,
		struct devx_target *target)
{
	uint16_t opcode = opcode_of(in);
	size_t i;

	for (i = 0; i < n; i++) {
		const struct access *a = &list[i];

		if (a->opcode != opcode)
			continue;
		if ((a->off + a->width) / 8u > inlen)
			return false;
		target->create = a->create;
		target->obj_type = a->create == MLX5_CMD_OP_CREATE_GENERAL_OBJECT ?
			(uint16_t)PRM_GET(general_obj_in_cmd_hdr, in, obj_type) : 0;
		target->id = (uint32_t)prm_get(in, a->off, a->width);
		return true;
	}
	return false;
}

bool
devx_modify_target(const void *in, size_t inlen, struct devx_target *target)
{
	if (opcode_of(in) == MLX5_CMD_OP_SET_FLOW_TABLE_ENTRY &&
			PRM_GET(set_fte_in, in, op_mod) != SET_FTE_MODIFY)
		return false;
	return find_target(modifies, sizeof(modifies) / sizeof(modifies[0]), in, inlen, target);
}

bool
devx_query_target(const void *in, size_t inlen, struct devx_target *target)
{
	return find_target(queries, sizeof(queries) / sizeof(queries[0]), in, inlen, target);
}

/* ---- commands on none ---- */

bool
devx_is_general(const void *in)
{
	static const uint16_t general[] = {
		MLX5_CMD_OP_QUERY_HCA_CAP, OP_QUERY_HCA_VPORT_CONTEXT, OP_QUERY_ESW_VPORT_CONTEXT,
		OP_QUERY_VPORT_STATE, OP_QUERY_ADAPTER, OP_QUERY_ISSI, OP_QUERY_NIC_VPORT_CONTEXT,
		OP_QUERY_ROCE_ADDRESS, OP_QUERY_VNIC_ENV, OP_QUERY_VPORT_COUNTER,
		OP_GET_DROPPED_PACKET_LOG, OP_NOP, OP_QUERY_CONG_STATUS, OP_QUERY_CONG_PARAMS,
		OP_QUERY_CONG_STATISTICS, OP_QUERY_LAG,
	};
	uint16_t opcode = opcode_of(in);

	return (opcode >= OP_GENERAL_START && opcode < OP_GENERAL_END) ||
		IS_ONE_OF(opcode, general);
}

bool
devx_needs_no_uid(const void *in)
{
	static const uint16_t free_for_all[] = {
		MLX5_CMD_OP_QUERY_HCA_CAP, OP_QUERY_HCA_VPORT_CONTEXT, OP_QUERY_ESW_VPORT_CONTEXT,
	};

	return IS_ONE_OF(opcode_of(in), free_for_all);
}

/* ---- umems ---- */

void
devx_set_umem_valid(void *in, size_t inlen)
{
	void *ctx;

	switch (opcode_of(in)) {
	case MLX5_CMD_OP_CREATE_MKEY:
		ctx = PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry);
		/* Indirect keys are made of keys. */
		if (inlen < PRM_OFF(create_mkey_in, memory_key_mkey_entry) + PRM_BYTES(mkc) ||
				PRM_GET(mkc, ctx, access_mode_4_2) != 0 ||
				PRM_GET(mkc, ctx, access_mode_1_0) == MLX5_MKC_ACCESS_MODE_KLM ||
				PRM_GET(mkc, ctx, access_mode_1_0) == MLX5_MKC_ACCESS_MODE_KLM_FBS)
			return;
		PRM_SET(create_mkey_in, in, mkey_umem_valid, 1);
		break;
	case MLX5_CMD_OP_CREATE_CQ:
		if (inlen < PRM_BYTES(create_cq_in))
			return;
		PRM_SET(create_cq_in, in, cq_umem_valid, 1);
		ctx = PRM_ADDR(create_cq_in, in, cq_context);
		PRM_SET(cqc, ctx, dbr_umem_valid, 1);
		break;
	case MLX5_CMD_OP_CREATE_QP:
		if (inlen < PRM_BYTES(create_qp_in))
			return;
		ctx = PRM_ADDR(create_qp_in, in, qpc);
		PRM_SET(qpc, ctx, dbr_umem_valid, 1);
		PRM_SET(create_qp_in, in, wq_umem_valid, 1);
		break;
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptions of the PRM at run time: layouts and their fields, names of opcodes and statuses, and
 * which layouts a command's mailboxes have. All tables are generated from layouts.def and
 * mlx5_prm_const.h, so that a name or an offset is written down once.
 */
#include "mlx5_prm.h"

#define DIM(a) ((uint32_t)(sizeof(a) / sizeof((a)[0])))

/* Layouts may nest one that comes later in the file: declare all of them first. */
#define LAYOUT(l, nbits) static const struct prm_layout layout_##l;
#define FIELD(l, f, bit, w)
#define ARRAY(l, f, bit, w, n)
#define SUB(l, f, bit, s, n)
#define END(l)
#include "layouts.def"
#undef LAYOUT
#undef FIELD
#undef ARRAY
#undef SUB
#undef END

#define LAYOUT(l, nbits) static const struct prm_field fields_##l[] = {
#define FIELD(l, f, bit, w) { .name = #f, .off = (bit), .width = (w), .count = 1 },
#define ARRAY(l, f, bit, w, n) { .name = #f, .off = (bit), .width = (w), .count = (n) },
#define SUB(l, f, bit, s, n) { .name = #f, .off = (bit), .width = PRM_##s##__BITS, .count = (n), \
	.sub = &layout_##s },
#define END(l) };
#include "layouts.def"
#undef LAYOUT
#undef FIELD
#undef ARRAY
#undef SUB
#undef END

#define LAYOUT(l, nbits) static const struct prm_layout layout_##l = { .name = #l, \
	.bits = (nbits), .nfields = DIM(fields_##l), .fields = fields_##l };
#define FIELD(l, f, bit, w)
#define ARRAY(l, f, bit, w, n)
#define SUB(l, f, bit, s, n)
#define END(l)
#include "layouts.def"
#undef LAYOUT

static const struct prm_layout *const layouts[] = {
#define LAYOUT(l, nbits) &layout_##l,
#include "layouts.def"
#undef LAYOUT
#undef FIELD
#undef ARRAY
#undef SUB
#undef END
};

const struct prm_layout *const *
prm_layouts(unsigned int *n)
{
	*n = DIM(layouts);
	return layouts;
}

const struct prm_layout *
prm_layout_find(const char *name)
{
	uint32_t i;

	for (i = 0; i < DIM(layouts); i++) {
		if (strcmp(layouts[i]->name, name) == 0)
			return layouts[i];
	}
	return NULL;
}

/* ---- names ---- */

const char *
prm_opcode_name(uint16_t opcode)
{
	switch (opcode) {
#define X(name, op) case op: return #name;
	PRM_OPCODES(X)
#undef X
	}
	return NULL;
}

int
prm_opcode_by_name(const char *name)
{
	static const struct {
		const char *name;
		uint16_t opcode;
	} opcodes[] = {
#define X(n, op) { #n, op },
		PRM_OPCODES(X)
#undef X
	};
	uint32_t i;

	for (i = 0; i < DIM(opcodes); i++) {
		if (strcmp(opcodes[i].name, name) == 0)
			return opcodes[i].opcode;
	}
	return -1;
}

const char *
prm_status_name(uint8_t status)
{
	switch (status) {
#define X(name, st) case st: return #name;
	PRM_STATUSES(X)
#undef X
	}
	return "?";
}

const char *
prm_virtq_error_name(uint8_t type)
{
	switch (type) {
#define X(name, t) case t: return #name;
	PRM_VIRTQ_ERRORS(X)
#undef X
	}
	return "?";
}

/* ---- mailboxes of commands ---- */

struct cmd_layouts {
	uint16_t opcode;
	uint16_t obj_type; /* general objects; 0 otherwise, and for types that no row names */
	const struct prm_layout *in, *out;
};

#define CMD(op, l) { MLX5_CMD_OP_##op, 0, &layout_##l##_in, &layout_##l##_out }
#define OBJ(op, type, lin, lout) { MLX5_CMD_OP_##op##_GENERAL_OBJECT, type, &layout_##lin, \
	&layout_##lout }
#define HDR_IN general_obj_in_cmd_hdr
#define HDR_OUT general_obj_out_cmd_hdr
/* A modify has the layout of the create; create and modify answer with the header alone. */
#define OBJ_EXPAND(op, type, lin, lout) OBJ(op, type, lin, lout)
#define GENERAL(type, create, query) \
	OBJ_EXPAND(CREATE, type, create, HDR_OUT), \
	OBJ_EXPAND(MODIFY, type, create, HDR_OUT), \
	OBJ_EXPAND(QUERY, type, HDR_IN, query), \
	OBJ_EXPAND(DESTROY, type, HDR_IN, HDR_OUT)

static const struct cmd_layouts cmds[] = {
	CMD(QUERY_HCA_CAP, query_hca_cap),
	CMD(CREATE_MKEY, create_mkey),
	CMD(DESTROY_MKEY, destroy_mkey),
	CMD(QUERY_SPECIAL_CONTEXTS, query_special_contexts),
	CMD(CREATE_CQ, create_cq),
	CMD(DESTROY_CQ, destroy_cq),
	CMD(CREATE_QP, create_qp),
	CMD(DESTROY_QP, destroy_qp),
	CMD(RST2INIT_QP, rst2init_qp),
	CMD(INIT2RTR_QP, init2rtr_qp),
	CMD(RTR2RTS_QP, rtr2rts_qp),
	CMD(2RST_QP, qp_2rst),
	CMD(QUERY_QP, query_qp),
	CMD(ALLOC_PD, alloc_pd),
	CMD(DEALLOC_PD, dealloc_pd),
	CMD(ALLOC_UAR, alloc_uar),
	CMD(DEALLOC_UAR, dealloc_uar),
	CMD(ALLOC_TRANSPORT_DOMAIN, alloc_transport_domain),
	CMD(DEALLOC_TRANSPORT_DOMAIN, dealloc_transport_domain),
	CMD(CREATE_TIR, create_tir),
	CMD(DESTROY_TIR, destroy_tir),
	CMD(CREATE_TIS, create_tis),
	CMD(DESTROY_TIS, destroy_tis),
	CMD(CREATE_RQT, create_rqt),
	CMD(MODIFY_RQT, modify_rqt),
	CMD(DESTROY_RQT, destroy_rqt),
	CMD(CREATE_FLOW_TABLE, create_flow_table),
	CMD(DESTROY_FLOW_TABLE, destroy_flow_table),
	CMD(CREATE_FLOW_GROUP, create_flow_group),
	CMD(DESTROY_FLOW_GROUP, destroy_flow_group),
	CMD(SET_FLOW_TABLE_ENTRY, set_fte),
	CMD(DELETE_FLOW_TABLE_ENTRY, delete_fte),
	CMD(CREATE_UCTX, create_uctx),
	CMD(DESTROY_UCTX, destroy_uctx),
	CMD(CREATE_UMEM, create_umem),
	CMD(DESTROY_UMEM, destroy_umem),
	GENERAL(MLX5_OBJ_TYPE_VIRTIO_NET_Q, create_virtio_net_q_in, query_virtio_net_q_out),
	GENERAL(MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS, create_virtio_q_counters_in,
		query_virtio_q_counters_out),
	/* Objects of any other type: of their mailboxes the headers are known. */
	GENERAL(0, general_obj_in_cmd_hdr, general_obj_out_cmd_hdr),
};

static const struct cmd_layouts *
cmd_find(const void *in, size_t inlen)
{
	const struct cmd_layouts *any = NULL;
	uint16_t opcode, obj_type;
	uint32_t i;

	/* Opcode and object type are in the first two words. */
	if (inlen < PRM_OFF(general_obj_in_cmd_hdr, obj_id))
		return NULL;
	opcode = PRM_GET(general_obj_in_cmd_hdr, in, opcode);
	obj_type = PRM_GET(general_obj_in_cmd_hdr, in, obj_type);
	for (i = 0; i < DIM(cmds); i++) {
		if (cmds[i].opcode != opcode)
			continue;
		if (cmds[i].obj_type == 0)
			any = &cmds[i];
		else if (cmds[i].obj_type == obj_type)
			return &cmds[i];
	}
	return any;
}

const struct prm_layout *
prm_cmd_layout_in(const void *in, size_t inlen)
{
	const struct cmd_layouts *cmd = cmd_find(in, inlen);

	return cmd != NULL ? cmd->in : NULL;
}

const struct prm_layout *
prm_cmd_layout_out(const void *in, size_t inlen)
{
	const struct cmd_layouts *cmd = cmd_find(in, inlen);

	return cmd != NULL ? cmd->out : NULL;
}

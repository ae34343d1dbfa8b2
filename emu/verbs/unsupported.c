/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this face does not have of libibverbs and libmlx5: it fails as on a device that lacks it,
 * and says so once. Without these the real libraries would be handed contexts that are not
 * theirs.
 *
 * Functions that touch no device (names of states, conversions of rates) are not here: the real
 * ones do.
 */
#include <stdio.h>

#include "face.h"

int
face_unsupported(atomic_flag *said, const char *what)
{
	if (!atomic_flag_test_and_set(said))
		fprintf(stderr, "mlx5-emu: %s is not supported by the emulated device\n", what);
	return -EOPNOTSUPP;
}

/* ---- operations behind inline functions of verbs.h ---- */

/* Each is called with arguments that it ignores, as its callers' types do not matter for
 * failing. */
#define OP_PTR(op) \
	static void *op##_op(void) \
	{ \
		return face_null(FACE_UNSUPPORTED("the operation " #op)); \
	}
#define OP_INT(op) \
	static int op##_op(void) \
	{ \
		return face_errno(FACE_UNSUPPORTED("the operation " #op)); \
	}

#define OPS_PTR(X) \
	X(alloc_dm) X(alloc_parent_domain) X(alloc_td) X(create_counters) X(create_cq_ex) \
	X(create_flow_action_esp) X(create_qp_ex) X(create_rwq_ind_table) X(create_srq_ex) \
	X(create_wq) X(ibv_create_flow) X(open_qp) X(open_xrcd) X(reg_dm_mr)

#define OPS_INT(X) \
	X(advise_mr) X(attach_counters_point_flow) X(close_xrcd) X(dealloc_td) X(destroy_counters) \
	X(destroy_flow_action) X(destroy_rwq_ind_table) X(destroy_wq) X(free_dm) X(get_srq_num) \
	X(modify_cq) X(modify_flow_action_esp) X(modify_qp_rate_limit) X(modify_wq) \
	X(post_srq_ops) X(query_rt_values) X(read_counters)

/* In struct ibv_context_ops. Those of the data path need queues, which can't be made. */
#define OLD_OPS_PTR(X) X(alloc_mw)

OPS_PTR(OP_PTR)
OPS_INT(OP_INT)
OLD_OPS_PTR(OP_PTR)

void
face_fill_unsupported(struct verbs_context *verbs)
{
#define FILL(op) \
	if (verbs->op == NULL) \
		verbs->op = (__typeof__(verbs->op))(void (*)(void))op##_op;
	OPS_PTR(FILL)
	OPS_INT(FILL)
#undef FILL
#define FILL(op) verbs->context.ops.op = (__typeof__(verbs->context.ops.op))(void (*)(void))op##_op;
	OLD_OPS_PTR(FILL)
#undef FILL
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Functions of libibverbs and libmlx5 that fail: by name alone, in the place of the real ones.
 * Their arguments are ignored, so that they are declared without; this file includes none of the
 * libraries' headers, which declare them with.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

#include "unsupported.h"

static int
unsupported(atomic_flag *said, const char *name)
{
	errno = -face_unsupported(said, name);
	return errno;
}

#define FAILS(type, name, value) \
	type name(void); \
	type \
	name(void) \
	{ \
		static atomic_flag said = ATOMIC_FLAG_INIT; \
		int err = unsupported(&said, #name "()"); \
		(void)err; \
		return value; \
	}

/* Return NULL and set errno; return an errno; return -1 and set errno; return nothing. */
#define PTR(name) FAILS(void *, name, NULL)
#define INT(name) FAILS(int, name, err)
#define MINUS(name) FAILS(int, name, -1)
#define VOID(name) FAILS(void, name, )

/* ---- libibverbs ---- */

PTR(ibv_create_ah)
PTR(ibv_create_ah_from_wc)
PTR(ibv_create_comp_channel)
PTR(ibv_create_cq)
PTR(ibv_create_qp)
PTR(ibv_create_srq)
PTR(ibv_import_device)
PTR(ibv_import_dm)
PTR(ibv_import_mr)
PTR(ibv_import_pd)
PTR(ibv_reg_dmabuf_mr)

INT(ibv_attach_mcast)
INT(ibv_destroy_ah)
INT(ibv_destroy_comp_channel)
INT(ibv_destroy_cq)
INT(ibv_destroy_qp)
INT(ibv_destroy_srq)
INT(ibv_detach_mcast)
INT(ibv_modify_qp)
INT(ibv_modify_srq)
INT(ibv_query_ece)
INT(ibv_query_qp)
INT(ibv_query_srq)
INT(ibv_resize_cq)
INT(ibv_resolve_eth_l2_from_gid)
INT(ibv_set_ece)

MINUS(ibv_get_cq_event)
MINUS(ibv_init_ah_from_wc)
/* IBV_REREG_MR_ERR_INPUT: the old region stays as it is. */
MINUS(ibv_rereg_mr)

/* "Not in order" is always a right answer. */
FAILS(int, ibv_query_qp_data_in_order, 0)

VOID(ibv_ack_cq_events)
VOID(ibv_unimport_dm)
VOID(ibv_unimport_mr)
VOID(ibv_unimport_pd)

/* ---- libmlx5 ---- */

PTR(mlx5dv_alloc_dm)
PTR(mlx5dv_create_cq)
PTR(mlx5dv_create_flow_action_esp)
PTR(mlx5dv_create_flow_action_modify_header)
PTR(mlx5dv_create_flow_action_packet_reformat)
PTR(mlx5dv_create_mkey)
PTR(mlx5dv_create_qp)
PTR(mlx5dv_create_steering_anchor)
PTR(mlx5dv_create_wq)
PTR(mlx5dv_crypto_login_create)
PTR(mlx5dv_dek_create)
PTR(mlx5dv_devx_alloc_msi_vector)
PTR(mlx5dv_devx_create_cmd_comp)
PTR(mlx5dv_devx_create_eq)
PTR(mlx5dv_dm_map_op_addr)
PTR(mlx5dv_dr_action_create_aso)
PTR(mlx5dv_dr_action_create_dest_array)
PTR(mlx5dv_dr_action_create_dest_ib_port)
PTR(mlx5dv_dr_action_create_dest_ibv_qp)
PTR(mlx5dv_dr_action_create_dest_root_table)
PTR(mlx5dv_dr_action_create_dest_vport)
PTR(mlx5dv_dr_action_create_flow_counter)
PTR(mlx5dv_dr_action_create_flow_meter)
PTR(mlx5dv_dr_action_create_flow_sampler)
PTR(mlx5dv_dr_action_create_modify_header)
PTR(mlx5dv_dr_action_create_packet_reformat)
PTR(mlx5dv_dr_action_create_pop_vlan)
PTR(mlx5dv_dr_action_create_push_vlan)
PTR(mlx5dv_get_vfio_device_list)
PTR(mlx5dv_pp_alloc)
PTR(mlx5dv_qp_ex_from_ibv_qp_ex)
PTR(mlx5dv_sched_leaf_create)
PTR(mlx5dv_sched_node_create)

INT(_mlx5dv_mkey_check)
INT(_mlx5dv_query_port)
INT(mlx5dv_crypto_login)
INT(mlx5dv_crypto_login_destroy)
INT(mlx5dv_crypto_login_query)
INT(mlx5dv_crypto_login_query_state)
INT(mlx5dv_crypto_logout)
INT(mlx5dv_dci_stream_id_reset)
INT(mlx5dv_dek_destroy)
INT(mlx5dv_dek_query)
INT(mlx5dv_destroy_mkey)
INT(mlx5dv_destroy_steering_anchor)
INT(mlx5dv_devx_cq_modify)
INT(mlx5dv_devx_cq_query)
INT(mlx5dv_devx_destroy_eq)
INT(mlx5dv_devx_free_msi_vector)
INT(mlx5dv_devx_get_async_cmd_comp)
INT(mlx5dv_devx_ind_tbl_modify)
INT(mlx5dv_devx_ind_tbl_query)
INT(mlx5dv_devx_obj_query_async)
INT(mlx5dv_devx_qp_modify)
INT(mlx5dv_devx_qp_query)
INT(mlx5dv_devx_srq_modify)
INT(mlx5dv_devx_srq_query)
INT(mlx5dv_devx_wq_modify)
INT(mlx5dv_devx_wq_query)
INT(mlx5dv_dr_action_modify_aso)
INT(mlx5dv_dr_action_modify_flow_meter)
INT(mlx5dv_dr_aso_other_domain_link)
INT(mlx5dv_dr_aso_other_domain_unlink)
INT(mlx5dv_dump_dr_domain)
INT(mlx5dv_dump_dr_matcher)
INT(mlx5dv_dump_dr_rule)
INT(mlx5dv_dump_dr_table)
INT(mlx5dv_get_clock_info)
INT(mlx5dv_map_ah_to_qp)
INT(mlx5dv_modify_qp_lag_port)
INT(mlx5dv_modify_qp_sched_elem)
INT(mlx5dv_modify_qp_udp_sport)
INT(mlx5dv_qp_cancel_posted_send_wrs)
INT(mlx5dv_query_qp_lag_port)
INT(mlx5dv_reserved_qpn_alloc)
INT(mlx5dv_reserved_qpn_dealloc)
INT(mlx5dv_sched_leaf_destroy)
INT(mlx5dv_sched_leaf_modify)
INT(mlx5dv_sched_node_destroy)
INT(mlx5dv_sched_node_modify)
INT(mlx5dv_vfio_get_events_fd)
INT(mlx5dv_vfio_process_events)

VOID(mlx5dv_devx_destroy_cmd_comp)
VOID(mlx5dv_pp_free)

/* ---- what came after rdma-core 44, up to 64 ---- */

PTR(ibv_alloc_buf)
PTR(ibv_alloc_dmah)
PTR(ibv_create_comp_cntr)
PTR(ibv_reg_buf_mr)
PTR(ibv_reg_mr_ex)
PTR(mlx5dv_devx_obj_import)
PTR(mlx5dv_devx_umem_import)
PTR(mlx5dv_reg_dmabuf_mr)
PTR(mlx5dv_var_import)

INT(_ibv_query_comp_cntr_caps)
INT(ibv_dealloc_dmah)
INT(ibv_destroy_comp_cntr)
INT(ibv_inc_comp_cntr)
INT(ibv_inc_err_comp_cntr)
INT(ibv_qp_attach_comp_cntr)
INT(ibv_query_port_speed)
INT(ibv_read_comp_cntr)
INT(ibv_read_err_comp_cntr)
INT(ibv_set_comp_cntr)
INT(ibv_set_err_comp_cntr)
INT(mlx5dv_devx_obj_export)
INT(mlx5dv_devx_umem_export)
INT(mlx5dv_get_data_direct_sysfs_path)
INT(mlx5dv_var_export)

MINUS(ibv_dm_export_dmabuf_fd)
MINUS(ibv_export_buf_dmabuf_fd)
MINUS(mlx5dv_devx_uar_export_dmabuf_fd)

VOID(_mlx5dv_get_export_sizes)
VOID(ibv_free_buf)
VOID(mlx5dv_devx_obj_unimport)
VOID(mlx5dv_devx_umem_unimport)
VOID(mlx5dv_var_unimport)

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DevX commands, typed. The only place of the driver that builds a mailbox.
 *
 * Every function runs one firmware command and waits for it. Errors are negative errnos, logged
 * here with the device's name, the object and the firmware's status and syndrome. Any thread; no
 * locks.
 */
#ifndef MLX5P_DEVX_H
#define MLX5P_DEVX_H

#include <stdbool.h>
#include <stdint.h>

#include <infiniband/mlx5dv.h>

struct mlx5p_hw;

/* A device object that DevX created; obj is NULL when there is none. */
struct mlx5p_obj {
	struct mlx5dv_devx_obj *obj;
	uint32_t id;
};

static inline bool
mlx5p_obj_exists(const struct mlx5p_obj *o)
{
	return o->obj != NULL;
}

/** Destroy an object; a no-op when there is none. @return 0, or a negative errno, logged: the
 * object is still there. */
int mlx5p_devx_try_destroy(const struct mlx5p_hw *hw, struct mlx5p_obj *o, const char *what);

/** The same, for good: an object that the card does not let go leaks. */
void mlx5p_devx_destroy(const struct mlx5p_hw *hw, struct mlx5p_obj *o, const char *what);

/* ---- capabilities: PRM section "HCA capabilities", general and virtio emulation ---- */

struct mlx5p_caps {
	/* cmd_hca_cap */
	uint64_t general_obj_types;
	uint32_t log_max_rqt_size;
	uint32_t num_lag_ports;
	uint32_t qp_ts_format;
	/* virtio_emulation_cap */
	bool eth_frame_offload_type;
	bool virtio_version_1_0;
	bool tso_ipv4, tso_ipv6, tx_csum, rx_csum;
	uint8_t event_mode;            /* bitmap of MLX5_VIRTQ_EVENT_MODE_* */
	uint8_t virtio_queue_type;     /* bitmap of MLX5_VIRTQ_TYPE_* */
	bool vnet_modify_ext, virtio_net_q_addr_modify, virtio_q_index_modify;
	bool freeze_to_rdy_supported, desc_group_mkey_supported;
	uint32_t max_num_virtio_queues;
	uint64_t doorbell_bar_offset;
	struct { uint32_t a, b; } umem[3]; /* bytes of queue memory: a * queue size + b */
};

int mlx5p_devx_query_caps(const struct mlx5p_hw *hw, struct mlx5p_caps *caps);

/* ---- memory keys ---- */

/* One entry of an indirect key: [address, address + bytes) of @mkey. */
struct mlx5p_klm {
	uint64_t address;
	uint32_t bytes;                /* 1 .. 2 GiB */
	uint32_t mkey;
};

/* Entries that fit into one CREATE_MKEY through the kernel (its attributes end at 64 KiB). */
#define MLX5P_KLM_MAX 4064

/** Indirect key over @p n entries in a row, from @p start for @p len bytes. o->id is the key. */
int mlx5p_devx_create_klm(const struct mlx5p_hw *hw, uint64_t start, uint64_t len,
		const struct mlx5p_klm *klm, uint32_t n, struct mlx5p_obj *o);

/** Direct key over a umem (mr_backend=devx); addresses start at @p iova; @p read_only: nobody
 * writes through it. o->id is the key. */
int mlx5p_devx_create_umem_mkey(const struct mlx5p_hw *hw, uint32_t umem_id, uint64_t iova,
		uint64_t len, bool read_only, struct mlx5p_obj *o);

/* ---- completion queue and queue pairs of the events ---- */

/** CQ of 1 << @p log_size entries that collapses into entry 0. Entries at the start of the umem,
 * doorbell record at @p dbr_off. */
int mlx5p_devx_create_cq(const struct mlx5p_hw *hw, uint32_t umem_id, uint32_t dbr_off,
		uint32_t log_size, struct mlx5p_obj *o);

/** The queue pair that firmware sends events from: no queues of its own. */
int mlx5p_devx_create_fw_qp(const struct mlx5p_hw *hw, struct mlx5p_obj *o);

/** Our end: a receive queue of 1 << @p log_size 16-byte WQEs at the start of the umem. */
int mlx5p_devx_create_sw_qp(const struct mlx5p_hw *hw, uint32_t cqn, uint32_t umem_id,
		uint32_t dbr_off, uint32_t log_size, struct mlx5p_obj *o);

/** QP state steps by MLX5_CMD_OP_*: RST2INIT, INIT2RTR (connects to @p remote_qpn), RTR2RTS,
 * 2RST. */
int mlx5p_devx_modify_qp(const struct mlx5p_hw *hw, struct mlx5p_obj *qp, uint16_t opcode,
		uint32_t remote_qpn);

/* ---- virtqueues ---- */

/* How long the card may hold back the report of completions: 0 is its default. */
struct mlx5p_moderation {
	uint32_t latency_mode;         /* 1: counted from the first completion, 2: from the last */
	uint32_t max_latency_us;       /* 12 bits */
	uint32_t max_pending;          /* completions, 16 bits */
};

/* Where the card marks the guest pages that it writes to: a bit each. */
struct mlx5p_bitmap {
	uint32_t mkey;                 /* 0: it marks none */
	uint32_t size;                 /* bytes */
	uint64_t addr;                 /* within mkey */
};

struct mlx5p_virtq_attr {
	uint16_t index, size;
	bool packed;
	uint16_t hw_available_index, hw_used_index;
	/* Guest physical. Of a packed ring: descriptors, device area, driver area. */
	uint64_t desc_addr, used_addr, available_addr;
	uint64_t features;             /* negotiated virtio features */
	uint32_t mkey;                 /* 0: none yet, for an object that stays in INIT */
	uint32_t ring_mkey;            /* for the ring itself (desc_group_mkey); 0: as mkey */
	uint32_t event_qpn;
	uint32_t tisn;
	uint32_t counter_set_id;       /* 0: none */
	struct { uint32_t id, size; } umem[3];
	struct mlx5p_moderation moderation;
	struct mlx5p_bitmap bitmap;
};

/** Create a virtqueue object, in INIT. The bitmap is left out: it takes a modify. */
int mlx5p_devx_create_virtq(const struct mlx5p_hw *hw, const struct mlx5p_virtq_attr *a,
		struct mlx5p_obj *o);

/** Modify what @p select names (MLX5_VIRTQ_MODIFY_*) in one command; @p state counts where the
 * state is among it. */
int mlx5p_devx_modify_virtq(const struct mlx5p_hw *hw, struct mlx5p_obj *o, uint64_t select,
		uint8_t state, const struct mlx5p_virtq_attr *a);

/* Room for what firmware refuses, in words. */
enum { MLX5P_DEVX_WHY = 128 };

/** Likewise, but a refusal is not logged: @p why gets the words for it. */
int mlx5p_devx_try_modify_virtq(struct mlx5p_obj *o, uint64_t select, uint8_t state,
		const struct mlx5p_virtq_attr *a, char *why, size_t len);

struct mlx5p_virtq_status {
	uint8_t state;
	uint8_t error_type;
	uint16_t hw_available_index, hw_used_index;
};

int mlx5p_devx_query_virtq(const struct mlx5p_hw *hw, struct mlx5p_obj *o, uint16_t index,
		struct mlx5p_virtq_status *status);

struct mlx5p_virtq_counters {
	uint64_t received_desc, completed_desc;
	uint32_t error_cqes, bad_desc_errors, exceed_max_chain, invalid_buffer;
};

int mlx5p_devx_create_counters(const struct mlx5p_hw *hw, struct mlx5p_obj *o);
int mlx5p_devx_query_counters(const struct mlx5p_hw *hw, struct mlx5p_obj *o,
		struct mlx5p_virtq_counters *counters);

/* ---- transport and steering ---- */

int mlx5p_devx_create_td(const struct mlx5p_hw *hw, struct mlx5p_obj *o);
int mlx5p_devx_create_tis(const struct mlx5p_hw *hw, uint32_t td, uint8_t lag_port,
		struct mlx5p_obj *o);

/** Receive queue table over virtqueues; @p n is a power of two up to 1 << log_max_rqt_size. */
int mlx5p_devx_create_rqt(const struct mlx5p_hw *hw, const uint32_t *virtq_ids, uint32_t n,
		struct mlx5p_obj *o);
int mlx5p_devx_modify_rqt(const struct mlx5p_hw *hw, struct mlx5p_obj *o, const uint32_t *virtq_ids,
		uint32_t n);

struct mlx5p_tir_attr {
	uint32_t rqt;
	uint8_t l3_prot_type, l4_prot_type; /* MLX5_L3_PROT_TYPE_*, MLX5_L4_PROT_TYPE_* */
	uint32_t selected_fields;      /* MLX5_HASH_FIELD_SEL_*; 0: everything to one queue */
};

int mlx5p_devx_create_tir(const struct mlx5p_hw *hw, const struct mlx5p_tir_attr *a,
		struct mlx5p_obj *o);

#endif /* MLX5P_DEVX_H */

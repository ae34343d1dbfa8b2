/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtio-net queues and their counters: the objects, their states, their commands.
 */
#include "engine.h"

/* Syndromes of the commands on VIRTIO_NET_Q. */
enum {
	SYN_NO_ROOM = 1,           /* more queues than max_num_virtio_queues */
	SYN_NOT_FOUND,             /* no such queue, or another user context's */
	SYN_STATE_AT_CREATION,     /* a queue starts in INIT */
	SYN_INDEX,                 /* queue_index: not below max_num_virtio_queues */
	SYN_INDEX_USED,            /* another queue object has this index */
	SYN_SIZE,                  /* queue_size: not a power of two, or out of range */
	SYN_TYPE,                  /* virtio_q_type: not offered */
	SYN_OFFLOAD_TYPE,          /* offload_type: not offered */
	SYN_VERSION,               /* virtio_version_1_0: not offered */
	SYN_FEATURES,              /* a queue feature that is not offered */
	SYN_EVENT_MODE,            /* event_mode: not offered */
	SYN_EVENT_QP,              /* no such QP */
	SYN_EVENT_QP_KIND,         /* not a firmware QP, or one that another queue uses */
	SYN_MKEY,                  /* no such memory key */
	SYN_NO_MKEY,               /* a queue needs its memory key to become ready */
	SYN_DESC_MKEY,             /* no such memory key, or desc_group_mkey_supported is 0 */
	SYN_ADDRESS,               /* a ring address that is not aligned as virtio asks */
	SYN_UMEM,                  /* no such umem */
	SYN_UMEM_SIZE,             /* umem_*_size below a * queue_size + b */
	SYN_UMEM_RANGE,            /* offset and size don't fit into the umem */
	SYN_COUNTERS,              /* no such counter set */
	SYN_PD,
	SYN_TIS,                   /* no such TIS; a transmit queue needs one */
	SYN_EMULATION,             /* fields of an emulated PCI function */
	SYN_SELECT,                /* modify_field_select: nothing, or a bit without a meaning */
	SYN_SELECT_STATE,          /* a field that can't change in this state */
	SYN_SELECT_CAP,            /* a field that can't change on this device */
	SYN_TRANSITION,            /* a change of state that there isn't */
	SYN_DIRTY_BITMAP,          /* no such memory key, or logging without a bitmap */
	SYN_RING_INDEX,            /* hw_*_index is no position in this packed ring */
};

/* Syndromes of the commands on VIRTIO_Q_COUNTERS. */
enum {
	SYN_COUNTERS_NO_ROOM = 1,
	SYN_COUNTERS_NOT_FOUND,
	SYN_COUNTERS_BUSY,         /* a queue counts here */
};

/* virtio_net_q_object.queue_feature_bit_mask_12_3 (10 bits from tso_ipv4 on) and ..._2_0. */
enum { FEATURES_HIGH_WIDTH = 10, FEATURES_LOW_WIDTH = 3 };

/* Alignment of the parts of a ring, virtio 1.x sections 2.7 and 2.8: what its driver writes is the
 * available ring or the driver's event suppression structure. */
enum { DESC_ALIGN = 16, AVAIL_ALIGN_SPLIT = 2, AVAIL_ALIGN_PACKED = 4, USED_ALIGN = 4 };

#define VDPA_CAP(dev, field) PRM_GET(virtio_emulation_cap, (dev)->caps.vdpa, field)

/* ---- states ---- */

/*
 * Who makes which change of state:
 *
 *	from \ to | INIT      RDY       SUSPEND   ERR
 *	INIT      | -         driver    never(1)  never(2)
 *	RDY       | never(3)  never(4)  driver    device
 *	SUSPEND   | never(3)  resume(5) never(4)  never(2)
 *	ERR       | never(6)  never(6)  never(6)  -
 *
 *	(1) there is nothing to suspend    (2) a queue that does nothing can't do wrong
 *	(3) a queue starts over by being destroyed and created
 *	(4) not a change: Linux's mlx5_vdpa refuses to send it
 *	(5) driver, where the device has freeze_to_rdy_supported
 *	(6) the driver queries the queue, then destroys it
 */
enum mover { NEVER, DRIVER, RESUME, DEVICE };

static const enum mover moves[][MLX5_VIRTQ_STATE_ERR + 1] = {
	[MLX5_VIRTQ_STATE_INIT] = { [MLX5_VIRTQ_STATE_RDY] = DRIVER },
	[MLX5_VIRTQ_STATE_RDY] = {
		[MLX5_VIRTQ_STATE_SUSPEND] = DRIVER,
		[MLX5_VIRTQ_STATE_ERR] = DEVICE,
	},
	[MLX5_VIRTQ_STATE_SUSPEND] = { [MLX5_VIRTQ_STATE_RDY] = RESUME },
	[MLX5_VIRTQ_STATE_ERR] = { 0 },
};

static bool
driver_may_move(const struct emu_virtq *vq, uint32_t to)
{
	enum mover mover;

	if (to > MLX5_VIRTQ_STATE_ERR)
		return false;
	mover = moves[vq->state][to];
	return mover == DRIVER ||
		(mover == RESUME && VDPA_CAP(vq->obj.dev, freeze_to_rdy_supported));
}

/* The one place where a state changes. A command finds the queue at rest, so that suspending it has
 * nothing to wait for: every chain that was taken is completed and published. */
static void
transition(struct emu_virtq *vq, uint8_t to)
{
	if (vq->state == MLX5_VIRTQ_STATE_RDY) {
		emu_engine_remove(vq);
		emu_ring_reset(vq);
	}
	if (to == MLX5_VIRTQ_STATE_RDY)
		emu_engine_add(vq);
	vq->state = to;
}

/* virtio_q.error_type, as NVIDIA's SNAP library names the values. */
static uint8_t
error_type(enum emu_virtq_fault fault)
{
	enum { NO_ERROR, NETWORK, BAD_DESCRIPTOR, INVALID_BUFFER, LIST_EXCEEDS_LIMIT, INTERNAL };
	static const uint8_t types[EMU_FAULTS] = {
		[EMU_FAULT_NONE] = NO_ERROR,
		[EMU_FAULT_BAD_DESC] = BAD_DESCRIPTOR,
		[EMU_FAULT_LONG_CHAIN] = LIST_EXCEEDS_LIMIT,
		[EMU_FAULT_BAD_BUFFER] = INVALID_BUFFER,
		[EMU_FAULT_RING_ACCESS] = INTERNAL,
	};

	return types[fault];
}

void
emu_virtq_fail(struct emu_virtq *vq, enum emu_virtq_fault fault)
{
	vq->fault = fault;
	if (vq->counters != NULL)
		vq->counters->faults[fault]++;
	transition(vq, MLX5_VIRTQ_STATE_ERR);
	emu_event(vq->obj.dev, MLX5_EVENT_TYPE_OBJECT_CHANGE, MLX5_OBJ_TYPE_VIRTIO_NET_Q,
		vq->obj.id, 0);
}

void
emu_virtq_notify(struct emu_virtq *vq)
{
	struct emu_dev *dev = vq->obj.dev;
	bool owed = vq->event_qp != NULL && !emu_qp_event(dev, vq->cfg.event_qpn);

	if (owed && !vq->event_owed)
		atomic_fetch_add(&dev->engine->npending, 1);
	else if (!owed && vq->event_owed)
		atomic_fetch_sub(&dev->engine->npending, 1);
	vq->event_owed = owed;
}

/* ---- fields: mailbox <-> struct emu_virtq_cfg ---- */

/* What MODIFY can select: where it needs a capability, its bit; whether it may change in RDY. */
#define NO_CAP UINT32_MAX
#define CAP(field) PRM_virtio_emulation_cap__##field##__OFF
static const struct {
	uint64_t bit;
	uint32_t cap;
	bool in_rdy;
} selectable[] = {
	{ MLX5_VIRTQ_MODIFY_STATE, NO_CAP, true },
	{ MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS, NO_CAP, true },
	{ MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE, NO_CAP, true },
	{ MLX5_VIRTQ_MODIFY_QUEUE_PERIOD, CAP(vnet_modify_ext), false },
	{ MLX5_VIRTQ_MODIFY_ADDRS, CAP(virtio_net_q_addr_modify), false },
	{ MLX5_VIRTQ_MODIFY_AVAIL_IDX, CAP(virtio_q_index_modify), false },
	{ MLX5_VIRTQ_MODIFY_USED_IDX, CAP(virtio_q_index_modify), false },
	{ MLX5_VIRTQ_MODIFY_Q_TYPE, CAP(vnet_modify_ext), false },
	{ MLX5_VIRTQ_MODIFY_VIRTIO_VERSION, CAP(vnet_modify_ext), false },
	{ MLX5_VIRTQ_MODIFY_Q_MKEY, CAP(vnet_modify_ext), false },
	{ MLX5_VIRTQ_MODIFY_QUEUE_FEATURES, CAP(vnet_modify_ext), false },
	{ MLX5_VIRTQ_MODIFY_EVENT_MODE, CAP(vnet_modify_ext), false },
	{ MLX5_VIRTQ_MODIFY_DESC_GROUP_MKEY, CAP(desc_group_mkey_supported), false },
};

static uint16_t
features_get(const void *obj)
{
	uint64_t high = prm_get(obj, PRM_virtio_net_q_object__tso_ipv4__OFF, FEATURES_HIGH_WIDTH);

	return (uint16_t)(high << FEATURES_LOW_WIDTH |
		PRM_GET(virtio_net_q_object, obj, queue_feature_bit_mask_2_0));
}

static void
features_set(void *obj, uint16_t features)
{
	prm_set(obj, PRM_virtio_net_q_object__tso_ipv4__OFF, FEATURES_HIGH_WIDTH,
		features >> FEATURES_LOW_WIDTH);
	PRM_SET(virtio_net_q_object, obj, queue_feature_bit_mask_2_0, features);
}

/* The selected fields of a mailbox. */
static void
cfg_read(struct emu_virtq_cfg *cfg, const void *obj, uint64_t select)
{
	const void *q = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);

	if (select & MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS) {
		cfg->dirty_mkey = PRM_GET(virtio_net_q_object, obj, dirty_bitmap_mkey);
		cfg->dirty_addr = PRM_GET(virtio_net_q_object, obj, dirty_bitmap_addr);
		cfg->dirty_size = PRM_GET(virtio_net_q_object, obj, dirty_bitmap_size);
		cfg->log_page = PRM_GET(virtio_net_q_object, obj, vhost_log_page);
	}
	if (select & MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE)
		cfg->dirty_enable = PRM_GET(virtio_net_q_object, obj, dirty_bitmap_dump_enable);
	if (select & MLX5_VIRTQ_MODIFY_QUEUE_PERIOD) {
		cfg->period_mode = PRM_GET(virtio_q, q, queue_period_mode);
		cfg->period_us = PRM_GET(virtio_q, q, queue_period_us);
		cfg->max_count = PRM_GET(virtio_q, q, queue_max_count);
	}
	if (select & MLX5_VIRTQ_MODIFY_ADDRS) {
		cfg->desc_addr = PRM_GET(virtio_q, q, desc_addr);
		cfg->used_addr = PRM_GET(virtio_q, q, used_addr);
		cfg->avail_addr = PRM_GET(virtio_q, q, available_addr);
	}
	if (select & MLX5_VIRTQ_MODIFY_AVAIL_IDX)
		cfg->hw_avail = PRM_GET(virtio_net_q_object, obj, hw_available_index);
	if (select & MLX5_VIRTQ_MODIFY_USED_IDX)
		cfg->hw_used = PRM_GET(virtio_net_q_object, obj, hw_used_index);
	if (select & MLX5_VIRTQ_MODIFY_Q_TYPE)
		cfg->type = PRM_GET(virtio_q, q, virtio_q_type);
	if (select & MLX5_VIRTQ_MODIFY_VIRTIO_VERSION)
		cfg->version_1 = PRM_GET(virtio_q, q, virtio_version_1_0);
	if (select & MLX5_VIRTQ_MODIFY_Q_MKEY)
		cfg->mkey = PRM_GET(virtio_q, q, virtio_q_mkey);
	if (select & MLX5_VIRTQ_MODIFY_QUEUE_FEATURES)
		cfg->features = features_get(obj);
	if (select & MLX5_VIRTQ_MODIFY_EVENT_MODE) {
		cfg->event_mode = PRM_GET(virtio_q, q, event_mode);
		cfg->event_qpn = PRM_GET(virtio_q, q, event_qpn_or_msix);
	}
	if (select & MLX5_VIRTQ_MODIFY_DESC_GROUP_MKEY)
		cfg->desc_mkey = PRM_GET(virtio_q, q, desc_group_mkey);
}

static void
cfg_write(const struct emu_virtq_cfg *cfg, void *obj)
{
	void *q = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);

	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_mkey, cfg->dirty_mkey);
	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_addr, cfg->dirty_addr);
	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_size, cfg->dirty_size);
	PRM_SET(virtio_net_q_object, obj, vhost_log_page, cfg->log_page);
	PRM_SET(virtio_net_q_object, obj, dirty_bitmap_dump_enable, cfg->dirty_enable);
	PRM_SET(virtio_net_q_object, obj, hw_available_index, cfg->hw_avail);
	PRM_SET(virtio_net_q_object, obj, hw_used_index, cfg->hw_used);
	features_set(obj, cfg->features);
	PRM_SET(virtio_q, q, virtio_q_type, cfg->type);
	PRM_SET(virtio_q, q, event_mode, cfg->event_mode);
	PRM_SET(virtio_q, q, event_qpn_or_msix, cfg->event_qpn);
	PRM_SET(virtio_q, q, virtio_version_1_0, cfg->version_1);
	PRM_SET(virtio_q, q, desc_addr, cfg->desc_addr);
	PRM_SET(virtio_q, q, used_addr, cfg->used_addr);
	PRM_SET(virtio_q, q, available_addr, cfg->avail_addr);
	PRM_SET(virtio_q, q, virtio_q_mkey, cfg->mkey);
	PRM_SET(virtio_q, q, desc_group_mkey, cfg->desc_mkey);
	PRM_SET(virtio_q, q, queue_period_mode, cfg->period_mode);
	PRM_SET(virtio_q, q, queue_period_us, cfg->period_us);
	PRM_SET(virtio_q, q, queue_max_count, cfg->max_count);
}

/* ---- checks that CREATE and MODIFY share ---- */

/* A key that DMA can be tried with. It is not held: a key that is destroyed under a queue is a
 * fault of the queue's next access. Keys of memory regions belong to the kernel; what protects them
 * is their protection domain, which every access checks. */
static bool
mkey_exists(struct emu_dev *dev, uint32_t mkey)
{
	return mkey == EMU_NULL_MKEY ||
		emu_obj_find(dev, EMU_MKEY, mkey >> EMU_MKEY_INDEX_SHIFT, 0) != NULL;
}

static uint16_t
features_offered(const struct emu_dev *dev)
{
	uint16_t offered = 0;

	offered |= VDPA_CAP(dev, tso_ipv4) ? EMU_FEATURE_TSO_IPV4 : 0;
	offered |= VDPA_CAP(dev, tso_ipv6) ? EMU_FEATURE_TSO_IPV6 : 0;
	offered |= VDPA_CAP(dev, tx_csum) ? EMU_FEATURE_TX_CSUM : 0;
	offered |= VDPA_CAP(dev, rx_csum) ? EMU_FEATURE_RX_CSUM : 0;
	return offered;
}

/* What is being checked: the fields of cfg that select names, for queue vq or (NULL) a new one. */
struct change {
	const struct emu_virtq_cfg *cfg;
	uint64_t select;
	const struct emu_virtq *vq;
	struct emu_qp *event_qp;   /* set by check_events() */
};

static uint8_t
check_events(struct emu_dev *dev, struct emu_cmd *c, struct change *ch)
{
	const struct emu_virtq_cfg *cfg = ch->cfg;

	ch->event_qp = ch->vq != NULL ? ch->vq->event_qp : NULL;
	if ((ch->select & MLX5_VIRTQ_MODIFY_EVENT_MODE) == 0)
		return MLX5_CMD_STAT_OK;
	if ((VDPA_CAP(dev, event_mode) >> cfg->event_mode & 1) == 0 ||
			cfg->event_mode == MLX5_VIRTQ_EVENT_MODE_MSIX)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_EVENT_MODE);
	if (cfg->event_mode != MLX5_VIRTQ_EVENT_MODE_QP) {
		ch->event_qp = NULL;
		return MLX5_CMD_STAT_OK;
	}
	ch->event_qp = emu_obj_find(dev, EMU_QP, cfg->event_qpn, c->uid);
	if (ch->event_qp == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_EVENT_QP);
	if ((ch->vq == NULL || ch->event_qp != ch->vq->event_qp) &&
			!emu_qp_is_free_fw(ch->event_qp))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_STATE_ERR, SYN_EVENT_QP_KIND);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
check_keys(struct emu_dev *dev, struct emu_cmd *c, const struct change *ch)
{
	const uint64_t dirty = MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS |
		MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE;
	const struct emu_virtq_cfg *cfg = ch->cfg;

	/* No key yet: a queue that was created ahead of its guest, in INIT. */
	if ((ch->select & MLX5_VIRTQ_MODIFY_Q_MKEY) && cfg->mkey != 0 &&
			!mkey_exists(dev, cfg->mkey))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_MKEY);
	if ((ch->select & MLX5_VIRTQ_MODIFY_DESC_GROUP_MKEY) && cfg->desc_mkey != 0 &&
			(!VDPA_CAP(dev, desc_group_mkey_supported) ||
			!mkey_exists(dev, cfg->desc_mkey)))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_DESC_MKEY);
	if ((ch->select & dirty) == 0)
		return MLX5_CMD_STAT_OK;
	if (cfg->dirty_mkey != 0 && !mkey_exists(dev, cfg->dirty_mkey))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_DIRTY_BITMAP);
	if (cfg->dirty_enable && (cfg->dirty_mkey == 0 || cfg->dirty_size == 0))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_DIRTY_BITMAP);
	return MLX5_CMD_STAT_OK;
}

/* The type and the addresses, which must suit each other whichever of them changes. */
static uint8_t
check_ring(struct emu_dev *dev, struct emu_cmd *c, const struct change *ch)
{
	const struct emu_virtq_cfg *cfg = ch->cfg;
	uint64_t avail_align = cfg->type == MLX5_VIRTQ_TYPE_PACKED ? AVAIL_ALIGN_PACKED :
		AVAIL_ALIGN_SPLIT;

	/* Both types are built in; caps= may take them away. */
	if ((ch->select & MLX5_VIRTQ_MODIFY_Q_TYPE) && (cfg->type > MLX5_VIRTQ_TYPE_PACKED ||
			(VDPA_CAP(dev, virtio_queue_type) >> cfg->type & 1) == 0))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_TYPE);
	if ((ch->select & (MLX5_VIRTQ_MODIFY_ADDRS | MLX5_VIRTQ_MODIFY_Q_TYPE)) &&
			(cfg->desc_addr % DESC_ALIGN != 0 || cfg->avail_addr % avail_align != 0 ||
			cfg->used_addr % USED_ALIGN != 0))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_ADDRESS);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
check_change(struct emu_dev *dev, struct emu_cmd *c, struct change *ch)
{
	const struct emu_virtq_cfg *cfg = ch->cfg;
	uint8_t status;

	status = check_ring(dev, c, ch);
	if (status != MLX5_CMD_STAT_OK)
		return status;
	if ((ch->select & MLX5_VIRTQ_MODIFY_VIRTIO_VERSION) && cfg->version_1 &&
			!VDPA_CAP(dev, virtio_version_1_0))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_VERSION);
	if ((ch->select & MLX5_VIRTQ_MODIFY_QUEUE_FEATURES) &&
			(cfg->features & ~features_offered(dev)) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_FEATURES);
	status = check_keys(dev, c, ch);
	return status != MLX5_CMD_STAT_OK ? status : check_events(dev, c, ch);
}

/* ---- CREATE ---- */

/* What a queue refers to. */
struct refs {
	struct emu_obj *pd, *tis;
	struct emu_umem *umem[EMU_VIRTQ_UMEMS];
	struct emu_virtq_counters *counters;
	struct emu_qp *event_qp;
};

static bool
index_used(struct emu_dev *dev, uint32_t index)
{
	struct emu_virtq *vq = NULL;

	while ((vq = emu_obj_next(dev, EMU_VIRTIO_NET_Q, vq)) != NULL) {
		if (vq->index == index)
			return true;
	}
	return false;
}

/* Fields that are fixed for the queue's life. */
static uint8_t
check_fixed(struct emu_dev *dev, struct emu_cmd *c, const void *obj, const void *q)
{
	uint32_t index = PRM_GET(virtio_q, q, queue_index);
	uint32_t size = PRM_GET(virtio_q, q, queue_size);

	if (PRM_GET(virtio_net_q_object, obj, state) != MLX5_VIRTQ_STATE_INIT)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_STATE_AT_CREATION);
	if (index >= VDPA_CAP(dev, max_num_virtio_queues))
		return emu_refuse(c, MLX5_CMD_STAT_LIM_ERR, SYN_INDEX);
	if (index_used(dev, index))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_STATE_ERR, SYN_INDEX_USED);
	if (size < EMU_VIRTQ_SIZE_MIN || size > EMU_VIRTQ_SIZE_MAX || (size & (size - 1)) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_SIZE);
	if (PRM_GET(virtio_q, q, offload_type) != MLX5_VIRTQ_OFFLOAD_ETH_FRAME ||
			!VDPA_CAP(dev, eth_frame_offload_type))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_OFFLOAD_TYPE);
	if (PRM_GET(virtio_q, q, full_emulation) ||
			PRM_GET(virtio_q, q, device_emulation_id) != 0 ||
			PRM_GET(virtio_q, q, doorbell_stride_index) != 0 ||
			PRM_GET(virtio_q, q, max_tunnel_desc) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_EMULATION);
	return MLX5_CMD_STAT_OK;
}

/* Memory that the driver lends the queue for its own use, at least a * queue_size + b bytes. */
static uint8_t
check_umem(struct emu_dev *dev, struct emu_cmd *c, const void *q, unsigned int n,
		struct emu_umem **umem)
{
#define UMEM(n) { \
		PRM_virtio_q__umem_##n##_id__OFF, \
		PRM_virtio_q__umem_##n##_size__OFF, \
		PRM_virtio_q__umem_##n##_offset__OFF, \
		PRM_virtio_emulation_cap__umem_##n##_buffer_param_a__OFF, \
		PRM_virtio_emulation_cap__umem_##n##_buffer_param_b__OFF, \
	}
	static const struct { uint32_t id, size, offset, a, b; } at[EMU_VIRTQ_UMEMS] = {
		UMEM(1), UMEM(2), UMEM(3)
	};
#undef UMEM
	uint64_t size = prm_get(q, at[n].size, 32);
	uint64_t need = prm_get(dev->caps.vdpa, at[n].a, 32) * PRM_GET(virtio_q, q, queue_size) +
		prm_get(dev->caps.vdpa, at[n].b, 32);

	*umem = emu_obj_find(dev, EMU_UMEM, prm_get(q, at[n].id, 32), c->uid);
	if (*umem == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_UMEM);
	if (size < need)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_UMEM_SIZE);
	if (!emu_umem_covers(*umem, prm_get(q, at[n].offset, 64), size))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_UMEM_RANGE);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
check_refs(struct emu_dev *dev, struct emu_cmd *c, const void *obj, const void *q,
		struct refs *refs)
{
	uint32_t counters = PRM_GET(virtio_q, q, counter_set_id);
	uint32_t tisn = PRM_GET(virtio_net_q_object, obj, tisn_or_qpn);
	bool tx = PRM_GET(virtio_q, q, queue_index) % 2 == 1;
	uint8_t status;
	unsigned int i;

	refs->pd = emu_obj_find(dev, EMU_PD, PRM_GET(virtio_q, q, pd), c->uid);
	if (refs->pd == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_PD);
	/* Linux names a TIS for transmit queues alone, DPDK for all. */
	refs->tis = emu_obj_find(dev, EMU_TIS, tisn, c->uid);
	if (refs->tis == NULL && (tx || tisn != 0))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_TIS);
	refs->counters = emu_obj_find(dev, EMU_VIRTIO_Q_COUNTERS, counters, c->uid);
	if (refs->counters == NULL && counters != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_COUNTERS);
	for (i = 0; i < EMU_VIRTQ_UMEMS; i++) {
		status = check_umem(dev, c, q, i, &refs->umem[i]);
		if (status != MLX5_CMD_STAT_OK)
			return status;
	}
	return MLX5_CMD_STAT_OK;
}

static void
hold_refs(struct emu_virtq *vq, const struct refs *refs)
{
	unsigned int i;

	vq->pd = refs->pd;
	vq->tis = refs->tis;
	vq->counters = refs->counters;
	vq->event_qp = refs->event_qp;
	emu_obj_hold(vq->pd);
	emu_obj_hold(vq->tis);
	emu_obj_hold(vq->counters);
	for (i = 0; i < EMU_VIRTQ_UMEMS; i++) {
		vq->umem[i] = refs->umem[i];
		emu_obj_hold(vq->umem[i]);
	}
	if (vq->event_qp != NULL)
		emu_qp_attach(vq->event_qp);
}

static void
put_refs(struct emu_virtq *vq)
{
	unsigned int i;

	if (vq->event_qp != NULL)
		emu_qp_detach(vq->event_qp, true);
	for (i = 0; i < EMU_VIRTQ_UMEMS; i++)
		emu_obj_put(vq->umem[i]);
	emu_obj_put(vq->counters);
	emu_obj_put(vq->tis);
	emu_obj_put(vq->pd);
}

static uint8_t
create_virtq(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *obj = PRM_ADDR(create_virtio_net_q_in, c->in, obj_context);
	const void *q = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	struct emu_virtq_cfg cfg = {0};
	struct change ch = { .cfg = &cfg, .select = UINT64_MAX };
	struct refs refs = {0};
	struct emu_virtq *vq;
	uint8_t status;

	cfg_read(&cfg, obj, ch.select);
	status = check_fixed(dev, c, obj, q);
	if (status == MLX5_CMD_STAT_OK)
		status = check_refs(dev, c, obj, q, &refs);
	if (status == MLX5_CMD_STAT_OK)
		status = check_change(dev, c, &ch);
	if (status != MLX5_CMD_STAT_OK)
		return status;
	refs.event_qp = ch.event_qp;
	vq = emu_obj_new(dev, EMU_VIRTIO_NET_Q, c->uid, sizeof(*vq));
	if (vq == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_NO_ROOM);
	vq->state = MLX5_VIRTQ_STATE_INIT;
	vq->index = PRM_GET(virtio_q, q, queue_index);
	vq->size = PRM_GET(virtio_q, q, queue_size);
	vq->cfg = cfg;
	memcpy(vq->created, obj, sizeof(vq->created));
	hold_refs(vq, &refs);
	PRM_SET(general_obj_out_cmd_hdr, c->out, obj_id, vq->obj.id);
	return MLX5_CMD_STAT_OK;
}

/* ---- MODIFY ---- */

static uint8_t
check_select(struct emu_dev *dev, struct emu_cmd *c, const struct emu_virtq *vq, uint64_t select)
{
	bool may_change = vq->state == MLX5_VIRTQ_STATE_INIT ||
		vq->state == MLX5_VIRTQ_STATE_SUSPEND;
	bool in_rdy = vq->state == MLX5_VIRTQ_STATE_RDY;
	uint64_t known = 0;
	size_t i;

	for (i = 0; i < sizeof(selectable) / sizeof(selectable[0]); i++) {
		known |= selectable[i].bit;
		if ((select & selectable[i].bit) == 0)
			continue;
		if (selectable[i].cap != NO_CAP && !prm_get(dev->caps.vdpa, selectable[i].cap, 1))
			return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_SELECT_CAP);
		if (selectable[i].bit == MLX5_VIRTQ_MODIFY_STATE)
			continue; /* has a table of its own */
		if (!may_change && !(in_rdy && selectable[i].in_rdy))
			return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_STATE_ERR, SYN_SELECT_STATE);
	}
	if (select == 0 || (select & ~known) != 0)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_SELECT);
	return MLX5_CMD_STAT_OK;
}

static bool
in_packed_ring(const struct emu_virtq *vq, uint16_t index)
{
	return (index & (EMU_PACKED_WRAP - 1)) < vq->size;
}

static uint8_t
check_transition(struct emu_dev *dev, struct emu_cmd *c, const struct emu_virtq *vq,
		const struct emu_virtq_cfg *cfg, uint32_t to)
{
	if (!driver_may_move(vq, to))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_STATE_ERR, SYN_TRANSITION);
	/* A key that is gone would fault on the first access. */
	if (to == MLX5_VIRTQ_STATE_RDY && (cfg->mkey == 0 || !mkey_exists(dev, cfg->mkey)))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NO_MKEY);
	/* Not before: type and indices may come one by one. */
	if (to == MLX5_VIRTQ_STATE_RDY && cfg->type == MLX5_VIRTQ_TYPE_PACKED &&
			(!in_packed_ring(vq, cfg->hw_avail) || !in_packed_ring(vq, cfg->hw_used)))
		return emu_refuse(c, MLX5_CMD_STAT_BAD_PARAM_ERR, SYN_RING_INDEX);
	return MLX5_CMD_STAT_OK;
}

static void
change_event_qp(struct emu_virtq *vq, struct emu_qp *qp)
{
	if (vq->event_qp != NULL)
		emu_qp_detach(vq->event_qp, false);
	if (qp != NULL)
		emu_qp_attach(qp);
	vq->event_qp = qp;
}

/* Fields and state change together or not at all. The size and what else has no bit in
 * modify_field_select is not looked at. */
static uint8_t
modify_virtq(struct emu_dev *dev, struct emu_cmd *c)
{
	const void *obj = PRM_ADDR(create_virtio_net_q_in, c->in, obj_context);
	uint64_t select = PRM_GET(virtio_net_q_object, obj, modify_field_select);
	uint32_t state = PRM_GET(virtio_net_q_object, obj, state);
	struct emu_virtq_cfg cfg;
	struct change ch = { .cfg = &cfg, .select = select };
	struct emu_virtq *vq;
	uint8_t status;

	vq = emu_obj_find(dev, EMU_VIRTIO_NET_Q, PRM_GET(general_obj_in_cmd_hdr, c->in, obj_id),
		c->uid);
	if (vq == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	status = check_select(dev, c, vq, select);
	if (status != MLX5_CMD_STAT_OK)
		return status;
	cfg = vq->cfg;
	cfg_read(&cfg, obj, select);
	ch.vq = vq;
	status = check_change(dev, c, &ch);
	if (status == MLX5_CMD_STAT_OK && (select & MLX5_VIRTQ_MODIFY_STATE) != 0)
		status = check_transition(dev, c, vq, &cfg, state);
	if (status != MLX5_CMD_STAT_OK)
		return status;
	if (ch.event_qp != vq->event_qp)
		change_event_qp(vq, ch.event_qp);
	vq->cfg = cfg;
	if ((select & MLX5_VIRTQ_MODIFY_STATE) != 0)
		transition(vq, state);
	return MLX5_CMD_STAT_OK;
}

/* ---- QUERY, DESTROY ---- */

static uint8_t
query_virtq(struct emu_dev *dev, struct emu_cmd *c)
{
	void *obj = PRM_ADDR(query_virtio_net_q_out, c->out, obj_context);
	void *q = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	uint32_t id = PRM_GET(general_obj_in_cmd_hdr, c->in, obj_id);
	struct emu_virtq *vq = emu_obj_find(dev, EMU_VIRTIO_NET_Q, id, c->uid);

	if (vq == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	memcpy(obj, vq->created, sizeof(vq->created));
	cfg_write(&vq->cfg, obj);
	PRM_SET(virtio_net_q_object, obj, modify_field_select, 0);
	PRM_SET(virtio_net_q_object, obj, state, vq->state);
	PRM_SET(virtio_q, q, error_type, error_type(vq->fault));
	PRM_SET(general_obj_out_cmd_hdr, c->out, obj_id, id);
	return MLX5_CMD_STAT_OK;
}

/* In any state. An RQT does not hold its queues: NVIDIA's driver destroys queues that a table still
 * lists when setting them up failed half-way. */
static uint8_t
destroy_virtq(struct emu_dev *dev, struct emu_cmd *c)
{
	uint32_t id = PRM_GET(general_obj_in_cmd_hdr, c->in, obj_id);
	struct emu_virtq *vq = emu_obj_find(dev, EMU_VIRTIO_NET_Q, id, c->uid);

	if (vq == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_NOT_FOUND);
	if (vq->state == MLX5_VIRTQ_STATE_RDY)
		emu_engine_remove(vq);
	emu_steer_forget(vq);
	put_refs(vq);
	emu_obj_del(vq);
	return MLX5_CMD_STAT_OK;
}

/* ---- counters ---- */

static uint8_t
create_counters(struct emu_dev *dev, struct emu_cmd *c)
{
	struct emu_virtq_counters *counters;

	counters = emu_obj_new(dev, EMU_VIRTIO_Q_COUNTERS, c->uid, sizeof(*counters));
	if (counters == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_NO_RES_ERR, SYN_COUNTERS_NO_ROOM);
	PRM_SET(general_obj_out_cmd_hdr, c->out, obj_id, counters->obj.id);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
query_counters(struct emu_dev *dev, struct emu_cmd *c)
{
	void *out = PRM_ADDR(query_virtio_q_counters_out, c->out, counters);
	uint32_t id = PRM_GET(general_obj_in_cmd_hdr, c->in, obj_id);
	struct emu_virtq_counters *n = emu_obj_find(dev, EMU_VIRTIO_Q_COUNTERS, id, c->uid);

	if (n == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_COUNTERS_NOT_FOUND);
	PRM_SET(virtio_q_counters, out, received_desc, n->received_desc);
	PRM_SET(virtio_q_counters, out, completed_desc, n->completed_desc);
	PRM_SET(virtio_q_counters, out, error_cqes, n->faults[EMU_FAULT_RING_ACCESS]);
	PRM_SET(virtio_q_counters, out, bad_desc_errors, n->faults[EMU_FAULT_BAD_DESC]);
	PRM_SET(virtio_q_counters, out, exceed_max_chain, n->faults[EMU_FAULT_LONG_CHAIN]);
	PRM_SET(virtio_q_counters, out, invalid_buffer, n->faults[EMU_FAULT_BAD_BUFFER]);
	PRM_SET(general_obj_out_cmd_hdr, c->out, obj_id, id);
	return MLX5_CMD_STAT_OK;
}

static uint8_t
destroy_counters(struct emu_dev *dev, struct emu_cmd *c)
{
	uint32_t id = PRM_GET(general_obj_in_cmd_hdr, c->in, obj_id);
	struct emu_virtq_counters *counters = emu_obj_find(dev, EMU_VIRTIO_Q_COUNTERS, id, c->uid);

	if (counters == NULL)
		return emu_refuse(c, MLX5_CMD_STAT_BAD_RES_ERR, SYN_COUNTERS_NOT_FOUND);
	if (counters->obj.refs > 0)
		return emu_refuse(c, MLX5_CMD_STAT_RES_BUSY, SYN_COUNTERS_BUSY);
	emu_obj_del(counters);
	return MLX5_CMD_STAT_OK;
}

#define ROW(op, type, in, out, f) { \
	.opcode = MLX5_CMD_OP_##op##_GENERAL_OBJECT, \
	.obj_type = MLX5_OBJ_TYPE_##type, \
	.in_bytes = BYTES(in), \
	.out_bytes = BYTES(out), \
	.fn = f, \
}
#define BYTES(layout) PRM_BYTES(layout) /* expands HDR_IN and HDR_OUT */
#define HDR_IN general_obj_in_cmd_hdr
#define HDR_OUT general_obj_out_cmd_hdr

/* NVIDIA's driver has room for the counters and for little of what is reserved behind them. */
enum {
	COUNTERS_BYTES = PRM_OFF(query_virtio_q_counters_out, counters) +
		PRM_OFF(virtio_q_counters, invalid_buffer) + sizeof(uint32_t)
};

const struct emu_cmd_desc emu_cmds_virtq[] = {
	ROW(CREATE, VIRTIO_NET_Q, create_virtio_net_q_in, HDR_OUT, create_virtq),
	ROW(MODIFY, VIRTIO_NET_Q, create_virtio_net_q_in, HDR_OUT, modify_virtq),
	ROW(QUERY, VIRTIO_NET_Q, HDR_IN, query_virtio_net_q_out, query_virtq),
	ROW(DESTROY, VIRTIO_NET_Q, HDR_IN, HDR_OUT, destroy_virtq),
	ROW(CREATE, VIRTIO_Q_COUNTERS, HDR_IN, HDR_OUT, create_counters),
	{
		.opcode = MLX5_CMD_OP_QUERY_GENERAL_OBJECT,
		.obj_type = MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS,
		.in_bytes = BYTES(HDR_IN),
		.out_bytes = COUNTERS_BYTES,
		.fn = query_counters,
	},
	ROW(DESTROY, VIRTIO_Q_COUNTERS, HDR_IN, HDR_OUT, destroy_counters),
	EMU_CMDS_END
};

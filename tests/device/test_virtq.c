/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtio-net queue objects: what a create and a modify refuse, and the states of a queue.
 */
#include "events.h"
#include "queue.h"

enum { SIZE = 64, MEM_BYTES = 1 << 16, MEM_IOVA = 0x1000000, RING_OFF = 0, RX = 0, TX = 1 };

/* A queue about to be created: a test changes one field of the mailbox. */
static struct {
	struct mem mem;
	struct evq evq;
	struct queue q;            /* umems and ring; q.vq once it is created */
	struct virtq_attr attr;
	uint8_t in[VIRTQ_IN_BYTES];
	void *obj, *ctx;           /* into in */
} c;

static int
setup_index(struct dev *d, uint16_t index)
{
	memset(&c, 0, sizeof(c));
	c.mem = mem_create(d->pd, MEM_BYTES, MEM_IOVA, MEM_RW);
	evq_create(&c.evq, d);
	evq_connect(&c.evq);
	queue_prepare(&c.q, d, index, SIZE, &c.mem, c.mem.va + RING_OFF, &c.attr);
	c.attr.event_qpn = c.evq.fw_qp.id;
	fill_virtq(d, c.in, &c.attr);
	c.obj = VIRTQ_OBJ(c.in);
	c.ctx = VIRTQ_CTX(c.in);
	return 0;
}

static int
setup(void **state)
{
	return setup_index(*state, TX);
}

static int
setup_made(void **state)
{
	setup_index(*state, TX);
	c.q.vq = create(*state, c.in, sizeof(c.in));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	queue_discard(&c.q);
	evq_discard(&c.evq);
	mem_discard(&c.mem);
	return 0;
}

/* ---- create ---- */

static void
a_queue_starts_in_init_with_what_it_was_created_with(void **state)
{
	struct virtq_status s;
	const void *obj, *ctx;

	c.attr.hw_avail = 0x1234;
	c.attr.hw_used = 0xfff0;
	fill_virtq(*state, c.in, &c.attr);
	c.q.vq = create(*state, c.in, sizeof(c.in));
	s = virtq_query(&c.q.vq);
	obj = PRM_ADDR(query_virtio_net_q_out, s.out, obj_context);
	ctx = PRM_ADDR(virtio_net_q_object, obj, virtio_q_context);
	assert_int_equal(s.state, MLX5_VIRTQ_STATE_INIT);
	assert_int_equal(s.error_type, 0);
	assert_int_equal(s.hw_avail, 0x1234);
	assert_int_equal(s.hw_used, 0xfff0);
	assert_int_equal(PRM_GET(virtio_q, ctx, queue_index), TX);
	assert_int_equal(PRM_GET(virtio_q, ctx, queue_size), SIZE);
	assert_true(PRM_GET(virtio_q, ctx, desc_addr) == c.attr.desc_iova);
	assert_true(PRM_GET(virtio_q, ctx, available_addr) == c.attr.avail_iova);
	assert_true(PRM_GET(virtio_q, ctx, used_addr) == c.attr.used_iova);
	assert_int_equal(PRM_GET(virtio_q, ctx, virtio_q_mkey), c.mem.mkey);
}

static void
an_index_in_use_is_refused(void **state)
{
	c.q.vq = create(*state, c.in, sizeof(c.in));
	PRM_SET(virtio_q, c.ctx, event_mode, MLX5_VIRTQ_EVENT_MODE_NO_MSIX);
	PRM_SET(virtio_q, c.ctx, event_qpn_or_msix, 0);
	assert_create_refused(*state, c.in, sizeof(c.in), BAD_RES_STATE_ERR);
}

static void
an_index_is_free_again_after_destroy(void **state)
{
	int i;

	for (i = 0; i < 3; i++) {
		c.q.vq = create(*state, c.in, sizeof(c.in));
		destroy(&c.q.vq);
	}
}

static void
an_index_that_the_device_does_not_have_is_refused(void **state)
{
	struct dev *d = *state;

	PRM_SET(virtio_q, c.ctx, queue_index, VIRTIO_CAP(d, max_num_virtio_queues));
	assert_create_refused(d, c.in, sizeof(c.in), LIM_ERR);
	PRM_SET(virtio_q, c.ctx, queue_index, VIRTIO_CAP(d, max_num_virtio_queues) - 1);
	c.q.vq = create(d, c.in, sizeof(c.in));
}

#define REFUSED(name, stat, ...) \
	static void \
	name(void **state) \
	{ \
		__VA_ARGS__; \
		assert_create_refused(*state, c.in, sizeof(c.in), stat); \
	}

REFUSED(a_queue_of_size_0_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, queue_size, 0))
REFUSED(a_size_that_is_no_power_of_two_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, queue_size, 48))
REFUSED(a_size_larger_than_virtio_has_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, queue_size, 0xffff))
REFUSED(a_larger_size_than_the_umems_are_for_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, queue_size, SIZE * 2))
REFUSED(a_queue_that_does_not_start_in_init_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_net_q_object, c.obj, state, MLX5_VIRTQ_STATE_RDY))
REFUSED(a_ring_type_that_does_not_exist_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, virtio_q_type, 7))
REFUSED(an_event_mode_that_does_not_exist_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, event_mode, 7))
REFUSED(an_unknown_event_qp_is_refused, BAD_RES_ERR,
	PRM_SET(virtio_q, c.ctx, event_qpn_or_msix, NO_SUCH_ID(24)))
REFUSED(a_missing_event_qp_is_refused, BAD_RES_ERR,
	PRM_SET(virtio_q, c.ctx, event_qpn_or_msix, 0))
REFUSED(a_software_qp_as_event_qp_is_refused, BAD_RES_STATE_ERR,
	PRM_SET(virtio_q, c.ctx, event_qpn_or_msix, c.evq.sw_qp.id))
REFUSED(an_unknown_protection_domain_is_refused, BAD_RES_ERR,
	PRM_SET(virtio_q, c.ctx, pd, NO_SUCH_ID(24)))
REFUSED(an_unknown_tis_is_refused, BAD_RES_ERR,
	PRM_SET(virtio_net_q_object, c.obj, tisn_or_qpn, NO_SUCH_ID(24)))
REFUSED(a_transmit_queue_without_tis_is_refused, BAD_RES_ERR,
	PRM_SET(virtio_net_q_object, c.obj, tisn_or_qpn, 0))
REFUSED(an_unknown_memory_key_is_refused, BAD_RES_ERR,
	PRM_SET(virtio_q, c.ctx, virtio_q_mkey, NO_SUCH_ID(24) << 8))
REFUSED(unknown_counters_are_refused, BAD_RES_ERR,
	PRM_SET(virtio_q, c.ctx, counter_set_id, NO_SUCH_ID(24)))
REFUSED(an_unknown_umem_1_is_refused, BAD_RES_ERR,
	PRM_SET(virtio_q, c.ctx, umem_1_id, NO_SUCH_ID(24)))
REFUSED(an_unknown_umem_2_is_refused, BAD_RES_ERR,
	PRM_SET(virtio_q, c.ctx, umem_2_id, NO_SUCH_ID(24)))
REFUSED(an_unknown_umem_3_is_refused, BAD_RES_ERR,
	PRM_SET(virtio_q, c.ctx, umem_3_id, NO_SUCH_ID(24)))
REFUSED(a_umem_1_that_is_too_small_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, umem_1_size, c.attr.umem[0].size - 1))
REFUSED(a_umem_2_that_is_too_small_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, umem_2_size, c.attr.umem[1].size - 1))
REFUSED(a_umem_3_that_is_too_small_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, umem_3_size, c.attr.umem[2].size - 1))
REFUSED(a_umem_range_outside_the_umem_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, umem_1_offset, 1 << 20))
REFUSED(a_umem_range_that_wraps_around_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, umem_1_offset, UINT64_MAX - 63))
REFUSED(a_descriptor_table_that_is_not_aligned_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, desc_addr, c.attr.desc_iova + 8))
REFUSED(an_available_ring_that_is_not_aligned_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, available_addr, c.attr.avail_iova + 1))
REFUSED(a_used_ring_that_is_not_aligned_is_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, used_addr, c.attr.used_iova + 2))
REFUSED(fields_of_an_emulated_pci_function_are_refused, BAD_PARAM_ERR,
	PRM_SET(virtio_q, c.ctx, full_emulation, 1))

static void
features_are_refused_without_their_capability(void **state)
{
	struct dev *d = *state;

#define FEATURE(f) \
	if (!VIRTIO_CAP(d, f)) { \
		fill_virtq(d, c.in, &c.attr); \
		PRM_SET(virtio_net_q_object, c.obj, f, 1); \
		assert_create_refused(d, c.in, sizeof(c.in), BAD_PARAM_ERR); \
	}
	FEATURE(tso_ipv4);
	FEATURE(tso_ipv6);
	FEATURE(tx_csum);
	FEATURE(rx_csum);
#undef FEATURE
	if (!(VIRTIO_CAP(d, virtio_queue_type) >> MLX5_VIRTQ_TYPE_PACKED & 1)) {
		fill_virtq(d, c.in, &c.attr);
		PRM_SET(virtio_q, c.ctx, virtio_q_type, MLX5_VIRTQ_TYPE_PACKED);
		assert_create_refused(d, c.in, sizeof(c.in), BAD_PARAM_ERR);
	}
	if (!(VIRTIO_CAP(d, event_mode) >> MLX5_VIRTQ_EVENT_MODE_MSIX & 1)) {
		fill_virtq(d, c.in, &c.attr);
		PRM_SET(virtio_q, c.ctx, event_mode, MLX5_VIRTQ_EVENT_MODE_MSIX);
		assert_create_refused(d, c.in, sizeof(c.in), BAD_PARAM_ERR);
	}
	if (!VIRTIO_CAP(d, desc_tunnel_offload_type)) {
		fill_virtq(d, c.in, &c.attr);
		PRM_SET(virtio_q, c.ctx, offload_type, MLX5_VIRTQ_OFFLOAD_DESC_TUNNEL);
		assert_create_refused(d, c.in, sizeof(c.in), BAD_PARAM_ERR);
	}
	if (!VIRTIO_CAP(d, desc_group_mkey_supported)) {
		fill_virtq(d, c.in, &c.attr);
		PRM_SET(virtio_q, c.ctx, desc_group_mkey, c.mem.mkey);
		assert_create_refused(d, c.in, sizeof(c.in), BAD_RES_ERR);
	}
}

static void
objects_of_another_user_are_refused(void **state)
{
	struct dev *d = *state, *other = dev_open(false);
	struct verdict v[4];
	struct umem umem;
	struct obj o = {0};
	struct evq evq;
	size_t i;

	assert_non_null(other);
	umem = umem_create(other, c.attr.umem[0].size);
	evq_create(&evq, other);
	for (i = 0; i < DIM(v); i++) {
		fill_virtq(d, c.in, &c.attr);
		switch (i) {
		case 0:
			PRM_SET(virtio_q, c.ctx, pd, other->pdn);
			break;
		case 1:
			PRM_SET(virtio_net_q_object, c.obj, tisn_or_qpn, other->tisn);
			break;
		case 2:
			PRM_SET(virtio_q, c.ctx, umem_1_id, umem.id);
			break;
		case 3:
			PRM_SET(virtio_q, c.ctx, event_qpn_or_msix, evq.fw_qp.id);
			break;
		}
		v[i] = dev_create(d, c.in, sizeof(c.in), &o);
		discard(&o);
	}
	evq_discard(&evq);
	umem_discard(&umem);
	assert_int_equal(dev_close(other), 0);
	for (i = 0; i < DIM(v); i++)
		assert_refused(v[i], BAD_RES_ERR);
}

static void
an_event_qp_serves_one_queue(void **state)
{
	c.q.vq = create(*state, c.in, sizeof(c.in));
	PRM_SET(virtio_q, c.ctx, queue_index, TX + 2);
	assert_create_refused(*state, c.in, sizeof(c.in), BAD_RES_STATE_ERR);
}

static void
what_a_queue_needs_is_busy_while_it_lives(void **state)
{
	struct dev *d = *state;
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)];
	uint8_t tis_in[PRM_BYTES(create_tis_in)];
	struct obj counters, tis;
	int i;

	fill_counters(in);
	counters = create(d, in, sizeof(in));
	fill_tis(tis_in, d->tdn);
	tis = create(d, tis_in, sizeof(tis_in));
	PRM_SET(virtio_q, c.ctx, counter_set_id, counters.id);
	PRM_SET(virtio_net_q_object, c.obj, tisn_or_qpn, tis.id);
	c.q.vq = create(d, c.in, sizeof(c.in));
	for (i = 0; i < 3; i++)
		assert_int_equal(mlx5dv_devx_umem_dereg(c.q.umem[i].umem), EBUSY);
	assert_busy(&counters);
	assert_busy(&tis);
	assert_busy(&c.evq.fw_qp);
	destroy(&c.q.vq);
	destroy(&tis);
	destroy(&counters);
}

static void
a_modify_through_one_queue_of_anothers_id_is_stopped_by_the_kernel(void **state)
{
	uint8_t in[VIRTQ_IN_BYTES];

	c.q.vq = create(*state, c.in, sizeof(c.in));
	fill_virtq_modify(in, c.q.vq.id + 1, MLX5_VIRTQ_MODIFY_STATE);
	PRM_SET(virtio_net_q_object, VIRTQ_OBJ(in), state, MLX5_VIRTQ_STATE_RDY);
	assert_refused_by_kernel(dev_modify(&c.q.vq, in, sizeof(in)));
	assert_int_equal(virtq_state(&c.q.vq), MLX5_VIRTQ_STATE_INIT);
}

/* ---- states ---- */

/* A descriptor that leads out of the memory puts a ready queue into error. */
static void
break_queue(void)
{
	struct buf bad = { MEM_IOVA + MEM_BYTES + 4096, 60 };

	ring_post(&c.q.ring, &bad, 1, 0);
	queue_kick(&c.q);
	assert_true(wait_until(virtq_state(&c.q.vq) == MLX5_VIRTQ_STATE_ERR));
}

static void
bring_to(struct dev *d, uint8_t state)
{
	destroy(&c.q.vq);
	assert_accepted(qp_step(&c.evq.fw_qp, MLX5_CMD_OP_2RST_QP, 0));
	ring_init(&c.q.ring, &c.mem, c.mem.va + RING_OFF, SIZE);
	fill_virtq(d, c.in, &c.attr);
	c.q.vq = create(d, c.in, sizeof(c.in));
	if (state != MLX5_VIRTQ_STATE_INIT)
		queue_go(&c.q, RDY);
	if (state == MLX5_VIRTQ_STATE_SUSPEND)
		queue_go(&c.q, SUSPEND);
	if (state == MLX5_VIRTQ_STATE_ERR)
		break_queue();
	assert_int_equal(virtq_state(&c.q.vq), state);
}

static bool
may_go(struct dev *d, uint8_t from, uint8_t to)
{
	if (from == MLX5_VIRTQ_STATE_INIT)
		return to == MLX5_VIRTQ_STATE_RDY;
	if (from == MLX5_VIRTQ_STATE_RDY)
		return to == MLX5_VIRTQ_STATE_SUSPEND;
	return from == MLX5_VIRTQ_STATE_SUSPEND && to == MLX5_VIRTQ_STATE_RDY &&
		VIRTIO_CAP(d, freeze_to_rdy_supported);
}

static void
check_transition(struct dev *d, uint8_t from, uint8_t to)
{
	struct verdict v;

	bring_to(d, from);
	v = virtq_set_state(&c.q.vq, to);
	if (may_go(d, from, to)) {
		assert_accepted(v);
		assert_int_equal(virtq_state(&c.q.vq), to);
	} else {
		assert_refused(v, BAD_RES_STATE_ERR);
		assert_int_equal(virtq_state(&c.q.vq), from);
	}
}

#define TRANSITIONS_FROM(name, from) \
	static void \
	name(void **state) \
	{ \
		uint8_t to; \
		for (to = MLX5_VIRTQ_STATE_INIT; to <= MLX5_VIRTQ_STATE_ERR; to++) \
			check_transition(*state, MLX5_VIRTQ_STATE_##from, to); \
	}

TRANSITIONS_FROM(from_init_a_driver_can_make_ready_and_nothing_else, INIT)
TRANSITIONS_FROM(from_ready_a_driver_can_suspend_and_nothing_else, RDY)
TRANSITIONS_FROM(from_suspend_a_driver_can_make_ready_if_the_device_has_it, SUSPEND)
TRANSITIONS_FROM(from_error_a_driver_can_only_destroy, ERR)

static void
a_state_that_does_not_exist_is_refused(void **state)
{
	(void)state;
	assert_refused(virtq_set_state(&c.q.vq, 9), BAD_RES_STATE_ERR);
	assert_int_equal(virtq_state(&c.q.vq), MLX5_VIRTQ_STATE_INIT);
}

static void
a_queue_can_be_destroyed_in_every_state(void **state)
{
	uint8_t s;

	for (s = MLX5_VIRTQ_STATE_INIT; s <= MLX5_VIRTQ_STATE_ERR; s++) {
		bring_to(*state, s);
		destroy(&c.q.vq);
	}
}

static void
a_queue_without_memory_key_can_be_created_but_not_made_ready(void **state)
{
	PRM_SET(virtio_q, c.ctx, virtio_q_mkey, 0);
	c.q.vq = create(*state, c.in, sizeof(c.in));
	assert_refused(virtq_set_state(&c.q.vq, MLX5_VIRTQ_STATE_RDY), BAD_RES_ERR);
	assert_int_equal(virtq_state(&c.q.vq), MLX5_VIRTQ_STATE_INIT);
}

/* ---- modify ---- */

static const struct {
	const char *name;
	uint64_t select;
	bool in_rdy;               /* may change on a running queue */
} fields[] = {
	{ "dirty bitmap", MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS, true },
	{ "dirty bitmap enable", MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE, true },
	{ "moderation", MLX5_VIRTQ_MODIFY_QUEUE_PERIOD, false },
	{ "addresses", MLX5_VIRTQ_MODIFY_ADDRS, false },
	{ "available index", MLX5_VIRTQ_MODIFY_AVAIL_IDX, false },
	{ "used index", MLX5_VIRTQ_MODIFY_USED_IDX, false },
	{ "ring type", MLX5_VIRTQ_MODIFY_Q_TYPE, false },
	{ "version", MLX5_VIRTQ_MODIFY_VIRTIO_VERSION, false },
	{ "memory key", MLX5_VIRTQ_MODIFY_Q_MKEY, false },
	{ "features", MLX5_VIRTQ_MODIFY_QUEUE_FEATURES, false },
	{ "event mode", MLX5_VIRTQ_MODIFY_EVENT_MODE, false },
};

static bool
offered(const struct dev *d, uint64_t select)
{
	switch (select) {
	case MLX5_VIRTQ_MODIFY_ADDRS:
		return VIRTIO_CAP(d, virtio_net_q_addr_modify);
	case MLX5_VIRTQ_MODIFY_AVAIL_IDX:
	case MLX5_VIRTQ_MODIFY_USED_IDX:
		return VIRTIO_CAP(d, virtio_q_index_modify);
	case MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS:
	case MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE:
		return true;
	default:
		return VIRTIO_CAP(d, vnet_modify_ext);
	}
}

/* The queue's own values, so that nothing changes by the modify. */
static struct verdict
modify_same(struct dev *d, uint64_t select)
{
	fill_virtq(d, c.in, &c.attr);
	PRM_SET(general_obj_in_cmd_hdr, c.in, opcode, MLX5_CMD_OP_MODIFY_GENERAL_OBJECT);
	PRM_SET(general_obj_in_cmd_hdr, c.in, obj_id, c.q.vq.id);
	PRM_SET(virtio_net_q_object, c.obj, modify_field_select, select);
	return dev_modify(&c.q.vq, c.in, sizeof(c.in));
}

static void
check_fields(struct dev *d, uint8_t queue_state)
{
	struct verdict v;
	size_t i;

	bring_to(d, queue_state);
	for (i = 0; i < DIM(fields); i++) {
		v = modify_same(d, fields[i].select);
		if (!offered(d, fields[i].select))
			assert_refused(v, BAD_PARAM_ERR);
		else if (queue_state == MLX5_VIRTQ_STATE_ERR ||
				(queue_state == MLX5_VIRTQ_STATE_RDY && !fields[i].in_rdy))
			assert_refused(v, BAD_RES_STATE_ERR);
		else
			assert_accepted(v);
		assert_int_equal(virtq_state(&c.q.vq), queue_state);
	}
}

static void
fields_change_in_init_as_far_as_the_device_offers(void **state)
{
	check_fields(*state, MLX5_VIRTQ_STATE_INIT);
}

static void
only_the_dirty_bitmap_changes_in_ready(void **state)
{
	check_fields(*state, MLX5_VIRTQ_STATE_RDY);
}

static void
fields_change_in_suspend_as_far_as_the_device_offers(void **state)
{
	check_fields(*state, MLX5_VIRTQ_STATE_SUSPEND);
}

static void
nothing_changes_in_error(void **state)
{
	check_fields(*state, MLX5_VIRTQ_STATE_ERR);
}

static void
unknown_select_bits_are_refused(void **state)
{
	static const uint64_t unknown[] = { 1u << 1, 1u << 2, 1u << 15, UINT64_C(1) << 63 };
	size_t i;

	for (i = 0; i < DIM(unknown); i++) {
		assert_refused(modify_same(*state, unknown[i]), BAD_PARAM_ERR);
		assert_refused(modify_same(*state, unknown[i] |
			MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE), BAD_PARAM_ERR);
	}
}

static void
a_modify_that_selects_nothing_is_refused(void **state)
{
	assert_refused(modify_same(*state, 0), BAD_PARAM_ERR);
}

static void
the_size_cannot_change(void **state)
{
	struct virtq_status s;
	const void *ctx;

	fill_virtq(*state, c.in, &c.attr);
	PRM_SET(virtio_q, c.ctx, queue_size, SIZE / 2);
	PRM_SET(general_obj_in_cmd_hdr, c.in, opcode, MLX5_CMD_OP_MODIFY_GENERAL_OBJECT);
	PRM_SET(general_obj_in_cmd_hdr, c.in, obj_id, c.q.vq.id);
	PRM_SET(virtio_net_q_object, c.obj, modify_field_select,
		MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE);
	assert_accepted(dev_modify(&c.q.vq, c.in, sizeof(c.in)));
	s = virtq_query(&c.q.vq);
	ctx = PRM_ADDR(virtio_net_q_object, PRM_ADDR(query_virtio_net_q_out, s.out, obj_context),
		virtio_q_context);
	assert_int_equal(PRM_GET(virtio_q, ctx, queue_size), SIZE);
}

static void
fields_that_are_not_selected_do_not_change(void **state)
{
	struct virtq_status s;
	const void *ctx;

	if (!VIRTIO_CAP((struct dev *)*state, virtio_q_index_modify))
		skip();
	fill_virtq_modify(c.in, c.q.vq.id, MLX5_VIRTQ_MODIFY_AVAIL_IDX);
	PRM_SET(virtio_net_q_object, c.obj, hw_available_index, 7);
	PRM_SET(virtio_net_q_object, c.obj, hw_used_index, 9);
	PRM_SET(virtio_q, c.ctx, desc_addr, 0xdead0000);
	PRM_SET(virtio_net_q_object, c.obj, state, MLX5_VIRTQ_STATE_RDY);
	assert_accepted(dev_modify(&c.q.vq, c.in, sizeof(c.in)));
	s = virtq_query(&c.q.vq);
	ctx = PRM_ADDR(virtio_net_q_object, PRM_ADDR(query_virtio_net_q_out, s.out, obj_context),
		virtio_q_context);
	assert_int_equal(s.hw_avail, 7);
	assert_int_equal(s.hw_used, 0);
	assert_int_equal(s.state, MLX5_VIRTQ_STATE_INIT);
	assert_true(PRM_GET(virtio_q, ctx, desc_addr) == c.attr.desc_iova);
}

static void
fields_and_state_change_together_or_not_at_all(void **state)
{
	struct dev *d = *state;

	if (!VIRTIO_CAP(d, virtio_q_index_modify))
		skip();
	/* INIT to SUSPEND is no transition: the index must not change either. */
	fill_virtq_modify(c.in, c.q.vq.id, MLX5_VIRTQ_MODIFY_AVAIL_IDX | MLX5_VIRTQ_MODIFY_STATE);
	PRM_SET(virtio_net_q_object, c.obj, hw_available_index, 5);
	PRM_SET(virtio_net_q_object, c.obj, state, MLX5_VIRTQ_STATE_SUSPEND);
	assert_refused(dev_modify(&c.q.vq, c.in, sizeof(c.in)), BAD_RES_STATE_ERR);
	assert_int_equal(virtq_query(&c.q.vq).hw_avail, 0);
	/* A key that does not exist: the state must not change either. */
	if (VIRTIO_CAP(d, vnet_modify_ext)) {
		fill_virtq_modify(c.in, c.q.vq.id, MLX5_VIRTQ_MODIFY_Q_MKEY |
			MLX5_VIRTQ_MODIFY_STATE);
		PRM_SET(virtio_q, c.ctx, virtio_q_mkey, NO_SUCH_ID(24) << 8);
		PRM_SET(virtio_net_q_object, c.obj, state, MLX5_VIRTQ_STATE_RDY);
		assert_refused(dev_modify(&c.q.vq, c.in, sizeof(c.in)), BAD_RES_ERR);
		assert_int_equal(virtq_state(&c.q.vq), MLX5_VIRTQ_STATE_INIT);
	}
	fill_virtq_modify(c.in, c.q.vq.id, MLX5_VIRTQ_MODIFY_AVAIL_IDX |
		MLX5_VIRTQ_MODIFY_USED_IDX | MLX5_VIRTQ_MODIFY_STATE);
	PRM_SET(virtio_net_q_object, c.obj, hw_available_index, 5);
	PRM_SET(virtio_net_q_object, c.obj, hw_used_index, 5);
	PRM_SET(virtio_net_q_object, c.obj, state, MLX5_VIRTQ_STATE_RDY);
	c.q.ring.avail->idx = 5;
	c.q.ring.used->idx = 5;
	assert_accepted(dev_modify(&c.q.vq, c.in, sizeof(c.in)));
	assert_int_equal(virtq_query(&c.q.vq).hw_avail, 5);
	assert_int_equal(virtq_state(&c.q.vq), MLX5_VIRTQ_STATE_RDY);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_MADE(f) cmocka_unit_test_setup_teardown(f, setup_made, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_queue_starts_in_init_with_what_it_was_created_with),
		TEST(an_index_in_use_is_refused),
		TEST(an_index_is_free_again_after_destroy),
		TEST(an_index_that_the_device_does_not_have_is_refused),
		TEST(a_queue_of_size_0_is_refused),
		TEST(a_size_that_is_no_power_of_two_is_refused),
		TEST(a_size_larger_than_virtio_has_is_refused),
		TEST(a_larger_size_than_the_umems_are_for_is_refused),
		TEST(a_queue_that_does_not_start_in_init_is_refused),
		TEST(a_ring_type_that_does_not_exist_is_refused),
		TEST(an_event_mode_that_does_not_exist_is_refused),
		TEST(an_unknown_event_qp_is_refused),
		TEST(a_missing_event_qp_is_refused),
		TEST(a_software_qp_as_event_qp_is_refused),
		TEST(an_unknown_protection_domain_is_refused),
		TEST(an_unknown_tis_is_refused),
		TEST(a_transmit_queue_without_tis_is_refused),
		TEST(an_unknown_memory_key_is_refused),
		TEST(unknown_counters_are_refused),
		TEST(an_unknown_umem_1_is_refused),
		TEST(an_unknown_umem_2_is_refused),
		TEST(an_unknown_umem_3_is_refused),
		TEST(a_umem_1_that_is_too_small_is_refused),
		TEST(a_umem_2_that_is_too_small_is_refused),
		TEST(a_umem_3_that_is_too_small_is_refused),
		TEST(a_umem_range_outside_the_umem_is_refused),
		TEST(a_umem_range_that_wraps_around_is_refused),
		TEST(a_descriptor_table_that_is_not_aligned_is_refused),
		TEST(an_available_ring_that_is_not_aligned_is_refused),
		TEST(a_used_ring_that_is_not_aligned_is_refused),
		TEST(fields_of_an_emulated_pci_function_are_refused),
		TEST(features_are_refused_without_their_capability),
		TEST(objects_of_another_user_are_refused),
		TEST(an_event_qp_serves_one_queue),
		TEST(what_a_queue_needs_is_busy_while_it_lives),
		TEST(a_modify_through_one_queue_of_anothers_id_is_stopped_by_the_kernel),
		TEST_MADE(from_init_a_driver_can_make_ready_and_nothing_else),
		TEST_MADE(from_ready_a_driver_can_suspend_and_nothing_else),
		TEST_MADE(from_suspend_a_driver_can_make_ready_if_the_device_has_it),
		TEST_MADE(from_error_a_driver_can_only_destroy),
		TEST_MADE(a_state_that_does_not_exist_is_refused),
		TEST_MADE(a_queue_can_be_destroyed_in_every_state),
		TEST(a_queue_without_memory_key_can_be_created_but_not_made_ready),
		TEST_MADE(fields_change_in_init_as_far_as_the_device_offers),
		TEST_MADE(only_the_dirty_bitmap_changes_in_ready),
		TEST_MADE(fields_change_in_suspend_as_far_as_the_device_offers),
		TEST_MADE(nothing_changes_in_error),
		TEST_MADE(unknown_select_bits_are_refused),
		TEST_MADE(a_modify_that_selects_nothing_is_refused),
		TEST_MADE(the_size_cannot_change),
		TEST_MADE(fields_that_are_not_selected_do_not_change),
		TEST_MADE(fields_and_state_change_together_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

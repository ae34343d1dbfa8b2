/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The way to the device: what rdma-core and the kernel check, keep and give back by themselves.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "events.h"
#include "traffic.h"

enum {
	PAGE = 4096,
	HUGE = 2 << 20,
	EQE_BYTES = 64,
	/* struct mlx5_eqe of Linux: type; in OBJECT_CHANGE the object's type and number. */
	EQE_TYPE = 1,
	EQE_OBJ_TYPE = 0x22,
	EQE_OBJ_ID = 0x24,
};

/* ---- devices ---- */

static void
the_pci_address_is_in_the_uevent_of_the_rdma_device(void **state)
{
	struct dev *d = *state;
	char path[512], line[128];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/device/uevent", d->ctx->device->ibdev_path);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		found |= strncmp(line, "PCI_SLOT_NAME=", 14) == 0;
	fclose(f);
	assert_true(found);
}

static void
a_device_opens_with_unknown_flags_never(void **state)
{
	struct mlx5dv_context_attr attr = { .flags = MLX5DV_CONTEXT_FLAGS_DEVX << 1 };
	struct dev *d = *state;

	errno = 0;
	assert_null(mlx5dv_open_device(d->ctx->device, &attr));
	assert_int_equal(errno, EINVAL);
}

static void
the_port_is_ethernet_and_up(void **state)
{
	struct ibv_port_attr port;
	struct dev *d = *state;

	assert_int_equal(ibv_query_port(d->ctx, 1, &port), 0);
	assert_int_equal(port.link_layer, IBV_LINK_LAYER_ETHERNET);
	assert_int_equal(port.state, IBV_PORT_ACTIVE);
	assert_int_equal(ibv_query_port(d->ctx, 2, &port), EINVAL);
}

/* As ibv_devinfo -v reads them; what is in them is the port's matter. */
static void
the_ports_tables_are_as_long_as_it_says(void **state)
{
	struct ibv_port_attr port;
	struct ibv_gid_entry entry;
	struct dev *d = *state;
	union ibv_gid gid;
	__be16 pkey;
	int i, rc;

	assert_int_equal(ibv_query_port(d->ctx, 1, &port), 0);
	for (i = 0; i < port.gid_tbl_len; i++) {
		assert_int_equal(ibv_query_gid(d->ctx, 1, i, &gid), 0);
		rc = ibv_query_gid_ex(d->ctx, 1, (uint32_t)i, &entry, 0);
		assert_true(rc == 0 || rc == ENODATA);
	}
	assert_int_equal(ibv_query_gid(d->ctx, 1, port.gid_tbl_len, &gid), -1);
	assert_int_equal(ibv_query_gid(d->ctx, 2, 0, &gid), -1);
	assert_int_equal(ibv_query_gid_ex(d->ctx, 1, (uint32_t)port.gid_tbl_len, &entry, 0), EINVAL);
	assert_in_range(ibv_query_gid_table(d->ctx, &entry, 1, 0), 0, 1);
	for (i = 0; i < port.pkey_tbl_len; i++)
		assert_int_equal(ibv_query_pkey(d->ctx, 1, i, &pkey), 0);
	assert_int_equal(ibv_query_pkey(d->ctx, 1, port.pkey_tbl_len, &pkey), -1);
	assert_int_equal(ibv_get_pkey_index(d->ctx, 1, htobe16(0xffff)), 0);
}

static void
a_closed_context_takes_along_what_was_made_through_it(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)];
	struct dev *d = dev_open(false);
	void *p = aligned_alloc(PAGE, PAGE);
	struct obj o;

	(void)state;
	assert_non_null(d);
	fill_counters(in);
	assert_accepted(dev_create(d, in, sizeof(in), &o));
	assert_non_null(ibv_reg_mr(d->pd, p, PAGE, IBV_ACCESS_LOCAL_WRITE));
	assert_non_null(mlx5dv_devx_umem_reg(d->ctx, p, PAGE, IBV_ACCESS_LOCAL_WRITE));
	assert_non_null(mlx5dv_devx_create_event_channel(d->ctx, 0));
	/* Not dev_close(), which destroys: run.py sees what is left. */
	assert_int_equal(ibv_close_device(d->ctx), 0);
	free(d);
	free(p);
}

/* ---- memory regions ---- */

static void
a_memory_region_starts_equally_deep_in_a_page_at_both_addresses(void **state)
{
	struct dev *d = *state;
	uint8_t *p = aligned_alloc(PAGE, 2 * PAGE);
	struct ibv_mr *mr;

	errno = 0;
	mr = ibv_reg_mr_iova(d->pd, p + 1, PAGE, 0x1002, IBV_ACCESS_LOCAL_WRITE);
	assert_null(mr);
	assert_int_equal(errno, EINVAL);
	mr = ibv_reg_mr_iova(d->pd, p + 1, PAGE, 0x1001, IBV_ACCESS_LOCAL_WRITE);
	assert_non_null(mr);
	assert_int_equal(mr->lkey, mr->rkey);
	assert_int_equal(ibv_dereg_mr(mr), 0);
	free(p);
}

static void
a_memory_region_has_bytes(void **state)
{
	struct dev *d = *state;
	int x;

	errno = 0;
	assert_null(ibv_reg_mr(d->pd, &x, 0, IBV_ACCESS_LOCAL_WRITE));
	assert_int_equal(errno, EINVAL);
}

static void
remote_writing_without_local_writing_is_refused(void **state)
{
	struct dev *d = *state;
	uint64_t x;

	errno = 0;
	assert_null(ibv_reg_mr(d->pd, &x, sizeof(x), IBV_ACCESS_REMOTE_WRITE));
	assert_int_equal(errno, EINVAL);
}

static void
each_memory_region_has_another_key(void **state)
{
	struct ibv_mr *a, *b;
	struct dev *d = *state;
	uint64_t x;

	a = ibv_reg_mr(d->pd, &x, sizeof(x), IBV_ACCESS_LOCAL_WRITE);
	b = ibv_reg_mr(d->pd, &x, sizeof(x), IBV_ACCESS_LOCAL_WRITE);
	assert_non_null(a);
	assert_non_null(b);
	assert_int_not_equal(a->lkey, b->lkey);
	assert_int_equal(ibv_dereg_mr(b), 0);
	assert_int_equal(ibv_dereg_mr(a), 0);
}

/* ---- umems ---- */

static void
a_umem_with_pages_larger_than_it_is_aligned_for_is_refused(void **state)
{
	uint8_t *p = aligned_alloc(HUGE, HUGE);
	struct mlx5dv_devx_umem_in in = {
		.addr = p, .size = PAGE, .access = IBV_ACCESS_LOCAL_WRITE, .pgsz_bitmap = HUGE,
	};
	struct dev *d = *state;

	memset(p, 0, PAGE);
	errno = 0;
	assert_null(mlx5dv_devx_umem_reg_ex(d->ctx, &in));
	assert_int_equal(errno, EINVAL);
	free(p);
}

static void
a_umem_starts_anywhere_in_a_page(void **state)
{
	uint8_t *p = aligned_alloc(PAGE, 2 * PAGE);
	struct mlx5dv_devx_umem *umem;
	struct dev *d = *state;

	memset(p, 0, 2 * PAGE);
	umem = mlx5dv_devx_umem_reg(d->ctx, p + 64, PAGE, IBV_ACCESS_LOCAL_WRITE);
	assert_non_null(umem);
	assert_int_equal(mlx5dv_devx_umem_dereg(umem), 0);
	free(p);
}

static void
a_umem_is_not_paged_on_demand(void **state)
{
	struct dev *d = *state;
	uint64_t x;

	errno = 0;
	assert_null(mlx5dv_devx_umem_reg(d->ctx, &x, sizeof(x), IBV_ACCESS_ON_DEMAND));
	assert_int_equal(errno, EINVAL);
}

/* ---- commands ---- */

static void
a_mailbox_longer_than_64_kib_does_not_reach_the_kernel(void **state)
{
	uint8_t out[PRM_BYTES(create_mkey_out)];
	uint8_t *in = calloc(1, UINT16_MAX + 1);
	struct dev *d = *state;

	PRM_SET(create_mkey_in, in, opcode, MLX5_CMD_OP_CREATE_MKEY);
	errno = 0;
	assert_null(mlx5dv_devx_obj_create(d->ctx, in, UINT16_MAX + 1, out, sizeof(out)));
	assert_int_equal(errno, EINVAL);
	free(in);
}

static void
a_command_on_objects_is_no_general_one(void **state)
{
	uint8_t in[PRM_BYTES(alloc_pd_in)], out[PRM_BYTES(alloc_pd_out)];
	struct verdict v;

	fill_pd(in);
	v = dev_cmd(*state, in, sizeof(in), out, sizeof(out));
	assert_refused_by_kernel(v);
}

static void
an_object_is_not_changed_by_a_query(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)];
	uint8_t query[PRM_BYTES(general_obj_in_cmd_hdr)] = {0};
	struct verdict v;
	struct obj o;

	fill_counters(in);
	o = create(*state, in, sizeof(in));
	PRM_SET(general_obj_in_cmd_hdr, query, opcode, MLX5_CMD_OP_QUERY_GENERAL_OBJECT);
	PRM_SET(general_obj_in_cmd_hdr, query, obj_type, MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS);
	PRM_SET(general_obj_in_cmd_hdr, query, obj_id, o.id);
	v = dev_modify(&o, query, sizeof(query));
	destroy(&o);
	assert_refused_by_kernel(v);
}

static void
the_user_id_of_a_command_is_the_kernels_to_set(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)];
	struct obj o;

	/* As another user's it would be refused. */
	fill_counters(in);
	PRM_SET(general_obj_in_cmd_hdr, in, uid, 0xfff0);
	o = create(*state, in, sizeof(in));
	destroy(&o);
}

static void
an_event_queue_that_does_not_exist_is_stopped_by_the_kernel(void **state)
{
	uint8_t in[PRM_BYTES(create_cq_in)];
	struct dev *d = *state;
	struct umem u = umem_create(d, 2 * PAGE);
	struct obj o = {0};
	struct verdict v;
	uint32_t eqn;

	fill_cq(d, in, u.id, PAGE, 2);
	PRM_SET(cqc, PRM_ADDR(create_cq_in, in, cq_context), c_eqn_or_apu_element, 0x7f);
	v = dev_create(d, in, sizeof(in), &o);
	umem_destroy(&u);
	assert_null(o.obj);
	assert_refused_by_kernel(v);
	assert_int_not_equal(mlx5dv_devx_query_eqn(d->ctx, 1u << 20, &eqn), 0);
}

/* ---- doorbell pages ---- */

static void
uars_of_one_page_have_registers_of_their_own(void **state)
{
	struct mlx5dv_devx_uar *uar[3], *a, *b;
	bool shared = false;
	struct dev *d = *state;
	int i, j;

	for (i = 0; i < 3; i++) {
		uar[i] = mlx5dv_devx_alloc_uar(d->ctx, MLX5DV_UAR_ALLOC_TYPE_BF);
		assert_non_null(uar[i]);
	}
	for (i = 0; i < 3; i++) {
		for (j = 0; j < i; j++) {
			a = uar[i];
			b = uar[j];
			assert_ptr_not_equal(a->reg_addr, b->reg_addr);
			assert_int_equal(a->page_id == b->page_id, a->base_addr == b->base_addr);
			shared |= a->page_id == b->page_id;
		}
	}
	assert_true(shared);
	for (i = 0; i < 3; i++)
		mlx5dv_devx_free_uar(uar[i]);
}

static void
the_uncached_uar_of_a_context_is_one(void **state)
{
	struct mlx5dv_devx_uar *a, *b;
	struct dev *d = *state;

	a = mlx5dv_devx_alloc_uar(d->ctx, MLX5DV_UAR_ALLOC_TYPE_NC);
	b = mlx5dv_devx_alloc_uar(d->ctx, MLX5DV_UAR_ALLOC_TYPE_NC);
	assert_non_null(a);
	assert_ptr_equal(a, b);
	mlx5dv_devx_free_uar(b);
	mlx5dv_devx_free_uar(a);
	errno = 0;
	assert_null(mlx5dv_devx_alloc_uar(d->ctx, 1u << 7));
	assert_int_equal(errno, EOPNOTSUPP);
}

static void
a_var_is_mapped_through_the_command_file(void **state)
{
	struct dev *d = *state;
	void *page;

	assert_int_equal(d->var->length, PAGE);
	page = mmap(NULL, d->var->length, PROT_WRITE, MAP_SHARED, d->ctx->cmd_fd, d->var->mmap_off);
	assert_ptr_not_equal(page, MAP_FAILED);
	munmap(page, d->var->length);
	errno = 0;
	assert_null(mlx5dv_alloc_var(d->ctx, 1));
	assert_int_equal(errno, EOPNOTSUPP);
}

/* ---- event channels ---- */

static void
a_channel_takes_known_flags(void **state)
{
	struct dev *d = *state;

	errno = 0;
	assert_null(mlx5dv_devx_create_event_channel(d->ctx, 1u << 5));
	assert_int_equal(errno, EINVAL);
}

static void
an_event_that_the_kernel_does_not_know_is_not_subscribed_to(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)];
	struct channel ch = channel_create(*state);
	uint16_t type = 0xee;
	struct obj o;
	int rc;

	fill_counters(in);
	o = create(*state, in, sizeof(in));
	rc = mlx5dv_devx_subscribe_devx_event(ch.ch, o.obj, sizeof(type), &type, 0);
	destroy(&o);
	channel_discard(&ch);
	assert_int_equal(rc, EINVAL);
}

static void *
wait_for_event(void *arg)
{
	struct mlx5dv_devx_async_event_hdr ev;

	mlx5dv_devx_get_event(arg, &ev, sizeof(ev));
	return NULL;
}

static void
a_thread_that_waits_for_events_can_be_cancelled(void **state)
{
	struct mlx5dv_devx_event_channel *ch;
	struct dev *d = *state;
	pthread_t t;
	void *end;

	ch = mlx5dv_devx_create_event_channel(d->ctx,
		MLX5DV_DEVX_CREATE_EVENT_CHANNEL_FLAGS_OMIT_EV_DATA);
	assert_non_null(ch);
	assert_int_equal(pthread_create(&t, NULL, wait_for_event, ch), 0);
	sleep_us(20000);
	assert_int_equal(pthread_cancel(t), 0);
	assert_int_equal(pthread_join(t, &end), 0);
	assert_ptr_equal(end, PTHREAD_CANCELED);
	/* It left nothing locked. */
	mlx5dv_devx_destroy_event_channel(ch);
}

/* A queue that breaks on a buffer behind the end of memory. */
static void
break_queue(struct pair *p)
{
	struct buf bad = { PAIR_IOVA + PAIR_MEM, 100 };

	ring_post(&p->tx.ring, &bad, 1, 0);
	queue_kick(&p->tx);
}

union event {
	struct mlx5dv_devx_async_event_hdr hdr;
	uint8_t room[sizeof(struct mlx5dv_devx_async_event_hdr) + EQE_BYTES];
};

static void
an_event_with_data_names_what_happened_to_whom(void **state)
{
	struct mlx5dv_devx_event_channel *ch;
	struct dev *d = *state;
	struct pollfd poll_in;
	struct pair p = {0};
	struct obj vq;
	union event ev;

	pair_create(&p, d, 0, 0);
	vq = p.tx.vq;
	ch = mlx5dv_devx_create_event_channel(d->ctx, 0);
	assert_non_null(ch);
	assert_int_equal(mlx5dv_devx_subscribe_devx_event(ch, vq.obj, sizeof(uint16_t),
		(uint16_t[]){ MLX5_EVENT_TYPE_OBJECT_CHANGE }, 0x1122334455667788), 0);
	pair_start(&p);
	break_queue(&p);
	poll_in = (struct pollfd){ .fd = ch->fd, .events = POLLIN };
	assert_int_equal(poll(&poll_in, 1, WAIT_MS), 1);
	/* It stays until there is room for all of it. */
	errno = 0;
	assert_int_equal(mlx5dv_devx_get_event(ch, &ev.hdr, sizeof(ev) - 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(mlx5dv_devx_get_event(ch, &ev.hdr, sizeof(ev)), sizeof(ev));
	assert_true(ev.hdr.cookie == 0x1122334455667788);
	assert_int_equal(ev.hdr.out_data[EQE_TYPE], MLX5_EVENT_TYPE_OBJECT_CHANGE);
	assert_int_equal(prm_get(ev.hdr.out_data, EQE_OBJ_TYPE * 8, 16),
		MLX5_OBJ_TYPE_VIRTIO_NET_Q);
	assert_int_equal(prm_get(ev.hdr.out_data, EQE_OBJ_ID * 8, 32), vq.id);
	pair_destroy(&p);
	mlx5dv_devx_destroy_event_channel(ch);
}

static void
an_event_can_be_sent_to_an_eventfd(void **state)
{
	struct channel ch = channel_create(*state);
	int fd = eventfd(0, EFD_NONBLOCK);
	struct pair p = {0};
	uint64_t n = 0;

	assert_true(fd >= 0);
	pair_create(&p, *state, 0, 0);
	assert_int_equal(mlx5dv_devx_subscribe_devx_event_fd(ch.ch, STDIN_FILENO, p.tx.vq.obj,
		MLX5_EVENT_TYPE_OBJECT_CHANGE), EINVAL);
	assert_int_equal(mlx5dv_devx_subscribe_devx_event_fd(ch.ch, fd, p.tx.vq.obj,
		MLX5_EVENT_TYPE_OBJECT_CHANGE), 0);
	pair_start(&p);
	break_queue(&p);
	assert_true(wait_until(read(fd, &n, sizeof(n)) == sizeof(n)));
	assert_true(n == 1);
	/* Not to the channel. */
	assert_int_equal(channel_wait(&ch, QUIET_MS), 0);
	pair_destroy(&p);
	channel_discard(&ch);
	close(fd);
}

static void
a_cookie_is_queued_once_until_it_is_read(void **state)
{
	struct channel ch = channel_create(*state);
	const uint64_t cookie = 0xc00c1e;
	struct pair p = {0};

	pair_create(&p, *state, 0, 0);
	/* The same twice: two subscriptions, each with its own cookie to queue. */
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, cookie);
	channel_subscribe(&ch, &p.tx.vq, MLX5_EVENT_TYPE_OBJECT_CHANGE, cookie + 1);
	pair_start(&p);
	break_queue(&p);
	assert_true(wait_until(virtq_state(&p.tx.vq) == MLX5_VIRTQ_STATE_ERR));
	/* The object goes; what is queued can still be read. */
	pair_destroy(&p);
	assert_int_equal(channel_wait(&ch, WAIT_MS) + channel_wait(&ch, WAIT_MS), 2 * cookie + 1);
	assert_int_equal(channel_wait(&ch, QUIET_MS), 0);
	channel_discard(&ch);
}

/* ---- flow rules ---- */

static void
a_matcher_is_busy_while_a_rule_uses_it(void **state)
{
	const struct match any = { 0 };
	struct pair p = {0};
	struct flow f;

	pair_create(&p, *state, 0, 0);
	assert_int_equal(flow_create(&f, *state, 4, &any, &p.tir), 0);
	assert_int_equal(mlx5dv_destroy_flow_matcher(f.matcher), EBUSY);
	flow_destroy(&f);
	pair_destroy(&p);
}

static void
a_rule_needs_a_tir_to_send_to(void **state)
{
	uint8_t in[PRM_BYTES(create_virtio_q_counters_in)];
	const struct match any = { 0 };
	struct flow f = { 0 };
	struct obj o;
	int rc;

	fill_counters(in);
	o = create(*state, in, sizeof(in));
	rc = flow_create(&f, *state, 4, &any, &o);
	if (rc == 0)
		flow_destroy(&f);
	destroy(&o);
	assert_int_equal(rc, EINVAL);
}

static void
more_rules_than_one_group_holds(void **state)
{
	enum { RULES = 150 };
	struct { struct mlx5dv_flow_match_parameters param; uint64_t outer[8]; } match;
	struct mlx5dv_flow_matcher_attr attr = {
		.type = IBV_FLOW_ATTR_NORMAL, .priority = 2,
		.match_criteria_enable = MLX5_MATCH_OUTER_HEADERS, .match_mask = &match.param,
	};
	struct mlx5dv_flow_action_attr to = { .type = MLX5DV_FLOW_ACTION_DEST_DEVX };
	struct mlx5dv_flow_matcher *matcher;
	struct ibv_flow *flows[RULES];
	struct dev *d = *state;
	struct pair p = {0};
	int i;

	pair_create(&p, d, 0, 0);
	memset(&match, 0, sizeof(match));
	match.param.match_sz = sizeof(match.outer);
	PRM_SET(fte_match_set_lyr_2_4, match.outer, dmac_15_0, 0xffff);
	matcher = mlx5dv_create_flow_matcher(d->ctx, &attr);
	assert_non_null(matcher);
	to.obj = p.tir.obj;
	for (i = 0; i < RULES; i++) {
		PRM_SET(fte_match_set_lyr_2_4, match.outer, dmac_15_0, i);
		flows[i] = mlx5dv_create_flow(matcher, &match.param, 1, &to);
		assert_non_null(flows[i]);
	}
	for (i = 0; i < RULES; i++)
		assert_int_equal(ibv_destroy_flow(flows[i]), 0);
	assert_int_equal(mlx5dv_destroy_flow_matcher(matcher), 0);
	pair_destroy(&p);
}

/* ---- asynchronous events ---- */

static void
the_file_of_asynchronous_events_honours_its_flags(void **state)
{
	struct ibv_async_event ev;
	struct dev *d = *state;
	int flags = fcntl(d->ctx->async_fd, F_GETFL);

	assert_int_equal(fcntl(d->ctx->async_fd, F_SETFL, flags | O_NONBLOCK), 0);
	errno = 0;
	assert_int_equal(ibv_get_async_event(d->ctx, &ev), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(fcntl(d->ctx->async_fd, F_SETFL, flags), 0);
}

#define TEST(f) cmocka_unit_test(f)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_pci_address_is_in_the_uevent_of_the_rdma_device),
		TEST(a_device_opens_with_unknown_flags_never),
		TEST(the_port_is_ethernet_and_up),
		TEST(the_ports_tables_are_as_long_as_it_says),
		TEST(a_closed_context_takes_along_what_was_made_through_it),
		TEST(a_memory_region_starts_equally_deep_in_a_page_at_both_addresses),
		TEST(a_memory_region_has_bytes),
		TEST(remote_writing_without_local_writing_is_refused),
		TEST(each_memory_region_has_another_key),
		TEST(a_umem_with_pages_larger_than_it_is_aligned_for_is_refused),
		TEST(a_umem_starts_anywhere_in_a_page),
		TEST(a_umem_is_not_paged_on_demand),
		TEST(a_mailbox_longer_than_64_kib_does_not_reach_the_kernel),
		TEST(a_command_on_objects_is_no_general_one),
		TEST(an_object_is_not_changed_by_a_query),
		TEST(the_user_id_of_a_command_is_the_kernels_to_set),
		TEST(an_event_queue_that_does_not_exist_is_stopped_by_the_kernel),
		TEST(uars_of_one_page_have_registers_of_their_own),
		TEST(the_uncached_uar_of_a_context_is_one),
		TEST(a_var_is_mapped_through_the_command_file),
		TEST(a_channel_takes_known_flags),
		TEST(an_event_that_the_kernel_does_not_know_is_not_subscribed_to),
		TEST(a_thread_that_waits_for_events_can_be_cancelled),
		TEST(an_event_with_data_names_what_happened_to_whom),
		TEST(an_event_can_be_sent_to_an_eventfd),
		TEST(a_cookie_is_queued_once_until_it_is_read),
		TEST(a_matcher_is_busy_while_a_rule_uses_it),
		TEST(a_rule_needs_a_tir_to_send_to),
		TEST(more_rules_than_one_group_holds),
		TEST(the_file_of_asynchronous_events_honours_its_flags),
	};

	return cmocka_run_group_tests(tests, dev_setup, dev_teardown);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: what commands cost with a latency profile, that it is what the guide says, and that the
 * published figures come out. The clock of the test's thread is the test's own: it moves when the
 * thread sleeps, or stays to let commands be given at once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "emu_card.h"

#define NS_PER_S INT64_C(1000000000)
#define US INT64_C(1000)
#define MS (1000 * US)

/* ---- the clock ---- */

/* Whose commands sleep. */
static struct emu_dev *sleeper;

static _Thread_local struct {
	bool own;
	bool stands;
	int64_t now;
	int64_t last;              /* latest end of a sleep */
} clk;

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __real_clock_nanosleep(clockid_t id, int flags, const struct timespec *ts,
		struct timespec *rest);
int __wrap_clock_nanosleep(clockid_t id, int flags, const struct timespec *ts,
		struct timespec *rest);

int
__wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	if (!clk.own)
		return __real_clock_gettime(id, ts);
	ts->tv_sec = clk.now / NS_PER_S;
	ts->tv_nsec = clk.now % NS_PER_S;
	return 0;
}

int
__wrap_clock_nanosleep(clockid_t id, int flags, const struct timespec *ts, struct timespec *rest)
{
	int64_t until = ts->tv_sec * NS_PER_S + ts->tv_nsec;

	if (!clk.own)
		return __real_clock_nanosleep(id, flags, ts, rest);
	/* No lock is held meanwhile. */
	if (sleeper != NULL) {
		emu_dev_lock(sleeper);
		emu_dev_unlock(sleeper);
	}
	assert_int_equal(id, CLOCK_MONOTONIC);
	assert_int_equal(flags, TIMER_ABSTIME);
	clk.last = until > clk.last ? until : clk.last;
	if (!clk.stands)
		clk.now = until;
	return 0;
}

/* From here on commands are given one after the other, or all at once. */
static int64_t
begin(bool at_once)
{
	clk.stands = at_once;
	clk.last = clk.now;
	return clk.now;
}

/* All have ended: the time that they took. */
static int64_t
end(int64_t start)
{
	clk.now = clk.last;
	return clk.last - start;
}

/* ---- a card ---- */

enum { QUEUES = 32, SIZE = 16 };

static int
latency_setup(void **state)
{
	char err[128];

	clk.own = true;
	clk.stands = false;
	clk.now = NS_PER_S;
	assert_int_equal(emu_latency_set("cx6dx", err, sizeof(err)), 0);
	*state = card_new("");
	sleeper = ((struct card *)*state)->dev;
	return 0;
}

static int
latency_teardown(void **state)
{
	char err[128];

	sleeper = NULL;
	card_free(*state);
	clk.own = false;
	return emu_latency_set("none", err, sizeof(err));
}

static void
create_queues(struct card *card, struct queue *q)
{
	uint16_t i;

	for (i = 0; i < QUEUES; i++) {
		queue_create(card, &q[i], i, SIZE);
		assert_int_equal(queue_set_state(&q[i], MLX5_VIRTQ_STATE_RDY), 0);
	}
}

/* The time that all queues take, to the microsecond. */
static int64_t
set_states(struct queue *q, unsigned int state, bool at_once)
{
	int64_t start = begin(at_once);
	int i;

	for (i = 0; i < QUEUES; i++)
		assert_int_equal(queue_set_state(&q[i], state), 0);
	return end(start);
}

static int64_t
query_all(struct queue *q, bool at_once)
{
	int64_t start = begin(at_once);
	int i;

	for (i = 0; i < QUEUES; i++)
		queue_query(&q[i]);
	return end(start);
}

/* The time of @p n commands with this opcode, of a queue if it is one of general objects, that are
 * not executed; @p bytes is the memory of a key. */
static int64_t
charge(struct emu_dev *dev, uint16_t opcode, uint64_t select, unsigned int to, uint64_t bytes,
		int n, bool at_once)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)] = {0};
	const struct emu_cmd cmd = { .in = in, .inlen = sizeof(in), .key_bytes = bytes };
	void *obj = PRM_ADDR(create_virtio_net_q_in, in, obj_context);
	int64_t start;
	int i;

	PRM_SET(general_obj_in_cmd_hdr, in, opcode, opcode);
	PRM_SET(general_obj_in_cmd_hdr, in, obj_type, MLX5_OBJ_TYPE_VIRTIO_NET_Q);
	PRM_SET(virtio_net_q_object, obj, modify_field_select, select);
	PRM_SET(virtio_net_q_object, obj, state, to);
	start = begin(at_once);
	for (i = 0; i < n; i++)
		emu_latency_charge(dev, &cmd, MLX5_CMD_STAT_OK, (uint64_t)clk.now);
	return end(start);
}

/* Within 2 % of a published figure. */
static void
check_near(int64_t ns, int64_t figure)
{
	assert_in_range(ns, figure * 98 / 100, figure * 102 / 100);
}

/* ---- the published figures come out ---- */

static void
suspending_32_queues_one_at_a_time(void **state)
{
	struct queue q[QUEUES];

	create_queues(*state, q);
	/* 37 ms, of which 10.5 ms unregister notifiers. */
	check_near(set_states(q, MLX5_VIRTQ_STATE_SUSPEND, false) + query_all(q, false),
		26500 * US);
}

static void
suspending_32_queues_at_once(void **state)
{
	struct queue q[QUEUES];

	create_queues(*state, q);
	check_near(set_states(q, MLX5_VIRTQ_STATE_SUSPEND, true) + query_all(q, true), 2500 * US);
}

static void
resuming_32_queues(void **state)
{
	struct queue q[QUEUES];

	create_queues(*state, q);
	set_states(q, MLX5_VIRTQ_STATE_SUSPEND, false);
	check_near(set_states(q, MLX5_VIRTQ_STATE_RDY, false), 16 * MS);
	set_states(q, MLX5_VIRTQ_STATE_SUSPEND, false);
	check_near(set_states(q, MLX5_VIRTQ_STATE_RDY, true), 5 * MS);
}

/* Fields and, if @p select says so, the state: RDY. */
static void
modify_with_fields(struct queue *q, uint64_t select)
{
	uint8_t in[PRM_BYTES(create_virtio_net_q_in)];

	queue_fill_modify(q, select | MLX5_VIRTQ_MODIFY_AVAIL_IDX, in);
	PRM_SET(virtio_net_q_object, PRM_ADDR(create_virtio_net_q_in, in, obj_context), state,
		MLX5_VIRTQ_STATE_RDY);
	assert_int_equal(queue_modify(q, in), 0);
}

/* What a driver does besides at DRIVER_OK: tables of queues, steering. */
static void
eight_other_commands(struct card *card)
{
	int i;

	for (i = 0; i < 8; i++)
		card_counters(card);
}

/* As Linux does it, fields first and the state then; or in one command. */
static void
starting_32_queues_that_were_created_before(void **state)
{
	struct queue q[QUEUES];
	int64_t start;
	int i;

	for (i = 0; i < QUEUES; i++)
		queue_create(*state, &q[i], (uint16_t)i, SIZE);
	start = begin(false);
	for (i = 0; i < QUEUES; i++)
		modify_with_fields(&q[i], 0);
	for (i = 0; i < QUEUES; i++)
		assert_int_equal(queue_set_state(&q[i], MLX5_VIRTQ_STATE_RDY), 0);
	check_near(end(start), 60 * MS);
	set_states(q, MLX5_VIRTQ_STATE_SUSPEND, false);
	start = begin(false);
	for (i = 0; i < QUEUES; i++)
		modify_with_fields(&q[i], MLX5_VIRTQ_MODIFY_STATE);
	check_near(end(start), 60 * MS);
}

/* What keeping event queues saves: CQ, two QPs and the umems of two, but both QPs are reset. */
static void
keeping_event_queues(void **state)
{
	struct card *card = *state;
	int64_t start, created, kept;
	struct evq e;

	start = begin(false);
	evq_create(card, &e, 1, false);
	card_counters(card); /* as long as a umem */
	card_counters(card);
	created = end(start);
	start = begin(false);
	assert_int_equal(qp_modify(card, MLX5_CMD_OP_2RST_QP, e.fw, e.sw), 0);
	assert_int_equal(qp_modify(card, MLX5_CMD_OP_2RST_QP, e.sw, e.fw), 0);
	kept = end(start);
	check_near(created - kept, 1500 * US);
}

/* The commands of Linux's setup_vq(): CQ, two QPs that are connected, counters, three umems, the
 * queue, and its way to RDY. */
static void
creating_32_queues(void **state)
{
	static const uint16_t transitions[] = {
		MLX5_CMD_OP_RST2INIT_QP, MLX5_CMD_OP_INIT2RTR_QP, MLX5_CMD_OP_RTR2RTS_QP
	};
	struct card *card = *state;
	struct evq e[QUEUES];
	struct queue q[QUEUES];
	int64_t start;
	size_t t;
	int i, j;

	start = begin(false);
	for (i = 0; i < QUEUES; i++) {
		evq_create(card, &e[i], 1, false);
		/* Linux resets both, and leaves its own end in RTR: seven changes, too. */
		for (t = 0; t < DIM(transitions); t++) {
			assert_int_equal(qp_modify(card, transitions[t], e[i].fw, e[i].sw), 0);
			assert_int_equal(qp_modify(card, transitions[t], e[i].sw, e[i].fw), 0);
		}
		assert_int_equal(qp_modify(card, MLX5_CMD_OP_2RST_QP, e[i].sw, 0), 0);
		for (j = 0; j < 3; j++)
			card_counters(card); /* as long as a umem */
		queue_create_with(card, &q[i], (uint16_t)i, SIZE, NULL, card_counters(card));
		assert_int_equal(queue_set_state(&q[i], MLX5_VIRTQ_STATE_RDY), 0);
	}
	eight_other_commands(card);
	check_near(end(start), 370 * MS);
}

/* 4 devices with 256 GiB in keys of 2 GiB: creating them at once saves 3/4, deleting them 7/8, and
 * the two are 1.63 s together. */
static void
keys_of_four_large_guests(void **state)
{
	static const struct {
		uint16_t opcode;
		int64_t gain;
	} ops[] = {
		{ MLX5_CMD_OP_CREATE_MKEY, 4 }, { MLX5_CMD_OP_DESTROY_MKEY, 8 },
	};
	struct emu_dev *dev = ((struct card *)*state)->dev;
	int64_t ns[2], saved = 0;
	size_t i;

	for (i = 0; i < DIM(ops); i++) {
		ns[0] = charge(dev, ops[i].opcode, 0, 0, UINT64_C(2) << 30, 128, false);
		ns[1] = charge(dev, ops[i].opcode, 0, 0, UINT64_C(2) << 30, 128, true);
		/* The last one's own time is on top. */
		assert_in_range(ns[0] * 100 / ns[1], ops[i].gain * 94, ops[i].gain * 101);
		saved += (ns[0] - ns[1]) * 4;
	}
	check_near(saved, 1630 * MS);
}

/* ---- the guide's table ---- */

enum { GIB_MORE = 1 << 30 };

/* Rows by what the guide calls them. */
static const struct {
	const char *name;
	uint16_t opcode;
	uint64_t select;           /* of a MODIFY */
	uint8_t to;                /* ... and the state */
	uint64_t more;             /* memory of a key, whose cost without is left out */
} documented[] = {
	{ "all others", MLX5_CMD_OP_ALLOC_PD, 0, 0, 0 },
	{ "MODIFY queue to SUSPEND", MLX5_CMD_OP_MODIFY_GENERAL_OBJECT, MLX5_VIRTQ_MODIFY_STATE,
		MLX5_VIRTQ_STATE_SUSPEND, 0 },
	{ "QUERY queue", MLX5_CMD_OP_QUERY_GENERAL_OBJECT, 0, 0, 0 },
	{ "MODIFY queue to RDY", MLX5_CMD_OP_MODIFY_GENERAL_OBJECT, MLX5_VIRTQ_MODIFY_STATE,
		MLX5_VIRTQ_STATE_RDY, 0 },
	{ "MODIFY queue, dirty logging", MLX5_CMD_OP_MODIFY_GENERAL_OBJECT,
		MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_PARAMS |
		MLX5_VIRTQ_MODIFY_DIRTY_BITMAP_DUMP_ENABLE, 0, 0 },
	{ "MODIFY queue, fields", MLX5_CMD_OP_MODIFY_GENERAL_OBJECT,
		MLX5_VIRTQ_MODIFY_AVAIL_IDX, 0, 0 },
	{ "MODIFY queue, fields and state", MLX5_CMD_OP_MODIFY_GENERAL_OBJECT,
		MLX5_VIRTQ_MODIFY_AVAIL_IDX | MLX5_VIRTQ_MODIFY_STATE, MLX5_VIRTQ_STATE_RDY, 0 },
	{ "CREATE_CQ", MLX5_CMD_OP_CREATE_CQ, 0, 0, 0 },
	{ "CREATE_QP", MLX5_CMD_OP_CREATE_QP, 0, 0, 0 },
	{ "2RST_QP", MLX5_CMD_OP_2RST_QP, 0, 0, 0 },
	{ "RST2INIT_QP", MLX5_CMD_OP_RST2INIT_QP, 0, 0, 0 },
	{ "INIT2RTR_QP", MLX5_CMD_OP_INIT2RTR_QP, 0, 0, 0 },
	{ "RTR2RTS_QP", MLX5_CMD_OP_RTR2RTS_QP, 0, 0, 0 },
	{ "CREATE queue", MLX5_CMD_OP_CREATE_GENERAL_OBJECT, 0, 0, 0 },
	{ "CREATE_MKEY", MLX5_CMD_OP_CREATE_MKEY, 0, 0, 0 },
	{ "CREATE_MKEY, a GiB more", MLX5_CMD_OP_CREATE_MKEY, 0, 0, GIB_MORE },
	{ "DESTROY_MKEY", MLX5_CMD_OP_DESTROY_MKEY, 0, 0, 0 },
	{ "DESTROY_MKEY, a GiB more", MLX5_CMD_OP_DESTROY_MKEY, 0, 0, GIB_MORE },
};

/* Where the table's second column begins; the third is right of it. */
enum { NAME_WIDTH = 40 };

/* The figures of a line of the guide's table; false if it is none. */
static bool
documented_row(const char *line, char *name, unsigned int *alone, unsigned int *single)
{
	size_t len = NAME_WIDTH;

	if (strlen(line) <= NAME_WIDTH || line[NAME_WIDTH] < '0' || line[NAME_WIDTH] > '9' ||
			sscanf(line + NAME_WIDTH, "%u   %u   ", alone, single) != 2)
		return false;
	while (len > 0 && line[len - 1] == ' ')
		len--;
	memcpy(name, line, len);
	name[len] = 0;
	return true;
}

/* Time alone, and what a second one at the same time adds, in us. */
static void
check_row(struct emu_dev *dev, size_t row, unsigned int alone, unsigned int single)
{
	int64_t one[2] = {0}, two[2] = {0};
	uint64_t bytes[2] = { documented[row].more, 0 };
	int i;

	for (i = 0; i < 2; i++) {
		one[i] = charge(dev, documented[row].opcode, documented[row].select,
			documented[row].to, bytes[i], 1, true);
		two[i] = charge(dev, documented[row].opcode, documented[row].select,
			documented[row].to, bytes[i], 2, true);
		if (bytes[0] == 0)
			break;
	}
	assert_int_equal((one[0] - one[1]) / US, alone);
	assert_int_equal((two[0] - one[0] - (two[1] - one[1])) / US, single);
}

static void
every_row_is_what_the_guide_says(void **state)
{
	struct emu_dev *dev = ((struct card *)*state)->dev;
	char line[256], name[NAME_WIDTH + 1];
	unsigned int alone, single;
	size_t found = 0;
	FILE *guide = fopen(LATENCY_GUIDE, "r");

	assert_non_null(guide);
	while (fgets(line, sizeof(line), guide) != NULL) {
		if (!documented_row(line, name, &alone, &single))
			continue;
		assert_true(found < DIM(documented));
		assert_string_equal(name, documented[found].name);
		check_row(dev, found, alone, single);
		found++;
	}
	fclose(guide);
	assert_int_equal(found, DIM(documented));
}

/* ---- the rest ---- */

static uint32_t
create_key(struct card *card, uint64_t len)
{
	uint8_t in[PRM_BYTES(create_mkey_in)] = {0};
	void *mkc = PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry);

	PRM_SET(create_mkey_in, in, mkey_umem_valid, 1);
	PRM_SET(create_mkey_in, in, mkey_umem_id, card->umem);
	PRM_SET(mkc, mkc, access_mode_1_0, MLX5_MKC_ACCESS_MODE_MTT);
	PRM_SET(mkc, mkc, lr, 1);
	PRM_SET(mkc, mkc, qpn, 0xffffff);
	PRM_SET(mkc, mkc, pd, card->pd);
	PRM_SET(mkc, mkc, len, len);
	PRM_SET(mkc, mkc, log_page_size, MLX5_ADAPTER_PAGE_SHIFT);
	PRM_SET(mkc, mkc, translations_octword_size, (len >> MLX5_ADAPTER_PAGE_SHIFT) / 2 + 1);
	assert_int_equal(card_cmd(card, MLX5_CMD_OP_CREATE_MKEY, in, sizeof(in),
		PRM_BYTES(create_mkey_out)), 0);
	return PRM_GET(create_mkey_out, card->out, mkey_index);
}

static void
a_key_costs_by_the_memory_that_it_covers(void **state)
{
	struct card *card = *state;
	int64_t start = begin(false);
	uint32_t small, large;

	small = create_key(card, EMU_PAGE);
	assert_int_equal(end(start) / US, 280);
	start = begin(false);
	large = create_key(card, CARD_MEM);
	assert_int_equal(end(start) / US, 280 + INT64_C(1018) * CARD_MEM / (1 << 30));
	start = begin(false);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_MKEY, large), 0);
	assert_int_equal(end(start) / US, 200 + INT64_C(727) * CARD_MEM / (1 << 30));
	start = begin(false);
	assert_int_equal(card_destroy(card, MLX5_CMD_OP_DESTROY_MKEY, small), 0);
	assert_int_equal(end(start) / US, 200);
}

static void
a_command_that_is_refused_costs_as_little_as_any(void **state)
{
	struct queue q;
	int64_t start;

	queue_create(*state, &q, 0, SIZE);
	start = begin(false);
	assert_int_not_equal(queue_set_state(&q, MLX5_VIRTQ_STATE_SUSPEND), 0);
	assert_int_equal(end(start), 200 * US);
}

static void
time_between_commands_is_nobodys(void **state)
{
	struct queue q;
	int64_t start;

	queue_create(*state, &q, 0, SIZE);
	clk.now += NS_PER_S;
	start = begin(false);
	queue_query(&q);
	assert_int_equal(end(start), 328 * US);
}

static void
devices_do_not_wait_for_each_other(void **state)
{
	struct card *other = card_new("bdf=0000:e1:00.3,name=mlx5_1");
	struct queue a, b;
	int64_t start;

	queue_create(*state, &a, 0, SIZE);
	queue_create(other, &b, 0, SIZE);
	start = begin(true);
	queue_query(&a);
	queue_query(&b);
	assert_int_equal(end(start), 328 * US);
	card_free(other);
}

static void
none_costs_nothing(void **state)
{
	struct queue q;
	char err[128];
	int64_t start;

	assert_int_equal(emu_latency_set("none", err, sizeof(err)), 0);
	start = begin(false);
	queue_create(*state, &q, 0, SIZE);
	assert_int_equal(end(start), 0);
}

static void
a_profile_that_is_not_there_is_named(void **state)
{
	char err[128];

	(void)state;
	assert_int_equal(emu_latency_set("warp", err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "latency=warp: allowed are none, cx6dx");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, latency_setup, latency_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(suspending_32_queues_one_at_a_time),
		TEST(suspending_32_queues_at_once),
		TEST(resuming_32_queues),
		TEST(starting_32_queues_that_were_created_before),
		TEST(creating_32_queues),
		TEST(keeping_event_queues),
		TEST(keys_of_four_large_guests),
		TEST(every_row_is_what_the_guide_says),
		TEST(a_key_costs_by_the_memory_that_it_covers),
		TEST(a_command_that_is_refused_costs_as_little_as_any),
		TEST(time_between_commands_is_nobodys),
		TEST(devices_do_not_wait_for_each_other),
		TEST(none_costs_nothing),
		cmocka_unit_test(a_profile_that_is_not_there_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

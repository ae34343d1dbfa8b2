/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: what is checked of every command, the small objects, and the books: report, trace,
 * injected failures.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "emu_fixture.h"

#define DIM(a) (sizeof(a) / sizeof((a)[0]))

enum {
	HDR = 16,                  /* bytes of the shortest mailbox, in and out */
	NO_SUCH_OPCODE = 0xbad,
	NO_SUCH_ID = 0x123456,
};

/* ---- every command ---- */

static void
mailbox_without_room_for_a_header_is_an_error_of_the_caller(void **state)
{
	struct fixture *fx = *state;

	cmd_begin(fx, MLX5_CMD_OP_ALLOC_PD, 0);
	assert_int_equal(emu_cmd(fx->dev, fx->in, HDR - 1, fx->out, HDR), -EINVAL);
	assert_int_equal(emu_cmd(fx->dev, fx->in, HDR, fx->out, HDR - 1), -EINVAL);
	assert_int_equal(emu_cmd(fx->dev, fx->in, 0, fx->out, 0), -EINVAL);
}

static void
unknown_opcodes_are_refused(void **state)
{
	struct fixture *fx = *state;

	cmd_begin(fx, NO_SUCH_OPCODE, 0);
	assert_int_equal(cmd_run(fx, HDR, HDR), MLX5_CMD_STAT_BAD_OP_ERR);
	cmd_begin(fx, 0, 0);
	assert_int_equal(cmd_run(fx, HDR, HDR), MLX5_CMD_STAT_BAD_OP_ERR);
	cmd_begin(fx, UINT16_MAX, 0);
	assert_int_equal(cmd_run(fx, HDR, HDR), MLX5_CMD_STAT_BAD_OP_ERR);
}

static void
short_mailboxes_are_refused(void **state)
{
	struct fixture *fx = *state;

	cmd_begin(fx, MLX5_CMD_OP_CREATE_MKEY, 0);
	assert_int_equal(cmd_run(fx, PRM_BYTES(create_mkey_in) - 1, HDR),
		MLX5_CMD_STAT_BAD_INP_LEN_ERR);
	cmd_begin(fx, MLX5_CMD_OP_QUERY_HCA_CAP, 0);
	assert_int_equal(cmd_run(fx, HDR, PRM_BYTES(query_hca_cap_out) - 1),
		MLX5_CMD_STAT_BAD_OUTP_LEN_ERR);
}

/* Whatever else is wrong with it, for nothing of it has been looked at yet. */
static void
every_command_refuses_mailboxes_shorter_than_its_own(void **state)
{
	static const uint16_t opcodes[] = {
#define X(name, op) op,
		PRM_OPCODES(X)
#undef X
	};
	struct fixture *fx = *state;
	const struct prm_layout *in, *out;
	unsigned int short_in = 0, short_out = 0;
	size_t i;

	for (i = 0; i < DIM(opcodes); i++) {
		cmd_begin(fx, opcodes[i], 0);
		PRM_SET(general_obj_in_cmd_hdr, fx->in, obj_type,
			opcodes[i] == MLX5_CMD_OP_CREATE_GENERAL_OBJECT ||
			opcodes[i] == MLX5_CMD_OP_MODIFY_GENERAL_OBJECT ||
			opcodes[i] == MLX5_CMD_OP_QUERY_GENERAL_OBJECT ?
			MLX5_OBJ_TYPE_VIRTIO_NET_Q : 0);
		in = prm_cmd_layout_in(fx->in, MAILBOX_BYTES);
		out = prm_cmd_layout_out(fx->in, MAILBOX_BYTES);
		assert_non_null(in);
		assert_non_null(out);
		if (in->bits / 8 > HDR) {
			assert_int_equal(cmd_run(fx, in->bits / 8 - 1, MAILBOX_BYTES),
				MLX5_CMD_STAT_BAD_INP_LEN_ERR);
			assert_int_equal(cmd_run(fx, HDR, MAILBOX_BYTES),
				MLX5_CMD_STAT_BAD_INP_LEN_ERR);
			short_in++;
		}
		if (out->bits / 8 > HDR) {
			assert_int_equal(cmd_run(fx, MAILBOX_BYTES, out->bits / 8 - 1),
				MLX5_CMD_STAT_BAD_OUTP_LEN_ERR);
			assert_int_equal(cmd_run(fx, MAILBOX_BYTES, HDR),
				MLX5_CMD_STAT_BAD_OUTP_LEN_ERR);
			short_out++;
		}
	}
	assert_in_range(short_in, 20, DIM(opcodes));
	assert_in_range(short_out, 4, DIM(opcodes));
}

static void
op_mod_of_a_command_without_one_is_refused(void **state)
{
	struct fixture *fx = *state;

	cmd_begin(fx, MLX5_CMD_OP_ALLOC_PD, 0);
	PRM_SET(alloc_pd_in, fx->in, op_mod, 1);
	assert_int_equal(cmd_run(fx, HDR, HDR), MLX5_CMD_STAT_BAD_PARAM_ERR);
}

static void
user_context_of_a_command_must_be_alive(void **state)
{
	struct fixture *fx = *state;
	uint16_t uid = must_create_uctx(fx);

	must_alloc_pd(fx, uid);
	cmd_begin(fx, MLX5_CMD_OP_ALLOC_PD, uid + 1);
	assert_int_equal(cmd_run(fx, HDR, HDR), MLX5_CMD_STAT_BAD_PARAM_ERR);
	cmd_begin(fx, MLX5_CMD_OP_ALLOC_PD, UINT16_MAX);
	assert_int_equal(cmd_run(fx, HDR, HDR), MLX5_CMD_STAT_BAD_PARAM_ERR);
}

static void
general_objects_must_be_of_an_offered_type(void **state)
{
	static const uint16_t types[] = { 0, 1, 63, 64, UINT16_MAX };
	struct fixture *fx = *state;
	size_t i;

	for (i = 0; i < DIM(types); i++) {
		cmd_begin(fx, MLX5_CMD_OP_CREATE_GENERAL_OBJECT, 0);
		PRM_SET(general_obj_in_cmd_hdr, fx->in, obj_type, types[i]);
		assert_int_equal(cmd_run(fx, MAILBOX_BYTES, HDR), MLX5_CMD_STAT_BAD_PARAM_ERR);
	}
	PRM_SET(cmd_hca_cap, fx->dev->caps.general, general_obj_types, 0);
	cmd_begin(fx, MLX5_CMD_OP_DESTROY_GENERAL_OBJECT, 0);
	PRM_SET(general_obj_in_cmd_hdr, fx->in, obj_type, MLX5_OBJ_TYPE_VIRTIO_NET_Q);
	assert_int_equal(cmd_run(fx, HDR, HDR), MLX5_CMD_STAT_BAD_PARAM_ERR);
}

static void
answers_hold_nothing_from_before(void **state)
{
	struct fixture *fx = *state;
	size_t i;

	memset(fx->out, 0xff, sizeof(fx->out));
	cmd_begin(fx, NO_SUCH_OPCODE, 0);
	cmd_run(fx, HDR, MAILBOX_BYTES);
	for (i = 8; i < MAILBOX_BYTES; i++)
		assert_int_equal(fx->out[i], 0);
}

/* ---- small objects ---- */

static void
user_contexts_are_made_by_the_kernel_with_rights_that_exist(void **state)
{
	struct fixture *fx = *state;
	uint16_t uid = must_create_uctx(fx);

	cmd_begin(fx, MLX5_CMD_OP_CREATE_UCTX, uid);
	assert_int_equal(cmd_run(fx, PRM_BYTES(create_uctx_in), HDR), MLX5_CMD_STAT_BAD_PARAM_ERR);
	cmd_begin(fx, MLX5_CMD_OP_DESTROY_UCTX, uid);
	PRM_SET(destroy_uctx_in, fx->in, uid, uid);
	assert_int_equal(cmd_run(fx, HDR, HDR), MLX5_CMD_STAT_BAD_PARAM_ERR);
	cmd_begin(fx, MLX5_CMD_OP_CREATE_UCTX, 0);
	PRM_SET(uctx, PRM_ADDR(create_uctx_in, fx->in, uctx), cap, 1u << 31);
	assert_int_equal(cmd_run(fx, PRM_BYTES(create_uctx_in), HDR), MLX5_CMD_STAT_BAD_PARAM_ERR);
	assert_int_equal(destroy_uctx(fx, 0), MLX5_CMD_STAT_BAD_RES_ERR);
	assert_int_equal(destroy_uctx(fx, uid + 1), MLX5_CMD_STAT_BAD_RES_ERR);
	assert_int_equal(destroy_uctx(fx, uid), 0);
	assert_int_equal(destroy_uctx(fx, uid), MLX5_CMD_STAT_BAD_RES_ERR);
}

static void
user_context_is_busy_while_it_owns_something(void **state)
{
	struct fixture *fx = *state;
	uint16_t uid = must_create_uctx(fx);
	uint32_t pd = must_alloc_pd(fx, uid);

	assert_int_equal(destroy_uctx(fx, uid), MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_PD, uid, pd), 0);
	assert_int_equal(destroy_uctx(fx, uid), 0);
}

static void
objects_of_others_are_not_there(void **state)
{
	struct fixture *fx = *state;
	uint16_t me = must_create_uctx(fx), you = must_create_uctx(fx);
	uint32_t mine = must_alloc_pd(fx, me), kernels = must_alloc_pd(fx, 0);

	assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_PD, you, mine), MLX5_CMD_STAT_BAD_RES_ERR);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_PD, you, kernels),
		MLX5_CMD_STAT_BAD_RES_ERR);
	/* The kernel cleans up behind everybody. */
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_PD, 0, mine), 0);
	assert_int_equal(destroy_uctx(fx, me), 0);
}

static void
objects_in_use_are_busy_and_unknown_ones_not_there(void **state)
{
	static const struct {
		uint16_t alloc, dealloc;
		enum emu_obj_type type;
	} cmds[] = {
		{ MLX5_CMD_OP_ALLOC_UAR, MLX5_CMD_OP_DEALLOC_UAR, EMU_UAR },
		{ MLX5_CMD_OP_ALLOC_PD, MLX5_CMD_OP_DEALLOC_PD, EMU_PD },
		{ MLX5_CMD_OP_ALLOC_TRANSPORT_DOMAIN, MLX5_CMD_OP_DEALLOC_TRANSPORT_DOMAIN,
			EMU_TD },
	};
	struct fixture *fx = *state;
	struct emu_obj *obj;
	uint32_t id;
	size_t i;

	for (i = 0; i < DIM(cmds); i++) {
		cmd_begin(fx, cmds[i].alloc, 0);
		assert_int_equal(cmd_run(fx, HDR, HDR), 0);
		id = PRM_GET(alloc_pd_out, fx->out, pd); /* all three have it there */
		obj = emu_obj_find(fx->dev, cmds[i].type, id, 0);
		assert_non_null(obj);
		emu_obj_hold(obj);
		assert_int_equal(destroy(fx, cmds[i].dealloc, 0, id), MLX5_CMD_STAT_RES_BUSY);
		emu_obj_put(obj);
		assert_int_equal(destroy(fx, cmds[i].dealloc, 0, id), 0);
		assert_int_equal(destroy(fx, cmds[i].dealloc, 0, id), MLX5_CMD_STAT_BAD_RES_ERR);
		assert_int_equal(destroy(fx, cmds[i].dealloc, 0, 0), MLX5_CMD_STAT_BAD_RES_ERR);
		assert_int_equal(destroy(fx, cmds[i].dealloc, 0, NO_SUCH_ID),
			MLX5_CMD_STAT_BAD_RES_ERR);
	}
}

static void
uars_are_clean_pages_of_the_bar_until_there_are_no_more(void **state)
{
	struct fixture *fx = *state;
	uint8_t *bar = mmap(NULL, EMU_BAR_DOORBELL_OFF, PROT_READ | PROT_WRITE, MAP_SHARED,
		emu_dev_bar_fd(fx->dev), 0);
	bool seen[EMU_UARS] = { true };
	uint32_t i, id;

	assert_ptr_not_equal(bar, MAP_FAILED);
	memset(bar, 0xff, EMU_BAR_DOORBELL_OFF);
	for (i = 1; i < EMU_UARS; i++) {
		id = must_alloc_uar(fx, 0);
		assert_in_range(id, 1, EMU_UARS - 1);
		assert_false(seen[id]);
		seen[id] = true;
		assert_int_equal(bar[id * EMU_PAGE], 0);
		assert_int_equal(bar[(id + 1) * EMU_PAGE - 1], 0);
	}
	cmd_begin(fx, MLX5_CMD_OP_ALLOC_UAR, 0);
	assert_int_equal(cmd_run(fx, HDR, HDR), MLX5_CMD_STAT_NO_RES_ERR);
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_UAR, 0, 77), 0);
	assert_int_equal(must_alloc_uar(fx, 0), 77);
	munmap(bar, EMU_BAR_DOORBELL_OFF);
}

static void
doorbells_name_no_queue_before_they_are_rung(void **state)
{
	struct fixture *fx = *state;
	uint64_t off, len, var, at;
	uint32_t word;

	emu_dev_doorbell_area(fx->dev, &off, &len, &var);
	assert_int_not_equal(len / var, 0);
	for (at = 0; at < len; at += var) {
		assert_int_equal(pread(emu_dev_bar_fd(fx->dev), &word, sizeof(word),
			(off_t)(off + at)), sizeof(word));
		assert_int_equal(word, EMU_DOORBELL_IDLE);
	}
}

static void
ids_ascend_and_do_not_come_back_soon(void **state)
{
	struct fixture *fx = *state;
	uint32_t first = must_alloc_pd(fx, 0), last = first, id, i;

	assert_int_equal(first, 1);
	for (i = 0; i < 500; i++) {
		assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_PD, 0, last), 0);
		id = must_alloc_pd(fx, 0);
		assert_int_equal(id, last + 1);
		last = id;
	}
}

static void
many_objects_are_found_and_walked_in_order(void **state)
{
	enum { MANY = 5000 };
	struct fixture *fx = *state;
	struct emu_obj *obj = NULL;
	uint32_t i, last = 0, n = 0;

	for (i = 0; i < MANY; i++)
		must_alloc_pd(fx, 0);
	for (i = 1; i <= MANY; i += 2)
		assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_PD, 0, i), 0);
	while ((obj = emu_obj_next(fx->dev, EMU_PD, obj)) != NULL) {
		assert_true(obj->id > last);
		assert_ptr_equal(emu_obj_find(fx->dev, EMU_PD, obj->id, 0), obj);
		last = obj->id;
		n++;
	}
	assert_int_equal(n, MANY / 2);
	/* Round and round: as many ids as ever are alive, none twice. */
	for (i = 0; i < 4 * MANY; i++) {
		obj = emu_obj_next(fx->dev, EMU_PD, NULL);
		assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_PD, 0, obj->id), 0);
		must_alloc_pd(fx, 0);
	}
	for (n = 0, obj = NULL; (obj = emu_obj_next(fx->dev, EMU_PD, obj)) != NULL; n++)
		;
	assert_int_equal(n, MANY / 2);
}

/* ---- injected failures ---- */

static void
must_add_failure(const char *spec)
{
	char err[256];

	if (emu_fail_add(spec, err, sizeof(err)) != 0)
		fail_msg("%s", err);
}

static uint8_t
alloc_pd(struct fixture *fx)
{
	cmd_begin(fx, MLX5_CMD_OP_ALLOC_PD, 0);
	return cmd_run(fx, HDR, HDR);
}

static void
command_fails_when_its_number_comes(void **state)
{
	struct fixture *fx = *state;
	int64_t alive = report_number("alive.by_type.pd");

	must_add_failure("ALLOC_PD:3");
	assert_int_equal(alloc_pd(fx), 0);
	must_alloc_uar(fx, 0);
	assert_int_equal(alloc_pd(fx), 0);
	assert_int_equal(alloc_pd(fx), MLX5_CMD_STAT_INT_ERR);
	assert_int_equal(alloc_pd(fx), 0);
	assert_int_equal(report_number("alive.by_type.pd"), alive + 3);

	must_add_failure("any:2:NO_RES_ERR");
	must_alloc_uar(fx, 0);
	assert_int_equal(alloc_pd(fx), MLX5_CMD_STAT_NO_RES_ERR);
	must_add_failure("ALLOC_PD:1:0x6");
	must_add_failure("ALLOC_PD:2:9");
	assert_int_equal(alloc_pd(fx), MLX5_CMD_STAT_RES_BUSY);
	assert_int_equal(alloc_pd(fx), MLX5_CMD_STAT_BAD_RES_STATE_ERR);
	assert_int_equal(alloc_pd(fx), 0);
}

static void
failures_that_make_no_sense_are_refused(void **state)
{
	static const struct {
		const char *spec, *says;
	} bad[] = {
		{ "", "OPCODE:N" },
		{ "ALLOC_PD", "OPCODE:N" },
		{ "ALLOC_PDX:1", "ALLOC_PDX" },
		{ "alloc_pd:1", "alloc_pd" },
		{ ":1", "''" },
		{ "ALLOC_PD:", "''" },
		{ "ALLOC_PD:0", "'0'" },
		{ "ALLOC_PD:-1", "'-1'" },
		{ "ALLOC_PD:1x", "'1x'" },
		{ "ALLOC_PD:1:", "''" },
		{ "ALLOC_PD:1:OK", "'OK'" },
		{ "ALLOC_PD:1:0", "'0'" },
		{ "ALLOC_PD:1:256", "'256'" },
		{ "ALLOC_PD:1:?", "'?'" },
		{ "ALLOC_PD:1:BROKEN", "'BROKEN'" },
		{ "ALLOC_PD:1:INT_ERR:2", "INT_ERR:2" },
	};
	char err[256], spec[1024];
	size_t i;

	(void)state;
	for (i = 0; i < DIM(bad); i++) {
		err[0] = '\0';
		assert_int_equal(emu_fail_add(bad[i].spec, err, sizeof(err)), -EINVAL);
		assert_null(strchr(err, '\n'));
		if (strstr(err, bad[i].says) == NULL)
			fail_msg("'%s' does not say %s", err, bad[i].says);
	}
	memset(spec, 'A', sizeof(spec) - 1);
	spec[sizeof(spec) - 1] = '\0';
	assert_int_equal(emu_fail_add(spec, err, sizeof(err)), -EINVAL);
}

/* ---- report ---- */

static void
report_has_every_key_from_the_start(void **state)
{
	static const char *const numbers[] = {
		"commands.total", "commands.failed", "alive.total", "alive.by_type.uctx",
		"alive.by_type.uar", "alive.by_type.pd", "alive.by_type.umem", "alive.by_type.mkey",
		"alive.by_type.cq", "alive.by_type.qp", "alive.by_type.td", "alive.by_type.tis",
		"alive.by_type.tir", "alive.by_type.rqt", "alive.by_type.flow_table",
		"alive.by_type.flow_group", "alive.by_type.flow_table_entry",
		"alive.by_type.virtio_net_q", "alive.by_type.virtio_q_counters", "pins.bytes_now",
		"pins.bytes_peak", "pins.bytes_total", "pins.calls", "pins.ns", "dma.faults",
		"dma.bytes_read", "dma.bytes_written",
	};
	struct json_object *json, *part;
	size_t i;

	(void)state;
	for (i = 0; i < DIM(numbers); i++)
		assert_int_equal(report_number(numbers[i]), 0);
	json = report();
	assert_true(json_object_object_get_ex(json, "devices", &part));
	assert_int_equal(json_object_array_length(part), 0);
	assert_true(json_object_object_get_ex(json, "commands", &part));
	assert_true(json_object_object_get_ex(part, "by_opcode", &part));
	assert_int_equal(json_object_object_length(part), 0);
	json_object_put(json);
}

static void
report_counts_commands_by_opcode(void **state)
{
	struct fixture *fx = *state;
	int64_t total = report_number("commands.total"), failed = report_number("commands.failed");
	int64_t count, ns;

	must_alloc_pd(fx, 0);
	count = report_number("commands.by_opcode.ALLOC_PD.count");
	ns = report_number("commands.by_opcode.ALLOC_PD.ns");
	must_alloc_pd(fx, 0);
	cmd_begin(fx, NO_SUCH_OPCODE, 0);
	cmd_run(fx, HDR, HDR);
	assert_int_equal(report_number("commands.total"), total + 3);
	assert_int_equal(report_number("commands.failed"), failed + 1);
	assert_int_equal(report_number("commands.by_opcode.ALLOC_PD.count"), count + 1);
	assert_true(report_number("commands.by_opcode.ALLOC_PD.ns") > ns);
	assert_int_not_equal(report_number("commands.by_opcode.unknown.failed"), 0);
}

static void
report_counts_pins(void **state)
{
	int64_t now = report_number("pins.bytes_now"), total = report_number("pins.bytes_total");

	(void)state;
	emu_pins_add(1 << 20, 500);
	emu_pins_add(1 << 30, 1500);
	emu_pins_add(-(1 << 30), 0);
	emu_pins_add(1 << 10, 0);
	assert_int_equal(report_number("pins.bytes_now"), now + (1 << 20) + (1 << 10));
	assert_int_equal(report_number("pins.bytes_peak"), now + (1 << 20) + (1 << 30));
	assert_int_equal(report_number("pins.bytes_total"),
		total + (1 << 30) + (1 << 20) + (1 << 10));
	assert_int_equal(report_number("pins.calls"), 3);
	assert_int_equal(report_number("pins.ns"), 2000);
	emu_pins_add(-(1 << 20), 0);
	emu_pins_add(-(1 << 10), 0);
	assert_int_equal(report_number("pins.bytes_now"), now);
}

static void
report_counts_objects_of_the_face(void **state)
{
	int64_t total = report_number("alive.total");

	(void)state;
	emu_alive_add("var", 1);
	emu_alive_add("var", 1);
	emu_alive_add("var", -1);
	assert_int_equal(report_number("alive.by_type.var"), 1);
	assert_int_equal(report_number("alive.total"), total + 1);
	emu_alive_add("var", -1);
	assert_int_equal(report_number("alive.by_type.var"), 0);
	assert_int_equal(report_number("alive.total"), total);
}

static const char *
dev_of_report(struct json_object *json, size_t i, const char *key, int64_t *n)
{
	struct json_object *devs, *val;

	assert_true(json_object_object_get_ex(json, "devices", &devs));
	assert_true(i < json_object_array_length(devs));
	assert_true(json_object_object_get_ex(json_object_array_get_idx(devs, i), key, &val));
	*n = json_object_get_int64(val);
	return json_object_get_string(val);
}

static void
report_remembers_devices_and_what_they_leaked(void **state)
{
	struct fixture *fx = fixture_new("bdf=0000:05:00.1"), *live;
	int64_t n, total = report_number("alive.total");
	struct json_object *json, *devs;
	size_t past;

	(void)state;
	must_alloc_pd(fx, 0);
	emu_dev_lock(fx->dev);
	fx->dev->tx_packets = 3;
	fx->dev->rx_packets = 2;
	fx->dev->rx_drops = 1;
	emu_dev_unlock(fx->dev);
	fixture_free(fx);
	live = fixture_new("bdf=0000:06:00.1");
	json = report();
	assert_true(json_object_object_get_ex(json, "devices", &devs));
	past = json_object_array_length(devs) - 2;
	assert_string_equal(dev_of_report(json, past, "bdf", &n), "0000:05:00.1");
	dev_of_report(json, past, "tx_packets", &n);
	assert_int_equal(n, 3);
	dev_of_report(json, past, "rx_packets", &n);
	assert_int_equal(n, 2);
	dev_of_report(json, past, "rx_drops", &n);
	assert_int_equal(n, 1);
	assert_string_equal(dev_of_report(json, past + 1, "bdf", &n), "0000:06:00.1");
	json_object_put(json);
	assert_int_equal(report_number("alive.total"), total + 1);
	fixture_free(live);
}

/* ---- trace ---- */

static void
trace_has_a_line_and_two_dumps_a_command(void **state)
{
	char path[] = "/tmp/test_emu_trace_XXXXXX", text[4096];
	struct fixture *fx = *state;
	int fd = mkstemp(path);
	ssize_t len;
	uint32_t pd;
	char *line;

	assert_true(fd >= 0);
	emu_trace_mark("before");
	assert_int_equal(emu_trace_open("/nonexistent/trace"), -ENOENT);
	assert_int_equal(emu_trace_open(path), 0);
	pd = must_alloc_pd(fx, 0);
	emu_trace_mark("close\nand more");
	assert_int_equal(destroy(fx, MLX5_CMD_OP_DEALLOC_PD, 0, pd + 1), MLX5_CMD_STAT_BAD_RES_ERR);
	len = read(fd, text, sizeof(text) - 1);
	assert_true(len > 0);
	text[len] = '\0';
	line = strstr(text, "mlx5_0 ALLOC_PD uid 0 status OK(0x0) syndrome 0x0 ns ");
	assert_ptr_equal(line, text);
	assert_non_null(strstr(text, " in: opcode=0x800 out: pd=0x1\n"));
	assert_non_null(strstr(text, "input 16 bytes\n"));
	assert_non_null(strstr(text, "08000000 00000000 00000000 00000000\n"));
	assert_non_null(strstr(text, "output 16 bytes\n"));
	assert_non_null(strstr(text, "00000000 00000000 00000001 00000000\n"));
	assert_null(strstr(text, "before"));
	line = strstr(text, "mlx5_0 DEALLOC_PD uid 0 status BAD_RES_ERR(0x5) "
		"syndrome 0x8010002 ns ");
	assert_non_null(line);
	assert_non_null(strstr(line, " out: status=0x5 syndrome=0x8010002\n"));
	/* A mark is a line of its own, before what follows it. */
	assert_non_null(strstr(text, "\n# phase close\nmlx5_0 DEALLOC_PD"));
	/* What no layout names is shown where it stands. */
	cmd_begin(fx, MLX5_CMD_OP_ALLOC_PD, 0);
	PRM_SET(general_obj_in_cmd_hdr, fx->in, obj_id, 0x1234);
	fx->in[PRM_BYTES(alloc_pd_in) + 3] = 7;
	assert_int_equal(cmd_run(fx, PRM_BYTES(alloc_pd_in) + 6, PRM_BYTES(alloc_pd_out)), 0);
	len = read(fd, text, sizeof(text) - 1);
	text[len] = '\0';
	assert_non_null(strstr(text, " in: opcode=0x800 ?0x8=0x00001234 ?0x10=0x00000007 out: pd="));
	close(fd);
	unlink(path);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(report_has_every_key_from_the_start),
		TEST(mailbox_without_room_for_a_header_is_an_error_of_the_caller),
		TEST(unknown_opcodes_are_refused),
		TEST(short_mailboxes_are_refused),
		TEST(every_command_refuses_mailboxes_shorter_than_its_own),
		TEST(op_mod_of_a_command_without_one_is_refused),
		TEST(user_context_of_a_command_must_be_alive),
		TEST(general_objects_must_be_of_an_offered_type),
		TEST(answers_hold_nothing_from_before),
		TEST(user_contexts_are_made_by_the_kernel_with_rights_that_exist),
		TEST(user_context_is_busy_while_it_owns_something),
		TEST(objects_of_others_are_not_there),
		TEST(objects_in_use_are_busy_and_unknown_ones_not_there),
		TEST(uars_are_clean_pages_of_the_bar_until_there_are_no_more),
		TEST(doorbells_name_no_queue_before_they_are_rung),
		TEST(ids_ascend_and_do_not_come_back_soon),
		TEST(many_objects_are_found_and_walked_in_order),
		TEST(command_fails_when_its_number_comes),
		cmocka_unit_test(failures_that_make_no_sense_are_refused),
		TEST(report_counts_commands_by_opcode),
		cmocka_unit_test(report_counts_pins),
		cmocka_unit_test(report_counts_objects_of_the_face),
		cmocka_unit_test(report_remembers_devices_and_what_they_leaked),
		TEST(trace_has_a_line_and_two_dumps_a_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

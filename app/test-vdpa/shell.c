/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmdline_parse.h>
#include <cmdline_parse_num.h>
#include <cmdline_parse_string.h>
#include <cmdline_rdline.h>
#include <cmdline_socket.h>
#include <cmdline.h>

#include "backend.h"
#include "bench.h"
#include "clock.h"
#include "persist_shell.h"
#include "report.h"
#include "rig.h"
#include "shell.h"
#include "shell_device.h"

#define PROMPT "test-vdpa> "
#define INPUT_LEN 256
#define POLL_MS 200		/* how late a signal is seen */

struct shell {
	const struct shell_cfg *cfg;
	struct args args;		/* a copy: the pace and the benchmark change */
	struct rig rig;
	bool open;			/* there is a rig, and its device runs */
	bool traffic;
	struct account_totals shown;	/* what "show traffic" showed last, */
	uint64_t shown_ns;		/* and when; 0: never */
};

/* What every command's tokens parse into. */
struct command {
	cmdline_fixed_string_t verb, what, name;
	uint16_t queue;
	uint32_t number;
};

/* ---- the guest and its device ---- */

/* Close the rig. What it was doing failed with the line in its err. */
static void
give_up(struct shell *s, struct cmdline *cl)
{
	cmdline_printf(cl, "%s\nThe connection is closed; \"start\" makes a new one.\n", s->rig.err);
	rig_abandon(&s->rig);
	rig_close(&s->rig);
	s->open = s->traffic = false;
}

/* Make a guest and start the device, without traffic. The rig's err says what failed. */
static int
open_rig(struct shell *s)
{
	uint64_t conf_ns;
	int ret;

	if (!backend_wait(0))
		return rig_fail(&s->rig, -ETIMEDOUT, "the driver does not let go of the connection");
	ret = rig_open(&s->rig, &s->args, s->cfg->path, s->cfg->cpus, false);
	if (ret != 0)
		return ret;
	ret = rig_ready(&s->rig);
	if (ret == 0)
		ret = rig_start_held(&s->rig, &conf_ns);
	if (ret != 0) {
		rig_close(&s->rig);
		return ret;
	}
	s->open = true;
	s->shown_ns = 0;
	return 0;
}

/* Whether there is a device to command; a line says no. */
static bool
running(struct shell *s, struct cmdline *cl)
{
	if (!s->open)
		cmdline_printf(cl, "there is no connection; \"start\" makes one\n");
	else if (guest_broken(&s->rig.guest))
		cmdline_printf(cl, "%s; \"reset\" starts over\n", s->rig.guest.net.fault);
	return s->open;
}

static void
start_run(void *parsed, struct cmdline *cl, void *data)
{
	struct shell *s = data;

	(void)parsed;
	if (!s->open && open_rig(s) != 0) {
		cmdline_printf(cl, "%s\n", s->rig.err);
		return;
	}
	if (s->traffic) {
		cmdline_printf(cl, "traffic is on already\n");
		return;
	}
	guest_resume(&s->rig.guest);
	s->traffic = true;
	cmdline_printf(cl, "traffic is on, %u packets a second\n", s->args.pps);
}

static void
stop_run(void *parsed, struct cmdline *cl, void *data)
{
	struct shell *s = data;

	(void)parsed;
	if (!running(s, cl))
		return;
	if (!s->traffic) {
		cmdline_printf(cl, "traffic is off already\n");
		return;
	}
	if (!guest_drain(&s->rig.guest, RIG_DRAIN_NS))
		cmdline_printf(cl, "some packets are still on their way\n");
	guest_pause(&s->rig.guest);
	s->traffic = false;
	cmdline_printf(cl, "traffic is off\n");
}

/* A virtio reset, with @next as the memory that comes back unless it is NULL. */
static int
reset_device(struct shell *s, struct cmdline *cl, struct mem *next)
{
	struct rig *r = &s->rig;
	struct rig_stop stop;
	uint64_t conf_ns = 0;
	int ret = rig_stop(r, &stop);

	if (ret == 0)
		ret = rig_collect(r, &stop);
	if (ret == 0)
		ret = rig_reset(r);
	if (next != NULL)
		mem_destroy(rig_move(r, next));
	if (ret == 0)
		ret = rig_ready(r);
	if (ret == 0)
		ret = s->traffic ? rig_go(r, &conf_ns) : rig_start_held(r, &conf_ns);
	if (ret == 0 && s->traffic)
		ret = rig_wait_first(r);
	if (ret != 0)
		return ret;
	cmdline_printf(cl, "close %.1f us, conf %.1f us", (double)stop.close_ns / CLOCK_US,
			(double)conf_ns / CLOCK_US);
	if (s->traffic && stop.last_rx_ns != 0)
		cmdline_printf(cl, ", blackout %.1f us",
				(double)(guest_first_rx(&r->guest) - stop.last_rx_ns) / CLOCK_US);
	cmdline_printf(cl, "\n");
	return 0;
}

static void
reset_run(void *parsed, struct cmdline *cl, void *data)
{
	struct shell *s = data;

	(void)parsed;
	if (running(s, cl) && reset_device(s, cl, NULL) != 0)
		give_up(s, cl);
}

static void
remap_run(void *parsed, struct cmdline *cl, void *data)
{
	struct shell *s = data;
	struct mem *next;
	char err[128];

	(void)parsed;
	if (!running(s, cl))
		return;
	if (mem_map_again(&next, s->rig.mem, err, sizeof(err)) != 0)
		cmdline_printf(cl, "%s\n", err);
	else if (reset_device(s, cl, next) != 0)
		give_up(s, cl);
}

static void
queue_run(void *parsed, struct cmdline *cl, void *data)
{
	struct command *c = parsed;
	bool on = strcmp(c->what, "enable") == 0;
	struct shell *s = data;

	if (!running(s, cl))
		return;
	if (c->queue >= 2u * s->args.pairs) {
		cmdline_printf(cl, "queue %u: the last one is %u\n", c->queue,
				2 * s->args.pairs - 1);
		return;
	}
	if (rig_enable(&s->rig, c->queue, on) != 0)
		give_up(s, cl);
	else
		cmdline_printf(cl, "queue %u (%s) is %s\n", c->queue,
				c->queue % 2 ? "the guest sends" : "the guest receives",
				on ? "enabled" : "disabled");
}

static void
pps_run(void *parsed, struct cmdline *cl, void *data)
{
	struct command *c = parsed;
	struct shell *s = data;

	if (c->number == 0 || c->number > ARGS_MAX_PPS) {
		cmdline_printf(cl, "pps must be a number from 1 to %u\n", ARGS_MAX_PPS);
		return;
	}
	s->args.pps = c->number;
	if (s->open)
		guest_set_pps(&s->rig.guest, c->number);
	cmdline_printf(cl, "pps is %u\n", c->number);
}

/* The benchmark brings its own guest: ours makes room, and comes back. */
static void
bench_run_command(void *parsed, struct cmdline *cl, void *data)
{
	struct command *c = parsed;
	struct shell *s = data;
	struct bench_result res = { .failed = "the driver does not let go of the connection" };
	struct report report = { .args = &s->args, .res = &res, .device = s->cfg->device,
		.driver = s->cfg->driver };
	struct rig_stop stop;

	s->args.bench = bench_find(c->name);
	if (s->args.bench->two) {
		cmdline_printf(cl, "%s takes two devices: run it with --bench\n", c->name);
		return;
	}
	if (s->open) {
		if (rig_finish(&s->rig, &stop) != 0)
			cmdline_printf(cl, "%s\n", s->rig.err);
		rig_abandon(&s->rig);
		rig_close(&s->rig);
	}
	s->open = s->traffic = false;
	if (!backend_wait(0) ||
			bench_run(&s->args, s->cfg->path, NULL, s->cfg->cpus, &res) != 0) {
		cmdline_printf(cl, "%s\n", res.failed);
	} else {
		report_table(&report, stdout);
		fflush(stdout);
	}
	bench_result_free(&res);
	if (open_rig(s) != 0)
		cmdline_printf(cl, "%s\n", s->rig.err);
}

/* ---- show ---- */

static void
show_config_run(void *parsed, struct cmdline *cl, void *data)
{
	struct shell *s = data;
	const struct rig *r = &s->rig;
	const uint8_t *mac = r->guest.net.addr.dst;
	unsigned int i;

	(void)parsed;
	cmdline_printf(cl, "Device: %s\nDriver: %s\n", s->cfg->device,
			s->cfg->driver ? s->cfg->driver : "elsewhere");
	cmdline_printf(cl, "Traffic: %s, %u packets a second\n", s->traffic ? "on" : "off",
			s->args.pps);
	cmdline_printf(cl, "Queue pairs: %u of %u entries, %s\n", s->args.pairs, s->args.queue_size,
			s->args.packed ? "packed" : "split");
	if (!s->open) {
		cmdline_printf(cl, "Connection: none\n");
		return;
	}
	cmdline_printf(cl, "Connection: %s\n", s->cfg->path);
	cmdline_printf(cl, "Virtio features: 0x%" PRIx64 "\nProtocol features: 0x%" PRIx64 "\n",
			r->session.features, r->session.fe.protocol);
	cmdline_printf(cl, "Device status: 0x%02x\n", r->session.status);
	cmdline_printf(cl, "MAC address: %02X:%02X:%02X:%02X:%02X:%02X\n", mac[0], mac[1], mac[2],
			mac[3], mac[4], mac[5]);
	for (i = 0; i < r->slices.n; i++)
		cmdline_printf(cl, "Memory region %u: guest address 0x%" PRIx64 ", %" PRIu64 " MiB\n",
				i, r->slices.s[i].gpa, r->slices.s[i].bytes >> 20);
}

static void
show_counters_run(void *parsed, struct cmdline *cl, void *data)
{
	(void)parsed;
	(void)data;
	shell_show_counters(cl);
}

static void
show_traffic_run(void *parsed, struct cmdline *cl, void *data)
{
	struct shell *s = data;
	struct account_totals t;
	uint64_t now = clock_ns();
	double seconds;

	(void)parsed;
	if (!running(s, cl))
		return;
	account_read(&s->rig.guest.net.totals, &t);
	cmdline_printf(cl, "  TX-packets: %-14" PRIu64 " RX-packets: %-14" PRIu64 "\n", t.sent,
			t.received);
	cmdline_printf(cl, "  RX-corrupt: %-14" PRIu64 " RX-duplicated: %-11" PRIu64 "\n", t.corrupt,
			t.duplicated);
	cmdline_printf(cl, "  Lost:       %-14" PRIu64 " In blackouts: %-12" PRIu64 "\n", t.lost,
			t.in_blackout);
	cmdline_printf(cl, "  Of others:  %-14" PRIu64 "\n", t.foreign);
	if (s->shown_ns != 0 && now > s->shown_ns) {
		seconds = (double)(now - s->shown_ns) / CLOCK_S;
		cmdline_printf(cl, "  Throughput (since last show)\n");
		cmdline_printf(cl, "  Tx-pps:     %-14.0f Rx-pps: %.0f\n",
				(t.sent - s->shown.sent) / seconds,
				(t.received - s->shown.received) / seconds);
	}
	s->shown = t;
	s->shown_ns = now;
}

static void
show_device_run(void *parsed, struct cmdline *cl, void *data)
{
	struct command *c = parsed;

	(void)data;
	shell_show_devices(cl, c->name);
}

static void
show_stats_run(void *parsed, struct cmdline *cl, void *data)
{
	struct command *c = parsed;

	(void)data;
	shell_show_stats(cl, c->name, c->queue);
}

static void
show_memory_run(void *parsed, struct cmdline *cl, void *data)
{
	struct command *c = parsed;

	(void)data;
	persist_shell_show(cl, c->what);
}

static void
drop_run(void *parsed, struct cmdline *cl, void *data)
{
	struct command *c = parsed;

	(void)data;
	persist_shell_drop(cl, c->name);
}

static void
clear_stats_run(void *parsed, struct cmdline *cl, void *data)
{
	struct shell *s = data;

	(void)parsed;
	if (s->cfg->dev == NULL)
		cmdline_printf(cl, "the device is in another process\n");
	else
		shell_clear_stats(cl, s->cfg->dev, 2 * s->args.pairs);
}

static void
help_run(void *parsed, struct cmdline *cl, void *data)
{
	(void)parsed;
	(void)data;
	cmdline_printf(cl,
		"help                        this text\n"
		"start                       traffic on; connects first, if need be\n"
		"stop                        traffic off; the device goes on\n"
		"set pps N                   packets a second that the guest sends\n"
		"reset                       a virtio reset\n"
		"remap                       a virtio reset that brings the memory elsewhere\n"
		"queue enable|disable N      a virtqueue: even ones receive, odd ones send\n"
		"bench NAME                  a benchmark, with the options of the command line\n"
		"show device all|NAME        vDPA devices of this process\n"
		"show stats NAME QUEUE       the device's counters of a virtqueue\n"
		"show config                 what was negotiated\n"
		"show traffic                what the guest has counted\n"
		"show counters               what an emulated device has counted\n"
		"show pins                   memory that our driver has pinned\n"
		"show iotlb                  maps of the guest's memory that our driver has\n"
		"drop NAME                   unpin what waits for a connection to come back\n"
		"clear stats                 the device's counters to 0\n"
		"quit                        leave\n");
}

static void
quit_run(void *parsed, struct cmdline *cl, void *data)
{
	(void)parsed;
	(void)data;
	cmdline_quit(cl);
}

/* ---- the grammar ---- */

#define WORD(name, field, text) \
	static cmdline_parse_token_string_t name = \
		TOKEN_STRING_INITIALIZER(struct command, field, text)

WORD(word_help, verb, "help");
WORD(word_quit, verb, "quit");
WORD(word_start, verb, "start");
WORD(word_stop, verb, "stop");
WORD(word_reset, verb, "reset");
WORD(word_remap, verb, "remap");
WORD(word_queue, verb, "queue");
WORD(word_set, verb, "set");
WORD(word_bench, verb, "bench");
WORD(word_show, verb, "show");
WORD(word_clear, verb, "clear");
WORD(word_drop, verb, "drop");
WORD(word_on_off, what, "enable#disable");
WORD(word_pps, what, "pps");
WORD(word_device, what, "device");
WORD(word_stats, what, "stats");
WORD(word_config, what, "config");
WORD(word_traffic, what, "traffic");
WORD(word_counters, what, "counters");
WORD(word_memory, what, "pins#iotlb");
WORD(word_name, name, NULL);
WORD(word_bench_name, name, NULL);	/* gets the names when the shell starts */
static cmdline_parse_token_num_t word_index =
	TOKEN_NUM_INITIALIZER(struct command, queue, RTE_UINT16);
static cmdline_parse_token_num_t word_number =
	TOKEN_NUM_INITIALIZER(struct command, number, RTE_UINT32);

#define COMMAND(name, function, help, ...) \
	static cmdline_parse_inst_t name = { .f = function, .help_str = help, \
		.tokens = { __VA_ARGS__, NULL } }
#define T(word) ((void *)&(word))

COMMAND(cmd_help, help_run, "help: show the commands", T(word_help));
COMMAND(cmd_quit, quit_run, "quit: leave", T(word_quit));
COMMAND(cmd_start, start_run, "start: traffic on", T(word_start));
COMMAND(cmd_stop, stop_run, "stop: traffic off", T(word_stop));
COMMAND(cmd_reset, reset_run, "reset: a virtio reset", T(word_reset));
COMMAND(cmd_remap, remap_run, "remap: a virtio reset, memory elsewhere", T(word_remap));
COMMAND(cmd_queue, queue_run, "queue enable|disable N", T(word_queue), T(word_on_off),
	T(word_index));
COMMAND(cmd_pps, pps_run, "set pps N", T(word_set), T(word_pps), T(word_number));
COMMAND(cmd_bench, bench_run_command, "bench NAME", T(word_bench), T(word_bench_name));
COMMAND(cmd_show_device, show_device_run, "show device all|NAME", T(word_show), T(word_device),
	T(word_name));
COMMAND(cmd_show_stats, show_stats_run, "show stats NAME QUEUE", T(word_show), T(word_stats),
	T(word_name), T(word_index));
COMMAND(cmd_show_config, show_config_run, "show config", T(word_show), T(word_config));
COMMAND(cmd_show_traffic, show_traffic_run, "show traffic", T(word_show), T(word_traffic));
COMMAND(cmd_show_counters, show_counters_run, "show counters", T(word_show), T(word_counters));
COMMAND(cmd_show_memory, show_memory_run, "show pins|iotlb", T(word_show), T(word_memory));
COMMAND(cmd_drop, drop_run, "drop NAME", T(word_drop), T(word_name));
COMMAND(cmd_clear_stats, clear_stats_run, "clear stats", T(word_clear), T(word_stats));

/* Each gets the shell as its data when the shell starts. */
static cmdline_parse_inst_t *const commands[] = {
	&cmd_help, &cmd_start, &cmd_stop, &cmd_pps, &cmd_reset, &cmd_remap, &cmd_queue, &cmd_bench,
	&cmd_show_device, &cmd_show_stats, &cmd_show_config, &cmd_show_traffic, &cmd_show_memory,
	&cmd_show_counters, &cmd_drop, &cmd_clear_stats, &cmd_quit,
};

#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

/* ---- the loop ---- */

static struct cmdline *
make_cmdline(struct shell *s, cmdline_parse_ctx_t *ctx, char *names, size_t len)
{
	unsigned int i;

	bench_names(names, len, "#");
	word_bench_name.string_data.str = names;
	for (i = 0; i < NCOMMANDS; i++) {
		commands[i]->data = s;
		ctx[i] = commands[i];
	}
	ctx[i] = NULL;
	return cmdline_stdin_new(ctx, PROMPT);
}

/* cmdline_interact(), but for signals, which must not wait for the next key. */
static void
loop(struct cmdline *cl)
{
	struct pollfd pfd = { .fd = STDIN_FILENO, .events = POLLIN };
	char input[INPUT_LEN];
	ssize_t n;

	while (!fe_interrupted()) {
		if (poll(&pfd, 1, POLL_MS) <= 0)
			continue;
		n = read(STDIN_FILENO, input, sizeof(input));
		if (n <= 0 && !(n < 0 && errno == EINTR))
			return;
		if (n > 0 && cmdline_in(cl, input, n) < 0)
			return;
	}
}

static int
run_shell(struct shell *s)
{
	cmdline_parse_ctx_t ctx[NCOMMANDS + 1];
	struct cmdline *cl;
	char names[128];
	int ret = open_rig(s);

	if (ret != 0)
		return ret;
	cl = make_cmdline(s, ctx, names, sizeof(names));
	if (cl == NULL) {
		ret = rig_fail(&s->rig, -EIO, "cannot open a command line on standard input");
	} else {
		loop(cl);
		cmdline_stdin_exit(cl);
		printf("\n");
	}
	return ret;
}

int
shell_run(const struct shell_cfg *cfg, char *err, size_t errlen)
{
	struct shell *s = calloc(1, sizeof(*s));
	struct rig_stop stop;
	int ret;

	if (s == NULL) {
		snprintf(err, errlen, "no memory for the shell");
		return -ENOMEM;
	}
	s->cfg = cfg;
	s->args = *cfg->args;
	ret = run_shell(s);
	if (s->open) {
		if (ret == 0 && !fe_interrupted())
			ret = rig_finish(&s->rig, &stop);
		rig_abandon(&s->rig);
		rig_close(&s->rig);
	}
	if (ret != 0)
		snprintf(err, errlen, "%s", s->rig.err);
	free(s);
	return ret;
}

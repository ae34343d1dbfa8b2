/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_vhost.h>

#include <cmdline_parse.h>
#include <cmdline_parse_num.h>
#include <cmdline_parse_string.h>
#include <cmdline_rdline.h>
#include <cmdline_socket.h>
#include <cmdline.h>

#include "persist_shell.h"
#include "port.h"
#include "shell.h"
#include "vdpa_list.h"

#define SHELL_ALL_QUEUES 0xffff /* "stats DEVICE 0xffff": every queue of the connection */
#define SHELL_INPUT_LEN 256

/* What each command's tokens parse into. */
struct cmd_word {
	cmdline_fixed_string_t verb;
};

struct cmd_create {
	cmdline_fixed_string_t verb;
	cmdline_fixed_string_t socket;
	cmdline_fixed_string_t device;
};

struct cmd_stats {
	cmdline_fixed_string_t verb;
	cmdline_fixed_string_t device;
	uint16_t queue;
};

struct cmd_show {
	cmdline_fixed_string_t verb;
	cmdline_fixed_string_t what;
};

struct cmd_drop {
	cmdline_fixed_string_t verb;
	cmdline_fixed_string_t device;
};

static bool shell_client;

/* ---- help, quit ---- */

static void
help_run(void *parsed, struct cmdline *cl, void *data)
{
	(void)parsed;
	(void)data;
	cmdline_printf(cl,
		"help                   this text\n"
		"list                   vDPA devices: name, queue pairs, virtio features\n"
		"create SOCKET DEVICE   serve a device on a vhost-user socket\n"
		"stats DEVICE QUEUE     counters of a virtio queue, 0xffff for all of a running device\n"
		"show pins              memory that our driver has pinned\n"
		"show iotlb             maps of guests' memory that our driver has\n"
		"drop DEVICE            unpin what waits for a connection to come back\n"
		"quit                   close all sockets and leave\n");
}

static cmdline_parse_token_string_t help_verb =
	TOKEN_STRING_INITIALIZER(struct cmd_word, verb, "help");

static cmdline_parse_inst_t help_cmd = {
	.f = help_run,
	.help_str = "help: show the commands",
	.tokens = { (void *)&help_verb, NULL },
};

static void
quit_run(void *parsed, struct cmdline *cl, void *data)
{
	(void)parsed;
	(void)data;
	cmdline_quit(cl);
}

static cmdline_parse_token_string_t quit_verb =
	TOKEN_STRING_INITIALIZER(struct cmd_word, verb, "quit");

static cmdline_parse_inst_t quit_cmd = {
	.f = quit_run,
	.help_str = "quit: close all sockets and leave",
	.tokens = { (void *)&quit_verb, NULL },
};

/* ---- list ---- */

static void
list_one(struct cmdline *cl, struct rte_vdpa_device *dev)
{
	const char *name = vdpa_list_name(dev);
	uint32_t pairs;
	uint64_t features;

	if (rte_vdpa_get_queue_num(dev, &pairs) < 0) {
		cmdline_printf(cl, "%s: the driver does not tell its number of queues\n", name);
		return;
	}
	if (rte_vdpa_get_features(dev, &features) < 0) {
		cmdline_printf(cl, "%s: the driver does not tell its features\n", name);
		return;
	}
	cmdline_printf(cl, "%s\t\t%" PRIu32 "\t\t0x%" PRIx64 "\n", name, pairs, features);
}

static void
list_run(void *parsed, struct cmdline *cl, void *data)
{
	unsigned int n = vdpa_list(NULL, 0), i;
	struct rte_vdpa_device **devs;

	(void)parsed;
	(void)data;
	devs = calloc(n + 1, sizeof(*devs));
	if (devs == NULL) {
		cmdline_printf(cl, "out of memory\n");
		return;
	}
	vdpa_list(devs, n);
	cmdline_printf(cl, "device name\tqueue num\tsupported features\n");
	for (i = 0; i < n; i++)
		list_one(cl, devs[i]);
	free(devs);
}

static cmdline_parse_token_string_t list_verb =
	TOKEN_STRING_INITIALIZER(struct cmd_word, verb, "list");

static cmdline_parse_inst_t list_cmd = {
	.f = list_run,
	.help_str = "list: show the vDPA devices",
	.tokens = { (void *)&list_verb, NULL },
};

/* ---- create ---- */

static void
create_run(void *parsed, struct cmdline *cl, void *data)
{
	struct cmd_create *cmd = parsed;
	struct rte_vdpa_device *dev = rte_vdpa_find_device_by_name(cmd->device);

	(void)data;
	if (dev == NULL) {
		cmdline_printf(cl, "no vDPA device %s: \"list\" shows what there is\n", cmd->device);
		return;
	}
	port_create(cmd->socket, dev, shell_client);
}

static cmdline_parse_token_string_t create_verb =
	TOKEN_STRING_INITIALIZER(struct cmd_create, verb, "create");
static cmdline_parse_token_string_t create_socket =
	TOKEN_STRING_INITIALIZER(struct cmd_create, socket, NULL);
static cmdline_parse_token_string_t create_device =
	TOKEN_STRING_INITIALIZER(struct cmd_create, device, NULL);

static cmdline_parse_inst_t create_cmd = {
	.f = create_run,
	.help_str = "create SOCKET DEVICE: serve a device on a vhost-user socket",
	.tokens = { (void *)&create_verb, (void *)&create_socket, (void *)&create_device, NULL },
};

/* ---- stats ---- */

/* Names and values of one device's counters, in one allocation. NULL after a line to @p cl. */
static struct rte_vdpa_stat_name *
stats_names(struct cmdline *cl, struct rte_vdpa_device *dev, unsigned int *n,
		struct rte_vdpa_stat **values)
{
	int count = rte_vdpa_get_stats_names(dev, NULL, 0);
	struct rte_vdpa_stat_name *names;

	if (count <= 0) {
		cmdline_printf(cl, "%s has no counters\n", vdpa_list_name(dev));
		return NULL;
	}
	names = calloc(count, sizeof(*names) + sizeof(**values));
	if (names == NULL) {
		cmdline_printf(cl, "out of memory\n");
		return NULL;
	}
	if (rte_vdpa_get_stats_names(dev, names, count) != count) {
		cmdline_printf(cl, "%s does not tell the names of its counters\n",
			vdpa_list_name(dev));
		free(names);
		return NULL;
	}
	*n = count;
	*values = (struct rte_vdpa_stat *)(names + count);
	return names;
}

/* The queues that the argument asks for: [*first, *last]. */
static bool
stats_queues(struct cmdline *cl, const struct cmd_stats *cmd, int vid, uint16_t *first,
		uint16_t *last)
{
	uint16_t n;

	*first = *last = cmd->queue;
	if (cmd->queue != SHELL_ALL_QUEUES)
		return true;
	n = vid == PORT_NO_VID ? 0 : rte_vhost_get_vring_num(vid);
	if (n == 0) {
		cmdline_printf(cl, "%s is not running: name one queue\n", cmd->device);
		return false;
	}
	*first = 0;
	*last = n - 1;
	return true;
}

static void
stats_run(void *parsed, struct cmdline *cl, void *data)
{
	struct cmd_stats *cmd = parsed;
	struct rte_vdpa_device *dev = rte_vdpa_find_device_by_name(cmd->device);
	struct rte_vdpa_stat_name *names;
	struct rte_vdpa_stat *values;
	uint16_t first, last, q;
	unsigned int n;
	int vid, got, i;

	(void)data;
	if (dev == NULL) {
		cmdline_printf(cl, "no vDPA device %s: \"list\" shows what there is\n", cmd->device);
		return;
	}
	if (!port_find(dev, &vid)) {
		cmdline_printf(cl, "%s has no socket: \"create\" makes one\n", cmd->device);
		return;
	}
	if (!stats_queues(cl, cmd, vid, &first, &last))
		return;
	names = stats_names(cl, dev, &n, &values);
	if (names == NULL)
		return;
	cmdline_printf(cl, "Device %s:\n", cmd->device);
	for (q = first; q <= last; q++) {
		got = rte_vdpa_get_stats(dev, q, values, n);
		if (got <= 0) {
			cmdline_printf(cl, "\tVirtq %u: the device has no counters for it\n", q);
			continue;
		}
		cmdline_printf(cl, "\tVirtq %u:\n", q);
		for (i = 0; i < got; i++)
			cmdline_printf(cl, "\t\t%-*s %-16" PRIu64 "\n", RTE_VDPA_STATS_NAME_SIZE,
				values[i].id < n ? names[values[i].id].name : "?", values[i].value);
	}
	free(names);
}

static cmdline_parse_token_string_t stats_verb =
	TOKEN_STRING_INITIALIZER(struct cmd_stats, verb, "stats");
static cmdline_parse_token_string_t stats_device =
	TOKEN_STRING_INITIALIZER(struct cmd_stats, device, NULL);
static cmdline_parse_token_num_t stats_queue =
	TOKEN_NUM_INITIALIZER(struct cmd_stats, queue, RTE_UINT16);

static cmdline_parse_inst_t stats_cmd = {
	.f = stats_run,
	.help_str = "stats DEVICE QUEUE: counters of a virtio queue, 0xffff for all",
	.tokens = { (void *)&stats_verb, (void *)&stats_device, (void *)&stats_queue, NULL },
};

/* ---- show, drop ---- */

static void
show_run(void *parsed, struct cmdline *cl, void *data)
{
	struct cmd_show *cmd = parsed;

	(void)data;
	persist_shell_show(cl, cmd->what);
}

static cmdline_parse_token_string_t show_verb =
	TOKEN_STRING_INITIALIZER(struct cmd_show, verb, "show");
static cmdline_parse_token_string_t show_what =
	TOKEN_STRING_INITIALIZER(struct cmd_show, what, "pins#iotlb");

static cmdline_parse_inst_t show_cmd = {
	.f = show_run,
	.help_str = "show pins|iotlb: memory that is pinned, maps of guests' memory",
	.tokens = { (void *)&show_verb, (void *)&show_what, NULL },
};

static void
drop_run(void *parsed, struct cmdline *cl, void *data)
{
	struct cmd_drop *cmd = parsed;

	(void)data;
	persist_shell_drop(cl, cmd->device);
}

static cmdline_parse_token_string_t drop_verb =
	TOKEN_STRING_INITIALIZER(struct cmd_drop, verb, "drop");
static cmdline_parse_token_string_t drop_device =
	TOKEN_STRING_INITIALIZER(struct cmd_drop, device, NULL);

static cmdline_parse_inst_t drop_cmd = {
	.f = drop_run,
	.help_str = "drop DEVICE: unpin what waits for a connection to come back",
	.tokens = { (void *)&drop_verb, (void *)&drop_device, NULL },
};

/* ---- the loop ---- */

static cmdline_parse_ctx_t shell_ctx[] = {
	&help_cmd,
	&list_cmd,
	&create_cmd,
	&stats_cmd,
	&show_cmd,
	&drop_cmd,
	&quit_cmd,
	NULL,
};

/* cmdline_interact() with a second reason to stop: a signal must not wait for the next key. */
static void
shell_loop(struct cmdline *cl, int stop_fd)
{
	struct pollfd fds[] = {
		{ .fd = stop_fd, .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN },
	};
	char input[SHELL_INPUT_LEN];
	ssize_t n;

	for (;;) {
		if (poll(fds, RTE_DIM(fds), -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents != 0)
			return;
		if (fds[1].revents == 0)
			continue;
		n = read(STDIN_FILENO, input, sizeof(input));
		if (n <= 0 && !(n < 0 && errno == EINTR))
			return;
		if (n > 0 && cmdline_in(cl, input, n) < 0)
			return;
	}
}

int
shell_run(int stop_fd, bool client)
{
	struct cmdline *cl = cmdline_stdin_new(shell_ctx, "vdpa> ");

	if (cl == NULL) {
		fprintf(stderr, "dpdk-vdpa: can't open a command line on standard input\n");
		return -EIO;
	}
	shell_client = client;
	shell_loop(cl, stop_fd);
	cmdline_stdin_exit(cl);
	printf("\n");
	return 0;
}

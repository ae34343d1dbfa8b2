/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "persist_shell.h"
#include "telemetry_client.h"

#define COMMANDS "/mlx5_persist/"
#define COLUMN 14			/* characters, if its cell has no more */
#define MAX_ROWS 1024			/* of a table: nobody reads more */
#define MAX_PARAMS 128
#define MAX_ERROR 256

/* ---- an answer ---- */

static int64_t
number(struct json_object *o, const char *key, int64_t missing)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : missing;
}

static bool
is_dict(struct json_object *o)
{
	return json_object_is_type(o, json_type_object);
}

/* What leads through the pages is not for people. */
static bool
is_figure(const char *key, struct json_object *value)
{
	return !is_dict(value) && strcmp(key, "left_off") != 0 && strcmp(key, "next") != 0;
}

static void
show_figures(struct cmdline *cl, struct json_object *answer)
{
	json_object_object_foreach(answer, key, value) {
		if (is_figure(key, value))
			cmdline_printf(cl, "  %-16s %s\n", key, json_object_get_string(value));
	}
}

/* The names of a row's cells, as the head of the table, or the cells. */
static void
show_row(struct cmdline *cl, const char *first, struct json_object *row, bool names)
{
	cmdline_printf(cl, "  %6s", first);
	json_object_object_foreach(row, key, value) {
		cmdline_printf(cl, "  %*s", COLUMN, names ? key : json_object_get_string(value));
	}
	cmdline_printf(cl, "\n");
}

static void
show_rows(struct cmdline *cl, struct json_object *answer, bool head)
{
	struct json_object *table;

	if (!json_object_object_get_ex(answer, "table", &table) || !is_dict(table))
		return;
	json_object_object_foreach(table, key, row) {
		if (head)
			show_row(cl, "", row, true);
		head = false;
		show_row(cl, key, row, false);
	}
}

/* ---- the commands ---- */

/* This page begins with row @first. Returns the row with which the next one begins, or -1: there is
 * none, or a line stands for it. */
static int64_t
next_page(struct cmdline *cl, struct json_object *answer, int64_t first)
{
	int64_t next = number(answer, "next", -1);

	if (next < MAX_ROWS)
		return next;
	cmdline_printf(cl, "  and %" PRId64 " more rows, which telemetry shows from %" PRId64 " on\n",
			number(answer, "left_off", 0) - first, next);
	return -1;
}

/* Show one table, page by page. Returns how many address spaces the device has, or 0. */
static int64_t
show_table(struct cmdline *cl, const char *what, const char *device, int64_t asid)
{
	char command[64], params[MAX_PARAMS], err[MAX_ERROR];
	int64_t first = 0, spaces = 0;

	snprintf(command, sizeof(command), COMMANDS "%s", what);
	while (first >= 0) {
		struct json_object *answer;

		snprintf(params, sizeof(params), asid < 0 ? "%s,%" PRId64 :
				"%s,%" PRId64 ",%" PRId64, device, first, asid);
		answer = telemetry_ask(command, params, err, sizeof(err));
		if (answer == NULL) {
			cmdline_printf(cl, "%s\n", err);
			return 0;
		}
		if (first == 0)
			show_figures(cl, answer);
		show_rows(cl, answer, first == 0);
		spaces = number(answer, "address_spaces", 0);
		first = next_page(cl, answer, first);
		json_object_put(answer);
	}
	return spaces;
}

static void
show_device(struct cmdline *cl, const char *what, const char *device)
{
	bool spaces = strcmp(what, "iotlb") == 0;
	int64_t asid = 0, n;

	do {
		cmdline_printf(cl, "%s, %s:\n", device, what);
		n = show_table(cl, what, device, spaces ? asid : -1);
	} while (++asid < n);
}

void
persist_shell_show(struct cmdline *cl, const char *what)
{
	char err[MAX_ERROR];
	struct json_object *list = telemetry_ask(COMMANDS "list", NULL, err, sizeof(err));
	size_t n = list ? json_object_array_length(list) : 0, i;

	if (list == NULL)
		cmdline_printf(cl, "%s\n", err);
	else if (n == 0)
		cmdline_printf(cl, "there is no device of vdpa_mlx5_persist in this process\n");
	for (i = 0; i < n; i++)
		show_device(cl, what, json_object_get_string(json_object_array_get_idx(list, i)));
	json_object_put(list);
}

void
persist_shell_drop(struct cmdline *cl, const char *device)
{
	char err[MAX_ERROR];
	struct json_object *answer = telemetry_ask(COMMANDS "drop", device, err, sizeof(err));

	if (answer == NULL) {
		cmdline_printf(cl, "%s\n", err);
		return;
	}
	cmdline_printf(cl, "%s: %" PRId64 " bytes are unpinned\n", device,
			number(answer, "unpinned_bytes", 0));
	json_object_put(answer);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <rte_common.h>
#include <rte_telemetry.h>
#include <rte_version.h>

#include "device.h"
#include "hw.h"
#include "memory.h"
#include "mlx5p_log.h"
#include "registry.h"
#include "telemetry.h"

#define MAX_NUMBERS 2              /* behind a device's name */

/* What a command was asked. */
struct request {
	struct mlx5p_dev *dev;
	uint64_t number[MAX_NUMBERS];
};

/* A page of a table in the making. */
struct page {
	struct rte_tel_data *rows;
	uint64_t first, at;        /* number of its first row, and of the next that comes */
	unsigned int shown;
};

/* A reply in the making. */
struct reply {
	struct rte_tel_data *d;
	const struct request *r;
	const char *error;         /* NULL: none */
};

/* ---- dictionaries ---- */

static void
add_number(struct rte_tel_data *d, const char *name, uint64_t value)
{
#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
	rte_tel_data_add_dict_uint(d, name, value);
#else
	rte_tel_data_add_dict_u64(d, name, value);
#endif
}

__rte_format_printf(3, 4)
static void
add_text(struct rte_tel_data *d, const char *name, const char *fmt, ...)
{
	char text[RTE_TEL_MAX_STRING_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rte_tel_data_add_dict_string(d, name, text);
}

__rte_format_printf(2, 3)
static int
fail(struct rte_tel_data *d, const char *fmt, ...)
{
	char text[RTE_TEL_MAX_STRING_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rte_tel_data_start_dict(d);
	rte_tel_data_add_dict_string(d, "error", text);
	return 0;
}

static void
add_file(struct rte_tel_data *d, dev_t dev, ino_t ino, uint64_t offset)
{
	add_text(d, "device", "%x:%x", major(dev), minor(dev));
	add_number(d, "inode", ino);
	add_text(d, "offset", "0x%" PRIx64, offset);
}

/* ---- pages ---- */

/* @return 0, or -ENOMEM. */
static int
page_begin(struct page *page, uint64_t first)
{
	*page = (struct page) { .rows = rte_tel_data_alloc(), .first = first };
	if (page->rows == NULL)
		return -ENOMEM;
	rte_tel_data_start_dict(page->rows);
	return 0;
}

static bool
page_full(const struct page *page)
{
	return page->shown == MLX5P_TELEMETRY_PAGE;
}

/* The dictionary of the next row, NULL if it is on another page. Rows come in order. */
static struct rte_tel_data *
page_row(struct page *page)
{
	uint64_t number = page->at++;
	struct rte_tel_data *row;
	char name[24];

	if (number < page->first || page_full(page))
		return NULL;
	row = rte_tel_data_alloc();
	if (row == NULL)
		return NULL;
	rte_tel_data_start_dict(row);
	snprintf(name, sizeof(name), "%" PRIu64, number);
	rte_tel_data_add_dict_container(page->rows, name, row, 0);
	page->shown++;
	return row;
}

/* The table has @rows in all. */
static void
page_end(struct page *page, const char *name, uint64_t rows, struct rte_tel_data *d)
{
	uint64_t next = page->first + page->shown;

	add_number(d, "left_off", rows - page->shown);
	if (next < rows)
		add_number(d, "next", next);
	rte_tel_data_add_dict_container(d, name, page->rows, 0);
}

/* ---- what was asked ---- */

/* Numbers behind the device's name: "64,0". @return false if @text is something else. */
static bool
parse_numbers(char *text, unsigned int max, uint64_t *number)
{
	unsigned int n;
	char *end;

	for (n = 0; n < max && text != NULL; n++) {
		if (*text < '0' || *text > '9')
			return false;
		errno = 0;
		number[n] = strtoull(text, &end, 10);
		if (errno != 0 || (*end != '\0' && *end != ','))
			return false;
		text = *end == ',' ? end + 1 : NULL;
	}
	return text == NULL;
}

/* @return whether there is such a device, which is held then; else @d says what is wrong. */
static bool
request_begin(struct request *r, const char *params, unsigned int numbers, struct rte_tel_data *d)
{
	char text[RTE_TEL_MAX_STRING_LEN];
	char *rest;

	memset(r, 0, sizeof(*r));
	snprintf(text, sizeof(text), "%s", params != NULL ? params : "");
	rest = strchr(text, ',');
	if (rest != NULL)
		*rest++ = '\0';
	if (text[0] == '\0') {
		fail(d, "the name of a device is missing; /mlx5_persist/list shows them");
		return false;
	}
	if (!parse_numbers(rest, numbers, r->number)) {
		fail(d, numbers == 0 ? "%.40s: nothing goes behind the device's name" :
			"%.40s: decimal numbers go there, %u at most", rest, numbers);
		return false;
	}
	r->dev = mlx5p_registry_hold_name(text);
	if (r->dev == NULL) {
		fail(d, "no device %.40s; /mlx5_persist/list shows them", text);
		return false;
	}
	return true;
}

/* Answer a command about a device's memory. */
static int
answer(const char *params, unsigned int numbers, struct rte_tel_data *d,
		void (*fn)(void *arg, const struct mlx5p_memory *memory))
{
	struct request r;
	struct reply reply = { .d = d, .r = &r };

	if (!request_begin(&r, params, numbers, d))
		return 0;
	rte_tel_data_start_dict(d);
	mlx5p_dev_see_memory(r.dev, fn, &reply);
	mlx5p_registry_release(r.dev);
	return reply.error != NULL ? fail(d, "%s", reply.error) : 0;
}

/* ---- list, info ---- */

struct names {
	struct rte_tel_data *d;
	unsigned int n;
};

static void
add_name(void *arg, const char *name)
{
	struct names *names = arg;

	if (names->n++ < MLX5P_TELEMETRY_DEVICES)
		rte_tel_data_add_array_string(names->d, name);
}

static int
cmd_list(const char *cmd, const char *params, struct rte_tel_data *d)
{
	struct names names = { .d = d };

	RTE_SET_USED(cmd);
	RTE_SET_USED(params);
	rte_tel_data_start_array(d, RTE_TEL_STRING_VAL);
	mlx5p_registry_names(add_name, &names);
	return 0;
}

static void
see_info(void *arg, const struct mlx5p_memory *memory)
{
	static const char *const persist[] = {
		[MLX5P_PERSIST_OFF] = "off", [MLX5P_PERSIST_RESET] = "reset",
		[MLX5P_PERSIST_RECONNECT] = "reconnect",
	};
	struct reply *reply = arg;
	const struct mlx5p_args *args = mlx5p_dev_args(reply->r->dev);
	const struct mlx5p_hw *hw = mlx5p_dev_hw(reply->r->dev);
	struct mlx5p_pins_stats pins;
	struct rte_tel_data *d = reply->d;

	mlx5p_pins_stats(mlx5p_memory_pins(memory), &pins);
	add_text(d, "name", "%s", hw->name);
	add_text(d, "rdma_device", "%s", ibv_get_device_name(hw->ctx->device));
	rte_tel_data_add_dict_int(d, "numa_node", hw->numa_node);
	add_number(d, "queues", mlx5p_dev_nqueues(reply->r->dev));
	add_text(d, "persist", "%s", persist[args->persist]);
	add_number(d, "persist_timeout_ms", args->persist_timeout_ms);
	add_text(d, "mr_backend", "%s", args->mr_backend == MLX5P_MR_DEVX ? "devx" : "verbs");
	add_text(d, "reuse_queues", "%s", args->reuse_queues ? "yes" : "no");
	add_text(d, "front_end", "%s", mlx5p_memory_attached(memory) ? "connected" : "none");
	add_number(d, "maps", vhost_iotlb_count(mlx5p_memory_maps(memory)));
	add_number(d, "pinned_bytes", pins.bytes);
	add_number(d, "waiting_bytes", pins.bytes_waiting);
	add_number(d, "pinned_bytes_total", pins.bytes_total);
}

static int
cmd_info(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return answer(params, 0, d, see_info);
}

/* ---- layer 1 ---- */

static void
add_pin(void *arg, const struct mlx5p_pin_info *pin)
{
	struct rte_tel_data *row = page_row(arg);

	if (row == NULL)
		return;
	add_file(row, pin->dev, pin->ino, pin->offset);
	add_number(row, "bytes", pin->len);
	add_text(row, "mkey", "0x%x", pin->mkey);
	add_number(row, "holders", pin->holders);
	add_text(row, "state", "%s", pin->state);
}

static void
see_pins(void *arg, const struct mlx5p_memory *memory)
{
	const struct mlx5p_pins *pins = mlx5p_memory_pins(memory);
	struct reply *reply = arg;
	struct rte_tel_data *d = reply->d;
	struct mlx5p_pins_stats stats;
	struct page page;

	if (page_begin(&page, reply->r->number[0]) < 0) {
		reply->error = "no memory for the reply";
		return;
	}
	mlx5p_pins_stats(pins, &stats);
	add_number(d, "pins", stats.pins);
	add_number(d, "files", stats.files);
	add_number(d, "waiting", stats.waiting);
	add_number(d, "bytes", stats.bytes);
	add_number(d, "bytes_waiting", stats.bytes_waiting);
	add_number(d, "bytes_total", stats.bytes_total);
	add_number(d, "hits", stats.hits);
	add_number(d, "hit_bytes", stats.hit_bytes);
	add_number(d, "misses", stats.misses);
	add_number(d, "miss_bytes", stats.miss_bytes);
	mlx5p_pins_walk(pins, add_pin, &page);
	page_end(&page, "table", page.at, d);
}

static int
cmd_pins(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return answer(params, 1, d, see_pins);
}

/* ---- layer 2 ---- */

static void
add_map(struct page *page, const struct vhost_iotlb_map *map)
{
	static const char *const perms[] = {
		[VHOST_ACCESS_RO] = "ro", [VHOST_ACCESS_WO] = "wo", [VHOST_ACCESS_RW] = "rw",
	};
	struct rte_tel_data *row = page_row(page);

	if (row == NULL)
		return;
	add_text(row, "start", "0x%" PRIx64, map->start);
	add_text(row, "last", "0x%" PRIx64, map->last);
	add_text(row, "perm", "%s", map->perm < RTE_DIM(perms) && perms[map->perm] != NULL ?
		perms[map->perm] : "?");
	add_file(row, map->backing.dev, map->backing.ino, map->backing.offset);
}

static void
add_aspace(struct rte_tel_data *d, const struct mlx5p_aspace *as)
{
	struct mlx5p_aspace_stats stats;

	mlx5p_aspace_stats(as, &stats);
	add_text(d, "mkey", "0x%x", stats.mkey);
	add_number(d, "entries", stats.entries);
	add_text(d, "start", "0x%" PRIx64, stats.start);
	add_number(d, "bytes", stats.len);
	add_number(d, "old_keys", stats.old_keys);
	add_number(d, "rebuilds", stats.rebuilds);
	add_number(d, "kept", stats.kept);
	add_text(d, "last_rebuild", "%s", mlx5p_rebuild_name(stats.last));
}

static void
see_iotlb(void *arg, const struct mlx5p_memory *memory)
{
	const struct vhost_iotlb_dev *iotlb = mlx5p_memory_iotlb(memory);
	struct reply *reply = arg;
	uint64_t asid = reply->r->number[1];
	const struct vhost_iotlb_map *map;
	const struct vhost_iotlb *maps;
	struct page page;

	if (asid >= vhost_iotlb_dev_nas(iotlb) || mlx5p_memory_aspace(memory, asid) == NULL) {
		reply->error = "no address space with that number: iotlb,DEVICE shows how many";
		return;
	}
	if (page_begin(&page, reply->r->number[0]) < 0) {
		reply->error = "no memory for the reply";
		return;
	}
	maps = vhost_iotlb_dev_table(iotlb, asid);
	add_number(reply->d, "address_spaces", vhost_iotlb_dev_nas(iotlb));
	add_number(reply->d, "asid", asid);
	add_number(reply->d, "maps", vhost_iotlb_count(maps));
	add_aspace(reply->d, mlx5p_memory_aspace(memory, asid));
	add_text(reply->d, "ring_mkey", "0x%x", mlx5p_memory_ring_mkey(memory));
	VHOST_IOTLB_FOREACH(map, maps) {
		if (page_full(&page))
			break;
		add_map(&page, map);
	}
	page_end(&page, "table", vhost_iotlb_count(maps), reply->d);
}

static int
cmd_iotlb(const char *cmd, const char *params, struct rte_tel_data *d)
{
	RTE_SET_USED(cmd);
	return answer(params, 2, d, see_iotlb);
}

/* ---- drop ---- */

static int
cmd_drop(const char *cmd, const char *params, struct rte_tel_data *d)
{
	uint64_t bytes = 0;
	struct request r;
	int ret;

	RTE_SET_USED(cmd);
	if (!request_begin(&r, params, 0, d))
		return 0;
	ret = mlx5p_dev_drop(r.dev, &bytes);
	mlx5p_registry_release(r.dev);
	if (ret == -EBUSY)
		return fail(d, "nothing waits: a connected front-end needs all that is pinned");
	if (ret < 0)
		return fail(d, "not dropped: %s", strerror(-ret));
	rte_tel_data_start_dict(d);
	add_number(d, "unpinned_bytes", bytes);
	return 0;
}

/* ---- the commands ---- */

RTE_INIT(mlx5p_telemetry_init)
{
	static const struct {
		const char *name;
		telemetry_cb fn;
		const char *help; /* 63 characters at most */
	} cmds[] = {
		{ "/mlx5_persist/list", cmd_list, "Devices of vdpa_mlx5_persist" },
		{ "/mlx5_persist/info", cmd_info, "One of them. Parameters: DEVICE" },
		{ "/mlx5_persist/pins", cmd_pins,
			"Pinned memory. Parameters: DEVICE[,FIRST]" },
		{ "/mlx5_persist/iotlb", cmd_iotlb,
			"Maps. Parameters: DEVICE[,FIRST[,ASID]]" },
		{ "/mlx5_persist/drop", cmd_drop,
			"Unpin what waits for a front-end. Parameters: DEVICE" },
	};
	unsigned int i;

	for (i = 0; i < RTE_DIM(cmds); i++)
		rte_telemetry_register_cmd(cmds[i].name, cmds[i].fn, cmds[i].help);
}

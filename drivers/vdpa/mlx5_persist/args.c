/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_kvargs.h>

#include "args.h"
#include "mlx5p_log.h"

struct parser {
	const char *key;
	const char *allowed;
	/* 0, or -EINVAL: not an allowed value */
	int (*parse)(const struct parser *p, const char *value, struct mlx5p_args *args);
	/* parse_number(): range, and the uint32_t that gets the value */
	uint32_t min, max;
	size_t offset;
};

/* Index of @value among @n choices, -EINVAL if it is none of them. */
static int
choose(const char *value, const char *const *choices, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (strcmp(value, choices[i]) == 0)
			return i;
	}
	return -EINVAL;
}

static int
parse_dev(const struct parser *p, const char *value, struct mlx5p_args *args)
{
	RTE_SET_USED(p);
	if (value[0] == '\0' || strlen(value) >= sizeof(args->dev))
		return -EINVAL;
	strcpy(args->dev, value);
	return 0;
}

static int
parse_persist(const struct parser *p, const char *value, struct mlx5p_args *args)
{
	static const char *const choices[] = {
		[MLX5P_PERSIST_OFF] = "off", [MLX5P_PERSIST_RESET] = "reset",
		[MLX5P_PERSIST_RECONNECT] = "reconnect",
	};
	int i = choose(value, choices, RTE_DIM(choices));

	RTE_SET_USED(p);
	args->persist = i;
	return i < 0 ? i : 0;
}

static int
parse_reuse_queues(const struct parser *p, const char *value, struct mlx5p_args *args)
{
	static const char *const choices[] = { "0", "1" };
	int i = choose(value, choices, RTE_DIM(choices));

	RTE_SET_USED(p);
	args->reuse_queues = i == 1;
	return i < 0 ? i : 0;
}

static int
parse_iommu(const struct parser *p, const char *value, struct mlx5p_args *args)
{
	static const char *const choices[] = { "off", "on" };
	int i = choose(value, choices, RTE_DIM(choices));

	RTE_SET_USED(p);
	args->iommu = i == 1;
	return i < 0 ? i : 0;
}

static int
parse_desc_group_mkey(const struct parser *p, const char *value, struct mlx5p_args *args)
{
	static const char *const choices[] = { "0", "1" };
	int i = choose(value, choices, RTE_DIM(choices));

	RTE_SET_USED(p);
	args->ring_as = i == 1;
	return i < 0 ? i : 0;
}

static int
parse_mr_backend(const struct parser *p, const char *value, struct mlx5p_args *args)
{
	static const char *const choices[] = {
		[MLX5P_MR_VERBS] = "verbs", [MLX5P_MR_DEVX] = "devx",
	};
	int i = choose(value, choices, RTE_DIM(choices));

	RTE_SET_USED(p);
	args->mr_backend = i;
	return i < 0 ? i : 0;
}

/* A decimal number from @min to @max. */
static int
read_number(const char *value, unsigned long min, unsigned long max, unsigned long *number)
{
	char *end;

	/* strtoul() also takes spaces and signs. */
	if (value[0] < '0' || value[0] > '9')
		return -EINVAL;
	errno = 0;
	*number = strtoul(value, &end, 10);
	return errno != 0 || *end != '\0' || *number < min || *number > max ? -EINVAL : 0;
}

static int
parse_number(const struct parser *p, const char *value, struct mlx5p_args *args)
{
	unsigned long number;
	int ret = read_number(value, p->min, p->max, &number);

	if (ret == 0)
		*(uint32_t *)RTE_PTR_ADD(args, p->offset) = number;
	return ret;
}

static int
parse_event_mode(const struct parser *p, const char *value, struct mlx5p_args *args)
{
	unsigned long number;
	int ret = read_number(value, p->min, p->max, &number);

	if (ret == 0)
		args->event_mode = number;
	return ret;
}

static int
parse_event_core(const struct parser *p, const char *value, struct mlx5p_args *args)
{
	unsigned long number;
	int ret = read_number(value, 0, sysconf(_SC_NPROCESSORS_CONF) - 1, &number);

	RTE_SET_USED(p);
	if (ret == 0)
		args->event_core = number;
	return ret;
}

/* The event queue of a virtqueue has as many entries as its ring, and that is a power of two. */
static int
parse_queue_size(const struct parser *p, const char *value, struct mlx5p_args *args)
{
	int ret = parse_number(p, value, args);

	return ret == 0 && (args->queue_size & (args->queue_size - 1)) != 0 ? -EINVAL : ret;
}

#define NUMBER(key, first, last, allowed, field) \
	{ key, allowed, parse_number, first, last, offsetof(struct mlx5p_args, field) }

/* Ranges are those that NVIDIA's guide documents; its driver takes others, too, without a word. */
static const struct parser parsers[] = {
	{ "dev", "a PCI address (0000:e1:00.2) or an RDMA device name (mlx5_0)", parse_dev },
	{ "persist", "off, reset or reconnect", parse_persist },
	NUMBER("persist_timeout_ms", 0, UINT32_MAX, "milliseconds, 0 to 4294967295",
		persist_timeout_ms),
	{ "iommu", "off or on", parse_iommu },
	{ "reuse_queues", "0 or 1", parse_reuse_queues },
	NUMBER("rewind_ms", 0, UINT32_MAX, "milliseconds, 1 to 4294967295, or 0 (never)", rewind_ms),
	{ "desc_group_mkey", "0 or 1", parse_desc_group_mkey },
	{ "mr_backend", "verbs or devx", parse_mr_backend },
	{ "event_mode", "0 (timer that adapts), 1 (fixed timer) or 2 (interrupts)",
		parse_event_mode, MLX5P_EVENT_DYNAMIC_TIMER, MLX5P_EVENT_INTERRUPT },
	NUMBER("event_us", 0, UINT32_MAX, "microseconds, 0 to 4294967295", event_us),
	{ "event_core", "the number of a processor of this machine", parse_event_core },
	NUMBER("no_traffic_time", 1, UINT32_MAX, "a number of polls, 1 to 4294967295",
		no_traffic_time),
	NUMBER("hw_latency_mode", 0, 2,
		"0 (the card's default), 1 (from the first completion) or 2 (from the last)",
		moderation.latency_mode),
	NUMBER("hw_max_latency_us", 0, 4095, "microseconds, 1 to 4095, or 0 (the card's default)",
		moderation.max_latency_us),
	NUMBER("hw_max_pending_comp", 0, 65535,
		"completions, 1 to 65535, or 0 (the card's default)", moderation.max_pending),
	NUMBER("max_conf_threads", 0, 256, "threads, 1 to 256, or 0 (none)", conf_threads),
	NUMBER("queues", 0, 128, "queue pairs, 1 to 128, or 0 (none)", queues),
	{ "queue_size", "a power of two from 1 to 1024, or 0 (none)", parse_queue_size, 0, 1024,
		offsetof(struct mlx5p_args, queue_size) },
};

static int
parse_pair(const char *name, const struct rte_kvargs_pair *pair, struct mlx5p_args *args)
{
	const char *value = pair->value != NULL ? pair->value : "";
	char keys[256] = "";
	size_t i;

	for (i = 0; i < RTE_DIM(parsers); i++) {
		if (strcmp(pair->key, parsers[i].key) != 0)
			continue;
		if (parsers[i].parse(&parsers[i], value, args) == 0)
			return 0;
		MLX5P_LOG(ERR, name, "bad driver argument %s=%s: it takes %s", pair->key, value,
			parsers[i].allowed);
		return -EINVAL;
	}
	for (i = 0; i < RTE_DIM(parsers); i++)
		snprintf(keys + strlen(keys), sizeof(keys) - strlen(keys), "%s%s", i ? ", " : "",
			parsers[i].key);
	MLX5P_LOG(ERR, name, "unknown driver argument %s=%s: allowed are %s", pair->key, value,
		keys);
	return -EINVAL;
}

/* What no argument can tell by itself. */
static int
check_together(const char *name, struct mlx5p_args *args)
{
	if (args->dev[0] == '\0') {
		MLX5P_LOG(ERR, name, "driver argument dev is missing: it takes %s",
			parsers[0].allowed);
		return -EINVAL;
	}
	if ((args->queues == 0) != (args->queue_size == 0)) {
		MLX5P_LOG(ERR, name,
			"driver arguments queues=%u and queue_size=%u: it takes both or none",
			args->queues, args->queue_size);
		return -EINVAL;
	}
	/* A timer that adapts in steps of nothing never would. */
	if (args->event_mode == MLX5P_EVENT_DYNAMIC_TIMER && args->event_us == 0)
		args->event_us = 1;
	return 0;
}

int
mlx5p_args_parse(const char *name, const char *text, struct mlx5p_args *args)
{
	struct rte_kvargs *kvargs;
	unsigned int i;
	int ret = 0;

	*args = (struct mlx5p_args) {
		.persist = MLX5P_PERSIST_RESET,
		.persist_timeout_ms = 5000,
		.reuse_queues = true,
		.rewind_ms = MLX5P_REWIND_MS,
		.ring_as = true,
		.mr_backend = MLX5P_MR_VERBS,
		.event_core = -1,
		.event_mode = MLX5P_EVENT_INTERRUPT,
		.no_traffic_time = 16,
		.conf_threads = MLX5P_CONF_THREADS_AUTO,
	};
	kvargs = rte_kvargs_parse(text, NULL);
	if (kvargs == NULL) {
		MLX5P_LOG(ERR, name, "cannot read driver arguments \"%s\": they are key=value,...",
			text);
		return -EINVAL;
	}
	for (i = 0; i < kvargs->count && ret == 0; i++)
		ret = parse_pair(name, &kvargs->pairs[i], args);
	rte_kvargs_free(kvargs);
	return ret < 0 ? ret : check_together(name, args);
}

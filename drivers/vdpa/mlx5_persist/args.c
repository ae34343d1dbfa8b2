/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
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
	int (*parse)(const char *value, struct mlx5p_args *args); /* -EINVAL: not an allowed value */
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
parse_dev(const char *value, struct mlx5p_args *args)
{
	if (value[0] == '\0' || strlen(value) >= sizeof(args->dev))
		return -EINVAL;
	strcpy(args->dev, value);
	return 0;
}

static int
parse_persist(const char *value, struct mlx5p_args *args)
{
	static const char *const choices[] = {
		[MLX5P_PERSIST_OFF] = "off", [MLX5P_PERSIST_RESET] = "reset",
	};
	int i = choose(value, choices, RTE_DIM(choices));

	args->persist = i;
	return i < 0 ? i : 0;
}

static int
parse_reuse_queues(const char *value, struct mlx5p_args *args)
{
	static const char *const choices[] = { "0", "1" };
	int i = choose(value, choices, RTE_DIM(choices));

	args->reuse_queues = i == 1;
	return i < 0 ? i : 0;
}

static int
parse_mr_backend(const char *value, struct mlx5p_args *args)
{
	static const char *const choices[] = {
		[MLX5P_MR_VERBS] = "verbs", [MLX5P_MR_DEVX] = "devx",
	};
	int i = choose(value, choices, RTE_DIM(choices));

	args->mr_backend = i;
	return i < 0 ? i : 0;
}

static int
parse_event_core(const char *value, struct mlx5p_args *args)
{
	char *end;
	unsigned long core;

	errno = 0;
	core = strtoul(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || value[0] == '-' ||
			core >= (unsigned long)sysconf(_SC_NPROCESSORS_CONF))
		return -EINVAL;
	args->event_core = core;
	return 0;
}

static const struct parser parsers[] = {
	{ "dev", "a PCI address (0000:e1:00.2) or an RDMA device name (mlx5_0)", parse_dev },
	{ "persist", "off or reset", parse_persist },
	{ "reuse_queues", "0 or 1", parse_reuse_queues },
	{ "mr_backend", "verbs or devx", parse_mr_backend },
	{ "event_core", "the number of a processor of this machine", parse_event_core },
};

static int
parse_pair(const char *name, const struct rte_kvargs_pair *pair, struct mlx5p_args *args)
{
	const char *value = pair->value != NULL ? pair->value : "";
	char keys[128] = "";
	size_t i;

	for (i = 0; i < RTE_DIM(parsers); i++) {
		if (strcmp(pair->key, parsers[i].key) != 0)
			continue;
		if (parsers[i].parse(value, args) == 0)
			return 0;
		MLX5P_LOG(ERR, name, "bad driver argument %s=%s: it takes %s", pair->key, value,
			parsers[i].allowed);
		return -EINVAL;
	}
	for (i = 0; i < RTE_DIM(parsers); i++)
		snprintf(keys + strlen(keys), sizeof(keys) - strlen(keys), "%s%s", i ? ", " : "",
			parsers[i].key);
	MLX5P_LOG(ERR, name, "unknown driver argument %s=%s: allowed are %s", pair->key, value, keys);
	return -EINVAL;
}

int
mlx5p_args_parse(const char *name, const char *text, struct mlx5p_args *args)
{
	struct rte_kvargs *kvargs;
	unsigned int i;
	int ret = 0;

	*args = (struct mlx5p_args) {
		.persist = MLX5P_PERSIST_RESET,
		.reuse_queues = true,
		.mr_backend = MLX5P_MR_VERBS,
		.event_core = -1,
	};
	kvargs = rte_kvargs_parse(text, NULL);
	if (kvargs == NULL) {
		MLX5P_LOG(ERR, name, "cannot read driver arguments \"%s\": they are key=value,...", text);
		return -EINVAL;
	}
	for (i = 0; i < kvargs->count && ret == 0; i++)
		ret = parse_pair(name, &kvargs->pairs[i], args);
	rte_kvargs_free(kvargs);
	if (ret == 0 && args->dev[0] == '\0') {
		MLX5P_LOG(ERR, name, "driver argument dev is missing: it takes %s", parsers[0].allowed);
		return -EINVAL;
	}
	return ret;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "counters.h"

typedef const char *(*counters_fn)(void);
typedef void (*mark_fn)(const char *phase);

/* A data pointer into a function pointer, as POSIX has it for dlsym(). */
static void
find_symbol(const char *name, void *fn)
{
	void *sym = dlsym(RTLD_DEFAULT, name);

	memcpy(fn, &sym, sizeof(sym));
}

static counters_fn
find(void)
{
	counters_fn fn;

	find_symbol("mlx5_emu_counters_json", &fn);
	return fn;
}

void
counters_mark(const char *phase)
{
	mark_fn fn;

	find_symbol("mlx5_emu_trace_mark", &fn);
	if (fn != NULL)
		fn(phase);
}

bool
counters_present(void)
{
	return find() != NULL;
}

char *
counters_snapshot(void)
{
	counters_fn fn = find();
	const char *now = fn ? fn() : NULL;

	/* The text is only good until the next call. */
	return now ? strdup(now) : NULL;
}

static int
get(struct json_object *root, const char *object, const char *key, uint64_t *value)
{
	struct json_object *o, *v;

	if (!json_object_object_get_ex(root, object, &o) || !json_object_object_get_ex(o, key, &v))
		return -ENODATA;
	*value = json_object_get_uint64(v);
	return 0;
}

int
counters_read(const char *snapshot, struct counters *c)
{
	struct json_object *root = snapshot ? json_tokener_parse(snapshot) : NULL;
	int ret = -ENODATA;

	if (root == NULL)
		return ret;
	if (get(root, "commands", "total", &c->commands) == 0 &&
			get(root, "pins", "bytes_total", &c->pinned_bytes) == 0 &&
			get(root, "pins", "bytes_now", &c->pinned_now) == 0 &&
			get(root, "alive", "total", &c->alive) == 0 &&
			get(root, "dma", "faults", &c->dma_faults) == 0)
		ret = 0;
	json_object_put(root);
	return ret;
}

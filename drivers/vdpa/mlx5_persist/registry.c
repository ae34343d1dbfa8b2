/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include <rte_vhost.h>

#include "registry.h"

static TAILQ_HEAD(, mlx5p_entry) entries = TAILQ_HEAD_INITIALIZER(entries);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the list, and all that is in it */
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;

int
mlx5p_registry_add(struct mlx5p_entry *entry, struct mlx5p_dev *dev, const char *name,
		struct rte_device *rte_dev, struct rte_vdpa_dev_ops *ops)
{
	*entry = (struct mlx5p_entry) { .dev = dev, .name = name, .rte_dev = rte_dev };
	/* Who has it from the library already waits for the list. */
	pthread_mutex_lock(&lock);
	entry->vdpa = rte_vdpa_register_device(rte_dev, ops);
	if (entry->vdpa != NULL)
		TAILQ_INSERT_TAIL(&entries, entry, next);
	pthread_mutex_unlock(&lock);
	return entry->vdpa != NULL ? 0 : -ENODEV;
}

void
mlx5p_registry_remove(struct mlx5p_entry *entry)
{
	pthread_mutex_lock(&lock);
	entry->leaves = true;
	while (entry->holders > 0)
		pthread_cond_wait(&released, &lock);
	TAILQ_REMOVE(&entries, entry, next);
	rte_vdpa_unregister_device(entry->vdpa);
	pthread_mutex_unlock(&lock);
}

void
mlx5p_registry_names(void (*fn)(void *arg, const char *name), void *arg)
{
	const struct mlx5p_entry *entry;

	pthread_mutex_lock(&lock);
	TAILQ_FOREACH(entry, &entries, next) {
		if (!entry->leaves)
			fn(arg, entry->name);
	}
	pthread_mutex_unlock(&lock);
}

/* ---- holds ---- */

/* The device whose entry @match takes; @hold it. */
static struct mlx5p_dev *
find(bool (*match)(const struct mlx5p_entry *entry, const void *key), const void *key, bool hold)
{
	struct mlx5p_dev *dev = NULL;
	struct mlx5p_entry *entry;

	pthread_mutex_lock(&lock);
	TAILQ_FOREACH(entry, &entries, next) {
		if (!entry->leaves && match(entry, key))
			break;
	}
	if (entry != NULL) {
		dev = entry->dev;
		entry->holders += hold;
	}
	pthread_mutex_unlock(&lock);
	return dev;
}

static bool
has_name(const struct mlx5p_entry *entry, const void *name)
{
	return strcmp(entry->name, name) == 0;
}

static bool
has_vdpa(const struct mlx5p_entry *entry, const void *vdpa)
{
	return entry->vdpa == vdpa;
}

static bool
has_rte_dev(const struct mlx5p_entry *entry, const void *rte_dev)
{
	return entry->rte_dev == rte_dev;
}

struct mlx5p_dev *
mlx5p_registry_hold_name(const char *name)
{
	return find(has_name, name, true);
}

struct mlx5p_dev *
mlx5p_registry_hold_vdpa(const struct rte_vdpa_device *vdpa)
{
	return vdpa != NULL ? find(has_vdpa, vdpa, true) : NULL;
}

struct mlx5p_dev *
mlx5p_registry_hold_vid(int vid)
{
	return mlx5p_registry_hold_vdpa(rte_vhost_get_vdpa_device(vid));
}

void
mlx5p_registry_release(struct mlx5p_dev *dev)
{
	struct mlx5p_entry *entry;

	pthread_mutex_lock(&lock);
	TAILQ_FOREACH(entry, &entries, next) {
		if (entry->dev == dev)
			break;
	}
	if (entry != NULL && --entry->holders == 0)
		pthread_cond_broadcast(&released);
	pthread_mutex_unlock(&lock);
}

struct mlx5p_dev *
mlx5p_registry_find(const struct rte_device *rte_dev)
{
	return find(has_rte_dev, rte_dev, false);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices are found, held and removed at the same time (registry.c). The vhost library is this
 * file's: its devices are freed and overwritten as they are unregistered.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "registry.h"

struct mlx5p_dev {
	int number;
};

static struct rte_vdpa_device library[2];
static int registered;
static struct rte_vdpa_device *of_vid; /* of every connection */

struct rte_vdpa_device *
rte_vdpa_register_device(struct rte_device *rte_dev, struct rte_vdpa_dev_ops *ops)
{
	struct rte_vdpa_device *vdpa = &library[registered];

	if (ops == NULL)
		return NULL;
	vdpa->device = rte_dev;
	vdpa->ops = ops;
	registered++;
	return vdpa;
}

int
rte_vdpa_unregister_device(struct rte_vdpa_device *vdpa)
{
	memset(vdpa, 0xa5, sizeof(*vdpa));
	registered--;
	return 0;
}

struct rte_vdpa_device *
rte_vhost_get_vdpa_device(int vid)
{
	return vid >= 0 ? of_vid : NULL;
}

static struct mlx5p_dev dev = { .number = 1 }, other = { .number = 2 };
static struct rte_device rte_dev, other_rte_dev;
static struct rte_vdpa_dev_ops ops;

static void
count_name(void *arg, const char *name)
{
	assert_string_equal(name, "one");
	++*(int *)arg;
}

static void
test_found(void **state)
{
	struct mlx5p_entry entry;
	int names = 0;

	(void)state;
	assert_int_equal(mlx5p_registry_add(&entry, &dev, "one", &rte_dev, NULL), -ENODEV);
	assert_null(mlx5p_registry_hold_name("one"));
	assert_int_equal(mlx5p_registry_add(&entry, &dev, "one", &rte_dev, &ops), 0);
	of_vid = entry.vdpa;
	assert_ptr_equal(mlx5p_registry_hold_name("one"), &dev);
	assert_ptr_equal(mlx5p_registry_hold_vid(7), &dev);
	assert_ptr_equal(mlx5p_registry_hold_vdpa(entry.vdpa), &dev);
	assert_int_equal(entry.holders, 3);
	assert_ptr_equal(mlx5p_registry_find(&rte_dev), &dev);
	assert_int_equal(entry.holders, 3);
	assert_null(mlx5p_registry_hold_name("two"));
	assert_null(mlx5p_registry_hold_vid(-1));
	assert_null(mlx5p_registry_hold_vdpa(&library[1]));
	assert_null(mlx5p_registry_hold_vdpa(NULL));
	assert_null(mlx5p_registry_find(&other_rte_dev));
	mlx5p_registry_names(count_name, &names);
	assert_int_equal(names, 1);
	while (entry.holders > 0)
		mlx5p_registry_release(&dev);
	mlx5p_registry_remove(&entry);
	/* A connection that outlives its device leads to what is freed: that is not looked into. */
	assert_null(mlx5p_registry_hold_vid(7));
	mlx5p_registry_names(count_name, &names);
	assert_int_equal(names, 1);
}

struct removal {
	struct mlx5p_entry *entry;
	atomic_bool done;
};

static void *
remove_entry(void *arg)
{
	struct removal *removal = arg;

	mlx5p_registry_remove(removal->entry);
	atomic_store(&removal->done, true);
	return NULL;
}

/* Nobody finds a device that is being removed; it is there until all who hold it are done, and the
 * other one is not concerned. */
static void
test_removal_waits(void **state)
{
	struct mlx5p_entry entry, stays;
	struct removal removal = { .entry = &entry };
	pthread_t thread;

	(void)state;
	assert_int_equal(mlx5p_registry_add(&entry, &dev, "one", &rte_dev, &ops), 0);
	assert_int_equal(mlx5p_registry_add(&stays, &other, "two", &other_rte_dev, &ops), 0);
	of_vid = entry.vdpa;
	assert_ptr_equal(mlx5p_registry_hold_vid(0), &dev);
	assert_ptr_equal(mlx5p_registry_hold_name("one"), &dev);
	assert_int_equal(pthread_create(&thread, NULL, remove_entry, &removal), 0);
	while (mlx5p_registry_find(&rte_dev) != NULL)
		usleep(100);
	assert_null(mlx5p_registry_hold_vid(0));
	assert_null(mlx5p_registry_hold_vdpa(entry.vdpa));
	assert_null(mlx5p_registry_hold_name("one"));
	mlx5p_registry_release(&dev);
	assert_ptr_equal(mlx5p_registry_hold_name("two"), &other);
	mlx5p_registry_release(&other);
	assert_false(atomic_load(&removal.done));
	assert_int_equal(registered, 2);
	mlx5p_registry_release(&dev);
	pthread_join(thread, NULL);
	assert_true(atomic_load(&removal.done));
	assert_ptr_equal(mlx5p_registry_hold_name("two"), &other);
	mlx5p_registry_release(&other);
	mlx5p_registry_remove(&stays);
	assert_int_equal(registered, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_removal_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

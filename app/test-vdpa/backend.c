/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_vhost.h>

#include "backend.h"
#include "clock.h"

#define RELEASE_TIMEOUT_NS (60 * CLOCK_S)	/* unpinning a very large guest takes its time */
#define RELEASE_POLL_NS CLOCK_MS

static int connections;		/* atomic; the callbacks know no more than a number */

static int
new_device(int vid)
{
	RTE_SET_USED(vid);
	return 0;
}

static void
destroy_device(int vid)
{
	RTE_SET_USED(vid);
}

static int
new_connection(int vid)
{
	RTE_SET_USED(vid);
	__atomic_add_fetch(&connections, 1, __ATOMIC_RELAXED);
	return 0;
}

static void
destroy_connection(int vid)
{
	RTE_SET_USED(vid);
	__atomic_sub_fetch(&connections, 1, __ATOMIC_RELEASE);
}

static const struct rte_vhost_device_ops ops = {
	.new_device = new_device,
	.destroy_device = destroy_device,
	.new_connection = new_connection,
	.destroy_connection = destroy_connection,
};

static int
make_path(struct backend *b)
{
	const char *base = getenv("TMPDIR");

	if (base == NULL || strlen(base) > sizeof(b->dir) - sizeof("/test-vdpa-XXXXXX"))
		base = "/tmp";
	snprintf(b->dir, sizeof(b->dir), "%s/test-vdpa-XXXXXX", base);
	if (mkdtemp(b->dir) == NULL)
		return -errno;
	snprintf(b->path, sizeof(b->path), "%s/sock", b->dir);
	return 0;
}

int
backend_start(struct backend *b, struct rte_vdpa_device *dev, char *err, size_t errlen)
{
	int ret = make_path(b);

	if (ret != 0) {
		snprintf(err, errlen, "%s: cannot make a folder: %s", b->dir, strerror(-ret));
		return ret;
	}
	if (rte_vhost_driver_register(b->path, 0) != 0) {
		snprintf(err, errlen, "%s: the vhost library does not open the socket", b->path);
		goto err_dir;
	}
	if (rte_vhost_driver_attach_vdpa_device(b->path, dev) != 0 ||
			rte_vhost_driver_callback_register(b->path, &ops) != 0 ||
			rte_vhost_driver_start(b->path) != 0) {
		snprintf(err, errlen, "%s: the vhost library does not serve the device", b->path);
		goto err_register;
	}
	return 0;

err_register:
	rte_vhost_driver_unregister(b->path);
err_dir:
	rmdir(b->dir);
	return -EIO;
}

bool
backend_wait(int left)
{
	uint64_t end = clock_ns() + RELEASE_TIMEOUT_NS;

	while (__atomic_load_n(&connections, __ATOMIC_ACQUIRE) > left) {
		if (clock_ns() > end)
			return false;
		clock_sleep_ns(RELEASE_POLL_NS);
	}
	return true;
}

bool
backend_stop(struct backend *b)
{
	if (!backend_wait(0))
		return false;
	rte_vhost_driver_unregister(b->path);
	rmdir(b->dir);
	return true;
}

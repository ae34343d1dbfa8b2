/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The back-end's end: DPDK's vhost library on a private socket, with a vDPA device behind it.
 *
 * Owns: the socket in a folder of its own, and the registration. Main thread; the vhost library's
 * thread only counts connections.
 */
#ifndef TEST_VDPA_BACKEND_H
#define TEST_VDPA_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_vdpa.h>

struct backend {
	char dir[64];
	char path[80];
};

/** Returns 0, or a negative errno with one line in @p err. */
int backend_start(struct backend *b, struct rte_vdpa_device *dev, char *err, size_t errlen);

/**
 * Wait until at most @p left connections of front-ends are there, over all back-ends. False: the
 * driver does not let go of another one.
 */
bool backend_wait(int left);

/**
 * Stop, after the front-end has closed its connection.
 * Returns false if the driver does not let go of a connection: it is stuck, nothing was taken down,
 * and rte_eal_cleanup() must not be called.
 */
bool backend_stop(struct backend *b);

#endif /* TEST_VDPA_BACKEND_H */

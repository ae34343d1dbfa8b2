/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports: a vhost-user socket served by a vDPA device.
 *
 * Owns: the list of ports and the life of their sockets in DPDK's vhost library. Only the main thread
 * calls these functions. The vhost library's thread tells of connections through callbacks that touch
 * a port's vid alone, which is atomic.
 */
#ifndef DPDK_VDPA_PORT_H
#define DPDK_VDPA_PORT_H

#include <stdbool.h>

#include <rte_vdpa.h>

#define PORT_NO_VID (-1)

/**
 * Serve a device on a socket.
 *
 * @param path
 *   Socket path; created here, or in client mode connected to, again and again until it is there.
 * @return
 *   0, or a negative errno after one line to stderr: -ENAMETOOLONG, -EEXIST (path), -EBUSY (the device
 *   has a port already), -ENOSPC (PORT_MAX), -EIO (the vhost library refused).
 */
int port_create(const char *path, struct rte_vdpa_device *dev, bool client);

/** Whether a device has a port. @p vid gets the id of its running connection, or PORT_NO_VID. */
bool port_find(const struct rte_vdpa_device *dev, int *vid);

/** Close all ports: connections first, then the sockets are unlinked. */
void port_close_all(void);

#endif /* DPDK_VDPA_PORT_H */

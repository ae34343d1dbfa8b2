/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_vdpa.h>
#include <rte_vhost.h>

#include "port.h"
#include "vdpa_list.h"

#define PORT_MAX 1024 /* as many sockets as the vhost library serves */
#define PORT_PATH_LEN sizeof(((struct sockaddr_un *)0)->sun_path)

/* VIRTIO_F_ACCESS_PLATFORM: the front-end may switch an IOTLB on. */
#define ACCESS_PLATFORM (UINT64_C(1) << 33)

struct port {
	char path[PORT_PATH_LEN];
	struct rte_vdpa_device *dev;
	atomic_int vid; /* PORT_NO_VID while no front-end runs the device */
};

static struct port ports[PORT_MAX];
static atomic_uint nports; /* grows only after its newest port is filled in */

static struct port *
port_by_vid(int vid)
{
	char path[PORT_PATH_LEN];
	unsigned int i;

	if (rte_vhost_get_ifname(vid, path, sizeof(path)) != 0)
		return NULL;
	for (i = 0; i < nports; i++)
		if (strcmp(path, ports[i].path) == 0)
			return &ports[i];
	return NULL;
}

/* vhost thread: the front-end's first start, and each after a stop. */
static int
port_started(int vid)
{
	struct port *port = port_by_vid(vid);

	if (port == NULL)
		return -1;
	port->vid = vid;
	printf("\nnew port %s, device : %s\n", port->path, vdpa_list_name(port->dev));
	fflush(stdout);
	return 0;
}

static void
port_stopped(int vid)
{
	struct port *port = port_by_vid(vid);

	if (port == NULL)
		return;
	port->vid = PORT_NO_VID;
	printf("\ndestroy port %s, device: %s\n", port->path, vdpa_list_name(port->dev));
	fflush(stdout);
}

static const struct rte_vhost_device_ops port_ops = {
	.new_device = port_started,
	.destroy_device = port_stopped,
};

static int
port_check(const char *path, const struct rte_vdpa_device *dev, bool client)
{
	unsigned int i;

	if (strlen(path) >= PORT_PATH_LEN) {
		fprintf(stderr, "dpdk-vdpa: socket path %s is longer than %zu characters\n", path,
			PORT_PATH_LEN - 1);
		return -ENAMETOOLONG;
	}
	for (i = 0; i < nports; i++) {
		if (ports[i].dev == dev) {
			fprintf(stderr, "dpdk-vdpa: %s is served on %s already\n",
				vdpa_list_name(ports[i].dev), ports[i].path);
			return -EBUSY;
		}
	}
	if (!client && access(path, F_OK) == 0) {
		fprintf(stderr, "dpdk-vdpa: %s exists: remove it or choose another path\n", path);
		return -EEXIST;
	}
	if (nports == PORT_MAX) {
		fprintf(stderr, "dpdk-vdpa: no more than %u ports\n", PORT_MAX);
		return -ENOSPC;
	}
	return 0;
}

int
port_create(const char *path, struct rte_vdpa_device *dev, bool client)
{
	struct port *port = &ports[nports];
	uint64_t flags = client ? RTE_VHOST_USER_CLIENT : 0;
	const char *step = "register";
	uint64_t features;
	int ret;

	ret = port_check(path, dev, client);
	if (ret != 0)
		return ret;
	/* The vhost library takes the feature away unless asked. */
	if (rte_vdpa_get_features(dev, &features) == 0 && (features & ACCESS_PLATFORM) != 0)
		flags |= RTE_VHOST_USER_IOMMU_SUPPORT;
	if (rte_vhost_driver_register(path, flags) != 0)
		goto fail;
	step = "attach the device to";
	if (rte_vhost_driver_callback_register(path, &port_ops) != 0 ||
	    rte_vhost_driver_attach_vdpa_device(path, dev) != 0)
		goto fail_unregister;

	/* Before the socket opens: the first callback looks the port up. */
	strcpy(port->path, path);
	port->dev = dev;
	port->vid = PORT_NO_VID;
	nports++;

	step = "open";
	if (rte_vhost_driver_start(path) != 0) {
		nports--;
		goto fail_unregister;
	}
	return 0;

fail_unregister:
	rte_vhost_driver_unregister(path);
fail:
	fprintf(stderr, "dpdk-vdpa: can't %s socket %s for %s\n", step, path, vdpa_list_name(dev));
	return -EIO;
}

bool
port_find(const struct rte_vdpa_device *dev, int *vid)
{
	unsigned int i;

	for (i = 0; i < nports; i++) {
		if (ports[i].dev == dev) {
			*vid = ports[i].vid;
			return true;
		}
	}
	return false;
}

void
port_close_all(void)
{
	while (nports > 0) {
		/* Closes the connection, which stops the device and calls port_stopped(). */
		if (rte_vhost_driver_unregister(ports[nports - 1].path) != 0)
			fprintf(stderr, "dpdk-vdpa: can't close socket %s\n", ports[nports - 1].path);
		nports--;
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vDPA driver in software whose wire is a loop, and which can be told to misbehave: what shows
 * that dpdk-test-vdpa finds the faults of any driver, apart from all that a ConnectX needs.
 *
 *   --vdev=vdpa_soft0[,fault=NAME]
 *
 * It serves split rings of direct descriptors, a pair's sender feeding its receiver. Faults: see
 * enum fault. One device a process.
 *
 * Threads: dev_conf and dev_close run on the vhost library's; between them, one of our own serves
 * the rings, and nobody else touches them.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_vhost.h>

#include "dpdk_sdk.h"

#define MAX_RINGS 16
#define MAX_PACKET 2048
#define FAULT_EVERY 1000	/* packets between two acts of misbehaviour */
#define IDLE_US 50
#define GOOD_STARTS 2		/* those before FAULT_NO_START and FAULT_MUTE set in */
#define EARLY_NS 40000000ull	/* from the start until FAULT_EARLY delivers */
#define UDP_SPORT (sizeof(struct virtio_net_hdr_v1) + sizeof(struct ethhdr) + sizeof(struct iphdr))
#define DEAF_PORT_MASK 15
#define DEAF_PORT 5
#define FAULT_ARG "fault="

enum fault {
	FAULT_NONE,
	FAULT_CORRUPT,		/* flip a bit of a packet */
	FAULT_LOSE,		/* take a packet and drop it */
	FAULT_DUPLICATE,	/* deliver a packet twice */
	FAULT_BAD_ID,		/* return a descriptor that was never handed out */
	FAULT_NO_CALL,		/* never call the guest */
	FAULT_NO_START,		/* dev_conf fails, after a while */
	FAULT_MUTE,		/* nothing moves, after a while */
	FAULT_STALE,		/* go on writing to the memory of the first start */
	FAULT_DEAF,		/* drop all packets of a flow, as if one receive queue were dead */
	FAULT_EARLY,		/* no fault: take packets from the start, deliver them later on */
	FAULT_NO_LOG,		/* mark no packet in the dirty log */
	FAULT_STALE_PLUG,	/* go on writing to a second region that was taken away */
};

static const char *const fault_names[] = {
	"none", "corrupt", "lose", "duplicate", "bad_id", "no_call", "no_start", "mute", "stale",
	"deaf", "early", "no_log", "stale_plug",
};

static struct {
	struct rte_vdpa_device *vdpa;
	enum fault fault;
	int vid;			/* of the last start */
	unsigned int starts;
	uint64_t packets;
	uint64_t start_ns;		/* of the last start */
	struct rte_vhost_memory *mem;
	unsigned int nrings;
	struct rte_vhost_vring ring[MAX_RINGS];
	uint16_t avail[MAX_RINGS];
	uint8_t *stale;			/* the first region of the first memory, for FAULT_STALE */
	uint64_t stale_len;
	pthread_t thread;
	bool running;			/* atomic */
} soft;

/* Copy between a guest address and @buf, across regions. */
static void
copy(uint64_t gpa, uint8_t *buf, uint32_t len, bool to_guest)
{
	while (len > 0) {
		uint64_t part = len;
		void *p = (void *)(uintptr_t)rte_vhost_va_from_guest_pa(soft.mem, gpa, &part);

		if (p == NULL)
			return;
		if (to_guest) {
			memcpy(p, buf, part);
			if (soft.fault != FAULT_NO_LOG)
				rte_vhost_log_write(soft.vid, gpa, part);
		} else {
			memcpy(buf, p, part);
		}
		gpa += part;
		buf += part;
		len -= part;
	}
}

/* The next chain of a ring. Returns its head, or -1. */
static int
next_head(unsigned int r)
{
	struct rte_vhost_vring *v = &soft.ring[r];

	if (__atomic_load_n(&v->avail->idx, __ATOMIC_ACQUIRE) == soft.avail[r])
		return -1;
	return v->avail->ring[soft.avail[r]++ % v->size];
}

static uint32_t
move(unsigned int r, uint16_t d, uint8_t *buf, uint32_t len, bool to_guest)
{
	const struct vring_desc *desc = soft.ring[r].desc;
	uint32_t done = 0;

	for (;; d = desc[d].next) {
		uint32_t part = RTE_MIN(desc[d].len, len - done);

		copy(desc[d].addr, buf + done, part, to_guest);
		done += part;
		if (!(desc[d].flags & VRING_DESC_F_NEXT))
			return done;
	}
}

static void
put_used(unsigned int r, uint32_t id, uint32_t len)
{
	struct vring_used *used = soft.ring[r].used;
	uint16_t at = used->idx % soft.ring[r].size;

	used->ring[at] = (struct vring_used_elem){ id, len };
	__atomic_store_n(&used->idx, used->idx + 1, __ATOMIC_RELEASE);
	rte_vhost_log_used_vring(soft.vid, r, offsetof(struct vring_used, ring[at]),
			sizeof(used->ring[at]));
	rte_vhost_log_used_vring(soft.vid, r, offsetof(struct vring_used, idx), sizeof(used->idx));
	if (soft.fault != FAULT_NO_CALL)
		eventfd_write(soft.ring[r].callfd, 1);
}

static void
deliver(unsigned int r, uint8_t *buf, uint32_t len)
{
	int head = next_head(r);

	if (head >= 0)
		put_used(r, head, move(r, head, buf, len, true));
}

static bool
misbehave(enum fault fault)
{
	return soft.fault == fault && soft.packets % FAULT_EVERY == FAULT_EVERY - 1;
}

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* Whether a packet goes nowhere. */
static bool
dropped(const uint8_t *buf)
{
	switch (soft.fault) {
	case FAULT_LOSE: return misbehave(FAULT_LOSE);
	case FAULT_DEAF: return (buf[UDP_SPORT + 1] & DEAF_PORT_MASK) == DEAF_PORT;
	case FAULT_EARLY: return now_ns() < soft.start_ns + EARLY_NS;
	default: return false;
	}
}

static bool
forward(unsigned int pair)
{
	unsigned int rx = 2 * pair, tx = rx + 1;
	uint8_t buf[MAX_PACKET];
	int head = next_head(tx);
	uint32_t len;

	if (head < 0)
		return false;
	len = move(tx, head, buf, sizeof(buf), false);
	put_used(tx, misbehave(FAULT_BAD_ID) ? soft.ring[tx].size : head, 0);
	if (misbehave(FAULT_CORRUPT))
		buf[len - 1] ^= 1;
	if (misbehave(FAULT_DUPLICATE))
		deliver(rx, buf, len);
	if (!dropped(buf))
		deliver(rx, buf, len);
	if (soft.fault == FAULT_STALE || (soft.stale != NULL && soft.mem->nregions == 1))
		soft.stale[soft.stale_len / 2] = soft.packets;
	soft.packets++;
	return true;
}

static void *
work(void *arg)
{
	RTE_SET_USED(arg);
	while (__atomic_load_n(&soft.running, __ATOMIC_ACQUIRE)) {
		bool busy = false;
		unsigned int p;

		for (p = 0; p < soft.nrings / 2; p++)
			while (forward(p))
				busy = true;
		if (!busy)
			usleep(IDLE_US);
	}
	return NULL;
}

static int
keep_stale(void)
{
	unsigned int region = soft.fault == FAULT_STALE_PLUG;
	const struct rte_vhost_mem_region *r = &soft.mem->regions[region];
	void *p;

	if ((soft.fault != FAULT_STALE && soft.fault != FAULT_STALE_PLUG) || soft.stale != NULL ||
			soft.mem->nregions <= region)
		return 0;
	p = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	soft.stale = p;
	soft.stale_len = r->size;
	return 0;
}

static int
get_rings(int vid)
{
	unsigned int r;

	soft.nrings = RTE_MIN(rte_vhost_get_vring_num(vid), MAX_RINGS);
	for (r = 0; r < soft.nrings; r++) {
		uint16_t used;

		if (rte_vhost_get_vhost_vring(vid, r, &soft.ring[r]) != 0 ||
				rte_vhost_get_vring_base(vid, r, &soft.avail[r], &used) != 0)
			return -EIO;
	}
	return 0;
}

static int
soft_conf(int vid)
{
	soft.starts++;
	soft.vid = vid;
	if (soft.fault == FAULT_NO_START && soft.starts > GOOD_STARTS)
		return -EIO;
	if (rte_vhost_get_mem_table(vid, &soft.mem) != 0)
		return -EIO;
	if (get_rings(vid) != 0 || keep_stale() != 0)
		goto err_mem;
	if (soft.fault == FAULT_MUTE && soft.starts > GOOD_STARTS)
		return 0;
	soft.start_ns = now_ns();
	soft.running = true;
	if (pthread_create(&soft.thread, NULL, work, NULL) == 0)
		return 0;
	soft.running = false;
err_mem:
	free(soft.mem);
	soft.mem = NULL;
	return -EIO;
}

static int
soft_close(int vid)
{
	unsigned int r;

	if (soft.running) {
		__atomic_store_n(&soft.running, false, __ATOMIC_RELEASE);
		pthread_join(soft.thread, NULL);
	}
	for (r = 0; r < soft.nrings; r++)
		rte_vhost_set_vring_base(vid, r, soft.avail[r], soft.avail[r]);
	free(soft.mem);
	soft.mem = NULL;
	return 0;
}

static int
soft_nothing(int vid)
{
	RTE_SET_USED(vid);
	return 0;
}

static int
soft_vring(int vid, int vring, int state)
{
	RTE_SET_USED(vid);
	RTE_SET_USED(vring);
	RTE_SET_USED(state);
	return 0;
}

static int
soft_queues(struct rte_vdpa_device *dev, uint32_t *n)
{
	RTE_SET_USED(dev);
	*n = MAX_RINGS / 2;
	return 0;
}

static int
soft_features(struct rte_vdpa_device *dev, uint64_t *features)
{
	RTE_SET_USED(dev);
	*features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_NET_F_MQ | 1ull << VHOST_F_LOG_ALL |
		1ull << VHOST_USER_F_PROTOCOL_FEATURES;
	return 0;
}

static int
soft_protocol(struct rte_vdpa_device *dev, uint64_t *features)
{
	RTE_SET_USED(dev);
	*features = 1ull << VHOST_USER_PROTOCOL_F_MQ | 1ull << VHOST_USER_PROTOCOL_F_STATUS |
		1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK | 1ull << VHOST_USER_PROTOCOL_F_LOG_SHMFD;
	return 0;
}

static struct rte_vdpa_dev_ops soft_ops = {
	.get_queue_num = soft_queues,
	.get_features = soft_features,
	.get_protocol_features = soft_protocol,
	.dev_conf = soft_conf,
	.dev_close = soft_close,
	.dev_cleanup = soft_nothing,
	.set_vring_state = soft_vring,
	.set_features = soft_nothing,
};

static int
soft_probe(struct rte_vdev_device *dev)
{
	const char *args = dev->device.devargs ? dev->device.devargs->args : "";
	unsigned int i;

	soft.fault = FAULT_NONE;
	if (args[0] != '\0') {
		if (strncmp(args, FAULT_ARG, strlen(FAULT_ARG)) != 0)
			return -EINVAL;
		for (i = 0; i < RTE_DIM(fault_names); i++)
			if (strcmp(args + strlen(FAULT_ARG), fault_names[i]) == 0)
				soft.fault = i;
	}
	soft.vdpa = rte_vdpa_register_device(&dev->device, &soft_ops);
	return soft.vdpa ? 0 : -EIO;
}

static int
soft_remove(struct rte_vdev_device *dev)
{
	RTE_SET_USED(dev);
	if (soft.stale != NULL)
		munmap(soft.stale, soft.stale_len);
	return rte_vdpa_unregister_device(soft.vdpa);
}

static struct rte_vdev_driver soft_driver = {
	.driver = { .name = "vdpa_soft" },
	.probe = soft_probe,
	.remove = soft_remove,
};

RTE_INIT(soft_register)
{
	rte_vdev_register(&soft_driver);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "session.h"

#define BIT(n) (1ull << (n))

/* Features that this guest knows how to use. GUEST_CSUM allows frames whose checksum the device has
 * verified; it lets NVIDIA's driver keep queues that it created in advance. */
#define WANTED (BIT(VU_F_PROTOCOL_FEATURES) | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ANY_LAYOUT) | \
		BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_NET_F_GUEST_CSUM))
#define WANTED_PROTOCOL (BIT(VU_PROTOCOL_F_MQ) | BIT(VU_PROTOCOL_F_REPLY_ACK) | \
		BIT(VU_PROTOCOL_F_CONFIG) | BIT(VU_PROTOCOL_F_STATUS) | \
		BIT(VU_PROTOCOL_F_LOG_SHMFD))

static unsigned int
rings(const struct session *s)
{
	return 2u * s->args->pairs;
}

static bool
has_status(const struct session *s)
{
	return (s->fe.protocol & BIT(VU_PROTOCOL_F_STATUS)) != 0;
}

/* Pass an error of the connection on. */
static int
from_fe(struct session *s, int ret)
{
	if (ret != 0)
		snprintf(s->err, sizeof(s->err), "%s", s->fe.err);
	return ret;
}

static int
lacks(struct session *s, const char *option, const char *what)
{
	snprintf(s->err, sizeof(s->err), "%s: the device does not offer %s", option, what);
	return -ENOTSUP;
}

/* ---- connecting ---- */

static int
choose_features(struct session *s)
{
	const struct args *a = s->args;
	uint64_t wanted = WANTED;

	if ((s->offered & BIT(VU_F_PROTOCOL_FEATURES)) == 0)
		return lacks(s, "--device", "VHOST_USER_F_PROTOCOL_FEATURES");
	if (a->pairs > 1 && (s->offered & BIT(VIRTIO_NET_F_MQ)) == 0)
		return lacks(s, "--queues", "VIRTIO_NET_F_MQ");
	if (a->packed && (s->offered & BIT(VIRTIO_F_RING_PACKED)) == 0)
		return lacks(s, "--packed", "VIRTIO_F_RING_PACKED");
	if (a->pairs > 1)
		wanted |= BIT(VIRTIO_NET_F_MQ);
	if (a->packed)
		wanted |= BIT(VIRTIO_F_RING_PACKED);
	s->features = s->offered & wanted;
	return 0;
}

static int
check_queue_num(struct session *s)
{
	uint64_t pairs = 1;
	int ret = 0;

	if ((s->fe.protocol & BIT(VU_PROTOCOL_F_MQ)) != 0)
		ret = fe_get_u64(&s->fe, VU_GET_QUEUE_NUM, &pairs);
	if (ret != 0)
		return from_fe(s, ret);
	if (s->args->pairs > pairs) {
		snprintf(s->err, sizeof(s->err), "--queues %u: the device has %llu queue pair%s",
				s->args->pairs, (unsigned long long)pairs, pairs == 1 ? "" : "s");
		return -ENOTSUP;
	}
	return 0;
}

static int
negotiate(struct session *s)
{
	uint64_t protocol;
	int ret = from_fe(s, fe_get_u64(&s->fe, VU_GET_FEATURES, &s->offered));

	if (ret == 0)
		ret = choose_features(s);
	if (ret == 0)
		ret = from_fe(s, fe_get_u64(&s->fe, VU_GET_PROTOCOL_FEATURES, &protocol));
	if (ret != 0)
		return ret;
	s->fe.protocol = protocol & WANTED_PROTOCOL;
	ret = from_fe(s, fe_set_u64(&s->fe, VU_SET_PROTOCOL_FEATURES, s->fe.protocol));
	if (ret == 0)
		ret = from_fe(s, fe_send(&s->fe, VU_SET_OWNER));
	return ret ? ret : check_queue_num(s);
}

int
session_open(struct session *s, const struct args *args, const char *path)
{
	int ret;

	*s = (struct session){ .args = args };
	ret = from_fe(s, fe_connect(&s->fe, path));
	if (ret == 0)
		ret = negotiate(s);
	if (ret != 0)
		fe_close(&s->fe);
	return ret;
}

void
session_close(struct session *s)
{
	fe_close(&s->fe);
}

int
session_mac(struct session *s, uint8_t mac[6])
{
	int ret;

	if ((s->fe.protocol & BIT(VU_PROTOCOL_F_CONFIG)) == 0 ||
			(s->offered & BIT(VIRTIO_NET_F_MAC)) == 0)
		return -ENODATA;
	ret = fe_get_config(&s->fe, offsetof(struct virtio_net_config, mac), mac, ETH_ALEN);
	return ret == -ENODATA ? ret : from_fe(s, ret);
}

/* Wait until the back-end is through with all messages, by asking it for something. */
static int
barrier(struct session *s)
{
	uint64_t answer;

	return fe_get_u64(&s->fe, has_status(s) ? VU_GET_STATUS : VU_GET_FEATURES, &answer);
}

/* ---- starting ---- */

static int
set_status(struct session *s, uint8_t status)
{
	s->status = status;
	return has_status(s) ? fe_set_u64(&s->fe, VU_SET_STATUS, status) : 0;
}

static int
negotiate_status(struct session *s)
{
	uint64_t status;
	int ret = set_status(s, VIRTIO_CONFIG_S_ACKNOWLEDGE);

	if (ret == 0)
		ret = set_status(s, s->status | VIRTIO_CONFIG_S_DRIVER);
	if (ret == 0)
		ret = fe_set_u64(&s->fe, VU_SET_FEATURES, s->features);
	if (ret == 0)
		ret = set_status(s, s->status | VIRTIO_CONFIG_S_FEATURES_OK);
	if (ret != 0 || !has_status(s))
		return from_fe(s, ret);
	ret = fe_get_u64(&s->fe, VU_GET_STATUS, &status);
	if (ret == 0 && (status & VIRTIO_CONFIG_S_FEATURES_OK) == 0) {
		snprintf(s->err, sizeof(s->err), "the device took FEATURES_OK back, of 0x%llx",
				(unsigned long long)s->features);
		return -EPROTO;
	}
	return from_fe(s, ret);
}

/* Where a ring is, and whether its used area is logged like all other memory. */
static int
set_addr(struct session *s, const struct ring *r, bool logged)
{
	uint64_t mem = (uintptr_t)r->mem;
	const struct vhost_vring_addr addr = {
		.index = r->index, .flags = logged ? BIT(VHOST_VRING_F_LOG) : 0,
		.desc_user_addr = mem + r->desc_off, .used_user_addr = mem + r->used_off,
		.avail_user_addr = mem + r->avail_off,
		.log_guest_addr = logged ? r->gpa + r->used_off : 0,
	};

	return fe_set_vring_addr(&s->fe, &addr);
}

static int
setup_ring(struct session *s, const struct ring *r, uint32_t base)
{
	struct fe *fe = &s->fe;
	int ret = fe_set_vring(fe, VU_SET_VRING_NUM, r->index, r->size);

	if (ret == 0)
		ret = fe_set_vring(fe, VU_SET_VRING_BASE, r->index, base);
	if (ret == 0)
		ret = set_addr(s, r, false);
	if (ret == 0)
		ret = fe_set_vring_fd(fe, VU_SET_VRING_KICK, r->index, r->kick_fd);
	if (ret == 0)
		ret = fe_set_vring_fd(fe, VU_SET_VRING_CALL, r->index, r->call_fd);
	return ret;
}

/* Enable or disable the rings from @from up to, not including, @to. */
static int
enable(struct session *s, unsigned int from, unsigned int to, bool on)
{
	int ret = 0;

	for (; ret == 0 && from < to; from++)
		ret = fe_set_vring(&s->fe, VU_SET_VRING_ENABLE, from, on);
	return ret;
}

/* Rings that are enabled before the device starts. */
static unsigned int
early_rings(const struct session *s)
{
	return s->args->enable_late ? 2 : rings(s);
}

int
session_setup(struct session *s, const struct net *net, const struct vu_mem_table *table,
		const uint32_t *bases)
{
	unsigned int vq;
	int ret = negotiate_status(s);

	if (ret != 0)
		return ret;
	s->table_ns = clock_ns();
	ret = fe_set_mem_table(&s->fe, table);
	for (vq = 0; ret == 0 && vq < rings(s); vq++)
		ret = setup_ring(s, net_ring(net, vq),
				bases ? bases[vq] : net_ring(net, vq)->ops->first_base());
	if (ret == 0 && has_status(s))
		ret = enable(s, 0, early_rings(s), true);
	/* What the back-end takes for all this is not the device's start. */
	if (ret == 0)
		ret = barrier(s);
	return from_fe(s, ret);
}

int
session_go(struct session *s, uint64_t *ns)
{
	uint64_t start = clock_ns(), features;
	int ret;

	if (has_status(s))
		ret = set_status(s, s->status | VIRTIO_CONFIG_S_DRIVER_OK);
	else
		ret = enable(s, 0, early_rings(s), true);
	if (ret == 0)
		ret = fe_get_u64(&s->fe, VU_GET_FEATURES, &features);
	s->up_ns = clock_ns();
	*ns = s->up_ns - start;
	return from_fe(s, ret);
}

int
session_late(struct session *s)
{
	uint64_t features;
	int ret = enable(s, early_rings(s), rings(s), true);

	if (ret == 0 && early_rings(s) < rings(s))
		ret = fe_get_u64(&s->fe, VU_GET_FEATURES, &features);
	return from_fe(s, ret);
}

int
session_remem(struct session *s, const struct vu_mem_table *table, uint64_t *ns)
{
	uint64_t start = clock_ns(), features;
	int ret = fe_set_mem_table(&s->fe, table);

	if (ret == 0)
		ret = fe_get_u64(&s->fe, VU_GET_FEATURES, &features);
	*ns = clock_ns() - start;
	return from_fe(s, ret);
}

bool
session_can_log(const struct session *s)
{
	return (s->offered & BIT(VHOST_F_LOG_ALL)) != 0 &&
		(s->fe.protocol & BIT(VU_PROTOCOL_F_LOG_SHMFD)) != 0;
}

int
session_log(struct session *s, const struct net *net, const struct dirty_log *log)
{
	uint64_t features;
	unsigned int vq;
	int ret = fe_set_log(&s->fe, log->fd, log->bytes);

	if (ret == 0)
		ret = fe_set_u64(&s->fe, VU_SET_FEATURES, s->features | BIT(VHOST_F_LOG_ALL));
	for (vq = 0; ret == 0 && vq < rings(s); vq++)
		ret = set_addr(s, net_ring(net, vq), true);
	if (ret == 0)
		ret = fe_get_u64(&s->fe, VU_GET_FEATURES, &features);
	return from_fe(s, ret);
}

int
session_enable(struct session *s, unsigned int vq, bool on)
{
	uint64_t features;
	int ret = enable(s, vq, vq + 1, on);

	if (ret == 0)
		ret = fe_get_u64(&s->fe, VU_GET_FEATURES, &features);
	return from_fe(s, ret);
}

/* ---- stopping ---- */

int
session_stop(struct session *s, uint64_t *ns, uint32_t *bases)
{
	uint64_t start = clock_ns();
	unsigned int vq;
	uint32_t base;
	int ret = 0;

	for (vq = 0; ret == 0 && vq < rings(s); vq++) {
		ret = fe_get_vring_base(&s->fe, vq, &base);
		if (ret == 0 && bases != NULL)
			bases[vq] = base;
	}
	*ns = clock_ns() - start;
	return from_fe(s, ret);
}

int
session_reset(struct session *s)
{
	int ret = set_status(s, 0);

	/* A ring stays enabled over a reset; a guest that boots finds the first pair enabled. */
	if (ret == 0)
		ret = enable(s, early_rings(s), rings(s), false);
	return from_fe(s, ret);
}

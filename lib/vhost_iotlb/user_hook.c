/* SPDX-License-Identifier: BSD-3-Clause */
/* The messages of a connection, before and after the vhost library handles them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "user.h"
#include "user_iotlb.h"
#include "user_log.h"
#include "user_msg.h"

/* What is wrong was said already. */
static const char said[] = "";

/* Refuse a message: one line, and the library is left to refuse it, too. */
static void
refuse(struct vhost_iotlb_user *u, void *msg, const char *why)
{
	if (why != said)
		USER_LOG(ERR, u, "%s refused: %s", user_msg_name(u->handling), why);
	user_msg_spoil(u->vid, msg);
	u->refused = true;
}

static bool
overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a <= b + (b_size - 1) && b <= a + (a_size - 1);
}

/* What is wrong with a region of a message, in words; NULL: nothing that shows before it is
 * mapped. */
static const char *
wire_region_problem(const struct user_table *table, uint32_t i)
{
	const struct user_region *r = &table->regions[i], *o;

	if (r->size == 0)
		return "its size is 0";
	if (r->guest_addr > UINT64_MAX - (r->size - 1))
		return "it runs past the last guest address";
	/* The library compares an address with the end of a region, which must not be 0. */
	if (r->user_addr >= UINT64_MAX - (r->size - 1))
		return "it runs past the last userspace address";
	if (r->offset > UINT64_MAX - r->size)
		return "it runs past the end of any file";
	for (o = table->regions; o < r; o++) {
		if (o->size == 0)
			continue;
		if (overlap(r->guest_addr, r->size, o->guest_addr, o->size))
			return "it overlaps another region";
	}
	return NULL;
}

/* A table that can be seen to be bad is refused while the old one is in force. One line for each
 * bad region. */
static const char *
wire_table_problem(const struct vhost_iotlb_user *u, const void *msg)
{
	struct user_table table;
	const char *problem, *result = NULL;

	user_msg_table(msg, &table);
	if (table.nregions > USER_MAX_REGIONS)
		return "it has more than 8 regions";
	for (uint32_t i = 0; i < table.nregions; i++) {
		problem = wire_region_problem(&table, i);
		if (problem == NULL)
			continue;
		USER_LOG(ERR, u, "memory region %" PRIu32 " (guest address %#" PRIx64 ", size %#"
			PRIx64 ") refused: %s", i, table.regions[i].guest_addr,
			table.regions[i].size, problem);
		result = said;
	}
	return result;
}

/* Features that can't be had together, or no more. */
static const char *
features_problem(const struct vhost_iotlb_user *u, uint64_t features)
{
	if (!u->conf.iommu || (features & USER_F_ACCESS_PLATFORM) == 0)
		return NULL;
	/* It divides by the number of entries of a cache that it has lost. */
	if (u->owner_reset)
		return "after RESET_OWNER the vhost library has no IOTLB: connect anew";
	if ((features & USER_F_LOG_ALL) != 0)
		return "dirty pages are not logged with an IOTLB: the device knows I/O addresses";
	return NULL;
}

static const char *
iotlb_problem(struct vhost_iotlb_user *u, void *msg)
{
	struct user_backings *mem;
	const char *problem;

	if (u->iotlb == NULL)
		return "the IOTLB is not in use";
	mem = user_read_backings(u);
	problem = user_iotlb_check(u->iotlb, mem, user_msg_payload(msg));
	free(mem);
	return problem;
}

/* What is wrong with a message of the right length, in words; NULL: nothing. */
static const char *
message_problem(struct vhost_iotlb_user *u, void *msg)
{
	const char *problem;

	switch (u->handling) {
	case USER_SET_FEATURES:
		return features_problem(u, user_msg_u64(msg));
	case USER_SET_MEM_TABLE:
		problem = wire_table_problem(u, msg);
		/* Until it is known that the library has taken it. */
		if (problem == NULL)
			u->table = VHOST_IOTLB_USER_TABLE_NONE;
		return problem;
	case USER_IOTLB_MSG:
		return iotlb_problem(u, msg);
	case USER_POSTCOPY_ADVISE:
	case USER_POSTCOPY_LISTEN:
	case USER_POSTCOPY_END:
	case USER_GET_INFLIGHT_FD:
	case USER_SET_INFLIGHT_FD:
		/* The library handles them all the same, and opens or fills what it is told to. */
		return "it is not offered";
	default:
		return NULL;
	}
}

enum rte_vhost_msg_result
vhost_iotlb_user_before(struct vhost_iotlb_user *u, int vid, void *msg)
{
	const char *problem;

	if (u->fe == NULL || u->vid != vid)
		return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
	u->handling = user_msg_request(msg);
	u->refused = false;
	problem = user_msg_size_problem(msg);
	if (problem == NULL)
		problem = message_problem(u, msg);
	if (problem == NULL)
		return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
	refuse(u, msg, problem);
	/* Nothing in these can be spoilt. */
	if (u->handling >= USER_POSTCOPY_ADVISE && u->handling <= USER_POSTCOPY_END)
		return RTE_VHOST_MSG_RESULT_ERR;
	return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

/* Maps stay with the memory that they show, in the new table. */
static enum rte_vhost_msg_result
rebase(struct vhost_iotlb_user *u)
{
	struct user_backings *mem = user_read_backings(u);
	int64_t lost = mem != NULL ? user_iotlb_rebase(u->iotlb, mem) : -ENOMEM;

	free(mem);
	if (lost < 0) {
		USER_LOG(ERR, u, "IOTLB not brought over to the new memory table: %s",
			strerror((int)-lost));
		return RTE_VHOST_MSG_RESULT_ERR;
	}
	if (lost > 0)
		USER_LOG(INFO, u, "IOTLB: %" PRId64 " bytes left with the old memory table", lost);
	return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

/* An IOTLB message that was found good, and that the library has taken. */
static enum rte_vhost_msg_result
iotlb_arrived(struct vhost_iotlb_user *u)
{
	int ret = user_iotlb_apply(u->iotlb);

	if (ret > 0) {
		/* A device that stands is told at its start. */
		ret = u->used ? user_push_iotlb(u) : 0;
		user_iotlb_keep(u->iotlb, ret == 0);
	} else if (ret < 0) {
		USER_LOG(ERR, u, "IOTLB_MSG refused: %s", strerror(-ret));
	}
	return ret < 0 ? RTE_VHOST_MSG_RESULT_ERR : RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

/* What it says are I/O addresses, where the IOTLB is in use. */
static void
ring_arrived(struct vhost_iotlb_user *u, const void *msg)
{
	struct vhost_iotlb_user_ring ring;
	uint32_t index = user_msg_ring(msg, &ring);

	if (u->iotlb != NULL)
		user_iotlb_set_ring(u->iotlb, index, &ring);
}

/* The vhost library has a new table, or was sent its own again. */
static enum rte_vhost_msg_result
table_arrived(struct vhost_iotlb_user *u, void *msg)
{
	enum rte_vhost_msg_result result = RTE_VHOST_MSG_RESULT_NOT_HANDLED;
	struct vhost_iotlb *table;
	unsigned int regions;

	u->table = VHOST_IOTLB_USER_TABLE_HERE;
	if (user_read_table(u, &table, &regions) < 0) {
		/* The library has the table, and would read rings in it, beyond the end of a file
		 * maybe. The front-end is sent away before it can. */
		u->table = VHOST_IOTLB_USER_TABLE_NONE;
		user_msg_drop_reply(msg);
		return RTE_VHOST_MSG_RESULT_ERR;
	}
	/* With an IOTLB nothing is mapped until the front-end says so. */
	if (u->iotlb != NULL)
		result = rebase(u);
	else if (u->conf.ops != NULL && u->conf.ops->table != NULL)
		u->conf.ops->table(u->conf.arg, table);
	vhost_iotlb_destroy(table);
	return result;
}

/* The vhost library only stores it. A reset that came without GET_VRING_BASE is one, too, and as
 * the library will not start again what it did not stop, we do. */
static void
status_arrived(struct vhost_iotlb_user *u, uint64_t status)
{
	const struct vhost_iotlb_user_ops *ops = u->conf.ops;
	bool both = ops != NULL && ops->stop != NULL && ops->start != NULL;

	if (both && status == 0 && u->used) {
		u->status_stop = true;
		ops->stop(u->conf.arg);
	} else if (both && (status & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && u->status_stop) {
		u->status_stop = false;
		ops->start(u->conf.arg);
	}
	if (status == 0 && ops != NULL && ops->reset != NULL)
		ops->reset(u->conf.arg);
}

enum rte_vhost_msg_result
vhost_iotlb_user_after(struct vhost_iotlb_user *u, int vid, void *msg)
{
	enum rte_vhost_msg_result result = RTE_VHOST_MSG_RESULT_NOT_HANDLED;

	if (u->fe == NULL || u->vid != vid || u->handling == USER_NONE)
		return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
	switch (u->refused ? USER_NONE : u->handling) {
	case USER_NONE:
		result = RTE_VHOST_MSG_RESULT_ERR;
		break;
	case USER_SET_FEATURES:
		if (user_follow_features(u) < 0)
			result = RTE_VHOST_MSG_RESULT_ERR;
		break;
	case USER_SET_MEM_TABLE:
		result = table_arrived(u, msg);
		break;
	case USER_SET_VRING_ADDR:
		ring_arrived(u, msg);
		break;
	case USER_IOTLB_MSG:
		result = iotlb_arrived(u);
		break;
	case USER_SET_STATUS:
		status_arrived(u, user_msg_u64(msg));
		break;
	default:
		break;
	}
	/* It was one: the connection lives. */
	u->limbo = false;
	u->handling = USER_NONE;
	return result;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What programs such as ibv_devinfo read of a port besides its attributes: GIDs and partition keys.
 *
 * A GID of an Ethernet port comes from an address of its network interface. There is none here: the
 * table has room (FACE_GIDS) and no entries. Of partition keys Ethernet has the default one.
 */
#include <endian.h>
#include <string.h>

#include "face.h"

enum {
	PORT = 1,
	DEFAULT_PKEY = 0xffff,     /* IBTA: the default partition, full membership */
	GID_TYPE_ROCE_V1 = 0,      /* rdma-core: of an entry that is empty */
};

/* Does the table of @p port have this index? */
static bool
in_table(uint32_t port, int64_t index, int64_t size)
{
	return port == PORT && index >= 0 && index < size;
}

static int
no_such_entry(void)
{
	errno = EINVAL;
	return -1;
}

int
ibv_query_gid(struct ibv_context *context, uint8_t port_num, int index, union ibv_gid *gid)
{
	(void)context;
	if (!in_table(port_num, index, FACE_GIDS))
		return no_such_entry();
	memset(gid, 0, sizeof(*gid));
	return 0;
}

/* Of rdma-core's own programs: its header is not installed. */
int ibv_query_gid_type(struct ibv_context *context, uint8_t port_num, unsigned int index,
		int *type);

int
ibv_query_gid_type(struct ibv_context *context, uint8_t port_num, unsigned int index, int *type)
{
	(void)context;
	if (!in_table(port_num, index, FACE_GIDS))
		return no_such_entry();
	*type = GID_TYPE_ROCE_V1;
	return 0;
}

int
_ibv_query_gid_ex(struct ibv_context *context, uint32_t port_num, uint32_t gid_index,
		struct ibv_gid_entry *entry, uint32_t flags, size_t entry_size)
{
	(void)context;
	(void)entry;
	(void)entry_size;
	return in_table(port_num, gid_index, FACE_GIDS) && flags == 0 ? ENODATA : EINVAL;
}

/* Valid entries are listed. */
ssize_t
_ibv_query_gid_table(struct ibv_context *context, struct ibv_gid_entry *entries,
		size_t max_entries, uint32_t flags, size_t entry_size)
{
	(void)context;
	(void)entries;
	(void)max_entries;
	(void)entry_size;
	return flags == 0 ? 0 : -EINVAL;
}

int
ibv_query_pkey(struct ibv_context *context, uint8_t port_num, int index, __be16 *pkey)
{
	(void)context;
	if (!in_table(port_num, index, 1))
		return no_such_entry();
	*pkey = htobe16(DEFAULT_PKEY);
	return 0;
}

int
ibv_get_pkey_index(struct ibv_context *context, uint8_t port_num, __be16 pkey)
{
	(void)context;
	return port_num == PORT && pkey == htobe16(DEFAULT_PKEY) ? 0 : no_such_entry();
}

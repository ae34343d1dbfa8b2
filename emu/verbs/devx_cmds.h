/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which firmware commands the kernel lets a user send, and what it knows of them: whether they
 * create, change or read an object, which object they name, and the command that destroys what
 * one created. Tables only; any thread. (Linux: drivers/infiniband/hw/mlx5/devx.c.)
 */
#ifndef EMU_DEVX_CMDS_H
#define EMU_DEVX_CMDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	/* Commands that destroy something are at most as long as this. */
	DEVX_DESTROY_MAX = 64,
	/* An attribute of the kernel's interface: longer mailboxes can't be passed. */
	DEVX_MAILBOX_MAX = UINT16_MAX,
};

/** A command that creates an object. */
bool devx_is_create(const void *in, size_t inlen);

/** A command that belongs to no object. */
bool devx_is_general(const void *in);

/** A query that is allowed without a user context, too. */
bool devx_needs_no_uid(const void *in);

/* What a command that changes (or reads) an object names. */
struct devx_target {
	uint16_t create;           /* opcode that creates such objects */
	uint16_t obj_type;         /* of a general object, else 0 */
	uint32_t id;
};

/** False if the command does not change (read) an object that this device can have. */
bool devx_modify_target(const void *in, size_t inlen, struct devx_target *target);
bool devx_query_target(const void *in, size_t inlen, struct devx_target *target);

/**
 * Build the command that destroys what @p in created with answer @p out, into @p din of
 * DEVX_DESTROY_MAX zeroed bytes. Returns its length and *id; 0 when it is not known.
 */
size_t devx_destroy_cmd(const void *in, const void *out, void *din, uint32_t *id);

/** Mark in a command which of its addresses are umems: a user's always are. */
void devx_set_umem_valid(void *in, size_t inlen);

#endif /* EMU_DEVX_CMDS_H */

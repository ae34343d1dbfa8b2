/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front-end's end of a vhost-user connection.
 *
 * Owns: the socket. Messages go out one at a time; whoever needs an answer waits for it here, never
 * longer than FE_TIMEOUT_MS, and no longer than until fe_interrupt() was called. One thread (but
 * for fe_interrupt(), which a signal handler may call).
 *
 * Errors: a negative errno, and one line in fe->err that names the message. After an error the
 * connection is only good for fe_close().
 */
#ifndef TEST_VDPA_FE_H
#define TEST_VDPA_FE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msg.h"

#define FE_TIMEOUT_MS 60000	/* a driver may pin a very large guest within one message */

struct fe {
	int sock;
	uint64_t protocol;	/* negotiated protocol features */
	char err[192];
};

/** Returns 0 or a negative errno (see above), like all functions here. */
int fe_connect(struct fe *fe, const char *path);
void fe_close(struct fe *fe);

/** Make the current and all later waits end with -EINTR. Safe in a signal handler. */
void fe_interrupt(void);
bool fe_interrupted(void);

int fe_get_u64(struct fe *fe, enum vu_request request, uint64_t *value);
int fe_set_u64(struct fe *fe, enum vu_request request, uint64_t value);
/** Message without payload or answer: SET_OWNER. */
int fe_send(struct fe *fe, enum vu_request request);

/** Send the table; waits for the acknowledgement if REPLY_ACK was negotiated. */
int fe_set_mem_table(struct fe *fe, const struct vu_mem_table *table);

/** SET_VRING_NUM, SET_VRING_BASE, SET_VRING_ENABLE. */
int fe_set_vring(struct fe *fe, enum vu_request request, uint32_t index, uint32_t num);
int fe_set_vring_addr(struct fe *fe, const struct vhost_vring_addr *addr);
/** Share a dirty log of @p bytes, and wait until the back-end has it. Needs LOG_SHMFD. */
int fe_set_log(struct fe *fe, int fd, uint64_t bytes);
/** SET_VRING_KICK, SET_VRING_CALL. */
int fe_set_vring_fd(struct fe *fe, enum vu_request request, uint32_t index, int fd);
int fe_get_vring_base(struct fe *fe, uint32_t index, uint32_t *base);

/** Read device configuration. -ENODATA: the back-end has none to show. */
int fe_get_config(struct fe *fe, uint32_t offset, void *data, uint32_t bytes);

#endif /* TEST_VDPA_FE_H */

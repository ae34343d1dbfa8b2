/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands of both shells that only our driver knows, through its telemetry: "show pins",
 * "show iotlb", "drop DEVICE". In a process without such a device a line says so.
 *
 * No state; the thread of the shell.
 */
#ifndef PERSIST_SHELL_H
#define PERSIST_SHELL_H

#include <cmdline.h>

/** Show @p what ("pins" or "iotlb") of every device: figures, and the rows of the table. */
void persist_shell_show(struct cmdline *cl, const char *what);

/** Unpin what waits for a front-end of @p device. */
void persist_shell_drop(struct cmdline *cl, const char *device);

#endif /* PERSIST_SHELL_H */

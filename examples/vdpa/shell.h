/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon's commands on standard input, on librte_cmdline. Main thread only.
 */
#ifndef DPDK_VDPA_SHELL_H
#define DPDK_VDPA_SHELL_H

#include <stdbool.h>

/**
 * Read commands until "quit", the end of input, or a byte on @p stop_fd.
 *
 * @param client
 *   Ports that "create" makes connect to their sockets instead of listening on them.
 * @return
 *   0, or a negative errno after one line to stderr.
 */
int shell_run(int stop_fd, bool client);

#endif /* DPDK_VDPA_SHELL_H */

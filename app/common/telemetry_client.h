/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asks this process's telemetry: the public way to what drivers tell about themselves.
 *
 * A client of the socket that DPDK opens for dpdk-telemetry.py, since the library has no call for
 * the process itself. After rte_eal_init(); no state, any thread.
 */
#ifndef TELEMETRY_CLIENT_H
#define TELEMETRY_CLIENT_H

#include <stddef.h>

#include <json-c/json.h>

/**
 * Ask @p command ("/mlx5_persist/pins") with @p params (NULL: none).
 *
 * @return
 *   The answer, for json_object_put(); or NULL, with one line in @p err: telemetry is off or does
 *   not answer, knows no such command, or the answer says what is wrong with the parameters.
 */
struct json_object *telemetry_ask(const char *command, const char *params, char *err,
		size_t errlen);

#endif /* TELEMETRY_CLIENT_H */

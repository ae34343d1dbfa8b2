/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_eal.h>

#include "telemetry_client.h"

#define SOCKET_NAME "dpdk_telemetry.v2"
#define MAX_SOCKETS 64		/* of processes that share a folder, as --in-memory ones do */
#define MAX_GREETING 1024
#define MAX_ANSWER (1 << 20)	/* the library says how long an answer may be: 16 KiB so far */
#define TIMEOUT_S 60		/* a driver may be pinning a very large guest */

/* Connect to socket number @n of the runtime folder. Returns it or a negative errno. */
static int
connect_to(unsigned int n)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval timeout = { .tv_sec = TIMEOUT_S };
	char number[16] = "";
	int sock, ret;

	if (n > 0)
		snprintf(number, sizeof(number), ":%u", n);
	ret = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" SOCKET_NAME "%s",
			rte_eal_get_runtime_dir(), number);
	if (ret >= (int)sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return sock;
	ret = -errno;
	close(sock);
	return ret;
}

/* One message as JSON; NULL: there is none, or it is something else. */
static struct json_object *
receive(int sock, size_t max)
{
	struct json_object *o = NULL;
	char *text = malloc(max + 1);
	ssize_t n;

	if (text == NULL)
		return NULL;
	do {
		n = recv(sock, text, max, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		text[n] = '\0';
		o = json_tokener_parse(text);
	}
	free(text);
	return o;
}

/* A number of the greeting, 0 if it is not there. */
static int64_t
number(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : 0;
}

/* Is it this process that listens? @max gets how long its answers may be. */
static bool
is_ours(int sock, size_t *max)
{
	struct json_object *greeting = receive(sock, MAX_GREETING);
	int64_t pid = number(greeting, "pid"), len = number(greeting, "max_output_len");

	json_object_put(greeting);
	if (pid != getpid() || len <= 0 || len > MAX_ANSWER)
		return false;
	*max = len;
	return true;
}

/* Connect to this process. Returns the socket or -ENOENT. */
static int
connect_self(size_t *max)
{
	unsigned int n;

	for (n = 0; n < MAX_SOCKETS; n++) {
		int sock = connect_to(n);

		if (sock >= 0 && is_ours(sock, max))
			return sock;
		if (sock >= 0)
			close(sock);
	}
	return -ENOENT;
}

/* What stands behind the command's name in an answer, which this ends. NULL with a line in @err. */
static struct json_object *
unwrap(struct json_object *answer, const char *command, char *err, size_t errlen)
{
	struct json_object *o = NULL, *error;

	if (answer == NULL) {
		snprintf(err, errlen, "telemetry does not answer %s", command);
		return NULL;
	}
	json_object_object_get_ex(answer, command, &o);
	if (o == NULL) {
		snprintf(err, errlen, "telemetry knows no %s: no driver in this process offers it",
				command);
	} else if (json_object_is_type(o, json_type_object) &&
			json_object_object_get_ex(o, "error", &error)) {
		snprintf(err, errlen, "%s", json_object_get_string(error));
		o = NULL;
	}
	o = json_object_get(o);
	json_object_put(answer);
	return o;
}

struct json_object *
telemetry_ask(const char *command, const char *params, char *err, size_t errlen)
{
	struct json_object *answer = NULL;
	char text[512];
	size_t max;
	int sock, len;

	len = snprintf(text, sizeof(text), "%s%s%s", command, params ? "," : "",
			params ? params : "");
	if (len >= (int)sizeof(text)) {
		snprintf(err, errlen, "%s: the parameters are too long", command);
		return NULL;
	}
	sock = connect_self(&max);
	if (sock < 0) {
		snprintf(err, errlen, "telemetry is off in this process (--no-telemetry?)");
		return NULL;
	}
	if (send(sock, text, len, MSG_NOSIGNAL) == len)
		answer = receive(sock, max);
	close(sock);
	return unwrap(answer, command, err, errlen);
}

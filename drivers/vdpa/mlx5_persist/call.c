/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "call.h"

struct mlx5p_call {
	int fd;
	atomic_uint refs;
};

/* What an open file is shows in the name that the kernel gives it. */
static bool
is_eventfd(int fd)
{
	static const char name[] = "anon_inode:[eventfd]";
	char path[sizeof("/proc/self/fd/") + 3 * sizeof(fd)];
	char target[sizeof(name)];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target));
	return len == sizeof(name) - 1 && memcmp(target, name, len) == 0;
}

int
mlx5p_call_open(int fd, struct mlx5p_call **out)
{
	struct mlx5p_call *call;
	int ret;

	if (!is_eventfd(fd))
		return -EBADF;
	call = malloc(sizeof(*call));
	if (call == NULL)
		return -ENOMEM;
	call->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (call->fd < 0) {
		ret = -errno;
		free(call);
		return ret;
	}
	atomic_init(&call->refs, 1);
	*out = call;
	return 0;
}

struct mlx5p_call *
mlx5p_call_get(struct mlx5p_call *call)
{
	if (call != NULL)
		atomic_fetch_add(&call->refs, 1);
	return call;
}

void
mlx5p_call_put(struct mlx5p_call *call)
{
	if (call == NULL || atomic_fetch_sub(&call->refs, 1) != 1)
		return;
	close(call->fd);
	free(call);
}

void
mlx5p_call_signal(struct mlx5p_call *call)
{
	struct pollfd room = { .fd = call->fd, .events = POLLOUT };

	if (poll(&room, 1, 0) == 1 && room.revents == POLLOUT)
		eventfd_write(call->fd, 1);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signalling a call descriptor that another process sent (call.c): it may be anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "call.h"

/* The kernel's limit of an eventfd's counter: a write beyond it blocks. */
#define EVENTFD_FULL UINT64_C(0xfffffffffffffffe)

static struct mlx5p_call *
open_call(int fd)
{
	struct mlx5p_call *call = NULL;

	assert_int_equal(mlx5p_call_open(fd, &call), 0);
	assert_non_null(call);
	return call;
}

static uint64_t
count(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void
test_signal(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct mlx5p_call *call = open_call(fd);

	(void)state;
	assert_int_equal(count(fd), 0);
	mlx5p_call_signal(call);
	mlx5p_call_signal(call);
	assert_int_equal(count(fd), 2);
	mlx5p_call_put(call);
	close(fd);
}

/* It blocks in a write to an eventfd that is full; the test would hang. */
static void
test_full_eventfd(void **state)
{
	int fd = eventfd(0, 0);
	struct mlx5p_call *call = open_call(fd);
	uint64_t full = EVENTFD_FULL;

	(void)state;
	assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
	mlx5p_call_signal(call);
	assert_int_equal(count(fd), EVENTFD_FULL);
	mlx5p_call_signal(call);
	assert_int_equal(count(fd), 1);
	mlx5p_call_put(call);
	close(fd);
}

/* The sender closes its descriptor, and its number gets another meaning. */
static void
test_own_descriptor(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK), kept = dup(fd);
	struct mlx5p_call *call = open_call(fd);
	int pair[2];

	(void)state;
	close(fd);
	assert_int_equal(pipe2(pair, O_NONBLOCK), 0);
	mlx5p_call_signal(call);
	assert_int_equal(count(kept), 1);
	assert_int_equal(count(pair[0]), 0);
	mlx5p_call_put(call);
	close(pair[0]);
	close(pair[1]);
	close(kept);
}

static void
test_references(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct mlx5p_call *call = open_call(fd);

	(void)state;
	assert_ptr_equal(mlx5p_call_get(call), call);
	mlx5p_call_put(call);
	mlx5p_call_signal(call);
	assert_int_equal(count(fd), 1);
	mlx5p_call_put(call);
	assert_null(mlx5p_call_get(NULL));
	mlx5p_call_put(NULL);
	close(fd);
}

static void
refused(int fd)
{
	struct mlx5p_call *call = NULL;

	assert_int_equal(mlx5p_call_open(fd, &call), -EBADF);
	assert_null(call);
	close(fd);
}

static void
test_others_refused(void **state)
{
	int pair[2];

	(void)state;
	refused(-1);
	refused(memfd_create("file", 0));
	refused(open("/dev/null", O_RDWR));
	refused(open("/", O_RDONLY));
	refused(epoll_create1(0));
	refused(timerfd_create(CLOCK_MONOTONIC, 0));
	assert_int_equal(pipe(pair), 0);
	refused(pair[0]);
	refused(pair[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	refused(pair[0]);
	refused(pair[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signal),
		cmocka_unit_test(test_full_eventfd),
		cmocka_unit_test(test_own_descriptor),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_others_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

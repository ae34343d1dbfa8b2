/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network interface of a function (netdev.c): found in a folder laid out like sysfs, changed in
 * a network namespace of the test's own.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "netdev.h"

static void
test_find(void **state)
{
	char dir[] = "/tmp/test_netdev-XXXXXX", net[64], entry[128], name[IF_NAMESIZE];

	(void)state;
	assert_non_null(mkdtemp(dir));
	mlx5p_netdev_find(dir, name);
	assert_string_equal(name, "");
	snprintf(net, sizeof(net), "%s/net", dir);
	assert_int_equal(mkdir(net, 0700), 0);
	mlx5p_netdev_find(dir, name);
	assert_string_equal(name, "");
	snprintf(entry, sizeof(entry), "%s/enp225s0f0v0", net);
	assert_int_equal(mkdir(entry, 0700), 0);
	mlx5p_netdev_find(dir, name);
	assert_string_equal(name, "enp225s0f0v0");
	rmdir(entry);
	snprintf(entry, sizeof(entry), "%s/longer-than-a-name-can-be", net);
	assert_int_equal(mkdir(entry, 0700), 0);
	mlx5p_netdev_find(dir, name);
	assert_string_equal(name, "");
	rmdir(entry);
	rmdir(net);
	rmdir(dir);
}

static int
mtu_of(const char *name)
{
	int sock = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq request = { .ifr_mtu = 0 };

	strcpy(request.ifr_name, name);
	assert_int_equal(ioctl(sock, SIOCGIFMTU, &request), 0);
	close(sock);
	return request.ifr_mtu;
}

static void
test_set_mtu(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET) != 0)
		skip(); /* needs the right to make a namespace */
	assert_int_equal(mlx5p_netdev_set_mtu("lo", 9000), 0);
	assert_int_equal(mtu_of("lo"), 9000);
	assert_int_equal(mlx5p_netdev_set_mtu("lo", 9000), 0);
	assert_int_equal(mlx5p_netdev_set_mtu("lo", 1500), 0);
	assert_int_equal(mtu_of("lo"), 1500);
	assert_int_equal(mlx5p_netdev_set_mtu("nosuch0", 1500), -ENODEV);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_set_mtu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netdev.h"

void
mlx5p_netdev_find(const char *sysfs, char name[IF_NAMESIZE])
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	name[0] = '\0';
	snprintf(path, sizeof(path), "%s/net", sysfs);
	dir = opendir(path);
	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= IF_NAMESIZE)
			continue;
		strcpy(name, entry->d_name);
		break;
	}
	closedir(dir);
}

int
mlx5p_netdev_set_mtu(const char *name, uint16_t mtu)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request;
	int ret = 0;

	if (sock < 0)
		return -errno;
	memset(&request, 0, sizeof(request));
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(sock, SIOCGIFMTU, &request) < 0)
		ret = -errno;
	if (ret == 0 && request.ifr_mtu != mtu) {
		request.ifr_mtu = mtu;
		if (ioctl(sock, SIOCSIFMTU, &request) < 0)
			ret = -errno;
	}
	close(sock);
	return ret;
}

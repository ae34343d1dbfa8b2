/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine.h"
#include "tap.h"

#define TUN_DEVICE "/dev/net/tun"

struct emu_tap {
	int fd;
	uint8_t frame[EMU_FRAME_MAX + 1]; /* one more: a frame that is too long shows */
};

static int
complain(const struct emu_dev *dev, const char *what)
{
	int ret = -errno;

	fprintf(stderr, "mlx5_emu: %s: wire=tap:%s: %s: %s\n", dev->cfg.bdf, dev->cfg.tap, what,
		strerror(errno));
	return ret;
}

static int
set_up(const struct emu_dev *dev)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;
	struct ifreq ifr = {0};

	if (sock < 0)
		return complain(dev, "socket");
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev->cfg.tap);
	if (ioctl(sock, SIOCGIFFLAGS, &ifr) != 0) {
		ret = complain(dev, "its flags");
	} else if ((ifr.ifr_flags & IFF_UP) == 0) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(sock, SIOCSIFFLAGS, &ifr) != 0)
			ret = complain(dev, "setting it up");
	}
	close(sock);
	return ret;
}

int
emu_tap_open(struct emu_dev *dev)
{
	struct emu_tap *tap = malloc(sizeof(*tap));
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int ret;

	if (tap == NULL)
		return -ENOMEM;
	tap->fd = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap->fd < 0) {
		ret = complain(dev, TUN_DEVICE);
		goto err_tap;
	}
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev->cfg.tap);
	if (ioctl(tap->fd, TUNSETIFF, &ifr) != 0) {
		ret = complain(dev, "opening it");
		goto err_fd;
	}
	ret = set_up(dev);
	if (ret != 0)
		goto err_fd;
	dev->tap = tap;
	return 0;
err_fd:
	close(tap->fd);
err_tap:
	free(tap);
	return ret;
}

void
emu_tap_close(struct emu_dev *dev)
{
	close(dev->tap->fd);
	free(dev->tap);
	dev->tap = NULL;
}

bool
emu_tap_tx(struct emu_dev *dev, const void *frame, uint32_t len)
{
	return write(dev->tap->fd, frame, len) == (ssize_t)len;
}

bool
emu_tap_pending(const struct emu_dev *dev)
{
	struct pollfd pfd = { .fd = dev->tap->fd, .events = POLLIN };

	/* An interface that was taken away, or set down, has nothing to receive, for ever. */
	return poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLIN) != 0 && (pfd.revents & POLLERR) == 0;
}

bool
emu_tap_rx(struct emu_dev *dev, unsigned int budget)
{
	struct emu_tap *tap = dev->tap;
	unsigned int n;
	ssize_t len;

	for (n = 0; n < budget; n++) {
		len = read(tap->fd, tap->frame, sizeof(tap->frame));
		if (len <= 0)
			break;
		emu_wire_rx(dev, tap->frame, (uint32_t)len);
	}
	return n > 0;
}

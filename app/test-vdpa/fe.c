/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fe.h"

#define NS_PER_MS 1000000
#define POLL_SLICE_MS 100	/* how late an interrupt that hits just before poll() is seen */

static volatile sig_atomic_t interrupted;

void
fe_interrupt(void)
{
	interrupted = 1;
}

bool
fe_interrupted(void)
{
	return interrupted != 0;
}

__attribute__((format(printf, 3, 4)))
static int
fail(struct fe *fe, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fe->err, sizeof(fe->err), fmt, ap);
	va_end(ap);
	return ret;
}

int
fe_connect(struct fe *fe, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int ret;

	*fe = (struct fe){ .sock = -1 };
	if (strlen(path) >= sizeof(addr.sun_path))
		return fail(fe, -ENAMETOOLONG, "%s: the path of a socket has at most %zu bytes",
				path, sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	fe->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fe->sock < 0 || connect(fe->sock, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		ret = -errno;
		fe_close(fe);
		return fail(fe, ret, "%s: cannot connect: %s", path, strerror(-ret));
	}
	return 0;
}

void
fe_close(struct fe *fe)
{
	if (fe->sock >= 0)
		close(fe->sock);
	fe->sock = -1;
}

static int
send_msg(struct fe *fe, const struct vu_msg *m, const int *fds, unsigned int nfds)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * VU_MAX_REGIONS)];
		struct cmsghdr align;
	} control = { .buf = {0} };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)m,
		.iov_len = sizeof(m->hdr) + m->hdr.size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (nfds > 0) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	do {
		n = sendmsg(fe->sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR && !interrupted);
	if (n == (ssize_t)iov.iov_len)
		return 0;
	if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
		return fail(fe, -EPIPE, "the back-end had closed the connection before %s",
				vu_request_name(m->hdr.request));
	return fail(fe, n < 0 ? -errno : -EIO, "%s was not sent: %s",
			vu_request_name(m->hdr.request), n < 0 ? strerror(errno) : "cut short");
}

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / NS_PER_MS;
}

/* Read exactly @len bytes of the answer to @request. */
static int
recv_all(struct fe *fe, enum vu_request request, void *data, size_t len)
{
	int64_t deadline = now_ms() + FE_TIMEOUT_MS;
	struct pollfd pfd = { .fd = fe->sock, .events = POLLIN };
	uint8_t *p = data;

	while (len > 0) {
		ssize_t n;

		if (interrupted)
			return fail(fe, -EINTR, "interrupted");
		if (now_ms() >= deadline)
			return fail(fe, -ETIMEDOUT, "no answer to %s in %d s",
					vu_request_name(request), FE_TIMEOUT_MS / 1000);
		if (poll(&pfd, 1, POLL_SLICE_MS) <= 0)
			continue;
		n = recv(fe->sock, p, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(fe, -EPIPE, "the back-end closed the connection at %s",
					vu_request_name(request));
		p += n;
		len -= n;
	}
	return 0;
}

/* Read the answer to @request into @m; its payload must have @size bytes. */
static int
recv_msg(struct fe *fe, enum vu_request request, struct vu_msg *m, uint32_t size)
{
	int ret = recv_all(fe, request, &m->hdr, sizeof(m->hdr));

	if (ret != 0)
		return ret;
	if (!vu_msg_answers(&m->hdr, request, size))
		return fail(fe, -EPROTO, "%s was answered by %s, flags 0x%x, %u bytes, not %u",
				vu_request_name(request), vu_request_name(m->hdr.request),
				m->hdr.flags, m->hdr.size, size);
	return recv_all(fe, request, &m->payload, size);
}

int
fe_get_u64(struct fe *fe, enum vu_request request, uint64_t *value)
{
	struct vu_msg m;
	int ret;

	vu_msg_init(&m, request);
	ret = send_msg(fe, &m, NULL, 0);
	if (ret == 0)
		ret = recv_msg(fe, request, &m, sizeof(m.payload.u64));
	if (ret == 0)
		*value = m.payload.u64;
	return ret;
}

int
fe_set_u64(struct fe *fe, enum vu_request request, uint64_t value)
{
	struct vu_msg m;

	vu_msg_u64(&m, request, value);
	return send_msg(fe, &m, NULL, 0);
}

int
fe_send(struct fe *fe, enum vu_request request)
{
	struct vu_msg m;

	vu_msg_init(&m, request);
	return send_msg(fe, &m, NULL, 0);
}

int
fe_set_mem_table(struct fe *fe, const struct vu_mem_table *table)
{
	bool ack = (fe->protocol & (1ull << VU_PROTOCOL_F_REPLY_ACK)) != 0;
	struct vu_msg m;
	int ret;

	vu_msg_mem_table(&m, table);
	if (ack)
		m.hdr.flags |= VU_NEED_REPLY;
	ret = send_msg(fe, &m, table->fd, table->n);
	if (ret != 0 || !ack)
		return ret;
	ret = recv_msg(fe, VU_SET_MEM_TABLE, &m, sizeof(m.payload.u64));
	if (ret == 0 && m.payload.u64 != 0)
		return fail(fe, -EREMOTEIO, "the back-end refused SET_MEM_TABLE (%llu)",
				(unsigned long long)m.payload.u64);
	return ret;
}

int
fe_set_vring(struct fe *fe, enum vu_request request, uint32_t index, uint32_t num)
{
	struct vu_msg m;

	vu_msg_state(&m, request, index, num);
	return send_msg(fe, &m, NULL, 0);
}

int
fe_set_vring_addr(struct fe *fe, const struct vhost_vring_addr *addr)
{
	struct vu_msg m;

	vu_msg_addr(&m, addr);
	return send_msg(fe, &m, NULL, 0);
}

int
fe_set_log(struct fe *fe, int fd, uint64_t bytes)
{
	struct vu_msg m;
	int ret;

	vu_msg_log(&m, bytes);
	ret = send_msg(fe, &m, &fd, 1);
	if (ret == 0)
		ret = recv_all(fe, VU_SET_LOG_BASE, &m.hdr, sizeof(m.hdr));
	if (ret != 0)
		return ret;
	/* The specification does not say what the answer carries: nothing, or a number. */
	if (vu_msg_answers(&m.hdr, VU_SET_LOG_BASE, 0))
		return 0;
	if (vu_msg_answers(&m.hdr, VU_SET_LOG_BASE, sizeof(m.payload.u64)))
		return recv_all(fe, VU_SET_LOG_BASE, &m.payload, sizeof(m.payload.u64));
	return fail(fe, -EPROTO, "SET_LOG_BASE was answered by %s, %u bytes",
			vu_request_name(m.hdr.request), m.hdr.size);
}

int
fe_set_vring_fd(struct fe *fe, enum vu_request request, uint32_t index, int fd)
{
	struct vu_msg m;

	vu_msg_u64(&m, request, index);
	return send_msg(fe, &m, &fd, 1);
}

int
fe_get_vring_base(struct fe *fe, uint32_t index, uint32_t *base)
{
	struct vu_msg m;
	int ret;

	vu_msg_state(&m, VU_GET_VRING_BASE, index, 0);
	ret = send_msg(fe, &m, NULL, 0);
	if (ret == 0)
		ret = recv_msg(fe, VU_GET_VRING_BASE, &m, sizeof(m.payload.state));
	if (ret != 0)
		return ret;
	if (m.payload.state.index != index)
		return fail(fe, -EPROTO, "GET_VRING_BASE of ring %u was answered for ring %u",
				index, m.payload.state.index);
	*base = m.payload.state.num;
	return 0;
}

int
fe_get_config(struct fe *fe, uint32_t offset, void *data, uint32_t bytes)
{
	struct vu_msg m;
	uint32_t size;
	int ret;

	vu_msg_config(&m, offset, bytes);
	size = m.hdr.size;
	ret = send_msg(fe, &m, NULL, 0);
	if (ret == 0)
		ret = recv_all(fe, VU_GET_CONFIG, &m.hdr, sizeof(m.hdr));
	if (ret != 0)
		return ret;
	if (vu_msg_answers(&m.hdr, VU_GET_CONFIG, 0))
		return -ENODATA;	/* how the specification reports an error */
	if (!vu_msg_answers(&m.hdr, VU_GET_CONFIG, size))
		return fail(fe, -EPROTO, "GET_CONFIG was answered by %s, %u bytes instead of %u",
				vu_request_name(m.hdr.request), m.hdr.size, size);
	ret = recv_all(fe, VU_GET_CONFIG, &m.payload, size);
	if (ret == 0)
		memcpy(data, m.payload.config.data, bytes);
	return ret;
}

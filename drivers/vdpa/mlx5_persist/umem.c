/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <rte_malloc.h>

#include "hw.h"
#include "mlx5p_log.h"
#include "umem.h"

int
mlx5p_umem_create(const struct mlx5p_hw *hw, struct mlx5p_umem *m, size_t size)
{
	int ret;

	*m = (struct mlx5p_umem) { .size = size };
	m->buf = rte_zmalloc_socket("mlx5p_umem", size, sysconf(_SC_PAGESIZE),
		hw->numa_node < 0 ? SOCKET_ID_ANY : hw->numa_node);
	if (m->buf == NULL)
		m->buf = rte_zmalloc("mlx5p_umem", size, sysconf(_SC_PAGESIZE));
	if (m->buf == NULL) {
		MLX5P_LOG(ERR, hw->name, "no DPDK memory for a queue buffer of %zu bytes", size);
		return -ENOMEM;
	}
	errno = 0;
	m->umem = mlx5dv_devx_umem_reg(hw->ctx, m->buf, size, IBV_ACCESS_LOCAL_WRITE);
	if (m->umem == NULL) {
		ret = errno ? -errno : -EIO;
		MLX5P_LOG(ERR, hw->name, "cannot register a queue buffer of %zu bytes: %s", size,
			strerror(-ret));
		rte_free(m->buf);
		m->buf = NULL;
		return ret;
	}
	return 0;
}

void
mlx5p_umem_destroy(const struct mlx5p_hw *hw, struct mlx5p_umem *m)
{
	if (m->umem == NULL)
		return;
	if (mlx5dv_devx_umem_dereg(m->umem)) {
		/* The card may still write there: the buffer stays out of circulation. */
		MLX5P_LOG(ERR, hw->name, "cannot deregister a queue buffer: %s", strerror(errno));
	} else {
		rte_free(m->buf);
	}
	*m = (struct mlx5p_umem) { .umem = NULL };
}

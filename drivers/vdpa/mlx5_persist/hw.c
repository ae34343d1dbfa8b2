/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mlx5_prm.h>
#include <rte_common.h>
#include <rte_io.h>

#include "hw.h"
#include "mlx5p_log.h"

/* How long to wait for a doorbell page to become free: doubled each time, 6.3 s in all. */
#define VAR_WAIT_US 100000u
#define VAR_WAIT_MAX_US 3200000u

/* ---- finding the card ---- */

/* Open a file of the PCI function behind an RDMA device. */
static FILE *
open_sysfs(const struct ibv_device *ibdev, const char *file)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/device/%s", ibdev->ibdev_path, file);
	return fopen(path, "re");
}

/* PCI address of an RDMA device, from its uevent file; false when it has none. */
static bool
pci_address(const struct ibv_device *ibdev, char *bdf, size_t len)
{
	FILE *f = open_sysfs(ibdev, "uevent");
	static const char key[] = "PCI_SLOT_NAME=";
	char line[128];
	bool found = false;

	if (f == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, key, sizeof(key) - 1) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		found = snprintf(bdf, len, "%s", line + sizeof(key) - 1) < (int)len;
	}
	fclose(f);
	return found;
}

static int
read_numa_node(const struct ibv_device *ibdev)
{
	FILE *f = open_sysfs(ibdev, "numa_node");
	int node = -1;

	if (f == NULL)
		return -1;
	if (fscanf(f, "%d", &node) != 1)
		node = -1;
	fclose(f);
	return node;
}

struct ibv_context *
mlx5p_hw_find(const char *dev, int *numa_node)
{
	struct mlx5dv_context_attr attr = { .flags = MLX5DV_CONTEXT_FLAGS_DEVX };
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_context *ctx = NULL;
	char bdf[32];
	int i, err = ENODEV;

	if (list == NULL) {
		errno = ENODEV; /* a kernel without RDMA has no devices */
		return NULL;
	}
	for (i = 0; list[i] != NULL && ctx == NULL; i++) {
		if (strcmp(ibv_get_device_name(list[i]), dev) != 0 &&
				(!pci_address(list[i], bdf, sizeof(bdf)) ||
				strcasecmp(bdf, dev) != 0))
			continue;
		*numa_node = read_numa_node(list[i]);
		ctx = mlx5dv_open_device(list[i], &attr);
		if (ctx == NULL) {
			err = errno ? errno : EIO;
			break;
		}
	}
	ibv_free_device_list(list);
	errno = err;
	return ctx;
}

void
mlx5p_hw_list(char *text, size_t len)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	size_t used = 0;
	char bdf[32];
	int i;

	snprintf(text, len, "are none");
	for (i = 0; list != NULL && list[i] != NULL && used < len; i++) {
		if (!pci_address(list[i], bdf, sizeof(bdf)))
			snprintf(bdf, sizeof(bdf), "no PCI address");
		used += snprintf(text + used, len - used, "%s%s (%s)", i == 0 ? "are " : ", ",
			ibv_get_device_name(list[i]), bdf);
	}
	if (list != NULL)
		ibv_free_device_list(list);
}

/* ---- opening it ---- */

/* What the driver can't do without. Linux's mlx5_vdpa refuses cards for the same reasons. */
static int
check_caps(const struct mlx5p_hw *hw)
{
	const struct mlx5p_caps *caps = &hw->caps;
	const struct { bool present; const char *name; } needs[] = {
		{ caps->general_obj_types >> MLX5_OBJ_TYPE_VIRTIO_NET_Q & 1,
			"general_obj_types (virtio-net queue objects)" },
		{ caps->max_num_virtio_queues >= 2, "max_num_virtio_queues (a queue pair)" },
		{ caps->eth_frame_offload_type, "eth_frame_offload_type" },
		{ caps->event_mode >> MLX5_VIRTQ_EVENT_MODE_QP & 1, "event_mode (QP)" },
		{ caps->virtio_queue_type >> MLX5_VIRTQ_TYPE_SPLIT & 1,
			"virtio_queue_type (split)" },
	};
	size_t i;

	for (i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		if (!needs[i].present) {
			MLX5P_LOG(ERR, hw->name, "the card lacks the capability %s", needs[i].name);
			return -ENOTSUP;
		}
	}
	return 0;
}

static int
alloc_pd(struct mlx5p_hw *hw)
{
	struct mlx5dv_pd dvpd = { .comp_mask = 0 };
	struct mlx5dv_obj obj = { .pd = { .out = &dvpd } };

	hw->pd = ibv_alloc_pd(hw->ctx);
	if (hw->pd == NULL)
		return -errno;
	obj.pd.in = hw->pd;
	if (mlx5dv_init_obj(&obj, MLX5DV_OBJ_PD))
		return -errno;
	hw->pdn = dvpd.pdn;
	hw->null_mr = ibv_alloc_null_mr(hw->pd);
	if (hw->null_mr == NULL)
		return -errno;
	hw->null_mkey = hw->null_mr->lkey;
	return 0;
}

/* The kernel has few of these pages, and a guest of the process before us may have its last one
 * mapped until its front-end notices that we are another. */
static struct mlx5dv_var *
alloc_var(const struct mlx5p_hw *hw)
{
	struct mlx5dv_var *var = mlx5dv_alloc_var(hw->ctx, 0);
	useconds_t wait;

	for (wait = VAR_WAIT_US; var == NULL && errno == ENOSPC && wait <= VAR_WAIT_MAX_US;
			wait *= 2) {
		MLX5P_LOG(WARNING, hw->name, "no free doorbell page: trying again in %u ms",
			(unsigned int)wait / 1000);
		usleep(wait);
		var = mlx5dv_alloc_var(hw->ctx, 0);
	}
	return var;
}

/* The UAR page for CQ doorbells, and the page with the word that starts virtqueues. */
static int
alloc_doorbells(struct mlx5p_hw *hw)
{
	if (mlx5dv_devx_query_eqn(hw->ctx, 0, &hw->eqn))
		return -errno;
	/* Non-cached first: it needs no write-combining, which a VM may not have. */
	hw->uar = mlx5dv_devx_alloc_uar(hw->ctx, MLX5DV_UAR_ALLOC_TYPE_NC);
	if (hw->uar == NULL)
		hw->uar = mlx5dv_devx_alloc_uar(hw->ctx, MLX5DV_UAR_ALLOC_TYPE_BF);
	if (hw->uar == NULL)
		return -errno;
	hw->var = alloc_var(hw);
	if (hw->var == NULL)
		return -errno;
	hw->var_page = mmap(NULL, hw->var->length, PROT_READ | PROT_WRITE, MAP_SHARED,
		hw->ctx->cmd_fd, hw->var->mmap_off);
	if (hw->var_page == MAP_FAILED) {
		hw->var_page = NULL;
		return -errno;
	}
	/* The capability gives the word's place modulo the page, for pages larger than 4 KiB. */
	hw->doorbell = RTE_PTR_ADD(hw->var_page,
		hw->caps.doorbell_bar_offset & (sysconf(_SC_PAGESIZE) - 1));
	return 0;
}

/* One TIS a LAG port, so that queue pairs spread over the ports. */
static int
create_tis(struct mlx5p_hw *hw)
{
	uint32_t ports = hw->caps.num_lag_ports;
	int ret;

	if (ports == 0)
		ports = 1;
	if (ports > MLX5P_MAX_LAG_PORTS)
		ports = MLX5P_MAX_LAG_PORTS;
	ret = mlx5p_devx_create_td(hw, &hw->td);
	for (; ret == 0 && hw->ntis < ports; hw->ntis++) {
		/* Affinity 0 leaves the choice to the card: right where there is one port. */
		ret = mlx5p_devx_create_tis(hw, hw->td.id, ports > 1 ? hw->ntis + 1 : 0,
			&hw->tis[hw->ntis]);
		if (ret < 0)
			break;
	}
	return ret;
}

int
mlx5p_hw_open(struct mlx5p_hw *hw, const char *name, struct ibv_context *ctx, int numa_node)
{
	const char *step;
	int ret;

	*hw = (struct mlx5p_hw) { .name = name, .ctx = ctx, .numa_node = numa_node };
	ret = mlx5p_devx_query_caps(hw, &hw->caps);
	if (ret == 0)
		ret = check_caps(hw);
	if (ret < 0)
		goto close; /* said already */
	step = "protection domain";
	ret = alloc_pd(hw);
	if (ret < 0)
		goto fail;
	step = "doorbell pages";
	ret = alloc_doorbells(hw);
	if (ret < 0)
		goto fail;
	ret = create_tis(hw);
	if (ret < 0)
		goto close;
	return 0;
fail:
	MLX5P_LOG(ERR, name, "cannot set up the %s: %s", step, strerror(-ret));
close:
	mlx5p_hw_close(hw);
	return ret;
}

void
mlx5p_hw_close(struct mlx5p_hw *hw)
{
	while (hw->ntis > 0)
		mlx5p_devx_destroy(hw, &hw->tis[--hw->ntis], "TIS");
	mlx5p_devx_destroy(hw, &hw->td, "transport domain");
	if (hw->var_page != NULL)
		munmap(hw->var_page, hw->var->length);
	if (hw->var != NULL)
		mlx5dv_free_var(hw->var);
	if (hw->uar != NULL)
		mlx5dv_devx_free_uar(hw->uar);
	if (hw->null_mr != NULL)
		ibv_dereg_mr(hw->null_mr);
	if (hw->pd != NULL && ibv_dealloc_pd(hw->pd))
		MLX5P_LOG(ERR, hw->name, "cannot free the protection domain: %s", strerror(errno));
	ibv_close_device(hw->ctx);
	*hw = (struct mlx5p_hw) { .ctx = NULL };
}

void
mlx5p_hw_ring(struct mlx5p_hw *hw, uint16_t queue_index)
{
	rte_write32(queue_index, hw->doorbell);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Driver arguments: "dev=0000:e1:00.2,persist=reset,...".
 *
 * Owns: their names, defaults, ranges and the one line that a bad one is answered with. Arguments
 * that NVIDIA's driver has, too, have its names, values and meanings.
 */
#ifndef MLX5P_ARGS_H
#define MLX5P_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "devx.h"
#include "pace.h"
#include "pins.h"

enum mlx5p_persist {
	MLX5P_PERSIST_OFF,         /* pins live until the virtio reset */
	MLX5P_PERSIST_RESET,       /* pins live until the connection's end */
	MLX5P_PERSIST_RECONNECT,   /* pins wait persist_timeout_ms after that */
};

/* mlx5p_args.rewind_ms by default. A guest that restarts at once, or a VMM that stops and starts a
 * device for a purpose of its own, is back by then; one that boots is not for long. */
#define MLX5P_REWIND_MS 100

/* mlx5p_args.conf_threads: as many as the machine makes worth having. */
#define MLX5P_CONF_THREADS_AUTO UINT32_MAX

struct mlx5p_args {
	char dev[64];              /* PCI address or RDMA device name */
	enum mlx5p_persist persist;
	uint32_t persist_timeout_ms;
	bool iommu;                /* front-ends may switch an IOTLB on */
	bool reuse_queues;
	uint32_t rewind_ms;        /* after a reset; 0: suspended queues wait as they are */
	bool ring_as;              /* desc_group_mkey, where the card has it */
	enum mlx5p_mr_backend mr_backend;
	int event_core;            /* processor of the event thread, -1: any */
	enum mlx5p_event_mode event_mode;
	uint32_t event_us;
	uint32_t no_traffic_time;  /* polls */
	struct mlx5p_moderation moderation;
	uint32_t queues;           /* queue pairs to make ready at probe, 0: none */
	uint32_t queue_size;       /* of those */
	uint32_t conf_threads;     /* for configuration, besides the caller's */
};

/**
 * Parse the arguments of device @p name.
 * @return 0, or -EINVAL after a line that names the argument and what it allows.
 */
int mlx5p_args_parse(const char *name, const char *text, struct mlx5p_args *args);

#endif /* MLX5P_ARGS_H */

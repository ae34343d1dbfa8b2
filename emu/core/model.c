/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Models of cards: in what they differ.
 *
 * One row a model. A column is there because a public source says that cards differ in it; what no
 * source tells apart is the same for all and lies in caps.c, with its sources. Of NVIDIA's general
 * differences (speed, PCIe generation, inline cryptography, ...) nothing shows in what this device
 * does.
 */
#include "core.h"

static const struct emu_model models[] = {
	{
		.name = EMU_MODEL_CX6DX,
		/* NVIDIA: 22.x is firmware of a ConnectX-6 Dx. 41 is of 2024. */
		.fw_ver = "22.41.1000",
		/* Linux: MLX5_STEERING_FORMAT_CONNECTX_6DX (DPDK likewise). */
		.steering_format_version = 1,
	}, {
		.name = EMU_MODEL_CX7,
		/* 28.x is firmware of a ConnectX-7; releases of one time share the second number. */
		.fw_ver = "28.41.1000",
		/* Linux: MLX5_STEERING_FORMAT_CONNECTX_7. */
		.steering_format_version = 2,
	},
};

const struct emu_model *
emu_model_find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
		if (strcmp(name, models[i].name) == 0)
			return &models[i];
	}
	return NULL;
}

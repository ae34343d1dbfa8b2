/* SPDX-License-Identifier: BSD-3-Clause */
#include "mlx5_prm.h"

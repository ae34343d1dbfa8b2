/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include <mlx5_prm.h>
#include <rte_bitops.h>
#include <rte_byteorder.h>
#include <rte_common.h>
#include <rte_io.h>

#include "evq.h"
#include "hw.h"

/* A doorbell record behind the entries, on a cache line of its own. */
enum { DBR_BYTES = 64 };

/* Word 0 of a receive queue's doorbell record: WQEs posted since reset. */
enum { RQ_DBR_POSTED = 0 };

static volatile uint32_t *
dbr(const struct mlx5p_umem *mem)
{
	return RTE_PTR_ADD(mem->buf, mem->size - DBR_BYTES);
}

static uint32_t
dbr_off(const struct mlx5p_umem *mem)
{
	return mem->size - DBR_BYTES;
}

static uint8_t *
cqe0(const struct mlx5p_evq *evq)
{
	return evq->cq_mem.buf;
}

/* Let entry 0 say "WQE -1 completed last": the first completion makes it 0. */
static void
forget_completions(struct mlx5p_evq *evq)
{
	volatile uint16_t *counter = (void *)(cqe0(evq) + MLX5_CQE_OFF_WQE_COUNTER);

	*counter = UINT16_MAX;
	evq->rq_ci = 0;
}

/* All receive WQEs are empty: posting them is telling their number. */
static void
post_receives(struct mlx5p_evq *evq)
{
	rte_io_wmb();
	dbr(&evq->rq_mem)[RQ_DBR_POSTED] =
		rte_cpu_to_be_32((uint16_t)(evq->rq_ci + RTE_BIT32(evq->log_size)));
}

/* Both ends go up together: each step of one needs the other at most one step behind. */
static int
connect_qps(const struct mlx5p_hw *hw, struct mlx5p_evq *evq)
{
	static const uint16_t steps[] = {
		MLX5_CMD_OP_RST2INIT_QP, MLX5_CMD_OP_INIT2RTR_QP, MLX5_CMD_OP_RTR2RTS_QP,
	};
	size_t i;
	int ret = 0;

	for (i = 0; i < RTE_DIM(steps) && ret == 0; i++) {
		ret = mlx5p_devx_modify_qp(hw, &evq->fw_qp, steps[i], evq->sw_qp.id);
		if (ret == 0)
			ret = mlx5p_devx_modify_qp(hw, &evq->sw_qp, steps[i], evq->fw_qp.id);
	}
	if (ret == 0)
		post_receives(evq);
	return ret;
}

static int
create_cq(const struct mlx5p_hw *hw, struct mlx5p_evq *evq)
{
	uint32_t i, n = RTE_BIT32(evq->log_size);
	int ret;

	ret = mlx5p_umem_create(hw, &evq->cq_mem, n * MLX5_CQE_BYTES + DBR_BYTES);
	if (ret < 0)
		return ret;
	for (i = 0; i < n; i++)
		cqe0(evq)[i * MLX5_CQE_BYTES + MLX5_CQE_OFF_OP_OWN] =
			MLX5_CQE_OP_INVALID << 4 | MLX5_CQE_OWNER_MASK;
	forget_completions(evq);
	return mlx5p_devx_create_cq(hw, evq->cq_mem.umem->umem_id, dbr_off(&evq->cq_mem),
		evq->log_size, &evq->cq);
}

int
mlx5p_evq_create(const struct mlx5p_hw *hw, struct mlx5p_evq *evq, uint32_t size)
{
	int ret;

	*evq = (struct mlx5p_evq) { .log_size = rte_log2_u32(size) };
	ret = create_cq(hw, evq);
	if (ret < 0)
		goto fail;
	ret = mlx5p_devx_create_fw_qp(hw, &evq->fw_qp);
	if (ret < 0)
		goto fail;
	ret = mlx5p_umem_create(hw, &evq->rq_mem,
		RTE_ALIGN_CEIL(RTE_BIT32(evq->log_size) * MLX5_WSEG_BYTES, DBR_BYTES) + DBR_BYTES);
	if (ret < 0)
		goto fail;
	ret = mlx5p_devx_create_sw_qp(hw, evq->cq.id, evq->rq_mem.umem->umem_id,
		dbr_off(&evq->rq_mem), evq->log_size, &evq->sw_qp);
	if (ret < 0)
		goto fail;
	ret = connect_qps(hw, evq);
	if (ret < 0)
		goto fail;
	return 0;
fail:
	mlx5p_evq_destroy(hw, evq);
	return ret;
}

void
mlx5p_evq_destroy(const struct mlx5p_hw *hw, struct mlx5p_evq *evq)
{
	mlx5p_devx_destroy(hw, &evq->sw_qp, "software QP");
	mlx5p_umem_destroy(hw, &evq->rq_mem);
	mlx5p_devx_destroy(hw, &evq->fw_qp, "firmware QP");
	mlx5p_devx_destroy(hw, &evq->cq, "CQ");
	mlx5p_umem_destroy(hw, &evq->cq_mem);
}

int
mlx5p_evq_reset(const struct mlx5p_hw *hw, struct mlx5p_evq *evq)
{
	int ret;

	ret = mlx5p_devx_modify_qp(hw, &evq->fw_qp, MLX5_CMD_OP_2RST_QP, 0);
	if (ret == 0)
		ret = mlx5p_devx_modify_qp(hw, &evq->sw_qp, MLX5_CMD_OP_2RST_QP, 0);
	if (ret < 0)
		return ret;
	/* What completed before the reset counts no more: WQE counters start at 0 again. */
	(void)mlx5p_evq_poll(evq);
	forget_completions(evq);
	return connect_qps(hw, evq);
}

uint32_t
mlx5p_evq_poll(struct mlx5p_evq *evq)
{
	const volatile uint16_t *counter = (void *)(cqe0(evq) + MLX5_CQE_OFF_WQE_COUNTER);
	uint16_t done = rte_be_to_cpu_16(*counter) + 1 - evq->rq_ci;

	if (done == 0)
		return 0;
	evq->armed = false; /* the first of them raised the event that was asked for */
	evq->cq_ci += done;
	evq->rq_ci += done;
	dbr(&evq->cq_mem)[MLX5_CQ_DBR_SET_CI] = rte_cpu_to_be_32(evq->cq_ci & MLX5_CQ_CI_MASK);
	post_receives(evq);
	return done;
}

void
mlx5p_evq_arm(const struct mlx5p_hw *hw, struct mlx5p_evq *evq)
{
	uint32_t sn = evq->arm_sn++ & MLX5_CQ_DBR_ARM_SN_MASK;
	uint32_t word = sn << MLX5_CQ_DBR_ARM_SN_SHIFT | MLX5_CQ_DBR_CMD_ALL |
		(evq->cq_ci & MLX5_CQ_CI_MASK);
	volatile uint64_t *uar = RTE_PTR_ADD(hw->uar->base_addr, MLX5_UAR_CQ_DOORBELL);

	dbr(&evq->cq_mem)[MLX5_CQ_DBR_ARM] = rte_cpu_to_be_32(word);
	rte_wmb(); /* the record is seen before the doorbell that sends the card there */
	*uar = rte_cpu_to_be_64((uint64_t)word << 32 | evq->cq.id);
	evq->armed = true;
}

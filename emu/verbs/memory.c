/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory: protection domains, memory regions (pages that the kernel pins, and a memory key of
 * its own), and umems (the same for objects that are created through DevX).
 */
#include <stdlib.h>
#include <string.h>

#include "face.h"
#include "host.h"

/* verbs.h's own names for them are macros around ibv_reg_mr_iova2(). */
#undef ibv_reg_mr
#undef ibv_reg_mr_iova

struct face_pd {
	struct face_obj obj;
	uint32_t pdn;
	atomic_uint mrs;           /* memory regions in it */
	struct ibv_pd ibv;
};

struct face_mr {
	struct face_obj obj;
	struct face_pd *pd;        /* NULL: a null memory region, not known to the kernel */
	uint64_t bus;
	struct ibv_mr ibv;
};

struct face_umem {
	struct face_obj obj;
	uint64_t bus;
	struct mlx5dv_devx_umem dv;
};

enum {
	/* Device pages: from 4 KiB to 1 GiB, as bus addresses equal virtual ones modulo that. */
	MIN_PAGE_SHIFT = MLX5_ADAPTER_PAGE_SHIFT,
	MAX_PAGE_SHIFT = 30,
	/* Rights in the low bits of a page's address (Linux: MLX5_IB_MTT_*). */
	MTT_READ = 1 << 0,
	MTT_WRITE = 1 << 1,
	OCTWORD = 16,
	MTT_BYTES = 8,
	QPN_ANY = 0xffffff,
};

#define PAGE_SIZES (((UINT64_C(2) << MAX_PAGE_SHIFT) - 1) & ~((UINT64_C(1) << MIN_PAGE_SHIFT) - 1))

#define ACCESS_WRITES (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | \
	IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_MW_BIND)
#define ACCESS_KNOWN (ACCESS_WRITES | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_ZERO_BASED | \
	IBV_ACCESS_ON_DEMAND | IBV_ACCESS_HUGETLB | IBV_ACCESS_OPTIONAL_RANGE)
#define ACCESS_UMEM (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)

/* ---- protection domains ---- */

static int
pd_destroy(struct face_obj *obj)
{
	struct face_pd *pd = FACE_CONTAINER(obj, struct face_pd, obj);
	uint8_t in[PRM_BYTES(dealloc_pd_in)] = { 0 }, out[PRM_BYTES(dealloc_pd_out)];
	int rc;

	if (pd->mrs > 0)
		return -EBUSY;
	PRM_SET(dealloc_pd_in, in, opcode, MLX5_CMD_OP_DEALLOC_PD);
	PRM_SET(dealloc_pd_in, in, uid, obj->ctx->uid);
	PRM_SET(dealloc_pd_in, in, pd, pd->pdn);
	rc = face_cmd(obj->ctx->dev, in, sizeof(in), out, sizeof(out));
	if (rc == 0)
		free(pd);
	return rc;
}

struct ibv_pd *
ibv_alloc_pd(struct ibv_context *context)
{
	struct face_ctx *ctx = face_ctx_of(context);
	uint8_t in[PRM_BYTES(alloc_pd_in)] = { 0 }, out[PRM_BYTES(alloc_pd_out)];
	struct face_pd *pd = calloc(1, sizeof(*pd));
	int rc;

	if (pd == NULL)
		return face_null(-ENOMEM);
	PRM_SET(alloc_pd_in, in, opcode, MLX5_CMD_OP_ALLOC_PD);
	PRM_SET(alloc_pd_in, in, uid, ctx->uid);
	rc = face_cmd(ctx->dev, in, sizeof(in), out, sizeof(out));
	if (rc != 0) {
		free(pd);
		return face_null(rc);
	}
	pd->pdn = PRM_GET(alloc_pd_out, out, pd);
	pd->ibv.context = context;
	pd->ibv.handle = pd->pdn;
	face_obj_add(ctx, &pd->obj, pd_destroy);
	return &pd->ibv;
}

int
ibv_dealloc_pd(struct ibv_pd *pd)
{
	return face_errno(face_obj_destroy(&FACE_CONTAINER(pd, struct face_pd, ibv)->obj));
}

int
mlx5dv_init_obj(struct mlx5dv_obj *obj, uint64_t type)
{
	if ((type & ~(uint64_t)MLX5DV_OBJ_PD) != 0)
		return face_errno(FACE_UNSUPPORTED("mlx5dv_init_obj() of verbs queues"));
	if ((type & MLX5DV_OBJ_PD) != 0) {
		obj->pd.out->pdn = FACE_CONTAINER(obj->pd.in, struct face_pd, ibv)->pdn;
		obj->pd.out->comp_mask = 0;
	}
	return 0;
}

/* ---- pages ---- */

/* Linux: ib_check_mr_access() */
static int
check_access(unsigned int access, unsigned int known)
{
	if ((access & ~known) != 0)
		return -EINVAL;
	if ((access & IBV_ACCESS_ON_DEMAND) != 0)
		return -EOPNOTSUPP;
	if ((access & (IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_REMOTE_WRITE)) != 0 &&
			(access & IBV_ACCESS_LOCAL_WRITE) == 0)
		return -EINVAL;
	return 0;
}

/* Linux: ib_umem_get() */
static int
pin(struct face_dev *dev, const void *addr, size_t len, unsigned int access, uint64_t *bus)
{
	uint64_t at = (uintptr_t)addr, page = (UINT64_C(1) << MIN_PAGE_SHIFT) - 1;

	if (len == 0 || at + len < at || at + len + page < at + len)
		return -EINVAL;
	return emu_host_ops.pin(dev->host, at, len,
		(access & ACCESS_WRITES) != 0 ? EMU_PIN_WRITE : 0, bus);
}

/*
 * The largest page size of @p sizes for one list that translates [virt, virt + len) to @p bus
 * on: both lie equally deep in their first page, and no page is larger than covers all. (Linux:
 * ib_umem_find_best_pgsz().) Returns its shift, 0 if there is none.
 */
static unsigned int
best_page_shift(uint64_t virt, uint64_t bus, uint64_t len, uint64_t sizes)
{
	uint64_t covers = (virt + len - 1) ^ virt;
	uint64_t limit = covers == 0 ? 1 : UINT64_C(2) << (63 - __builtin_clzll(covers));
	uint64_t deep = virt ^ bus;

	/* Sizes up to the first that covers all, and up to where the addresses begin to differ. */
	while (limit != 0 && limit < sizes && (limit & sizes) == 0)
		limit <<= 1;
	if (limit != 0)
		sizes &= 2 * limit - 1;
	if (deep != 0)
		sizes &= 2 * (deep & -deep) - 1;
	return sizes == 0 ? 0 : 63 - (unsigned int)__builtin_clzll(sizes);
}

static uint64_t
count_pages(uint64_t at, uint64_t len, unsigned int shift)
{
	return ((at + len - 1) >> shift) - (at >> shift) + 1;
}

static void
fill_pages(void *list, uint64_t bus, uint64_t n, unsigned int shift, uint64_t rights)
{
	uint64_t page = bus >> shift << shift, i;
	uint8_t *p = list;

	for (i = 0; i < n; i++)
		prm_set(p + i * MTT_BYTES, 0, 64, (page + (i << shift)) | rights);
}

/* ---- memory regions ---- */

static int
mr_destroy(struct face_obj *obj)
{
	struct face_mr *mr = FACE_CONTAINER(obj, struct face_mr, obj);
	struct face_dev *dev = obj->ctx->dev;
	uint8_t in[PRM_BYTES(destroy_mkey_in)] = { 0 }, out[PRM_BYTES(destroy_mkey_out)];
	int rc;

	PRM_SET(destroy_mkey_in, in, opcode, MLX5_CMD_OP_DESTROY_MKEY);
	PRM_SET(destroy_mkey_in, in, mkey_index, mr->ibv.lkey >> 8);
	rc = face_cmd(dev, in, sizeof(in), out, sizeof(out));
	if (rc != 0)
		return rc;
	emu_host_ops.unpin(dev->host, mr->bus);
	mr->pd->mrs--;
	free(mr);
	return 0;
}

static void
fill_mkc(struct face_dev *dev, void *mkc, const struct face_pd *pd, uint64_t iova, size_t len,
		unsigned int access)
{
	PRM_SET(mkc, mkc, access_mode_1_0, MLX5_MKC_ACCESS_MODE_MTT);
	PRM_SET(mkc, mkc, a, (access & IBV_ACCESS_REMOTE_ATOMIC) != 0);
	PRM_SET(mkc, mkc, rw, (access & IBV_ACCESS_REMOTE_WRITE) != 0);
	PRM_SET(mkc, mkc, rr, (access & IBV_ACCESS_REMOTE_READ) != 0);
	PRM_SET(mkc, mkc, lw, (access & IBV_ACCESS_LOCAL_WRITE) != 0);
	PRM_SET(mkc, mkc, lr, 1);
	if ((access & IBV_ACCESS_RELAXED_ORDERING) != 0) {
		PRM_SET(mkc, mkc, relaxed_ordering_write,
			PRM_GET(cmd_hca_cap, dev->caps, relaxed_ordering_write));
		PRM_SET(mkc, mkc, relaxed_ordering_read,
			PRM_GET(cmd_hca_cap, dev->caps, relaxed_ordering_read));
	}
	PRM_SET(mkc, mkc, mkey_7_0, dev->key_variant++);
	PRM_SET(mkc, mkc, qpn, QPN_ANY);
	PRM_SET(mkc, mkc, pd, pd->pdn);
	PRM_SET(mkc, mkc, start_addr, iova);
	PRM_SET(mkc, mkc, len, len);
}

/* The kernel's CREATE_MKEY for a region: a list of the largest pages that fit. */
static int
create_mkey(struct face_dev *dev, const struct face_pd *pd, uint64_t bus, uint64_t iova, size_t len,
		unsigned int access, uint32_t *key)
{
	unsigned int shift = best_page_shift(iova, bus, len, PAGE_SIZES);
	uint64_t pages = count_pages(iova, len, shift);
	uint64_t octwords = (pages * MTT_BYTES + OCTWORD - 1) / OCTWORD;
	size_t inlen = PRM_BYTES(create_mkey_in) + octwords * OCTWORD;
	uint8_t out[PRM_BYTES(create_mkey_out)];
	uint8_t *in = calloc(1, inlen);
	void *mkc;
	int rc;

	if (in == NULL)
		return -ENOMEM;
	mkc = PRM_ADDR(create_mkey_in, in, memory_key_mkey_entry);
	PRM_SET(create_mkey_in, in, opcode, MLX5_CMD_OP_CREATE_MKEY);
	PRM_SET(create_mkey_in, in, translations_octword_actual_size, octwords);
	fill_mkc(dev, mkc, pd, iova, len, access);
	PRM_SET(mkc, mkc, translations_octword_size, octwords);
	PRM_SET(mkc, mkc, log_page_size, shift);
	fill_pages(PRM_ADDR(create_mkey_in, in, klm_pas_mtt), bus, pages, shift, 0);
	rc = face_cmd(dev, in, inlen, out, sizeof(out));
	if (rc == 0)
		*key = PRM_GET(create_mkey_out, out, mkey_index) << 8 | PRM_GET(mkc, mkc, mkey_7_0);
	free(in);
	return rc;
}

struct ibv_mr *
ibv_reg_mr_iova2(struct ibv_pd *ibv_pd, void *addr, size_t length, uint64_t iova,
		unsigned int access)
{
	struct face_ctx *ctx = face_ctx_of(ibv_pd->context);
	struct face_pd *pd = FACE_CONTAINER(ibv_pd, struct face_pd, ibv);
	const uint64_t in_page = (UINT64_C(1) << MIN_PAGE_SHIFT) - 1;
	struct face_mr *mr;
	uint32_t key;
	int rc;

	if (((uintptr_t)addr & in_page) != (iova & in_page))
		return face_null(-EINVAL);
	rc = check_access(access, ACCESS_KNOWN);
	if (rc != 0)
		return face_null(rc);
	mr = calloc(1, sizeof(*mr));
	if (mr == NULL)
		return face_null(-ENOMEM);
	rc = pin(ctx->dev, addr, length, access, &mr->bus);
	if (rc != 0)
		goto err_mr;
	rc = create_mkey(ctx->dev, pd, mr->bus, iova, length, access, &key);
	if (rc != 0)
		goto err_pin;
	mr->pd = pd;
	pd->mrs++;
	mr->ibv = (struct ibv_mr){
		.context = ibv_pd->context, .pd = ibv_pd, .addr = addr, .length = length,
		.handle = key >> 8, .lkey = key, .rkey = key,
	};
	face_obj_add(ctx, &mr->obj, mr_destroy);
	return &mr->ibv;

err_pin:
	emu_host_ops.unpin(ctx->dev->host, mr->bus);
err_mr:
	free(mr);
	return face_null(rc);
}

struct ibv_mr *
ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access)
{
	return ibv_reg_mr_iova2(pd, addr, length, (uintptr_t)addr, (unsigned int)access);
}

struct ibv_mr *
ibv_reg_mr_iova(struct ibv_pd *pd, void *addr, size_t length, uint64_t iova, int access)
{
	return ibv_reg_mr_iova2(pd, addr, length, iova, (unsigned int)access);
}

static int
null_mr_destroy(struct face_obj *obj)
{
	free(FACE_CONTAINER(obj, struct face_mr, obj));
	return 0;
}

/* A region with a special key of the device. libmlx5 makes it by itself: no command, no
 * reference. */
struct ibv_mr *
face_alloc_null_mr(struct ibv_pd *pd)
{
	struct face_ctx *ctx = face_ctx_of(pd->context);
	struct face_mr *mr;

	if (PRM_GET(cmd_hca_cap, ctx->dev->caps, dump_fill_mkey) == 0)
		return face_null(-ENOTSUP);
	mr = calloc(1, sizeof(*mr));
	if (mr == NULL)
		return face_null(-ENOMEM);
	mr->ibv = (struct ibv_mr){
		.context = pd->context, .pd = pd, .length = SIZE_MAX, .lkey = ctx->dev->null_key,
	};
	face_obj_add(ctx, &mr->obj, null_mr_destroy);
	return &mr->ibv;
}

int
ibv_dereg_mr(struct ibv_mr *mr)
{
	return face_errno(face_obj_destroy(&FACE_CONTAINER(mr, struct face_mr, ibv)->obj));
}

/* ---- umems ---- */

static int
umem_destroy(struct face_obj *obj)
{
	struct face_umem *umem = FACE_CONTAINER(obj, struct face_umem, obj);
	struct face_dev *dev = obj->ctx->dev;
	uint8_t in[PRM_BYTES(destroy_umem_in)] = { 0 }, out[PRM_BYTES(destroy_umem_out)];
	int rc;

	PRM_SET(destroy_umem_in, in, opcode, MLX5_CMD_OP_DESTROY_UMEM);
	PRM_SET(destroy_umem_in, in, uid, obj->ctx->uid);
	PRM_SET(destroy_umem_in, in, umem_id, umem->dv.umem_id);
	rc = face_cmd(dev, in, sizeof(in), out, sizeof(out));
	if (rc != 0)
		return rc;
	emu_host_ops.unpin(dev->host, umem->bus);
	free(umem);
	return 0;
}

/*
 * Page size of a umem. Offsets into it count from its first byte, but large pages need not show
 * where that is: pages above 4 KiB only if the umem is made of whole ones. (Linux:
 * devx_umem_find_best_pgsize().)
 */
static unsigned int
umem_page_shift(uint64_t bus, uint64_t len, uint64_t sizes)
{
	unsigned int max = len <= 1 ? 0 : 64 - (unsigned int)__builtin_clzll(len - 1), shift;

	if (max < MIN_PAGE_SHIFT)
		max = MIN_PAGE_SHIFT;
	sizes &= PAGE_SIZES;
	if (max < 63)
		sizes &= (UINT64_C(2) << max) - 1;
	shift = best_page_shift(bus, bus, len, sizes);
	while (shift > MIN_PAGE_SHIFT && ((bus | len) & ((UINT64_C(1) << shift) - 1)) != 0)
		shift--;
	return shift;
}

static int
create_umem(struct face_ctx *ctx, struct face_umem *umem, size_t len, unsigned int access,
		uint64_t sizes)
{
	unsigned int shift = umem_page_shift(umem->bus, len, sizes);
	uint64_t rights = MTT_READ | ((access & ACCESS_WRITES) != 0 ? MTT_WRITE : 0), pages;
	uint8_t out[PRM_BYTES(create_umem_out)];
	size_t inlen;
	uint8_t *in;
	void *u;
	int rc;

	if (shift == 0)
		return -EINVAL;
	pages = count_pages(umem->bus, len, shift);
	inlen = PRM_BYTES(create_umem_in) + pages * MTT_BYTES;
	in = calloc(1, inlen);
	if (in == NULL)
		return -ENOMEM;
	u = PRM_ADDR(create_umem_in, in, umem);
	PRM_SET(create_umem_in, in, opcode, MLX5_CMD_OP_CREATE_UMEM);
	PRM_SET(create_umem_in, in, uid, ctx->uid);
	PRM_SET(umem, u, log_page_size, shift - MLX5_ADAPTER_PAGE_SHIFT);
	PRM_SET(umem, u, page_offset, umem->bus & ((UINT64_C(1) << shift) - 1));
	PRM_SET(umem, u, num_of_mtt, pages);
	fill_pages(PRM_ADDR(umem, u, mtt), umem->bus, pages, shift, rights);
	rc = face_cmd(ctx->dev, in, inlen, out, sizeof(out));
	if (rc == 0)
		umem->dv.umem_id = PRM_GET(create_umem_out, out, umem_id);
	free(in);
	return rc;
}

struct mlx5dv_devx_umem *
mlx5dv_devx_umem_reg_ex(struct ibv_context *context, struct mlx5dv_devx_umem_in *umem_in)
{
	struct face_ctx *ctx = face_ctx_of(context);
	struct face_umem *umem;
	int rc;

	if (umem_in->comp_mask != 0)
		return face_null(FACE_UNSUPPORTED("mlx5dv_devx_umem_reg_ex() of a dma-buf"));
	if (ctx->uid == 0)
		return face_null(-EINVAL);
	rc = check_access(umem_in->access, ACCESS_UMEM);
	if (rc != 0)
		return face_null(rc);
	umem = calloc(1, sizeof(*umem));
	if (umem == NULL)
		return face_null(-ENOMEM);
	rc = pin(ctx->dev, umem_in->addr, umem_in->size, umem_in->access, &umem->bus);
	if (rc != 0)
		goto err_umem;
	rc = create_umem(ctx, umem, umem_in->size, umem_in->access, umem_in->pgsz_bitmap);
	if (rc != 0)
		goto err_pin;
	face_obj_add(ctx, &umem->obj, umem_destroy);
	return &umem->dv;

err_pin:
	emu_host_ops.unpin(ctx->dev->host, umem->bus);
err_umem:
	free(umem);
	return face_null(rc);
}

struct mlx5dv_devx_umem *
mlx5dv_devx_umem_reg(struct ibv_context *context, void *addr, size_t size, uint32_t access)
{
	struct mlx5dv_devx_umem_in in = {
		.addr = addr, .size = size, .access = access, .pgsz_bitmap = PAGE_SIZES,
	};

	return mlx5dv_devx_umem_reg_ex(context, &in);
}

int
mlx5dv_devx_umem_dereg(struct mlx5dv_devx_umem *umem)
{
	return face_errno(face_obj_destroy(&FACE_CONTAINER(umem, struct face_umem, dv)->obj));
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "emu_fixture.h"

/* ---- the host ---- */

static int
host_call(struct fake_host *h, uint64_t bus, uint32_t len)
{
	h->calls++;
	h->bus = bus;
	h->len = len;
	if (h->gone != 0 && bus / EMU_PAGE <= h->gone / EMU_PAGE &&
			(bus + len - 1) / EMU_PAGE >= h->gone / EMU_PAGE)
		return -EFAULT;
	if (h->echo)
		return 0;
	return bus < HOST_BUS || bus + len > HOST_BUS + HOST_BYTES ? -EFAULT : 0;
}

static int
host_read(void *host, uint64_t bus, void *dst, uint32_t len)
{
	struct fake_host *h = host;
	int ret = host_call(h, bus, len);

	if (ret != 0)
		return ret;
	if (!h->echo)
		memcpy(dst, h->mem + (bus - HOST_BUS), len);
	else
		memcpy(dst, &bus, len < sizeof(bus) ? len : sizeof(bus));
	return 0;
}

static int
host_write(void *host, uint64_t bus, const void *src, uint32_t len)
{
	struct fake_host *h = host;
	int ret = host_call(h, bus, len);

	if (ret == 0 && !h->echo)
		memcpy(h->mem + (bus - HOST_BUS), src, len);
	return ret;
}

/* The core pins nothing by itself. */
static int
host_set_bits(void *host, uint64_t bus, uint8_t bits)
{
	struct fake_host *h = host;
	int ret = host_call(h, bus, sizeof(bits));

	if (ret == 0 && !h->echo)
		h->mem[bus - HOST_BUS] |= bits;
	return ret;
}

static const struct emu_host_ops host_ops = {
	.read = host_read,
	.write = host_write,
	.set_bits = host_set_bits,
};

static void
host_event(void *arg, const struct emu_event *ev)
{
	(void)arg;
	(void)ev;
}

/* ---- the device ---- */

struct fixture *
fixture_new(const char *spec)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	struct emu_dev_config cfg;
	char err[256];
	size_t i;

	assert_non_null(fx);
	for (i = 0; i < HOST_BYTES; i++)
		fx->host.mem[i] = (uint8_t)(i * 7 + i / EMU_PAGE);
	emu_config_default(&cfg, 0);
	assert_int_equal(emu_config_parse(&cfg, spec, err, sizeof(err)), 0);
	assert_int_equal(emu_dev_create(&cfg, &host_ops, &fx->host, host_event, fx, &fx->dev), 0);
	return fx;
}

void
fixture_free(struct fixture *fx)
{
	emu_dev_destroy(fx->dev);
	free(fx);
}

int
fixture_setup(void **state)
{
	*state = fixture_new("");
	return 0;
}

int
fixture_teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

/* ---- commands ---- */

void *
cmd_begin(struct fixture *fx, uint16_t opcode, uint16_t uid)
{
	memset(fx->in, 0, sizeof(fx->in));
	PRM_SET(general_obj_in_cmd_hdr, fx->in, opcode, opcode);
	PRM_SET(general_obj_in_cmd_hdr, fx->in, uid, uid);
	return fx->in;
}

uint8_t
cmd_run(struct fixture *fx, size_t inlen, size_t outlen)
{
	int status = emu_cmd(fx->dev, fx->in, inlen, fx->out, outlen);

	assert_in_range(status, 0, UINT8_MAX);
	assert_int_equal(PRM_GET(general_obj_out_cmd_hdr, fx->out, status), status);
	fx->syndrome = PRM_GET(general_obj_out_cmd_hdr, fx->out, syndrome);
	/* A refusal says why; a success has nothing to say. */
	assert_int_equal(fx->syndrome != 0, status != MLX5_CMD_STAT_OK);
	return (uint8_t)status;
}

uint16_t
must_create_uctx(struct fixture *fx)
{
	cmd_begin(fx, MLX5_CMD_OP_CREATE_UCTX, 0);
	assert_int_equal(cmd_run(fx, PRM_BYTES(create_uctx_in), PRM_BYTES(create_uctx_out)), 0);
	return (uint16_t)PRM_GET(create_uctx_out, fx->out, uid);
}

uint8_t
destroy_uctx(struct fixture *fx, uint16_t uid)
{
	cmd_begin(fx, MLX5_CMD_OP_DESTROY_UCTX, 0);
	PRM_SET(destroy_uctx_in, fx->in, uid, uid);
	return cmd_run(fx, PRM_BYTES(destroy_uctx_in), PRM_BYTES(destroy_uctx_out));
}

uint32_t
must_alloc_pd(struct fixture *fx, uint16_t uid)
{
	cmd_begin(fx, MLX5_CMD_OP_ALLOC_PD, uid);
	assert_int_equal(cmd_run(fx, PRM_BYTES(alloc_pd_in), PRM_BYTES(alloc_pd_out)), 0);
	return PRM_GET(alloc_pd_out, fx->out, pd);
}

uint32_t
must_alloc_uar(struct fixture *fx, uint16_t uid)
{
	cmd_begin(fx, MLX5_CMD_OP_ALLOC_UAR, uid);
	assert_int_equal(cmd_run(fx, PRM_BYTES(alloc_uar_in), PRM_BYTES(alloc_uar_out)), 0);
	return PRM_GET(alloc_uar_out, fx->out, uar);
}

uint8_t
destroy(struct fixture *fx, uint16_t opcode, uint16_t uid, uint32_t id)
{
	cmd_begin(fx, opcode, uid);
	PRM_SET(dealloc_pd_in, fx->in, pd, id);
	return cmd_run(fx, PRM_BYTES(dealloc_pd_in), PRM_BYTES(dealloc_pd_out));
}

/* ---- the report ---- */

struct json_object *
report(void)
{
	struct json_object *json;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	emu_report_print(f);
	fclose(f);
	/* One line. */
	assert_ptr_equal(strchr(text, '\n'), text + len - 1);
	json = json_tokener_parse(text);
	assert_non_null(json);
	free(text);
	return json;
}

int64_t
report_number(const char *path)
{
	struct json_object *json = report(), *at = json;
	char *copy = strdup(path), *rest = copy, *key;
	int64_t n;

	while ((key = strsep(&rest, ".")) != NULL)
		assert_true(json_object_object_get_ex(at, key, &at));
	assert_true(json_object_is_type(at, json_type_int));
	n = json_object_get_int64(at);
	free(copy);
	json_object_put(json);
	return n;
}

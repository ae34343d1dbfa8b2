/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: --device options, and what the capabilities say of them.
 */
#include <errno.h>

#include "emu_fixture.h"

#define DIM(a) (sizeof(a) / sizeof((a)[0]))

static void
must_parse(struct emu_dev_config *cfg, const char *spec)
{
	char err[256] = "";

	if (emu_config_parse(cfg, spec, err, sizeof(err)) != 0)
		fail_msg("%s", err);
}

static void
defaults_number_the_devices(void **state)
{
	static const struct {
		unsigned int index;
		const char *bdf, *name;
	} devs[] = {
		{ 0, "0000:e1:00.2", "mlx5_0" },
		{ 1, "0000:e1:00.3", "mlx5_1" },
		{ 5, "0000:e1:00.7", "mlx5_5" },
		{ 6, "0000:e1:01.0", "mlx5_6" },
		{ 253, "0000:e1:1f.7", "mlx5_253" },
		{ 254, "0000:e2:00.0", "mlx5_254" },
	};
	struct emu_dev_config cfg, other;
	size_t i;

	(void)state;
	for (i = 0; i < DIM(devs); i++) {
		emu_config_default(&cfg, devs[i].index);
		assert_string_equal(cfg.bdf, devs[i].bdf);
		assert_string_equal(cfg.name, devs[i].name);
		assert_string_equal(cfg.model, "cx6dx");
		assert_string_equal(cfg.caps, "");
		assert_int_equal(cfg.wire, EMU_WIRE_LOOP);
		assert_int_equal(cfg.max_vqs, 512);
		/* Unicast, locally administered, and no other device's. */
		assert_int_equal(cfg.mac[0] & 3, 2);
		emu_config_default(&other, devs[i].index + 1);
		assert_memory_not_equal(cfg.mac, other.mac, sizeof(cfg.mac));
	}
}

static void
every_key_is_taken(void **state)
{
	static const uint8_t mac[] = { 0x02, 0xab, 0xcd, 0x00, 0x01, 0xff };
	struct emu_dev_config cfg;

	(void)state;
	emu_config_default(&cfg, 0);
	must_parse(&cfg, "bdf=0001:0A:1f.7,name=card-0.a_b,model=cx6dx,"
		"caps=-freeze_to_rdy_supported:+fixed_buffer_size,wire=null,max_vqs=33,"
		"mac=02:AB:cd:00:01:ff");
	assert_string_equal(cfg.bdf, "0001:0a:1f.7");
	assert_string_equal(cfg.name, "card-0.a_b");
	assert_string_equal(cfg.model, "cx6dx");
	assert_string_equal(cfg.caps, "-freeze_to_rdy_supported:+fixed_buffer_size");
	assert_int_equal(cfg.wire, EMU_WIRE_NULL);
	assert_int_equal(cfg.max_vqs, 33);
	assert_memory_equal(cfg.mac, mac, sizeof(mac));
	/* Nothing named, nothing changed. */
	must_parse(&cfg, "");
	assert_int_equal(cfg.max_vqs, 33);
	must_parse(&cfg, "wire=loop");
	assert_int_equal(cfg.wire, EMU_WIRE_LOOP);
	must_parse(&cfg, "wire=pair:mlx5_7");
	assert_int_equal(cfg.wire, EMU_WIRE_PAIR);
	assert_string_equal(cfg.pair, "mlx5_7");
	must_parse(&cfg, "wire=gen:100000000:10000");
	assert_int_equal(cfg.wire, EMU_WIRE_GEN);
	assert_int_equal(cfg.gen_pps, 100000000);
	assert_int_equal(cfg.gen_size, 10000);
	must_parse(&cfg, "wire=tap:fifteen_letters");
	assert_int_equal(cfg.wire, EMU_WIRE_TAP);
	assert_string_equal(cfg.tap, "fifteen_letters");
	must_parse(&cfg, "wire=null");
	assert_string_equal(cfg.pair, "");
	assert_int_equal(cfg.max_vqs, 33);
}

static void
mac_follows_the_address_unless_given(void **state)
{
	static const uint8_t derived[] = { 0x02, 0x00, 0x01, 0x0a, 0x1f, 0x07 };
	static const uint8_t given[] = { 0x02, 0, 0, 0, 0, 1 };
	struct emu_dev_config cfg;

	(void)state;
	emu_config_default(&cfg, 0);
	must_parse(&cfg, "bdf=0001:0a:1f.7");
	assert_memory_equal(cfg.mac, derived, sizeof(derived));
	must_parse(&cfg, "mac=02:00:00:00:00:01,bdf=0000:01:00.0");
	assert_memory_equal(cfg.mac, given, sizeof(given));
}

static void
errors_name_key_value_and_what_is_allowed(void **state)
{
	static const struct {
		const char *spec, *says[3];
	} bad[] = {
		{ "speed=1", { "speed", "1", "bdf, name, model, caps, wire, max_vqs, mac" } },
		{ "loop", { "loop", "KEY=VALUE", "wire" } },
		{ "wire=loop,", { "''", "KEY=VALUE", "wire" } },
		{ "=x", { "=x", "no such key", "wire" } },
		{ "wire=tap:", { "wire", "tap:", "loop, null, pair:NAME" } },
		{ "wire=tap:a/b", { "wire", "tap:a/b", "tap:IFNAME" } },
		{ "wire=tap:tap%d", { "wire", "tap:tap%d", "tap:IFNAME" } },
		{ "wire=tap:sixteen_letters_", { "wire", "tap:sixteen", "1 to 15" } },
		{ "wire=gen", { "wire", "gen", "gen:PPS:SIZE" } },
		{ "wire=gen:1000", { "wire", "gen:1000", "gen:PPS:SIZE" } },
		{ "wire=gen::64", { "wire", "gen::64", "gen:PPS:SIZE" } },
		{ "wire=gen:-1:64", { "wire", "gen:-1:64", "0 to 100000000" } },
		{ "wire=gen:100000001:64", { "wire", "gen:", "0 to 100000000" } },
		{ "wire=gen:0:59", { "wire", "gen:0:59", "60 to 10000" } },
		{ "wire=gen:0:10001", { "wire", "gen:0:10001", "60 to 10000" } },
		{ "wire=gen:0:64:1", { "wire", "gen:0:64:1", "gen:PPS:SIZE" } },
		{ "wire=loopy", { "wire", "loopy", "loop, null" } },
		{ "wire=pair", { "wire", "pair", "loop, null, pair:NAME" } },
		{ "wire=pair:", { "wire", "pair:", "loop, null, pair:NAME" } },
		{ "wire=pair:a/b", { "wire", "pair:a/b", "loop, null, pair:NAME" } },
		{ "wire=", { "wire=", "allowed", "loop, null" } },
		{ "model=cx8", { "model", "cx8", "cx6dx, cx7" } },
		{ "model=", { "model", "allowed", "cx6dx, cx7" } },
		{ "model=CX7", { "model", "CX7", "cx6dx, cx7" } },
		{ "max_vqs=0", { "max_vqs", "0", "1 to 65535" } },
		{ "max_vqs=65536", { "max_vqs", "65536", "1 to 65535" } },
		{ "max_vqs=-1", { "max_vqs", "-1", "1 to 65535" } },
		{ "max_vqs=9x", { "max_vqs", "9x", "1 to 65535" } },
		{ "max_vqs=99999999999999999999", { "max_vqs", "9999", "1 to 65535" } },
		{ "bdf=e1:00.2", { "bdf", "e1:00.2", "DDDD:BB:DD.F" } },
		{ "bdf=0000:e1:20.0", { "bdf", "0000:e1:20.0", "DDDD:BB:DD.F" } },
		{ "bdf=0000:e1:00.8", { "bdf", "0000:e1:00.8", "DDDD:BB:DD.F" } },
		{ "bdf=0000:e1:00.22", { "bdf", "0000:e1:00.22", "DDDD:BB:DD.F" } },
		{ "name=", { "name", "allowed", "letters" } },
		{ "name=../x", { "name", "../x", "letters" } },
		{ "name=a/b", { "name", "a/b", "letters" } },
		{ "mac=02:00:00:00:00", { "mac", "02:00:00:00:00", "XX:XX:XX:XX:XX:XX" } },
		{ "mac=03:00:00:00:00:01", { "mac", "03:00", "unicast" } },
		{ "mac=00:00:00:00:00:00", { "mac", "00:00", "unicast" } },
		{ "caps=freeze_to_rdy_supported", { "caps", "freeze_to_rdy_supported", "+" } },
		{ "caps=-no_such_thing", { "caps", "no_such_thing", "no capability" } },
		{ "caps=+tx_csum:-nope", { "caps", "nope", "no capability" } },
		{ "caps=+wq_signature", { "caps", "can't do", "wq_signature" } },
		{ "caps=-null_mkey:+desc_tunnel_offload_type", { "caps", "can't do", "desc_tu" } },
		{ "caps=+max_num_virtio_queues", { "max_num_virtio_q", "24 bits", "allowed" } },
		{ "caps=+", { "caps", "''", "no capability" } },
		{ "caps=virtio_queue_type=4", { "virtio_queue_type", "0x3", "a part of it" } },
		{ "caps=virtio_queue_type=7", { "virtio_queue_type", "0x3", "a part of it" } },
		{ "caps=log_max_qp=18", { "log_max_qp", "0x11", "no more" } },
		{ "caps=wq_signature=1", { "wq_signature", "0x0", "no more" } },
		{ "caps=log_max_qp=", { "log_max_qp=", "CAPABILITY=N", "caps" } },
		{ "caps=log_max_qp=-1", { "log_max_qp=-1", "CAPABILITY=N", "caps" } },
		{ "caps=log_max_qp=1x", { "log_max_qp=1x", "CAPABILITY=N", "caps" } },
		{ "caps=-log_max_qp=1", { "-log_max_qp", "no capability", "caps" } },
		{ "caps==1", { "''", "no capability", "caps" } },
	};
	struct emu_dev_config cfg, before;
	char err[256];
	size_t i, j;

	(void)state;
	emu_config_default(&cfg, 0);
	before = cfg;
	for (i = 0; i < DIM(bad); i++) {
		err[0] = '\0';
		assert_int_equal(emu_config_parse(&cfg, bad[i].spec, err, sizeof(err)), -EINVAL);
		assert_null(strchr(err, '\n'));
		for (j = 0; j < DIM(bad[i].says); j++) {
			if (strstr(err, bad[i].says[j]) == NULL)
				fail_msg("'%s' does not say '%s'", err, bad[i].says[j]);
		}
		/* What came before the error is not taken either. */
		assert_memory_equal(&cfg, &before, sizeof(cfg));
	}
}

static void
options_that_are_too_long_are_refused(void **state)
{
	struct emu_dev_config cfg;
	char spec[4096], err[256];

	(void)state;
	emu_config_default(&cfg, 0);
	memset(spec, 'x', sizeof(spec) - 1);
	spec[sizeof(spec) - 1] = '\0';
	assert_int_equal(emu_config_parse(&cfg, spec, err, sizeof(err)), -EINVAL);
	memcpy(spec, "caps=", 5);
	spec[5 + sizeof(cfg.caps)] = '\0';
	assert_int_equal(emu_config_parse(&cfg, spec, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "511"));
	memcpy(spec, "name=", 5);
	spec[5 + sizeof(cfg.name)] = '\0';
	assert_int_equal(emu_config_parse(&cfg, spec, err, sizeof(err)), -EINVAL);
}

/* ---- pairs ---- */

enum { DEVS_MAX = 4 };

/* Configure devices by their wires ("" for one that is not given) and find their pairs. */
static int
find_pairs(const char *const *wires, unsigned int n, int *peer, char *err, size_t errlen)
{
	static struct emu_dev_config cfg[DEVS_MAX];
	const struct emu_dev_config *all[DEVS_MAX];
	char spec[64];
	unsigned int i;

	for (i = 0; i < n; i++) {
		emu_config_default(&cfg[i], i);
		snprintf(spec, sizeof(spec), "wire=%s", wires[i]);
		if (wires[i][0] != '\0')
			must_parse(&cfg[i], spec);
		all[i] = &cfg[i];
	}
	return emu_config_pairs(all, n, peer, err, errlen);
}

static void
pairs_are_named_by_one_end_or_both(void **state)
{
	static const struct {
		const char *wires[DEVS_MAX];
		int peer[DEVS_MAX];
	} good[] = {
		{ { "", "", "null", "loop" }, { -1, -1, -1, -1 } },
		{ { "pair:mlx5_1", "pair:mlx5_0", "", "" }, { 1, 0, -1, -1 } },
		{ { "pair:mlx5_3", "", "", "" }, { 3, -1, -1, 0 } },
		{ { "", "loop", "", "pair:mlx5_0" }, { 3, -1, -1, 0 } },
		{ { "pair:mlx5_2", "pair:mlx5_3", "pair:mlx5_0", "" }, { 2, 3, 0, 1 } },
	};
	int peer[DEVS_MAX];
	char err[256];
	size_t i;

	(void)state;
	for (i = 0; i < DIM(good); i++) {
		assert_int_equal(find_pairs(good[i].wires, DEVS_MAX, peer, err, sizeof(err)), 0);
		assert_memory_equal(peer, good[i].peer, sizeof(peer));
	}
}

static void
pairs_that_cannot_be_are_refused_in_one_line(void **state)
{
	static const struct {
		const char *wires[DEVS_MAX];
		const char *dev, *says;
	} bad[] = {
		{ { "pair:nosuch", "", "", "" }, "device mlx5_0: wire=pair:nosuch", "no device" },
		{ { "", "pair:mlx5_1", "", "" }, "device mlx5_1: wire=pair:mlx5_1", "own pair" },
		{ { "pair:mlx5_1", "loop", "", "" }, "device mlx5_0", "another wire" },
		{ { "pair:mlx5_1", "null", "", "" }, "device mlx5_0", "another wire" },
		{ { "pair:mlx5_1", "pair:mlx5_2", "", "" }, "device mlx5_0", "another pair" },
		{ { "pair:mlx5_1", "", "pair:mlx5_1", "" }, "device mlx5_2", "pair of another" },
		{ { "pair:mlx5_1", "pair:mlx5_0", "pair:mlx5_1", "" }, "device mlx5_2",
			"another pair" },
	};
	int peer[DEVS_MAX];
	char err[256];
	size_t i;

	(void)state;
	for (i = 0; i < DIM(bad); i++) {
		err[0] = '\0';
		assert_int_equal(find_pairs(bad[i].wires, DEVS_MAX, peer, err, sizeof(err)),
			-EINVAL);
		assert_null(strchr(err, '\n'));
		if (strstr(err, bad[i].dev) == NULL || strstr(err, bad[i].says) == NULL)
			fail_msg("'%s' does not say '%s'", err, bad[i].says);
	}
}

/* ---- capabilities, as a driver reads them ---- */

static int
query(struct fixture *fx, unsigned int op_mod)
{
	cmd_begin(fx, MLX5_CMD_OP_QUERY_HCA_CAP, 0);
	PRM_SET(query_hca_cap_in, fx->in, op_mod, op_mod);
	return cmd_run(fx, PRM_BYTES(query_hca_cap_in), PRM_BYTES(query_hca_cap_out));
}

static const uint8_t *
must_query(struct fixture *fx, unsigned int op_mod)
{
	assert_int_equal(query(fx, op_mod), 0);
	return PRM_ADDR(query_hca_cap_out, fx->out, capability);
}

static void
capabilities_say_what_the_device_does(void **state)
{
	struct fixture *fx = fixture_new("max_vqs=34");
	uint64_t offset, length, var, types;
	const uint8_t *cap;

	(void)state;
	cap = must_query(fx, MLX5_HCA_CAP_GENERAL | MLX5_HCA_CAP_OPMOD_CUR);
	types = PRM_GET(cmd_hca_cap, cap, general_obj_types);
	assert_true(types & UINT64_C(1) << MLX5_OBJ_TYPE_VIRTIO_NET_Q);
	assert_true(types & UINT64_C(1) << MLX5_OBJ_TYPE_VIRTIO_Q_COUNTERS);
	assert_int_equal(PRM_GET(cmd_hca_cap, cap, null_mkey), 1);

	cap = must_query(fx, MLX5_HCA_CAP_VDPA_EMULATION | MLX5_HCA_CAP_OPMOD_CUR);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, max_num_virtio_queues), 34);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, virtio_queue_type),
		1 << MLX5_VIRTQ_TYPE_SPLIT | 1 << MLX5_VIRTQ_TYPE_PACKED);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, freeze_to_rdy_supported), 1);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, tx_csum), 1);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, rx_csum), 1);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, tso_ipv4), 1);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, tso_ipv6), 1);
	/* The doorbell area as Linux computes it is where the BAR has it. */
	emu_dev_doorbell_area(fx->dev, &offset, &length, &var);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, doorbell_bar_offset), offset);
	assert_int_equal(4096 << PRM_GET(virtio_emulation_cap, cap, log_doorbell_bar_size), length);
	assert_int_equal(1 << PRM_GET(virtio_emulation_cap, cap, log_doorbell_stride), var);
	fixture_free(fx);
}

static void
current_capabilities_are_the_maximum(void **state)
{
	struct fixture *fx = fixture_new("");
	uint8_t cur[4096];

	(void)state;
	memcpy(cur, must_query(fx, MLX5_HCA_CAP_GENERAL | MLX5_HCA_CAP_OPMOD_CUR), sizeof(cur));
	assert_memory_equal(cur, must_query(fx, MLX5_HCA_CAP_GENERAL), sizeof(cur));
	memcpy(cur, must_query(fx, MLX5_HCA_CAP_VDPA_EMULATION | MLX5_HCA_CAP_OPMOD_CUR),
		sizeof(cur));
	assert_memory_equal(cur, must_query(fx, MLX5_HCA_CAP_VDPA_EMULATION), sizeof(cur));
	fixture_free(fx);
}

static void
steering_has_a_page(void **state)
{
	struct fixture *fx = fixture_new("");
	const uint8_t *cap = must_query(fx, MLX5_HCA_CAP_NIC_FLOW_TABLE | MLX5_HCA_CAP_OPMOD_CUR);
	const uint8_t *rx = PRM_ADDR(flow_table_nic_cap, cap, flow_table_properties_nic_receive);
	const uint8_t *fields = PRM_ADDR(flow_table_prop_layout, rx, ft_field_support);

	(void)state;
	assert_int_equal(PRM_GET(flow_table_prop_layout, rx, ft_support), 1);
	assert_int_equal(PRM_GET(flow_table_prop_layout, rx, sw_owner), 0);
	assert_int_equal(PRM_GET(flow_table_prop_layout, rx, sw_owner_v2), 0);
	assert_int_equal(PRM_GET(flow_table_prop_layout, rx, max_ft_level), EMU_FLOW_LEVELS);
	assert_int_equal(PRM_GET(flow_table_fields_supported, fields, outer_udp_dport), 1);
	cap = must_query(fx, MLX5_HCA_CAP_ETHERNET_OFFLOADS | MLX5_HCA_CAP_OPMOD_CUR);
	assert_int_equal(PRM_GET(per_protocol_networking_offload_caps, cap, rss_ind_tbl_cap), 11);
	fixture_free(fx);
}

static void
pages_that_the_device_does_not_have_are_refused(void **state)
{
	static const unsigned int absent[] = {
		0x4 << 1, 0xc << 1 | 1, MLX5_HCA_CAP_DEVICE_MEMORY, 0x20 << 1 | 1, 0xfffe,
	};
	static const struct {
		const char *cap;
		unsigned int page;
	} gone[] = {
		{ "caps=-eth_net_offloads", MLX5_HCA_CAP_ETHERNET_OFFLOADS },
		{ "caps=-nic_flow_table", MLX5_HCA_CAP_NIC_FLOW_TABLE },
	};
	struct fixture *fx = fixture_new("");
	size_t i;

	(void)state;
	for (i = 0; i < DIM(absent); i++)
		assert_int_equal(query(fx, absent[i]), MLX5_CMD_STAT_BAD_PARAM_ERR);
	for (i = 0; i < DIM(gone); i++) {
		struct fixture *without = fixture_new(gone[i].cap);

		assert_int_equal(query(fx, gone[i].page), MLX5_CMD_STAT_OK);
		assert_int_equal(query(without, gone[i].page), MLX5_CMD_STAT_BAD_PARAM_ERR);
		fixture_free(without);
	}
	cmd_begin(fx, MLX5_CMD_OP_QUERY_HCA_CAP, 0);
	PRM_SET(query_hca_cap_in, fx->in, other_function, 1);
	assert_int_equal(cmd_run(fx, PRM_BYTES(query_hca_cap_in), PRM_BYTES(query_hca_cap_out)),
		MLX5_CMD_STAT_BAD_PARAM_ERR);
	fixture_free(fx);
}

static void
caps_adds_and_removes_in_either_page(void **state)
{
	struct fixture *fx = fixture_new("caps=-tx_csum:-freeze_to_rdy_supported:-rx_csum:"
		"-umem_1_buffer_param_b:+fixed_buffer_size:-null_mkey:-log_max_qp:+tx_csum:"
		"+desc_group_mkey_supported:virtio_queue_type=1:log_max_mkey=0x10");
	const uint8_t *cap;

	(void)state;
	cap = must_query(fx, MLX5_HCA_CAP_GENERAL | MLX5_HCA_CAP_OPMOD_CUR);
	assert_int_equal(PRM_GET(cmd_hca_cap, cap, fixed_buffer_size), 1);
	assert_int_equal(PRM_GET(cmd_hca_cap, cap, null_mkey), 0);
	assert_int_equal(PRM_GET(cmd_hca_cap, cap, log_max_qp), 0);
	assert_int_not_equal(PRM_GET(cmd_hca_cap, cap, log_max_cq), 0);
	assert_int_equal(PRM_GET(cmd_hca_cap, cap, log_max_mkey), 0x10);
	cap = must_query(fx, MLX5_HCA_CAP_VDPA_EMULATION | MLX5_HCA_CAP_OPMOD_CUR);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, tx_csum), 1);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, virtio_queue_type), 1);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, rx_csum), 0);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, desc_group_mkey_supported), 1);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, freeze_to_rdy_supported), 0);
	assert_int_equal(PRM_GET(virtio_emulation_cap, cap, umem_1_buffer_param_b), 0);
	assert_int_not_equal(PRM_GET(virtio_emulation_cap, cap, umem_1_buffer_param_a), 0);
	fixture_free(fx);
}

static void
models_differ_in_what_sources_say(void **state)
{
	static const struct {
		const char *spec;
		unsigned int steering;
	} models[] = {
		{ "", 1 },
		{ "model=cx6dx", 1 },
		{ "model=cx7", 2 },
		{ "model=cx7,caps=-freeze_to_rdy_supported:+desc_group_mkey_supported", 2 },
	};
	struct emu_caps caps, first = {0};
	struct emu_dev_config cfg;
	char err[256];
	size_t i;

	(void)state;
	for (i = 0; i < DIM(models); i++) {
		emu_config_default(&cfg, 0);
		must_parse(&cfg, models[i].spec);
		assert_int_equal(emu_caps_init(&caps, &cfg, err, sizeof(err)), 0);
		assert_int_equal(PRM_GET(cmd_hca_cap, caps.general, steering_format_version),
			models[i].steering);
		PRM_SET(cmd_hca_cap, caps.general, steering_format_version, 0);
		if (i == 0)
			first = caps;
		assert_memory_equal(caps.general, first.general, sizeof(caps.general));
		if (cfg.caps[0] == '\0')
			assert_memory_equal(caps.vdpa, first.vdpa, sizeof(caps.vdpa));
	}
	assert_int_equal(PRM_GET(virtio_emulation_cap, caps.vdpa, freeze_to_rdy_supported), 0);
	assert_int_equal(PRM_GET(virtio_emulation_cap, caps.vdpa, desc_group_mkey_supported), 1);
	assert_null(emu_model_find("cx5"));
}

static void
device_with_bad_caps_is_not_created(void **state)
{
	struct emu_dev_config cfg;
	struct emu_dev *dev = NULL;

	(void)state;
	emu_config_default(&cfg, 0);
	strcpy(cfg.caps, "-nonsense");
	assert_int_equal(emu_dev_create(&cfg, NULL, NULL, NULL, NULL, &dev), -EINVAL);
	assert_null(dev);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_number_the_devices),
		cmocka_unit_test(every_key_is_taken),
		cmocka_unit_test(mac_follows_the_address_unless_given),
		cmocka_unit_test(errors_name_key_value_and_what_is_allowed),
		cmocka_unit_test(options_that_are_too_long_are_refused),
		cmocka_unit_test(pairs_are_named_by_one_end_or_both),
		cmocka_unit_test(pairs_that_cannot_be_are_refused_in_one_line),
		cmocka_unit_test(capabilities_say_what_the_device_does),
		cmocka_unit_test(current_capabilities_are_the_maximum),
		cmocka_unit_test(steering_has_a_page),
		cmocka_unit_test(pages_that_the_device_does_not_have_are_refused),
		cmocka_unit_test(caps_adds_and_removes_in_either_page),
		cmocka_unit_test(models_differ_in_what_sources_say),
		cmocka_unit_test(device_with_bad_caps_is_not_created),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

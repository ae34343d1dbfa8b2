/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device is made of: defaults, and the KEY=VAL list of a --device option.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "core.h"
#include "gen.h"
#include "offload.h"

/* What of a key or value an error message repeats: its reason must still fit. */
#define SHOWN "%.80s"
#define CONFIG_KEYS "bdf, name, model, caps, wire, max_vqs, mac"

enum {
	/* The first default device is 0000:e1:00.2. PCI: 8 functions a device, 32 devices a bus. */
	DEFAULT_BUS = 0xe1,
	DEFAULT_FUNCTION = 2,
	FUNCTION_BITS = 3,
	DEVICE_BITS = 5,
	DEFAULT_MAX_VQS = 512,
	/* virtio_q.queue_index is 16 bits wide. */
	MAX_MAX_VQS = UINT16_MAX,
	SPEC_MAX = 1024,
};

struct bdf {
	unsigned int domain, bus, device, function;
};

/* ---- PCI and MAC addresses ---- */

static int
hex_field(const char **s, unsigned int digits, char end, unsigned int *val)
{
	const char *p = *s;
	unsigned int i;

	*val = 0;
	for (i = 0; i < digits; i++, p++) {
		if (!isxdigit((unsigned char)*p))
			return -EINVAL;
		*val = *val << 4 | (unsigned int)(isdigit((unsigned char)*p) ? *p - '0' :
			tolower((unsigned char)*p) - 'a' + 10);
	}
	if (*p != end)
		return -EINVAL;
	*s = end == '\0' ? p : p + 1;
	return 0;
}

/* DDDD:BB:DD.F */
static int
bdf_parse(const char *s, struct bdf *b)
{
	if (hex_field(&s, 4, ':', &b->domain) != 0 || hex_field(&s, 2, ':', &b->bus) != 0 ||
			hex_field(&s, 2, '.', &b->device) != 0 ||
			hex_field(&s, 1, '\0', &b->function) != 0)
		return -EINVAL;
	return b->device < 1u << DEVICE_BITS && b->function < 1u << FUNCTION_BITS ? 0 : -EINVAL;
}

static void
bdf_format(char *s, size_t len, const struct bdf *b)
{
	snprintf(s, len, "%04x:%02x:%02x.%x", b->domain & 0xffff, b->bus & 0xff, b->device & 0xff,
		b->function & 0xf);
}

/* Locally administered, and as unique as the PCI address. */
static void
mac_of_bdf(uint8_t mac[6], const char *s)
{
	struct bdf b;

	if (bdf_parse(s, &b) != 0)
		memset(&b, 0, sizeof(b));
	mac[0] = 0x02;
	mac[1] = (uint8_t)(b.domain >> 8);
	mac[2] = (uint8_t)b.domain;
	mac[3] = (uint8_t)b.bus;
	mac[4] = (uint8_t)b.device;
	mac[5] = (uint8_t)b.function;
}

void
emu_config_default(struct emu_dev_config *cfg, unsigned int index)
{
	unsigned int n = DEFAULT_FUNCTION + index;
	const struct bdf b = {
		.bus = DEFAULT_BUS + (n >> (FUNCTION_BITS + DEVICE_BITS)),
		.device = (n >> FUNCTION_BITS) & ((1u << DEVICE_BITS) - 1),
		.function = n & ((1u << FUNCTION_BITS) - 1),
	};

	memset(cfg, 0, sizeof(*cfg));
	bdf_format(cfg->bdf, sizeof(cfg->bdf), &b);
	snprintf(cfg->name, sizeof(cfg->name), "mlx5_%u", index);
	snprintf(cfg->model, sizeof(cfg->model), "%s", EMU_MODEL_CX6DX);
	cfg->wire = EMU_WIRE_LOOP;
	cfg->max_vqs = DEFAULT_MAX_VQS;
	mac_of_bdf(cfg->mac, cfg->bdf);
}

/* ---- keys: each takes a value, or returns what is allowed ---- */

static const char *
set_bdf(struct emu_dev_config *cfg, const char *val)
{
	uint8_t derived[sizeof(cfg->mac)];
	bool follow;
	struct bdf b;

	if (bdf_parse(val, &b) != 0)
		return "allowed is a PCI address DDDD:BB:DD.F, in hexadecimal";
	/* A MAC that came from the old address follows the new one. */
	mac_of_bdf(derived, cfg->bdf);
	follow = memcmp(derived, cfg->mac, sizeof(derived)) == 0;
	bdf_format(cfg->bdf, sizeof(cfg->bdf), &b);
	if (follow)
		mac_of_bdf(cfg->mac, cfg->bdf);
	return NULL;
}

/* A device's name is that of a folder of sysfs. */
static bool
is_name(const char *val)
{
	size_t i, len = strlen(val);

	if (len == 0 || len >= sizeof(((struct emu_dev_config *)0)->name) || val[0] == '.')
		return false;
	for (i = 0; i < len; i++) {
		if (!isalnum((unsigned char)val[i]) && strchr("_-.", val[i]) == NULL)
			return false;
	}
	return true;
}

static const char *
set_name(struct emu_dev_config *cfg, const char *val)
{
	if (!is_name(val))
		return "allowed are 1 to 63 letters, digits, '_', '-' and '.', not '.' first";
	snprintf(cfg->name, sizeof(cfg->name), "%s", val);
	return NULL;
}

static const char *
set_model(struct emu_dev_config *cfg, const char *val)
{
	if (emu_model_find(val) == NULL)
		return "allowed are " EMU_MODEL_CX6DX ", " EMU_MODEL_CX7;
	snprintf(cfg->model, sizeof(cfg->model), "%s", val);
	return NULL;
}

/* What names a capability is known to caps.c, which has the last word below. */
static const char *
set_caps(struct emu_dev_config *cfg, const char *val)
{
	if (strlen(val) >= sizeof(cfg->caps))
		return "allowed are 511 characters";
	snprintf(cfg->caps, sizeof(cfg->caps), "%s", val);
	return NULL;
}

/* ---- wires: each takes what follows its name, or not ---- */

static bool
set_no_end(struct emu_dev_config *cfg, const char *val)
{
	(void)cfg;
	return *val == '\0';
}

static bool
set_pair(struct emu_dev_config *cfg, const char *val)
{
	if (!is_name(val))
		return false;
	snprintf(cfg->pair, sizeof(cfg->pair), "%s", val);
	return true;
}

/* A decimal number before @p end. */
static bool
number_field(const char **s, char end, uint32_t min, uint32_t max, uint32_t *val)
{
	unsigned long n;
	char *rest;

	errno = 0;
	n = strtoul(*s, &rest, 10);
	if (!isdigit((unsigned char)**s) || *rest != end || errno != 0 || n < min || n > max)
		return false;
	*val = (uint32_t)n;
	*s = rest + 1;
	return true;
}

static bool
set_gen(struct emu_dev_config *cfg, const char *val)
{
	uint32_t pps, size;

	if (!number_field(&val, ':', 0, EMU_GEN_PPS_MAX, &pps) ||
			!number_field(&val, '\0', EMU_GEN_SIZE_MIN, EMU_FRAME_MAX, &size))
		return false;
	cfg->gen_pps = pps;
	cfg->gen_size = size;
	return true;
}

static bool
set_tap(struct emu_dev_config *cfg, const char *val)
{
	if (!is_name(val) || strlen(val) >= sizeof(cfg->tap))
		return false;
	snprintf(cfg->tap, sizeof(cfg->tap), "%s", val);
	return true;
}

static const char *
set_wire(struct emu_dev_config *cfg, const char *val)
{
	static const struct {
		const char *name;
		enum emu_wire_type type;
		bool (*set)(struct emu_dev_config *cfg, const char *val);
	} wires[] = {
		{ "loop", EMU_WIRE_LOOP, set_no_end },
		{ "null", EMU_WIRE_NULL, set_no_end },
		{ "pair:", EMU_WIRE_PAIR, set_pair },
		{ "gen:", EMU_WIRE_GEN, set_gen },
		{ "tap:", EMU_WIRE_TAP, set_tap },
	};
	size_t i, len;

	cfg->pair[0] = '\0';
	for (i = 0; i < sizeof(wires) / sizeof(wires[0]); i++) {
		len = strlen(wires[i].name);
		if (strncmp(val, wires[i].name, len) != 0 || !wires[i].set(cfg, val + len))
			continue;
		cfg->wire = wires[i].type;
		cfg->wire_given = true;
		return NULL;
	}
	return "allowed are loop, null, pair:NAME (an RDMA device name), gen:PPS:SIZE (0 to "
		"100000000 frames a second, 0: as fast as it goes; 60 to 10000 bytes), tap:IFNAME "
		"(1 to 15 characters)";
}

static const char *
set_max_vqs(struct emu_dev_config *cfg, const char *val)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(val, &end, 10);
	if (!isdigit((unsigned char)val[0]) || *end != '\0' || errno != 0 || n < 1 ||
			n > MAX_MAX_VQS)
		return "allowed is a number from 1 to 65535";
	cfg->max_vqs = (uint32_t)n;
	return NULL;
}

static const char *
set_mac(struct emu_dev_config *cfg, const char *val)
{
	static const char allowed[] = "allowed is a unicast MAC address XX:XX:XX:XX:XX:XX";
	static const uint8_t zero[sizeof(cfg->mac)];
	uint8_t mac[sizeof(cfg->mac)];
	unsigned int i, byte;

	for (i = 0; i < sizeof(mac); i++) {
		if (hex_field(&val, 2, i + 1 < sizeof(mac) ? ':' : '\0', &byte) != 0)
			return allowed;
		mac[i] = (uint8_t)byte;
	}
	if ((mac[0] & 1) != 0 || memcmp(mac, zero, sizeof(mac)) == 0)
		return allowed;
	memcpy(cfg->mac, mac, sizeof(mac));
	return NULL;
}

static const struct {
	const char *key;
	const char *(*set)(struct emu_dev_config *cfg, const char *val);
} keys[] = {
	{ "bdf", set_bdf },
	{ "name", set_name },
	{ "model", set_model },
	{ "caps", set_caps },
	{ "wire", set_wire },
	{ "max_vqs", set_max_vqs },
	{ "mac", set_mac },
};

/* One KEY=VAL. */
static int
set_item(struct emu_dev_config *cfg, char *item, char *err, size_t errlen)
{
	char *val = strchr(item, '=');
	const char *allowed;
	size_t i;

	if (val == NULL) {
		snprintf(err, errlen, "device option '" SHOWN "': allowed is KEY=VALUE with KEY "
			"one of " CONFIG_KEYS, item);
		return -EINVAL;
	}
	*val++ = '\0';
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (strcmp(item, keys[i].key) != 0)
			continue;
		allowed = keys[i].set(cfg, val);
		if (allowed == NULL)
			return 0;
		snprintf(err, errlen, "device option %s=" SHOWN ": %s", item, val, allowed);
		return -EINVAL;
	}
	snprintf(err, errlen, "device option " SHOWN "=" SHOWN ": no such key; allowed are "
		CONFIG_KEYS, item, val);
	return -EINVAL;
}

int
emu_config_parse(struct emu_dev_config *cfg, const char *spec, char *err, size_t errlen)
{
	struct emu_dev_config new = *cfg;
	char copy[SPEC_MAX], why[256];
	char *rest = copy, *item;
	struct emu_caps caps;

	if (strlen(spec) >= sizeof(copy)) {
		snprintf(err, errlen, "device option of %zu characters: allowed are %d",
			strlen(spec), SPEC_MAX - 1);
		return -EINVAL;
	}
	strcpy(copy, spec);
	while (copy[0] != '\0' && (item = strsep(&rest, ",")) != NULL) {
		if (set_item(&new, item, err, errlen) != 0)
			return -EINVAL;
	}
	if (emu_caps_init(&caps, &new, why, sizeof(why)) != 0) {
		snprintf(err, errlen, "device option caps=" SHOWN ": %s", new.caps, why);
		return -EINVAL;
	}
	*cfg = new;
	return 0;
}

/* ---- pairs ---- */

static int
find_name(const struct emu_dev_config *const *cfg, unsigned int n, const char *name)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (strcmp(cfg[i]->name, name) == 0)
			return (int)i;
	}
	return -1;
}

/* Can device @p i have the one that it names, number @p other, at its wire's end? Returns what
 * speaks against it, or NULL. */
static const char *
pair_obstacle(const struct emu_dev_config *const *cfg, const int *peer, unsigned int i, int other)
{
	const struct emu_dev_config *b;

	if (other < 0)
		return "there is no device of that name";
	if (other == (int)i)
		return "a device is not its own pair: that is wire=loop";
	b = cfg[other];
	if (b->wire == EMU_WIRE_PAIR && strcmp(b->pair, cfg[i]->name) != 0)
		return "that device is given another pair";
	if (b->wire != EMU_WIRE_PAIR && b->wire_given)
		return "that device is given another wire";
	if (peer[other] >= 0 && peer[other] != (int)i)
		return "that device is the pair of another one";
	return NULL;
}

int
emu_config_pairs(const struct emu_dev_config *const *cfg, unsigned int n, int *peer, char *err,
		size_t errlen)
{
	const char *obstacle;
	unsigned int i;
	int other;

	for (i = 0; i < n; i++)
		peer[i] = -1;
	for (i = 0; i < n; i++) {
		if (cfg[i]->wire != EMU_WIRE_PAIR)
			continue;
		other = find_name(cfg, n, cfg[i]->pair);
		obstacle = pair_obstacle(cfg, peer, i, other);
		if (obstacle != NULL) {
			snprintf(err, errlen, "device %s: wire=pair:%s: %s", cfg[i]->name,
				cfg[i]->pair, obstacle);
			return -EINVAL;
		}
		peer[i] = other;
		peer[other] = (int)i;
	}
	return 0;
}

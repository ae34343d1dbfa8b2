/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <math.h>

#include "report.h"

/* ---- table ---- */

static void
table_bytes(FILE *out, double bytes)
{
	static const char *const unit[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	unsigned int u = 0;

	for (; bytes >= 1024 && u + 1 < sizeof(unit) / sizeof(unit[0]); u++)
		bytes /= 1024;
	fprintf(out, "%.*f %s", bytes == floor(bytes) ? 0 : 1, bytes, unit[u]);
}

static double
median(const struct series *s)
{
	struct dist d;

	return series_dist(s, &d) == 0 ? d.median : 0;
}

static void
table_dist(FILE *out, const char *name, const struct series *s)
{
	struct dist d;

	if (series_dist(s, &d) == 0)
		fprintf(out, "  %-12s %12.1f %12.1f %12.1f %12.1f\n", name, d.min, d.median, d.p99,
				d.max);
}

static void
table_counters(FILE *out, const struct bench_result *res)
{
	if (!res->counted || res->commands_close.n == 0)
		return;
	fprintf(out, "  commands     %g at close, %g at conf, %g in the background (medians)\n",
			median(&res->commands_close), median(&res->commands_conf),
			median(&res->commands_background));
	fprintf(out, "  pinned       ");
	table_bytes(out, median(&res->pinned_bytes));
	fprintf(out, " an iteration (median)\n");
}

static void
table_plugs(FILE *out, const struct bench_result *res)
{
	if (!res->plugs || res->pinned_add.n == 0)
		return;
	fprintf(out, "  added        ");
	table_bytes(out, median(&res->pinned_add));
	fprintf(out, " pinned, %g commands (medians)\n", median(&res->commands_add));
	if (res->pinned_remove.n == 0)
		return;
	fprintf(out, "  removed      ");
	table_bytes(out, median(&res->pinned_remove));
	fprintf(out, " pinned, %g commands (medians)\n", median(&res->commands_remove));
}

static void
table_packets(FILE *out, const struct bench_result *res)
{
	const struct account_totals *p = &res->packets;

	fprintf(out, "  packets      %" PRIu64 " sent, %" PRIu64 " received, %" PRIu64
			" gone in blackouts\n", p->sent, p->received, p->in_blackout);
	fprintf(out, "               %" PRIu64 " corrupt, %" PRIu64 " lost, %" PRIu64 " duplicated",
			p->corrupt, p->lost, p->duplicated);
	if (p->foreign > 0)
		fprintf(out, "; %" PRIu64 " of somebody else", p->foreign);
	if (res->counted)
		fprintf(out, "; %" PRIu64 " DMA faults", res->dma_faults);
	fputc('\n', out);
}

void
report_table(const struct report *r, FILE *out)
{
	const struct args *a = r->args;
	const struct bench_result *res = r->res;

	fprintf(out, "%s: %s", a->bench->name, r->device);
	if (r->driver != NULL)
		fprintf(out, " (%s)", r->driver);
	fprintf(out, ", ");
	table_bytes(out, a->mem_bytes);
	fprintf(out, " in %u region%s, %u queue pair%s of %u, %s, ",
			a->regions, a->regions == 1 ? "" : "s", a->pairs, a->pairs == 1 ? "" : "s",
			a->queue_size, a->packed ? "packed" : "split");
	if (a->bench->plain)
		fprintf(out, "%u s flat out\n", a->seconds);
	else
		fprintf(out, "%u packets/s, %u iteration%s\n", a->pps, res->iterations,
				res->iterations == 1 ? "" : "s");
	if (res->measured)
		fprintf(out, "  Mpps         %.3f sent, %.3f received%s\n", res->tx_mpps, res->rx_mpps,
				res->one_way ? " (the wire brings nothing back)" : "");
	if (res->iterations > 0)
		fprintf(out, "  %-12s %12s %12s %12s %12s\n", "us", "min", "median", "p99", "max");
	table_dist(out, "close", &res->close_us);
	table_dist(out, "conf", &res->conf_us);
	table_dist(out, "blackout", &res->blackout_us);
	table_dist(out, "downtime", &res->downtime_us);
	if (res->migrated)
		fprintf(out, "  memory       %" PRIu64 " pages differ at the destination\n",
				res->pages_different);
	table_counters(out, res);
	table_plugs(out, res);
	table_packets(out, res);
	if (res->failed[0] != '\0')
		fprintf(out, "  FAILED       %s\n", res->failed);
}

/* ---- JSON ---- */

/* A time in microseconds with one decimal. */
static struct json_object *
json_us(double us)
{
	char text[32];

	snprintf(text, sizeof(text), "%.1f", us);
	return json_object_new_double_s(us, text);
}

static struct json_object *
json_dist(const struct series *s)
{
	struct json_object *o;
	struct dist d;

	if (series_dist(s, &d) != 0)
		return NULL;
	o = json_object_new_object();
	json_object_object_add(o, "min", json_us(d.min));
	json_object_object_add(o, "median", json_us(d.median));
	json_object_object_add(o, "p99", json_us(d.p99));
	json_object_object_add(o, "max", json_us(d.max));
	return o;
}

/* Millions of packets a second. */
static struct json_object *
json_mpps(double mpps)
{
	char text[32];

	snprintf(text, sizeof(text), "%.4f", mpps);
	return json_object_new_double_s(mpps, text);
}

static void
add_throughput(struct json_object *o, const struct bench_result *res)
{
	struct json_object *mpps;

	if (!res->measured)
		return;
	mpps = json_object_new_object();
	json_object_object_add(mpps, "tx", json_mpps(res->tx_mpps));
	json_object_object_add(mpps, "rx", json_mpps(res->rx_mpps));
	json_object_object_add(o, "mpps", mpps);
	json_object_object_add(o, "one_way", json_object_new_boolean(res->one_way));
}

/* The median of counts, null if there are none. */
static struct json_object *
json_count(const struct bench_result *res, const struct series *s)
{
	double m = median(s);

	if (!res->counted || s->n == 0)
		return NULL;
	return m == floor(m) ? json_object_new_uint64(m) : json_object_new_double(m);
}

static struct json_object *
json_commands(const struct bench_result *res)
{
	struct json_object *o;

	if (!res->counted)
		return NULL;
	o = json_object_new_object();
	json_object_object_add(o, "close", json_count(res, &res->commands_close));
	json_object_object_add(o, "conf", json_count(res, &res->commands_conf));
	json_object_object_add(o, "background", json_count(res, &res->commands_background));
	return o;
}

static void
add_plugs(struct json_object *o, const struct bench_result *res)
{
	if (!res->plugs)
		return;
	json_object_object_add(o, "pinned_bytes_add", json_count(res, &res->pinned_add));
	json_object_object_add(o, "pinned_bytes_remove", json_count(res, &res->pinned_remove));
	json_object_object_add(o, "commands_add", json_count(res, &res->commands_add));
	json_object_object_add(o, "commands_remove", json_count(res, &res->commands_remove));
}

static struct json_object *
json_packets(const struct account_totals *p)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "sent", json_object_new_uint64(p->sent));
	json_object_object_add(o, "received", json_object_new_uint64(p->received));
	json_object_object_add(o, "corrupt", json_object_new_uint64(p->corrupt));
	json_object_object_add(o, "lost", json_object_new_uint64(p->lost));
	json_object_object_add(o, "duplicated", json_object_new_uint64(p->duplicated));
	json_object_object_add(o, "in_blackout", json_object_new_uint64(p->in_blackout));
	json_object_object_add(o, "foreign", json_object_new_uint64(p->foreign));
	return o;
}

static void
add_setup(struct json_object *o, const struct report *r)
{
	const struct args *a = r->args;

	json_object_object_add(o, "bench", json_object_new_string(a->bench->name));
	json_object_object_add(o, "device", json_object_new_string(r->device));
	json_object_object_add(o, "driver", r->driver ? json_object_new_string(r->driver) : NULL);
	json_object_object_add(o, "mem_bytes", json_object_new_uint64(a->mem_bytes));
	json_object_object_add(o, "regions", json_object_new_uint64(a->regions));
	json_object_object_add(o, "backing", json_object_new_string(
				a->backing == MEM_HUGETLBFS ? "hugetlbfs" : "memfd"));
	json_object_object_add(o, "queue_pairs", json_object_new_uint64(a->pairs));
	json_object_object_add(o, "queue_size", json_object_new_uint64(a->queue_size));
	json_object_object_add(o, "packed", json_object_new_boolean(a->packed));
	json_object_object_add(o, "pps",
			a->bench->plain ? NULL : json_object_new_uint64(a->pps));
	if (a->bench->starts)
		json_object_object_add(o, "touched", json_object_new_boolean(!a->untouched));
	json_object_object_add(o, "gap_ms", json_object_new_uint64(a->gap_ms));
	json_object_object_add(o, "iterations", json_object_new_uint64(r->res->iterations));
}

int
report_json(const struct report *r, FILE *out)
{
	const struct bench_result *res = r->res;
	struct json_object *o = json_object_new_object();
	int ret = 0;

	if (o == NULL)
		return -ENOMEM;
	add_setup(o, r);
	json_object_object_add(o, "close_us", json_dist(&res->close_us));
	json_object_object_add(o, "conf_us", json_dist(&res->conf_us));
	json_object_object_add(o, "blackout_us", json_dist(&res->blackout_us));
	json_object_object_add(o, "commands", json_commands(res));
	json_object_object_add(o, "pinned_bytes", json_count(res, &res->pinned_bytes));
	add_plugs(o, res);
	add_throughput(o, res);
	if (res->migrated) {
		json_object_object_add(o, "downtime_us", json_dist(&res->downtime_us));
		json_object_object_add(o, "pages_different",
				json_object_new_uint64(res->pages_different));
	}
	json_object_object_add(o, "packets", json_packets(&res->packets));
	json_object_object_add(o, "dma_faults", res->counted ?
			json_object_new_uint64(res->dma_faults) : NULL);
	json_object_object_add(o, "failed", res->failed[0] ?
			json_object_new_string(res->failed) : NULL);
	if (fprintf(out, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_SPACED |
					JSON_C_TO_STRING_NOSLASHESCAPE)) < 0 || fflush(out) != 0)
		ret = -errno;
	json_object_put(o);
	return ret;
}

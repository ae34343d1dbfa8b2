/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "scenarios.h"

#define WORDS_MAX 256

#define FEATURE(name) VHOST_IOTLB_FEATURE(VHOST_BACKEND_F_ ## name)

/*
 * Words.
 */

struct vhost_iotlb *
vhost_iotlb_conf_table_of(struct vhost_iotlb_conf_memory *memory, const char *letters)
{
	struct vhost_iotlb *t = vhost_iotlb_create(VHOST_IOTLB_UNLIMITED, 0);
	struct vhost_iotlb_map map;

	for (; t != NULL && *letters != '\0'; letters++) {
		if (!vhost_iotlb_conf_map_of(memory, *letters, &map) ||
				vhost_iotlb_add(t, &map) < 0) {
			vhost_iotlb_destroy(t);
			return NULL;
		}
	}
	return t;
}

static int
do_open(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what)
{
	(void)asid;
	(void)what;
	return vhost_iotlb_fe_open(run->dev, &run->fe);
}

static int
do_release(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what)
{
	int ret = vhost_iotlb_fe_release(run->fe);

	(void)asid;
	(void)what;
	run->fe = NULL;
	return ret;
}

/* All that is offered, or what is named, with "+" between. */
static int
do_ack(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what)
{
	uint64_t features = 0;

	(void)asid;
	if (*what == '\0')
		features = vhost_iotlb_dev_features(run->dev);
	if (strstr(what, "persist") != NULL)
		features |= FEATURE(IOTLB_PERSIST);
	if (strstr(what, "asid") != NULL)
		features |= FEATURE(IOTLB_ASID);
	if (strstr(what, "desc") != NULL)
		features |= FEATURE(DESC_ASID);
	return vhost_iotlb_fe_set_features(run->fe, features);
}

static int
do_map(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what)
{
	struct vhost_iotlb_map map;
	int ret = 0;

	for (; *what != '\0' && ret == 0; what++) {
		if (!vhost_iotlb_conf_map_of(run->recorder.memory, *what, &map))
			return -ENOSYS;
		ret = vhost_iotlb_fe_map(run->fe, asid, &map);
	}
	return ret;
}

static int
do_unmap(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what)
{
	struct vhost_iotlb_map map;
	int ret = 0;

	for (; *what != '\0' && ret == 0; what++) {
		if (!vhost_iotlb_conf_map_of(run->recorder.memory, *what, &map))
			return -ENOSYS;
		ret = vhost_iotlb_fe_unmap(run->fe, asid, map.start, map.last);
	}
	return ret;
}

static int
do_table(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what)
{
	struct vhost_iotlb *t = vhost_iotlb_conf_table_of(run->recorder.memory, what);
	int ret;

	if (t == NULL)
		return -ENOSYS;
	ret = vhost_iotlb_fe_set_table(run->fe, asid, t, NULL);
	vhost_iotlb_destroy(t);
	return ret;
}

static int
do_begin(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what)
{
	(void)what;
	return vhost_iotlb_fe_batch_begin(run->fe, asid);
}

static int
do_end(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what)
{
	(void)what;
	return vhost_iotlb_fe_batch_end(run->fe, asid);
}

static int
do_bind(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what)
{
	return vhost_iotlb_fe_set_group_asid(run->fe, strtoul(what, NULL, 10), asid);
}

static int
do_reset(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what)
{
	(void)asid;
	(void)what;
	return run->fe != NULL ? vhost_iotlb_fe_reset(run->fe) : vhost_iotlb_dev_reset(run->dev);
}

static int
do_fail(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what)
{
	struct vhost_iotlb_conf_recorder *r = &run->recorder;

	(void)asid;
	return sscanf(what, "%u+%u", &r->fail_at, &r->then_at) > 0 ? 0 : -ENOSYS;
}

int
vhost_iotlb_conf_do(struct vhost_iotlb_conf_run *run, const char *verb, unsigned int asid,
		const char *what)
{
	static const struct {
		const char *verb;
		int (*fn)(struct vhost_iotlb_conf_run *run, unsigned int asid, const char *what);
	} verbs[] = {
		{ "open", do_open }, { "release", do_release }, { "ack", do_ack },
		{ "map", do_map }, { "unmap", do_unmap }, { "table", do_table },
		{ "begin", do_begin }, { "end", do_end }, { "bind", do_bind },
		{ "reset", do_reset }, { "fail", do_fail },
	};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(verbs[i].verb, verb) == 0)
			return verbs[i].fn(run, asid, what);
	return -ENOSYS;
}

int
vhost_iotlb_conf_run_begin(struct vhost_iotlb_conf_run *run, struct vhost_iotlb_conf_memory *memory,
		enum vhost_iotlb_conf_kind kind, unsigned int nas,
		const struct vhost_iotlb_conf_adapter *adapter)
{
	int ret;

	run->dev = NULL;
	run->fe = NULL;
	ret = vhost_iotlb_conf_recorder_begin(&run->recorder, memory, kind, nas, adapter);
	if (ret < 0)
		return ret;
	ret = vhost_iotlb_dev_create(&vhost_iotlb_conf_kinds[kind].ops, &run->recorder, nas,
		&run->dev);
	if (ret < 0)
		vhost_iotlb_conf_recorder_end(&run->recorder);
	return ret;
}

void
vhost_iotlb_conf_run_end(struct vhost_iotlb_conf_run *run)
{
	vhost_iotlb_dev_destroy(run->dev);
	vhost_iotlb_conf_recorder_end(&run->recorder);
}

bool
vhost_iotlb_conf_in_step(const struct vhost_iotlb_conf_run *run)
{
	const struct vhost_iotlb_conf_recorder *r = &run->recorder;
	const struct vhost_iotlb_parent_ops *ops = &vhost_iotlb_conf_kinds[r->kind].ops;

	for (unsigned int group = 0; group < ops->ngroups; group++)
		if (vhost_iotlb_dev_group_asid(run->dev, group) != (int)r->group_asid[group])
			return false;
	if (ops->set_map == NULL && ops->dma_map == NULL)
		return true;
	for (unsigned int asid = 0; asid < vhost_iotlb_dev_nas(run->dev); asid++) {
		const struct vhost_iotlb *t = vhost_iotlb_dev_table(run->dev, asid);

		if (!vhost_iotlb_txn_is_open(t) && !vhost_iotlb_equal(t, r->has[asid]))
			return false;
	}
	return true;
}

/*
 * Scenarios.
 */

/* Why a scenario failed; empty: it did not. */
struct report {
	char why[2 * VHOST_IOTLB_CONF_LOG];
};

static const char *
error_name(int ret)
{
	switch (-ret) {
	case 0: return "success";
	case EIO: return "EIO";
	case EEXIST: return "EEXIST";
	case EINVAL: return "EINVAL";
	case EBUSY: return "EBUSY";
	case EOPNOTSUPP: return "EOPNOTSUPP";
	default: return strerror(-ret);
	}
}

/* One word: VERB[ASID][:WHAT][=ERROR]. Returns whether it came out as it should. */
static bool
run_word(struct vhost_iotlb_conf_run *run, const char *text, struct report *rep)
{
	char word[WORDS_MAX], verb[16] = "", *error, *what;
	const char *wrong, *want, *got;
	unsigned int asid = 0;

	snprintf(word, sizeof(word), "%s", text);
	error = strchr(word, '=');
	if (error != NULL)
		*error++ = '\0';
	what = strchr(word, ':');
	if (what != NULL)
		*what++ = '\0';
	sscanf(word, "%15[a-z]%u", verb, &asid);
	want = error == NULL ? error_name(0) : error;
	got = error_name(vhost_iotlb_conf_do(run, verb, asid, what == NULL ? "" : what));
	if (strcmp(want, got) != 0) {
		snprintf(rep->why, sizeof(rep->why), "\"%s\" gives %s", text, got);
		return false;
	}
	wrong = vhost_iotlb_conf_recorder_check(&run->recorder);
	if (wrong == NULL && !vhost_iotlb_conf_in_step(run))
		wrong = "the table is not what the parent has";
	if (wrong != NULL)
		snprintf(rep->why, sizeof(rep->why), "after \"%s\" %s", text, wrong);
	return wrong == NULL;
}

static void
run_words(struct vhost_iotlb_conf_run *run, const char *front_end, const char *ops,
		struct report *rep)
{
	char words[WORDS_MAX], *word, *save = NULL;

	snprintf(words, sizeof(words), "%s", front_end);
	for (word = strtok_r(words, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
		if (!run_word(run, word, rep))
			return;
	if (strcmp(run->recorder.log, ops) != 0)
		snprintf(rep->why, sizeof(rep->why), "\"%s\" made the parent see \"%s\", not"
			" \"%s\"", front_end, run->recorder.log, ops);
}

/* What the suite is about, for one scenario after the other. */
struct suite {
	const struct vhost_iotlb_conf_adapter *const *adapters;
	size_t n;
	struct vhost_iotlb_conf_result *results;
	struct vhost_iotlb_conf_memory memory;
	FILE *out;
	bool quiet;
	bool told;                                 /* the scenario that is run was printed */
};

/* A line of words that may be none. */
static void
tell_words(FILE *out, const char *name, const char *words)
{
	fprintf(out, "    %-16s %s\n", name, *words == '\0' ? "nothing" : words);
}

/* The scenario itself, unless it was told before. */
static void
tell(struct suite *suite, const struct vhost_iotlb_conf_scenario *s)
{
	if (suite->told)
		return;
	suite->told = true;
	fprintf(suite->out, "%s  %s\n", s->rule, s->what);
	fprintf(suite->out, "    %-16s %s%s, from %s\n", "parent",
		vhost_iotlb_conf_kinds[s->kind].name, s->nas > 1 ? " of two address spaces" : "",
		s->sources);
	tell_words(suite->out, "front-end", s->front_end);
	tell_words(suite->out, "parent sees", s->ops);
}

/* A scenario on one parent: count what came of it, and tell as much as is wanted. */
static void
run_on(struct suite *suite, const struct vhost_iotlb_conf_scenario *s,
		const struct vhost_iotlb_conf_adapter *adapter,
		struct vhost_iotlb_conf_result *result)
{
	struct vhost_iotlb_conf_run run;
	const char *came = "ok";
	struct report rep = { "" };
	int ret;

	ret = vhost_iotlb_conf_run_begin(&run, &suite->memory, s->kind, s->nas, adapter);
	if (ret == 0) {
		run_words(&run, s->front_end, s->ops, &rep);
		vhost_iotlb_conf_run_end(&run);
	} else if (ret != -EOPNOTSUPP) {
		snprintf(rep.why, sizeof(rep.why), "it can't begin: %s", strerror(-ret));
	}
	if (ret == -EOPNOTSUPP) {
		result->left_out++;
		came = "left out";
	} else if (rep.why[0] != '\0') {
		result->failed++;
		came = "FAILED";
	} else {
		result->passed++;
	}
	if (suite->quiet && rep.why[0] == '\0')
		return;
	tell(suite, s);
	fprintf(suite->out, "    %-16s %s%s%s\n", adapter->name, came,
		rep.why[0] == '\0' ? "" : ": ", rep.why);
}

static void
run_one(struct suite *suite, const struct vhost_iotlb_conf_scenario *s)
{
	suite->told = false;
	for (size_t i = 0; i < suite->n; i++)
		run_on(suite, s, suite->adapters[i], &suite->results[i]);
}

/* A front-end meets a kind of parent: a scenario whose acknowledgement depends on the parent. */
static void
run_meeting(struct suite *suite, const struct vhost_iotlb_conf_meeting *m,
		enum vhost_iotlb_conf_kind kind)
{
	const char *p = strchr(m->front_end, 'P');
	char words[WORDS_MAX], what[WORDS_MAX];
	const struct vhost_iotlb_conf_scenario s = { .rule = "C1-C5", .what = what, .kind = kind,
		.nas = 1, .front_end = words, .ops = m->ops[kind], .sources = m->sources };

	snprintf(what, sizeof(what), "a front-end %s", m->what);
	if (p == NULL)
		snprintf(words, sizeof(words), "%s", m->front_end);
	else
		snprintf(words, sizeof(words), "%.*sack:persist%s%s", (int)(p - m->front_end),
			m->front_end, vhost_iotlb_conf_persists(kind) ? "" : "=EINVAL", p + 1);
	run_one(suite, &s);
}

void
vhost_iotlb_conf_run(const struct vhost_iotlb_conf_adapter *const adapters[], size_t n, FILE *out,
		bool quiet, struct vhost_iotlb_conf_result results[])
{
	struct suite suite = { .adapters = adapters, .n = n, .results = results, .out = out,
		.quiet = quiet };

	memset(results, 0, n * sizeof(results[0]));
	if (vhost_iotlb_conf_memory_create(&suite.memory) < 0) {
		fprintf(out, "FAILED: no memory for the scenarios\n");
		for (size_t i = 0; i < n; i++)
			results[i].failed++;
		return;
	}
	for (size_t i = 0; i < vhost_iotlb_conf_nscenarios; i++)
		run_one(&suite, &vhost_iotlb_conf_scenarios[i]);
	for (size_t i = 0; i < vhost_iotlb_conf_nmeetings; i++)
		for (unsigned int kind = 0; kind < VHOST_IOTLB_CONF_KINDS; kind++)
			if (vhost_iotlb_conf_meetings[i].ops[kind] != NULL)
				run_meeting(&suite, &vhost_iotlb_conf_meetings[i], kind);
	vhost_iotlb_conf_memory_destroy(&suite.memory);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fault injection: commands that fail because --fail says so.
 *
 * Rules live as long as the process. Their counts are shared by all devices; one lock guards them.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "core.h"

struct rule {
	int opcode;                /* ANY: every command counts */
	uint64_t at;               /* the command that fails, from 1 */
	uint64_t seen;
	uint8_t status;
	SLIST_ENTRY(rule) next;
};

enum {
	ANY = -1,
	NAME_MAX_LEN = 64,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static SLIST_HEAD(, rule) rules = SLIST_HEAD_INITIALIZER(rules);
static atomic_bool have_rules; /* most runs have none, and pay no lock */

/* A number of the whole string; 0 when it is none. */
static uint64_t
number(const char *s, uint64_t max, int base)
{
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)s[0]))
		return 0;
	errno = 0;
	n = strtoull(s, &end, base);
	return *end == '\0' && errno == 0 && n <= max ? n : 0;
}

/* By name or number; 0 when it is neither. */
static uint8_t
parse_status(const char *s)
{
	unsigned int st;

	for (st = 1; st <= UINT8_MAX; st++) {
		if (strcmp(prm_status_name((uint8_t)st), s) == 0 && strcmp(s, "?") != 0)
			return (uint8_t)st;
	}
	return (uint8_t)number(s, UINT8_MAX, 0);
}

static int
parse(struct rule *r, const char *spec, char *err, size_t errlen)
{
	char copy[3 * NAME_MAX_LEN];
	char *rest = copy, *opcode, *at, *status;

	if (strlen(spec) >= sizeof(copy)) {
		snprintf(err, errlen, "fail: longer than %zu characters", sizeof(copy) - 1);
		return -EINVAL;
	}
	strcpy(copy, spec);
	opcode = strsep(&rest, ":");
	at = strsep(&rest, ":");
	status = rest;
	if (at == NULL) {
		snprintf(err, errlen, "fail=%s: allowed is OPCODE:N[:STATUS]", spec);
		return -EINVAL;
	}
	r->opcode = strcmp(opcode, "any") == 0 ? ANY : prm_opcode_by_name(opcode);
	if (r->opcode < 0 && strcmp(opcode, "any") != 0) {
		snprintf(err, errlen, "fail=%s: no command is named '%s'; allowed are 'any' and "
			"PRM names such as CREATE_MKEY", spec, opcode);
		return -EINVAL;
	}
	r->at = number(at, UINT64_MAX, 10);
	if (r->at == 0) {
		snprintf(err, errlen, "fail=%s: '%s' is no number of a command, counted from 1",
			spec, at);
		return -EINVAL;
	}
	r->status = status != NULL ? parse_status(status) : MLX5_CMD_STAT_INT_ERR;
	if (r->status == MLX5_CMD_STAT_OK) {
		snprintf(err, errlen, "fail=%s: '%s' is no failure; allowed are PRM names such as "
			"BAD_PARAM_ERR and numbers from 1 to 255", spec, status);
		return -EINVAL;
	}
	return 0;
}

int
emu_fail_add(const char *spec, char *err, size_t errlen)
{
	struct rule *r = calloc(1, sizeof(*r));
	int ret;

	if (r == NULL) {
		snprintf(err, errlen, "fail=%s: out of memory", spec);
		return -ENOMEM;
	}
	ret = parse(r, spec, err, errlen);
	if (ret != 0) {
		free(r);
		return ret;
	}
	pthread_mutex_lock(&lock);
	SLIST_INSERT_HEAD(&rules, r, next);
	pthread_mutex_unlock(&lock);
	atomic_store(&have_rules, true);
	return 0;
}

uint8_t
emu_fail_check(uint16_t opcode)
{
	uint8_t status = 0;
	struct rule *r;

	if (!atomic_load_explicit(&have_rules, memory_order_relaxed))
		return 0;
	pthread_mutex_lock(&lock);
	SLIST_FOREACH(r, &rules, next) {
		if (r->opcode != ANY && r->opcode != opcode)
			continue;
		if (++r->seen == r->at)
			status = r->status;
	}
	pthread_mutex_unlock(&lock);
	return status;
}

void
emu_fail_fork(enum emu_fork when)
{
	struct rule *r;

	if (when == EMU_FORK_PREPARE) {
		pthread_mutex_lock(&lock);
		return;
	}
	while (when == EMU_FORK_CHILD && (r = SLIST_FIRST(&rules)) != NULL) {
		SLIST_REMOVE_HEAD(&rules, next);
		free(r);
	}
	if (when == EMU_FORK_CHILD)
		atomic_store(&have_rules, false);
	pthread_mutex_unlock(&lock);
}

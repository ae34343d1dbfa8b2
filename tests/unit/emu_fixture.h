/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the device model share: a device on a host made of one array, and commands.
 *
 * Every helper that says "must" fails the test when the device refuses.
 */
#ifndef EMU_FIXTURE_H
#define EMU_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <json-c/json.h>

#include <core.h>
#include <emu.h>

/* The host's memory lies at this bus address. */
#define HOST_BUS UINT64_C(0x700000000000)

enum {
	HOST_BYTES = 64 * EMU_PAGE,
	MAILBOX_BYTES = 64 * 1024,
};

struct fake_host {
	uint8_t mem[HOST_BYTES];
	/* Every bus address is memory, and reads as the address itself. */
	bool echo;
	/* A page that was unpinned, 0: none. */
	uint64_t gone;
	unsigned int calls;
	uint64_t bus;              /* of the last call */
	uint32_t len;
};

struct fixture {
	struct emu_dev *dev;
	struct fake_host host;
	uint32_t syndrome;         /* of the last command */
	uint8_t in[MAILBOX_BYTES], out[MAILBOX_BYTES];
};

/** A device made of the default configuration with @p spec on top. */
struct fixture *fixture_new(const char *spec);
void fixture_free(struct fixture *fx);
/** The same as cmocka's setup and teardown, with no spec. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/** Zero the input mailbox and write opcode and uid. */
void *cmd_begin(struct fixture *fx, uint16_t opcode, uint16_t uid);
/** Execute what is in the input mailbox. Returns the status; the output mailbox is the answer. */
uint8_t cmd_run(struct fixture *fx, size_t inlen, size_t outlen);

uint16_t must_create_uctx(struct fixture *fx);
uint8_t destroy_uctx(struct fixture *fx, uint16_t uid);
uint32_t must_alloc_pd(struct fixture *fx, uint16_t uid);
uint32_t must_alloc_uar(struct fixture *fx, uint16_t uid);
/** Any command that names what goes by the 24 bits from 0x48 on: all DEALLOC_ and DESTROY_ but of
 * user contexts and general objects. */
uint8_t destroy(struct fixture *fx, uint16_t opcode, uint16_t uid, uint32_t id);

/** A number of the report, by its path: "dma.faults". */
int64_t report_number(const char *path);
/** The report; the caller puts it. */
struct json_object *report(void);

#endif /* EMU_FIXTURE_H */

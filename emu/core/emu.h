/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * emu/core: a ConnectX in software, seen from a face.
 *
 * Owns: the public interface of the device model. A face (the rdma-core ABI in emu/verbs; later a
 * device server, a PCI function) plays what sits between a program and the card: the kernel driver.
 * It pins memory, executes commands, maps BAR pages to the program and hands events on. The core
 * plays the card: it sees bus addresses, mailboxes and doorbell pages, nothing else. It includes
 * neither libibverbs nor DPDK and never assumes that it lives in the program's process.
 *
 * Threads: every function may be called from any thread unless it says otherwise.
 */
#ifndef EMU_H
#define EMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct emu_dev;

/*
 * Host memory, as a device reaches it. The only way of the core to touch it.
 *
 * A bus address is what an IOMMU would hand to the card: 64 bits, meaningful for this host alone,
 * contiguous over a pinned range, never reused while the process lives. The bus address of a range
 * equals its virtual address modulo 1 GiB, so that one device page may be as large as that.
 */
struct emu_host_ops {
	/* Pin [addr, addr + len) of the program. Writing needs EMU_PIN_WRITE. Called by faces. The pages
	 * that are pinned now are what the bus range means from here on, whatever is mapped at addr later.
	 * Returns 0 and *bus, or -EFAULT (not mapped, wrong permission), -ENOMEM, -EPERM. */
	int (*pin)(void *host, uint64_t addr, uint64_t len, unsigned int flags, uint64_t *bus);
	/* Unpin a whole range by the bus address that pin() gave. Waits for accesses under way. */
	void (*unpin)(void *host, uint64_t bus);
	/* The device's thread is about to work: accesses follow. May be NULL. */
	void (*begin)(void *host);
	/* DMA. Accesses of 2, 4 or 8 naturally aligned bytes are single copies; all accesses of a thread
	 * appear to the host in program order (a read acquires, a write releases).
	 * Returns 0, or -EFAULT when a byte of the range is not pinned, not writable, or its page is gone. */
	int (*read)(void *host, uint64_t bus, void *dst, uint32_t len);
	int (*write)(void *host, uint64_t bus, const void *src, uint32_t len);
	/* Set bits of a byte that others change meanwhile: one indivisible access, that none before it
	 * is reordered with. Returns likewise. */
	int (*set_bits)(void *host, uint64_t bus, uint8_t bits);
};

#define EMU_PIN_WRITE 0x1u

/* What a device is made of: one --device option of mlx5-emu-run. */
enum emu_wire_type {
	EMU_WIRE_LOOP, EMU_WIRE_NULL, EMU_WIRE_PAIR, EMU_WIRE_GEN, EMU_WIRE_TAP
};

struct emu_dev_config {
	char bdf[16];              /* "0000:e1:00.2" */
	char name[64];             /* RDMA device name, "mlx5_0" */
	char model[16];            /* of a struct emu_model */
	char caps[512];            /* "-freeze_to_rdy_supported:+..." */
	enum emu_wire_type wire;
	bool wire_given;           /* by an option: no other device may take this one as its pair */
	char pair[64];             /* name of the device at the other end, with EMU_WIRE_PAIR */
	uint32_t gen_pps, gen_size; /* frames a second, 0: as fast as it goes; bytes; with EMU_WIRE_GEN */
	char tap[16];              /* network interface, with EMU_WIRE_TAP */
	uint32_t max_vqs;
	uint8_t mac[6];
};

/* In what the models of cards differ (model.c has the sources). */
struct emu_model {
	const char *name;          /* as in model= */
	const char *fw_ver;
	uint8_t steering_format_version;
};

/** The model of that name, or NULL. */
const struct emu_model *emu_model_find(const char *name);

/** Fill @p cfg with the defaults of device number @p index (0, 1, ...). */
void emu_config_default(struct emu_dev_config *cfg, unsigned int index);

/** Apply KEY=VAL[,KEY=VAL]... on top of what @p cfg holds.
 * Returns 0, or -EINVAL with one line in @p err that names the key, the value and what is allowed. */
int emu_config_parse(struct emu_dev_config *cfg, const char *spec, char *err, size_t errlen);

/**
 * Find who is at the other end of each wire of @p n devices that will share a process: peer[i] gets
 * the number of device i's pair, or -1. One of two may name the other, if that one's wire was not
 * given.
 * Returns 0, or -EINVAL with one line in @p err that names the device and what is wrong.
 */
int emu_config_pairs(const struct emu_dev_config *const *cfg, unsigned int n, int *peer, char *err,
		size_t errlen);

/* An event queue entry. */
struct emu_event {
	uint16_t type;             /* MLX5_EVENT_TYPE_* */
	uint16_t obj_type;         /* general object type for OBJECT_CHANGE, else 0 */
	uint32_t obj_id;           /* cqn, qpn or general object id */
	uint8_t subtype;
};

/* Delivers an event to the face. Called from the device's thread or from within emu_cmd(), with device
 * locks held: it must not block and not call into the core. */
typedef void (*emu_event_fn)(void *arg, const struct emu_event *ev);

/** Create a device and start its thread. @p host and @p arg outlive it.
 * Returns 0, -EINVAL (caps), -ENOMEM or another negative errno. */
int emu_dev_create(const struct emu_dev_config *cfg, const struct emu_host_ops *ops, void *host,
		emu_event_fn event, void *arg, struct emu_dev **dev);

/** Stop the device's thread and free it, with whatever objects are left. */
void emu_dev_destroy(struct emu_dev *dev);

const struct emu_dev_config *emu_dev_config(const struct emu_dev *dev);

/**
 * Connect the wires that are pairs, when all devices are there and nobody uses them yet.
 * Returns 0, -EINVAL with one line in @p err (emu_config_pairs()), or -ENOMEM, likewise.
 */
int emu_devs_connect(struct emu_dev *const *devs, unsigned int n, char *err, size_t errlen);

/**
 * Execute one firmware command. @p in and @p out are PRM mailboxes (big-endian). Length, opcode, uid
 * and fields are checked like firmware does; status and syndrome are in @p out.
 * Returns the status (MLX5_CMD_STAT_*, 0 = OK), or -EINVAL if there is no room for a header.
 */
int emu_cmd(struct emu_dev *dev, const void *in, size_t inlen, void *out, size_t outlen);

/*
 * The device's BAR, a memfd whose pages a face maps into programs: UAR page n (4 KiB) lies at n * 4096,
 * the virtio doorbell area at the capability doorbell_bar_offset.
 */
int emu_dev_bar_fd(const struct emu_dev *dev);
/** Offset and length of the virtio doorbell area in the BAR, and the length of one VAR in it. */
void emu_dev_doorbell_area(const struct emu_dev *dev, uint64_t *offset, uint64_t *length,
		uint64_t *var_length);
/* The word at the start of a VAR while nothing was rung: no queue has this index. A face writes it when
 * it gives a VAR back. */
#define EMU_DOORBELL_IDLE UINT32_MAX

/* ---- accounting: one report for the process, over all its devices ---- */

/** Count an object of the face (a VAR, an event channel) as alive or gone. @p type is a literal. */
void emu_alive_add(const char *type, int delta);
/**
 * From here on, until it is called with false, what the calling thread counts as gone is what a
 * program left behind when it closed its device: the report names it as reclaimed.
 */
void emu_reclaim(bool on);
/** Count a pin (bytes > 0, time it took) or an unpin (bytes < 0). */
void emu_pins_add(int64_t bytes, uint64_t ns);
/** Print the report object (interfaces.md) on one line. */
void emu_report_print(FILE *out);
/** Open the command trace: what is traced goes behind what the file has, for processes may share it.
 * Returns 0 or a negative errno. */
int emu_trace_open(const char *path);
/** Write a mark into an open trace: what follows belongs to this phase of the program. */
void emu_trace_mark(const char *phase);
/** Charge commands the time of a real card: "cx6dx", or "none" (default). Before devices are created.
 * Returns 0 or -EINVAL with one line in @p err. */
int emu_latency_set(const char *profile, char *err, size_t errlen);
/** Add a failure "OPCODE:N[:STATUS]". Returns 0 or -EINVAL with one line in @p err. */
int emu_fail_add(const char *spec, char *err, size_t errlen);

/*
 * A fork() copies what all threads hold, and goes on with one of them. The books, the rules of
 * failure and the trace are at rest meanwhile (PREPARE, then PARENT in the old process). In the
 * new one (CHILD) they start over: it has no device, reports what it does itself, and has neither
 * rules nor a trace until it asks for them. The old process's devices are of no use in it.
 */
enum emu_fork { EMU_FORK_PREPARE, EMU_FORK_PARENT, EMU_FORK_CHILD };
void emu_fork(enum emu_fork when);

#endif /* EMU_H */

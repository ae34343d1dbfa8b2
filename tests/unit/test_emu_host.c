/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host memory of the in-process device: what a pin means, and that DMA survives whatever the
 * program does to its mappings and files.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host.h"

enum {
	PAGE = 4096,
	HUGE = 2 << 20,
	THREADS = 4,
	ROUNDS = 200,
};

#define GIB (UINT64_C(1) << 30)

static struct emu_host *host;
static const struct emu_host_ops *ops = &emu_host_ops;

/* What the core counts; here, for the tests. */
static _Atomic int64_t pinned;
static atomic_uint pin_calls;

void
emu_pins_add(int64_t bytes, uint64_t ns)
{
	(void)ns;
	pinned += bytes;
	pin_calls++;
}

static int
setup(void **state)
{
	(void)state;
	pinned = 0;
	pin_calls = 0;
	return emu_host_create(&host);
}

static int
teardown(void **state)
{
	(void)state;
	emu_host_destroy(host);
	host = NULL;
	return pinned == 0 ? 0 : -1;
}

static int
memfd(size_t len)
{
	int fd = memfd_create("test_emu_host", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	return fd;
}

static uint8_t *
map(int fd, size_t len, int prot, int flags)
{
	uint8_t *p = mmap(NULL, len, prot, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* Put a file in the place of whatever is at an address. */
static void
map_at(uint8_t *addr, int fd, size_t len)
{
	void *p = mmap(addr, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);

	assert_ptr_equal(p, addr);
}

static uint64_t
pin(const void *addr, uint64_t len, unsigned int flags)
{
	uint64_t bus = 0;

	assert_int_equal(ops->pin(host, (uintptr_t)addr, len, flags, &bus), 0);
	assert_int_equal(bus % GIB, (uintptr_t)addr % GIB);
	return bus;
}

static void
put(uint64_t bus, uint64_t val)
{
	assert_int_equal(ops->write(host, bus, &val, sizeof(val)), 0);
}

static uint64_t
get(uint64_t bus)
{
	uint64_t val = 0;

	assert_int_equal(ops->read(host, bus, &val, sizeof(val)), 0);
	return val;
}

static uint64_t
word(const void *p)
{
	uint64_t val;

	memcpy(&val, p, sizeof(val));
	return val;
}

/* ---- what DMA reaches ---- */

static void
test_private_memory(void **state)
{
	uint8_t *p = map(-1, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint8_t pattern[3 * PAGE], back[sizeof(pattern)];
	uint64_t bus;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + i / 256);
	/* The pages are pinned whole, and the bus address is that of the byte asked for. */
	bus = pin(p + 100, 3 * PAGE, EMU_PIN_WRITE);
	assert_int_equal(pinned, 4 * PAGE);
	assert_int_equal(ops->write(host, bus + 1, pattern, sizeof(pattern)), 0);
	assert_memory_equal(p + 101, pattern, sizeof(pattern));
	assert_int_equal(ops->read(host, bus + 1, back, sizeof(back)), 0);
	assert_memory_equal(back, pattern, sizeof(back));
	ops->unpin(host, bus);
	assert_int_equal(pinned, 0);
	assert_int_equal(pin_calls, 2);
	munmap(p, 4 * PAGE);
}

static void
test_range_is_checked(void **state)
{
	uint8_t *p = map(-1, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint8_t buf[2 * PAGE] = { 0 };
	uint64_t bus;

	(void)state;
	/* Before there was ever a pin: address 0 is nobody's. */
	assert_int_equal(ops->read(host, 0, buf, 8), -EFAULT);
	bus = pin(p + PAGE, 2 * PAGE, EMU_PIN_WRITE);
	assert_int_equal(ops->read(host, bus, buf, 2 * PAGE), 0);
	assert_int_equal(ops->read(host, bus + 1, buf, 2 * PAGE), -EFAULT);
	assert_int_equal(ops->read(host, bus - 1, buf, 1), -EFAULT);
	assert_int_equal(ops->read(host, bus + 2 * PAGE, buf, 1), -EFAULT);
	assert_int_equal(ops->write(host, bus + 2 * PAGE - 4, buf, 8), -EFAULT);
	assert_int_equal(ops->read(host, UINT64_MAX - 7, buf, 8), -EFAULT);
	ops->unpin(host, bus);
	assert_int_equal(ops->read(host, bus, buf, 8), -EFAULT);
	assert_int_equal(ops->read(host, 0, buf, 8), -EFAULT);
	munmap(p, 4 * PAGE);
}

static void
test_read_only_pin_is_not_written(void **state)
{
	uint8_t *p = map(-1, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint64_t bus = pin(p, PAGE, 0), val = 1;

	(void)state;
	assert_int_equal(ops->write(host, bus, &val, sizeof(val)), -EFAULT);
	assert_int_equal(get(bus), 0);
	ops->unpin(host, bus);
	munmap(p, PAGE);
}

static void
test_shared_memory_remapped_after_pin(void **state)
{
	int fd = memfd(4 * PAGE), other = memfd(4 * PAGE);
	uint8_t *p = map(fd, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED), *q;
	uint64_t bus = pin(p, 4 * PAGE, EMU_PIN_WRITE);

	(void)state;
	put(bus, 1);
	assert_int_equal(word(p), 1);
	/* Other memory at the address: the device stays with the old pages. */
	map_at(p, other, 4 * PAGE);
	put(bus + PAGE, 2);
	assert_int_equal(word(p + PAGE), 0);
	/* And with nothing at the address. */
	munmap(p, 4 * PAGE);
	put(bus + 2 * PAGE, 3);
	q = map(fd, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	assert_int_equal(word(q), 1);
	assert_int_equal(word(q + PAGE), 2);
	assert_int_equal(word(q + 2 * PAGE), 3);
	assert_int_equal(get(bus + PAGE), 2);
	ops->unpin(host, bus);
	munmap(q, 4 * PAGE);
	close(fd);
	close(other);
}

static void
test_range_of_several_mappings(void **state)
{
	/* shared | private | shared, contiguous; then the program takes all of it away. */
	uint8_t *p = map(-1, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint8_t pattern[4 * PAGE], back[sizeof(pattern)];
	int a = memfd(2 * PAGE), b = memfd(2 * PAGE);
	uint8_t *ma, *mb;
	uint64_t bus;

	(void)state;
	map_at(p, a, 2 * PAGE);
	map_at(p + 4 * PAGE, b, 2 * PAGE);
	bus = pin(p, 6 * PAGE, EMU_PIN_WRITE);
	memset(pattern, 0x5a, sizeof(pattern));
	assert_int_equal(ops->write(host, bus + PAGE, pattern, sizeof(pattern)), 0);
	assert_memory_equal(p + PAGE, pattern, sizeof(pattern));
	assert_int_equal(ops->read(host, bus + PAGE, back, sizeof(back)), 0);
	assert_memory_equal(back, pattern, sizeof(back));

	munmap(p, 6 * PAGE);
	/* The private part has no second mapping: gone with the program's. */
	assert_int_equal(ops->read(host, bus + 2 * PAGE, back, 8), -EFAULT);
	ma = map(a, 2 * PAGE, PROT_READ, MAP_SHARED);
	mb = map(b, 2 * PAGE, PROT_READ, MAP_SHARED);
	put(bus + 2 * PAGE - 8, 7);
	put(bus + 4 * PAGE, 8);
	assert_int_equal(word(ma + 2 * PAGE - 8), 7);
	assert_int_equal(word(mb), 8);
	ops->unpin(host, bus);
	munmap(ma, 2 * PAGE);
	munmap(mb, 2 * PAGE);
	close(a);
	close(b);
}

static void
test_range_across_units(void **state)
{
	/* Bus addresses are kept in units of 1 GiB; little of it is touched. */
	uint64_t len = 2 * GIB + 3 * PAGE, at;
	int fd = memfd(len + GIB);
	uint8_t *p = map(fd, len + GIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE);
	uint8_t *edge = (uint8_t *)(((uintptr_t)p + GIB - 1) / GIB * GIB), pattern[2 * PAGE];
	uint64_t bus;

	(void)state;
	memset(pattern, 0xa5, sizeof(pattern));
	bus = pin(edge - PAGE, 2 * PAGE, EMU_PIN_WRITE);
	assert_int_equal(ops->write(host, bus, pattern, sizeof(pattern)), 0);
	assert_memory_equal(edge - PAGE, pattern, sizeof(pattern));
	for (at = 0; at < 2 * PAGE; at += PAGE / 2)
		assert_int_equal(get(bus + at), UINT64_C(0xa5a5a5a5a5a5a5a5));
	assert_int_equal(ops->read(host, bus - 8, pattern, 8), -EFAULT);
	assert_int_equal(ops->read(host, bus + 2 * PAGE, pattern, 8), -EFAULT);
	ops->unpin(host, bus);
	munmap(p, len + GIB);
	close(fd);
}

static void
test_hugetlbfs(void **state)
{
	int fd = memfd_create("test_emu_host", MFD_CLOEXEC | MFD_HUGETLB);
	uint8_t *p, *q;
	uint64_t bus;

	(void)state;
	if (fd < 0 || ftruncate(fd, 2 * HUGE) != 0)
		skip();
	p = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		close(fd);
		skip();
	}
	/* A part that starts and ends inside of pages. */
	bus = pin(p + PAGE, 2 * HUGE - 2 * PAGE, EMU_PIN_WRITE);
	put(bus, 1);
	assert_int_equal(word(p + PAGE), 1);
	if (geteuid() == 0) {
		munmap(p, 2 * HUGE);
		put(bus + HUGE, 2);
		q = map(fd, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED);
		assert_int_equal(word(q + PAGE), 1);
		assert_int_equal(word(q + HUGE + PAGE), 2);
		munmap(q, 2 * HUGE);
	} else {
		munmap(p, 2 * HUGE);
	}
	ops->unpin(host, bus);
	close(fd);
}

/* ---- checking mode: pages that have left their file ---- */

/* False where page frame numbers are not shown. */
static bool
check_orphans(void)
{
	int rc = emu_host_check_orphans(host);

	assert_true(rc == 0 || (rc == -EPERM && geteuid() != 0));
	return rc == 0;
}

static void
punch(int fd, size_t off, size_t len)
{
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
		(off_t)len), 0);
}

static void
refused(uint64_t bus)
{
	uint64_t val = 1;

	assert_int_equal(ops->read(host, bus, &val, sizeof(val)), -EFAULT);
	assert_int_equal(ops->write(host, bus, &val, sizeof(val)), -EFAULT);
}

/* Pages of a file behind the middle one of three: @p page bytes each. */
static void
hole_is_a_fault(int fd, size_t page)
{
	uint8_t *p = map(fd, 3 * page, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t bus = pin(p, 3 * page, EMU_PIN_WRITE), again;
	uint8_t buf[64] = { 1 };
	struct stat st;

	put(bus + page, 9);
	assert_int_equal(get(bus + 3 * page - 8), 0);
	punch(fd, page, page);
	refused(bus + page);
	refused(bus + 2 * page - 8);
	/* Refusing takes no page from the file system. */
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_blocks * 512, 2 * page);
	/* An access that touches it with one byte is refused whole. */
	assert_int_equal(ops->write(host, bus + page - sizeof(buf) + 1, buf, sizeof(buf)), -EFAULT);
	assert_int_equal(word(p + page - sizeof(buf) + 1), 0);
	/* What is left goes on. */
	put(bus, 3);
	put(bus + 2 * page, 4);
	assert_int_equal(word(p), 3);
	assert_int_equal(word(p + 2 * page), 4);
	/* Another page in its place is not the one that was pinned. */
	memset(p + page, 7, 8);
	refused(bus + page);
	/* A pin of what is there now reaches it. */
	again = pin(p, 3 * page, EMU_PIN_WRITE);
	put(again + page, 11);
	assert_int_equal(word(p + page), 11);
	refused(bus + page);
	ops->unpin(host, again);
	ops->unpin(host, bus);
	munmap(p, 3 * page);
}

static void
test_a_hole_is_a_fault_in_checking_mode(void **state)
{
	int fd = memfd(3 * PAGE);

	(void)state;
	if (!check_orphans())
		skip();
	hole_is_a_fault(fd, PAGE);
	close(fd);
}

static void
test_a_hole_in_hugetlbfs_is_a_fault_in_checking_mode(void **state)
{
	int fd = memfd_create("test_emu_host", MFD_CLOEXEC | MFD_HUGETLB);
	void *p;

	(void)state;
	/* The page in the hole's place is a fourth: the pin keeps the one that left. */
	if (fd < 0 || ftruncate(fd, 4 * HUGE) != 0 || !check_orphans())
		skip();
	p = mmap(NULL, 4 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		close(fd);
		skip();
	}
	munmap(p, 4 * HUGE);
	hole_is_a_fault(fd, HUGE);
	close(fd);
}

static void
test_pages_of_all_kinds_pass_in_checking_mode(void **state)
{
	int fd = memfd(8 * PAGE);
	uint8_t *q, *p, pattern[6 * PAGE], back[sizeof(pattern)] = {0};
	uint64_t bus;

	(void)state;
	if (!check_orphans())
		skip();
	/* Shared, then private memory, from within a page on; neither was touched. */
	p = map(-1, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	map_at(p, fd, 4 * PAGE);
	bus = pin(p + PAGE + 100, sizeof(pattern), EMU_PIN_WRITE);
	memset(pattern, 0x5a, sizeof(pattern));
	assert_int_equal(ops->write(host, bus, pattern, sizeof(pattern)), 0);
	assert_int_equal(ops->read(host, bus, back, sizeof(back)), 0);
	assert_memory_equal(back, pattern, sizeof(back));
	/* Mapping something else there takes no page from the file. */
	q = map(fd, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	map_at(p, fd, PAGE);
	put(bus, 1);
	assert_int_equal(word(q + PAGE + 100), 1);
	ops->unpin(host, bus);
	/* Where nothing may be written pages are locked, not pinned: those are not checked. */
	assert_int_equal(mprotect(q, 8 * PAGE, PROT_READ), 0);
	bus = pin(q, PAGE, 0);
	punch(fd, 0, PAGE);
	assert_int_equal(get(bus), 0);
	ops->unpin(host, bus);
	munmap(q, 8 * PAGE);
	munmap(p, 8 * PAGE);
	close(fd);
}

static void
test_a_file_that_was_cut_off_and_grew_is_another_in_checking_mode(void **state)
{
	int fd = memfd(4 * PAGE);
	uint8_t *p = map(fd, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t bus;

	(void)state;
	if (!check_orphans())
		skip();
	bus = pin(p, 4 * PAGE, EMU_PIN_WRITE);
	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	refused(bus + 2 * PAGE);
	assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
	memset(p + 2 * PAGE, 1, PAGE);
	refused(bus + 2 * PAGE);
	put(bus + PAGE, 5);
	ops->unpin(host, bus);
	munmap(p, 4 * PAGE);
	close(fd);
}

/* ---- memory that goes away ---- */

static void
test_truncated_file_faults(void **state)
{
	int fd = memfd(4 * PAGE), i;
	uint8_t *p = map(fd, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED), buf[2 * PAGE] = { 1 };
	uint64_t bus = pin(p, 4 * PAGE, EMU_PIN_WRITE);

	(void)state;
	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(ops->read(host, bus + 2 * PAGE, buf, 8), -EFAULT);
		assert_int_equal(ops->write(host, bus + 3 * PAGE + 4, buf, 2), -EFAULT);
		assert_int_equal(ops->write(host, bus + PAGE, buf, sizeof(buf)), -EFAULT);
	}
	/* What is left goes on. */
	put(bus + PAGE, 5);
	assert_int_equal(word(p + PAGE), 5);
	ops->unpin(host, bus);
	munmap(p, 4 * PAGE);
	close(fd);
}

static void
test_punched_hole_does_not_crash(void **state)
{
	int fd = memfd(2 * PAGE);
	uint8_t *p = map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t bus = pin(p, 2 * PAGE, EMU_PIN_WRITE);

	(void)state;
	put(bus, 9);
	/* The second mapping follows the file: a card would keep the orphan. */
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), 0);
	assert_int_equal(get(bus), 0);
	put(bus, 10);
	ops->unpin(host, bus);
	munmap(p, 2 * PAGE);
	close(fd);
}

static void
test_unmapped_private_memory_faults(void **state)
{
	uint8_t *p = map(-1, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint64_t bus = pin(p, PAGE, EMU_PIN_WRITE), val = 1;

	(void)state;
	munmap(p, PAGE);
	assert_int_equal(ops->read(host, bus, &val, sizeof(val)), -EFAULT);
	assert_int_equal(ops->write(host, bus, &val, sizeof(val)), -EFAULT);
	ops->unpin(host, bus);
}

static sigjmp_buf program_env;
static volatile sig_atomic_t program_handled;

static void
program_handler(int sig)
{
	program_handled = sig;
	siglongjmp(program_env, 1);
}

/* A program's handler that was installed after the last pin. */
static void
test_the_guard_comes_back_over_handlers_of_the_program(void **state)
{
	int fd = memfd(2 * PAGE);
	uint8_t *p = map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t bus = pin(p, 2 * PAGE, EMU_PIN_WRITE), val = 1;
	struct sigaction sa = { .sa_handler = SIG_DFL };
	void (*before)(int sig);

	(void)state;
	assert_int_equal(sigaction(SIGBUS, &sa, NULL), 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	ops->begin(host);
	assert_int_equal(ops->write(host, bus + PAGE, &val, sizeof(val)), -EFAULT);
	/* And one that puts back what it found, by signal(), which knows no SA_SIGINFO. */
	before = signal(SIGBUS, program_handler);
	signal(SIGBUS, before);
	ops->begin(host);
	assert_int_equal(ops->write(host, bus + PAGE, &val, sizeof(val)), -EFAULT);
	ops->unpin(host, bus);
	munmap(p, 2 * PAGE);
	close(fd);
}

static void
test_other_faults_are_the_programs(void **state)
{
	struct sigaction sa = { .sa_handler = program_handler }, old;
	int fd = memfd(PAGE);
	uint8_t *p = map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t bus, val;
	volatile int i;

	(void)state;
	sigaction(SIGBUS, &sa, &old);
	/* A pin finds the program's handler in the place of ours, and puts itself before it. */
	bus = pin(p, PAGE, EMU_PIN_WRITE);
	for (i = 0; i < 20; i++) {
		program_handled = 0;
		if (sigsetjmp(program_env, 1) == 0)
			*(volatile uint8_t *)(p + PAGE) = 1;
		assert_int_equal(program_handled, SIGBUS);
	}
	program_handled = 0;
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ops->read(host, bus, &val, sizeof(val)), -EFAULT);
	assert_int_equal(program_handled, 0);
	ops->unpin(host, bus);
	sigaction(SIGBUS, &old, NULL);
	munmap(p, 2 * PAGE);
	close(fd);
}

static struct sigaction passed_to;

/* As DPDK's does for devices that are unplugged. */
static void
passing_handler(int sig, siginfo_t *info, void *ucontext)
{
	passed_to.sa_sigaction(sig, info, ucontext);
}

static void
test_handlers_that_pass_on_in_a_circle_end(void **state)
{
	struct sigaction sa = { .sa_sigaction = passing_handler, .sa_flags = SA_SIGINFO };
	int status = 0;
	uint64_t bus;
	uint8_t *p;
	pid_t child;

	(void)state;
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int fd = memfd(PAGE);

		p = map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
		/* Ours is installed; then one that passes on to it; then ours before that. */
		ops->pin(host, (uintptr_t)p, PAGE, EMU_PIN_WRITE, &bus);
		sigaction(SIGBUS, &sa, &passed_to);
		if (ops->pin(host, (uintptr_t)p, PAGE, EMU_PIN_WRITE, &bus) == 0)
			*(volatile uint8_t *)(p + PAGE) = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
}

static void *
fault_with_signals_blocked(void *arg)
{
	uint64_t *bus = arg, val;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	return (void *)(intptr_t)ops->read(host, *bus, &val, sizeof(val));
}

static void
test_fault_in_thread_that_blocks_signals(void **state)
{
	int fd = memfd(PAGE);
	uint8_t *p = map(fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t bus = pin(p, PAGE, EMU_PIN_WRITE);
	pthread_t t;
	void *rc;

	(void)state;
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(pthread_create(&t, NULL, fault_with_signals_blocked, &bus), 0);
	pthread_join(t, &rc);
	assert_int_equal((intptr_t)rc, -EFAULT);
	ops->unpin(host, bus);
	munmap(p, PAGE);
	close(fd);
}

/* ---- bits of a byte that is not the device's alone ---- */

static void
test_bits_are_set_beside_those_that_are(void **state)
{
	int fd = memfd(2 * PAGE);
	uint8_t *p = map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t bus = pin(p, 2 * PAGE, EMU_PIN_WRITE), readable;

	(void)state;
	p[2 * PAGE - 1] = 0x41;
	assert_int_equal(ops->set_bits(host, bus + 2 * PAGE - 1, 0x12), 0);
	assert_int_equal(p[2 * PAGE - 1], 0x53);
	assert_int_equal(p[2 * PAGE - 2], 0);
	assert_int_equal(ops->set_bits(host, bus + 2 * PAGE, 0x12), -EFAULT);
	assert_int_equal(ops->set_bits(host, bus - 1, 0x12), -EFAULT);
	readable = pin(p, PAGE, 0);
	assert_int_equal(ops->set_bits(host, readable, 0x12), -EFAULT);
	assert_int_equal(p[0], 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(ops->set_bits(host, bus + PAGE, 0x12), -EFAULT);
	ops->unpin(host, readable);
	ops->unpin(host, bus);
	assert_int_equal(ops->set_bits(host, bus, 0x12), -EFAULT);
	munmap(p, 2 * PAGE);
	close(fd);
}

/* ---- what can't be pinned ---- */

static void
test_refused_ranges(void **state)
{
	uint8_t *p = map(-1, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	int fd = memfd(2 * PAGE);
	uint8_t *shared = map(fd, 2 * PAGE, PROT_READ, MAP_SHARED);
	uint64_t bus = 0;

	(void)state;
	/* A hole, PROT_NONE, read-only: nothing of the range is pinned. */
	munmap(p + 2 * PAGE, PAGE);
	assert_int_equal(ops->pin(host, (uintptr_t)p, 4 * PAGE, 0, &bus), -EFAULT);
	assert_int_equal(ops->pin(host, (uintptr_t)p + 2 * PAGE, 8, 0, &bus), -EFAULT);
	assert_int_equal(mprotect(p + PAGE, PAGE, PROT_NONE), 0);
	assert_int_equal(ops->pin(host, (uintptr_t)p, 2 * PAGE, 0, &bus), -EFAULT);
	assert_int_equal(mprotect(p + PAGE, PAGE, PROT_READ), 0);
	assert_int_equal(ops->pin(host, (uintptr_t)p, 2 * PAGE, EMU_PIN_WRITE, &bus), -EFAULT);
	assert_int_equal(ops->pin(host, (uintptr_t)shared, PAGE, EMU_PIN_WRITE, &bus), -EFAULT);
	assert_int_equal(ops->pin(host, (uintptr_t)p, 0, 0, &bus), -EFAULT);
	assert_int_equal(ops->pin(host, UINT64_MAX - PAGE, 2 * PAGE, 0, &bus), -EFAULT);
	assert_int_equal(ops->pin(host, 0, PAGE, 0, &bus), -EFAULT);
	assert_int_equal(pinned, 0);
	/* Reading from read-only memory is fine. */
	bus = pin(p + PAGE, PAGE, 0);
	assert_int_equal(get(bus), 0);
	ops->unpin(host, bus);
	bus = pin(shared, 2 * PAGE, 0);
	assert_int_equal(get(bus + PAGE), 0);
	ops->unpin(host, bus);
	munmap(p, 4 * PAGE);
	munmap(shared, 2 * PAGE);
	close(fd);
}

static void
test_file_shorter_than_mapping(void **state)
{
	int fd = memfd(PAGE);
	uint8_t *p = map(fd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t bus = 0;

	(void)state;
	assert_int_equal(ops->pin(host, (uintptr_t)p, 2 * PAGE, EMU_PIN_WRITE, &bus), -EFAULT);
	assert_int_equal(pinned, 0);
	munmap(p, 2 * PAGE);
	close(fd);
}

/* ---- bus addresses ---- */

static void
test_bus_addresses_are_never_reused(void **state)
{
	enum { PINS = 1 << 17 };       /* more than the table has entries */
	uint8_t *p = map(-1, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint64_t kept = pin(p, PAGE, EMU_PIN_WRITE), last = 0, val;
	unsigned int i;

	(void)state;
	for (i = 0; i < PINS; i++) {
		uint64_t bus = pin(p, PAGE, EMU_PIN_WRITE);

		assert_true(bus > last);
		last = bus;
		ops->unpin(host, bus);
		assert_int_equal(ops->read(host, bus, &val, sizeof(val)), -EFAULT);
	}
	put(kept, 1);
	ops->unpin(host, kept);
	munmap(p, PAGE);
}

static void
test_unpin_of_other_addresses_does_nothing(void **state)
{
	uint8_t *p = map(-1, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint64_t bus = pin(p, 2 * PAGE, EMU_PIN_WRITE);

	(void)state;
	ops->unpin(host, bus + PAGE);
	ops->unpin(host, bus + GIB);
	ops->unpin(host, 0);
	put(bus, 1);
	ops->unpin(host, bus);
	ops->unpin(host, bus);
	assert_int_equal(pinned, 0);
	munmap(p, 2 * PAGE);
}

/* ---- threads ---- */

static void *
pin_in_parallel(void *arg)
{
	uint64_t *failures = arg;
	int fd = memfd_create("test_emu_host", MFD_CLOEXEC);
	uint64_t i, bus, val;
	uint8_t *p;

	if (fd < 0 || ftruncate(fd, 16 * PAGE) != 0)
		return NULL;
	p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (i = 0; i < ROUNDS; i++) {
		uint64_t want = i << 32 | (uintptr_t)p;

		if (ops->pin(host, (uintptr_t)p, 16 * PAGE, EMU_PIN_WRITE, &bus) != 0 ||
				ops->write(host, bus + i * 8, &want, sizeof(want)) != 0 ||
				ops->read(host, bus + i * 8, &val, sizeof(val)) != 0 ||
				val != want || word(p + i * 8) != want)
			(*failures)++;
		ops->unpin(host, bus);
		if (ops->read(host, bus, &val, sizeof(val)) != -EFAULT)
			(*failures)++;
	}
	munmap(p, 16 * PAGE);
	close(fd);
	return NULL;
}

static void
test_parallel_pins(void **state)
{
	uint64_t failures[THREADS] = { 0 };
	pthread_t t[THREADS];
	int i;

	(void)state;
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, pin_in_parallel, &failures[i]), 0);
	for (i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(failures[i], 0);
	}
	assert_int_equal(pin_calls, 2 * THREADS * ROUNDS);
}

/* A device that goes on writing while the program takes memory away. */
struct dma {
	_Atomic uint64_t bus;
	atomic_bool stop;
	uint64_t done;
};

static void *
dma_thread(void *arg)
{
	struct dma *d = arg;
	uint8_t buf[PAGE];

	memset(buf, 0xff, sizeof(buf));
	while (!d->stop) {
		if (ops->write(host, d->bus, buf, sizeof(buf)) == 0)
			d->done++;
	}
	return NULL;
}

static void
test_nothing_is_written_after_unpin(void **state)
{
	struct dma d = { .bus = 0 };
	int fd = memfd(PAGE), i;
	uint8_t *p = map(fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED), zero[PAGE] = { 0 };
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, dma_thread, &d), 0);
	for (i = 0; i < ROUNDS; i++) {
		uint64_t bus = pin(p, PAGE, EMU_PIN_WRITE);

		d.bus = bus;
		usleep(100);
		ops->unpin(host, bus);
		memset(p, 0, PAGE);
		usleep(20);
		assert_memory_equal(p, zero, PAGE);
	}
	d.stop = true;
	pthread_join(t, NULL);
	assert_true(d.done > 0);
	munmap(p, PAGE);
	close(fd);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_private_memory),
		TEST(test_range_is_checked),
		TEST(test_read_only_pin_is_not_written),
		TEST(test_shared_memory_remapped_after_pin),
		TEST(test_range_of_several_mappings),
		TEST(test_range_across_units),
		TEST(test_hugetlbfs),
		TEST(test_a_hole_is_a_fault_in_checking_mode),
		TEST(test_a_hole_in_hugetlbfs_is_a_fault_in_checking_mode),
		TEST(test_pages_of_all_kinds_pass_in_checking_mode),
		TEST(test_a_file_that_was_cut_off_and_grew_is_another_in_checking_mode),
		TEST(test_truncated_file_faults),
		TEST(test_the_guard_comes_back_over_handlers_of_the_program),
		TEST(test_punched_hole_does_not_crash),
		TEST(test_unmapped_private_memory_faults),
		TEST(test_other_faults_are_the_programs),
		TEST(test_handlers_that_pass_on_in_a_circle_end),
		TEST(test_fault_in_thread_that_blocks_signals),
		TEST(test_bits_are_set_beside_those_that_are),
		TEST(test_refused_ranges),
		TEST(test_file_shorter_than_mapping),
		TEST(test_bus_addresses_are_never_reused),
		TEST(test_unpin_of_other_addresses_does_nothing),
		TEST(test_parallel_pins),
		TEST(test_nothing_is_written_after_unpin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

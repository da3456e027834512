/* SPDX-License-Identifier: Apache-2.0 */
/* Which device answers, against a slow search; accesses that nobody claims. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "dev.h"
#include "kvm.h"

/* ioapic.o is in the same library. */
int kvm_signal_msi(int vmfd, const struct kvm_msi *msi)
{
	(void)vmfd;
	(void)msi;
	return -ENOSYS;
}

struct probe {
	struct dev dev;
	uint64_t off;
	unsigned len, n_reads, n_writes;
	bool was_locked;
};

static void note(struct dev *d, uint64_t off, unsigned len)
{
	struct probe *p = container_of(d, struct probe, dev);

	p->off = off;
	p->len = len;
	p->was_locked = pthread_mutex_trylock(&d->lock) != 0;
	if (!p->was_locked)
		pthread_mutex_unlock(&d->lock);
}

static void probe_read(struct dev *d, uint64_t off, void *data, unsigned len)
{
	(void)data; /* nothing is stored: the bus must have cleared it */
	note(d, off, len);
	container_of(d, struct probe, dev)->n_reads++;
}

static void probe_write(struct dev *d, uint64_t off, const void *data, unsigned len)
{
	(void)data;
	note(d, off, len);
	container_of(d, struct probe, dev)->n_writes++;
}

static const struct dev_ops plain = { "plain", false, probe_read, probe_write };
static const struct dev_ops locking = { "locking", true, probe_read, probe_write };

static void test_dispatch(void **state)
{
	struct probe a = { 0 }, b = { 0 };
	struct volt_err err = { 0 };
	uint32_t v;
	struct bus bus;

	(void)state;
	dev_init(&a.dev, &plain);
	dev_init(&b.dev, &locking);
	bus_init(&bus, "mmio");
	assert_int_equal(bus_add(&bus, 0x2000, 0x10, &b.dev, &err), 0);
	assert_int_equal(bus_add(&bus, 0x1000, 0x1000, &a.dev, &err), 0);
	bus_freeze(&bus);

	v = 0x12345678;
	bus_read(&bus, 0x1004, &v, 4);
	assert_int_equal(v, 0);
	assert_true(a.off == 4 && a.len == 4 && a.n_reads == 1 && a.was_locked);
	bus_write(&bus, 0x2008, &v, 2);
	assert_true(b.off == 8 && b.len == 2 && b.n_writes == 1 && !b.was_locked);
	bus_write(&bus, 0x200f, &v, 1);
	assert_int_equal(b.n_writes, 2);
	assert_int_equal(pthread_mutex_trylock(&a.dev.lock), 0);
	pthread_mutex_unlock(&a.dev.lock);
	dev_done(&a.dev);
	dev_done(&b.dev);
}

static void test_unclaimed(void **state)
{
	struct probe a = { 0 };
	struct volt_err err = { 0 };
	struct bus bus;
	uint64_t v;

	(void)state;
	dev_init(&a.dev, &plain);
	bus_init(&bus, "port");
	v = 0;
	bus_read(&bus, 0x80, &v, 8); /* an empty bus */
	assert_true(v == UINT64_MAX);
	assert_int_equal(bus_add(&bus, 0x100, 8, &a.dev, &err), 0);
	bus_freeze(&bus);
	v = 0;
	bus_read(&bus, 0xff, &v, 1);
	assert_int_equal(v, 0xff);
	v = 0;
	bus_read(&bus, 0x106, &v, 4); /* crosses the end */
	assert_int_equal(v, 0xffffffff);
	bus_read(&bus, UINT64_MAX, &v, 8);
	bus_write(&bus, 0xff, &v, 2); /* crosses the start */
	bus_write(&bus, 0x108, &v, 1);
	assert_int_equal(a.n_reads + a.n_writes, 0);
	assert_int_equal(bus.unclaimed_reads, 4);
	assert_int_equal(bus.unclaimed_writes, 2);
	dev_done(&a.dev);
}

static void test_refused(void **state)
{
	struct probe a = { 0 };
	struct volt_err err = { 0 };
	struct bus bus;

	(void)state;
	dev_init(&a.dev, &plain);
	bus_init(&bus, "mmio");
	assert_int_equal(bus_add(&bus, 0x1000, 0x100, &a.dev, &err), 0);
	assert_int_equal(bus_add(&bus, 0x10ff, 1, &a.dev, &err), -EEXIST);
	assert_string_equal(err.msg, "mmio range 0x10ff of plain overlaps plain");
	assert_int_equal(bus_add(&bus, 0xf00, 0x101, &a.dev, NULL), -EEXIST);
	assert_int_equal(bus_add(&bus, 0, 0x10000, &a.dev, NULL), -EEXIST);
	for (uint64_t i = 1; i < BUS_RANGES_MAX; i++)
		assert_int_equal(bus_add(&bus, 0x1000 + 0x100 * i, 0x100, &a.dev, &err), 0);
	assert_int_equal(bus_add(&bus, 0, 1, &a.dev, NULL), -ENOSPC);
	dev_done(&a.dev);
}

/* Ranges with and without gaps; every address, against a walk over all of them. */
static void test_against_walk(void **state)
{
	static struct probe probes[40];
	struct volt_err err = { 0 };
	uint64_t base = 3, v = 0;
	struct bus bus;

	(void)state;
	bus_init(&bus, "mmio");
	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		dev_init(&probes[i].dev, &plain);
		assert_int_equal(bus_add(&bus, base, 1 + i % 5, &probes[i].dev, &err), 0);
		base += 1 + i % 5 + i % 3;
	}
	bus_freeze(&bus);
	for (uint64_t addr = 0; addr < base + 8; addr++) {
		for (unsigned len = 1; len <= 8; len *= 2) {
			struct probe *want = NULL, *got = NULL;

			for (size_t i = 0; i < bus.n_ranges; i++) {
				const struct bus_range *r = &bus.ranges[i];

				if (addr >= r->base && addr + len <= r->base + r->bytes)
					want = container_of(r->dev, struct probe, dev);
			}
			bus_read(&bus, addr, &v, len);
			for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
				if (probes[i].n_reads)
					got = &probes[i];
				probes[i].n_reads = 0;
			}
			assert_ptr_equal(got, want);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dispatch),
		cmocka_unit_test(test_unclaimed),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_against_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

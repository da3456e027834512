/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O APIC as a guest sees it, and the messages it sends. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "ioapic.h"
#include "kvm.h"

#define MASKED (1u << 16)
#define LEVEL  (1u << 15)
#define BUSY   (1u << 12)
#define IRR    (1u << 14)

static struct kvm_msi last;
static unsigned n_sent;
static int answer;

int kvm_signal_msi(int vmfd, const struct kvm_msi *msi)
{
	assert_int_equal(vmfd, 7);
	last = *msi;
	n_sent++;
	return answer;
}

static struct ioapic apic;

static int setup(void **state)
{
	(void)state;
	ioapic_init(&apic, 7);
	n_sent = 0;
	answer = 1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ioapic_done(&apic);
	return 0;
}

static void put(uint64_t off, uint32_t v)
{
	apic.dev.ops->write(&apic.dev, off, &v, 4);
}

static uint32_t get(uint64_t off)
{
	uint32_t v = 0;

	apic.dev.ops->read(&apic.dev, off, &v, 4);
	return v;
}

static void put_index(unsigned index, uint32_t v)
{
	put(0, index);
	put(0x10, v);
}

static uint32_t get_index(unsigned index)
{
	put(0, index);
	return get(0x10);
}

static void route(unsigned pin, uint32_t high, uint32_t low)
{
	put_index(0x11 + 2 * pin, high);
	put_index(0x10 + 2 * pin, low);
}

static void test_registers(void **state)
{
	(void)state;
	assert_int_equal(get_index(1), 23 << 16 | 0x20);
	assert_int_equal(get_index(0), 0);
	put_index(0, 0xffffffff);
	assert_int_equal(get_index(0), 0x0f000000);
	assert_int_equal(get_index(2), 0x0f000000);
	put_index(1, 0); /* read only */
	assert_int_equal(get_index(1), 23 << 16 | 0x20);
	for (unsigned i = 0x10; i < 0x10 + 2 * 24; i += 2)
		assert_int_equal(get_index(i), MASKED);
	for (unsigned i = 0x10 + 2 * 24; i < 0x100; i++) {
		put_index(i, 0x55aa);
		assert_int_equal(get_index(i), 0);
	}
	route(3, 0xff000000, 0xffffffff);
	assert_int_equal(get_index(0x16), 0xffffffff & ~(BUSY | IRR));
	assert_int_equal(get_index(0x17), 0xff000000);
	assert_int_equal(n_sent, 0);
}

static void test_widths(void **state)
{
	uint64_t v = UINT64_MAX;

	(void)state;
	put(0, 1);
	for (unsigned len = 1; len <= 8; len *= 2) {
		if (len == 4)
			continue;
		v = 0;
		apic.dev.ops->write(&apic.dev, 0, &v, len);
		apic.dev.ops->read(&apic.dev, 0x10, &v, len);
		assert_true(v == 0);
	}
	assert_int_equal(get(0), 1);
	put(0x20, 5);
	assert_int_equal(get(0x20), 0);
}

static void test_edge(void **state)
{
	(void)state;
	route(5, 0x03000000, 0x31);
	ioapic_raise(&apic, 5);
	assert_int_equal(n_sent, 1);
	assert_int_equal(last.address_lo, 0xfee03000);
	assert_int_equal(last.address_hi, 0);
	assert_int_equal(last.data, 0x31);
	ioapic_raise(&apic, 5); /* an edge needs no end of interrupt */
	assert_int_equal(n_sent, 2);
	route(6, 0x01000000, 0x32 | 1 << 11 | 1 << 8); /* logical, lowest priority */
	ioapic_raise(&apic, 6);
	assert_int_equal(last.address_lo, 0xfee01004);
	assert_int_equal(last.data, 0x132);
	route(7, 0x01000000 | 0x7f << 17, 0x33); /* 15-bit destination */
	ioapic_raise(&apic, 7);
	assert_int_equal(last.address_lo, 0xfee01000 | 0x7f << 5);
	assert_int_equal(apic.delivered, 4);
	assert_int_equal(apic.failed, 0);
}

static void test_masked(void **state)
{
	(void)state;
	route(4, 0, 0x41 | MASKED);
	ioapic_raise(&apic, 4);
	ioapic_raise(&apic, 4);
	assert_int_equal(n_sent, 0);
	put_index(0x18, 0x41); /* what was raised meanwhile is delivered once */
	assert_int_equal(n_sent, 1);
	put_index(0x18, 0x41);
	assert_int_equal(n_sent, 1);
}

static void test_level(void **state)
{
	(void)state;
	route(9, 0, 0x51 | LEVEL);
	ioapic_raise(&apic, 9);
	assert_int_equal(n_sent, 1);
	assert_int_equal(get_index(0x22), 0x51 | LEVEL | IRR);
	ioapic_raise(&apic, 9);
	assert_int_equal(n_sent, 1);
	ioapic_eoi(&apic, 0x52); /* of another vector */
	assert_int_equal(n_sent, 1);
	ioapic_eoi(&apic, 0x51); /* delivers the second */
	assert_int_equal(n_sent, 2);
	put(0x40, 0x51); /* by the register */
	assert_int_equal(get_index(0x22), 0x51 | LEVEL);
	ioapic_eoi(&apic, 0x51); /* spurious */
	assert_int_equal(n_sent, 2);
	ioapic_raise(&apic, 9);
	assert_int_equal(get_index(0x22) & IRR, IRR);
	put_index(0x22, 0x51); /* an edge pin has no IRR */
	assert_int_equal(get_index(0x22), 0x51);
}

static void test_failures_counted(void **state)
{
	(void)state;
	answer = -EINVAL;
	route(5, 0, 0x31);
	ioapic_raise(&apic, 5);
	assert_int_equal(apic.failed, 1);
	answer = 0; /* the guest's APIC is off: accepted, as on hardware */
	ioapic_raise(&apic, 5);
	assert_int_equal(apic.failed, 1);
	assert_int_equal(apic.delivered, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_widths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_edge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_masked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_level, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failures_counted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

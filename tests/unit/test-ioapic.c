/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O APIC as a guest sees it, and the messages it sends. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "ioapic.h"
#include "kvm.h"
#include "log.h"

#define MASKED (1u << 16)
#define LEVEL  (1u << 15)
#define BUSY   (1u << 12)
#define IRR    (1u << 14)

static struct kvm_msi last;
static unsigned n_sent;
static int answer;
static char order[16]; /* 'r': a table, 'm': a message */

int kvm_signal_msi(int vmfd, const struct kvm_msi *msi)
{
	assert_int_equal(vmfd, 7);
	last = *msi;
	n_sent++;
	if (strlen(order) < sizeof(order) - 1)
		strcat(order, "m");
	return answer;
}

/* The table as KVM has it, and how often it was asked for. */
static struct kvm_irq_routing_entry table[24];
static unsigned n_table, n_routings, n_irqfds;
static int routing_answer;

int kvm_set_gsi_routing(int vmfd, const struct kvm_irq_routing *routing)
{
	assert_int_equal(vmfd, 7);
	assert_int_equal(routing->flags, 0);
	n_routings++;
	if (routing_answer < 0)
		return routing_answer;
	n_table = routing->nr;
	assert_in_range(n_table, 0, 24);
	memcpy(table, routing->entries, n_table * sizeof(table[0]));
	if (strlen(order) < sizeof(order) - 1)
		strcat(order, "r");
	return 0;
}

int kvm_irqfd(int vmfd, const struct kvm_irqfd *irqfd)
{
	assert_int_equal(vmfd, 7);
	assert_int_equal(irqfd->flags, 0);
	assert_int_equal(irqfd->fd, 40 + irqfd->gsi);
	n_irqfds++;
	return answer < 0 ? answer : 0;
}

static struct ioapic apic;

static int setup(void **state)
{
	(void)state;
	ioapic_init(&apic, 7);
	n_sent = 0;
	answer = 1;
	n_table = n_routings = n_irqfds = 0;
	routing_answer = 0;
	order[0] = '\0';
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

/* The route of `gsi` that KVM has, or NULL. */
static const struct kvm_irq_routing_entry *routed(unsigned gsi)
{
	for (unsigned i = 0; i < n_table; i++)
		if (table[i].gsi == gsi) {
			assert_int_equal(table[i].type, KVM_IRQ_ROUTING_MSI);
			assert_int_equal(table[i].flags, 0);
			assert_int_equal(table[i].u.msi.address_hi, 0);
			return &table[i];
		}
	return NULL;
}

static void test_only_irqfd_lines_cost_routes(void **state)
{
	(void)state;
	for (unsigned pin = 0; pin < 24; pin++) {
		route(pin, 0x01000000, 0x30 + pin);
		route(pin, 0x02000000, (0x30 + pin) | MASKED);
	}
	assert_int_equal(n_routings, 0);
	assert_int_equal(ioapic_add_irqfd(&apic, 6, 46, NULL), 0);
	assert_int_equal(n_irqfds, 1);
	assert_int_equal(n_routings, 0); /* masked: KVM has no table and needs none */
	route(5, 0x01000000, 0x35);
	route(7, 0x01000000, 0x37);
	assert_int_equal(n_routings, 0);
	assert_int_equal(n_sent, 0);
}

static void test_route_follows_the_entry(void **state)
{
	(void)state;
	assert_int_equal(ioapic_add_irqfd(&apic, 6, 46, NULL), 0);
	assert_int_equal(ioapic_add_irqfd(&apic, 9, 49, NULL), 0);
	route(6, 0x03000000, 0x41);
	assert_int_equal(n_routings, 1);
	assert_int_equal(n_table, 1);
	assert_int_equal(routed(6)->u.msi.address_lo, 0xfee03000);
	assert_int_equal(routed(6)->u.msi.data, 0x41);
	put_index(0x10 + 12, 0x41); /* nothing new */
	put_index(0x11 + 12, 0x03000000);
	assert_int_equal(n_routings, 1);
	route(9, 0x01000000, 0x42 | 1 << 11 | 1 << 8);
	assert_int_equal(n_routings, 2);
	assert_int_equal(n_table, 2);
	assert_int_equal(routed(9)->u.msi.address_lo, 0xfee01004);
	assert_int_equal(routed(9)->u.msi.data, 0x142);
	put_index(0x11 + 12, 0x05000000); /* to another CPU while unmasked */
	assert_int_equal(n_routings, 3);
	assert_int_equal(routed(6)->u.msi.address_lo, 0xfee05000);
	assert_int_equal(routed(9)->u.msi.data, 0x142);
	put_index(0x10 + 12, 0x41 | MASKED); /* as Linux moves it: two changes */
	assert_int_equal(n_routings, 4);
	assert_null(routed(6));
	assert_non_null(routed(9));
	put_index(0x11 + 12, 0x06000000);
	put_index(0x10 + 12, 0x51 | MASKED);
	assert_int_equal(n_routings, 4);
	put_index(0x10 + 12, 0x51);
	assert_int_equal(n_routings, 5);
	assert_int_equal(routed(6)->u.msi.address_lo, 0xfee06000);
	assert_int_equal(routed(6)->u.msi.data, 0x51);
	assert_int_equal(apic.routings, 5);
}

/* What the kernel signals while there is no route is lost: so a line that gets one is raised. */
static void test_unmask_makes_up_for_lost_edges(void **state)
{
	(void)state;
	assert_int_equal(ioapic_add_irqfd(&apic, 6, 46, NULL), 0);
	route(6, 0x01000000, 0x41);
	assert_string_equal(order, "rm"); /* the route first: no moment in which one can be lost */
	assert_int_equal(last.data, 0x41);
	put_index(0x11 + 12, 0x02000000);
	assert_string_equal(order, "rmr"); /* it had a route all the time */
	put_index(0x10 + 12, 0x41 | MASKED);
	ioapic_raise(&apic, 6); /* and one of our own, which it stands for too */
	assert_string_equal(order, "rmrr");
	put_index(0x10 + 12, 0x43);
	assert_string_equal(order, "rmrrrm");
	assert_int_equal(last.data, 0x43);
	assert_int_equal(last.address_lo, 0xfee02000);
	ioapic_raise(&apic, 6); /* our own go on as ever */
	assert_string_equal(order, "rmrrrmm");
}

static void test_irqfd_of_an_unmasked_line(void **state)
{
	(void)state;
	route(6, 0x01000000, 0x41);
	assert_int_equal(ioapic_add_irqfd(&apic, 6, 46, NULL), 0);
	assert_int_equal(n_routings, 1);
	assert_int_equal(routed(6)->u.msi.data, 0x41);
}

static void test_routing_failures(void **state)
{
	struct volt_err err = { 0 };

	(void)state;
	answer = -ENOSPC;
	assert_int_equal(ioapic_add_irqfd(&apic, 6, 46, &err), -ENOSPC);
	assert_string_equal(err.msg, "KVM_IRQFD of line 6: No space left on device");
	route(6, 0x01000000, 0x41);
	assert_int_equal(n_routings, 0);
	put_index(0x10 + 12, 0x41 | MASKED);
	answer = 1;
	assert_int_equal(ioapic_add_irqfd(&apic, 6, 46, &err), 0);
	routing_answer = -ENOMEM;
	put_index(0x10 + 12, 0x41);
	assert_int_equal(n_routings, 1);
	assert_int_equal(apic.routings_failed, 1);
	routing_answer = 0;
	put_index(0x10 + 12, 0x41); /* any write is another try */
	assert_int_equal(n_routings, 2);
	assert_int_equal(routed(6)->u.msi.data, 0x41);
	routing_answer = -ENOMEM;
	put_index(0x10 + 12, 0x42);
	assert_int_equal(routed(6)->u.msi.data, 0x41);
	routing_answer = 0;
	put_index(0x10 + 12, 0x42);
	assert_int_equal(routed(6)->u.msi.data, 0x42);
	assert_int_equal(apic.routings_failed, 2);
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
		cmocka_unit_test_setup_teardown(
			test_only_irqfd_lines_cost_routes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_route_follows_the_entry, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_unmask_makes_up_for_lost_edges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_irqfd_of_an_unmasked_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_routing_failures, setup, teardown),
	};

	log_init(&(struct log_config){ .id = "test", .fd = -1 });

	return cmocka_run_group_tests(tests, NULL, NULL);
}

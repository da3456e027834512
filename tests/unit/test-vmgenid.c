/* SPDX-License-Identifier: Apache-2.0 */
/* VM generation ID: where it is written, that each is another one, and what KVM is told of it. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fake-kvm.h"
#include "vmgenid.h"

#define VECTOR	 0x51
#define RENEWALS 1000

static struct gmem ram;
static struct ioapic ioapic;
static struct vmgenid genid;

static int setup(void **state)
{
	(void)state;
	fake_kvm_reset();
	ioapic_init(&ioapic, FAKE_KVM_FD);
	vmgenid_init(&genid, &ram, &ioapic);
	return gmem_map(&ram, MIB, NULL);
}

static int teardown(void **state)
{
	(void)state;
	ioapic_done(&ioapic);
	gmem_unmap(&ram);
	return 0;
}

static void read_id(uint8_t id[VMGENID_BYTES])
{
	assert_int_equal(gmem_read(&ram, GPA(LAYOUT_VMGENID), id, VMGENID_BYTES), 0);
}

/* As the guest does: an entry of the redirection table, edge-triggered, to processor 0. */
static void unmask(unsigned pin)
{
	const uint32_t select = 0x10 + 2 * pin, entry = VECTOR;

	ioapic.dev.ops->write(&ioapic.dev, 0, &select, sizeof(select));
	ioapic.dev.ops->write(&ioapic.dev, 0x10, &entry, sizeof(entry));
}

static void writes_the_first_silently(void **state)
{
	uint8_t id[VMGENID_BYTES];
	static const uint8_t zeros[VMGENID_BYTES];

	(void)state;
	unmask(LAYOUT_GSI_VMGENID);
	assert_int_equal(vmgenid_first(&genid, NULL), 0);
	read_id(id);
	assert_memory_not_equal(id, zeros, sizeof(id));
	assert_memory_equal(id, genid.id, sizeof(id));
	assert_int_equal(genid.irq.raised, 0);
	assert_int_equal(fake_kvm.n_msis, 0);
}

static void never_repeats_and_tells(void **state)
{
	static uint8_t ids[RENEWALS][VMGENID_BYTES];

	(void)state;
	unmask(LAYOUT_GSI_VMGENID);
	for (size_t i = 0; i < RENEWALS; i++) {
		assert_int_equal(vmgenid_renew(&genid, NULL), 0);
		read_id(ids[i]);
		assert_memory_equal(ids[i], genid.id, VMGENID_BYTES);
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(ids[i], ids[j], VMGENID_BYTES);
	}
	assert_int_equal(ioapic.delivered, RENEWALS);
	assert_int_equal(fake_kvm.msis[0].data & 0xff, VECTOR);
}

/* A guest that is restored before its driver has unmasked the line is told when it does. */
static void is_told_when_it_listens(void **state)
{
	(void)state;
	assert_int_equal(vmgenid_renew(&genid, NULL), 0);
	assert_int_equal(fake_kvm.n_msis, 0);
	unmask(LAYOUT_GSI_VMGENID);
	assert_int_equal(fake_kvm.n_msis, 1);
}

/* Nothing around the ID is written, in its page or in front of it. */
static void writes_nothing_else(void **state)
{
	uint8_t page[GMEM_PAGE];

	(void)state;
	assert_int_equal(gmem_fill(&ram, GPA(LAYOUT_VMGENID - GMEM_PAGE), 0xee, 2 * GMEM_PAGE), 0);
	assert_int_equal(vmgenid_renew(&genid, NULL), 0);
	assert_int_equal(gmem_read(&ram, GPA(LAYOUT_VMGENID - GMEM_PAGE), page, sizeof(page)), 0);
	for (size_t i = 0; i < sizeof(page); i++)
		assert_int_equal(page[i], 0xee);
	assert_int_equal(gmem_read(&ram, GPA(LAYOUT_VMGENID), page, sizeof(page)), 0);
	for (size_t i = VMGENID_BYTES; i < sizeof(page); i++)
		assert_int_equal(page[i], 0xee);
}

static void needs_memory(void **state)
{
	struct volt_err err = { 0 };
	struct gmem small;
	struct vmgenid g;

	(void)state;
	assert_int_equal(gmem_map(&small, 512 * KIB, NULL), 0);
	vmgenid_init(&g, &small, NULL);
	assert_int_equal(vmgenid_renew(&g, &err), -EFAULT);
	assert_string_equal(err.msg, "VM generation ID: no guest memory at 0xdf000");
	assert_int_equal(g.irq.raised, 0);
	gmem_unmap(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(writes_the_first_silently, setup, teardown),
		cmocka_unit_test_setup_teardown(never_repeats_and_tells, setup, teardown),
		cmocka_unit_test_setup_teardown(is_told_when_it_listens, setup, teardown),
		cmocka_unit_test_setup_teardown(writes_nothing_else, setup, teardown),
		cmocka_unit_test_setup_teardown(needs_memory, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmgenid", tests, NULL, NULL);
}

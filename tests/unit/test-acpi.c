/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables, walked from the RSDP with every checksum and length; the DSDT byte by byte where it
 * matters, and through iasl(1) where that is installed.
 */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acpi.h"
#include "aml.h"
#include "cleanup.h"
#include "num.h"

#define START 0xa0000

static struct gmem ram;

static int map(void **state)
{
	(void)state;
	return gmem_map(&ram, 2 * MIB, NULL);
}

static int unmap(void **state)
{
	(void)state;
	gmem_unmap(&ram);
	return 0;
}

static struct acpi_config full(unsigned n_vcpus, unsigned n_virtio)
{
	struct acpi_config cfg = { .n_vcpus = n_vcpus, .n_virtio = n_virtio, .serial = true,
		.keyboard = true, .pvpanic = true };

	for (unsigned i = 0; i < n_virtio; i++)
		cfg.virtio[i] = (struct layout_slot){
			LAYOUT_MMIO_DEVICES + i * LAYOUT_MMIO_WINDOW, LAYOUT_GSI_VIRTIO + i };
	return cfg;
}

static const uint8_t *at(uint64_t gpa, size_t len)
{
	struct iovec v;

	assert_int_equal(gmem_slice(&ram, GPA(gpa), len, &v), 0);
	return v.iov_base;
}

static unsigned sum(const uint8_t *p, size_t len)
{
	unsigned s = 0;

	for (size_t i = 0; i < len; i++)
		s += p[i];
	return s & 0xff;
}

/* A table with its header checked; ret_len is the length it names. */
static const uint8_t *table(uint64_t gpa, const char *signature, unsigned revision, size_t *ret_len)
{
	const uint8_t *t = at(gpa, 36);

	assert_int_equal(gpa % 16, 0);
	assert_true(gpa >= START && gpa < LAYOUT_TABLES_END);
	assert_memory_equal(t, signature, 4);
	*ret_len = num_get_le32(t + 4);
	assert_true(gpa + *ret_len <= LAYOUT_TABLES_END);
	assert_int_equal(t[8], revision);
	assert_int_equal(sum(t, *ret_len), 0);
	assert_memory_equal(t + 10, "VOLT  ", 6);
	assert_memory_equal(t + 16, "VOLT", 4);
	return t;
}

/* ret: FADT, MADT, DSDT */
static void walk(const uint8_t *ret[3], size_t ret_len[3])
{
	const uint8_t *rsdp = at(LAYOUT_RSDP, 36), *xsdt;
	size_t len;

	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	assert_int_equal(rsdp[15], 2);
	assert_int_equal(num_get_le32(rsdp + 16), 0);
	assert_int_equal(num_get_le32(rsdp + 20), 36);
	xsdt = table(num_get_le64(rsdp + 24), "XSDT", 1, &len);
	assert_int_equal(len, 36 + 16);
	ret[0] = table(num_get_le64(xsdt + 36), "FACP", 6, &ret_len[0]);
	ret[1] = table(num_get_le64(xsdt + 44), "APIC", 6, &ret_len[1]);
	ret[2] = table(num_get_le64(ret[0] + 140), "DSDT", 2, &ret_len[2]);
}

static void assert_port(const uint8_t *gas, unsigned port)
{
	const uint8_t want[4] = { 1, 8, 0, 1 };

	assert_memory_equal(gas, want, sizeof(want));
	assert_int_equal(num_get_le64(gas + 4), port);
}

static void describes_fixed_hardware(void **state)
{
	struct acpi_config cfg = full(2, 1);
	const uint8_t *t[3];
	size_t len[3];

	(void)state;
	assert_int_equal(acpi_write(&ram, START, &cfg, NULL), 0);
	walk(t, len);
	assert_int_equal(len[0], 276);
	assert_int_equal(t[0][131], 5);
	assert_int_equal(num_get_le16(t[0] + 109), 1 << 1 | 1 << 2 | 1 << 5);
	assert_int_equal(num_get_le32(t[0] + 112),
		1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 10 | 1 << 20);
	assert_port(t[0] + 116, LAYOUT_PORT_RESET);
	assert_int_equal(t[0][128], LAYOUT_RESET_VALUE);
	assert_port(t[0] + 244, LAYOUT_PORT_SLEEP_CONTROL);
	assert_port(t[0] + 256, LAYOUT_PORT_SLEEP_STATUS);
	assert_memory_equal(t[0] + 268, "VOLTVMM", 8);

	cfg.keyboard = false;
	assert_int_equal(acpi_write(&ram, START, &cfg, NULL), 0);
	walk(t, len);
	assert_int_equal(num_get_le16(t[0] + 109), 1 << 2 | 1 << 5);
}

static void lists_processors(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= LIMIT_VCPUS; n++) {
		struct acpi_config cfg = full(n, 0);
		const uint8_t *t[3], *p;
		size_t len[3];

		assert_int_equal(acpi_write(&ram, START, &cfg, NULL), 0);
		walk(t, len);
		assert_int_equal(num_get_le32(t[1] + 36), LAYOUT_LAPIC);
		assert_int_equal(num_get_le32(t[1] + 40), 0);
		p = t[1] + 44;
		for (unsigned i = 0; i < n; i++, p += 8) {
			const uint8_t want[8] = { 0, 8, (uint8_t)i, (uint8_t)i, 1 };

			assert_memory_equal(p, want, 8);
		}
		assert_int_equal(p[0], 1);
		assert_int_equal(p[1], 12);
		assert_int_equal(num_get_le32(p + 4), LAYOUT_IOAPIC);
		assert_int_equal(num_get_le32(p + 8), 0);
		p += 12;
		assert_memory_equal(p, ((uint8_t[]){ 4, 6, 0xff, 0, 0, 1 }), 6);
		assert_ptr_equal(p + 6, t[1] + len[1]);
	}
}

static bool contains(const uint8_t *t, size_t len, const void *what, size_t what_len)
{
	return memmem(t, len, what, what_len) != NULL;
}

static void names_devices(void **state)
{
	struct acpi_config cfg = full(1, 2);
	const uint8_t *t[3];
	size_t len[3];

	(void)state;
	assert_int_equal(acpi_write(&ram, START, &cfg, NULL), 0);
	walk(t, len);
	/*
	 * Memory32Fixed (ReadWrite, 0xc0002000, 0x1000); Interrupt (Edge, ActiveHigh,
	 * Exclusive) { 6 }; end
	 */
	assert_true(contains(t[2], len[2],
		"\x86\x09\x00\x01\x00\x20\x00\xc0\x00\x10\x00\x00"
		"\x89\x06\x00\x03\x01\x06\x00\x00\x00\x79",
		22));
	/* EISAID ("PNP0501"), ("PNP0303"), ("PNP0C0C") */
	assert_true(contains(t[2], len[2], "\x0c\x41\xd0\x05\x01", 5));
	assert_true(contains(t[2], len[2], "\x0c\x41\xd0\x03\x03", 5));
	assert_true(contains(t[2], len[2], "\x0c\x41\xd0\x0c\x0c", 5));
	/* Name (ADDR, Package (2) { 0xdf000, Zero }) */
	assert_true(contains(t[2], len[2],
		"\x08"
		"ADDR\x12\x8a\x00\x00\x02\x0c\x00\xf0\x0d\x00\x00",
		16));
	/* Name (_HID, "VMGENCTR"), Name (_CID, "VM_Gen_Counter") */
	assert_true(contains(t[2], len[2], "_HID\x0dVMGENCTR\x00\x08_CID\x0dVM_Gen_Counter", 35));
	/*
	 * Interrupt (...) { 23 }; Interrupt (...) { 3 }; Method (_EVT, 1, Serialized) {
	 * If (LEqual (Arg0, 23)) { Notify (PWRB, 0x80) }
	 * If (LEqual (Arg0, 3)) { Notify (VGEN, 0x80) } }
	 */
	assert_true(contains(t[2], len[2],
		"\x89\x06\x00\x03\x01\x17\x00\x00\x00"
		"\x89\x06\x00\x03\x01\x03\x00\x00\x00\x79",
		19));
	assert_true(contains(t[2], len[2],
		"_EVT\x09"
		"\xa0\x8e\x00\x00\x93\x68\x0a\x17\x86PWRB\x0a\x80"
		"\xa0\x8e\x00\x00\x93\x68\x0a\x03\x86VGEN\x0a\x80",
		35));
	/* Name (_S5_, Package (4) { 5, Zero, Zero, Zero }) */
	assert_true(contains(t[2], len[2], "\x08_S5_\x12\x89\x00\x00\x04\x0a\x05\x00\x00\x00", 14));
	assert_true(contains(t[2], len[2], "QEMU0001", 9));
	assert_true(contains(t[2], len[2], "ACPI0013", 9));
	assert_false(contains(t[2], len[2], "V002", 4));

	cfg = (struct acpi_config){ .n_vcpus = 1 };
	assert_int_equal(acpi_write(&ram, START, &cfg, NULL), 0);
	walk(t, len);
	assert_false(contains(t[2], len[2], "LNRO0005", 9));
	assert_false(contains(t[2], len[2], "COM1", 4));
	assert_false(contains(t[2], len[2], "PS2_", 4));
	assert_false(contains(t[2], len[2], "QEMU0001", 9));
	assert_true(contains(t[2], len[2], "PWRB", 4));
	assert_true(contains(t[2], len[2], "VGEN", 4));
}

static void needs_room(void **state)
{
	struct acpi_config cfg = full(LIMIT_VCPUS, LIMIT_VIRTIO);
	struct volt_err err = { 0 };
	struct gmem small;

	(void)state;
	assert_int_equal(acpi_write(&ram, LAYOUT_SYSTEM + 1024, &cfg, NULL), 0);
	assert_int_equal(acpi_write(&ram, LAYOUT_TABLES_END - 64, &cfg, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "ACPI: table DSDT of "));
	err = (struct volt_err){ 0 };
	assert_int_equal(acpi_write(&ram, UINT64_MAX - 15, &cfg, &err), -ENOSPC);
	assert_int_equal(gmem_map(&small, 512 * KIB, NULL), 0);
	err = (struct volt_err){ 0 };
	assert_int_equal(acpi_write(&small, START, &cfg, &err), -EFAULT);
	assert_string_equal(err.msg, "ACPI: guest memory ends below 1 MiB");
	gmem_unmap(&small);
}

static void encodes_integers(void **state)
{
	static const struct {
		uint64_t v;
		const char *aml;
		size_t len;
	} rows[] = {
		{ 0, "\x00", 1 },
		{ 1, "\x01", 1 },
		{ 2, "\x0a\x02", 2 },
		{ 0xff, "\x0a\xff", 2 },
		{ 0x100, "\x0b\x00\x01", 3 },
		{ 0x10000, "\x0c\x00\x00\x01\x00", 5 },
		{ 0x100000000, "\x0e\x00\x00\x00\x00\x01\x00\x00\x00", 9 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t buf[16];
		struct aml a = { .buf = buf, .cap = sizeof(buf) };

		aml_integer(&a, rows[i].v);
		assert_int_equal(a.len, rows[i].len);
		assert_memory_equal(buf, rows[i].aml, rows[i].len);
	}
}

/*
 * A buffer of any size either holds the whole or says that it does not, and nothing is written
 * behind it.
 */
static void never_overflows(void **state)
{
	uint8_t buf[128];

	(void)state;
	for (size_t cap = 0; cap < 100; cap++) {
		struct aml a = { .buf = buf, .cap = cap };
		struct aml_block scope, device;
		struct aml_resources crs;

		memset(buf, 0xee, sizeof(buf));
		scope = aml_begin_scope(&a, "\\_SB_");
		device = aml_begin_device(&a, "DEV0");
		aml_name(&a, "_HID");
		aml_string(&a, "LNRO0005");
		crs = aml_begin_crs(&a);
		aml_memory32(&a, 0xc0001000, 0x1000);
		aml_interrupt(&a, 5);
		aml_end_crs(&a, crs);
		aml_end(&a, device);
		aml_end(&a, scope);
		assert_true(a.len <= cap);
		assert_true(a.overflow == (cap < 68));
		for (size_t i = cap; i < sizeof(buf); i++)
			assert_int_equal(buf[i], 0xee);
	}
}

static void disassembles(void **state)
{
	struct acpi_config cfg = full(LIMIT_VCPUS, LIMIT_VIRTIO);
	static const char *const names[] = { "facp", "apic", "dsdt" };
	char dir[] = "/tmp/test-acpi-XXXXXX", cmd[400];
	const uint8_t *t[3];
	size_t len[3];
	int r;

	(void)state;
	if (system("command -v iasl >/dev/null 2>&1") != 0)
		skip();
	assert_int_equal(acpi_write(&ram, START, &cfg, NULL), 0);
	walk(t, len);
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_fclose_ FILE *f = NULL;

		snprintf(cmd, sizeof(cmd), "%s/%s.aml", dir, names[i]);
		f = fopen(cmd, "w");
		assert_non_null(f);
		assert_int_equal(fwrite(t[i], 1, len[i], f), len[i]);
	}
	/*
	 * There and back; warnings count (-we), and the compiled DSDT names every device. 6035:
	 * VMGENCTR, by which Linux knows the generation ID, does not end in hexadecimal digits.
	 */
	snprintf(cmd, sizeof(cmd),
		"cd %s && iasl -d facp.aml apic.aml dsdt.aml >log 2>&1 && ! grep -i error log && "
		"iasl -we -vw 6035 -p again dsdt.dsl >>log 2>&1 && "
		"test $(grep -c 'Device (' dsdt.dsl) = %d",
		dir, LIMIT_VIRTIO + 6);
	r = system(cmd);
	snprintf(cmd, sizeof(cmd), "%s cat %s/log; rm -rf %s", r ? "" : ": ||", dir, dir);
	assert_int_equal(system(cmd), 0);
	assert_int_equal(r, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(describes_fixed_hardware),
		cmocka_unit_test(lists_processors),
		cmocka_unit_test(names_devices),
		cmocka_unit_test(needs_room),
		cmocka_unit_test(encodes_integers),
		cmocka_unit_test(never_overflows),
		cmocka_unit_test(disassembles),
	};

	return cmocka_run_group_tests_name("acpi", tests, map, unmap);
}

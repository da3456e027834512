/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables are sound, and what the FADT says about power works. expect.virtio=N; with
 * "end.reset" the VM is reset, else switched off.
 */
#include "payload.h"

static void table_sound(const char *name)
{
	const struct acpi_header *t = tables_find(name);

	CHECK(t, "no table %s", name);
	CHECK(tables_sum_ok(t, t->length), "%s: checksum", name);
}

static unsigned count(const uint8_t *p, size_t n, const char *what)
{
	size_t len = strlen(what);
	unsigned found = 0;

	for (size_t i = 0; i + len <= n; i++)
		if (p[i] == (uint8_t)what[0] && memcmp(p + i, what, len) == 0)
			found++;
	return found;
}

static void madt(void)
{
	const struct acpi_header *t = tables_find("APIC");
	bool ioapic = false;

	CHECK(rd32((uint64_t)t + 36) == 0xfee00000, "MADT: local APIC");
	for (uint32_t at = 44; at + 2 <= t->length; at += ((const uint8_t *)t)[at + 1]) {
		const uint8_t *e = (const uint8_t *)t + at;

		CHECK(e[1] >= 2, "MADT: entry of %u bytes", e[1]);
		if (e[0] == 1 && rd32((uint64_t)e + 4) == 0xfec00000 && rd32((uint64_t)e + 8) == 0)
			ioapic = true;
	}
	CHECK(ioapic, "MADT: no I/O APIC");
}

/* ADDR of VGEN is a package of two integers, the lower one in four bytes, the higher one Zero. */
static void generation(const uint8_t *dsdt, size_t n)
{
	static const uint8_t addr[] = { 'A', 'D', 'D', 'R', 0x12, 0x8a, 0, 0, 2, 0x0c };
	uint64_t gpa = 0;
	struct e820 map[16];
	unsigned ranges, found = 0;

	CHECK(count(dsdt, n, "VMGENCTR") == 1, "DSDT: no generation ID");
	for (size_t i = 0; i + sizeof(addr) + 5 <= n; i++)
		if (memcmp(dsdt + i, addr, sizeof(addr)) == 0 && dsdt[i + sizeof(addr) + 4] == 0)
			gpa = rd32((uint64_t)dsdt + i + sizeof(addr));
	CHECK(gpa && gpa % 4096 == 0, "generation ID: at %lx", gpa);
	ranges = boot_e820(map, 16);
	for (unsigned i = 0; i < ranges; i++) {
		if (map[i].base >= gpa + 4096 || map[i].base + map[i].bytes <= gpa)
			continue;
		CHECK(map[i].type == 2 && map[i].base <= gpa &&
				map[i].base + map[i].bytes >= gpa + 4096,
			"generation ID: its page is not reserved");
		found++;
	}
	CHECK(found == 1, "generation ID: its page is in %u ranges", found);
	CHECK(rd64(gpa) | rd64(gpa + 8), "generation ID: zero");
	console_print("generation %lx %lx\n", rd64(gpa), rd64(gpa + 8));
}

/* A generic address in port space (ACPI 6.5 section 5.2.3.2). */
static uint16_t port_of(const struct acpi_header *fadt, unsigned at, const char *what)
{
	const uint8_t *g = (const uint8_t *)fadt + at;

	CHECK(g[0] == 1 && g[1] == 8, "FADT: %s in space %u of %u bits", what, g[0], g[1]);
	return (uint16_t)rd64((uint64_t)g + 4);
}

int main(void)
{
	const uint8_t *rsdp = tables_rsdp();
	const struct acpi_header *xsdt, *fadt, *dsdt;
	uint16_t sleep, reset;
	unsigned n;

	CHECK(rsdp, "no RSDP");
	CHECK(rsdp[15] >= 2, "RSDP: revision %u", rsdp[15]);
	CHECK(tables_sum_ok(rsdp, 20) && tables_sum_ok(rsdp, 36), "RSDP: checksum");
	xsdt = (const struct acpi_header *)rd64((uint64_t)rsdp + 24);
	CHECK(memcmp(xsdt->signature, "XSDT", 4) == 0, "XSDT: signature");
	CHECK(tables_sum_ok(xsdt, xsdt->length), "XSDT: checksum");
	table_sound("FACP");
	table_sound("APIC");
	madt();

	fadt = tables_find("FACP");
	CHECK(rd32((uint64_t)fadt + 112) >> 20 & 1, "FADT: not hardware-reduced");
	dsdt = (const struct acpi_header *)rd64((uint64_t)fadt + 140);
	CHECK(dsdt && memcmp(dsdt->signature, "DSDT", 4) == 0, "DSDT: signature");
	CHECK(tables_sum_ok(dsdt, dsdt->length), "DSDT: checksum");
	n = count((const uint8_t *)dsdt, dsdt->length, "LNRO0005");
	CHECK(n == boot_number("expect.virtio", 0), "DSDT: %u virtio devices", n);
	CHECK(count((const uint8_t *)dsdt, dsdt->length, "_S5_") == 1, "DSDT: no _S5_");

	generation((const uint8_t *)dsdt, dsdt->length);

	sleep = port_of(fadt, 244, "sleep control");
	reset = port_of(fadt, 116, "reset register");
	CHECK(rd32((uint64_t)fadt + 112) >> 10 & 1, "FADT: reset is not supported");
	console_print("PASS\n");
	if (boot_has("end.reset"))
		out8(reset, ((const uint8_t *)fadt)[128]);
	else
		out8(sleep, 5 << 2 | 0x20); /* type 5 as \\_S5 says, SLP_EN */
	fail("the VM goes on");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the firmware tables: ACPI 6.5 section 5.2, Intel MultiProcessor Specification 1.4. */
#include "payload.h"

bool tables_sum_ok(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *b++);
	return sum == 0;
}

/* A 16-byte aligned structure that starts with `what`. */
static const uint8_t *scan(uint64_t from, uint64_t to, const char *what, size_t n)
{
	for (; from < to; from += 16)
		if (memcmp((const void *)from, what, n) == 0)
			return (const uint8_t *)from;
	return NULL;
}

const uint8_t *tables_rsdp(void)
{
	uint64_t given = rd64(boot.info + (boot.protocol == BOOT_PVH ? 32 : 0x70));
	const uint8_t *found = scan(0xe0000, 0x100000, "RSD PTR ", 8);

	if (given)
		CHECK((uint64_t)found == given, "RSDP at %lx, the boot protocol says %lx",
			(uint64_t)found, given);
	return found;
}

const struct acpi_header *tables_find(const char *signature)
{
	const uint8_t *rsdp = tables_rsdp();
	const struct acpi_header *xsdt;

	if (!rsdp)
		return NULL;
	xsdt = (const struct acpi_header *)rd64((uint64_t)rsdp + 24);
	for (uint32_t at = sizeof(*xsdt); at + 8 <= xsdt->length; at += 8) {
		const struct acpi_header *t = (const void *)rd64((uint64_t)xsdt + at);

		if (memcmp(t->signature, signature, 4) == 0)
			return t;
	}
	return NULL;
}

unsigned tables_madt_cpus(uint8_t *ids, unsigned room)
{
	const struct acpi_header *madt = tables_find("APIC");
	unsigned n = 0;

	if (!madt)
		return 0;
	for (uint32_t at = 44; at + 2 <= madt->length;) {
		const uint8_t *e = (const uint8_t *)madt + at;

		CHECK(e[1] >= 2 && at + e[1] <= madt->length, "MADT entry of %u bytes", e[1]);
		if (e[0] == 0 && (e[4] & 1) && n < room)
			ids[n++] = e[3];
		at += e[1];
	}
	return n;
}

unsigned tables_mp_cpus(uint8_t *ids, unsigned room)
{
	const uint8_t *fp = scan(0x9fc00, 0xa0000, "_MP_", 4);
	const uint8_t *t, *e;
	unsigned n = 0, entries;

	if (!fp)
		fp = scan(0xf0000, 0x100000, "_MP_", 4);
	if (!fp)
		return 0;
	CHECK(tables_sum_ok(fp, fp[8] * 16U), "MP floating pointer: checksum");
	t = (const uint8_t *)(uint64_t)rd32((uint64_t)fp + 4);
	CHECK(memcmp(t, "PCMP", 4) == 0, "MP table: signature");
	CHECK(tables_sum_ok(t, rd16((uint64_t)t + 4)), "MP table: checksum");
	entries = rd16((uint64_t)t + 34);
	e = t + 44;
	for (unsigned i = 0; i < entries; i++) {
		CHECK(e[0] <= 4, "MP entry of type %u", e[0]);
		CHECK(e < t + rd16((uint64_t)t + 4), "MP entries beyond the table");
		if (e[0] == 0 && (e[3] & 1) && n < room)
			ids[n++] = e[1];
		e += e[0] == 0 ? 20 : 8;
	}
	return n;
}

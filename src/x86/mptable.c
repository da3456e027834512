/* SPDX-License-Identifier: Apache-2.0 */
/* MP table, see mptable.h. Chapter numbers: MultiProcessor Specification 1.4. */
#include "mptable.h"

#include <errno.h>
#include <string.h>

#include "layout.h"
#include "limit.h"

/* 4.1 */
struct PACKED mp_float {
	char signature[4];
	uint32_t table;
	uint8_t paragraphs, revision, checksum, features[5];
};

/* 4.2 */
struct PACKED mp_header {
	char signature[4];
	uint16_t bytes;
	uint8_t revision, checksum;
	char oem[8], product[12];
	uint32_t oem_table;
	uint16_t oem_bytes, n_entries;
	uint32_t lapic;
	uint16_t extended_bytes;
	uint8_t extended_checksum, reserved;
};

/* 4.3.1 */
struct PACKED mp_cpu {
	uint8_t type, apic_id, apic_version, flags;
	uint32_t signature, features, reserved[2];
};

/* 4.3.2 */
struct PACKED mp_bus {
	uint8_t type, id;
	char name[6];
};

/* 4.3.3 */
struct PACKED mp_ioapic {
	uint8_t type, id, version, flags;
	uint32_t gpa;
};

/* 4.3.4 and 4.3.5: an IOAPIC's input, or a local APIC's */
struct PACKED mp_irq {
	uint8_t type, kind;
	uint16_t flags;
	uint8_t bus, bus_irq, apic, pin;
};

enum { MP_CPU, MP_BUS, MP_IOAPIC, MP_IOAPIC_IRQ, MP_LAPIC_IRQ };
enum { IRQ_INT, IRQ_NMI, IRQ_SMI, IRQ_EXTINT };

#define CPU_ENABLED 1
#define CPU_BOOT    2
#define APIC_VERSION 0x14
#define ALL_LAPICS  0xff
#define BUS_ISA	    0

/* CMPXCHG8B, APIC, FPU: what the flags of the processor entry can say, 4.3.1. */
#define CPU_FEATURES  ((1u << 8) | (1u << 9) | 1u)
#define CPU_SIGNATURE 0x600 /* family 6 */

#define TABLE_BYTES_MAX                                                                            \
	(sizeof(struct mp_header) + LIMIT_VCPUS * sizeof(struct mp_cpu) + sizeof(struct mp_bus) +  \
		sizeof(struct mp_ioapic) + (LAYOUT_N_GSI + 2) * sizeof(struct mp_irq))

struct table {
	uint8_t bytes[TABLE_BYTES_MAX];
	size_t len;
	uint16_t n_entries;
};

static void add(struct table *t, const void *entry, size_t len)
{
	assert(len <= sizeof(t->bytes) - t->len);
	memcpy(t->bytes + t->len, entry, len);
	t->len += len;
	t->n_entries++;
}

/* What makes the bytes sum up to zero. */
static uint8_t checksum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + b[i]);
	return (uint8_t)-sum;
}

/* ioapic: an id that no processor has. */
static void add_entries(struct table *t, unsigned n_vcpus, uint8_t ioapic)
{
	for (unsigned i = 0; i < n_vcpus; i++)
		add(t,
			&(struct mp_cpu){ .type = MP_CPU, .apic_id = (uint8_t)i,
				.apic_version = APIC_VERSION,
				.flags = CPU_ENABLED | (i == 0 ? CPU_BOOT : 0),
				.signature = CPU_SIGNATURE, .features = CPU_FEATURES },
			sizeof(struct mp_cpu));
	add(t,
		&(struct mp_bus){ .type = MP_BUS, .id = BUS_ISA,
			.name = { 'I', 'S', 'A', ' ', ' ', ' ' } },
		sizeof(struct mp_bus));
	add(t,
		&(struct mp_ioapic){ .type = MP_IOAPIC, .id = ioapic, .version = APIC_VERSION,
			.flags = 1, .gpa = LAYOUT_IOAPIC },
		sizeof(struct mp_ioapic));
	/* flags 0: as the bus has it, which is edge, high */
	for (unsigned i = 0; i < LAYOUT_N_GSI; i++)
		add(t,
			&(struct mp_irq){ .type = MP_IOAPIC_IRQ, .kind = IRQ_INT, .bus = BUS_ISA,
				.bus_irq = (uint8_t)i, .apic = ioapic, .pin = (uint8_t)i },
			sizeof(struct mp_irq));
	add(t,
		&(struct mp_irq){ .type = MP_LAPIC_IRQ, .kind = IRQ_EXTINT, .bus = BUS_ISA,
			.apic = 0, .pin = 0 },
		sizeof(struct mp_irq));
	add(t,
		&(struct mp_irq){ .type = MP_LAPIC_IRQ, .kind = IRQ_NMI, .bus = BUS_ISA,
			.apic = ALL_LAPICS, .pin = 1 },
		sizeof(struct mp_irq));
}

int mptable_write(const struct gmem *m, unsigned n_vcpus, uint64_t *ret_end, struct volt_err *err)
{
	struct mp_float f = { .signature = { '_', 'M', 'P', '_' }, .paragraphs = 1, .revision = 4,
		.table = LAYOUT_SYSTEM + sizeof(f) };
	struct mp_header h = { .signature = { 'P', 'C', 'M', 'P' }, .revision = 4,
		.oem = { 'V', 'O', 'L', 'T', ' ', ' ', ' ', ' ' },
		.product = { 'M', 'I', 'C', 'R', 'O', 'V', 'M', ' ', ' ', ' ', ' ', ' ' },
		.lapic = LAYOUT_LAPIC };
	struct table t = { .len = sizeof(h) };

	static_assert(sizeof(f) == 16 && sizeof(h) == 44 && sizeof(struct mp_cpu) == 20 &&
			sizeof(struct mp_irq) == 8,
		"MP specification, chapter 4");
	assert(n_vcpus >= 1 && n_vcpus <= LIMIT_VCPUS);
	add_entries(&t, n_vcpus, (uint8_t)n_vcpus);
	h.bytes = (uint16_t)t.len;
	h.n_entries = t.n_entries;
	memcpy(t.bytes, &h, sizeof(h));
	h.checksum = checksum(t.bytes, t.len);
	memcpy(t.bytes, &h, sizeof(h));
	f.checksum = checksum(&f, sizeof(f));
	if (gmem_write(m, GPA(LAYOUT_SYSTEM), &f, sizeof(f)) < 0 ||
		gmem_write(m, GPA(f.table), t.bytes, t.len) < 0)
		return volt_err_set(err, EFAULT, "MP table: guest memory ends below 1 MiB");
	*ret_end = ALIGN_UP(f.table + t.len, (size_t)16);
	return 0;
}

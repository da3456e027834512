/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables, see acpi.h. Section numbers: ACPI specification 6.5. */
#include "acpi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "aml.h"
#include "num.h"

#define OEM_ID	   { 'V', 'O', 'L', 'T', ' ', ' ' }
#define CREATOR_ID { 'V', 'O', 'L', 'T' }
#define REVISION   1

/* 5.2.6 */
struct PACKED acpi_header {
	char signature[4];
	uint32_t bytes;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
};

/* 5.2.5.3 */
struct PACKED rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt, bytes;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
};

/* 5.2.3.2: generic address structure */
struct PACKED gas {
	uint8_t space, bits, bit_offset, access;
	uint64_t address;
};

/* A register of one byte in I/O space. */
#define GAS_PORT(p) { .space = 1, .bits = 8, .access = 1, .address = (p) }

/* 5.2.9 */
struct PACKED fadt {
	struct acpi_header header;
	uint32_t facs, dsdt;
	uint8_t reserved0, pm_profile;
	uint16_t sci;
	uint8_t pm1_legacy[61]; /* SMI_CMD to CENTURY: none of it on a hardware-reduced machine */
	uint16_t ia_boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_facs, x_dsdt;
	struct gas x_legacy[8]; /* X_PM1a_EVT_BLK to X_GPE1_BLK */
	struct gas sleep_control, sleep_status;
	char hypervisor[8];
};

#define FADT_BOOT_8042	      (1u << 1)
#define FADT_BOOT_NO_VGA      (1u << 2)
#define FADT_BOOT_NO_CMOS_RTC (1u << 5)

#define FADT_WBINVD	(1u << 0)
#define FADT_PROC_C1	(1u << 2)
#define FADT_PWR_BUTTON (1u << 4) /* set: not a fixed button but a device in the DSDT, or none */
#define FADT_SLP_BUTTON (1u << 5)
#define FADT_RESET_REG	(1u << 10)
#define FADT_HW_REDUCED (1u << 20)

/* 5.2.12 */
struct PACKED madt {
	struct acpi_header header;
	uint32_t lapic, flags; /* flags 0: no PIC */
};

struct PACKED madt_lapic {
	uint8_t type, bytes, uid, apic_id;
	uint32_t flags;
};

struct PACKED madt_ioapic {
	uint8_t type, bytes, id, reserved;
	uint32_t gpa, gsi_base;
};

struct PACKED madt_lapic_nmi {
	uint8_t type, bytes, uid;
	uint16_t flags;
	uint8_t lint;
};

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_LAPIC_NMI = 4 };

#define MADT_BYTES_MAX                                                                             \
	(sizeof(struct madt) + LIMIT_VCPUS * sizeof(struct madt_lapic) +                           \
		sizeof(struct madt_ioapic) + sizeof(struct madt_lapic_nmi))

#define DSDT_BYTES_MAX 4096
#define NOTIFY_BUTTON  0x80 /* 5.6.6: S0 power button pressed */
#define NOTIFY_NEW_ID  0x80 /* of the generation ID's own device */
#define TABLE_ALIGN    16

/* Tables are placed one behind the other. */
struct placement {
	const struct gmem *m;
	uint64_t next, end;
};

static uint8_t checksum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + b[i]);
	return (uint8_t)-sum;
}

static struct acpi_header header(const char *signature, uint8_t revision, const char *oem_table)
{
	struct acpi_header h = { .revision = revision, .oem_id = OEM_ID, .oem_revision = REVISION,
		.creator_id = CREATOR_ID, .creator_revision = REVISION };

	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem_table_id, oem_table, sizeof(h.oem_table_id));
	return h;
}

/* Completes the header in table and writes it to the next free place. */
static int put(struct placement *at, void *table, size_t len, uint64_t *ret_gpa,
	struct volt_err *err)
{
	struct acpi_header *h = table;
	uint64_t gpa = ALIGN_UP(at->next, (uint64_t)TABLE_ALIGN);

	if (gpa > at->end || len > at->end - gpa)
		return volt_err_set(err, ENOSPC,
			"ACPI: table %.4s of %zu bytes does not fit between 0x%llx and 0x%llx",
			h->signature, len, (unsigned long long)gpa, (unsigned long long)at->end);
	h->bytes = (uint32_t)len;
	h->checksum = 0;
	h->checksum = checksum(table, len);
	if (gmem_write(at->m, GPA(gpa), table, len) < 0)
		return volt_err_set(err, EFAULT, "ACPI: guest memory ends below 1 MiB");
	at->next = gpa + len;
	*ret_gpa = gpa;
	return 0;
}

static void add_virtio(struct aml *a, unsigned index, const struct layout_slot *slot)
{
	char name[5];
	struct aml_block device;
	struct aml_resources crs;

	snprintf(name, sizeof(name), "V%03u", index % 1000);
	device = aml_begin_device(a, name);
	aml_name(a, "_HID");
	aml_string(a, "LNRO0005");
	aml_name(a, "_UID");
	aml_integer(a, index);
	aml_name(a, "_CCA"); /* DMA is coherent */
	aml_integer(a, 1);
	crs = aml_begin_crs(a);
	aml_memory32(a, (uint32_t)slot->base, (uint32_t)LAYOUT_MMIO_WINDOW);
	aml_interrupt(a, slot->gsi);
	aml_end_crs(a, crs);
	aml_end(a, device);
}

static void add_serial(struct aml *a)
{
	struct aml_block device = aml_begin_device(a, "COM1");
	struct aml_resources crs;

	aml_name(a, "_HID");
	aml_eisa_id(a, "PNP0501"); /* 16550A */
	aml_name(a, "_UID");
	aml_integer(a, 0);
	crs = aml_begin_crs(a);
	aml_io(a, LAYOUT_PORT_SERIAL, 8);
	aml_interrupt(a, LAYOUT_GSI_SERIAL);
	aml_end_crs(a, crs);
	aml_end(a, device);
}

static void add_keyboard(struct aml *a)
{
	struct aml_block device = aml_begin_device(a, "PS2_");
	struct aml_resources crs;

	aml_name(a, "_HID");
	aml_eisa_id(a, "PNP0303"); /* PS/2 keyboard */
	crs = aml_begin_crs(a);
	aml_io(a, LAYOUT_PORT_I8042_DATA, 1);
	aml_io(a, LAYOUT_PORT_I8042_COMMAND, 1);
	aml_interrupt(a, LAYOUT_GSI_KEYBOARD);
	aml_end_crs(a, crs);
	aml_end(a, device);
}

static void add_pvpanic(struct aml *a)
{
	struct aml_block device = aml_begin_device(a, "PEVT");
	struct aml_resources crs;

	aml_name(a, "_HID");
	aml_string(a, "QEMU0001");
	crs = aml_begin_crs(a);
	aml_io(a, LAYOUT_PORT_PVPANIC, 1);
	aml_end_crs(a, crs);
	aml_end(a, device);
}

static void add_power_button(struct aml *a)
{
	struct aml_block device = aml_begin_device(a, "PWRB");

	aml_name(a, "_HID");
	aml_eisa_id(a, "PNP0C0C");
	aml_end(a, device);
}

/* ADDR is the address in two halves; Linux knows the _HID, Windows the _CID. */
static void add_vmgenid(struct aml *a)
{
	struct aml_block device = aml_begin_device(a, "VGEN"), package;

	aml_name(a, "_HID");
	aml_string(a, "VMGENCTR");
	aml_name(a, "_CID");
	aml_string(a, "VM_Gen_Counter");
	aml_name(a, "_DDN");
	aml_string(a, "VM_Gen_Counter");
	aml_name(a, "ADDR");
	package = aml_begin_package(a, 2);
	aml_integer(a, LAYOUT_VMGENID);
	aml_integer(a, 0);
	aml_end(a, package);
	aml_end(a, device);
}

static void add_event(struct aml *a, unsigned gsi, const char *device, uint64_t value)
{
	struct aml_block block = aml_begin_if_arg0(a, gsi);

	aml_notify(a, device, value);
	aml_end(a, block);
}

/* The generic event device (5.6.9): which interrupt tells whom of what. Linux takes one of each. */
static void add_events(struct aml *a)
{
	struct aml_block device, method;
	struct aml_resources crs;

	device = aml_begin_device(a, "GED_");
	aml_name(a, "_HID");
	aml_string(a, "ACPI0013");
	aml_name(a, "_UID");
	aml_integer(a, 0);
	crs = aml_begin_crs(a);
	aml_interrupt(a, LAYOUT_GSI_POWER);
	aml_interrupt(a, LAYOUT_GSI_VMGENID);
	aml_end_crs(a, crs);
	method = aml_begin_method(a, "_EVT", 1);
	add_event(a, LAYOUT_GSI_POWER, "PWRB", NOTIFY_BUTTON);
	add_event(a, LAYOUT_GSI_VMGENID, "VGEN", NOTIFY_NEW_ID);
	aml_end(a, method);
	aml_end(a, device);
}

/* Soft off is the only sleep state: 7.4.2.6. */
static void add_s5(struct aml *a)
{
	struct aml_block package;

	aml_name(a, "_S5_");
	package = aml_begin_package(a, 4);
	aml_integer(a, LAYOUT_SLEEP_S5);
	aml_integer(a, 0);
	aml_integer(a, 0);
	aml_integer(a, 0);
	aml_end(a, package);
}

static int put_dsdt(struct placement *at, const struct acpi_config *cfg, uint64_t *ret_gpa,
	struct volt_err *err)
{
	struct acpi_header h = header("DSDT", 2, "VOLTDSDT");
	uint8_t buf[DSDT_BYTES_MAX];
	struct aml a = { .buf = buf, .cap = sizeof(buf), .len = sizeof(h) };
	struct aml_block sb;

	sb = aml_begin_scope(&a, "\\_SB_");
	for (unsigned i = 0; i < cfg->n_virtio; i++)
		add_virtio(&a, i, &cfg->virtio[i]);
	if (cfg->serial)
		add_serial(&a);
	if (cfg->keyboard)
		add_keyboard(&a);
	if (cfg->pvpanic)
		add_pvpanic(&a);
	add_power_button(&a);
	add_vmgenid(&a);
	add_events(&a);
	aml_end(&a, sb);
	add_s5(&a);
	if (a.overflow)
		return volt_err_set(err, ENOSPC, "ACPI: the DSDT is longer than %d bytes",
			DSDT_BYTES_MAX);
	memcpy(buf, &h, sizeof(h));
	return put(at, buf, a.len, ret_gpa, err);
}

static int put_fadt(struct placement *at, const struct acpi_config *cfg, uint64_t dsdt,
	uint64_t *ret_gpa, struct volt_err *err)
{
	struct fadt t = {
		.header = header("FACP", 6, "VOLTFADT"),
		.ia_boot_arch = FADT_BOOT_NO_VGA | FADT_BOOT_NO_CMOS_RTC,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON |
			FADT_RESET_REG | FADT_HW_REDUCED,
		.reset_reg = GAS_PORT(LAYOUT_PORT_RESET),
		.reset_value = LAYOUT_RESET_VALUE,
		.minor_version = 5,
		.x_dsdt = dsdt,
		.sleep_control = GAS_PORT(LAYOUT_PORT_SLEEP_CONTROL),
		.sleep_status = GAS_PORT(LAYOUT_PORT_SLEEP_STATUS),
		.hypervisor = { 'V', 'O', 'L', 'T', 'V', 'M', 'M' },
	};

	static_assert(sizeof(struct fadt) == 276 && offsetof(struct fadt, ia_boot_arch) == 109 &&
			offsetof(struct fadt, x_dsdt) == 140 &&
			offsetof(struct fadt, sleep_control) == 244,
		"table 5.9");
	if (cfg->keyboard)
		t.ia_boot_arch |= FADT_BOOT_8042;
	return put(at, &t, sizeof(t), ret_gpa, err);
}

static int put_madt(struct placement *at, const struct acpi_config *cfg, uint64_t *ret_gpa,
	struct volt_err *err)
{
	const struct madt t = { .header = header("APIC", 6, "VOLTMADT"), .lapic = LAYOUT_LAPIC };
	const struct madt_ioapic ioapic = { .type = MADT_IOAPIC, .bytes = sizeof(ioapic),
		.gpa = LAYOUT_IOAPIC };
	const struct madt_lapic_nmi nmi = { .type = MADT_LAPIC_NMI, .bytes = sizeof(nmi),
		.uid = 0xff, .lint = 1 }; /* all processors */
	uint8_t buf[MADT_BYTES_MAX], *p = buf;

	p = mempcpy(p, &t, sizeof(t));
	for (unsigned i = 0; i < cfg->n_vcpus; i++) {
		const struct madt_lapic lapic = { .type = MADT_LAPIC, .bytes = sizeof(lapic),
			.uid = (uint8_t)i, .apic_id = (uint8_t)i, .flags = 1 };

		p = mempcpy(p, &lapic, sizeof(lapic));
	}
	p = mempcpy(p, &ioapic, sizeof(ioapic));
	p = mempcpy(p, &nmi, sizeof(nmi));
	return put(at, buf, (size_t)(p - buf), ret_gpa, err);
}

static int put_rsdp(const struct gmem *m, uint64_t xsdt, struct volt_err *err)
{
	struct rsdp r = {
		.signature = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' },
		.oem_id = OEM_ID,
		.revision = 2,
		.bytes = sizeof(r),
		.xsdt = xsdt,
	};

	static_assert(sizeof(r) == 36, "5.2.5.3");
	r.checksum = checksum(&r, 20);
	r.extended_checksum = checksum(&r, sizeof(r));
	if (gmem_write(m, GPA(LAYOUT_RSDP), &r, sizeof(r)) < 0)
		return volt_err_set(err, EFAULT, "ACPI: guest memory ends below 1 MiB");
	return 0;
}

int acpi_write(const struct gmem *m, uint64_t start, const struct acpi_config *cfg,
	struct volt_err *err)
{
	struct placement at = { .m = m, .next = start, .end = LAYOUT_TABLES_END };
	struct PACKED {
		struct acpi_header header;
		uint64_t tables[2];
	} x = { .header = header("XSDT", 1, "VOLTXSDT") };
	uint64_t dsdt, fadt, madt, xsdt;
	int r;

	assert(cfg->n_vcpus >= 1 && cfg->n_vcpus <= LIMIT_VCPUS && cfg->n_virtio <= LIMIT_VIRTIO);
	r = put_dsdt(&at, cfg, &dsdt, err);
	if (r < 0)
		return r;
	r = put_fadt(&at, cfg, dsdt, &fadt, err);
	if (r < 0)
		return r;
	r = put_madt(&at, cfg, &madt, err);
	if (r < 0)
		return r;
	x.tables[0] = fadt;
	x.tables[1] = madt;
	r = put(&at, &x, sizeof(x), &xsdt, err);
	if (r < 0)
		return r;
	return put_rsdp(m, xsdt, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* I/O APIC, see ioapic.h. Register numbers: 82093AA data sheet, section 3. */
#include "ioapic.h"

#include <stdbool.h>
#include <string.h>

#include "kvm.h"
#include "log.h"
#include "num.h"
#include "state.h"

#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REG_EOI	   0x40 /* version 0x20 and later */

#define INDEX_ID	  0x00
#define INDEX_VERSION	  0x01
#define INDEX_ARBITRATION 0x02
#define INDEX_TABLE	  0x10

#define VERSION 0x20

#define RTE_VECTOR	  UINT64_C(0xff)
#define RTE_DELIVERY	  (UINT64_C(7) << 8)
#define RTE_LOGICAL	  (UINT64_C(1) << 11)
#define RTE_DELIVERY_BUSY (UINT64_C(1) << 12)
#define RTE_REMOTE_IRR	  (UINT64_C(1) << 14)
#define RTE_LEVEL	  (UINT64_C(1) << 15)
#define RTE_MASKED	  (UINT64_C(1) << 16)
#define RTE_READ_ONLY	  (RTE_DELIVERY_BUSY | RTE_REMOTE_IRR)

/*
 * The MSI that redirection entry e stands for (Intel SDM 3A, 11.11; bits 51:48 as KVM and Linux use
 * them).
 */
static struct kvm_msi msi_of(uint64_t e)
{
	uint32_t dest = (uint32_t)(e >> 56) & 0xff;
	uint32_t dest_ext = (uint32_t)(e >> 49) & 0x7f;

	return (struct kvm_msi){
		.address_lo = UINT32_C(0xfee00000) | dest << 12 | dest_ext << 5 |
			((e & RTE_LOGICAL) ? 1u << 2 : 0),
		.data = (uint32_t)(e & (RTE_VECTOR | RTE_DELIVERY)) |
			((e & RTE_LEVEL) ? (1u << 15 | 1u << 14) : 0),
	};
}

/* Lock held. Delivers pin if it is pending and may be delivered. */
static void deliver(struct ioapic *a, unsigned pin)
{
	uint64_t e = a->redirection[pin];
	struct kvm_msi msi;

	if (!(a->pending & 1u << pin) || (e & RTE_MASKED))
		return;
	if ((e & RTE_LEVEL) && (e & RTE_REMOTE_IRR))
		return;
	a->pending &= ~(1u << pin);
	if (e & RTE_LEVEL)
		a->redirection[pin] |= RTE_REMOTE_IRR;
	msi = msi_of(e);
	if (kvm_signal_msi(a->vmfd, &msi) < 0)
		atomic_fetch_add_explicit(&a->failed, 1, memory_order_relaxed);
	else
		atomic_fetch_add_explicit(&a->delivered, 1, memory_order_relaxed);
}

/* Lock held. Gives KVM the routes of `lines`, all of them as in a->routes. */
static int set_routes(struct ioapic *a, uint32_t lines)
{
	_Alignas(struct kvm_irq_routing) uint8_t raw[sizeof(struct kvm_irq_routing) +
		LAYOUT_N_GSI * sizeof(struct kvm_irq_routing_entry)] = { 0 };
	struct kvm_irq_routing *table = (void *)raw;

	for (unsigned pin = 0; pin < LAYOUT_N_GSI; pin++) {
		const struct kvm_msi *msi = &a->routes[pin];

		if (!(lines & 1u << pin))
			continue;
		table->entries[table->nr++] = (struct kvm_irq_routing_entry){
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = msi->address_lo, .data = msi->data },
		};
	}
	atomic_fetch_add_explicit(&a->routings, 1, memory_order_relaxed);
	return kvm_set_gsi_routing(a->vmfd, table);
}

/*
 * Lock held. Tells KVM if the entry of a line that the kernel raises has changed. If that fails,
 * KVM keeps the table that it had, and the next change is another try.
 */
static void route(struct ioapic *a, unsigned pin)
{
	uint64_t e = a->redirection[pin];
	uint32_t bit = 1u << pin, lines = (e & RTE_MASKED) ? a->routed & ~bit : a->routed | bit;
	struct kvm_msi before = a->routes[pin], now = msi_of(e);
	bool same = before.address_lo == now.address_lo && before.data == now.data;
	int r;

	if (!(a->irqfds & bit) || (lines == a->routed && (same || !(lines & bit))))
		return;
	a->routes[pin] = now;
	r = set_routes(a, lines);
	if (r < 0) {
		a->routes[pin] = before;
		atomic_fetch_add_explicit(&a->routings_failed, 1, memory_order_relaxed);
		log_guest(LOG_ERROR, "interrupt line %u: KVM_SET_GSI_ROUTING: %s", pin,
			strerror(-r));
		return;
	}
	if (lines & ~a->routed)
		a->pending |= bit; /* for the edge that may have come without a route */
	a->routed = lines;
}

static uint32_t read_index(const struct ioapic *a)
{
	unsigned pin = (unsigned)(a->select - INDEX_TABLE) / 2;

	switch (a->select) {
	case INDEX_ID:
	case INDEX_ARBITRATION:
		return (uint32_t)a->id << 24;
	case INDEX_VERSION:
		return (LAYOUT_N_GSI - 1) << 16 | VERSION;
	default:
		if (a->select < INDEX_TABLE || pin >= LAYOUT_N_GSI)
			return 0;
		return (uint32_t)(a->redirection[pin] >> (a->select % 2 ? 32 : 0));
	}
}

static void write_index(struct ioapic *a, uint32_t v)
{
	unsigned pin = (unsigned)(a->select - INDEX_TABLE) / 2;
	uint64_t *e;

	if (a->select == INDEX_ID) {
		a->id = (v >> 24) & 0xf;
		return;
	}
	if (a->select < INDEX_TABLE || pin >= LAYOUT_N_GSI)
		return;
	e = &a->redirection[pin];
	if (a->select % 2)
		*e = (*e & UINT32_MAX) | (uint64_t)v << 32;
	else
		*e = (*e & (~(uint64_t)UINT32_MAX | RTE_READ_ONLY)) |
			(v & ~(uint32_t)RTE_READ_ONLY);
	if (!(*e & RTE_LEVEL))
		*e &= ~RTE_REMOTE_IRR;
	route(a, pin);
	deliver(a, pin);
}

static void reg_read(struct dev *d, uint64_t off, void *data, unsigned len)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);

	if (len != 4)
		return;
	if (off == REG_SELECT)
		num_put_le32(data, a->select);
	else if (off == REG_WINDOW)
		num_put_le32(data, read_index(a));
}

/* Lock held. */
static void eoi(struct ioapic *a, uint8_t vector)
{
	for (unsigned pin = 0; pin < LAYOUT_N_GSI; pin++) {
		uint64_t e = a->redirection[pin];

		if ((e & RTE_VECTOR) != vector || !(e & RTE_REMOTE_IRR))
			continue;
		a->redirection[pin] &= ~RTE_REMOTE_IRR;
		deliver(a, pin);
	}
}

static void reg_write(struct dev *d, uint64_t off, const void *data, unsigned len)
{
	struct ioapic *a = container_of(d, struct ioapic, dev);
	uint32_t v;

	if (len != 4)
		return;
	v = num_get_le32(data);
	if (off == REG_SELECT)
		a->select = (uint8_t)v;
	else if (off == REG_WINDOW)
		write_index(a, v);
	else if (off == REG_EOI)
		eoi(a, (uint8_t)v);
}

static const struct dev_ops ioapic_ops = { .name = "ioapic", .read = reg_read, .write = reg_write };

void ioapic_init(struct ioapic *a, int vmfd)
{
	*a = (struct ioapic){ .vmfd = vmfd };
	dev_init(&a->dev, &ioapic_ops);
	for (unsigned pin = 0; pin < LAYOUT_N_GSI; pin++)
		a->redirection[pin] = RTE_MASKED;
}

void ioapic_done(struct ioapic *a)
{
	dev_done(&a->dev);
}

void ioapic_raise(struct ioapic *a, unsigned gsi)
{
	assert(gsi < LAYOUT_N_GSI);
	pthread_mutex_lock(&a->dev.lock);
	a->pending |= 1u << gsi;
	deliver(a, gsi);
	pthread_mutex_unlock(&a->dev.lock);
}

int ioapic_add_irqfd(struct ioapic *a, unsigned gsi, int fd, struct volt_err *err)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)fd, .gsi = gsi };
	int r;

	assert(gsi < LAYOUT_N_GSI && !(a->irqfds & 1u << gsi));
	r = kvm_irqfd(a->vmfd, &irqfd);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_IRQFD of line %u: %m", gsi);
	pthread_mutex_lock(&a->dev.lock);
	a->irqfds |= 1u << gsi;
	route(a, gsi);
	pthread_mutex_unlock(&a->dev.lock);
	return 0;
}

void ioapic_eoi(struct ioapic *a, uint8_t vector)
{
	pthread_mutex_lock(&a->dev.lock);
	eoi(a, vector);
	pthread_mutex_unlock(&a->dev.lock);
}

void ioapic_state(struct ioapic *a, struct state *s)
{
	pthread_mutex_lock(&a->dev.lock);
	state_begin(s, "ioapic", 0, 1);
	state_u8(s, "id", &a->id);
	state_u8(s, "select", &a->select);
	for (unsigned pin = 0; pin < LAYOUT_N_GSI; pin++)
		state_u64(s, "redirection", &a->redirection[pin]);
	a->pending = (uint32_t)state_value(
		s, "pending", a->pending, (UINT64_C(1) << LAYOUT_N_GSI) - 1);
	state_end(s);
	pthread_mutex_unlock(&a->dev.lock);
}

void ioapic_wake(struct ioapic *a)
{
	pthread_mutex_lock(&a->dev.lock);
	for (unsigned pin = 0; pin < LAYOUT_N_GSI; pin++) {
		route(a, pin);
		deliver(a, pin);
	}
	pthread_mutex_unlock(&a->dev.lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State of vCPUs, see cpu-state.h. KVM enforces no order, and most orders lose something:
 *
 *	getting	 MP_STATE first: it takes a pending INIT or SIPI, and so changes registers. Events
 *		 last: the other calls may change what is pending.
 *	setting	 CPUID before XSAVE and MSRs, which it makes legal. SREGS, with APIC_BASE, before
 *the local APIC, whose mode that is. The local APIC before MSRs: a deadline is dropped silently
 *while its timer has another mode, and setting the APIC cancels the timer. KVM's own MSRs after the
 *others: they write to guest memory. The clock, then the TSC, then the deadline, which KVM compares
 *with it. Events last, because setting registers drops them.
 *
 * MSR numbers: Intel SDM volume 4; Documentation/virt/kvm/x86/msr.rst.
 */
#include "cpu-state.h"

#include <errno.h>
#include <string.h>

#include "kvm.h"
#include "msr.h"
#include "num.h"
#include "state.h"

#define MSR_TSC          0x10
#define MSR_TSC_DEADLINE 0x6e0

#define MSR_KVM_FIRST        0x4b564d00
#define MSR_KVM_LAST         0x4b564dff
#define MSR_KVM_ASYNC_PF_INT 0x4b564d06
#define MSR_KVM_OLD_WALL     0x11
#define MSR_KVM_OLD_TIME     0x12

#define LAPIC_LVT_TIMER     0x320
#define LAPIC_TIMER_MODE    (UINT32_C(3) << 17)
#define LAPIC_MODE_DEADLINE (UINT32_C(2) << 17)

/* Commands, which have no value: PRED_CMD, UCODE_WRITE, FLUSH_CMD. */
static bool is_command(uint32_t msr)
{
	return msr == 0x49 || msr == 0x79 || msr == 0x10b;
}

/* Has a place of its own in the order. */
static bool is_time(uint32_t msr)
{
	return msr == MSR_TSC || msr == MSR_TSC_DEADLINE;
}

static bool is_kvms(uint32_t msr)
{
	return (msr >= MSR_KVM_FIRST && msr <= MSR_KVM_LAST) || msr == MSR_KVM_OLD_WALL ||
	       msr == MSR_KVM_OLD_TIME;
}

/* -- which MSRs ------------------------------------------------------------------------------ */

/* Those that KVM has for guests and does not list, or not on every kernel. */
static const struct {
	uint32_t first, last;
} extra[] = {
	{ 0x48, 0x48 }, /* SPEC_CTRL */
	{ 0x122, 0x122 }, /* TSX_CTRL */
	{ 0x1a0, 0x1a0 }, /* MISC_ENABLE */
	{ 0x200, 0x20f }, /* MTRRs, PAT */
	{ 0x250, 0x250 },
	{ 0x258, 0x259 },
	{ 0x268, 0x26f },
	{ 0x277, 0x277 },
	{ 0x2ff, 0x2ff },
	{ 0x400, 0x47f }, /* machine check banks */
	{ 0x6a0, 0x6a8 }, /* CET */
	{ 0xda0, 0xda0 }, /* XSS */
	{ MSR_KVM_FIRST, MSR_KVM_LAST },
};

static bool has(const struct cpu_msrs *m, uint32_t index)
{
	for (uint32_t i = 0; i < m->n; i++)
		if (m->index[i] == index)
			return true;
	return false;
}

static void consider(struct cpu_msrs *m, uint32_t index)
{
	if (m->n < CPU_STATE_MSRS && !is_command(index) && !is_time(index) && !has(m, index))
		m->index[m->n++] = index;
}

/* Keeps those that can be read: KVM stops at each that cannot. */
static int keep_readable(int vcpufd, struct cpu_msrs *m)
{
	struct kvm_msr_entry entries[64];
	uint32_t at = 0, kept = 0;

	while (at < m->n) {
		size_t n = MIN(m->n - at, (uint32_t)ARRAY_SIZE(entries));
		ssize_t got;

		for (size_t i = 0; i < n; i++)
			entries[i] = (struct kvm_msr_entry){ .index = m->index[at + i] };
		got = msr_get(vcpufd, entries, n);
		if (got < 0)
			return (int)got;
		for (ssize_t i = 0; i < got; i++)
			m->index[kept++] = m->index[at++];
		at += (size_t)got < n; /* that one cannot */
	}
	m->n = kept;
	return 0;
}

/* KVM's own last; of these, the interrupt of asynchronous page faults before what switches them on.
 */
static void sort(struct cpu_msrs *m)
{
	struct cpu_msrs in = *m;

	m->n = 0;
	for (uint32_t i = 0; i < in.n; i++)
		if (!is_kvms(in.index[i]))
			m->index[m->n++] = in.index[i];
	for (uint32_t i = 0; i < in.n; i++)
		if (in.index[i] == MSR_KVM_ASYNC_PF_INT)
			m->index[m->n++] = in.index[i];
	for (uint32_t i = 0; i < in.n; i++)
		if (is_kvms(in.index[i]) && in.index[i] != MSR_KVM_ASYNC_PF_INT)
			m->index[m->n++] = in.index[i];
}

int cpu_msrs_find(const struct cpu_host *h, int vcpufd, struct cpu_msrs *ret, struct volt_err *err)
{
	int r;

	ret->n = 0;
	for (uint32_t i = 0; i < h->n_msrs; i++)
		consider(ret, h->msrs[i]);
	for (size_t i = 0; i < ARRAY_SIZE(extra); i++)
		for (uint32_t msr = extra[i].first; msr <= extra[i].last; msr++)
			consider(ret, msr);
	r = keep_readable(vcpufd, ret);
	if (r < 0)
		return volt_err_set(err, -r, "read MSRs: %m");
	sort(ret);
	return 0;
}

/* -- the clock ------------------------------------------------------------------------------- */

int cpu_clock_get(int vmfd, struct cpu_clock *ret, struct volt_err *err)
{
	struct kvm_clock_data d = { 0 };
	int r = kvm_get_clock(vmfd, &d);

	if (r < 0)
		return volt_err_set(err, -r, "KVM_GET_CLOCK: %m");
	*ret = (struct cpu_clock){ .clock_ns = d.clock, .flags = d.flags };
	if (d.flags & KVM_CLOCK_HOST_TSC)
		ret->host_tsc = d.host_tsc;
	if (d.flags & KVM_CLOCK_REALTIME)
		ret->realtime_ns = d.realtime;
	return 0;
}

void cpu_clock_state(struct cpu_clock *c, struct state *s)
{
	state_begin(s, "clock", 0, 1);
	state_u64(s, "clock-ns", &c->clock_ns);
	state_u64(s, "host-tsc", &c->host_tsc);
	state_u64(s, "realtime-ns", &c->realtime_ns);
	state_u32(s, "flags", &c->flags);
	state_end(s);
}

/* Without KVM_CLOCK_REALTIME: time has stood still, the guest's wall clock is set by others. */
int cpu_clock_set(
	int vmfd, const struct cpu_clock *c, struct cpu_clock *ret_now, struct volt_err *err)
{
	const struct kvm_clock_data d = { .clock = c->clock_ns };
	int r = kvm_set_clock(vmfd, &d);

	if (r < 0)
		return volt_err_set(err, -r, "KVM_SET_CLOCK: %m");
	return cpu_clock_get(vmfd, ret_now, err);
}

/* -- getting --------------------------------------------------------------------------------- */

static int get_registers(
	int fd, struct cpu_state *c, const struct cpu_host *h, struct volt_err *err)
{
	int r = kvm_get_mp_state(fd, &c->mp);

	if (r < 0)
		return volt_err_set(err, -r, "KVM_GET_MP_STATE: %m");
	r = kvm_get_regs(fd, &c->regs);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_GET_REGS: %m");
	r = kvm_get_sregs2(fd, &c->sregs);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_GET_SREGS2, which Linux 5.14 has: %m");
	if (h->xsave_bytes == 0 || h->xsave_bytes > sizeof(c->xsave))
		return volt_err_set(err, ENOTSUP,
			"this kernel's KVM lacks KVM_CAP_XSAVE2, which Linux 5.17 has, or has "
			"vector "
			"registers of more than %zu bytes",
			sizeof(c->xsave));
	r = kvm_get_xsave2(fd, c->xsave);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_GET_XSAVE2: %m");
	r = kvm_get_xcrs(fd, &c->xcrs);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_GET_XCRS: %m");
	r = kvm_get_debugregs(fd, &c->debug);
	return r < 0 ? volt_err_set(err, -r, "KVM_GET_DEBUGREGS: %m") : 0;
}

static bool has_deadline(const struct cpu_state *c)
{
	uint32_t lvt = num_get_le32(c->lapic.regs + LAPIC_LVT_TIMER);

	return (lvt & LAPIC_TIMER_MODE) == LAPIC_MODE_DEADLINE;
}

static int get_time(int fd, struct cpu_state *c, struct volt_err *err)
{
	struct kvm_msr_entry tsc = { .index = MSR_TSC }, deadline = { .index = MSR_TSC_DEADLINE };
	int khz = kvm_get_tsc_khz(fd);

	if (khz <= 0)
		return volt_err_set(err, khz ? -khz : EIO, "KVM_GET_TSC_KHZ: %m");
	if (msr_get(fd, &tsc, 1) != 1)
		return volt_err_set(err, EIO, "the time stamp counter cannot be read");
	c->tsc_khz = (uint32_t)khz;
	c->tsc = tsc.data;
	c->tsc_offset = 0;
	c->has_offset = kvm_get_tsc_offset(fd, &c->tsc_offset) == 0;
	c->tsc_deadline = msr_get(fd, &deadline, 1) == 1 ? deadline.data : 0;
	/* It has passed, and its interrupt is perhaps not delivered: then it passes again. */
	if (c->tsc_deadline == 0 && has_deadline(c))
		c->tsc_deadline = c->tsc;
	return 0;
}

static int get_msrs(int fd, const struct cpu_msrs *msrs, struct cpu_state *c, struct volt_err *err)
{
	ssize_t n;

	c->n_msrs = msrs->n;
	for (uint32_t i = 0; i < msrs->n; i++)
		c->msrs[i] = (struct kvm_msr_entry){ .index = msrs->index[i] };
	n = msr_get(fd, c->msrs, msrs->n);
	if (n < 0)
		return volt_err_set(err, (int)-n, "KVM_GET_MSRS: %m");
	if ((size_t)n < msrs->n)
		return volt_err_set(
			err, EIO, "MSR 0x%x could be read before, and cannot now", msrs->index[n]);
	return 0;
}

int cpu_state_get(int vcpufd, const struct cpu_host *h, const struct cpu_msrs *msrs,
	struct cpu_state *ret, struct volt_err *err)
{
	int r = get_registers(vcpufd, ret, h, err);

	if (r < 0)
		return r;
	r = kvm_get_lapic(vcpufd, &ret->lapic);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_GET_LAPIC: %m");
	r = get_time(vcpufd, ret, err);
	if (r < 0)
		return r;
	memset(&ret->cpuid, 0, sizeof(ret->cpuid));
	ret->cpuid.nent = CPUID_ENTRIES_MAX;
	r = kvm_get_cpuid2(vcpufd, (struct kvm_cpuid2 *)(void *)&ret->cpuid);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_GET_CPUID2: %m");
	r = get_msrs(vcpufd, msrs, ret, err);
	if (r < 0)
		return r;
	r = kvm_get_vcpu_events(vcpufd, &ret->events);
	return r < 0 ? volt_err_set(err, -r, "KVM_GET_VCPU_EVENTS: %m") : 0;
}

/* -- fields ---------------------------------------------------------------------------------- */

struct word {
	const char *name;
	size_t at;
};

#define REG(r)                                                                                     \
	{                                                                                          \
#r, offsetof(struct kvm_regs, r)                                                   \
	}
#define SREG(r)                                                                                    \
	{                                                                                          \
#r, offsetof(struct kvm_sregs2, r)                                                 \
	}

static const struct word regs[] = { REG(rax), REG(rbx), REG(rcx), REG(rdx), REG(rsi), REG(rdi),
	REG(rsp), REG(rbp), REG(r8), REG(r9), REG(r10), REG(r11), REG(r12), REG(r13), REG(r14),
	REG(r15), REG(rip), REG(rflags) };
static const struct word sregs[] = { SREG(cr0), SREG(cr2), SREG(cr3), SREG(cr4), SREG(cr8),
	SREG(efer), SREG(apic_base), SREG(flags) };
/* struct kvm_segment, struct kvm_dtable */
static const struct word segments[] = { SREG(cs), SREG(ds), SREG(es), SREG(fs), SREG(gs), SREG(ss),
	SREG(tr), SREG(ldt) };
static const struct word tables[] = { SREG(gdt), SREG(idt) };

static void words_fields(void *base, const struct word *w, size_t n, struct state *s)
{
	for (size_t i = 0; i < n; i++)
		state_u64(s, w[i].name, (uint64_t *)(void *)((uint8_t *)base + w[i].at));
}

static void parts_fields(void *base, const struct word *w, size_t n, size_t bytes, struct state *s)
{
	for (size_t i = 0; i < n; i++)
		state_bytes(s, w[i].name, (uint8_t *)base + w[i].at, bytes);
}

static void cpuid_fields(struct cpuid *c, struct state *s)
{
	size_t bytes = c->nent * sizeof(c->entries[0]);

	state_blob(s, "cpuid", c->entries, &bytes, sizeof(c->entries));
	if (state_loading(s) && bytes % sizeof(c->entries[0]))
		state_refuse(s, "cpuid", "is not whole entries");
	c->nent = (uint32_t)(bytes / sizeof(c->entries[0]));
}

static void msrs_fields(struct cpu_state *c, struct state *s)
{
	size_t bytes = c->n_msrs * sizeof(c->msrs[0]);

	state_blob(s, "msrs", c->msrs, &bytes, sizeof(c->msrs));
	if (state_loading(s) && bytes % sizeof(c->msrs[0]))
		state_refuse(s, "msrs", "is not whole entries");
	c->n_msrs = (uint32_t)(bytes / sizeof(c->msrs[0]));
	for (uint32_t i = 0; state_loading(s) && i < c->n_msrs; i++)
		if (is_command(c->msrs[i].index) || is_time(c->msrs[i].index))
			state_refuse(s, "msrs", "0x%x has no value to load", c->msrs[i].index);
}

void cpu_state_fields(
	struct cpu_state *c, const struct cpu_host *h, unsigned index, struct state *s)
{
	state_begin(s, "vcpu", index, 1);
	state_u32(s, "mp-state", &c->mp.mp_state);
	words_fields(&c->regs, regs, ARRAY_SIZE(regs), s);
	words_fields(&c->sregs, sregs, ARRAY_SIZE(sregs), s);
	parts_fields(&c->sregs, segments, ARRAY_SIZE(segments), sizeof(c->sregs.cs), s);
	parts_fields(&c->sregs, tables, ARRAY_SIZE(tables), sizeof(c->sregs.gdt), s);
	state_bytes(s, "pdptrs", c->sregs.pdptrs, sizeof(c->sregs.pdptrs));
	state_bytes(s, "xsave", c->xsave, MIN(h->xsave_bytes, (uint32_t)sizeof(c->xsave)));
	state_bytes(s, "xcrs", &c->xcrs, sizeof(c->xcrs));
	state_bytes(s, "debugregs", &c->debug, sizeof(c->debug));
	state_bytes(s, "lapic", &c->lapic, sizeof(c->lapic));
	cpuid_fields(&c->cpuid, s);
	state_u32(s, "tsc-khz", &c->tsc_khz);
	state_u64(s, "tsc", &c->tsc);
	state_bool(s, "tsc-has-offset", &c->has_offset);
	state_u64(s, "tsc-offset", &c->tsc_offset);
	state_u64(s, "tsc-deadline", &c->tsc_deadline);
	msrs_fields(c, s);
	state_bytes(s, "events", &c->events, sizeof(c->events));
	if (state_loading(s) && c->tsc_khz == 0)
		state_refuse(s, "tsc-khz", "is 0");
	state_end(s);
}

/* -- setting --------------------------------------------------------------------------------- */

/* KVM takes a CPUID only before the first KVM_RUN; the same one at any time. */
static int set_cpuid(int fd, const struct cpu_state *c, struct volt_err *err)
{
	int r = kvm_set_cpuid2(fd, (const struct kvm_cpuid2 *)(const void *)&c->cpuid);

	return r < 0 ? volt_err_set(err, -r, "KVM_SET_CPUID2: %m") : 0;
}

static int set_registers(int fd, const struct cpu_state *c, struct volt_err *err)
{
	int r = kvm_set_mp_state(fd, &c->mp);

	if (r < 0)
		return volt_err_set(err, -r, "KVM_SET_MP_STATE: %m");
	r = kvm_set_sregs2(fd, &c->sregs);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_SET_SREGS2: %m");
	r = kvm_set_regs(fd, &c->regs);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_SET_REGS: %m");
	r = kvm_set_xsave(fd, c->xsave);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_SET_XSAVE: %m");
	r = kvm_set_xcrs(fd, &c->xcrs);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_SET_XCRS: %m");
	r = kvm_set_debugregs(fd, &c->debug);
	return r < 0 ? volt_err_set(err, -r, "KVM_SET_DEBUGREGS: %m") : 0;
}

/* One that KVM refuses to set may be one that cannot be set, and says the right thing already. */
static int set_msrs(int fd, const struct cpu_state *c, struct volt_err *err)
{
	uint32_t at = 0;

	while (at < c->n_msrs) {
		struct kvm_msr_entry entries[64], is;
		size_t n = MIN(c->n_msrs - at, (uint32_t)ARRAY_SIZE(entries));
		ssize_t done;

		memcpy(entries, &c->msrs[at], n * sizeof(entries[0]));
		done = msr_set(fd, entries, n);
		if (done < 0)
			return volt_err_set(err, (int)-done, "KVM_SET_MSRS: %m");
		at += (uint32_t)done;
		if ((size_t)done == n)
			continue;
		is = (struct kvm_msr_entry){ .index = c->msrs[at].index };
		if (msr_get(fd, &is, 1) != 1 || is.data != c->msrs[at].data)
			return volt_err_set(err, ENOTSUP,
				"KVM refuses to set MSR 0x%x to 0x%llx: another host or kernel "
				"than the one that saved it",
				is.index, (unsigned long long)c->msrs[at].data);
		at++;
	}
	return 0;
}

int cpu_state_set(
	int vcpufd, const struct cpu_host *h, const struct cpu_state *c, struct volt_err *err)
{
	int r = set_cpuid(vcpufd, c, err);

	if (r < 0)
		return r;
	if (cpu_host_tsc_differs(h, c->tsc_khz)) {
		r = kvm_set_tsc_khz(vcpufd, c->tsc_khz);
		if (r < 0)
			return volt_err_set(err, -r, "KVM_SET_TSC_KHZ of %u: %m", c->tsc_khz);
	}
	r = set_registers(vcpufd, c, err);
	if (r < 0)
		return r;
	r = kvm_set_lapic(vcpufd, &c->lapic);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_SET_LAPIC: %m");
	return set_msrs(vcpufd, c, err);
}

/*
 * The offset with which the TSC, as kvmclock, goes on from where it was: then
 * host_tsc + offset + (what kvmclock has gained since) is what it is now. All arithmetic wraps.
 */
static uint64_t offset_now(
	const struct cpu_state *c, const struct cpu_clock *was, const struct cpu_clock *now)
{
	int64_t gained_ns = (int64_t)(now->clock_ns - was->clock_ns);
	__int128 ticks = (__int128)gained_ns * c->tsc_khz / 1000000;

	return c->tsc_offset + (uint64_t)ticks + was->host_tsc - now->host_tsc;
}

static bool knows_offset(
	const struct cpu_state *c, const struct cpu_clock *was, const struct cpu_clock *now)
{
	return c->has_offset && (was->flags & now->flags & KVM_CLOCK_HOST_TSC);
}

/* A software KVM says yes and has none. */
static int set_offset(int fd, uint64_t offset)
{
	int r = kvm_set_tsc_offset(fd, offset);
	uint64_t is;

	if (r == 0)
		r = kvm_get_tsc_offset(fd, &is);
	return r == 0 && is != offset ? -ENOTSUP : r;
}

static int set_msr(int fd, uint32_t index, uint64_t value, const char *name, struct volt_err *err)
{
	struct kvm_msr_entry e = { .index = index, .data = value };
	ssize_t n = msr_set(fd, &e, 1);

	return n == 1 ? 0 : volt_err_set(err, n < 0 ? (int)-n : EIO, "set %s: %m", name);
}

int cpu_state_set_time(int vcpufd, const struct cpu_state *c, const struct cpu_clock *was,
	const struct cpu_clock *now, struct volt_err *err)
{
	int r = -1;

	if (knows_offset(c, was, now))
		r = set_offset(vcpufd, offset_now(c, was, now));
	/* KVM takes writes within a second for one that is meant for all vCPUs. */
	if (r < 0)
		r = set_msr(vcpufd, MSR_TSC, c->tsc, "the time stamp counter", err);
	if (r == 0 && c->tsc_deadline)
		r = set_msr(vcpufd, MSR_TSC_DEADLINE, c->tsc_deadline, "the TSC deadline", err);
	if (r < 0)
		return r;
	r = kvm_set_vcpu_events(vcpufd, &c->events);
	return r < 0 ? volt_err_set(err, -r, "KVM_SET_VCPU_EVENTS: %m") : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Trying KVM, see probe.h. */
#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cleanup.h"
#include "cpu-template.h"
#include "cpuid.h"
#include "kvm.h"

static bool dropped(const struct cpu_template *t, unsigned cap)
{
	for (size_t i = 0; t && i < t->n_caps; i++)
		if (t->caps[i].drop && t->caps[i].number == cap)
			return true;
	return false;
}

static int check_template(int kvmfd, const struct cpu_template *t, struct volt_err *err)
{
	for (size_t i = 0; t && i < t->n_caps; i++)
		if (!t->caps[i].drop && kvm_check_extension(kvmfd, t->caps[i].number) <= 0)
			return volt_err_set(err, ENOTSUP,
				"this kernel's KVM lacks capability %u, which the CPU template "
				"asks for",
				t->caps[i].number);
	return 0;
}

int probe_capabilities(int kvmfd, const struct cpu_template *t, struct volt_err *err)
{
	static const struct {
		unsigned cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_USER_MEMORY, "USER_MEMORY" },
		{ KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR" },
		{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "SET_IDENTITY_MAP_ADDR" },
		{ KVM_CAP_EXT_CPUID, "EXT_CPUID" },
		{ KVM_CAP_SPLIT_IRQCHIP, "SPLIT_IRQCHIP" },
		{ KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI" },
		{ KVM_CAP_IOEVENTFD, "IOEVENTFD" },
		{ KVM_CAP_MP_STATE, "MP_STATE" },
		{ KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT" },
	};
	char lacking[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (!dropped(t, needed[i].cap) && used < sizeof(lacking) &&
			kvm_check_extension(kvmfd, needed[i].cap) <= 0)
			used += (size_t)snprintf(lacking + used, sizeof(lacking) - used,
				" KVM_CAP_%s", needed[i].name);
	if (!used)
		return check_template(kvmfd, t, err);
	return volt_err_set(err, ENOTSUP,
		"this kernel's KVM lacks%s: Linux 5.9 or later, which is needed anyway, has them; "
		"update the host's kernel",
		lacking);
}

static uint32_t cpuid_ecx(uint32_t leaf)
{
	uint32_t a = leaf, b, c = 0, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return c;
}

bool probe_no_hardware_virtualization(void)
{
	bool vmx = cpuid_ecx(1) & 1u << 5;
	bool svm = cpuid_ecx(0x80000001) & 1u << 2;

	return !vmx && !svm;
}

/* Guest-physical layout of the probe: tables, a 16-byte operand, code; one region. */
#define PML4	0x1000
#define PDPT	0x2000
#define PD	0x3000
#define OPERAND 0x4000
#define CODE	0x5000
#define BYTES	0x8000
#define PORT	0x10

static const uint8_t code[] = {
	0xbf, 0x00, 0x40, 0x00, 0x00,	    /* mov $OPERAND, %edi */
	0x31, 0xc0,			    /* xor %eax, %eax */
	0x31, 0xd2,			    /* xor %edx, %edx */
	0x31, 0xdb,			    /* xor %ebx, %ebx */
	0x31, 0xc9,			    /* xor %ecx, %ecx */
	0xf0, 0x48, 0x0f, 0xc7, 0x0f,	    /* lock cmpxchg16b (%rdi) */
	0x0f, 0x57, 0xc0,		    /* xorps %xmm0, %xmm0 */
	0x0f, 0x29, 0x07,		    /* movaps %xmm0, (%rdi) */
	0xe6, PORT,			    /* out %al, $PORT */
};

static void long_mode(struct kvm_sregs *s)
{
	struct kvm_segment cs = { .base = 0, .limit = 0xffffffff, .selector = 8, .type = 11,
		.present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment ds = { .base = 0, .limit = 0xffffffff, .selector = 16, .type = 3,
		.present = 1, .s = 1, .db = 1, .g = 1 };

	s->cr3 = PML4;
	s->cr4 = 1 << 5 | 1 << 9;		  /* PAE, OSFXSR */
	s->cr0 = UINT64_C(0x80000033);		  /* PG, NE, ET, MP, PE */
	s->efer = 1 << 8 | 1 << 10;		  /* LME, LMA */
	s->cs = cs;
	s->ds = s->es = s->fs = s->gs = s->ss = ds;
}

/* Everything the probe holds, released in one place whatever happens. */
struct probe {
	int vmfd, vcpufd;
	uint8_t *mem;
	struct kvm_run *run;
	size_t run_bytes;
	struct cpuid cpuid;
};

static int set_up(int kvmfd, struct probe *p)
{
	struct kvm_cpuid2 *cpuid = (struct kvm_cpuid2 *)(void *)&p->cpuid;
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	struct kvm_userspace_memory_region region = { .memory_size = BYTES };
	struct kvm_sregs sregs;
	int r;

	p->vmfd = kvm_create_vm(kvmfd);
	if (p->vmfd < 0)
		return p->vmfd;
	p->mem = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->mem == MAP_FAILED)
		return -errno;
	*(uint64_t *)(void *)(p->mem + PML4) = PDPT | 3;
	*(uint64_t *)(void *)(p->mem + PDPT) = PD | 3;
	*(uint64_t *)(void *)(p->mem + PD) = 0x83;
	memcpy(p->mem + CODE, code, sizeof(code));
	region.userspace_addr = (uintptr_t)p->mem;
	r = kvm_set_user_memory_region(p->vmfd, &region);
	if (r < 0)
		return r;
	p->vcpufd = kvm_create_vcpu(p->vmfd, 0);
	if (p->vcpufd < 0)
		return p->vcpufd;
	p->run_bytes = (size_t)MAX(kvm_get_vcpu_mmap_size(kvmfd), 0);
	p->run = kvm_map_run(p->vcpufd, p->run_bytes);
	if (!p->run)
		return -errno;
	cpuid->nent = CPUID_ENTRIES_MAX;
	r = kvm_get_supported_cpuid(kvmfd, cpuid);
	if (r == 0)
		r = kvm_set_cpuid2(p->vcpufd, cpuid);
	if (r == 0)
		r = kvm_get_sregs(p->vcpufd, &sregs);
	if (r < 0)
		return r;
	long_mode(&sregs);
	r = kvm_set_sregs(p->vcpufd, &sregs);
	return r < 0 ? r : kvm_set_regs(p->vcpufd, &regs);
}

int probe_run(int kvmfd)
{
	struct probe p = { .vmfd = -1, .vcpufd = -1, .mem = MAP_FAILED };
	int r = set_up(kvmfd, &p);

	if (r == 0) {
		r = kvm_run(p.vcpufd);
		if (r == 0 && !(p.run->exit_reason == KVM_EXIT_IO && p.run->io.port == PORT))
			r = -ENOSYS;
	}
	kvm_unmap_run(p.run, p.run_bytes);
	fd_close(p.vcpufd);
	fd_close(p.vmfd);
	if (p.mem != MAP_FAILED)
		munmap(p.mem, BYTES);
	return r;
}

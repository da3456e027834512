/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints of CPUs, see cpu-fingerprint.h. */
#include "cpu-fingerprint.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "cleanup.h"
#include "cpu-setup.h"
#include "cpuid.h"
#include "layout.h"
#include "msr.h"
#include "vcpu.h"
#include "version.h"

#define MSRS_MAX 1024 /* KVM lists about 150, and up to 500 with all of the PMU */

struct fingerprint {
	int vmfd;
	struct vcpu vcpu;
	struct cpuid cpuid;
	struct { /* struct kvm_msr_list with its entries */
		uint32_t n;
		uint32_t indices[MSRS_MAX];
	} list;
	/* The CPU in the form of a template that sets every bit. */
	struct cpu_template_leaf leaves[CPUID_ENTRIES_MAX];
	struct cpu_template_msr msrs[MSRS_MAX];
	struct cpu_template cpu;
};

static_assert(offsetof(struct kvm_msr_list, indices) == sizeof(uint32_t), "struct kvm_msr_list");

/* MSRs whose values are of the moment, not of the CPU: clocks, and Hyper-V's, which has clocks. */
static bool passes(uint32_t msr)
{
	switch (msr) {
	case 0x10:  /* IA32_TSC */
	case 0x3b:  /* IA32_TSC_ADJUST */
	case 0xe7:  /* IA32_MPERF */
	case 0xe8:  /* IA32_APERF */
	case 0x6e0: /* IA32_TSC_DEADLINE */
		return false;
	default:
		return msr < 0x40000000 || msr > 0x400001ff;
	}
}

static int create_vcpu(struct fingerprint *f, int kvmfd, struct volt_err *err)
{
	int r;

	f->vmfd = kvm_create_vm(kvmfd);
	if (f->vmfd < 0)
		return volt_err_set(err, -f->vmfd, "KVM_CREATE_VM: %m");
	r = kvm_enable_cap(f->vmfd, KVM_CAP_SPLIT_IRQCHIP, LAYOUT_N_GSI);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_CAP_SPLIT_IRQCHIP: %m");
	r = kvm_get_vcpu_mmap_size(kvmfd);
	if (r < 0)
		return volt_err_set(err, -r, "KVM_GET_VCPU_MMAP_SIZE: %m");
	return vcpu_create(NULL, 0, f->vmfd, (size_t)r, &f->vcpu, err);
}

static void describe_cpuid(struct fingerprint *f)
{
	for (uint32_t i = 0; i < f->cpuid.nent; i++) {
		const struct kvm_cpuid_entry2 *e = &f->cpuid.entries[i];
		struct cpu_template_leaf *l = &f->leaves[i];

		*l = (struct cpu_template_leaf){ .leaf = e->function, .subleaf = e->index,
			.flags = e->flags };
		l->regs[CPU_TEMPLATE_EAX].value = e->eax;
		l->regs[CPU_TEMPLATE_EBX].value = e->ebx;
		l->regs[CPU_TEMPLATE_ECX].value = e->ecx;
		l->regs[CPU_TEMPLATE_EDX].value = e->edx;
		for (size_t k = 0; k < ARRAY_SIZE(l->regs); k++)
			l->regs[k].mask = UINT32_MAX;
	}
	f->cpu.leaves = f->leaves;
	f->cpu.n_leaves = f->cpuid.nent;
}

/* KVM lists MSRs that this CPU does not have: what cannot be read is left out. */
static int describe_msrs(struct fingerprint *f, int kvmfd, struct volt_err *err)
{
	int r;

	f->list.n = MSRS_MAX;
	r = kvm_get_msr_index_list(kvmfd, (struct kvm_msr_list *)(void *)&f->list);
	if (r < 0)
		return volt_err_set(err, -r, "ask KVM for its MSRs (room for %d): %m", MSRS_MAX);
	for (uint32_t i = 0; i < f->list.n; i++) {
		struct kvm_msr_entry e = { .index = f->list.indices[i] };

		if (!passes(e.index) || msr_get(f->vcpu.fd, &e, 1) != 1)
			continue;
		f->msrs[f->cpu.n_msrs++] =
			(struct cpu_template_msr){ e.index, UINT64_MAX, e.data };
	}
	f->cpu.msrs = f->msrs;
	return 0;
}

/* The value of the first line "key : value" of /proc/cpuinfo; "" if there is none. */
static void cpuinfo(const char *key, char *ret, size_t size)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/cpuinfo", "re");
	char line[4096];

	ret[0] = '\0';
	while (f && fgets(line, sizeof(line), f)) {
		const char *colon = strchr(line, ':');

		if (!colon || strncmp(line, key, strlen(key)) != 0 || line[strlen(key)] != '\t')
			continue;
		snprintf(ret, size, "%.*s", (int)strcspn(colon + 1, "\n"), colon + 1);
		memmove(ret, ret + strspn(ret, " "), strlen(ret + strspn(ret, " ")) + 1);
		return;
	}
}

static json_t *document(const struct fingerprint *f)
{
	struct cpu_template_host host;
	char microcode[64], model[128];
	struct utsname uts;

	cpu_template_static_host(&host);
	cpuinfo("microcode", microcode, sizeof(microcode));
	cpuinfo("model name", model, sizeof(model));
	if (uname(&uts) < 0)
		return NULL;
	return json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:i, s:i, s:i}, s:o}", "volt_version",
		VOLT_VERSION, "kernel_version", uts.release, "microcode_version", microcode, "cpu",
		"vendor", host.vendor, "name", model, "family", (int)host.family, "model",
		(int)host.model, "stepping", (int)host.stepping, "guest_cpu_config",
		cpu_template_json_write(&f->cpu));
}

static int build(struct fingerprint *f, int kvmfd, const struct vm_config *cfg,
	const struct cpu_template *custom, struct volt_err *err)
{
	int r = create_vcpu(f, kvmfd, err);

	if (r == 0)
		r = cpu_setup(kvmfd, cfg, custom, &f->vcpu, 1, err);
	if (r < 0)
		return r;
	f->cpuid.nent = CPUID_ENTRIES_MAX;
	r = kvm_get_cpuid2(f->vcpu.fd, (struct kvm_cpuid2 *)(void *)&f->cpuid);
	if (r < 0)
		return volt_err_set(err, -r, "read back CPUID: %m");
	describe_cpuid(f);
	return describe_msrs(f, kvmfd, err);
}

int cpu_fingerprint(int kvmfd, const struct vm_config *cfg, const struct cpu_template *custom,
	FILE *out, struct volt_err *err)
{
	_cleanup_free_ struct fingerprint *f = calloc(1, sizeof(*f));
	json_t *v = NULL;
	int r;

	if (!f)
		return volt_err_set(err, ENOMEM, "fingerprint: %m");
	f->vmfd = f->vcpu.fd = -1;
	r = build(f, kvmfd, cfg, custom, err);
	if (r == 0) {
		v = document(f);
		if (!v)
			r = volt_err_set(err, ENOMEM, "fingerprint: %m");
		else if (json_dumpf(v, out, JSON_INDENT(2)) < 0 || fputc('\n', out) == EOF ||
			fflush(out) == EOF)
			r = volt_err_set(err, EIO, "write the fingerprint: %m");
	}
	json_decref(v);
	vcpu_destroy(&f->vcpu);
	fd_close(f->vmfd);
	return r;
}

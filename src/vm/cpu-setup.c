/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID and MSRs of the vCPUs, see cpu-setup.h. */
#include "cpu-setup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "cpuid.h"
#include "msr.h"
#include "vcpu.h"

static void decref(json_t **v)
{
	json_decref(*v);
}

/* ---- loading ---- */

static ssize_t read_some(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, buf + len, size - len);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? -errno : (ssize_t)len;
}

/* The JSON value in a file, or NULL. O_NONBLOCK: a FIFO nobody writes to must not hold us. */
static json_t *read_file(const char *path, struct volt_err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *text = malloc(LIMIT_CONFIG_BYTES + 1);
	json_error_t fault;
	json_t *v = NULL;
	ssize_t n;

	n = fd < 0 ? -errno : text ? read_some(fd, text, LIMIT_CONFIG_BYTES + 1) : -ENOMEM;
	if (n < 0) {
		volt_err_set(err, (int)-n, "%s cannot be read: %m", path);
	} else if (n > LIMIT_CONFIG_BYTES) {
		volt_err_set(err, EFBIG, "%s is larger than %d bytes", path, LIMIT_CONFIG_BYTES);
	} else {
		v = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, &fault);
		if (!v)
			volt_err_set(err, EINVAL, "%s:%d:%d: %s", path, fault.line,
				MAX(fault.column, 0), fault.text);
	}
	return v;
}

int cpu_setup_load(const struct vm_config *cfg, struct cpu_template **ret, struct volt_err *err)
{
	_cleanup_(decref) json_t *named = NULL, *read = NULL;
	char where[CPU_TEMPLATE_WHERE];
	const char *path;

	*ret = NULL;
	if (!cfg->cpu_config)
		return 0;
	named = json_loads(cfg->cpu_config, JSON_DECODE_ANY, NULL);
	path = json_string_value(named);
	if (!named)
		return volt_err_set(err, ENOMEM, "CPU template: %m");
	if (path) {
		read = read_file(path, err);
		if (!read)
			return -EINVAL;
	}
	*ret = cpu_template_json_read(read ? read : named, where, err);
	if (*ret)
		return 0;
	if (where[0])
		volt_err_wrap(err, "%s", where);
	if (path)
		volt_err_wrap(err, "%s", path);
	return -EINVAL;
}

void cpu_setup_check(const struct vm_config *cfg, struct vmcfg_errors *errors)
{
	_cleanup_free_ struct cpu_template *t = NULL;
	struct volt_err err = { 0 };

	if (cpu_setup_load(cfg, &t, &err) < 0)
		vmcfg_error(errors, "cpu-config", "%s", err.msg);
}

int cpu_setup_choose(const struct vm_config *cfg, const struct cpu_template *custom,
	const struct cpu_template **ret, struct volt_err *err)
{
	const char *name = vmcfg_cpu_template_names[cfg->cpu_template];
	struct cpu_template_host host;

	*ret = custom;
	if (custom || cfg->cpu_template == CPU_TEMPLATE_NONE)
		return 0;
	*ret = cpu_template_static_get(name);
	cpu_template_static_host(&host);
	return cpu_template_static_check(name, &host, err);
}

/* ---- vCPUs ---- */

/* What vCPU 0 has, changed by the template; *ret for free(). */
static int msrs_of(const struct cpu_template *t, int vcpufd, struct kvm_msr_entry **ret,
	struct volt_err *err)
{
	_cleanup_free_ struct kvm_msr_entry *msrs = calloc(t->n_msrs, sizeof(*msrs));
	ssize_t n;

	if (!msrs)
		return volt_err_set(err, ENOMEM, "MSRs of the CPU template: %m");
	for (size_t i = 0; i < t->n_msrs; i++)
		msrs[i].index = t->msrs[i].index;
	n = msr_get(vcpufd, msrs, t->n_msrs);
	if (n < 0)
		return volt_err_set(err, (int)-n, "read MSRs: %m");
	if ((size_t)n < t->n_msrs)
		return volt_err_set(err, ENOTSUP,
			"Template changes an MSR entry not supported by KVM: Register Address: %x",
			msrs[n].index);
	cpu_template_apply_msrs(t, msrs);
	*ret = take_ptr(&msrs);
	return 0;
}

static int set_msrs(const struct vcpu *v, struct kvm_msr_entry *msrs, size_t n_msrs,
	struct volt_err *err)
{
	int r = msr_setup(v->fd, err);
	ssize_t n;

	if (r == 0) {
		n = msr_set(v->fd, msrs, n_msrs);
		if (n < 0)
			r = volt_err_set(err, (int)-n, "set MSRs of the CPU template: %m");
		else if ((size_t)n < n_msrs)
			r = volt_err_set(err, ENOTSUP,
				"KVM refuses to set MSR 0x%x of the CPU template to 0x%llx",
				msrs[n].index, (unsigned long long)msrs[n].data);
	}
	return r < 0 ? volt_err_wrap(err, "vCPU %u", v->index) : 0;
}

int cpu_setup(int kvmfd, const struct vm_config *cfg, const struct cpu_template *custom,
	const struct vcpu *vcpus, size_t n_vcpus, struct volt_err *err)
{
	struct cpuid_config config = { .n_vcpus = cfg->vcpus, .smt = cfg->smt };
	_cleanup_free_ struct cpuid *cpuid = calloc(1, sizeof(*cpuid));
	_cleanup_free_ struct kvm_msr_entry *msrs = NULL;
	const struct cpu_template *t;
	int r;

	if (!cpuid)
		return volt_err_set(err, ENOMEM, "CPUID: %m");
	r = cpu_setup_choose(cfg, custom, &t, err);
	config.template = t;
	if (r == 0)
		r = cpuid_build(kvmfd, &config, cpuid, err);
	for (size_t i = 0; r == 0 && i < n_vcpus; i++)
		r = cpuid_set(cpuid, vcpus[i].fd, vcpus[i].index, err);
	if (r == 0 && t && t->n_msrs)
		r = msrs_of(t, vcpus[0].fd, &msrs, err);
	for (size_t i = 0; r == 0 && i < n_vcpus; i++)
		r = set_msrs(&vcpus[i], msrs, msrs ? t->n_msrs : 0, err);
	return r;
}

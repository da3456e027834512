/* SPDX-License-Identifier: Apache-2.0 */
/* KVM's ioctls, see kvm.h. */
#include "kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "cleanup.h"

static int call(int fd, unsigned long request, uintptr_t arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

int kvm_open(void)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (call(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return -ENOTSUP;
	return take_fd(&fd);
}

int kvm_check_extension(int kvmfd, unsigned cap)
{
	return call(kvmfd, KVM_CHECK_EXTENSION, cap);
}

int kvm_create_vm(int kvmfd)
{
	int r;

	do {
		r = call(kvmfd, KVM_CREATE_VM, 0);
	} while (r == -EINTR);
	return r;
}

int kvm_get_vcpu_mmap_size(int kvmfd)
{
	return call(kvmfd, KVM_GET_VCPU_MMAP_SIZE, 0);
}

int kvm_get_supported_cpuid(int kvmfd, struct kvm_cpuid2 *cpuid)
{
	return call(kvmfd, KVM_GET_SUPPORTED_CPUID, (uintptr_t)cpuid);
}

int kvm_get_msr_index_list(int kvmfd, struct kvm_msr_list *list)
{
	return call(kvmfd, KVM_GET_MSR_INDEX_LIST, (uintptr_t)list);
}

int kvm_enable_cap(int vmfd, unsigned cap, uint64_t arg0)
{
	struct kvm_enable_cap e = { .cap = cap, .args = { arg0 } };

	return call(vmfd, KVM_ENABLE_CAP, (uintptr_t)&e);
}

int kvm_set_tss_addr(int vmfd, uint64_t gpa)
{
	return call(vmfd, KVM_SET_TSS_ADDR, gpa);
}

int kvm_set_identity_map_addr(int vmfd, uint64_t gpa)
{
	return call(vmfd, KVM_SET_IDENTITY_MAP_ADDR, (uintptr_t)&gpa);
}

int kvm_set_user_memory_region(int vmfd, const struct kvm_userspace_memory_region *region)
{
	/* #syscalls loop: ioctl=KVM_SET_USER_MEMORY_REGION */
	return call(vmfd, KVM_SET_USER_MEMORY_REGION, (uintptr_t)region);
}

int kvm_ioeventfd(int vmfd, const struct kvm_ioeventfd *ioev)
{
	return call(vmfd, KVM_IOEVENTFD, (uintptr_t)ioev);
}

int kvm_irqfd(int vmfd, const struct kvm_irqfd *irqfd)
{
	return call(vmfd, KVM_IRQFD, (uintptr_t)irqfd);
}

int kvm_set_gsi_routing(int vmfd, const struct kvm_irq_routing *routing)
{
	/* #syscalls vcpu: ioctl=KVM_SET_GSI_ROUTING */
	return call(vmfd, KVM_SET_GSI_ROUTING, (uintptr_t)routing);
}

int kvm_signal_msi(int vmfd, const struct kvm_msi *msi)
{
	/* #syscalls loop vcpu: ioctl=KVM_SIGNAL_MSI */
	return call(vmfd, KVM_SIGNAL_MSI, (uintptr_t)msi);
}

int kvm_get_clock(int vmfd, struct kvm_clock_data *ret)
{
	/* #syscalls loop: ioctl=KVM_GET_CLOCK */
	return call(vmfd, KVM_GET_CLOCK, (uintptr_t)ret);
}

int kvm_set_clock(int vmfd, const struct kvm_clock_data *clock)
{
	/* #syscalls loop: ioctl=KVM_SET_CLOCK */
	return call(vmfd, KVM_SET_CLOCK, (uintptr_t)clock);
}

int kvm_create_vcpu(int vmfd, unsigned id)
{
	return call(vmfd, KVM_CREATE_VCPU, id);
}

struct kvm_run *kvm_map_run(int vcpufd, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpufd, 0);

	return p == MAP_FAILED ? NULL : p;
}

void kvm_unmap_run(struct kvm_run *run, size_t bytes)
{
	if (run)
		munmap(run, bytes);
}

int kvm_run(int vcpufd)
{
	/* #syscalls vcpu: ioctl=KVM_RUN */
	return call(vcpufd, KVM_RUN, 0);
}

int kvm_kvmclock_ctrl(int vcpufd)
{
	/* #syscalls vcpu: ioctl=KVM_KVMCLOCK_CTRL */
	return call(vcpufd, KVM_KVMCLOCK_CTRL, 0);
}

int kvm_set_cpuid2(int vcpufd, const struct kvm_cpuid2 *cpuid)
{
	/* #syscalls loop: ioctl=KVM_SET_CPUID2 */
	return call(vcpufd, KVM_SET_CPUID2, (uintptr_t)cpuid);
}

int kvm_get_cpuid2(int vcpufd, struct kvm_cpuid2 *cpuid)
{
	/* #syscalls loop: ioctl=KVM_GET_CPUID2 */
	return call(vcpufd, KVM_GET_CPUID2, (uintptr_t)cpuid);
}

int kvm_set_msrs(int vcpufd, const struct kvm_msrs *msrs)
{
	/* #syscalls loop: ioctl=KVM_SET_MSRS */
	return call(vcpufd, KVM_SET_MSRS, (uintptr_t)msrs);
}

int kvm_get_msrs(int vcpufd, struct kvm_msrs *msrs)
{
	/* #syscalls loop: ioctl=KVM_GET_MSRS */
	return call(vcpufd, KVM_GET_MSRS, (uintptr_t)msrs);
}

int kvm_get_regs(int vcpufd, struct kvm_regs *regs)
{
	/* #syscalls loop vcpu: ioctl=KVM_GET_REGS */
	return call(vcpufd, KVM_GET_REGS, (uintptr_t)regs);
}

int kvm_set_regs(int vcpufd, const struct kvm_regs *regs)
{
	/* #syscalls loop: ioctl=KVM_SET_REGS */
	return call(vcpufd, KVM_SET_REGS, (uintptr_t)regs);
}

int kvm_get_sregs(int vcpufd, struct kvm_sregs *sregs)
{
	/* #syscalls vcpu: ioctl=KVM_GET_SREGS */
	return call(vcpufd, KVM_GET_SREGS, (uintptr_t)sregs);
}

int kvm_set_sregs(int vcpufd, const struct kvm_sregs *sregs)
{
	return call(vcpufd, KVM_SET_SREGS, (uintptr_t)sregs);
}

int kvm_set_fpu(int vcpufd, const struct kvm_fpu *fpu)
{
	return call(vcpufd, KVM_SET_FPU, (uintptr_t)fpu);
}

int kvm_get_lapic(int vcpufd, struct kvm_lapic_state *lapic)
{
	/* #syscalls loop: ioctl=KVM_GET_LAPIC */
	return call(vcpufd, KVM_GET_LAPIC, (uintptr_t)lapic);
}

int kvm_set_lapic(int vcpufd, const struct kvm_lapic_state *lapic)
{
	/* #syscalls loop: ioctl=KVM_SET_LAPIC */
	return call(vcpufd, KVM_SET_LAPIC, (uintptr_t)lapic);
}

int kvm_get_mp_state(int vcpufd, struct kvm_mp_state *ret)
{
	/* #syscalls loop: ioctl=KVM_GET_MP_STATE */
	return call(vcpufd, KVM_GET_MP_STATE, (uintptr_t)ret);
}

int kvm_set_mp_state(int vcpufd, const struct kvm_mp_state *s)
{
	/* #syscalls loop: ioctl=KVM_SET_MP_STATE */
	return call(vcpufd, KVM_SET_MP_STATE, (uintptr_t)s);
}

int kvm_get_sregs2(int vcpufd, struct kvm_sregs2 *ret)
{
	/* #syscalls loop: ioctl=KVM_GET_SREGS2 */
	return call(vcpufd, KVM_GET_SREGS2, (uintptr_t)ret);
}

int kvm_set_sregs2(int vcpufd, const struct kvm_sregs2 *s)
{
	/* #syscalls loop: ioctl=KVM_SET_SREGS2 */
	return call(vcpufd, KVM_SET_SREGS2, (uintptr_t)s);
}

int kvm_get_xcrs(int vcpufd, struct kvm_xcrs *ret)
{
	/* #syscalls loop: ioctl=KVM_GET_XCRS */
	return call(vcpufd, KVM_GET_XCRS, (uintptr_t)ret);
}

int kvm_set_xcrs(int vcpufd, const struct kvm_xcrs *s)
{
	/* #syscalls loop: ioctl=KVM_SET_XCRS */
	return call(vcpufd, KVM_SET_XCRS, (uintptr_t)s);
}

int kvm_get_debugregs(int vcpufd, struct kvm_debugregs *ret)
{
	/* #syscalls loop: ioctl=KVM_GET_DEBUGREGS */
	return call(vcpufd, KVM_GET_DEBUGREGS, (uintptr_t)ret);
}

int kvm_set_debugregs(int vcpufd, const struct kvm_debugregs *s)
{
	/* #syscalls loop: ioctl=KVM_SET_DEBUGREGS */
	return call(vcpufd, KVM_SET_DEBUGREGS, (uintptr_t)s);
}

int kvm_get_vcpu_events(int vcpufd, struct kvm_vcpu_events *ret)
{
	/* #syscalls loop: ioctl=KVM_GET_VCPU_EVENTS */
	return call(vcpufd, KVM_GET_VCPU_EVENTS, (uintptr_t)ret);
}

int kvm_set_vcpu_events(int vcpufd, const struct kvm_vcpu_events *s)
{
	/* #syscalls loop: ioctl=KVM_SET_VCPU_EVENTS */
	return call(vcpufd, KVM_SET_VCPU_EVENTS, (uintptr_t)s);
}

int kvm_get_xsave2(int vcpufd, void *ret)
{
	/* #syscalls loop: ioctl=KVM_GET_XSAVE2 */
	return call(vcpufd, KVM_GET_XSAVE2, (uintptr_t)ret);
}

int kvm_set_xsave(int vcpufd, const void *xsave)
{
	/* #syscalls loop: ioctl=KVM_SET_XSAVE */
	return call(vcpufd, KVM_SET_XSAVE, (uintptr_t)xsave);
}

int kvm_get_tsc_khz(int vcpufd)
{
	/* #syscalls loop: ioctl=KVM_GET_TSC_KHZ */
	return call(vcpufd, KVM_GET_TSC_KHZ, 0);
}

int kvm_set_tsc_khz(int vcpufd, unsigned khz)
{
	/* #syscalls loop: ioctl=KVM_SET_TSC_KHZ */
	return call(vcpufd, KVM_SET_TSC_KHZ, khz);
}

static int tsc_offset(int vcpufd, unsigned long request, uint64_t *offset)
{
	struct kvm_device_attr a = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)offset };

	return call(vcpufd, request, (uintptr_t)&a);
}

int kvm_get_tsc_offset(int vcpufd, uint64_t *ret)
{
	/* #syscalls loop: ioctl=KVM_GET_DEVICE_ATTR */
	return tsc_offset(vcpufd, KVM_GET_DEVICE_ATTR, ret);
}

int kvm_set_tsc_offset(int vcpufd, uint64_t offset)
{
	/* #syscalls loop: ioctl=KVM_SET_DEVICE_ATTR */
	return tsc_offset(vcpufd, KVM_SET_DEVICE_ATTR, &offset);
}

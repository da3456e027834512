// SPDX-License-Identifier: Apache-2.0
/*
 * Asks one question by trying: can this /dev/kvm run an ordinary Linux guest? Runs a long-mode
 * guest of a few dozen bytes that uses a counted loop, SSE and lock cmpxchg16b, prints one line per
 * step, and ends with 0 if all worked at a useful speed, else 1. Software KVMs open, create VMs,
 * and fail here. Static and free of dependencies, so the lab runs the very same file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define RAM_BYTES 0x200000ul
#define CODE_GPA 0x10000ul
#define SLOW_IPS 20e6 /* instructions/s below which no Linux guest gets through its boot */
#define LIMIT_S 60
#define SHORT_LOOP 10000u
#define SHORT_TRIES 8u
#define LONG_LOOP 4000000u

enum port { PORT_STEP = 0x10, PORT_COUNT = 0x14 };
enum step { STEP_LOOP = 1, STEP_SSE, STEP_CMPXCHG16B, STEP_DONE };

static const char *const step_names[] = {
	[0] = "first instruction",
	[STEP_LOOP] = "counted loop",
	[STEP_SSE] = "SSE",
	[STEP_CMPXCHG16B] = "lock cmpxchg16b",
	[STEP_DONE] = "halt",
};

/* The guest: says which step comes next through PORT_STEP, asks PORT_COUNT for loop lengths. */
__asm__(".pushsection .rodata\n"
	"payload:\n"
	"	movl $1, %eax\n"
	"	outl %eax, $0x10\n"
	"again:\n"
	"	inl $0x14, %eax\n"
	"	testl %eax, %eax\n"
	"	jz after\n"
	"	movl %eax, %ecx\n"
	"1:	decq %rcx\n"
	"	jnz 1b\n"
	"	jmp again\n"
	"after:\n"
	"	movl $2, %eax\n"
	"	outl %eax, $0x10\n"
	"	movl $7, %ecx\n"
	"	movd %ecx, %xmm0\n"
	"	pshufd $0, %xmm0, %xmm1\n"
	"	paddd %xmm0, %xmm1\n"
	"	movdqa %xmm1, 0x3000\n"
	"	cmpl $14, 0x3000\n"
	"	jne bad\n"
	"	movl $3, %eax\n"
	"	outl %eax, $0x10\n"
	"	xorl %eax, %eax\n"
	"	xorl %edx, %edx\n"
	"	movl $1, %ebx\n"
	"	xorl %ecx, %ecx\n"
	"	lock cmpxchg16b 0x3020\n"
	"	jnz bad\n"
	"	cmpq $1, 0x3020\n"
	"	jne bad\n"
	"	movl $4, %eax\n"
	"	outl %eax, $0x10\n"
	"bad:	hlt\n"
	"payload_end:\n"
	".popsection\n");

extern const uint8_t payload[], payload_end[];

struct probe {
	int kvmfd, vmfd, cpufd;
	uint8_t *ram;
	struct kvm_run *run;
	uint32_t step;
	double ips; /* the best of the loops so far */
	uint32_t tries;
	uint32_t count; /* length of the loop that runs */
	double since;
};

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int failed(const char *what)
{
	printf("%s: failed: %s\n", what, strerror(errno));
	return -1;
}

static int make_vm(struct probe *p)
{
	struct kvm_userspace_memory_region mem = { .memory_size = RAM_BYTES };
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	int version, has_split;

	p->kvmfd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (p->kvmfd < 0)
		return failed("open /dev/kvm");
	version = ioctl(p->kvmfd, KVM_GET_API_VERSION, 0);
	printf("open /dev/kvm: ok, API %d\n", version);
	if (version != KVM_API_VERSION)
		return -1;
	p->vmfd = ioctl(p->kvmfd, KVM_CREATE_VM, 0);
	if (p->vmfd < 0)
		return failed("KVM_CREATE_VM");
	p->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p->ram == MAP_FAILED)
		return failed("mmap");
	mem.userspace_addr = (uintptr_t)p->ram;
	if (ioctl(p->vmfd, KVM_SET_USER_MEMORY_REGION, &mem) < 0)
		return failed("KVM_SET_USER_MEMORY_REGION");
	has_split = ioctl(p->kvmfd, KVM_CHECK_EXTENSION, KVM_CAP_SPLIT_IRQCHIP) > 0 &&
		ioctl(p->vmfd, KVM_ENABLE_CAP, &split) == 0;
	printf("split irqchip: %s\n", has_split ? "ok" : "missing");
	return 0;
}

static int set_cpuid(const struct probe *p)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid;

	cpuid.head.nent = 256;
	if (ioctl(p->kvmfd, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0)
		return failed("KVM_GET_SUPPORTED_CPUID");
	if (ioctl(p->cpufd, KVM_SET_CPUID2, &cpuid) < 0)
		return failed("KVM_SET_CPUID2");
	return 0;
}

/* Straight into 64-bit mode: the first 2 MiB are mapped one to one, by one large page. */
static int make_cpu(struct probe *p)
{
	struct kvm_sregs s;
	struct kvm_regs regs = { .rip = CODE_GPA, .rsp = 0x8000, .rflags = 2 };
	struct kvm_segment code = { .limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1,
		.l = 1, .g = 1 };
	struct kvm_segment data = { .limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1,
		.db = 1, .g = 1 };
	uint64_t tables[3] = { 0x5000 | 3, 0x6000 | 3, 0 | 0x83 };
	int size;

	p->cpufd = ioctl(p->vmfd, KVM_CREATE_VCPU, 0);
	if (p->cpufd < 0)
		return failed("KVM_CREATE_VCPU");
	size = ioctl(p->kvmfd, KVM_GET_VCPU_MMAP_SIZE, 0);
	p->run = size < 0 ? MAP_FAILED :
		mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, p->cpufd, 0);
	if (p->run == MAP_FAILED)
		return failed("map the vCPU");
	if (set_cpuid(p) < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		memcpy(p->ram + 0x4000 + 0x1000 * i, &tables[i], sizeof(tables[i]));
	memcpy(p->ram + CODE_GPA, payload, (size_t)(payload_end - payload));
	if (ioctl(p->cpufd, KVM_GET_SREGS, &s) < 0)
		return failed("KVM_GET_SREGS");
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr3 = 0x4000;
	s.cr4 = 1u << 5 | 1u << 9 | 1u << 10; /* PAE OSFXSR OSXMMEXCPT */
	s.cr0 = 1u << 31 | 1u << 5 | 1u << 1 | 1; /* PG NE MP PE */
	s.efer = 1u << 10 | 1u << 8; /* LMA LME */
	if (ioctl(p->cpufd, KVM_SET_SREGS, &s) < 0)
		return failed("KVM_SET_SREGS");
	if (ioctl(p->cpufd, KVM_SET_REGS, &regs) < 0)
		return failed("KVM_SET_REGS");
	return 0;
}

/*
 * The guest asks for the next loop. Short ones tell a slow KVM quickly; they are repeated, and the
 * best counts, as a busy machine may well take the CPU away during one. A long one then measures
 * well.
 */
static uint32_t next_count(struct probe *p)
{
	double ips = 2.0 * p->count / (now_s() - p->since);

	if (p->count && ips > p->ips)
		p->ips = ips;
	if (p->count == LONG_LOOP)
		p->count = 0;
	else if (p->ips > SLOW_IPS)
		p->count = LONG_LOOP;
	else
		p->count = p->tries++ < SHORT_TRIES ? SHORT_LOOP : 0;
	p->since = now_s();
	return p->count;
}

static void step_done(const struct probe *p)
{
	if (p->step == STEP_LOOP)
		printf("guest %s: %.1f million instructions/s\n", step_names[p->step],
			p->ips / 1e6);
	else if (p->step)
		printf("guest %s: ok\n", step_names[p->step]);
}

static void print_stop(const struct probe *p)
{
	struct kvm_regs r = { 0 };
	const char *name = p->step <= STEP_DONE ? step_names[p->step] : "?";

	ioctl(p->cpufd, KVM_GET_REGS, &r);
	printf("guest %s: failed: ", name);
	if (p->run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		printf("KVM_EXIT_INTERNAL_ERROR, suberror %u%s", p->run->internal.suberror,
			p->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ?
				" (its emulator lacks the instruction)" : "");
	else
		printf("exit reason %u", p->run->exit_reason);
	printf(", rip 0x%llx:", (unsigned long long)r.rip);
	for (uint64_t i = 0; i < 10 && r.rip + i < RAM_BYTES; i++)
		printf(" %02x", p->ram[r.rip + i]);
	printf("\n");
}

static int run_guest(struct probe *p)
{
	for (;;) {
		if (ioctl(p->cpufd, KVM_RUN, 0) < 0)
			return failed("KVM_RUN");
		if (p->run->exit_reason == KVM_EXIT_IO) {
			uint32_t *data = (uint32_t *)((uint8_t *)p->run + p->run->io.data_offset);

			if (p->run->io.port == PORT_COUNT) {
				*data = next_count(p);
				continue;
			}
			step_done(p);
			p->step = *data;
			if (p->step == STEP_DONE)
				return 0;
			continue;
		}
		print_stop(p);
		return -1;
	}
}

static void on_alarm(int sig)
{
	static const char text[] = "guest: failed: no progress in 60 s\n";

	(void)sig;
	if (write(1, text, sizeof(text) - 1) < 0)
		_exit(2);
	_exit(1);
}

int main(void)
{
	struct probe p = { .kvmfd = -1, .vmfd = -1, .cpufd = -1 };

	setvbuf(stdout, NULL, _IONBF, 0);
	signal(SIGALRM, on_alarm);
	alarm(LIMIT_S);
	if (make_vm(&p) < 0 || make_cpu(&p) < 0 || run_guest(&p) < 0)
		return 1;
	if (p.ips < SLOW_IPS) {
		printf("speed: failed: it emulates the guest's kernel mode instead of running "
		       "it\n");
		return 1;
	}
	return 0;
}

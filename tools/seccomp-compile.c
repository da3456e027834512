/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns the list of tools/gen-seccomp.py into src/sandbox/filter.h's tables, as C on stdout: one
 * cBPF program per thread, what it allows, and the names of all system calls. Runs on the build
 * machine; libseccomp is needed here and nowhere else. x86-64 only: another architecture, the x32
 * numbers and every call or argument that is not in the list trap.
 *
 * Usage: seccomp-compile LIST >filter.c
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define RULES_MAX 256 /* per thread; a list of that length is a mistake */
#define NR_MAX	  1024
#define INT_MASK  UINT32_MAX /* what selects is an int: the kernel ignores the upper half */

/* In the order of enum sandbox_thread. */
static const char *const threads[] = { "loop", "vcpu", "api" };

/* Calls with an operation argument: which one, and whether a rule must name the operation. */
static const struct selector {
	const char *call;
	unsigned arg;
	int required;
} selectors[] = {
	{ "ioctl", 1, 1 },  { "fcntl", 1, 1 },	   { "prctl", 0, 1 },
	{ "socket", 0, 1 }, { "fallocate", 1, 0 }, { "madvise", 2, 0 },
	{ "io_uring_register", 1, 1 },
};

/* Conditions that a rule has without saying so; several rows for a call are alternatives. */
static const struct implied {
	const char *call;
	unsigned arg;
	uint64_t mask, value;
} implied[] = {
	{ "mmap", 2, PROT_EXEC, 0 },
	{ "mprotect", 2, PROT_EXEC, 0 },
	{ "futex", 1, INT_MASK & (uint32_t)FUTEX_CMD_MASK, FUTEX_WAIT },
	{ "futex", 1, INT_MASK & (uint32_t)FUTEX_CMD_MASK, FUTEX_WAKE },
	{ "futex", 1, INT_MASK & (uint32_t)FUTEX_CMD_MASK, FUTEX_WAIT_BITSET },
};

/* No comment can allow these: each is a way out of the box by itself. */
static const char *const never[] = {
	"bpf", "execve", "execveat", "finit_module", "fork", "init_module", "io_uring_setup",
	"kexec_file_load", "kexec_load", "mount", "open_by_handle_at", "perf_event_open",
	"pkey_mprotect", "process_vm_readv", "process_vm_writev", "ptrace", "seccomp", "setns",
	"shmat", "unshare", "vfork",
};

#define C(call, name) { #call, #name, (uint32_t)(name) }

static const struct constant {
	const char *call, *name;
	uint32_t value;
} constants[] = {
	C(ioctl, KVM_RUN), C(ioctl, KVM_SIGNAL_MSI), C(ioctl, KVM_IRQFD), C(ioctl, KVM_IOEVENTFD),
	C(ioctl, KVM_IRQ_LINE), C(ioctl, KVM_SET_GSI_ROUTING), C(ioctl, KVM_KVMCLOCK_CTRL),
	C(ioctl, KVM_CHECK_EXTENSION), C(ioctl, KVM_GET_DIRTY_LOG), C(ioctl, KVM_CLEAR_DIRTY_LOG),
	C(ioctl, KVM_SET_USER_MEMORY_REGION), C(ioctl, KVM_GET_CLOCK), C(ioctl, KVM_SET_CLOCK),
	C(ioctl, KVM_GET_IRQCHIP), C(ioctl, KVM_SET_IRQCHIP), C(ioctl, KVM_NMI),
	C(ioctl, KVM_GET_REGS), C(ioctl, KVM_SET_REGS), C(ioctl, KVM_GET_SREGS),
	C(ioctl, KVM_SET_SREGS), C(ioctl, KVM_GET_SREGS2), C(ioctl, KVM_SET_SREGS2),
	C(ioctl, KVM_GET_FPU), C(ioctl, KVM_SET_FPU), C(ioctl, KVM_GET_XSAVE),
	C(ioctl, KVM_GET_XSAVE2), C(ioctl, KVM_SET_XSAVE), C(ioctl, KVM_GET_XCRS),
	C(ioctl, KVM_SET_XCRS), C(ioctl, KVM_GET_MSRS), C(ioctl, KVM_SET_MSRS),
	C(ioctl, KVM_GET_LAPIC), C(ioctl, KVM_SET_LAPIC), C(ioctl, KVM_GET_MP_STATE),
	C(ioctl, KVM_SET_MP_STATE), C(ioctl, KVM_GET_VCPU_EVENTS),
	C(ioctl, KVM_SET_VCPU_EVENTS), C(ioctl, KVM_GET_DEBUGREGS),
	C(ioctl, KVM_SET_DEBUGREGS), C(ioctl, KVM_GET_TSC_KHZ), C(ioctl, KVM_SET_TSC_KHZ),
	C(ioctl, KVM_GET_CPUID2), C(ioctl, KVM_SET_CPUID2), C(ioctl, KVM_GET_DEVICE_ATTR),
	C(ioctl, KVM_SET_DEVICE_ATTR), C(ioctl, KVM_SET_GUEST_DEBUG),
	C(ioctl, TUNSETOFFLOAD), C(ioctl, TUNSETVNETHDRSZ), C(ioctl, TUNGETFEATURES),
	C(ioctl, TUNSETQUEUE), C(ioctl, TUNGETIFF),
	C(ioctl, VHOST_SET_FEATURES), C(ioctl, VHOST_SET_MEM_TABLE), C(ioctl, VHOST_SET_VRING_NUM),
	C(ioctl, VHOST_SET_VRING_ADDR), C(ioctl, VHOST_SET_VRING_BASE),
	C(ioctl, VHOST_GET_VRING_BASE), C(ioctl, VHOST_SET_VRING_KICK),
	C(ioctl, VHOST_SET_VRING_CALL), C(ioctl, VHOST_SET_VRING_ERR),
	C(ioctl, VHOST_NET_SET_BACKEND),
	C(ioctl, TCGETS), C(ioctl, TCSETS), C(ioctl, TCSETSW), C(ioctl, TCSETSF),
	C(ioctl, TIOCGWINSZ), C(ioctl, TIOCGPGRP), C(ioctl, FIONREAD), C(ioctl, FIONBIO),
	C(fcntl, F_GETFL), C(fcntl, F_SETFL), C(fcntl, F_GETFD), C(fcntl, F_SETFD),
	C(fcntl, F_DUPFD_CLOEXEC), C(fcntl, F_SETLK), C(fcntl, F_OFD_SETLK),
	C(fcntl, F_SETPIPE_SZ), C(fcntl, F_GETPIPE_SZ), C(fcntl, F_ADD_SEALS),
	C(ioctl, BLKGETSIZE64),
	C(socket, AF_UNIX),
	C(io_uring_register, IORING_REGISTER_FILES_UPDATE),
	C(fallocate, FALLOC_FL_KEEP_SIZE), C(fallocate, FALLOC_FL_ZERO_RANGE),
	{ "fallocate", "FALLOC_FL_PUNCH_HOLE", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE },
	C(madvise, MADV_DONTNEED), C(madvise, MADV_REMOVE), C(madvise, MADV_FREE),
	C(madvise, MADV_WILLNEED), C(madvise, MADV_POPULATE_READ), C(madvise, MADV_POPULATE_WRITE),
	C(madvise, MADV_DONTDUMP), C(madvise, MADV_HUGEPAGE), C(madvise, MADV_NOHUGEPAGE),
};

struct rule {
	char text[64];	 /* "call" or "call=CONSTANT" */
	char where[160]; /* the first place that asks for it */
	size_t call_len;
};

struct thread {
	struct rule rules[RULES_MAX];
	size_t n;
};

static struct thread lists[COUNT(threads)];

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static int is_call(const struct rule *r, const char *call)
{
	return strlen(call) == r->call_len && memcmp(call, r->text, r->call_len) == 0;
}

/* Adds "THREAD RULE FILE:LINE..." to its list. */
static void parse_line(const char *line)
{
	char thread[16];
	struct rule r = { 0 };

	if (sscanf(line, "%15s %63s %159s", thread, r.text, r.where) != 3)
		die("seccomp-compile: malformed line: %s", line);
	r.call_len = strcspn(r.text, "=");
	for (size_t i = 0; i < COUNT(threads); i++) {
		if (strcmp(thread, threads[i]) != 0)
			continue;
		if (lists[i].n == RULES_MAX)
			die("%s: error: more than %d rules for thread %s", r.where, RULES_MAX,
				thread);
		lists[i].rules[lists[i].n++] = r;
		return;
	}
	die("%s: error: unknown thread '%s'", r.where, thread);
}

static void read_list(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	if (!f)
		die("seccomp-compile: %s: %s", path, strerror(errno));
	while (getline(&line, &size, f) > 0)
		parse_line(line);
	free(line);
	fclose(f);
}

static void allow(scmp_filter_ctx ctx, const struct rule *r, int nr, const struct scmp_arg_cmp *cmp)
{
	int e = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, cmp ? 1 : 0, cmp);

	if (e < 0)
		die("%s: error: '%s': %s", r->where, r->text, strerror(-e));
}

/* call=CONSTANT: the selecting argument has that value. */
static void add_selected(scmp_filter_ctx ctx, const struct rule *r, int nr)
{
	const char *name = r->text + r->call_len + 1;

	for (size_t i = 0; i < COUNT(selectors); i++) {
		if (!is_call(r, selectors[i].call))
			continue;
		for (size_t k = 0; k < COUNT(constants); k++) {
			struct scmp_arg_cmp cmp = { selectors[i].arg, SCMP_CMP_MASKED_EQ, INT_MASK,
				constants[k].value };

			if (!is_call(r, constants[k].call) || strcmp(name, constants[k].name) != 0)
				continue;
			allow(ctx, r, nr, &cmp);
			return;
		}
		die("%s: error: '%s': unknown constant; the table is in tools/seccomp-compile.c",
			r->where, r->text);
	}
	die("%s: error: '%s': this call has no argument to select by", r->where, r->text);
}

/* A bare call, but for the conditions it has anyway. */
static void add_plain(scmp_filter_ctx ctx, const struct rule *r, int nr)
{
	int conditions = 0;

	for (size_t i = 0; i < COUNT(selectors); i++)
		if (selectors[i].required && is_call(r, selectors[i].call))
			die("%s: error: '%s' must name the operation: %s=CONSTANT", r->where,
				r->text, r->text);
	for (size_t i = 0; i < COUNT(implied); i++) {
		struct scmp_arg_cmp cmp = { implied[i].arg, SCMP_CMP_MASKED_EQ, implied[i].mask,
			implied[i].value };

		if (!is_call(r, implied[i].call))
			continue;
		allow(ctx, r, nr, &cmp);
		conditions++;
	}
	if (!conditions)
		allow(ctx, r, nr, NULL);
}

static void add_rule(scmp_filter_ctx ctx, const struct thread *t, const struct rule *r)
{
	char call[sizeof(r->text)];
	int nr;

	snprintf(call, sizeof(call), "%.*s", (int)r->call_len, r->text);
	nr = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, call);
	if (nr < 0)
		die("%s: error: unknown system call '%s'", r->where, call);
	for (size_t i = 0; i < COUNT(never); i++)
		if (is_call(r, never[i]))
			die("%s: error: '%s' is never allowed", r->where, call);
	if (!r->text[r->call_len]) {
		add_plain(ctx, r, nr);
		return;
	}
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->rules[i].text, call) == 0)
			die("%s: error: '%s' allows what %s restricts", t->rules[i].where, call,
				r->where);
	add_selected(ctx, r, nr);
}

/* The program of one thread, as C. */
static void emit_program(size_t thread)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	FILE *f = tmpfile();
	struct sock_filter insn;

	if (!ctx || !f || seccomp_arch_native() != SCMP_ARCH_X86_64 ||
		seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP) < 0 ||
		seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0)
		die("seccomp-compile: cannot make a filter for x86-64");
	for (size_t i = 0; i < lists[thread].n; i++)
		add_rule(ctx, &lists[thread], &lists[thread].rules[i]);
	if (seccomp_export_bpf(ctx, fileno(f)) < 0)
		die("seccomp-compile: cannot export the filter");
	rewind(f);
	printf("static const struct sock_filter %s_insns[] = {\n", threads[thread]);
	while (fread(&insn, sizeof(insn), 1, f) == 1)
		printf("\t{ 0x%02x, %u, %u, 0x%08x },\n", insn.code, insn.jt, insn.jf, insn.k);
	printf("};\n\nstatic const char *const %s_allowed[] = {\n", threads[thread]);
	for (size_t i = 0; i < lists[thread].n; i++)
		printf("\t\"%s\", /* %s */\n", lists[thread].rules[i].text,
			lists[thread].rules[i].where);
	printf("\tNULL,\n};\n\n");
	fclose(f);
	seccomp_release(ctx);
}

/* One string with all names and an offset for each number: no pointers, so no relocations. */
static void emit_names(void)
{
	static unsigned offsets[NR_MAX];
	unsigned end = 1, n = 0;

	printf("/* offset 0 is the empty name */\nstatic const char names[] =\n\t\"\\0\"\n");
	for (int nr = 0; nr < NR_MAX; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);

		if (!name)
			continue;
		printf("\t\"%s\\0\"\n", name);
		offsets[nr] = end;
		end += (unsigned)strlen(name) + 1;
		n = (unsigned)nr + 1;
		free(name);
	}
	printf("\t;\n\nstatic const uint16_t offsets[] = {");
	for (unsigned i = 0; i < n; i++)
		printf("%s%u,", i % 16 ? " " : "\n\t", offsets[i]);
	printf("\n};\n\n");
	puts("const char *filter_syscall_name(long nr)\n{\n"
	     "\tif (nr < 0 || nr >= (long)ARRAY_SIZE(offsets) || !offsets[nr])\n"
	     "\t\treturn \"unknown\";\n"
	     "\treturn names + offsets[nr];\n}");
}

int main(int argc, char **argv)
{
	if (argc != 2)
		die("usage: seccomp-compile LIST >filter.c");
	read_list(argv[1]);
	printf("/* Generated by tools/seccomp-compile.c: do not edit. */\n"
	       "#include \"filter.h\"\n\n");
	for (size_t i = 0; i < COUNT(threads); i++)
		emit_program(i);
	printf("const struct filter_program filter_programs[] = {\n");
	for (size_t i = 0; i < COUNT(threads); i++)
		printf("\t{ %s_insns, ARRAY_SIZE(%s_insns) },\n", threads[i], threads[i]);
	printf("};\n\nconst char *const *const filter_allowed[] = { ");
	for (size_t i = 0; i < COUNT(threads); i++)
		printf("%s_allowed, ", threads[i]);
	printf("};\n\n");
	emit_names();
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

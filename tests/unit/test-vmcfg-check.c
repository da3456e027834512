/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a configuration names. Each case runs in a folder of its own and as nobody,
 * because root can read and write everything.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmcfg.h"

#define NOBODY 65534

static char folder[32];

static void make(const char *name, off_t bytes, mode_t mode)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/test-vmcfg-check-XXXXXX");
	if (!mkdtemp(folder) || chmod(folder, 0755) < 0 || chdir(folder) < 0)
		return -1;
	make("kernel", 4096, 0644);
	make("tiny", 10, 0644);
	make("secret", 4096, 0600);
	make("initrd", 100000, 0644);
	make("big", 128 << 20, 0644); /* sparse */
	make("disk", 4096, 0666);
	make("readonly", 4096, 0444);
	make("odd", 4097, 0666);
	make("empty", 0, 0666);
	mkdir("dir", 0755);
	mkdir("open", 0777);
	chmod("open", 0777);
	mkdir("closed", 0755);
	mkfifo("fifo", 0666);
	chmod("fifo", 0666);
	return symlink("disk", "link");
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	if (chdir("/") < 0)
		return -1;
	return nftw(folder, forget, 8, FTW_DEPTH | FTW_PHYS);
}

/* Parses and checks; all errors go to out. */
static void check(const char *args, FILE *out)
{
	char buf[1024], *argv[64] = { (char *)"volt-vmm" }, *rest = buf, *word;
	struct vmcfg_errors e = { 0 };
	enum vmcfg_action action;
	struct vm_config cfg;
	int argc = 1;

	snprintf(buf, sizeof(buf), "%s", args);
	while ((word = strsep(&rest, " ")))
		argv[argc++] = word;
	vmcfg_defaults(&cfg);
	vmcfg_cli(&cfg, argc, argv, &action, &e);
	vmcfg_check(&cfg, &e);
	vmcfg_errors_print(&e, out);
	vmcfg_errors_done(&e);
	vmcfg_done(&cfg);
}

/* The same in a process of nobody (if we are root). */
static void check_as_nobody(const char *args, char *ret_text, size_t size)
{
	int fds[2], status;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		FILE *out = fdopen(fds[1], "w");

		if (getuid() == 0 && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
			_exit(99);
		check(args, out);
		fflush(out);
		_exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], ret_text + used, size - 1 - used)) > 0)
		used += (size_t)n;
	ret_text[used] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static const struct {
	const char *args, *error;
} cases[] = {
	{ "--kernel kernel", "" },
	{ "--kernel kernel --initrd initrd --disk disk --console file:open/new --log-path fifo",
		"" },
	{ "--kernel kernel --disk readonly,ro --disk link,ro --disk disk", "" },
	{ "--kernel kernel --vsock open/v --net tap=nosuchtap --net macvtap=nosuchlink", "" },
	{ "--kernel none",
		"kernel: none cannot be found: No such file or directory; check the path\n" },
	{ "--kernel kernel/x",
		"kernel: kernel/x cannot be found: Not a directory; check the path\n" },
	{ "--kernel tiny", "kernel: tiny has only 10 bytes; give an ELF vmlinux or a bzImage\n" },
	{ "--kernel dir", "kernel: dir is a directory; give a regular file\n" },
	{ "--kernel fifo", "kernel: fifo is a FIFO; give a regular file\n" },
	{ "--kernel secret",
		"kernel: secret cannot be opened for reading: Permission denied; check its "
		"owner and mode\n" },
	{ "--kernel kernel --initrd none",
		"initrd: none cannot be found: No such file or directory; check the path\n" },
	{ "--kernel kernel --initrd empty", "initrd: empty is empty\n" },
	{ "--kernel kernel --initrd big", "initrd: big has 134217728 bytes, and 128 MiB of memory "
					  "leave room for 133169152; give "
					  "the guest more memory or a smaller initrd\n" },
	{ "--kernel kernel --initrd initrd --mem 1", "initrd: initrd has 100000 bytes, and 1 MiB "
						     "of memory leave room for 0; give the guest "
						     "more memory or a smaller initrd\n" },
	{ "--kernel kernel --disk none",
		"disk 'disk0': none cannot be found: No such file or directory; check the path\n" },
	{ "--kernel kernel --disk secret,ro", "disk 'disk0': secret cannot be opened for reading: "
					      "Permission denied; check its owner "
					      "and mode\n" },
	{ "--kernel kernel --disk readonly", "disk 'disk0': readonly cannot be opened for writing: "
					     "Permission denied; allow it, or "
					     "attach the disk read-only\n" },
	{ "--kernel kernel --disk odd", "disk 'disk0': odd has 4097 bytes, which is not a multiple "
					"of 512; give a raw image "
					"(truncate -s %512 rounds it up)\n" },
	{ "--kernel kernel --disk empty", "disk 'disk0': empty is empty\n" },
	{ "--kernel kernel --disk dir",
		"disk 'disk0': dir is a directory; give a regular file or a block device\n" },
	{ "--kernel kernel --disk /dev/null", "disk 'disk0': /dev/null is a character device; give "
					      "a regular file or a block device\n" },
	{ "--kernel kernel --disk disk --disk link,id=copy",
		"disk 'copy': link is also disk 'disk0', and both may write, which would destroy "
		"it; "
		"attach it once, or read-only\n" },
	{ "--kernel kernel --disk disk,overlay=none/x",
		"disk 'disk0': the directory none cannot be found: No such file or directory; make "
		"it first\n" },
	{ "--kernel kernel --disk disk,overlay=dir",
		"disk 'disk0': dir is a directory; give a regular file\n" },
	{ "--kernel kernel --disk disk,overlay=link",
		"disk 'disk0': its overlay link is also a file of disk 'disk0'; give each its "
		"own\n" },
	{ "--kernel kernel --disk disk,overlay=new --disk readonly,overlay=new",
		"disk 'disk0': no overlay can be made in .: Permission denied\n"
		"disk 'disk1': no overlay can be made in .: Permission denied\n"
		"disk 'disk1': its overlay new is also a file of disk 'disk0'; give each its "
		"own\n" },
	{ "--kernel kernel --disk disk,overlay=new --disk link",
		"disk 'disk1': link is also disk 'disk0', and one writes to what the other has an "
		"overlay over, which would destroy it; attach it once, or read-only\n"
		"disk 'disk0': no overlay can be made in .: Permission denied\n" },
	{ "--kernel kernel --console file:none/x", "console: the directory none cannot be found: "
						   "No such file or directory; make it first\n" },
	{ "--kernel kernel --console file:dir",
		"console: dir is a directory; give the path of a file "
		"or FIFO\n" },
	{ "--kernel kernel --log-path dir/log",
		"log: no file can be made in dir: Permission denied\n" },
	{ "--kernel kernel --log-path kernel/log",
		"log: kernel/log cannot be written: Not a directory\n" },
	{ "--kernel kernel --metrics-path readonly",
		"metrics: readonly cannot be written: Permission denied\n" },
	{ "--kernel kernel --vsock none/v", "vsock: the directory none cannot be found: No such "
					    "file or directory; make it first\n" },
	{ "--kernel kernel --vsock kernel/v", "vsock: kernel is not a directory\n" },
	{ "--kernel kernel --vsock closed/v",
		"vsock: no socket can be made in closed: Permission denied\n" },
	{ "--kernel kernel --vsock disk",
		"vsock: disk is a file, and is not overwritten; give another path\n" },
	{ "--kernel kernel --vsock link",
		"vsock: link is a symbolic link, and is not overwritten; give another path\n" },
	{ "--kernel kernel --net fd=999", "interface 'net0'.fd: 999 is not open; whoever starts "
					  "volt-vmm has to leave it open for it\n" },
	/* Together. */
	{ "--kernel none --initrd empty --disk odd --disk dir,id=d --cpus 0 --log-path dir",
		"--cpus: must be a whole number from 1 to 32, not '0'\n"
		"kernel: none cannot be found: No such file or directory; check the path\n"
		"initrd: empty is empty\n"
		"disk 'disk0': odd has 4097 bytes, which is not a multiple of 512; give a raw "
		"image "
		"(truncate -s %512 rounds it up)\n"
		"disk 'd': dir is a directory; give a regular file or a block device\n"
		"log: dir is a directory; give the path of a file or FIFO\n" },
};

static void each_file_is_judged(void **state)
{
	char text[4096];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		check_as_nobody(cases[i].args, text, sizeof(text));
		assert_string_equal(text, cases[i].error);
	}
}

static void nothing_is_created_or_kept_open(void **state)
{
	char text[4096] = "";
	struct stat st;
	int before, after;
	FILE *out;

	(void)state;
	out = fmemopen(text, sizeof(text), "w");
	before = dup(0);
	close(before);
	check("--kernel kernel --initrd initrd --disk disk --console file:open/new --log-path "
	      "open/log --vsock open/vsock --net tap=t0",
		out);
	after = dup(0);
	close(after);
	fclose(out);
	assert_string_equal(text, "");
	assert_int_equal(before, after); /* the lowest free one */
	assert_int_equal(stat("open/new", &st), -1);
	assert_int_equal(stat("open/log", &st), -1);
	assert_int_equal(stat("open/vsock", &st), -1);
}

/* A socket that a VM left behind is no obstacle, and stays until the next one starts. */
static void a_socket_may_be_there(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "open/stale" };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[4096];
	struct stat st;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	check_as_nobody("--kernel kernel --vsock open/stale", text, sizeof(text));
	assert_string_equal(text, "");
	assert_int_equal(lstat("open/stale", &st), 0);
}

static void an_open_descriptor_is_an_interface(void **state)
{
	char args[64], text[4096];
	int fd = fcntl(0, F_DUPFD, 3);

	(void)state;
	snprintf(args, sizeof(args), "--kernel kernel --net fd=%d", fd);
	check_as_nobody(args, text, sizeof(text));
	assert_string_equal(text, "");
	assert_true(fcntl(fd, F_GETFD) >= 0);
	close(fd);
}

/* A configuration that no parser made is checked as well. */
static void values_are_checked_whoever_set_them(void **state)
{
	static const char *const expected[] = {
		"machine-config.vcpu_count: must be a whole number from 1 to 32",
		"machine-config.mem_size_mib: must be a whole number from 1 to 1048576",
		"instance.shutdown_timeout_s: must be a whole number from 1 to 86400",
		"id: is missing",
		"disk 'd'.n_queues: must be a whole number from 0 to 8",
		"interface 'n'.host_dev_name: 'a/b' cannot be the name of an interface, which has "
		"no blank, '/', ':' or '%'",
		"interface 'n'.fd: must be a whole number from 3 to 2147483647",
		"interface 'n'.guest_mac: '12' is not a MAC address; give six bytes of two "
		"hexadecimal digits with colons between them, such as 02:fc:00:00:00:01",
		"interface 'n'.mtu: must be a whole number from 68 to 65535",
		"interface 'n'.ports: 'x' forwards no port; give tcp:HOST:GUEST or udp:HOST:GUEST "
		"with numbers from 1 to 65535, such as tcp:8080:80",
		"interface 'n'.rx_rate_limiter.ops.size: must be a whole number below 2^63",
		"disk 'd': has no path",
		"interface 'n'.fd: and host_dev_name 'a/b' exclude each other; give one of them",
		"interface 'n'.ports: is for the back end Passt, and this one is Tap",
	};
	struct vmcfg_errors e = { 0 };
	struct vm_config cfg;

	(void)state;
	vmcfg_defaults(&cfg);
	cfg.kernel_path = strdup("k");
	cfg.vcpus = 33;
	cfg.mem_bytes = 4096;
	cfg.shutdown_timeout_ms = 0;
	free(cfg.id);
	cfg.id = NULL;
	cfg.n_disks = 1;
	cfg.disks[0].id = strdup("d");
	cfg.disks[0].n_queues = 9;
	cfg.n_nets = 1;
	cfg.nets[0] = (struct net_config){
		.id = strdup("n"),
		.host_dev = strdup("a/b"),
		.fd = 2,
		.mac = strdup("12"),
		.mtu = 67,
		.n_queue_pairs = 1,
		.ports = strdup("tcp:1:1 x"),
		.rx.ops.size = UINT64_MAX,
	};
	vmcfg_check_values(&cfg, &e);
	assert_int_equal(e.n, ARRAY_SIZE(expected));
	for (size_t i = 0; i < e.n; i++)
		assert_string_equal(e.text[i], expected[i]);
	vmcfg_errors_done(&e);
	vmcfg_done(&cfg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_file_is_judged),
		cmocka_unit_test(nothing_is_created_or_kept_open),
		cmocka_unit_test(a_socket_may_be_there),
		cmocka_unit_test(an_open_descriptor_is_an_interface),
		cmocka_unit_test(values_are_checked_whoever_set_them),
	};

	return cmocka_run_group_tests_name("vmcfg-check", tests, set_up, tear_down);
}

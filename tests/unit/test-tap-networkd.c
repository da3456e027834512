/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap_open_networkd() with the real helper program, a real dbus-daemon and a real systemd-networkd,
 * in namespaces of the test's own. What the helper does on other hosts: tests/cli/test_networkd.py.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop.h"
#include "tap.h"

#define UNIT	 "/run/systemd/network/10-volt-vt0.network"
#define LIMIT_MS 10000

/* networkd takes a read-only /sys for a container's, where no udev tells it of links. */
static const char namespaces[] =
	"set -e; mount --make-rprivate /; mount -t tmpfs -o mode=755 tmpfs /run;"
	"mount -t sysfs -o ro sysfs /sys; ip link set lo up;"
	"mkdir -p /run/dbus /run/systemd/network /run/systemd/netif;"
	"cd /run/systemd/netif; mkdir links leases lldp; chown -R systemd-network: .";
static const char services[] =
	"set -e; printf '<busconfig><type>system</type>"
	"<listen>unix:path=/run/dbus/system_bus_socket</listen><policy context=\"default\">"
	"<allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/>"
	"<allow receive_sender=\"*\"/></policy></busconfig>' > /run/bus.conf;"
	"printf '[NetDev]\\nName=br0\\nKind=bridge\\n' > /run/systemd/network/br0.netdev;"
	"dbus-daemon --config-file=/run/bus.conf --fork --nopidfile --print-pid > /run/pids 2>&1;"
	"/lib/systemd/systemd-networkd > /run/networkd.log 2>&1 & echo $! >> /run/pids;"
	"timeout 10 sh -c 'until ip link show br0; do sleep 0.05; done' > /dev/null 2>&1";

static struct loop loop;

static int setup(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	setenv("VOLT_HELPER_DIR", HELPER_BUILD, 1);
	assert_int_equal(unshare(CLONE_NEWNS | CLONE_NEWNET), 0);
	assert_int_equal(system(namespaces), 0);
	return loop_init(&loop, NULL);
}

static int teardown(void **state)
{
	(void)state;
	loop_done(&loop);
	return system("for p in $(grep -x '[0-9]*' /run/pids 2>/dev/null); do kill -9 $p; done");
}

static bool until_gone(const char *path)
{
	for (int ms = 0; ms < LIMIT_MS && access(path, F_OK) == 0; ms += 20)
		poll(NULL, 0, 20);
	return access(path, F_OK) < 0;
}

static void without_a_bus_the_tap_goes_again(void **state)
{
	struct volt_err err = { 0 };
	struct netif *n = NULL;

	(void)state;
	assert_true(tap_open_networkd("vt0", "br0", "vm-1", 0, &loop, &n, &err) < 0);
	assert_non_null(strstr(err.msg, "networkd: the D-Bus system bus cannot be reached"));
	assert_null(n);
	assert_int_equal(if_nametoindex("vt0"), 0);
	assert_int_equal(loop_poll(&loop, 0), 0);
}

static void it_is_a_port_while_it_is_open(void **state)
{
	struct volt_err err = { 0 };
	struct netif *n = NULL;

	(void)state;
	assert_int_equal(system(services), 0);
	if (tap_open_networkd("vt0", "br0", "vm-1", 0, &loop, &n, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(n->ops->name, "networkd");
	assert_true(n->ops->can_vhost);
	assert_int_equal(system("ip -o link show vt0 | grep -q 'master br0'"), 0);
	assert_int_equal(access(UNIT, F_OK), 0);
	netif_destroy(n);
	assert_true(until_gone(UNIT));
	assert_int_equal(if_nametoindex("vt0"), 0);
}

static void nothing_is_left_of_a_killed_owner(void **state)
{
	struct volt_err err = { 0 };
	struct netif *n = NULL;
	int fds[2], status;
	pid_t child;
	char c;

	(void)state;
	assert_int_equal(system(services), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		if (tap_open_networkd("vt0", "br0", "vm-1", 0, &loop, &n, &err) == 0 &&
			write(fds[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 1);
	close(fds[0]);
	assert_int_equal(access(UNIT, F_OK), 0);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(until_gone(UNIT));
	assert_int_equal(if_nametoindex("vt0"), 0);
	/* The next start works. */
	assert_int_equal(tap_open_networkd("vt0", "br0", "vm-1", 0, &loop, &n, &err), 0);
	netif_destroy(n);
	assert_true(until_gone(UNIT));
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(without_a_bus_the_tap_goes_again),
		TEST(it_is_a_port_while_it_is_open),
		TEST(nothing_is_left_of_a_killed_owner),
	};

	return cmocka_run_group_tests_name("tap-networkd", tests, NULL, NULL);
}

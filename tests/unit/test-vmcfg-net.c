/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --net and --vsock: every back end and option, the MAC address of each interface, the text of each
 * mistake, and that a dump gives the same interfaces again. What the document can say is in the
 * fixtures of test-vmcfg.c.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmcfg-list.h"
#include "vmcfg-mac.h"

struct run {
	struct vm_config cfg;
	struct vmcfg_errors e;
	enum vmcfg_action action;
};

/* "--kernel k" and args, split on blanks. */
static void run(struct run *r, const char *args)
{
	char buf[2048], *argv[96] = { (char *)"volt-vmm", (char *)"--kernel=k" }, *rest = buf;
	char *word;
	int argc = 2;

	*r = (struct run){ 0 };
	snprintf(buf, sizeof(buf), "%s", args);
	while ((word = strsep(&rest, " ")) && argc < 95)
		if (*word)
			argv[argc++] = word;
	vmcfg_defaults(&r->cfg);
	vmcfg_cli(&r->cfg, argc, argv, &r->action, &r->e);
	vmcfg_check_values(&r->cfg, &r->e);
}

static void run_ok(struct run *r, const char *args)
{
	run(r, args);
	if (r->e.n)
		fail_msg("%s: %s", args, r->e.text[0]);
}

static void done(struct run *r)
{
	vmcfg_errors_done(&r->e);
	vmcfg_done(&r->cfg);
}

static void each_backend_has_its_defaults(void **state)
{
	const struct net_config *n;
	struct run r;

	(void)state;
	run_ok(&r, "--net tap=tap0 --net fd=3 --net macvtap=eth0 --net networkd=vm0 --net passt");
	assert_int_equal(r.cfg.n_nets, 5);
	for (size_t i = 0; i < 5; i++) {
		n = &r.cfg.nets[i];
		assert_int_equal(n->id[3], '0' + (int)i);
		assert_int_equal(n->mtu, 0);
		assert_int_equal(n->n_queue_pairs, 1);
		assert_int_equal(n->fd, i == 1 ? 3 : -1);
		assert_false(n->vhost);
		assert_true(!n->mac && !n->bridge && !n->ports);
		assert_true(n->rx.bandwidth.size == 0 && n->tx.ops.size == 0);
	}
	n = r.cfg.nets;
	assert_int_equal(n[0].backend, NET_BACKEND_TAP);
	assert_string_equal(n[0].host_dev, "tap0");
	assert_int_equal(n[1].backend, NET_BACKEND_TAP);
	assert_null(n[1].host_dev);
	assert_int_equal(n[2].backend, NET_BACKEND_MACVTAP);
	assert_string_equal(n[2].host_dev, "eth0");
	assert_int_equal(n[2].macvtap_mode, MACVTAP_BRIDGE);
	assert_int_equal(n[3].backend, NET_BACKEND_NETWORKD);
	assert_string_equal(n[3].host_dev, "vm0");
	assert_int_equal(n[4].backend, NET_BACKEND_PASST);
	assert_null(n[4].host_dev);
	done(&r);
}

static void each_option_reaches_its_field(void **state)
{
	const struct net_config *n;
	struct run r;

	(void)state;
	run_ok(&r, "--net tap=tap0,id=lan,mac=02:FC:00:00:00:01,mtu=9000,queues=8,vhost=off,"
		   "rx-bandwidth=10M/1000/512k,rx-ops=5000/100,tx-bandwidth=1G/1,tx-ops=7/8/9 "
		   "--net tap=tap1,vhost --net tap=tap2,vhost=on --net macvtap=e,mode=passthru "
		   "--net networkd=n,bridge=br0 --net passt,tcp=8080:80,udp=53:53,tcp=443:443");
	n = r.cfg.nets;
	assert_string_equal(n[0].id, "lan");
	assert_string_equal(n[0].mac, "02:FC:00:00:00:01");
	assert_memory_equal(n[0].mac_bytes, ((uint8_t[]){ 2, 0xfc, 0, 0, 0, 1 }), 6);
	assert_int_equal(n[0].mtu, 9000);
	assert_int_equal(n[0].n_queue_pairs, 8);
	assert_true(!n[0].vhost && n[1].vhost && n[2].vhost);
	assert_true(n[0].rx.bandwidth.size == 10 * MIB && n[0].rx.bandwidth.refill_ms == 1000);
	assert_true(n[0].rx.bandwidth.one_time_burst == 512 * KIB);
	assert_true(n[0].rx.ops.size == 5000 && n[0].rx.ops.refill_ms == 100);
	assert_true(n[0].rx.ops.one_time_burst == 0);
	assert_true(n[0].tx.bandwidth.size == GIB && n[0].tx.bandwidth.refill_ms == 1);
	assert_true(n[0].tx.ops.size == 7 && n[0].tx.ops.refill_ms == 8);
	assert_true(n[0].tx.ops.one_time_burst == 9);
	assert_int_equal(n[3].macvtap_mode, MACVTAP_PASSTHRU);
	assert_string_equal(n[4].bridge, "br0");
	assert_string_equal(n[5].ports, "tcp:8080:80 udp:53:53 tcp:443:443");
	assert_string_equal(n[5].id, "net5");
	done(&r);
}

static void vsock_has_a_path_and_a_cid(void **state)
{
	struct run r;

	(void)state;
	run_ok(&r, "--vsock /run/v.sock");
	assert_string_equal(r.cfg.vsock_path, "/run/v.sock");
	assert_true(r.cfg.vsock_cid == 3);
	done(&r);
	run_ok(&r, "--vsock v,cid=4294967294");
	assert_true(r.cfg.vsock_cid == 0xfffffffe);
	done(&r);
}

/* Flags come after the document: its vsock is overridden, its interfaces get company. */
static void flags_and_a_document_together(void **state)
{
	static const char text[] =
		"{\"vsock\": {\"uds_path\": \"doc.sock\", \"guest_cid\": 9},"
		"\"network-interfaces\": [{\"host_dev_name\": \"t\", \"iface_id\": \"net1\"}]}";
	char path[] = "/tmp/test-vmcfg-net-XXXXXX", args[128];
	uint8_t mac[VMCFG_MAC_BYTES];
	int fd = mkstemp(path);
	struct run r;

	(void)state;
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	snprintf(args, sizeof(args), "--net passt --vsock flag.sock --id b --config-file %s", path);
	run_ok(&r, args);
	unlink(path);
	assert_int_equal(r.cfg.n_nets, 2);
	assert_string_equal(r.cfg.nets[0].id, "net1");
	assert_string_equal(r.cfg.nets[1].id, "net2"); /* net1 is taken */
	assert_string_equal(r.cfg.vsock_path, "flag.sock");
	assert_true(r.cfg.vsock_cid == 9);
	vmcfg_mac_make("b", "net1", mac); /* the id of the flags counts */
	assert_memory_equal(r.cfg.nets[0].mac_bytes, mac, sizeof(mac));
	done(&r);
}

static void a_mac_is_stable_with_an_id_and_random_without(void **state)
{
	static struct run a, b;

	(void)state;
	run_ok(&a, "--id web-1 --net tap=a --net tap=b");
	run_ok(&b, "--net tap=x --id web-1");
	assert_memory_equal(a.cfg.nets[0].mac_bytes, b.cfg.nets[0].mac_bytes, 6);
	assert_memory_not_equal(a.cfg.nets[0].mac_bytes, a.cfg.nets[1].mac_bytes, 6);
	done(&b);
	run_ok(&b, "--id web-2 --net tap=x");
	assert_memory_not_equal(a.cfg.nets[0].mac_bytes, b.cfg.nets[0].mac_bytes, 6);
	done(&a);
	done(&b);
	run_ok(&a, "--net tap=a");
	run_ok(&b, "--net tap=a");
	assert_memory_not_equal(a.cfg.nets[0].mac_bytes, b.cfg.nets[0].mac_bytes, 6);
	assert_int_equal(a.cfg.nets[0].mac_bytes[0] & 3, 2);
	done(&a);
	done(&b);
	/* Who writes the default out has no id of one's own either. */
	run_ok(&a, "--id anonymous-instance --net tap=a");
	run_ok(&b, "--id anonymous-instance --net tap=a");
	assert_memory_not_equal(a.cfg.nets[0].mac_bytes, b.cfg.nets[0].mac_bytes, 6);
	done(&a);
	done(&b);
}

static void a_dump_gives_the_same_interfaces(void **state)
{
	static char text[1 << 16], again[1 << 16];
	struct vmcfg_errors e = { 0 };
	static struct vm_config cfg;
	struct run r;
	FILE *f;

	(void)state;
	run_ok(&r, "--id a --vsock v,cid=5 --net tap=tap0,mac=02:fc:00:00:00:01,rx-ops=7/8/9 "
		   "--net macvtap=e,mode=vepa --net fd=9,vhost --net passt,tcp=1:2,udp=1:2");
	f = fmemopen(text, sizeof(text), "w");
	assert_int_equal(vmcfg_dump(&r.cfg, f), 0);
	fclose(f);
	vmcfg_defaults(&cfg);
	vmcfg_json(&cfg, text, strlen(text), "dump", &e);
	assert_int_equal(e.n, 0);
	assert_int_equal(cfg.n_nets, 4);
	for (size_t i = 0; i < 4; i++) {
		const struct net_config *n = &r.cfg.nets[i], *m = &cfg.nets[i];

		assert_string_equal(n->id, m->id);
		assert_memory_equal(n->mac_bytes, m->mac_bytes, 6);
		assert_int_equal(n->fd, m->fd);
		assert_int_equal(n->macvtap_mode, m->macvtap_mode);
		assert_memory_equal(&n->rx, &m->rx, sizeof(n->rx));
	}
	assert_string_equal(cfg.nets[3].ports, "tcp:1:2 udp:1:2");
	f = fmemopen(again, sizeof(again), "w");
	assert_int_equal(vmcfg_dump(&cfg, f), 0);
	fclose(f);
	assert_string_equal(text, again);
	vmcfg_done(&cfg);
	done(&r);
}

#define BACKENDS \
	"--net: must begin with tap=NAME, fd=N, macvtap=LINK, networkd=NAME or passt, not "
#define OPTIONS \
	" is not known behind the back end; there are id=ID, mac=MAC, mtu=N, queues=N, " \
	"vhost[=on|off], mode=MODE, bridge=NAME, tcp=HOST:GUEST, udp=HOST:GUEST, and " \
	"rx-bandwidth, rx-ops, tx-bandwidth and tx-ops, each =SIZE/MILLISECONDS[/BURST]"
#define BYTES "must be SIZE/MILLISECONDS or SIZE/MILLISECONDS/BURST, such as 10M/1000, not "
#define OPS   "must be N/MILLISECONDS or N/MILLISECONDS/BURST, such as 5000/1000, not "
#define PORTS \
	" forwards no port; give tcp:HOST:GUEST or udp:HOST:GUEST with numbers from 1 to 65535, " \
	"such as tcp:8080:80"

static const struct {
	const char *args, *error;
} mistakes[] = {
	{ "--net tap0", BACKENDS "'tap0'" },
	{ "--net tap", BACKENDS "'tap'" },
	{ "--net taps=x", BACKENDS "'taps=x'" },
	{ "--net ta=x", BACKENDS "'ta=x'" },
	{ "--net =x", BACKENDS "'=x'" },
	{ "--net=", BACKENDS "''" },
	{ "--net passt=x", BACKENDS "'passt=x'" },
	{ "--net mac=02:00:00:00:00:01", BACKENDS "'mac=02:00:00:00:00:01'" },
	{ "--net tap=", "--net: tap: must not be empty" },
	{ "--net tap=abcdefghijklmnop",
		"--net: tap: is 16 bytes long, and the name of an interface has at most 15" },
	{ "--net macvtap=a/b", "--net: macvtap: 'a/b' cannot be the name of an interface, which "
			       "has no blank, '/', ':' or '%'" },
	{ "--net fd=2", "--net: fd: must be a whole number from 3 to 2147483647, not '2'" },
	{ "--net fd=x", "--net: fd: must be a whole number from 3 to 2147483647, not 'x'" },
	{ "--net passt,fast", "--net: 'fast'" OPTIONS },
	{ "--net passt,mtu", "--net: 'mtu'" OPTIONS },
	{ "--net passt,", "--net: ''" OPTIONS },
	{ "--net passt,id=", "--net: id: must not be empty" },
	{ "--net passt,id=a.b",
		"interface 'a.b': the id may have only letters, digits, hyphens and underscores" },
	{ "--net passt,mac=1", "--net: mac: '1' is not a MAC address; give six bytes of two "
			       "hexadecimal digits with colons between them, such as "
			       "02:fc:00:00:00:01" },
	{ "--net passt,mac=03:00:00:00:00:01",
		"--net: mac: 03:00:00:00:00:01 is a multicast address, because bit 0 of its first "
		"byte (0x03) is set; an interface has that bit clear, as in 02:00:00:00:00:01" },
	{ "--net passt,mtu=67", "--net: mtu: must be a whole number from 68 to 65535, not '67'" },
	{ "--net tap=t,queues=9", "--net: queues: must be a whole number from 1 to 8, not '9'" },
	{ "--net tap=t,vhost=yes", "--net: vhost: must be on or off, not 'yes'" },
	{ "--net macvtap=t,mode=fast",
		"--net: mode: must be Bridge, Vepa, Private or Passthru, not 'fast'" },
	{ "--net passt,tcp=80", "--net: tcp: 'tcp:80'" PORTS },
	{ "--net passt,udp=80:99999", "--net: udp: 'udp:80:99999'" PORTS },
	{ "--net passt,udp=0x10:80", "--net: udp: 'udp:0x10:80'" PORTS },
	{ "--net passt,mtu=100,mtu=100", "--net: mtu: is given twice" },
	{ "--net tap=t,rx-bandwidth=10M", "--net: rx-bandwidth: " BYTES "'10M'" },
	{ "--net tap=t,rx-bandwidth=10M/", "--net: rx-bandwidth: " BYTES "'10M/'" },
	{ "--net tap=t,rx-bandwidth=0/1", "--net: rx-bandwidth: " BYTES "'0/1'" },
	{ "--net tap=t,rx-bandwidth=1/0", "--net: rx-bandwidth: " BYTES "'1/0'" },
	{ "--net tap=t,tx-bandwidth=1/1/", "--net: tx-bandwidth: " BYTES "'1/1/'" },
	{ "--net tap=t,tx-bandwidth=1/1/1/1", "--net: tx-bandwidth: " BYTES "'1/1/1/1'" },
	{ "--net tap=t,tx-bandwidth=8388608T/1", "--net: tx-bandwidth: " BYTES "'8388608T/1'" },
	{ "--net tap=t,tx-ops=1K/1", "--net: tx-ops: " OPS "'1K/1'" },
	{ "--net tap=t,rx-ops=1/18446744073710", "--net: rx-ops: " OPS "'1/18446744073710'" },
	{ "--net tap=t --net tap=t", "interface 'net1'.host_dev_name: t is already that of "
				     "interface 'net0', and it cannot have two" },
	{ "--net fd=3 --net fd=3",
		"interface 'net1'.fd: 3 is already that of interface 'net0'; each needs its own" },
	{ "--net tap=t,bridge=br0",
		"interface 'net0'.bridge: is for the back end Networkd, and this one is Tap" },
	{ "--net tap=t,mode=vepa",
		"interface 'net0'.macvtap_mode: is for the back end Macvtap, and this one is Tap" },
	{ "--net networkd=t,tcp=1:1",
		"interface 'net0'.ports: is for the back end Passt, and this one is Networkd" },
	{ "--net tap=t,vhost,rx-ops=1/1",
		"interface 'net0'.vhost: does not go with a rate limiter, because the kernel would "
		"not keep to it; give up one of them" },
	{ "--net passt,vhost", "interface 'net0'.vhost: does not go with the back end Passt, whose "
			       "frames the kernel cannot move" },
	{ "--net fd=3,queues=2",
		"interface 'net0'.n_queue_pairs: is 2, and only a tap by name has more than 1" },
	{ "--net passt,tcp=80:1,tcp=80:2",
		"interface 'net0'.ports: tcp port 80 of the host is forwarded twice" },
	{ "--net", "--net: needs a value: BACKEND[,OPTION...]" },
	{ "--vsock", "--vsock: needs a value: PATH[,cid=N]" },
	{ "--vsock=", "--vsock: must not be empty" },
	{ "--vsock a --vsock b", "--vsock: is given twice" },
	{ "--vsock a,cid=2",
		"--vsock: cid: must be a whole number from 3 to 4294967294, not '2'" },
	{ "--vsock a,cid=4294967295",
		"--vsock: cid: must be a whole number from 3 to 4294967294, not '4294967295'" },
	{ "--vsock a,uid=3", "--vsock: 'uid=3' is not known behind the path; there is cid=N" },
};

static void each_mistake_is_one_clear_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		struct run r;

		run(&r, mistakes[i].args);
		if (r.e.n != 1)
			fail_msg("'%s' gives %zu errors: %s, %s", mistakes[i].args, r.e.n,
				r.e.n ? r.e.text[0] : "", r.e.n > 1 ? r.e.text[1] : "");
		assert_string_equal(r.e.text[0], mistakes[i].error);
		done(&r);
	}
}

static void the_limit_of_a_socket_path_is_told(void **state)
{
	char args[256] = "--vsock ";
	struct run r;

	(void)state;
	memset(args + 8, 'v', 107);
	run_ok(&r, args);
	done(&r);
	args[8 + 107] = 'v';
	run(&r, args);
	assert_int_equal(r.e.n, 1);
	assert_string_equal(r.e.text[0], "--vsock: is 108 bytes long, and the maximum is 107");
	done(&r);
}

static void all_mistakes_are_shown_at_once(void **state)
{
	static const char *const expected[] = {
		"--net: mtu: must be a whole number from 68 to 65535, not '1'",
		"--net: tx-ops: " OPS "'1'",
		BACKENDS "'tun=x'",
		"--vsock: cid: must be a whole number from 3 to 4294967294, not '0'",
		"interface 'a': two interfaces have this id; each needs its own",
		"interface 'net0'.bridge: is for the back end Networkd, and this one is Tap",
		"interface 'a'.guest_mac: the MAC address is already in use: 02:00:00:00:00:01 is "
		"that of interface 'net0'; each needs its own",
		"interface 'a'.host_dev_name: t is already that of interface 'net0', and it cannot "
		"have two",
	};
	struct run r;

	(void)state;
	run(&r, "--net tap=t,mtu=1,tx-ops=1,bridge=b,mac=02:00:00:00:00:01 --net tun=x,id=a "
		"--net tap=t,id=a,mac=02:00:00:00:00:01 --vsock v,cid=0");
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		size_t j = 0;

		while (j < r.e.n && strcmp(r.e.text[j], expected[i]) != 0)
			j++;
		if (j == r.e.n)
			fail_msg("missing: %s", expected[i]);
	}
	assert_int_equal(r.e.n, ARRAY_SIZE(expected));
	done(&r);
}

static void devices_are_counted_together(void **state)
{
	char args[1024] = "--net tap=a --vsock v";
	struct run r;

	(void)state;
	for (int i = 0; i < 16; i++)
		strcat(args, " --disk d");
	run(&r, args);
	assert_int_equal(r.e.n, 1);
	assert_string_equal(r.e.text[0],
		"devices: 19 virtio devices are too many (disks 16, interfaces 1, vsock 1, "
		"entropy 1); there is room for 18");
	done(&r);
	strcat(args, " --no-entropy");
	run_ok(&r, args);
	done(&r);
	args[0] = '\0';
	for (int i = 0; i < 9; i++)
		strcat(args, " --net passt");
	run(&r, args);
	assert_int_equal(r.e.n, 1);
	assert_string_equal(r.e.text[0], "--net: is one interface too many; the maximum is 8");
	done(&r);
}

static void a_list_is_emptied(void **state)
{
	const struct vmcfg_section *s = vmcfg_doc_section("network-interfaces");
	struct run r;

	(void)state;
	run_ok(&r, "--net passt,tcp=1:1 --net tap=a");
	assert_int_equal(vmcfg_list_count(s, &r.cfg), 2);
	assert_string_equal(vmcfg_list_id(s, &r.cfg, 1), "net1");
	assert_ptr_equal(vmcfg_list_item(s, &r.cfg, 1), &r.cfg.nets[1]);
	vmcfg_list_done(s, &r.cfg);
	assert_int_equal(r.cfg.n_nets, 0);
	assert_null(r.cfg.nets[0].ports);
	done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_backend_has_its_defaults),
		cmocka_unit_test(each_option_reaches_its_field),
		cmocka_unit_test(vsock_has_a_path_and_a_cid),
		cmocka_unit_test(flags_and_a_document_together),
		cmocka_unit_test(a_mac_is_stable_with_an_id_and_random_without),
		cmocka_unit_test(a_dump_gives_the_same_interfaces),
		cmocka_unit_test(each_mistake_is_one_clear_line),
		cmocka_unit_test(the_limit_of_a_socket_path_is_told),
		cmocka_unit_test(all_mistakes_are_shown_at_once),
		cmocka_unit_test(devices_are_counted_together),
		cmocka_unit_test(a_list_is_emptied),
	};

	return cmocka_run_group_tests_name("vmcfg-net", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: order, the place of "--", and the limit to the byte. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "cmdline.h"

static const struct layout_slot slots[] = { { 0xc0001000, 5 }, { 0xc0002000, 6 } };

static void assert_line(const struct cmdline_config *cfg, const char *want)
{
	struct volt_err err = { 0 };
	char line[LIMIT_CMDLINE];

	assert_int_equal(cmdline_build(cfg, line, &err), 0);
	assert_string_equal(line, want);
}

static void adds_what_we_know(void **state)
{
	struct cmdline_config cfg = { .user = "console=ttyS0 quiet" };

	(void)state;
	assert_line(&cfg, "console=ttyS0 quiet");
	cfg.pci_off = true;
	cfg.root = "/dev/vda";
	cfg.n_virtio = 2;
	cfg.virtio = slots;
	assert_line(&cfg,
		"console=ttyS0 quiet pci=off root=/dev/vda rw virtio_mmio.device=4K@0xc0001000:5 "
		"virtio_mmio.device=4K@0xc0002000:6");
	cfg.n_virtio = 0;
	cfg.root = "PARTUUID=0eaa91a0-01";
	cfg.root_read_only = true;
	assert_line(&cfg, "console=ttyS0 quiet pci=off root=PARTUUID=0eaa91a0-01 ro");
	cfg.user = "";
	assert_line(&cfg, "pci=off root=PARTUUID=0eaa91a0-01 ro");
	cfg = (struct cmdline_config){ .user = "" };
	assert_line(&cfg, "");
}

static void keeps_init_arguments_last(void **state)
{
	struct cmdline_config cfg = { .pci_off = true };

	(void)state;
	cfg.user = "a -- b  c";
	assert_line(&cfg, "a pci=off -- b  c");
	cfg.user = "a   -- b -- c";
	assert_line(&cfg, "a pci=off -- b -- c");
	cfg.user = "-- b";
	assert_line(&cfg, "pci=off -- b");
	cfg.user = "a --";
	assert_line(&cfg, "a pci=off --");
	cfg.user = "a --b c--";
	assert_line(&cfg, "a --b c-- pci=off");
	cfg.user = "a=\"x -- y\" z";
	assert_line(&cfg, "a=\"x -- y\" z pci=off");
	cfg.user = "a=\"x -- y\" -- z";
	assert_line(&cfg, "a=\"x -- y\" pci=off -- z");
	cfg.pci_off = false;
	cfg.user = "-- b";
	assert_line(&cfg, "-- b");
}

static void keeps_the_limit(void **state)
{
	struct cmdline_config cfg = { .pci_off = true };
	char user[4000], line[LIMIT_CMDLINE];
	struct volt_err err = { 0 };

	(void)state;
	memset(user, 'x', sizeof(user));
	user[LIMIT_CMDLINE - 1 - 8] = '\0'; /* " pci=off" fits */
	cfg.user = user;
	assert_int_equal(cmdline_build(&cfg, line, &err), 0);
	assert_int_equal(strlen(line), LIMIT_CMDLINE - 1);
	assert_string_equal(line + LIMIT_CMDLINE - 1 - 8, " pci=off");

	user[LIMIT_CMDLINE - 1 - 8] = 'x';
	user[LIMIT_CMDLINE - 8] = '\0';
	assert_int_equal(cmdline_build(&cfg, line, &err), -E2BIG);
	assert_string_equal(err.msg,
		"kernel command line of 2040 bytes with 8 added for the devices is 1 bytes too "
		"long (at most 2047)");

	user[LIMIT_CMDLINE - 8] = 'x';
	user[3999] = '\0';
	err = (struct volt_err){ 0 };
	assert_int_equal(cmdline_build(&cfg, line, &err), -E2BIG);
	assert_string_equal(err.msg,
		"kernel command line of 3999 bytes with 8 added for the devices is 1960 bytes too "
		"long (at most 2047)");
	memcpy(user, "a -- ", 5);
	err = (struct volt_err){ 0 };
	assert_int_equal(cmdline_build(&cfg, line, &err), -E2BIG);

	cfg.user = "";
	cfg.root = user; /* a long root device does not cut the count short */
	err = (struct volt_err){ 0 };
	assert_int_equal(cmdline_build(&cfg, line, &err), -E2BIG);
	assert_string_equal(err.msg,
		"kernel command line of 0 bytes with 4015 added for the devices is 1968 bytes too "
		"long (at most 2047)");
}

static void takes_printable_ascii_only(void **state)
{
	static const struct {
		const char *user, *root, *message;
	} bad[] = {
		{ "a\nb", NULL,
			"kernel command line: byte 0x0a at position 1 is not printable ASCII" },
		{ "\t", NULL,
			"kernel command line: byte 0x09 at position 0 is not printable ASCII" },
		{ "x=\xc3\xa9", NULL,
			"kernel command line: byte 0xc3 at position 2 is not printable ASCII" },
		{ "\x7f", NULL,
			"kernel command line: byte 0x7f at position 0 is not printable ASCII" },
		{ "ok", "a\x01", "root device: byte 0x01 at position 1 is not printable ASCII" },
	};
	char line[LIMIT_CMDLINE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct cmdline_config cfg = { .user = bad[i].user, .root = bad[i].root };
		struct volt_err err = { 0 };

		assert_int_equal(cmdline_build(&cfg, line, &err), -EINVAL);
		assert_string_equal(err.msg, bad[i].message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adds_what_we_know),
		cmocka_unit_test(keeps_init_arguments_last),
		cmocka_unit_test(keeps_the_limit),
		cmocka_unit_test(takes_printable_ascii_only),
	};

	return cmocka_run_group_tests_name("cmdline", tests, NULL, NULL);
}

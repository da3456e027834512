/* SPDX-License-Identifier: Apache-2.0 */
/* MAC addresses: what is read, what is refused and why, and what is made for those without. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmcfg-judge.h"
#include "vmcfg-mac.h"

#define MANY 100000

static void good_addresses_are_read(void **state)
{
	static const struct {
		const char *text;
		uint8_t mac[VMCFG_MAC_BYTES];
	} cases[] = {
		{ "02:fc:00:00:00:01", { 0x02, 0xfc, 0, 0, 0, 1 } },
		{ "AA:FC:0a:B0:9f:F9", { 0xaa, 0xfc, 0x0a, 0xb0, 0x9f, 0xf9 } },
		{ "00:00:00:00:00:01", { 0, 0, 0, 0, 0, 1 } },
		{ "fe:ff:ff:ff:ff:ff", { 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t mac[VMCFG_MAC_BYTES] = { 0 };
		char text[VMCFG_MAC_TEXT + 1];

		assert_int_equal(vmcfg_mac_parse(cases[i].text, mac, NULL), 0);
		assert_memory_equal(mac, cases[i].mac, sizeof(mac));
		vmcfg_mac_format(mac, text);
		assert_int_equal(strcasecmp(text, cases[i].text), 0);
	}
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"02",
		"02:fc:00:00:00",
		"02:fc:00:00:00:",
		"02:fc:00:00:00:0",
		"02:fc:00:00:00:01:",
		"02:fc:00:00:00:01 ",
		" 2:fc:00:00:00:01",
		"2:fc:00:00:00:001",
		"+2:fc:00:00:00:01",
		"0x:fc:00:00:00:01",
		"02-fc-00-00-00-01",
		"02fc.0000.0001",
		"02fc00000001",
		"0g:fc:00:00:00:01",
		"02:fc:00:00:00:\xc3\xa9",
	};
	uint8_t mac[VMCFG_MAC_BYTES];

	(void)state;
	memset(mac, 0x77, sizeof(mac));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct volt_err err = { 0 };

		assert_int_equal(vmcfg_mac_parse(cases[i], mac, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "such as 02:fc:00:00:00:01"));
		assert_int_equal(mac[0], 0x77);
	}
}

/* The example of a message, which is its last word, is an address that is accepted. */
static void assert_example(const char *bad, const char *bit, const char *example)
{
	struct volt_err err = { 0 };
	const char *last;
	uint8_t mac[VMCFG_MAC_BYTES];

	assert_int_equal(vmcfg_judge_mac(bad, &err), -EINVAL);
	assert_non_null(strstr(err.msg, bad));
	assert_non_null(strstr(err.msg, bit));
	last = strrchr(err.msg, ' ') + 1;
	assert_string_equal(last, example);
	assert_int_equal(vmcfg_mac_parse(last, mac, NULL), 0);
	assert_int_equal(mac[0] & 3, 2);
}

static void a_bad_bit_is_named_and_corrected(void **state)
{
	(void)state;
	assert_example("01:00:5e:00:00:01", "bit 0 of its first byte (0x01)", "02:00:5e:00:00:01");
	assert_example("33:33:00:00:00:01", "bit 0 of its first byte (0x33)", "32:33:00:00:00:01");
	assert_example("ff:ff:ff:ff:ff:ff", "bit 0 of its first byte (0xff)", "fe:ff:ff:ff:ff:ff");
	assert_example("00:00:00:00:00:00", "bit 1 of its first byte", "02:00:00:00:00:01");
}

/* Guests remember them: another version of ours has to make the same. */
static void a_made_address_never_changes(void **state)
{
	static const struct {
		const char *vm, *iface, *mac;
	} cases[] = {
		{ "web-1", "net0", "0e:f5:22:72:f7:4e" },
		{ "web-1", "net1", "32:64:d5:67:96:46" },
		{ "web-2", "net0", "de:b8:d9:93:4f:da" },
		{ "a", "bc", "6a:06:bd:e4:d0:f6" },
		{ "ab", "c", "1a:89:69:59:d2:d1" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t mac[VMCFG_MAC_BYTES];
		char text[VMCFG_MAC_TEXT + 1];

		vmcfg_mac_make(cases[i].vm, cases[i].iface, mac);
		vmcfg_mac_format(mac, text);
		assert_string_equal(text, cases[i].mac);
	}
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, VMCFG_MAC_BYTES);
}

static void assert_all_differ(uint8_t (*all)[VMCFG_MAC_BYTES], size_t n)
{
	qsort(all, n, sizeof(all[0]), compare);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(all[i][0] & 3, 2); /* unicast, locally administered */
		assert_true(i == 0 || compare(all[i - 1], all[i]) != 0);
	}
}

/* 46 bits and 100000 addresses: by chance alone there is a clash once in 14000 such sets. */
static void many_ids_do_not_clash(void **state)
{
	uint8_t(*all)[VMCFG_MAC_BYTES] = calloc(2 * MANY, sizeof(*all));
	char vm[32];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		snprintf(vm, sizeof(vm), "vm-%d", i);
		vmcfg_mac_make(vm, "net0", all[i]);
		vmcfg_mac_make("web", vm, all[MANY + i]);
	}
	assert_all_differ(all, MANY);
	assert_all_differ(all + MANY, MANY);
	assert_all_differ(all, 2 * MANY);
	free(all);
}

/* Each of the 46 free bits is set in about half of the addresses. */
static void every_bit_is_used(void **state)
{
	unsigned set[8 * VMCFG_MAC_BYTES] = { 0 };
	char vm[32];

	(void)state;
	for (int i = 0; i < 10000; i++) {
		uint8_t mac[VMCFG_MAC_BYTES];

		snprintf(vm, sizeof(vm), "%d", i);
		vmcfg_mac_make(vm, "eth0", mac);
		for (size_t b = 0; b < ARRAY_SIZE(set); b++)
			set[b] += mac[b / 8] >> b % 8 & 1;
	}
	assert_int_equal(set[0], 0);
	assert_int_equal(set[1], 10000);
	for (size_t b = 2; b < ARRAY_SIZE(set); b++)
		assert_in_range(set[b], 4700, 5300); /* six standard deviations */
}

static void random_addresses_differ(void **state)
{
	uint8_t(*all)[VMCFG_MAC_BYTES] = calloc(1000, sizeof(*all));

	(void)state;
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(vmcfg_mac_random(all[i], NULL), 0);
	assert_all_differ(all, 1000);
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_addresses_are_read),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(a_bad_bit_is_named_and_corrected),
		cmocka_unit_test(a_made_address_never_changes),
		cmocka_unit_test(many_ids_do_not_clash),
		cmocka_unit_test(every_bit_is_used),
		cmocka_unit_test(random_addresses_differ),
	};

	return cmocka_run_group_tests_name("vmcfg-mac", tests, NULL, NULL);
}

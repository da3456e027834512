/* SPDX-License-Identifier: Apache-2.0 */
/* MAC addresses of guests, see vmcfg-mac.h. */
#include "vmcfg-mac.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* Of the first byte. */
#define MULTICAST 0x01
#define LOCAL	  0x02 /* locally administered: not from a vendor's range */

/* -1 for what is not a hexadecimal digit. */
static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool split(const char *text, uint8_t ret[VMCFG_MAC_BYTES])
{
	if (strlen(text) != VMCFG_MAC_TEXT)
		return false;
	for (size_t i = 0; i < VMCFG_MAC_BYTES; i++, text += 3) {
		int high = digit(text[0]), low = digit(text[1]);

		if (high < 0 || low < 0 || text[2] != (i + 1 < VMCFG_MAC_BYTES ? ':' : '\0'))
			return false;
		ret[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static void make_local(uint8_t mac[VMCFG_MAC_BYTES])
{
	mac[0] = (uint8_t)((mac[0] & ~MULTICAST) | LOCAL);
}

void vmcfg_mac_format(const uint8_t mac[VMCFG_MAC_BYTES], char buf[VMCFG_MAC_TEXT + 1])
{
	snprintf(buf, VMCFG_MAC_TEXT + 1, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		mac[3], mac[4], mac[5]);
}

int vmcfg_mac_parse(const char *text, uint8_t ret[VMCFG_MAC_BYTES], struct volt_err *err)
{
	static const uint8_t zero[VMCFG_MAC_BYTES];
	uint8_t mac[VMCFG_MAC_BYTES], good[VMCFG_MAC_BYTES];
	char example[VMCFG_MAC_TEXT + 1];

	if (!split(text, mac))
		return volt_err_set(err, EINVAL,
			"'%.40s' is not a MAC address; give six bytes of two hexadecimal digits "
			"with colons between them, such as 02:fc:00:00:00:01",
			text);
	memcpy(good, mac, sizeof(good));
	make_local(good);
	if (memcmp(mac, zero, sizeof(zero)) == 0) {
		good[VMCFG_MAC_BYTES - 1] = 1;
		vmcfg_mac_format(good, example);
		return volt_err_set(err, EINVAL,
			"%s is nobody's address; give one with bit 1 of its first byte set "
			"(locally administered), such as %s",
			text, example);
	}
	if (mac[0] & MULTICAST) {
		vmcfg_mac_format(good, example);
		return volt_err_set(err, EINVAL,
			"%s is a multicast address, because bit 0 of its first byte (0x%02x) is "
			"set; an interface has that bit clear, as in %s",
			text, mac[0], example);
	}
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

/* 64-bit FNV-1a over a string with its NUL, so that ("a", "bc") is not ("ab", "c"). */
static uint64_t hash(uint64_t h, const char *text)
{
	do
		h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	while (*text++);
	return h;
}

/* FNV mixes its high bits badly: the finalizer of MurmurHash3, a bijection. */
static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
	h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

void vmcfg_mac_make(const char *vm_id, const char *iface_id, uint8_t ret[VMCFG_MAC_BYTES])
{
	uint64_t h = mix(hash(hash(UINT64_C(0xcbf29ce484222325), vm_id), iface_id));

	for (size_t i = 0; i < VMCFG_MAC_BYTES; i++)
		ret[i] = (uint8_t)(h >> 8 * i);
	make_local(ret);
}

int vmcfg_mac_random(uint8_t ret[VMCFG_MAC_BYTES], struct volt_err *err)
{
	/* Up to 256 bytes come whole and without a signal in between (getrandom(2)). */
	if (getrandom(ret, VMCFG_MAC_BYTES, 0) != VMCFG_MAC_BYTES)
		return volt_err_set(err, errno ? errno : EIO, "no random numbers: %m");
	make_local(ret);
	return 0;
}

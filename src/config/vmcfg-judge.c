/* SPDX-License-Identifier: Apache-2.0 */
/* Texts with a syntax of their own, see vmcfg-judge.h. */
#include "vmcfg-judge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "limit.h"
#include "num.h"
#include "vmcfg-mac.h"
#include "vmcfg.h"

#define PORT_DIGITS	 5
#define LINK_LOCAL_FIRST 0xa9fe0100u
#define LINK_LOCAL_LAST	 0xa9fefeffu

int vmcfg_judge_link(const char *text, struct volt_err *err)
{
	size_t len = strlen(text);

	if (len >= LIMIT_IFNAME)
		return volt_err_set(err, EINVAL,
			"is %zu bytes long, and the name of an interface has at most %d", len,
			LIMIT_IFNAME - 1);
	if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return volt_err_set(err, EINVAL, "'%s' cannot be the name of an interface", text);
	/* The kernel would put a number of its choice in place of %d. */
	if (strpbrk(text, " /:%"))
		return volt_err_set(err, EINVAL,
			"'%s' cannot be the name of an interface, which has no blank, '/', ':' or "
			"'%%'",
			text);
	return 0;
}

int vmcfg_judge_mac(const char *text, struct volt_err *err)
{
	uint8_t mac[VMCFG_MAC_BYTES];

	return vmcfg_mac_parse(text, mac, err);
}

bool vmcfg_judge_ipv4(const char *text, uint32_t *ret)
{
	struct in_addr addr;

	if (inet_pton(AF_INET, text, &addr) != 1)
		return false;
	*ret = ntohl(addr.s_addr);
	return true;
}

int vmcfg_judge_link_local(const char *text, struct volt_err *err)
{
	uint32_t ipv4;

	if (!vmcfg_judge_ipv4(text, &ipv4))
		return volt_err_set(err, EINVAL, "'%.40s' is no IPv4 address", text);
	if (ipv4 < LINK_LOCAL_FIRST || ipv4 > LINK_LOCAL_LAST)
		return volt_err_set(err, EINVAL,
			"%s is not link-local; give one from 169.254.1.0 to 169.254.254.255", text);
	return 0;
}

/* 1..65535, the decimal digits up to `end`; *text is moved behind it. */
static bool port(const char **text, char end, uint64_t *ret)
{
	char digits[PORT_DIGITS + 1] = "";
	size_t n = strspn(*text, "0123456789");

	if (n == 0 || n > PORT_DIGITS || (*text)[n] != end)
		return false;
	memcpy(digits, *text, n);
	*text += n + 1;
	return num_parse_u64(digits, 1, UINT16_MAX, ret) == 0;
}

bool vmcfg_judge_forward(const char *text, struct vmcfg_judge_forward *ret)
{
	ret->udp = strncmp(text, "udp:", 4) == 0;
	if (!ret->udp && strncmp(text, "tcp:", 4) != 0)
		return false;
	text += 4;
	return port(&text, ':', &ret->host) && port(&text, '\0', &ret->guest);
}

int vmcfg_judge_port(const char *text, struct volt_err *err)
{
	struct vmcfg_judge_forward f;

	if (vmcfg_judge_forward(text, &f))
		return 0;
	return volt_err_set(err, EINVAL,
		"'%.40s' forwards no port; give tcp:HOST:GUEST or udp:HOST:GUEST with numbers from "
		"1 to 65535, such as tcp:8080:80",
		text);
}

int vmcfg_judge_texts(const char *text, struct volt_err *err)
{
	json_t *object = json_loads(text, 0, NULL), *v;
	const char *key, *odd = NULL;
	int r = 0;

	json_object_foreach(object, key, v)
		if (!json_is_string(v))
			odd = key;
	if (!json_is_object(object))
		r = volt_err_set(err, EINVAL, "must be an object");
	else if (odd)
		r = volt_err_set(
			err, EINVAL, "must be an object of texts, and '%.40s' is none", odd);
	json_decref(object);
	return r;
}

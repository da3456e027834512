/* SPDX-License-Identifier: Apache-2.0 */
/* The words of HTTP, see http-text.h. No state; any thread. */
#include "http-text.h"

#include <string.h>

#define ALNUM "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

size_t http_text_token(const char *s)
{
	return strspn(s, ALNUM "!#$%&'*+-.^_`|~");
}

/* Bytes of the UTF-8 sequence (RFC 3629) at s; 0: it is none. Ends at the NUL. */
static size_t utf8_sequence(const unsigned char *s)
{
	unsigned low = 0x80, high = 0xbf;
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (n == 0 || s[0] > 0xf4)
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < n; i++, low = 0x80, high = 0xbf)
		if (s[i] < low || s[i] > high)
			return 0;
	return n;
}

bool http_text_is_utf8(const char *s)
{
	const unsigned char *at = (const unsigned char *)s;
	size_t n;

	for (; *at; at += n) {
		n = utf8_sequence(at);
		if (n == 0)
			return false;
	}
	return true;
}

bool http_text_has_control(const char *s)
{
	for (; *s; s++)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
			return true;
	return false;
}

char *http_text_trim(char *s)
{
	char *end;

	s += strspn(s, " \t");
	end = s + strlen(s);
	while (end > s && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = '\0';
	return s;
}

const char *http_text_path(const char *target)
{
	static const char scheme[] = "http://";
	size_t host;

	if (*target == '/')
		return target;
	if (strncmp(target, scheme, sizeof(scheme) - 1) != 0)
		return NULL;
	target += sizeof(scheme) - 1;
	host = strspn(target, ALNUM "-._~:[]");
	if (host == 0)
		return NULL;
	target += host;
	return *target == '/' ? target : *target ? NULL : "/";
}

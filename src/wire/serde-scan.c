/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens of a JSON text; see serde-scan.h. The text is a client's. Skipped values differ from
 * others in more than the result: serde_json has a second, laxer grammar for them, with other
 * faults. Any thread.
 */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serde-scan.h"

#define EOF_STRING "EOF while parsing a string"
#define BAD_NUMBER "invalid number"
#define TOO_BIG	   "number out of range"
#define CONTROL	   "control character (\\u0000-\\u001F) found while parsing a string"
#define LONE	   "lone leading surrogate in hex escape"

bool serde_scan_init(struct serde_scan *s, const char *text, size_t len, struct serde_fault *fault)
{
	*s = (struct serde_scan){ .text = text, .len = len };
	serde_fault_start(&s->say, fault);
	s->scratch = malloc(len + 1);
	if (!s->scratch)
		serde_fault_memory(&s->say);
	return s->scratch != NULL;
}

void serde_scan_done(struct serde_scan *s)
{
	free(s->scratch);
}

static int next(const struct serde_scan *s)
{
	return s->at < s->len ? (uint8_t)s->text[s->at] : -1;
}

static bool next_digit(const struct serde_scan *s)
{
	return next(s) >= '0' && next(s) <= '9';
}

int serde_scan_peek(struct serde_scan *s)
{
	while (next(s) == ' ' || next(s) == '\n' || next(s) == '\t' || next(s) == '\r')
		s->at++;
	return next(s);
}

static bool fault_at(struct serde_scan *s, const char *what, size_t at)
{
	if (s->say.used == 0) {
		serde_fault_put(&s->say, what);
		serde_fault_place(&s->say, s->text, at);
	}
	return false;
}

bool serde_scan_fault(struct serde_scan *s, const char *what)
{
	return fault_at(s, what, s->at);
}

bool serde_scan_fault_next(struct serde_scan *s, const char *what)
{
	return fault_at(s, what, MIN(s->len, s->at + 1));
}

bool serde_scan_word(struct serde_scan *s)
{
	const char *rest = next(s) == 'n' ? "ull" : next(s) == 't' ? "rue" : "alse";

	s->at++;
	for (; *rest; rest++) {
		int c = next(s);

		if (c < 0)
			return serde_scan_fault(s, SERDE_EOF_VALUE);
		s->at++;
		if (c != *rest)
			return serde_scan_fault(s, "expected ident");
	}
	return true;
}

/* The digits before a point; *fits: in 64 bits. */
static bool scan_integer(struct serde_scan *s, uint64_t *ret, bool *fits, const char *eof)
{
	int first = next(s);

	if (first < 0)
		return serde_scan_fault(s, eof);
	s->at++;
	if (first < '0' || first > '9')
		return serde_scan_fault(s, BAD_NUMBER);
	if (first == '0' && next_digit(s))
		return serde_scan_fault_next(s, BAD_NUMBER);
	*ret = (uint64_t)(first - '0');
	*fits = true;
	for (; next_digit(s); s->at++) {
		*fits = *fits && !__builtin_mul_overflow(*ret, 10, ret) &&
			!__builtin_add_overflow(*ret, (uint64_t)(next(s) - '0'), ret);
	}
	return true;
}

static bool scan_fraction(struct serde_scan *s, const char *eof)
{
	s->at++;
	if (!next_digit(s))
		return serde_scan_fault_next(s, next(s) < 0 ? eof : BAD_NUMBER);
	while (next_digit(s))
		s->at++;
	return true;
}

/* limited: an exponent beyond 32 bits is a fault where it gets too large. */
static bool scan_exponent(struct serde_scan *s, bool limited, const char *eof)
{
	int64_t exponent = 0;
	bool positive;

	s->at++;
	positive = next(s) != '-';
	if (next(s) == '+' || next(s) == '-')
		s->at++;
	if (!next_digit(s)) {
		bool end = next(s) < 0;

		s->at += !end;
		return serde_scan_fault(s, end ? eof : BAD_NUMBER);
	}
	for (; next_digit(s); s->at++) {
		exponent = MIN(exponent * 10 + (next(s) - '0'), INT64_C(1) << 32);
		if (limited && positive && exponent > INT_MAX) {
			s->at++;
			return serde_scan_fault(s, TOO_BIG);
		}
	}
	return true;
}

/* True if a digit of the number that starts here is not zero, those of the exponent left aside. */
static bool nonzero(const char *c, const char *end)
{
	for (; c < end && *c != 'e' && *c != 'E'; c++)
		if (*c >= '1' && *c <= '9')
			return true;
	return false;
}

/* The rounding is exact; serde_json's is off in the last bit for some numbers of 17 digits. */
static bool to_real(struct serde_scan *s, size_t start, double *ret)
{
	size_t n = s->at - start;

	memcpy(s->scratch, s->text + start, n);
	s->scratch[n] = '\0';
	*ret = strtod(s->scratch, NULL);
	return isfinite(*ret) || serde_scan_fault(s, TOO_BIG);
}

/* What both grammars have in common; *integer: no point, no exponent, and it fits. */
static bool scan_number(struct serde_scan *s, bool skip, uint64_t *magnitude, bool *integer)
{
	const char *eof = skip ? BAD_NUMBER : SERDE_EOF_VALUE, *start;

	s->at += next(s) == '-';
	start = s->text + s->at;
	if (!scan_integer(s, magnitude, integer, eof))
		return false;
	if (next(s) == '.') {
		*integer = false;
		if (!scan_fraction(s, eof))
			return false;
	}
	if (next(s) != 'e' && next(s) != 'E')
		return true;
	*integer = false;
	return scan_exponent(s, !skip && nonzero(start, s->text + s->at), eof);
}

bool serde_scan_number(struct serde_scan *s, struct serde_number *n)
{
	bool negative = next(s) == '-', integer;
	size_t start = s->at;

	if (!scan_number(s, false, &n->magnitude, &integer))
		return false;
	/* As serde_json has it, -0 is a real, and so is what lies below the smallest int64_t. */
	if (integer && !negative)
		n->kind = SERDE_POSITIVE;
	else if (integer && n->magnitude > 0 && n->magnitude <= UINT64_C(1) << 63)
		n->kind = SERDE_NEGATIVE;
	else
		n->kind = SERDE_REAL;
	return n->kind != SERDE_REAL || to_real(s, start, &n->real);
}

/* The four digits of \uXXXX. */
static bool scan_hex(struct serde_scan *s, uint32_t *ret)
{
	bool good = true;

	if (s->len - s->at < 4) {
		s->at = s->len;
		return serde_scan_fault(s, EOF_STRING);
	}
	*ret = 0;
	for (int i = 0; i < 4; i++) {
		int c = next(s), letter = c | 0x20;

		good = good && (next_digit(s) || (letter >= 'a' && letter <= 'f'));
		*ret = *ret << 4 | (uint32_t)(next_digit(s) ? c - '0' : letter - 'a' + 10);
		s->at++;
	}
	return good || serde_scan_fault(s, "invalid escape");
}

static size_t encode(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* The second half of a surrogate pair, whose first half is *c. */
static bool scan_pair(struct serde_scan *s, uint32_t *c)
{
	uint32_t low;

	for (const char *want = "\\u"; *want; want++) {
		int got = next(s);

		if (got < 0)
			return serde_scan_fault(s, EOF_STRING);
		s->at++;
		if (got != *want)
			return serde_scan_fault(s, "unexpected end of hex escape");
	}
	if (!scan_hex(s, &low))
		return false;
	if (low < 0xdc00 || low > 0xdfff)
		return serde_scan_fault(s, LONE);
	*c = 0x10000 + ((*c - 0xd800) << 10 | (low - 0xdc00));
	return true;
}

/* Behind a backslash. skip: surrogates need no partner. */
static bool scan_escape(struct serde_scan *s, bool skip, char *out, size_t *n)
{
	static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	int c = next(s);
	const char *known;
	uint32_t code;

	if (c < 0)
		return serde_scan_fault(s, EOF_STRING);
	s->at++;
	known = c ? strchr(letters, c) : NULL;
	if (known) {
		out[(*n)++] = meant[known - letters];
		return true;
	}
	if (c != 'u')
		return serde_scan_fault(s, "invalid escape");
	if (!scan_hex(s, &code))
		return false;
	if (!skip && code >= 0xdc00 && code <= 0xdfff)
		return serde_scan_fault(s, LONE);
	if (!skip && code >= 0xd800 && code <= 0xdbff && !scan_pair(s, &code))
		return false;
	*n += encode(code, out + *n);
	return true;
}

/* A string to out, which has room for the rest of the text. */
static bool scan_string(struct serde_scan *s, bool skip, char *out, size_t *n)
{
	*n = 0;
	s->at++;
	for (;;) {
		int c = next(s);

		if (c < 0)
			return serde_scan_fault(s, EOF_STRING);
		if (c < 0x20) {
			s->at += !skip;
			return serde_scan_fault(s, CONTROL);
		}
		s->at++;
		if (c == '"')
			return true;
		if (c != '\\')
			out[(*n)++] = (char)c;
		else if (!scan_escape(s, skip, out, n))
			return false;
	}
}

/* Volt's own: a C string would end there, and name another file than the client wrote. */
static void fault_zero(struct serde_scan *s, size_t n)
{
	serde_fault_put(&s->say, "invalid value: string ");
	serde_fault_put_quoted(&s->say, s->scratch, n);
	serde_fault_put(&s->say, ", expected a string without U+0000");
	serde_fault_place(&s->say, s->text, s->at);
}

static bool is_utf8(const char *text, size_t n)
{
	uint32_t c;

	for (size_t i = 0, len; i < n; i += len) {
		len = serde_fault_decode(text + i, n - i, &c);
		if (len == 0)
			return false;
	}
	return true;
}

json_t *serde_scan_string(struct serde_scan *s)
{
	json_t *v;
	size_t n;

	if (!scan_string(s, false, s->scratch, &n))
		return NULL;
	if (!is_utf8(s->scratch, n)) {
		serde_scan_fault(s, "invalid unicode code point");
		return NULL;
	}
	if (memchr(s->scratch, '\0', n)) {
		fault_zero(s, n);
		return NULL;
	}
	v = json_stringn_nocheck(s->scratch, n);
	if (!v)
		serde_fault_memory(&s->say);
	return v;
}

bool serde_scan_colon(struct serde_scan *s)
{
	int c = serde_scan_peek(s);

	if (c != ':')
		return serde_scan_fault_next(s, c < 0 ? SERDE_EOF_OBJECT : "expected `:`");
	s->at++;
	return true;
}

/* A value that is no list and no object. */
static bool skip_plain(struct serde_scan *s, int c, char *out)
{
	uint64_t magnitude;
	bool integer;
	size_t n;

	switch (c) {
	case 'n':
	case 't':
	case 'f':
		return serde_scan_word(s);
	case '"':
		return scan_string(s, true, out, &n);
	case '-':
	case '0' ... '9':
		return scan_number(s, true, &magnitude, &integer);
	case -1:
		return serde_scan_fault_next(s, SERDE_EOF_VALUE);
	default:
		return serde_scan_fault_next(s, SERDE_NO_VALUE);
	}
}

static bool skip_key(struct serde_scan *s, char *out)
{
	int c = serde_scan_peek(s);
	size_t n;

	if (c != '"')
		return serde_scan_fault_next(s, c < 0 ? SERDE_EOF_OBJECT : SERDE_NO_KEY);
	return scan_string(s, true, out, &n) && serde_scan_colon(s);
}

/*
 * Closes what ends here, up to a comma or, directly behind a bracket, the first value. `after` says
 * that a value came before.
 */
static bool skip_ends(struct serde_scan *s, size_t *open, bool after)
{
	while (*open) {
		bool list = s->scratch[*open - 1] == '[';
		int c = serde_scan_peek(s);

		if (c < 0)
			return serde_scan_fault_next(s,
				list ? SERDE_EOF_LIST : SERDE_EOF_OBJECT);
		if (c == (list ? ']' : '}')) {
			(*open)--;
		} else if (!after) {
			break;
		} else if (c != ',') {
			return serde_scan_fault_next(s,
				list ? SERDE_NO_LIST_END : SERDE_NO_OBJECT_END);
		}
		s->at++;
		if (c == ',')
			break;
		after = true;
	}
	return true;
}

bool serde_scan_skip(struct serde_scan *s)
{
	size_t open = 0; /* brackets, in scratch */

	do {
		int c = serde_scan_peek(s);
		bool bracket = c == '[' || c == '{';

		if (bracket) {
			s->scratch[open++] = (char)c;
			s->at++;
		} else if (!skip_plain(s, c, s->scratch + open)) {
			return false;
		}
		if (!skip_ends(s, &open, !bracket))
			return false;
		if (open && s->scratch[open - 1] == '{' && !skip_key(s, s->scratch + open))
			return false;
	} while (open);
	return true;
}

static bool fault_expected(struct serde_scan *s, const char *expected)
{
	serde_fault_put(&s->say, ", expected ");
	serde_fault_put(&s->say, expected);
	serde_fault_place(&s->say, s->text, s->at);
	return false;
}

bool serde_scan_wrong_number(struct serde_scan *s, const struct serde_number *n, bool type_is_right,
	const char *expected)
{
	serde_fault_put(&s->say, type_is_right ? "invalid value: " : "invalid type: ");
	if (n->kind == SERDE_REAL) {
		serde_fault_put(&s->say, "floating point `");
		serde_fault_put_real(&s->say, n->real);
	} else {
		serde_fault_put(&s->say, "integer `");
		serde_fault_put_number(&s->say, n->kind == SERDE_NEGATIVE, n->magnitude);
	}
	serde_fault_put(&s->say, "`");
	return fault_expected(s, expected);
}

static bool wrong_string(struct serde_scan *s, const char *expected)
{
	json_t *v = serde_scan_string(s);

	if (!v)
		return false;
	serde_fault_put(&s->say, "invalid type: string ");
	serde_fault_put_quoted(&s->say, json_string_value(v), json_string_length(v));
	json_decref(v);
	return fault_expected(s, expected);
}

bool serde_scan_wrong(struct serde_scan *s, int c, const char *expected)
{
	const char *found = NULL;
	struct serde_number n;

	switch (c) {
	case -1:
		return serde_scan_fault_next(s, SERDE_EOF_VALUE);
	case '"':
		return wrong_string(s, expected);
	case '-':
	case '0' ... '9':
		return serde_scan_number(s, &n) && serde_scan_wrong_number(s, &n, false, expected);
	case 'n':
	case 't':
	case 'f':
		if (!serde_scan_word(s))
			return false;
		found = c == 'n' ? "null" : c == 't' ? "boolean `true`" : "boolean `false`";
		break;
	case '[':
		found = "sequence";
		break;
	case '{':
		found = "map";
		break;
	default:
		return serde_scan_fault_next(s, SERDE_NO_VALUE);
	}
	serde_fault_put(&s->say, "invalid type: ");
	serde_fault_put(&s->say, found);
	return fault_expected(s, expected);
}

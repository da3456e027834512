/* SPDX-License-Identifier: Apache-2.0 */
/* What the words of an HTTP head may consist of. Texts end at their NUL. No state; any thread. */
#ifndef VOLT_HTTP_TEXT_H
#define VOLT_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* How many bytes from s on are those of a token (RFC 9110, 5.6.2): a header's name. */
size_t http_text_token(const char *s);
bool http_text_is_utf8(const char *s);	   /* RFC 3629 */
bool http_text_has_control(const char *s); /* but for tabs */
char *http_text_trim(char *s);		   /* without the blanks and tabs at both ends */

/* The path of a target, which is "/..." or "http://HOST[/...]"; NULL: neither. */
const char *http_text_path(const char *target);

#endif

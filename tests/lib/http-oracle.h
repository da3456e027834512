/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request as llhttp reads it. Its header has names that are also ours. No state. */
#ifndef VOLT_HTTP_ORACLE_H
#define VOLT_HTTP_ORACLE_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_ORACLE_BYTES 70000 /* of all headers */

struct http_oracle {
	const char *method;
	unsigned major, minor;
	bool upgrade;	   /* then the body is left to others */
	unsigned complete; /* requests that ended in these bytes */
	char url[2048];	   /* NUL-terminated, as the rest */
	char head[HTTP_ORACLE_BYTES]; /* "name:value\n" ..., blanks behind the value are gone */
	char body[4096];
	size_t url_len, head_len, body_len;
	bool in_trailer;
};

/* False: it is no request, or not only one. Too long a part aborts. */
bool http_oracle_read(struct http_oracle *o, const char *bytes, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums against values that others have published, and the two ways against each other. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "crc32c.h"

/* RFC 3720, B.4 */
static void known_values(void **state)
{
	uint8_t data[32] = { 0 };

	(void)state;
	assert_int_equal(crc32c_add(0, "", 0), 0);
	assert_int_equal(crc32c_add(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c_add(0, data, 32), 0x8a9136aa);
	memset(data, 0xff, 32);
	assert_int_equal(crc32c_add(0, data, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		data[i] = i;
	assert_int_equal(crc32c_add(0, data, 32), 0x46dd794e);
}

static void parts_make_the_whole(void **state)
{
	uint8_t data[300];

	(void)state;
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = i * 7 + (i >> 3);
	for (unsigned from = 0; from < 16; from++)
		for (unsigned len = 0; len + from <= sizeof(data); len += 7) {
			uint32_t crc = crc32c_add(0, data + from, len);

			assert_int_equal(crc, crc32c_portable(0, data + from, len));
			assert_int_equal(crc32c_add(crc32c_add(0, data + from, len / 3),
						 data + from + len / 3, len - len / 3),
				crc);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values),
		cmocka_unit_test(parts_make_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

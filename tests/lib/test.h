/* SPDX-License-Identifier: Apache-2.0 */
/* The headers cmocka wants, in the order it wants them. */
#ifndef VOLT_TEST_H
#define VOLT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* A failed check says where and ends the test. */
#ifndef NS_CHECK_H
#define NS_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void check_at(int ok, const char *what, const char *file, int line)
{
	if (!ok) {
		fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
		exit(1);
	}
}

#define CHECK(what) check_at(!!(what), #what, __FILE__, __LINE__)

#endif

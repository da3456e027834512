// SPDX-License-Identifier: Apache-2.0
/*
 * Becomes a monitor: `launch COMMAND ARGS...` reads CLOCK_MONOTONIC, writes it to descriptor 3 (8
 * bytes, ns) and execs at once. It is static and tiny so that the exec, with which the time of each
 * contestant begins, has next to nothing to tear down. An argument "@START_US@" becomes the same
 * time in microseconds, for volt-vmm's --start-time-us. The monitor dies with who measures it.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define START_WORD "@START_US@"
#define TIME_FD	   3

int main(int argc, char **argv)
{
	char text[32];
	struct timespec t;
	uint64_t ns;
	int at = 0;

	if (argc < 2)
		return 2;
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], START_WORD) == 0)
			at = i;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	clock_gettime(CLOCK_MONOTONIC, &t);
	ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	if (write(TIME_FD, &ns, sizeof(ns)) != sizeof(ns))
		return 125;
	close(TIME_FD);
	if (at) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)(ns / 1000));
		argv[at] = text;
	}
	execv(argv[1], argv + 1);
	perror(argv[1]);
	return 127;
}

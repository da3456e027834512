/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the three parts of the test images' init share. They are one static program that is told
 * apart by the name it is called by, so that a guest loads one small file and no second exec.
 */
#ifndef VOLT_IMAGES_GUEST_H
#define VOLT_IMAGES_GUEST_H

/* Stores the boot-timer byte through /dev/mem. Returns 0 or -errno. */
int boot_timer_fire(void);

/* Waits for the power key on any input device, then asks PID 1 to power off. Returns 0 if there is
 * none. */
int powerbtn_run(void);

#endif

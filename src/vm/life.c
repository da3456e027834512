/* SPDX-License-Identifier: Apache-2.0 */
/* Signals and the orderly end, see life.h. */
#include "life.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cleanup.h"
#include "fatal.h"
#include "log.h"
#include "vm.h"

static void next_stage(struct life *l)
{
	uint64_t third_ns = l->vm->cfg->shutdown_timeout_ms * NSEC_PER_MSEC / 3;

	switch (l->stage) {
	case LIFE_RUNNING:
		l->stage = LIFE_BUTTON;
		acpi_pm_power_button(&l->vm->pm);
		loop_timer_set(l->timerfd, MAX(third_ns, 1), 0);
		break;
	case LIFE_BUTTON:
		l->stage = LIFE_CTRL_ALT_DEL;
		log_info("the power button was not answered: Ctrl-Alt-Del");
		if (i8042_ctrl_alt_del(&l->vm->i8042) < 0)
			log_info("the guest has no keyboard driver");
		loop_timer_set(l->timerfd, MAX(2 * third_ns, 1), 0);
		break;
	case LIFE_CTRL_ALT_DEL:
		vm_end(l->vm, VM_END_KILLED, NULL, "no end within %llu ms",
			(unsigned long long)l->vm->cfg->shutdown_timeout_ms);
		break;
	}
}

void life_ask(struct life *l, const char *why)
{
	if (l->stage != LIFE_RUNNING) {
		vm_end(l->vm, VM_END_KILLED, NULL, "%s for the second time", why);
		return;
	}
	log_info("%s: asking the guest to power off", why);
	next_stage(l);
}

static void on_signal(struct loop_src *src, uint32_t events)
{
	struct life *l = container_of(src, struct life, signal_src);
	struct signalfd_siginfo si;

	(void)events;
	/* #syscalls loop: read */
	while (read(l->signalfd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		char why[32] = "signal ";
		const char *name = sigabbrev_np((int)si.ssi_signo);

		if (si.ssi_signo == SIGCONT) {
			if (l->vm->console)
				console_refresh(l->vm->console);
			continue;
		}
		strncat(why, name ? name : "?", sizeof(why) - strlen(why) - 1);
		if (si.ssi_signo == SIGHUP)
			fatal_hangup();
		/*
		 * Firecracker's clients mean the process (see life_init(); this is SIGHUP); before
		 * the start there is no guest.
		 */
		if (l->vm->cfg->firecracker || !l->vm->started)
			vm_end(l->vm, VM_END_QUIT, NULL, "%s", why);
		else if (vm_paused(l->vm)) /* it cannot hear, and to let it go on is not for us */
			vm_end(l->vm, VM_END_KILLED, NULL, "%s while it was paused", why);
		else
			life_ask(l, why);
	}
}

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct life *l = container_of(src, struct life, timer_src);

	(void)events;
	if (loop_drain(l->timerfd))
		next_stage(l);
}

int life_init(struct life *l, struct vm *vm, struct volt_err *err)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;
	int r;

	*l = (struct life){
		.vm = vm,
		.signalfd = -1,
		.timerfd = -1,
		.signal_src = { on_signal, "signal", -1 },
		.timer_src = { on_timer, "shutdown-timer", -1 },
	};
	sigemptyset(&set);
	if (!vm->cfg->firecracker) { /* its clients know of the default action only */
		sigaddset(&set, SIGTERM);
		sigaddset(&set, SIGINT);
	}
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCONT);
	r = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (r)
		return volt_err_set(err, r, "block signals: %m");
	/*
	 * A reader that is gone and a terminal that is not ours are errors of a call, not our end.
	 */
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGTTIN, &ignore, NULL);
	sigaction(SIGTTOU, &ignore, NULL);
	l->signalfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signalfd < 0)
		return volt_err_set(err, errno, "signalfd: %m");
	l->timerfd = loop_timer_open(err);
	if (l->timerfd < 0)
		return l->timerfd;
	r = loop_add(&vm->loop, &l->signal_src, l->signalfd, EPOLLIN);
	if (r == 0)
		r = loop_add(&vm->loop, &l->timer_src, l->timerfd, EPOLLIN);
	return r < 0 ? volt_err_set(err, -r, "watch signals: %m") : 0;
}

void life_done(struct life *l)
{
	l->signalfd = fd_close(l->signalfd);
	l->timerfd = fd_close(l->timerfd);
}

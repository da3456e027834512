# SPDX-License-Identifier: Apache-2.0
# A thin front over Meson and the scripts: `make help` lists what there is.

BUILD ?= build
PREFIX ?= /usr/local
SUITE ?=
QUIET ?=

.PHONY: all help demo shell test soak bench install deps clean

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

$(BUILD)/build.ninja:
	@tools/deps build
	@meson setup $(BUILD) --prefix $(PREFIX) >/dev/null || meson setup $(BUILD) --prefix $(PREFIX)

help:
	@echo "make             build volt-vmm into $(BUILD)/"
	@echo "make demo        boot a Linux guest, show what it sees, power it off, print the timeline"
	@echo "make shell       an interactive guest; Ctrl-A x leaves it"
	@echo "make test        all tests; SUITE=unit (style, fuzz, cli, payload, linux, lab) for one suite,"
	@echo "                 QUIET=1 for failures and totals only"
	@echo "make soak        every network back end and kernel, ROUNDS=20 times over: hours in the lab"
	@echo "make bench       side by side with QEMU microvm; report in bench/out/"
	@echo "make install     into PREFIX=$(PREFIX), below DESTDIR"
	@echo "make deps        install all Debian packages that the above need"
	@echo "make clean       remove the build folders (not the cache of kernels and images)"

demo:
	@tools/demo

shell:
	@tools/demo --shell

test:
	@tools/deps build test lab images
	@tests/run $(foreach s,$(SUITE),--suite $(s)) $(if $(QUIET),--quiet)

soak:
	@tools/deps build test lab images
	@VOLT_ROUNDS=$(or $(ROUNDS),20) tests/run --suite linux --filter 'linux/net/*' --filter 'linux/net_rate/*'

bench:
	@tools/deps build bench lab images kernels
	@bench/run $(BENCH_ARGS)

install: all
	@meson install -C $(BUILD) --quiet

deps:
	@tools/deps build lab images kernels test bench

clean:
	rm -rf build build-*

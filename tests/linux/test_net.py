# SPDX-License-Identifier: Apache-2.0
"""Every network back end with every kind of kernel: pings, full MTU, 64 MiB each way (16 by passt, which
is slow, but for make soak), link flap.

VOLT_ROUNDS=N: the traffic N times, in three boots (make soak).
"""
import math
import os

import vt
from linux import Talker
from netback import BACKENDS, TapDhcp, connect, flap, full_ping, ping, reach, serve, transfer

ROUNDS = int(os.environ.get("VOLT_ROUNDS", "1"))
BOOTS = min(ROUNDS, 3)
MIB = int(os.environ.get("VOLT_NET_MIB", "64"))
SOAK = "VOLT_ROUNDS" in os.environ
KERNELS = {"tuned": "tuned-pvh", "bare": "bare", "cloud-6.1": "cloud-6.1"}


def _mib(backend):
    return MIB if SOAK else min(MIB, backend.quick_mib)


def _boot(kernel, backend):
    g = Talker(KERNELS[kernel], *backend.options(), netns=backend.host, pass_fds=backend.fds)
    connect(g, backend)
    reach(g, backend)
    rates = []
    for _ in range(math.ceil(ROUNDS / BOOTS)):
        ping(g, backend)
        full_ping(g, backend)
        rates.append(transfer(g, backend, _mib(backend)))
        flap(g, backend)
        transfer(g, backend, 1)
    g.end()
    print("MB/s out, in:", ", ".join(f"{o:.0f} {i:.0f}" for o, i in rates))


def _cell(kernel, make):
    backend = make()
    serve(backend)
    for _ in range(BOOTS):
        _boot(kernel, backend)


for BACKEND in BACKENDS:
    for KERNEL in KERNELS:
        vt.test(f"{BACKEND.name}, {KERNEL}: pings, full MTU, {_mib(BACKEND)} MiB each way, link flap",
                timeout=BACKEND.seconds * (BOOTS + ROUNDS))(
            lambda kernel=KERNEL, make=BACKEND: _cell(kernel, make))


def _dhcp(kernel):
    backend = TapDhcp()
    serve(backend)
    g = Talker(KERNELS[kernel], *backend.options(), netns=backend.host)
    connect(g, backend)
    reach(g, backend)
    full_ping(g, backend)
    transfer(g, backend, 1)
    g.end()


for KERNEL in KERNELS:
    vt.test(f"{TapDhcp.name}, {KERNEL}: address and route by DHCP, full MTU, 1 MiB each way", timeout=60)(
        lambda kernel=KERNEL: _dhcp(kernel))

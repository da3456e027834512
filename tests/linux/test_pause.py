# SPDX-License-Identifier: Apache-2.0
"""A Linux guest stands still for 10 s under disk and network load, and goes on as if nothing had been."""
import os
import re
import time
from subprocess import DEVNULL, PIPE

import vt
from linux import Talker
from netback import GUEST, NET_TOOL, PORT, WORLD, Tap, VhostTap, connect, reach, serve
from vmm import KILLED, api_client, set_state

SECONDS = 10
CHUNK, CHUNKS = 64 << 10, 96
PIECE = 1 << 20

# The disk: chunk after chunk is written and flushed, over and over until /tmp/stop; then all are compared.
DISK = f"""
disk() {{ round=0; while [ ! -e /tmp/stop ]; do round=$((round + 1)); i=0;
while [ $i -lt {CHUNKS} ] && [ ! -e /tmp/stop ]; do
yes "chunk $i of $round" | head -c {CHUNK} |
dd of=/dev/vdc bs={CHUNK} seek=$i iflag=fullblock conv=notrunc,fsync 2>/dev/null || echo bad >>/tmp/bad;
eval "has_$i=$round"; echo $round.$i >/tmp/disk; i=$((i + 1)); done; done;
echo 3 >/proc/sys/vm/drop_caches; i=0; while [ $i -lt {CHUNKS} ]; do eval "r=\\$has_$i";
[ -z "$r" ] || {{ yes "chunk $i of $r" | head -c {CHUNK} >/tmp/want;
dd if=/dev/vdc bs={CHUNK} skip=$i count=1 2>/dev/null | cmp -s - /tmp/want || echo chunk $i >>/tmp/bad; }};
i=$((i + 1)); done; touch /tmp/disk-done; }}
""".replace("\n", " ")
# The network, outwards; net-tool compares checksums.
NET = f"""
net() {{ n=0; while [ ! -e /tmp/stop ]; do
net-tool put {WORLD}:{PORT} {PIECE} >/tmp/put 2>&1 || cat /tmp/put >>/tmp/bad;
n=$((n + 1)); echo $n >/tmp/net; done; touch /tmp/net-done; }}
""".replace("\n", " ")


def _inbound(backend):
    """Transfers to the guest, one after another: a shell that says FAILED where one fails."""
    return backend.world.popen(
        ["sh", "-c", f"while [ ! -e {vt.tmp()}/stop ]; do {NET_TOOL} put {GUEST}:{PORT} {PIECE} "
                     "|| echo FAILED; done"], stdin=DEVNULL, stdout=PIPE, text=True)


def _progress(g):
    return g.do("cat /tmp/disk /tmp/net 2>/dev/null", status=None).split()


def _moves(g, before):
    """Disk and network have moved since."""
    now = _progress(g)
    return len(now) == 2 and now[0] != before[0] and int(now[1]) > int(before[1])


def _offset(g):
    """The guest's clock less ours."""
    return float(g.do("date +%s")) + 0.5 - time.time()


def _still(backend, data):
    """What moves as long as the guest runs: frames from its tap, its disk."""
    return backend.host.traffic("t0")[1]["rx_bytes"], os.stat(data).st_mtime_ns


def _pause(kernel, make, io):
    data = os.path.join(vt.tmp(), "data")
    with open(data, "wb") as f:
        f.truncate(CHUNK * CHUNKS)
    sock, backend = os.path.join(vt.tmp(), "api"), make()
    serve(backend)
    g = Talker(kernel, *backend.options(), "--api-sock", sock, cpus=2, netns=backend.host,
               disks=[f"{data},id=data,io={io}"])
    client = api_client(sock)
    connect(g, backend)
    reach(g, backend)
    g.do(DISK + "; true")
    g.do(NET + "; true")
    g.do("(disk &) ; (net &) ; true")
    inbound = _inbound(backend)
    vt.until(lambda: len(_progress(g)) == 2, "disk and network begin", 60)
    before, offset = _progress(g), _offset(g)

    set_state(g, client, "Paused")
    set_state(g, client, "Paused")
    start, seen = time.monotonic(), _still(backend, data)
    while time.monotonic() < start + SECONDS:
        time.sleep(SECONDS / 5)
        g.expect(_still(backend, data) == seen, "it moves while it is paused")
        status, _, body = client.request("GET", "/", None)
        g.expect(status == 200 and body["state"] == "Paused", f"GET /: {status} {body}")
    set_state(g, client, "Resumed")
    set_state(g, client, "Resumed")

    vt.until(lambda: _moves(g, before), "disk and network go on", 60)
    drift = _offset(g) - offset
    g.expect(abs(drift) < 2.1, f"the guest's clock has moved by {drift:.1f} s against ours")
    with open(os.path.join(vt.tmp(), "stop"), "wb"):
        pass
    g.do("touch /tmp/stop")
    g.do("until [ -e /tmp/disk-done ] && [ -e /tmp/net-done ]; do sleep 0.1; done", 60)
    bad = g.do("cat /tmp/bad 2>/dev/null", status=None)
    g.expect(not bad, f"the guest's transfers failed: {bad}")
    text = inbound.communicate(timeout=60 * vt.FACTOR)[0]
    sums = re.findall(r"put (\d+) bytes sum (\w+) theirs (\d+) (\w+)", text)
    g.expect(sums and "FAILED" not in text and all(s[:2] == s[2:] for s in sums),
             f"a transfer to the guest failed: {text}")
    print(f"{'; '.join(_progress(g))}; {len(sums)} transfers to the guest; clock {drift:+.1f} s")
    g.end()


for KERNEL, BACKEND, IO in (("tuned-pvh", Tap, "sync"), ("cloud-6.1", VhostTap, "uring")):
    vt.test(f"{KERNEL}, {BACKEND.name}, {IO}: {SECONDS} s of pause lose nothing", timeout=240)(
        lambda kernel=KERNEL, make=BACKEND, io=IO: _pause(kernel, make, io))


@vt.test("SIGTERM ends a paused VM at once", timeout=60)
def _():
    sock = os.path.join(vt.tmp(), "api")
    g = Talker("tuned-pvh", "--api-sock", sock).listens()
    client = api_client(sock)
    set_state(g, client, "Paused")
    g.terminate()
    g.wait(KILLED, 10)

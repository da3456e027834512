# SPDX-License-Identifier: Apache-2.0
"""The network test: a guest that does what it is told over its console, the jobs, and how their
results are read.

A job runs against the host itself: a tap with the host's address, nothing between. `out` is from
the guest. Bytes and packets are those that arrived.
"""
import json
import re

HOST, GUEST, MAC, PORT = "10.7.0.1", "10.7.0.2", "06:00:0a:07:00:02", 4711
TAP = "bench0"
CID = 33
ANY_CID = 0xffffffff
READY = b"volt-net-ready\n"

SCRIPT = f"""
stty -echo
ip link set lo up
ip address add {GUEST}/24 dev eth0
ip link set eth0 up
iperf3 -s >/dev/null 2>&1 &
net-tool serve 0.0.0.0:{PORT} >/dev/null 2>&1 &
net-tool serve vsock:{ANY_CID}:{PORT} >/dev/null 2>&1 &
until cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q :{5201:04X} &&
    grep -q :{PORT:04X} /proc/net/tcp; do
    sleep 0.1
done
echo {READY.decode().strip()}
while read -r line; do
    eval "$line"
done
"""

# job: (what it is, unit); streams: of iperf3
JOBS = {
    "tcp1-out": ("TCP, 1 stream, from the guest", "Mbit/s"),
    "tcp1-in": ("TCP, 1 stream, to the guest", "Mbit/s"),
    "tcp4-out": ("TCP, 4 streams, from the guest", "Mbit/s"),
    "tcp4-in": ("TCP, 4 streams, to the guest", "Mbit/s"),
    "udp-out": ("UDP, 64 bytes, from the guest", "packets/s"),
    "udp-in": ("UDP, 64 bytes, to the guest", "packets/s"),
    "rr": ("TCP request and response of 64 bytes", "us"),
    "vsock-out": ("vsock, from the guest", "Mbit/s"),
    "vsock-in": ("vsock, to the guest", "Mbit/s"),
}


def script():
    """The text of the script disk, whole sectors."""
    text = SCRIPT.encode()
    return text + b"\n" * (-len(text) % 512)


def iperf(seconds, streams, out):
    """The host's command: it is the client in both directions."""
    return ["iperf3", "-c", GUEST, "-J", "-i", "0", "-t", str(seconds), "-P", str(streams),
            *(["-R"] if out else [])]


def parse_iperf(text):
    """(bytes that arrived, seconds); ValueError says what is wrong."""
    try:
        doc = json.loads(text)
    except json.JSONDecodeError as e:
        raise ValueError(f"iperf3 printed no JSON: {text[-300:]!r}") from e
    if "error" in doc:
        raise ValueError(f"iperf3: {doc['error']}")
    got = doc["end"]["sum_received"]
    return got["bytes"], got["seconds"]


def parse_drain(text):
    """(packets that arrived, seconds from the first to the last)."""
    m = re.search(r"drained (\d+) datagrams \d+ bytes in (\d+) us", text)
    if not m or int(m[2]) == 0:
        raise ValueError(f"no packets were counted: {text[-300:]!r}")
    return int(m[1]), int(m[2]) / 1e6


def parse_rr(text):
    """(p50, p99) in nanoseconds."""
    m = re.search(r"rr \d+ p50 (\d+) p99 (\d+) ns", text)
    if not m:
        raise ValueError(f"no latency was measured: {text[-300:]!r}")
    return int(m[1]), int(m[2])


def parse_transfer(text):
    """(bytes, seconds) of a transfer whose checksums agree."""
    m = re.search(r"(\d+) bytes sum (\w+) theirs \1 \2 in (\d+) us", text)
    if not m:
        raise ValueError(f"the transfer failed: {text[-300:]!r}")
    return int(m[1]), int(m[3]) / 1e6

# SPDX-License-Identifier: Apache-2.0
"""Devices as a correct driver sees them, and what it leaves on the host's disks."""
import json
import os
import random
import re
import time

import vt
from vmm import disk, guest


@vt.test("serial port: registers, loopback, THRE interrupt through the I/O APIC")
def _():
    guest("serial").passed()


@vt.test("keyboard controller: probe, then a reset ends the VM with 0")
def _():
    guest("i8042").passed(seconds=10)


@vt.test("ACPI tables are sound; S5 ends the VM with 0")
def _():
    guest("acpi", disks=[disk()], cmdline="expect.virtio=2").passed()


@vt.test("the ACPI reset register ends the VM with 0")
def _():
    guest("acpi", "--no-entropy", cmdline="expect.virtio=0 end.reset").passed()


@vt.test("ACPI tables describe 17 disks and the entropy source")
def _():
    disks = [disk(f"{i}.img") for i in range(17)]
    guest("acpi", disks=disks, cmdline="expect.virtio=18").passed()


@vt.test("the VM generation ID is another one in every VM")
def _():
    ids = [re.search(r"generation [0-9a-f]+ [0-9a-f]+", guest("acpi", "--no-entropy").passed().out())
           for _ in range(3)]
    vt.check(all(ids) and len({i[0] for i in ids}) == 3, f"not three IDs: {ids}")


@vt.test("unclaimed ports and addresses read as all ones")
def _():
    guest("unmapped").passed()


@vt.test("boot timer: the magic byte writes one Guest-boot-time line")
def _():
    g = guest("end", "--boot-timer", cmdline="end=7").passed()
    g.expect(g.err().count("Guest-boot-time =") == 1, "not one Guest-boot-time line")


@vt.test("boot timer: without --boot-timer the address is unclaimed")
def _():
    g = guest("end", cmdline="end=7").passed()
    g.expect("Guest-boot-time" not in g.err(), "a Guest-boot-time line")


def _blk(options="", cpus=1, more="", sectors=2048, **kw):
    guest("blk", cpus=cpus, disks=[disk(sectors=sectors) + options],
          cmdline=f"expect.sectors={sectors} {more}".strip(), **kw).passed(seconds=40)


vt.test("disk: every request, interrupts, EVENT_IDX, indirect", timeout=60)(_blk)
vt.test("disk: the same with io=uring", timeout=60)(lambda: _blk(",io=uring"))
vt.test("disk: four queues", timeout=60)(lambda: _blk(",queues=4", 4, "expect.queues=4"))
vt.test("disk: four queues with io=uring", timeout=60)(
    lambda: _blk(",queues=4,io=uring", 4, "expect.queues=4"))
vt.test("disk: one queue for each of two CPUs by default", timeout=60)(
    lambda: _blk("", 2, "expect.queues=2"))


@vt.test("disk: read-only refuses writes, and the file is unchanged")
def _():
    for io in ("sync", "uring"):
        content = random.Random(1).randbytes(2048 * 512)
        path = disk(f"{io}.img", fill=content)
        guest("blk", disks=[f"{path},ro,io={io}"], cmdline="expect.ro").passed()
        with open(path, "rb") as f:
            vt.check(f.read() == content, "the read-only disk was changed")


@vt.test("disk: a read-only file needs ,ro and nothing more")
def _():
    path = disk()
    os.chmod(path, 0o444)
    guest("blk", disks=[path + ",ro"], cmdline="expect.ro").passed()


@vt.test("reset: negotiation and I/O after a reset, three times, and under load", timeout=60)
def _():
    for io in ("sync", "uring"):
        guest("reset", disks=[disk(f"{io}.img") + f",io={io}"]).passed()


@vt.test("entropy device fills what it is given, and no more")
def _():
    guest("rng").passed()


@vt.test("balloon: what is given up or reported is zero, its neighbours are not")
def _():
    path, metrics = (os.path.join(vt.tmp(), name) for name in ("balloon.json", "metrics"))
    with open(path, "w", encoding="ascii") as f:
        f.write('{"balloon": {"amount_mib": 5, "deflate_on_oom": false, "stats_polling_interval_s": 1,'
                '"free_page_hinting": true, "free_page_reporting": true}}')
    guest("balloon", "--config-file", path, "--metrics-path", metrics).passed()
    with open(metrics, encoding="ascii") as f:
        c = json.loads(f.readlines()[-1])["balloon"]
    vt.same((c["inflated_pages"], c["skipped_pages"], c["deflated_pages"]), (15, 6, 21), "pages")
    vt.same((c["report_ranges"], c["discard_errors"], c["report_errors"]), (6, 0, 0), "ranges")


@vt.test("console input: 5000 bytes from a pipe arrive, none lost or doubled")
def _():
    text = bytes(random.Random(2).choice(b"abcdefghij\n") for _ in range(5000))
    total = 0
    for c in text:
        total = (total * 31 + c) % 2**32
    read, write = os.pipe()
    g = guest("echo", stdin=read)
    os.close(read)
    g.wait_for("ready")
    for at in range(0, len(text), 700):
        os.write(write, text[at:at + 700])
        time.sleep(0.01)
    os.write(write, b"~")
    g.passed()
    g.expect(f"got {len(text)} sum {total:x} overruns 0" in g.out(), "input differs")
    os.close(write)


@vt.test("console input: end of file does not end the VM nor spin the monitor")
def _():
    g = guest("end", cmdline="end=5")
    g.wait_for("ready")
    time.sleep(1)
    with open(f"/proc/{g.pid}/stat", encoding="ascii") as f:
        before = f.read().rsplit(")", 1)[1].split()
    time.sleep(1)
    g.expect(g.proc.poll() is None, "ended")
    with open(f"/proc/{g.pid}/stat", encoding="ascii") as f:
        after = f.read().rsplit(")", 1)[1].split()
    used = sum(int(after[i]) - int(before[i]) for i in (11, 12))
    g.expect(used < 20, f"{used} clock ticks of CPU in one idle second")


@vt.test("console output to a full pipe does not stop the guest", timeout=60)
def _():
    read, write = os.pipe()
    g = guest("end", cmdline="end=6", stdout=write)
    os.close(write)
    g.wait(0, seconds=40)
    text = b""
    while chunk := os.read(read, 65536):
        text += chunk
    g.expect(b"1000 0123" in text, "the first line is missing")


@vt.test("console output to a closed pipe does not stop the guest")
def _():
    read, write = os.pipe()
    g = guest("end", cmdline="end=6", stdout=write)
    os.close(write)
    os.close(read)
    g.wait(0)


@vt.test("console output is complete in a file and through a slow pipe", timeout=60)
def _():
    want = "".join(f"{1000 + i} 012345678901234567890123456789012345678901234567\n"
                   for i in range(1900)) + "PASS\n"
    g = guest("end", cmdline="end=6").passed()
    g.expect(g.out() == want, "the output in the file is not what the guest wrote")
    read, write = os.pipe()
    g = guest("end", cmdline="end=6", stdout=write)
    os.close(write)
    text = b""
    while chunk := os.read(read, 3000):
        text += chunk
        time.sleep(0.005)
    g.wait(0)
    g.expect(text.decode().replace("\r", "") == want, "the output of the pipe differs")


@vt.test("console to a file by --console")
def _():
    path = os.path.join(vt.tmp(), "console")
    g = guest("end", "--console", "file:" + path, cmdline="end=7").wait(0)
    g.expect(g.out() == "", "something on standard output")
    with open(path, encoding="ascii") as f:
        g.expect("PASS" in f.read(), "no PASS in the file")


@vt.test("virtio console: output is complete, and input by a pipe arrives in buffers of 7 bytes", timeout=60)
def _():
    text = bytes(random.Random(3).choice(b"abcdefghij\n") for _ in range(3000))
    total = 0
    for c in text:
        total = (total * 31 + c) % 2**32
    read, write = os.pipe()
    os.write(write, text[:1000])    # waits for the driver
    g = guest("vcon", "--console-device", "virtio", stdin=read)
    os.close(read)
    g.wait_for("ready\n")
    want = "".join(f"virtio {i:04}\n" for i in range(500))
    g.expect(want in g.out(), "lines of output are missing")
    for at in range(1000, len(text), 700):
        os.write(write, text[at:at + 700])
        time.sleep(0.01)
    os.write(write, b"~")
    g.passed(seconds=40)
    g.expect(f"got {len(text)} sum {total:x}\n" in g.out(), "input differs")
    os.close(write)


@vt.test("virtio console: without a console it still takes what is written")
def _():
    metrics = os.path.join(vt.tmp(), "metrics")
    guest("vcon", "--console-device", "virtio", "--console", "off", "--metrics-path", metrics,
          cmdline="no.input").wait(0)
    with open(metrics, encoding="ascii") as f:
        last = f.readlines()[-1]
        vt.same(json.loads(last)["vcon"]["tx_bytes"], 500 * len("virtio 0000\n") + 6, "bytes")

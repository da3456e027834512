# SPDX-License-Identifier: Apache-2.0
"""A disk with an overlay: what guests write is kept beside an image that never changes."""
import os
import signal

import vt
from vmm import Vmm, api_client, disk, guest, payload

SECTORS = 512
IMAGE = b"\x5a" * (SECTORS * 512)


def _base():
    return disk("base.img", SECTORS, IMAGE)


def _start(base, overlay, generations, more="", *args):
    return guest("overlay", *args, disks=[f"{base},overlay={overlay}"],
                 cmdline=f"expect.generations={generations} {more}")


def _unchanged(base):
    with open(base, "rb") as f:
        vt.check(f.read() == IMAGE, "the image was changed")


def _file(name="over"):
    return os.path.join(vt.tmp(), name)


@vt.test("overlay: what was written is there after a restart, the image is as it was", timeout=60)
def _():
    base, overlay = _base(), _file()
    _start(base, overlay, 0, "write").passed()
    _start(base, overlay, 1, "write").passed()
    _start(base, overlay, 2).passed()
    _unchanged(base)
    used = os.stat(overlay).st_blocks * 512
    vt.check(used < 400 << 10, f"{used} bytes for 64 KiB that were written")


@vt.test("overlay: what was flushed is there after SIGKILL", timeout=60)
def _():
    base, overlay = _base(), _file()
    for generation in range(3):
        g = _start(base, overlay, generation, "write stay")
        g.wait_for("waiting")
        os.kill(g.pid, signal.SIGKILL)
        g.proc.wait()
    _start(base, overlay, 3).passed()
    _unchanged(base)


@vt.test("overlay: machines share the image, and none its overlay", timeout=60)
def _():
    base, first = _base(), _file("first")
    g = _start(base, first, 0, "write stay")
    g.wait_for("waiting")
    _start(base, _file("second"), 0, "write").passed()
    refused = _start(base, first, 1)
    refused.wait(1)
    refused.expect("is in use by another process" in refused.err(), "the lock")
    refused = guest("overlay", disks=[base])
    refused.wait(1)
    refused.expect("is in use by another process" in refused.err(), "the image's lock")
    os.kill(g.pid, signal.SIGKILL)
    g.proc.wait()
    _start(base, first, 1).passed()
    _start(base, _file("second"), 1).passed()
    _unchanged(base)


@vt.test("overlay: an image that cannot be written, and one whose size is odd, will do")
def _():
    base = _base()
    os.chmod(base, 0o444)
    _start(base, _file(), 0, "write").passed()
    _start(disk("odd.img", SECTORS - 3, IMAGE[:-3 * 512]), _file("odd"), 0, "write").passed()


@vt.test("overlay: every request of a disk, four queues", timeout=60)
def _():
    guest("blk", cpus=4, disks=[disk() + f",queues=4,overlay={_file()}"],
          cmdline="expect.sectors=2048 expect.queues=4").passed(seconds=40)


@vt.test("overlay: resets and changes of mind under load", timeout=60)
def _():
    guest("reset", disks=[disk() + f",overlay={_file()}"]).passed()


@vt.test("overlay: by the API, which gives such a drive no other file", timeout=60)
def _():
    base, sock = _base(), _file("api.sock")
    g = Vmm("--api-sock", sock, "--shutdown-timeout", "1")
    vt.until(lambda: os.path.exists(sock), "the API socket is there")
    client = api_client(sock)
    drive = {"drive_id": "d", "is_root_device": False, "path_on_host": base, "overlay_path": _file(),
             "cache_type": "Writeback"}

    def put(path, body, want=204, method="PUT"):
        status, _, answer = client.request(method, path, body)
        g.expect(status == want, f"{method} {path}: {status} {answer}")
        return str(answer)

    for more in {"is_read_only": True}, {"io_engine": "Async"}:
        answer = put("/drives/d", {**drive, **more}, 400)
        g.expect("neither read-only nor Async" in answer, answer)
    vt.check(not os.path.exists(_file()), "a refused drive made its overlay")
    for _ in range(2):
        put("/drives/d", drive)
    put("/boot-source", {"kernel_image_path": payload("overlay"),
                         "boot_args": "root=none expect.generations=0 write stay"})
    put("/actions", {"action_type": "InstanceStart"})
    g.wait_for("waiting")
    answer = put("/drives/d", {"drive_id": "d", "path_on_host": disk("other.img")}, 400, "PATCH")
    g.expect("the drive has an overlay" in answer, answer)
    g.terminate()
    g.proc.wait(20)
    _start(base, _file(), 1).passed()
    _unchanged(base)


@vt.test("overlay: of another image, cut short or no overlay at all: refused, and left as it is")
def _():
    base, overlay = _base(), _file()
    _start(base, overlay, 0, "write").passed()
    with open(overlay, "rb") as f:
        good = f.read()
    for what, content, text in [
            ("of another size", good, "the base has"),
            ("short", good[:-1], "should have"),
            ("text", b"no overlay" * 1000, "no magic number"),
            ("a flipped bit", good[:20] + bytes([good[20] ^ 1]) + good[21:], "checksum"),
            ("a state that is none", good[:4096] + b"\xff" + good[4097:], "map is unsound")]:
        path = _file("bad")
        with open(path, "wb") as f:
            f.write(content)
        image = disk("other.img", SECTORS - 8) if what == "of another size" else base
        g = _start(image, path, 0)
        g.wait(1)
        g.expect(text in g.err() and "overlay" in g.err(), what)
        with open(path, "rb") as f:
            vt.check(f.read() == content, f"{what}: the file was changed")

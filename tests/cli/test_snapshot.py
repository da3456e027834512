# SPDX-License-Identifier: Apache-2.0
"""volt-vmm snapshot inspect: files of machine state made here byte by byte, good and bad."""
import os
import struct
import subprocess

import vt
from vmm import BINARY


def crc32c(data, crc=0):
    crc ^= 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def field(kind, name, value):
    return struct.pack("<BBI", kind, len(name), len(value)) + name + value


def state(*sections, version=1):
    """As docs/snapshot-format.md says. sections: (type, instance, version, fields)."""
    heads = [struct.pack("<32sIIII", t, i, v, len(f), crc32c(f)) for t, i, v, f in sections]
    size = 36 + sum(48 + len(f) for _, _, _, f in sections)
    header = struct.pack("<8sIIQ", b"VOLTSTAT", version, len(sections), size)
    body = b"".join(h + f for h, (_, _, _, f) in zip(heads, sections))
    return header + body + b"VOLTSEND" + struct.pack("<I", crc32c(b"".join([header] + heads)))


def inspect(data):
    path = os.path.join(vt.tmp(), "state")
    with open(path, "wb") as f:
        f.write(data)
    r = subprocess.run([BINARY, "snapshot", "inspect", path],
                       capture_output=True, text=True, check=False, timeout=20 * vt.FACTOR)
    return r.returncode, r.stdout, r.stderr.replace(path, "FILE")


THING = (b"thing", 3, 9, field(1, b"on", b"\x01") + field(4, b"count", struct.pack("<I", 300)) +
         field(6, b"raw", b"\x01\xff") + field(7, b"name", b"disk0"))


@vt.test("a file with a part that nobody knows is printed")
def _():
    status, out, err = inspect(state(THING))
    vt.same((status, err), (0, ""))
    vt.same(out.splitlines()[1:], ["thing 3: version 9, 50 bytes", "  on = yes",
                                   "  count = 300 (0x12c)", "  raw = 01ff", '  name = "disk0"'])


@vt.test("a damaged part is told, and the others are printed")
def _():
    data = bytearray(state(THING, (b"other", 0, 1, field(2, b"n", b"\x07"))))
    data[24 + 48 + 8] ^= 0xff
    status, out, err = inspect(bytes(data))
    vt.same((status, err), (1, "volt-vmm: 'FILE': thing 3: its checksum is wrong: it is damaged\n"))
    vt.check("  n = 7\n" in out, out)


@vt.test("what is no state file is refused with one line")
def _():
    for data, words in ((b"", "this is no state of a virtual machine"),
                        (state(THING)[:-1], "it was cut"), (state(version=2), "format 2 is newer")):
        status, out, err = inspect(data)
        vt.check(status == 1 and out == "" and words in err and err.count("\n") == 1, err)


@vt.test("a missing file and a wrong command are refused")
def _():
    for args, words in ((["inspect", "/nonexistent"], "No such file"), (["inspect", "/"], "not a file"),
                        (["look"], "usage"), ([], "usage")):
        r = subprocess.run([BINARY, "snapshot", *args], capture_output=True, text=True, check=False,
                           timeout=20 * vt.FACTOR)
        vt.check(r.returncode == 1 and words in r.stderr, r.stderr)

# SPDX-License-Identifier: Apache-2.0
"""Frames between the host and labd; lab/labd.h is the description. Change the two together."""
import struct

VERSION = 1
PAYLOAD_MAX = 32760
WINDOW = 262144

(HELLO, TIME, PREP, START, STDIN, STDOUT, STDERR, CREDIT, WINSIZE, SIGNAL, ABANDON, EXIT, FAIL,
 POWEROFF, TTYOUT) = range(1, 16)

TTY_IN, TTY_OUT, TTY_ERR, FRESH = 1, 2, 4, 8

HEAD = struct.Struct("<II")


def frame(chan, kind, payload=b""):
    return HEAD.pack(chan, kind << 24 | len(payload)) + payload


def credit(chan, stream, count):
    return frame(chan, CREDIT, struct.pack("<II", stream, count))


def start(chan, flags, size, cwd, argv, env):
    """The frames that start a command."""
    words = [cwd, *argv, *(k + b"=" + v for k, v in env.items())]
    record = struct.pack("<IHHII", flags, *size, len(argv), len(env))
    record += b"".join(w + b"\0" for w in words)
    out = b"".join(frame(chan, PREP, record[i:i + PAYLOAD_MAX])
                   for i in range(0, len(record), PAYLOAD_MAX))
    return out + frame(chan, START)


class Reader:
    """Cuts a byte stream into frames."""

    def __init__(self):
        self.data = bytearray()

    def feed(self, data):
        self.data += data
        at, out = 0, []
        while len(self.data) - at >= HEAD.size:
            chan, word = HEAD.unpack_from(self.data, at)
            size = word & 0xffffff
            if size > PAYLOAD_MAX:
                raise ValueError(f"a frame of {size} bytes")
            if len(self.data) - at - HEAD.size < size:
                break
            at += HEAD.size
            out.append((chan, word >> 24, bytes(self.data[at:at + size])))
            at += size
        del self.data[:at]
        return out

# SPDX-License-Identifier: Apache-2.0
"""A client of the API's Unix socket, on raw sockets: what is sent and what came is seen byte by byte.

    client = Client(path)
    status, headers, value = client.request("PUT", "/machine-config", {"vcpu_count": 1})
    client.send(b"GET / HTTP/1.1\\r\\n\\r\\n" * 2)          # raw; then receive() once for each
"""
import json
import re
import socket
from collections import namedtuple

import vt

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ?$")

# Header names are in lower case. value: what the JSON says; text if it is none; None if there is no body.
Answer = namedtuple("Answer", "status headers value")


class Closed(Exception):
    """The server closed the connection. What came before it, of an answer that is not whole."""


class Client:
    """One connection, which is kept. head: the bytes of the last answer's head."""

    def __init__(self, path, seconds=10):
        self.path, self.seconds = path, seconds * vt.FACTOR
        self.head, self._left, self._sock = b"", b"", None
        vt.until(self._connect, f"someone listens on {path}", seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self.seconds)
        try:
            sock.connect(self.path)
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            return False
        self._sock = sock
        return True

    def close(self):
        self._sock.close()

    # -- requests

    def request(self, method, path, body=None, headers=()):
        """body: None is none, bytes are sent as they are, all else as JSON. headers: pairs."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        answer = self.receive()
        while answer.status == 100:
            answer = self.receive()
        return answer

    def get(self, path):
        return self.request("GET", path)

    def put(self, path, body=None):
        return self.request("PUT", path, body)

    def patch(self, path, body=None):
        return self.request("PATCH", path, body)

    def delete(self, path):
        return self.request("DELETE", path)

    # -- bytes

    def send(self, data):
        self._sock.sendall(data)

    def shut(self):
        """Ends our side; answers can still be received."""
        self._sock.shutdown(socket.SHUT_WR)

    def _more(self):
        try:
            data = self._sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(self._left)
        self._left += data

    def _take(self, length):
        while len(self._left) < length:
            self._more()
        data, self._left = self._left[:length], self._left[length:]
        return data

    def receive(self):
        """The next answer, interim ones (100) included. Raises Closed, or TimeoutError."""
        while b"\r\n\r\n" not in self._left:
            self._more()
        self.head = self._take(self._left.index(b"\r\n\r\n") + 4)
        first, *lines = self.head[:-4].split(b"\r\n")
        status = STATUS.match(first)
        vt.check(status, f"not a status line: {first!r}")
        headers = {}
        for line in lines:
            name, colon, value = line.decode().partition(": ")
            vt.check(colon and name.lower() not in headers, f"not a header: {line!r}")
            headers[name.lower()] = value
        body = self._take(int(headers.get("content-length", 0)))
        return Answer(int(status[1]), headers, self._value(body))

    @staticmethod
    def _value(body):
        try:
            # Not strict: the texts of transport faults have raw newlines in them.
            return json.loads(body, strict=False) if body else None
        except ValueError:
            return body.decode(errors="replace")

    def ended(self):
        """Waits for the end of the connection; true if nothing came before it."""
        try:
            self._more()
        except Closed as e:
            return e.args == (b"",)
        return False

# SPDX-License-Identifier: Apache-2.0
"""The metadata service from within Linux: both versions, tokens, values larger than a segment and than
the window, errors, another address, beside other traffic and a rate limit.

The requests are written by hand and sent by busybox's nc, which ends its half of the connection when it
has sent them: each answer is one to a half-closed connection.
"""
import hashlib
import json
import os
import re

import vt
from linux import Talker
from netback import Tap, connect, ping, reach
from vmm import Vmm

ADDRESS = "169.254.169.254"
BIG = "".join(chr(97 + (i * 7 + i // 26) % 26) for i in range(40000))
DATA = {
    "latest": {"meta-data": {"ami-id": "ami-1234", "reservation": {"id": "r-1"}, "count": 3},
               "user-data": BIG},
    "empty": "",
}


def _write(name, value):
    path = os.path.join(vt.tmp(), name)
    with open(path, "w", encoding="ascii") as f:
        json.dump(value, f)
    return path


def _start(kernel, backend, config, more="", words=(), **kw):
    config = {"network_interfaces": ["net0"], **config}
    g = Talker(kernel, "--config-file", _write("vm.json", {"mmds-config": config}),
               "--metadata", _write("data.json", DATA), *words, *backend.options(more),
               netns=backend.host, **kw)
    connect(g, backend)
    g.do(f"ip route add {config.get('ipv4_address', ADDRESS)} dev eth0")
    return g


def _words(request, headers):
    return "".join(line + r"\r\n" for line in (f"{request} HTTP/1.1", *headers, ""))


def _ask(g, request, headers=(), address=ADDRESS):
    """(status, {header: value}, body) of one request."""
    answer = g.do(f"printf '{_words(request, headers)}' | nc -w 10 {address} 80; echo", 40)
    found = re.match(r"HTTP/1\.1 (\d+) \n(.*?)\n\n(.*)\n$", answer, re.S)
    g.expect(found, f"{request} is answered by {answer!r}")
    fields = dict(line.split(": ", 1) for line in found[2].splitlines())
    return int(found[1]), fields, found[3]


def _ask_big(g, headers, address=ADDRESS):
    """The large value comes whole; a console would be slow to show it."""
    words = _words("GET /latest/user-data", headers)
    got = g.do(f"printf '{words}' | nc -w 10 {address} 80 | tail -c {len(BIG)} | md5sum", 60).split()[0]
    g.expect(got == hashlib.md5(BIG.encode()).hexdigest(), f"the large value is {got}")


def _same(g, got, status, body, what):
    g.expect((got[0], got[2]) == (status, body), f"{what}: {got}")
    return got


def _v1(kernel):
    backend = Tap()
    g = _start(kernel, backend, {"version": "V1"})
    got = _same(g, _ask(g, "GET /latest/meta-data/ami-id"), 200, "ami-1234", "a text")
    g.expect(got[1]["Content-Type"] == "text/plain", f"{got}")
    _same(g, _ask(g, "GET /latest/meta-data/"), 200, "ami-id\ncount\nreservation/", "keys")
    got = _same(g, _ask(g, "GET /latest/meta-data", ["Accept: application/json"]), 200,
                json.dumps(DATA["latest"]["meta-data"], sort_keys=True, separators=(",", ":")), "JSON")
    g.expect(got[1]["Content-Type"] == "application/json", f"{got}")
    _same(g, _ask(g, "GET /empty"), 200, "", "an empty text")
    _same(g, _ask(g, "GET /latest/meta-data/count"), 501,
          "Cannot retrieve value. The value has an unsupported type.", "a number as text")
    _same(g, _ask(g, "GET /nothing"), 404, "Resource not found: /nothing.", "an unknown path")
    got = _same(g, _ask(g, "DELETE /latest"), 405, "Not allowed HTTP method.", "another method")
    g.expect(got[1]["Allow"] == "GET, PUT", f"{got}")
    # A real client, a large value, twice in a row; its size is more than segment and window.
    want = hashlib.md5(BIG.encode()).hexdigest()
    for _ in range(2):
        text = g.do(f"wget -q -O - http://{ADDRESS}/latest/user-data | md5sum", 60)
        g.expect(text.split()[0] == want, f"the large value is {text}")
    # The rest of the network is as it was, and other ports are refused at once.
    reach(g, backend)
    ping(g, backend)
    g.do(f"nc -w 10 {ADDRESS} 81 </dev/null", status=1)
    g.end()


def _token(g, address=ADDRESS, seconds=60, prefix="X-metadata-token"):
    status, fields, token = _ask(g, "PUT /latest/api/token", [f"{prefix}-ttl-seconds: {seconds}"],
                                 address)
    g.expect(status == 200 and 0 < len(token) <= 70, f"a token: {status} {token!r}")
    g.expect(fields[f"{prefix}-ttl-seconds"] == str(seconds), f"{fields}")
    return token


def _v2(kernel):
    backend = Tap()
    g = _start(kernel, backend, {"version": "V2"})
    token = _token(g)
    _same(g, _ask(g, "GET /latest/meta-data/ami-id", [f"X-metadata-token: {token}"]), 200, "ami-1234",
          "with a token")
    aws = _token(g, prefix="X-aws-ec2-metadata-token")
    _same(g, _ask(g, "GET /latest/meta-data/ami-id", [f"X-aws-ec2-metadata-token: {aws}"]), 200,
          "ami-1234", "with a token of EC2's name")
    _same(g, _ask(g, "GET /latest/meta-data/ami-id"), 401,
          "No MMDS token provided. Use `X-metadata-token` or `X-aws-ec2-metadata-token` header to "
          "specify the session token.", "without a token")
    forged = token[:10] + ("A" if token[10] != "A" else "B") + token[11:]
    _same(g, _ask(g, "GET /latest/meta-data/ami-id", [f"X-metadata-token: {forged}"]), 401,
          "MMDS token not valid.", "with a forged token")
    short = _token(g, seconds=1)
    g.do("sleep 1.1")
    _same(g, _ask(g, "GET /latest/meta-data/ami-id", [f"X-metadata-token: {short}"]), 401,
          "MMDS token not valid.", "with an expired token")
    _same(g, _ask(g, "PUT /latest/api/token", ["X-metadata-token-ttl-seconds: 0"]), 400,
          "Invalid time to live value provided for token: 0. Please provide a value between 1 and "
          "21600.", "a time of 0")
    _same(g, _ask(g, "PUT /latest/api/token", ["X-metadata-token-ttl-seconds: 60",
                                               "X-Forwarded-For: 10.0.0.1"]), 400,
          "Invalid header. Reason: Unsupported header name. Key: X-Forwarded-For", "through a proxy")
    _ask_big(g, [f"X-metadata-token: {token}"])
    # A body that never comes does not hang anyone.
    _same(g, _ask(g, "GET /", ["Content-Length: 100"]), 400, "Invalid request.", "a body")
    g.end()


def _curl(kernel):
    """What the documentation of such services tells users to type."""
    g = _start(kernel, Tap(), {"version": "V2"}, root="curl.ext4")
    g.do(f"url=http://{ADDRESS}; curl='curl -sS --max-time 60'")
    g.do('token=$($curl -X PUT "$url/latest/api/token" -H "X-metadata-token-ttl-seconds: 60")', 60)
    got = g.do('$curl -w " %{http_code}" -H "X-metadata-token: $token" $url/latest/meta-data/ami-id', 60)
    g.expect(got == "ami-1234 200", f"with a token: {got!r}")
    got = g.do('$curl -H "X-metadata-token: $token" -H "Accept: application/json" $url/latest/meta-data', 60)
    vt.same(json.loads(got), DATA["latest"]["meta-data"], "JSON")
    got = g.do('$curl -H "X-metadata-token: $token" $url/latest/user-data | md5sum', 60).split()[0]
    g.expect(got == hashlib.md5(BIG.encode()).hexdigest(), f"the large value is {got}")
    got = g.do('$curl -o /dev/null -w "%{http_code}" $url/latest/meta-data/ami-id', 60)
    g.expect(got == "401", f"without a token: {got!r}")
    g.end()


def _other_address(kernel):
    """Another address, EC2's format only, and a limit that lets hardly anything in."""
    backend = Tap()
    address = "169.254.1.2"
    g = _start(kernel, backend, {"version": "V2", "ipv4_address": address, "imds_compat": True},
               ",rx-ops=3/600000")
    # Frames that the limit holds back; nobody waits for an answer to them.
    backend.host.run("busybox", "ping", "-q", "-c", 20, "-i", 0.05, "-W", 1, backend.guest, seconds=30,
                     status=None)
    token = _token(g, address)
    got = _same(g, _ask(g, "GET /latest/meta-data/ami-id",
                        [f"X-metadata-token: {token}", "Accept: application/json"], address),
                200, "ami-1234", "EC2's format")
    g.expect(got[1]["Content-Type"] == "application/json", f"{got}")
    _ask_big(g, [f"X-metadata-token: {token}"], address)
    # Nobody is at the usual address: the frames go to the tap.
    g.do(f"ip route add {ADDRESS} dev eth0")
    g.do(f"nc -w 2 {ADDRESS} 80 </dev/null", 30, status=1)
    g.end()


def _through_the_api(kernel):
    """Data that the API changes while the guest runs."""
    if "--api-sock" not in Vmm("--help").wait().out():
        raise vt.Skip("volt-vmm has no --api-sock")
    import api  # pylint: disable=import-outside-toplevel
    backend, path = Tap(), os.path.join(vt.tmp(), "api.sock")
    g = _start(kernel, backend, {"version": "V2"}, words=("--api-sock", path))
    client = api.Client(path)
    vt.same(client.request("GET", "/mmds")[2], DATA, "GET /mmds")
    vt.same(client.request("PATCH", "/mmds", {"latest": {"meta-data": {"ami-id": "ami-5"}}})[0], 204,
            "PATCH /mmds")
    token = [f"X-metadata-token: {_token(g)}"]
    _same(g, _ask(g, "GET /latest/meta-data/ami-id", token), 200, "ami-5", "what was patched")
    vt.same(client.request("PUT", "/mmds", {"new": "x"})[0], 204, "PUT /mmds")
    _same(g, _ask(g, "GET /new", token), 200, "x", "what was put")
    _same(g, _ask(g, "GET /latest", token), 404, "Resource not found: /latest.", "what is gone")
    # Two bodies that the server takes, and that are too much together.
    vt.same(client.request("PUT", "/mmds", {"large": "x" * 40000})[0], 204, "what fits")
    status, _, body = client.request("PATCH", "/mmds", {"more": "x" * 20000})
    vt.same((status, body), (413, {"fault_message": "MMDS limit exceeded error: The MMDS patch request "
                                                    "doesn't fit."}), "more than fits")
    g.end()


for KERNEL in ("tuned-pvh", "cloud-6.1"):
    vt.test(f"{KERNEL}, V1: values, formats, errors, a large value, other traffic", timeout=180)(
        lambda kernel=KERNEL: _v1(kernel))
    vt.test(f"{KERNEL}, V2: tokens, a large value, errors", timeout=180)(
        lambda kernel=KERNEL: _v2(kernel))
vt.test("tuned-pvh, V2: a token and data by curl", timeout=180)(lambda: _curl("tuned-pvh"))
vt.test("tuned-pvh: another address, EC2's format, beside a rate limit", timeout=180)(
    lambda: _other_address("tuned-pvh"))
vt.test("tuned-pvh: data from the API", timeout=180)(lambda: _through_the_api("tuned-pvh"))

# SPDX-License-Identifier: Apache-2.0
"""The REST API against Firecracker's table: every path, method and stage; what each body answers."""
import json
import os
import re
import shutil

import fcapi
import vt
from vmm import Vmm, disk, payload

WRONG_STAGE = "The requested operation is not supported {} starting the microVM."


class Target:
    """One volt-vmm with an API socket, before or after its start."""

    def __init__(self, stage):
        import api  # here, so that tests/run --list works without it
        self.dir = vt.tmp()
        self.sock = os.path.join(self.dir, "api.sock")
        shutil.copy(payload("end"), os.path.join(self.dir, "kernel"))
        for name in "disk", "disk2", "pmem":
            disk(name, 8192)
        self.vmm = Vmm("--api-sock", self.sock, "--id", "conformance")
        vt.until(lambda: os.path.exists(self.sock), "the API socket is there")
        self.client = api.Client(self.sock)
        self.stage = "pre"
        if stage == "post":
            self.start()

    def start(self):
        for path, body in (("/boot-source", {"kernel_image_path": self.dir + "/kernel",
                                             "boot_args": "root=none end=3"}),
                           ("/drives/thing1", {"drive_id": "thing1", "is_root_device": False,
                                               "path_on_host": self.dir + "/disk"}),
                           ("/pmem/thing1", {"id": "thing1", "path_on_host": self.dir + "/pmem"}),
                           ("/balloon", {"amount_mib": 0, "deflate_on_oom": True,
                                         "stats_polling_interval_s": 1,
                                         "free_page_hinting": True}),
                           ("/hotplug/memory", {"total_size_mib": 1024}),
                           ("/actions", {"action_type": "InstanceStart"})):
            status, _, answer = self.ask("PUT", path, body)
            vt.same(status, 204, f"PUT {path}: {answer}")
        self.stage = "post"

    def ask(self, method, path, body=None):
        return self.client.request(method, path, body.encode() if isinstance(body, str) else body)


def fill(text, directory):
    return text.replace("$DIR", directory) if isinstance(text, str) else text


def values_of(body, directory):
    if body is None or body is fcapi.ANY:
        return {}
    return {f.name: fill(f.good, directory) for f in body.fields}


def check_fault(answer, status, text, what):
    vt.same((status, answer), (400, {"fault_message": text}), what)


def check_headers(status, headers, what):
    vt.same(headers.get("server"), "Firecracker API", f"{what}: Server")
    vt.same(headers.get("connection"), "keep-alive", f"{what}: Connection")
    vt.same(headers.get("content-type"), None if status == 204 else "application/json",
            f"{what}: Content-Type")
    vt.same("content-length" in headers, status != 204, f"{what}: Content-Length")


def drive(target, path, method, stages, body):
    """All cases of one method of one path; returns their number."""
    url = path.replace("{id}", "thing1")
    n = 0
    for name, text, want in fcapi.cases(body, values_of(body, target.dir)):
        what = f"{method} {path}, {target.stage} start, {name}: {text}"
        status, headers, answer = target.ask(method, url, text)
        check_headers(status, headers, what)
        check_fault(answer, status, want, what)
        n += 1
    for name, text in good_bodies(body, target.dir):
        what = f"{method} {path}, {target.stage} start, {name}: {text}"
        if target.stage in stages and method != "GET":
            continue  # what a good one does is for the tests of the resource
        status, headers, answer = target.ask(method, url, text)
        check_headers(status, headers, what)
        if target.stage not in stages:
            word = "after" if target.stage == "post" else "before"
            check_fault(answer, status, WRONG_STAGE.format(word), what)
        n += 1
    if body is not None and not path.startswith("/balloon/hinting"):
        status, _, answer = target.ask(method, url)
        check_fault(answer, status, f"Empty {method} request.", f"{method} {path} without a body")
        n += 1
    if method == "GET":
        status, _, answer = target.ask("GET", url, "{}")
        check_fault(answer, status, "GET request cannot have a body.", f"GET {path} with a body")
        n += 1
    return n


def good_bodies(body, directory):
    if body is None:
        yield "no body", None
    elif body is fcapi.ANY:
        yield "an object", "{}"
    else:
        values = values_of(body, directory)
        yield "what is required", fcapi.compact(
            [(f.name, values[f.name]) for f in body.fields if f.required])


def conformance(entry, stage):
    target = Target(stage)
    for method, stages, body in entry.methods:
        drive(target, entry.path, method, stages, body)
    others = {"GET", "PUT", "PATCH", "DELETE"} - {m for m, _, _ in entry.methods}
    for method in sorted(others - {"DELETE"}):
        body = None if method == "GET" else "{}"
        status, _, answer = target.ask(method, entry.path.replace("{id}", "thing1"), body)
        vt.check(status == 400 and re.match("Invalid request method and/or path: |Unrecognized ",
                                            answer["fault_message"]), f"{method} {entry.path}: {answer}")
    target.client.close()
    target.vmm.terminate()
    target.vmm.wait(0)


for ENTRY in fcapi.PATHS:
    for STAGE in "pre", "post":
        vt.test(f"{ENTRY.path}, {STAGE} start", timeout=60)(
            lambda entry=ENTRY, stage=STAGE: conformance(entry, stage))


@vt.test("the table has Firecracker's 26 paths")
def _():
    vt.same(len(fcapi.PATHS), 26, "paths")

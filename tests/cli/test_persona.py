# SPDX-License-Identifier: Apache-2.0
"""volt-vmm called as firecracker: arguments, the configuration file's faults, log lines and exit
statuses that its clients read. What needs a guest is in vm/test_persona.py."""
import json
import os
import re
import signal
import socket
import subprocess

import api
import persona
import vt

ARGUMENTS, BAD_CONFIGURATION = 153, 152
LOG = r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9} \[anonymous-instance:main\] "


def run(*args, **kw):
    r = subprocess.run([persona.binary(), *map(str, args)], stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, check=False, timeout=20 * vt.FACTOR, **kw)
    return r.returncode, r.stdout, r.stderr


def ends_with(out, status):
    word = "successfully" if status == 0 else "with error"
    line = rf"Firecracker exiting {word}\. exit_code={status}\n\Z"
    vt.check(re.search(LOG + line, out), f"no end in {out!r}")


def config(text):
    path = os.path.join(vt.tmp(), "vm.json")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text if isinstance(text, str) else json.dumps(text, separators=(",", ":")))
    return path


for FLAG, FIRST in (("--version", r"Firecracker v1\.17\.0\n\n"),
                    ("--help", r"Firecracker v1\.17\.0\n\n(.*\n)+"), ("-h", r"Firecracker v.*\n\n"),
                    ("--snapshot-version", r"v\d+\.\d+\.\d+\n")):
    @vt.test(f"{FLAG}: the answer, then the end in the log, on standard output")
    def _(flag=FLAG, first=FIRST):
        status, out, err = run(flag)
        vt.same((status, err), (0, ""))
        vt.check(re.match(first, out), f"{out!r}")
        ends_with(out, 0)


@vt.test("--help names each argument that can be given")
def _():
    out = run("--help")[1]
    for name in ("api-sock", "boot-timer", "config-file", "http-api-max-payload-size", "id", "level",
                 "log-path", "metadata", "metrics-path", "mmds-size-limit", "module", "no-api",
                 "no-seccomp", "parent-cpu-time-us", "show-level", "show-log-origin",
                 "start-time-cpu-us", "start-time-us", "version"):
        vt.check(f"--{name}" in out, f"--{name} is missing")


@vt.test("--version and --help win over every mistake")
def _():
    for args in (["--bogus", "--version"], ["--id", "--help"], ["--no-api", "-h"]):
        vt.same(run(*args)[0], 0, f"{args}")


def _refused(text, *args):
    status, out, err = run(*args)
    vt.same(status, ARGUMENTS, f"exit status of {args}")
    vt.check(err.startswith("Error: ") and text in err, f"stderr {err!r}")
    said = f"Arguments parsing error: {text} \n\nFor more information try --help.\n"
    vt.check(re.search(LOG + re.escape(said), out), f"{said!r} is not in {out!r}")
    ends_with(out, ARGUMENTS)


UNEXPECTED = "Found argument '{}' which wasn't expected, or isn't valid in this context."
ONCE = "The argument '{}' was provided more than once."
VALUE = "The argument '{}' requires a value, but none was supplied."
for TITLE, TEXT, ARGS in (
        ("unknown", UNEXPECTED.format("foo"), ["--foo"]),
        ("not a flag", UNEXPECTED.format("foo"), ["foo"]),
        ("NAME=VALUE", UNEXPECTED.format("id=a"), ["--id=a"]),
        ("no value", VALUE.format("id"), ["--id"]),
        ("another flag for a value", VALUE.format("api-sock"), ["--api-sock", "--no-api"]),
        ("twice", ONCE.format("id"), ["--id", "a", "--id", "a"]),
        ("a flag twice", ONCE.format("no-seccomp"), ["--no-seccomp", "--no-seccomp"]),
        ("--no-api alone", "Argument 'config-file' required, but not found.", ["--no-api"]),
        ("exclusive", "Argument 'seccomp-filter' cannot be used together with argument 'no-seccomp'.",
         ["--no-seccomp", "--seccomp-filter", "x"])):
    vt.test(f"argument faults: {TITLE}: 153")(lambda text=TEXT, args=ARGS: _refused(text, *args))


@vt.test("--level: 152 for a word that is none")
def _():
    status, out, err = run("--level", "loud")
    text = "Invalid value for logger level: loud.Possible values: [Error, Warning, Info, Debug]"
    vt.same(status, BAD_CONFIGURATION)
    vt.check(text in err and text in out, f"{out!r} {err!r}")
    ends_with(out, BAD_CONFIGURATION)


def _bad_file(text, content):
    path = content if content.startswith("/") else config(content)
    status, out, err = run("--no-api", "--config-file", path)
    said = f"Configuration for VMM from one single json failed: {text}"
    vt.same(status, 1, f"exit status ({err!r})")
    vt.check(said in err and re.search(LOG + ".*" + re.escape(said), out), f"no {said!r}: {out!r} {err!r}")
    ends_with(out, 1)


BOOT = '"boot-source":{"kernel_image_path":"/none/kernel"}'
for TITLE, TEXT, CONTENT in (
        ("missing", "Unable to open or read from the configuration file", "/none/vm.json"),
        ("empty", "Invalid JSON: EOF while parsing a value at line 1 column 0", ""),
        ("cut", "Invalid JSON: EOF while parsing an object at line 1 column 1", "{"),
        ("no drives", "Invalid JSON: missing field `drives` at line 1 column 2", "{}"),
        ("no boot source", "Invalid JSON: missing field `boot-source` at line 1 column 13", '{"drives":[]}'),
        ("unknown field below", "Invalid JSON: unknown field `x`, expected one of `kernel_image_path`, "
         "`initrd_path`, `boot_args` at line 1 column 32", '{"drives":[],\t"boot-source":{"x":1}}'),
        ("a fault of a later line",
         "Invalid JSON: invalid type: string \"2\", expected u8 at line 3 column 34",
         '{"drives":[],\n' + BOOT + ',\n"machine-config":{"vcpu_count":"2","mem_size_mib":64}}'),
        ("drives are no list", "Invalid JSON: invalid type: map, expected a sequence at line 1 column 10",
         '{"drives":{},' + BOOT + "}"),
        ("the kernel is missing",
         "Boot source error: The kernel file cannot be opened: No such file or directory (os error 2)",
         '{"drives":[],"other":{"x":[1]},' + BOOT + "}"),
        # machine-config comes before boot-source, wherever it stands
        ("order of sections", "Machine config error: The number of vCPUs must be greater than 0",
         '{"drives":[],' + BOOT + ',"machine-config":{"vcpu_count":0,"mem_size_mib":64}}'),
        ("the logger comes first", "Logger error: Failed to open target file: No such file or directory",
         '{"drives":[],' + BOOT + ',"machine-config":{"vcpu_count":0,"mem_size_mib":64},'
         '"logger":{"log_path":"/none/log"}}'),
        ("a CPU template that is not there", "Unable to open or read from the configuration file /none/t",
         '{"drives":[],' + BOOT + ',"cpu-config":"/none/t"}')):
    vt.test(f"configuration file: {TITLE}: 1")(lambda text=TEXT, content=CONTENT: _bad_file(text, content))


@vt.test("socket in use: 1, in the log and on standard error, and it stays")
def _():
    path = os.path.join(vt.tmp(), "taken.sock")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        status, out, err = run("--api-sock", path)
    text = (f"RunWithApiError error: Failed to open the API socket at: {path}. "
            "Check that it is not already used.")
    vt.same(status, 1)
    vt.check(re.search(LOG + re.escape(text), out) and text in err, f"{out!r} {err!r}")
    ends_with(out, 1)
    vt.check(os.path.exists(path), "the socket is gone")


@vt.test("log lines of the start and of requests; SIGTERM ends at once and leaves the socket")
def _():
    for number in signal.SIGTERM, signal.SIGINT:
        path = os.path.join(vt.tmp(), f"{number}.sock")
        fc = persona.Firecracker("--api-sock", path, "--level", "debug", "--show-level")
        with api.Client(path) as client:
            vt.same(client.get("/version").value, {"firecracker_version": "1.17.0"})
            vt.same(client.get("/").value, {"id": "anonymous-instance", "state": "Not started",
                                            "vmm_version": "1.17.0", "app_name": "Firecracker"})
            vt.same(client.put("/machine-config", b'{"vcpu_count": 0,\n"mem_size_mib": 1}').status, 400)
            vt.same(client.put("/entropy", {}).status, 204)
        fc.proc.send_signal(number)
        vt.same(fc.proc.wait(5 * vt.FACTOR), -number, "exit status")
        vt.check(os.path.exists(path), "the socket is gone")
        lines = [re.sub(r"^\S+ \[anonymous-instance:main:", "", line) for line in fc.out().splitlines()]
        for wanted in ("INFO] Running Firecracker v1.17.0", f'INFO] Listening on API socket ("{path}").',
                       "INFO] API server started.",
                       'INFO] The API server received a Get request on "/version".',
                       "INFO] The request was executed successfully. Status code: 200 OK.",
                       "INFO] The request was executed successfully. Status code: 204 No Content.",
                       r'INFO] The API server received a Put request on "/machine-config" with body '
                       r'"{\"vcpu_count\": 0,\n\"mem_size_mib\": 1}".'):
            vt.check(wanted in lines, f"{wanted!r} is not in {lines}")
        vt.check(any(re.match(r"ERROR\] Received Error\. Status code: 400 Bad Request\. Message: ", line)
                     for line in lines), f"no fault in {lines}")
        took = [line for line in lines
                if re.match(r"DEBUG\] Total previous API call duration: \d+ us\.$", line)]
        vt.same(len(took), 4, f"durations in {lines}")


@vt.test("without arguments it listens on /run/firecracker.socket")
def _():
    if os.geteuid() != 0:
        raise vt.Skip("needs root, for a mount namespace")
    fc = persona.Firecracker(wrap=["unshare", "-m", "sh", "-c",
                                   'mount -t tmpfs none /run && exec "$@"', "sh"])
    path = f"/proc/{fc.pid}/root/run/firecracker.socket"
    vt.until(lambda: os.path.exists(path), "the default socket is there")
    with api.Client(path) as client:
        vt.same(client.get("/machine-config").value["vcpu_count"], 1)
    fc.terminate()
    fc.proc.wait(5 * vt.FACTOR)


@vt.test("--http-api-max-payload-size: a larger body is refused unread")
def _():
    path = os.path.join(vt.tmp(), "s")
    fc = persona.Firecracker("--api-sock", path, "--http-api-max-payload-size", 32)
    with api.Client(path) as client:
        vt.same(client.put("/entropy", b" " * 30 + b"{}").status, 204)
        status, _, body = client.put("/entropy", b" " * 31 + b"{}")
        vt.same((status, body), (400, {"error": "Request payload with size 33 is larger than the limit of "
                                                "32 allowed by server.\nAll previous unanswered requests "
                                                "will be dropped."}))
    fc.terminate()
    fc.proc.wait(5 * vt.FACTOR)

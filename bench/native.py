# SPDX-License-Identifier: Apache-2.0
"""What is measured on the machine itself, also where Linux guests need the lab: sizes of programs,
and how long volt-vmm takes from exec to the first KVM_RUN of a payload guest."""
import json
import os
import re
import subprocess
import tempfile

LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
PAYLOAD_CMDLINE = "root=none end=7"


def _size(path, stripped):
    if stripped:
        with tempfile.NamedTemporaryFile() as f:
            subprocess.run(["strip", "-o", f.name, path], check=True)
            return os.path.getsize(f.name)
    return os.path.getsize(path)


def sizes(program):
    """{bytes, stripped_bytes, library_bytes, libraries} of a program; None if it is not there."""
    path = subprocess.run(["sh", "-c", 'command -v "$1"', "sh", program], stdout=subprocess.PIPE,
                          text=True, check=False).stdout.strip()
    if not path:
        return None
    path = os.path.realpath(path)
    listed = subprocess.run(["ldd", path], stdout=subprocess.PIPE, text=True, check=False).stdout
    libraries = {os.path.realpath(p) for p in LIBRARY.findall(listed)}
    return {"path": path, "bytes": os.path.getsize(path), "stripped_bytes": _size(path, True),
            "libraries": len(libraries), "library_bytes": sum(_size(p, False) for p in libraries)}


def payload_once(setup, kernel):
    """One payload guest; returns (its timeline in ms, None) or (None, the reason)."""
    # The launcher's descriptor 3 is for those who need the time of the exec; volt-vmm is told it.
    argv = ["sh", "-c", 'exec "$@" 3>/dev/null', "sh", setup["launch"], setup["volt"],
            "--id", "bench", "--level", "warn", "--timeline", "--start-time-us", "@START_US@",
            "--kernel", kernel, "--cpus", "1", "--mem", "128",
            "--boot-timer", "--cmdline", PAYLOAD_CMDLINE]
    try:
        r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return None, "it did not end"
    text = r.stdout.decode(errors="replace")
    stages = {m[1].strip(): float(m[2]) for m in
              re.finditer(r"^  (\S.*?) +[0-9.]+ +([0-9.]+)$", text, re.M)}
    if r.returncode != 0 or "start" not in stages:
        return None, f"status {r.returncode}: {' / '.join(text.strip().splitlines()[-3:])}"
    return stages, None


def run(setup, raw):
    def write(kind, **fields):
        with open(raw, "a", encoding="utf-8") as f:
            f.write(json.dumps({"type": kind, "load": os.getloadavg()[0], **fields}, sort_keys=True)
                    + "\n")

    write("size", contestant="volt", **sizes(setup["volt"]))
    qemu = sizes("qemu-system-x86_64")
    if qemu:
        write("size", contestant="qemu", **qemu)
    kernel = os.path.join(setup["build"], "tests", "payload", "guest-end")
    for i in range(setup["payload_runs"] + 1):
        stages, why = payload_once(setup, kernel)
        if why:
            write("payload-skipped", reason=why)
            print(f"payload guests do not run on this machine: {why}", flush=True)
            return
        if i:  # the first one is the warm-up
            write("payload", number=i, timeline=stages)
    print(f"payload guests: {setup['payload_runs']} runs", flush=True)

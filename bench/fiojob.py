# SPDX-License-Identifier: Apache-2.0
"""The disk test in the guest: its script, and how its lines on the console are read.

fio's terse format is one line, where JSON would be thousands of bytes through a UART that costs an
exit each. Field numbers: "terse output" in fio's HOWTO, version 3.
"""

JOBS = {
    "randread-4k": "--rw=randread --bs=4k",
    "randwrite-4k": "--rw=randwrite --bs=4k",
    "read-128k": "--rw=read --bs=128k",
    "write-128k": "--rw=write --bs=128k",
}
BEGIN, END = b"volt-fio begin ", b"volt-fio end "
READ, WRITE = 5, 46         # index of "total I/O (KiB)"; bandwidth (KiB/s) and IOPS follow


def script(seconds, ramp):
    """The text of the script disk, whole sectors."""
    common = (f"--filename=/dev/vdb --direct=1 --ioengine=libaio --iodepth=32 --thread "
              f"--time_based --runtime={seconds} --ramp_time={ramp} --randrepeat=0 "
              "--output-format=terse --terse-version=3")
    lines = ["echo none >/sys/block/vdb/queue/scheduler 2>/dev/null", "cd /tmp"]
    for job, options in JOBS.items():
        lines += [f"echo volt-fio begin {job}",
                  f"fio --name={job} {common} {options}",
                  f"echo volt-fio end {job}"]
    text = "\n".join(lines).encode() + b"\n"
    return text + b"\n" * (-len(text) % 512)


def parse(console, job):
    """{iops, kib_per_s, ...} of one job; ValueError says what is wrong."""
    part = console.split(BEGIN + job.encode() + b"\n", 1)[1].split(END + job.encode())[0]
    for line in part.decode(errors="replace").splitlines():
        f = line.split(";")
        if len(f) < 100 or f[0] != "3" or f[2] != job:
            continue
        if f[4] != "0":
            raise ValueError(f"fio {job}: error {f[4]}")
        at = READ if int(f[READ]) else WRITE
        return {"kib": int(f[at]), "kib_per_s": float(f[at + 1]), "iops": float(f[at + 2]),
                "runtime_ms": int(f[at + 3]), "guest_user_pct": float(f[87].rstrip("%")),
                "guest_sys_pct": float(f[88].rstrip("%"))}
    raise ValueError(f"fio {job} printed no result:\n{part.decode(errors='replace')}")

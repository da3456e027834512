# SPDX-License-Identifier: Apache-2.0
"""Firecracker's API (level 1.17.0) as a table, and a model of its JSON faults: what each body of each
path answers. The words and positions are those of serde_json, for bodies of one line."""
import json

U8, U16, U32, U64, USIZE = "u8", "u16", "u32", "u64", "usize"
BOOL, STR, PATH, MAP, ANY = "bool", "string", "path", "map", "any"
IPV4 = "IPv4 address"
BITS = {U8: 8, U16: 16, U32: 32}


class Enum:
    def __init__(self, *names):
        self.names = names


class Object:
    def __init__(self, name, *fields, deny=True):
        self.name, self.fields, self.deny = name, fields, deny


class Field:
    def __init__(self, name, kind, good, required=False, not_null=False):
        self.name, self.kind, self.good = name, kind, good
        self.required, self.not_null = required, required or not_null


class List:
    def __init__(self, item):
        self.item = item


def req(name, kind, good):
    return Field(name, kind, good, True)


def opt(name, kind, good):
    return Field(name, kind, good)


def default(name, kind, good):
    """Optional, and not an Option<> in Rust: null is of the wrong type."""
    return Field(name, kind, good, not_null=True)


BUCKET = Object("TokenBucketConfig", req("size", U64, 1000), opt("one_time_burst", U64, 10),
                req("refill_time", U64, 100), deny=False)
LIMITER = Object("RateLimiterConfig", opt("bandwidth", BUCKET, {"size": 1000, "refill_time": 100}),
                 opt("ops", BUCKET, {"size": 10, "refill_time": 100}))
GOOD_LIMITER = {"bandwidth": {"size": 1000, "refill_time": 100}}
HUGE = Enum("None", "Transparent", "2M")
TEMPLATE = Enum("C3", "T2", "T2S", "T2CL", "T2A", "None")


def machine(need):
    f = req if need else opt
    o = default if need else opt
    return [f("vcpu_count", U8, 1), f("mem_size_mib", USIZE, 64), o("smt", BOOL, False),
            opt("cpu_template", TEMPLATE, "None"), o("track_dirty_pages", BOOL, False),
            o("huge_pages", HUGE, "None")]


class Path:
    """One path with its methods: (method, stages, body or None)."""

    def __init__(self, path, *methods):
        self.path, self.methods = path, methods


PRE, POST, BOTH = ("pre",), ("post",), ("pre", "post")

# $DIR is a folder of the test's own; {id} is "thing1".
PATHS = [
    Path("/", ("GET", BOTH, None)),
    Path("/version", ("GET", BOTH, None)),
    Path("/vm/config", ("GET", BOTH, None)),
    Path("/vm", ("PATCH", POST, Object("Vm", req("state", Enum("Paused", "Resumed"), "Resumed")))),
    Path("/actions", ("PUT", BOTH, Object("ActionBody", req("action_type", Enum(
        "FlushMetrics", "InstanceStart", "SendCtrlAltDel"), "FlushMetrics")))),
    Path("/machine-config", ("GET", BOTH, None),
         ("PUT", PRE, Object("MachineConfig", *machine(True))),
         ("PATCH", PRE, Object("MachineConfigUpdate", *machine(False)))),
    Path("/boot-source", ("PUT", PRE, Object(
        "BootSourceConfig", req("kernel_image_path", STR, "$DIR/kernel"),
        opt("initrd_path", STR, "$DIR/kernel"), opt("boot_args", STR, "quiet")))),
    Path("/cpu-config", ("PUT", PRE, Object(
        "CustomCpuTemplate", opt("kvm_capabilities", List(STR), []),
        opt("cpuid_modifiers", List(ANY), []), opt("msr_modifiers", List(ANY), [])))),
    Path("/drives/{id}", ("PUT", PRE, Object(
        "BlockDeviceConfig", req("drive_id", STR, "thing1"), opt("partuuid", STR, "0eaa91a0-01"),
        req("is_root_device", BOOL, False), default("cache_type", Enum("Unsafe", "Writeback"), "Unsafe"),
        opt("is_read_only", BOOL, False), opt("path_on_host", STR, "$DIR/disk"),
        opt("rate_limiter", LIMITER, GOOD_LIMITER), opt("io_engine", Enum("Async", "Sync"), "Sync"),
        opt("socket", STR, None))),
         ("PATCH", POST, Object("BlockDeviceUpdateConfig", req("drive_id", STR, "thing1"),
                                opt("path_on_host", STR, "$DIR/disk2"),
                                opt("rate_limiter", LIMITER, GOOD_LIMITER))),
         ("DELETE", POST, None)),
    Path("/pmem/{id}", ("PUT", PRE, Object(
        "PmemConfig", req("id", STR, "thing1"), req("path_on_host", STR, "$DIR/pmem"),
        default("root_device", BOOL, False), default("read_only", BOOL, False),
        opt("rate_limiter", LIMITER, GOOD_LIMITER))),
         ("PATCH", POST, Object("PmemDeviceUpdateConfig", req("id", STR, "thing1"),
                                opt("rate_limiter", LIMITER, GOOD_LIMITER))),
         ("DELETE", POST, None)),
    Path("/network-interfaces/{id}", ("PUT", PRE, Object(
        "NetworkInterfaceConfig", req("iface_id", STR, "thing1"), req("host_dev_name", STR, "vt0"),
        opt("guest_mac", STR, "06:00:00:00:00:01"), opt("mtu", U16, 1400),
        opt("rx_rate_limiter", LIMITER, GOOD_LIMITER), opt("tx_rate_limiter", LIMITER, GOOD_LIMITER))),
         ("PATCH", POST, Object("NetworkInterfaceUpdateConfig", req("iface_id", STR, "thing1"),
                                opt("rx_rate_limiter", LIMITER, GOOD_LIMITER),
                                opt("tx_rate_limiter", LIMITER, GOOD_LIMITER))),
         ("DELETE", POST, None)),
    Path("/vsock", ("PUT", PRE, Object("VsockDeviceConfig", opt("vsock_id", STR, "v"),
                                       req("guest_cid", U32, 3), req("uds_path", STR, "$DIR/v.sock")))),
    Path("/entropy", ("PUT", PRE, Object("EntropyDeviceConfig",
                                         opt("rate_limiter", LIMITER, GOOD_LIMITER)))),
    Path("/serial", ("PUT", PRE, Object("SerialConfig", opt("serial_out_path", PATH, "$DIR/serial"),
                                        opt("rate_limiter", BUCKET, GOOD_LIMITER["bandwidth"])))),
    Path("/balloon", ("GET", BOTH, None), ("PUT", PRE, Object(
        "BalloonDeviceConfig", req("amount_mib", U32, 1), req("deflate_on_oom", BOOL, True),
        default("stats_polling_interval_s", U16, 1), default("free_page_hinting", BOOL, True),
        default("free_page_reporting", BOOL, True))),
         ("PATCH", POST, Object("BalloonUpdateConfig", req("amount_mib", U32, 1)))),
    Path("/balloon/statistics", ("GET", POST, None), ("PATCH", POST, Object(
        "BalloonUpdateStatsConfig", req("stats_polling_interval_s", U16, 1)))),
    Path("/balloon/hinting/start", ("PATCH", POST, Object(
        "StartHintingCmd", default("acknowledge_on_stop", BOOL, True), deny=False))),
    Path("/balloon/hinting/stop", ("PATCH", POST, ANY)),
    Path("/balloon/hinting/status", ("GET", POST, None)),
    Path("/logger", ("PUT", PRE, Object(
        "LoggerConfig", opt("log_path", PATH, "$DIR/log"), opt("level", STR, "Info"),
        opt("show_level", BOOL, True), opt("show_log_origin", BOOL, True), opt("module", STR, "api")))),
    Path("/metrics", ("PUT", PRE, Object(
        "MetricsConfig", req("metrics_path", PATH, "$DIR/metrics"), default("emit_id", BOOL, False),
        opt("properties", MAP, {"a": "b"}), deny=False))),
    Path("/mmds/config", ("PUT", PRE, Object(
        "MmdsConfig", default("version", Enum("V1", "V2"), "V2"),
        req("network_interfaces", List(STR), ["net1"]), opt("ipv4_address", IPV4, "169.254.169.254"),
        default("imds_compat", BOOL, False)))),
    Path("/mmds", ("GET", BOTH, None), ("PUT", BOTH, ANY), ("PATCH", BOTH, ANY)),
    Path("/hotplug/memory", ("GET", POST, None), ("PUT", PRE, Object(
        "MemoryHotplugConfig", req("total_size_mib", USIZE, 1024), default("block_size_mib", USIZE, 2),
        default("slot_size_mib", USIZE, 128))),
         ("PATCH", POST, Object("MemoryHotplugSizeUpdate", req("requested_size_mib", USIZE, 0)))),
    Path("/snapshot/create", ("PUT", POST, Object(
        "CreateSnapshotParams", default("snapshot_type", Enum("Diff", "Full"), "Full"),
        req("snapshot_path", PATH, "$DIR/snap"), req("mem_file_path", PATH, "$DIR/mem")))),
    Path("/snapshot/load", ("PUT", PRE, Object(
        "LoadSnapshotConfig", req("snapshot_path", PATH, "$DIR/snap"),
        opt("mem_file_path", PATH, "$DIR/mem"),
        opt("mem_backend", Object("MemBackendConfig", req("backend_path", PATH, "$DIR/mem"), req(
            "backend_type", Enum("File", "Uffd"), "File")), None),
        default("enable_diff_snapshots", BOOL, False), default("track_dirty_pages", BOOL, False),
        default("resume_vm", BOOL, False), default("network_overrides", List(ANY), []),
        opt("vsock_override", Object("VsockOverride", req("uds_path", STR, "x")), None),
        default("clock_realtime", BOOL, False),
        default("huge_pages", Enum("Snapshot", "None", "Transparent", "2M"), "None")))),
]

PREFIX = "An error occurred when deserializing the json body of a request: "


def fault(text, column=None):
    where = f" at line 1 column {column}" if column is not None else ""
    return f"{PREFIX}{text}{where}."


def one_of(names):
    quoted = [f"`{n}`" for n in names]
    if len(quoted) == 1:
        return quoted[0]
    return " or ".join(quoted) if len(quoted) == 2 else "one of " + ", ".join(quoted)


def expected(kind):
    if isinstance(kind, Object):
        return f"struct {kind.name}"
    if isinstance(kind, List):
        return "a sequence"
    return {BOOL: "a boolean", STR: "a string", PATH: "path string", MAP: "a map"}.get(kind, kind)


def compact(pairs):
    def value(v):
        return v if isinstance(v, Raw) else json.dumps(v, separators=(",", ":"))

    return "{" + ",".join(f"{json.dumps(k)}:{value(v)}" for k, v in pairs) + "}"


class Raw(str):
    """JSON text as it is."""


def cases(body, values):
    """(name, text of the body, wanted fault or None for "whatever a good body answers")."""
    if body is None or body is ANY:
        return
    pairs = [(f.name, values.get(f.name, f.good)) for f in body.fields if f.required]
    good = compact(pairs)
    end = len(good)
    first = next((f for f in body.fields if f.required), None)
    if first:
        yield "empty object", "{}", fault(f"missing field `{first.name}`", 2)
    for f in body.fields:
        others = [p for p in pairs if p[0] != f.name]
        if f.required:
            text = compact(others)
            yield f"without {f.name}", text, fault(f"missing field `{f.name}`", len(text))
        yield from wrong_values(f, others)
    field = body.fields[0]
    value = values.get(field.name, field.good)
    if value is not None:
        text = compact([(field.name, value), (field.name, value)])
        column = len(compact([(field.name, value)])) + len(json.dumps(field.name))
        yield "duplicate", text, fault(f"duplicate field `{field.name}`", column)
    if body.deny:
        text = compact([("zz", 1)])
        names = one_of([f.name for f in body.fields])
        yield "unknown", text, fault(f"unknown field `zz`, expected {names}", 5)
    yield "no JSON", "x", fault("expected value", 1)
    yield "cut", "{", fault("EOF while parsing an object", 1)
    yield "rest", good + "x", fault("trailing characters", end + 1)
    if pairs:
        yield "trailing comma", good[:-1] + ",}", fault("trailing comma", end + 1)


def wrong_values(f, others):
    """A value of another type, null, and numbers out of range, for one field."""
    def text(value):
        return compact([(f.name, value)] + others)

    at = len(json.dumps(f.name)) + 2  # bytes before the value

    def bad(value, words, column=None):
        raw = Raw(value)
        return text(raw), fault(words, at + len(value) if column is None else column)

    kind = f.kind
    if f.not_null:
        if isinstance(kind, Enum):
            yield f"null {f.name}", *bad("null", "expected value", at + 1)
        else:
            yield f"null {f.name}", *bad("null", f"invalid type: null, expected {expected(kind)}")
    if isinstance(kind, Enum):
        yield f"{f.name} of no name", *bad('"Foo"', f"unknown variant `Foo`, expected {one_of(kind.names)}")
        yield f"{f.name} a number", *bad("1", "expected value", at + 1)
        return
    if kind is ANY:
        return
    if kind is IPV4:
        yield f"{f.name} that is none", *bad('"x"', "invalid IPv4 address syntax")
    if kind in (STR, PATH, IPV4, MAP, BOOL) or isinstance(kind, (Object, List)):
        yield f"{f.name} a number", *bad("1", f"invalid type: integer `1`, expected {expected(kind)}")
        return
    yield f"{f.name} a text", *bad('"x"', f'invalid type: string "x", expected {kind}')
    yield f"{f.name} a boolean", *bad("true", f"invalid type: boolean `true`, expected {kind}")
    yield f"{f.name} negative", *bad("-1", f"invalid value: integer `-1`, expected {kind}")
    yield f"{f.name} a fraction", *bad("1.5", f"invalid type: floating point `1.5`, expected {kind}")
    if kind in BITS:
        big = str(1 << BITS[kind])
        yield f"{f.name} too large", *bad(big, f"invalid value: integer `{big}`, expected {kind}")

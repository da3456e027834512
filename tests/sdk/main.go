// SPDX-License-Identifier: Apache-2.0

// What a Go program that was written for Firecracker does with its VM, by the unmodified
// firecracker-go-sdk: all devices, MMDS, changes while it runs, an orderly and a hard end. Says
// "all good" and exits with 0, or names the first step that failed. See linux/test_sdk.py.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"time"

	firecracker "github.com/firecracker-microvm/firecracker-go-sdk"
	"github.com/firecracker-microvm/firecracker-go-sdk/client/models"
	"github.com/firecracker-microvm/firecracker-go-sdk/vsock"
	"github.com/sirupsen/logrus"
)

const (
	guestPort  = 4000
	balloonMiB = 16
)

var (
	program = flag.String("firecracker", "", "program to run")
	jailer  = flag.String("jailer", "", "jailer to run it in, if any")
	ids     = flag.Int("ids", 0, "uid and gid of the jail")
	cgroup  = flag.String("cgroup", "", "parent cgroup of the jail")
	netns   = flag.String("netns", "", "network namespace of the jail")
	kernel  = flag.String("kernel", "", "kernel")
	args    = flag.String("args", "", "kernel's command line")
	root    = flag.String("root", "", "root disk")
	script  = flag.String("script", "", "disk with the guest's script")
	tap     = flag.String("tap", "", "tap of the interface")
	dir     = flag.String("dir", "", "directory for sockets and logs")
	hard    = flag.Bool("hard", false, "end the VM by StopVMM and not by Ctrl-Alt-Del")
	wait    = flag.Duration("wait", time.Minute, "for the guest to listen")
)

func must(err error, step string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", step, err)
		os.Exit(1)
	}
}

func check(good bool, step string, got any) {
	if !good {
		must(fmt.Errorf("got %+v", got), step)
	}
}

func config(console *os.File) firecracker.Config {
	cfg := firecracker.Config{
		VMID:            "sdk",
		KernelImagePath: *kernel,
		KernelArgs:      *args,
		MachineCfg: models.MachineConfiguration{
			VcpuCount: firecracker.Int64(2), MemSizeMib: firecracker.Int64(256), Smt: firecracker.Bool(false),
		},
		Drives: []models.Drive{
			{DriveID: firecracker.String("root"), PathOnHost: root, IsRootDevice: firecracker.Bool(true),
				IsReadOnly: firecracker.Bool(false)},
			{DriveID: firecracker.String("script"), PathOnHost: script, IsRootDevice: firecracker.Bool(false),
				IsReadOnly: firecracker.Bool(true)},
		},
		NetworkInterfaces: firecracker.NetworkInterfaces{{
			StaticConfiguration: &firecracker.StaticNetworkConfiguration{
				MacAddress: "06:00:0a:07:00:02", HostDevName: *tap,
			},
			OutRateLimiter: firecracker.NewRateLimiter(
				models.TokenBucket{Size: firecracker.Int64(1 << 20), RefillTime: firecracker.Int64(100)},
				models.TokenBucket{Size: firecracker.Int64(1000), RefillTime: firecracker.Int64(100)}),
			AllowMMDS: true,
		}},
		VsockDevices: []firecracker.VsockDevice{{ID: "vsock", Path: vsockPath(), CID: 3}},
		MmdsAddress:  net.IPv4(169, 254, 169, 250),
		MmdsVersion:  firecracker.MMDSv2,
	}
	if *jailer == "" {
		cfg.SocketPath = filepath.Join(*dir, "api.sock")
		cfg.LogFifo = filepath.Join(*dir, "log.fifo")
		cfg.MetricsFifo = filepath.Join(*dir, "metrics.fifo")
		cfg.LogLevel = "Info"
		cfg.FifoLogWriter = console
		return cfg
	}
	cfg.NetNS = *netns
	cfg.JailerCfg = &firecracker.JailerConfig{
		ID: cfg.VMID, UID: ids, GID: ids, NumaNode: firecracker.Int(0), CgroupVersion: "2", ParentCgroup: *cgroup,
		ExecFile: *program, JailerBinary: *jailer, ChrootBaseDir: filepath.Join(*dir, "jails"),
		ChrootStrategy: firecracker.NewNaiveChrootStrategy(*kernel),
		Stdout:         console, Stderr: console,
	}
	return cfg
}

// The vsock's path as the monitor is told it; in a jail it begins at the new root.
func vsockPath() string {
	if *jailer == "" {
		return filepath.Join(*dir, "v.sock")
	}
	return "v.sock"
}

func vsockOnHost() string {
	if *jailer == "" {
		return vsockPath()
	}
	return filepath.Join(*dir, "jails", filepath.Base(*program), "sdk", "root", "v.sock")
}

func main() {
	flag.Parse()
	console, err := os.Create(filepath.Join(*dir, "console"))
	must(err, "console")
	log := logrus.New()
	log.SetOutput(os.Stderr)
	ctx, cancel := context.WithTimeout(context.Background(), 3**wait)
	defer cancel()

	opts := []firecracker.Opt{firecracker.WithLogger(logrus.NewEntry(log))}
	cfg := config(console)
	if *jailer == "" {
		opts = append(opts, firecracker.WithProcessRunner(firecracker.VMCommandBuilder{}.WithBin(*program).
			WithSocketPath(cfg.SocketPath).WithStdout(console).WithStderr(console).Build(ctx)))
	}
	m, err := firecracker.NewMachine(ctx, cfg, opts...)
	must(err, "NewMachine")
	metadata := map[string]any{"latest": map[string]any{"meta-data": map[string]any{"word": "zebra"}}}
	m.Handlers.FcInit = m.Handlers.FcInit.Append(firecracker.NewSetMetadataHandler(metadata),
		firecracker.NewCreateBalloonHandler(balloonMiB, true, 1))
	must(m.Start(ctx), "Start")
	use(ctx, m)
	if *hard {
		must(m.StopVMM(), "StopVMM")
		// The process was told to end by a signal, and says so.
		_ = m.Wait(ctx)
	} else {
		must(m.Shutdown(ctx), "Shutdown")
		must(m.Wait(ctx), "Wait")
	}
	_, err = m.PID()
	check(err != nil, "the process is still there", nil)
	fmt.Println("all good")
}

// Everything that can be asked of a VM that runs.
func use(ctx context.Context, m *firecracker.Machine) {
	info, err := m.DescribeInstanceInfo(ctx)
	must(err, "DescribeInstanceInfo")
	check(*info.State == models.InstanceInfoStateRunning, "state", *info.State)
	check((*info.ID == "sdk") == (*jailer != ""), "id, which only the jailer hands on", *info.ID)
	version, err := m.GetFirecrackerVersion(ctx)
	must(err, "GetFirecrackerVersion")
	fmt.Println("version", version)

	hello(ctx)
	must(m.PauseVM(ctx), "PauseVM")
	info, err = m.DescribeInstanceInfo(ctx)
	must(err, "DescribeInstanceInfo")
	check(*info.State == models.InstanceInfoStatePaused, "state when paused", *info.State)
	must(m.ResumeVM(ctx), "ResumeVM")
	hello(ctx)

	balloon(ctx, m)
	metadata(ctx, m)
	limit := firecracker.RateLimiterSet{InRateLimiter: firecracker.NewRateLimiter(
		models.TokenBucket{Size: firecracker.Int64(2 << 20), RefillTime: firecracker.Int64(100)},
		models.TokenBucket{Size: firecracker.Int64(2000), RefillTime: firecracker.Int64(100)})}
	must(m.UpdateGuestNetworkInterfaceRateLimit(ctx, "1", limit), "UpdateGuestNetworkInterfaceRateLimit")
	must(m.UpdateGuestDrive(ctx, "script", firecracker.StringValue(m.Cfg.Drives[1].PathOnHost)), "UpdateGuestDrive")
	hello(ctx)
}

// A word to the guest's echo over vsock, and back.
func hello(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, *wait)
	defer cancel()
	conn, err := vsock.DialContext(ctx, vsockOnHost(), guestPort, vsock.WithDialTimeout(*wait),
		vsock.WithRetryTimeout(*wait), vsock.WithConnectionMsgTimeout(*wait), vsock.WithAckMsgTimeout(*wait))
	must(err, "vsock.Dial")
	said, got := []byte("hello"), make([]byte, 5)
	_, err = conn.Write(said)
	must(err, "writing to the vsock connection")
	_, err = io.ReadFull(conn, got)
	must(err, "reading from the vsock connection")
	check(bytes.Equal(got, said), "vsock's echo", got)
	must(conn.Close(), "closing the vsock connection")
}

func balloon(ctx context.Context, m *firecracker.Machine) {
	b, err := m.GetBalloonConfig(ctx)
	must(err, "GetBalloonConfig")
	check(*b.AmountMib == balloonMiB && *b.DeflateOnOom, "balloon", b)
	must(m.UpdateBalloon(ctx, 2*balloonMiB), "UpdateBalloon")
	must(m.UpdateBalloonStats(ctx, 2), "UpdateBalloonStats")
	for {
		stats, err := m.GetBalloonStats(ctx)
		must(err, "GetBalloonStats")
		if *stats.ActualMib == 2*balloonMiB && stats.TotalMemory > 0 {
			return
		}
		check(ctx.Err() == nil, "balloon statistics", stats)
		time.Sleep(100 * time.Millisecond)
	}
}

func metadata(ctx context.Context, m *firecracker.Machine) {
	must(m.UpdateMetadata(ctx, map[string]any{"later": "giraffe"}), "UpdateMetadata")
	var got map[string]any
	must(m.GetMetadata(ctx, &got), "GetMetadata")
	want := map[string]any{"later": "giraffe",
		"latest": map[string]any{"meta-data": map[string]any{"word": "zebra"}}}
	check(reflect.DeepEqual(got, want), "metadata", got)
}

package streams_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/inventory"
)

// The benchmarks run each piece of work in a process of its own and report its time,
// with that of all it starts, and the most memory any of these processes had.
//
//	go test -run xxx -bench . -benchtime 1x ./streams/

// work is what a benchmark's process does.
var work = map[string]func(root string) error{
	"build": func(root string) error {
		_, err := streams.Build(context.Background(), streams.BuildOptions{Site: streams.Site{Root: root}, Deltas: streams.DeltaOptions{Off: true}})
		return err
	},
	"deltas": func(root string) error {
		_, err := streams.Build(context.Background(), streams.BuildOptions{
			Site: streams.Site{Root: root}, Deltas: streams.DeltaOptions{Disks: inventory.DiskDeltasAlways},
		})
		return err
	},
	"prune": func(root string) error {
		_, err := streams.Prune(context.Background(), streams.PruneOptions{
			Site: streams.Site{Root: root}, Retain: inventory.Retention{Builds: 1}, Grace: streams.AtOnce,
		})
		return err
	},
}

// measure does a piece of work once.
func measure(b *testing.B, verb, root string) (time.Duration, int64) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STREAMS_BENCH_ROOT="+root, "STREAMS_BENCH_VERB="+verb)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	took := time.Since(start)
	var memory int64
	fmt.Sscan(string(out), &memory)
	return took, memory
}

// benchHelper is the process that is measured. It prints the most memory that it, or
// a program it ran, has had, in KiB.
func benchHelper(root, verb string) int {
	if err := work[verb](root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var own int64
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "VmHWM: %d", &own)
	}
	var others syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_CHILDREN, &others)
	fmt.Println(max(own, others.Maxrss))
	return 0
}

// bench measures work on a tree, which prepare makes anew each time.
func bench(b *testing.B, verb string, prepare func() string) {
	var most int64
	for b.Loop() {
		b.StopTimer()
		root := prepare()
		b.StartTimer()
		_, memory := measure(b, verb, root)
		most = max(most, memory)
	}
	b.ReportMetric(float64(most)/1024, "MiB")
}

// forest makes a tree of many products with as many versions each.
func forest(b *testing.B, products, versions, size int, files ...string) string {
	b.Helper()
	root := filepath.Join(b.TempDir(), "root")
	for p := range products {
		for v := range versions {
			day := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, v)
			err := imagetree.Make(root, imagetree.Sample{
				Product: fmt.Sprintf("distro%04d/rel/amd64/default", p), Version: day.Format("20060102_1504"), Size: size, Files: files,
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	return root
}

// settle builds until the tool has nothing more to remember: times of files that are
// as young as a build are not believed by the next one.
func settle(b *testing.B, verb, root string) {
	for range 2 {
		measure(b, verb, root)
		time.Sleep(2100 * time.Millisecond)
	}
	measure(b, verb, root)
}

func BenchmarkFirstBuild200(b *testing.B) {
	bench(b, "build", func() string { return forest(b, 20, 10, 1<<20) })
}

func BenchmarkFirstBuild200Deltas360(b *testing.B) {
	bench(b, "deltas", func() string { return forest(b, 20, 10, 1<<20) })
}

func BenchmarkTree5000(b *testing.B) {
	root := forest(b, 250, 20, 4096)
	settle(b, "deltas", root)
	b.Run("NoChange", func(b *testing.B) { bench(b, "deltas", func() string { return root }) })
	b.Run("OneNew", func(b *testing.B) {
		day := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		bench(b, "deltas", func() string {
			day = day.AddDate(0, 0, 1)
			if err := imagetree.Make(root, imagetree.Sample{Product: "distro0000/rel/amd64/default", Version: day.Format("20060102_1504")}); err != nil {
				b.Fatal(err)
			}
			return root
		})
	})
	b.Run("PruneToOne", func(b *testing.B) { bench(b, "prune", func() string { return root }) }) // once: then it is done
}

func BenchmarkTree50000(b *testing.B) {
	root := forest(b, 2500, 20, 64, "lxd.tar.xz", "incus.tar.xz", "rootfs.squashfs", "disk.qcow2", "root.tar.xz")
	settle(b, "build", root)
	b.Run("NoChange", func(b *testing.B) { bench(b, "build", func() string { return root }) })
}

// BenchmarkHashLarge compares all hashes of a large file with one by sha256sum.
func BenchmarkHashLarge(b *testing.B) {
	const size = 1 << 30
	root := forest(b, 1, 1, size, "lxd.tar.xz", "rootfs.squashfs")
	file, _ := filepath.Glob(filepath.Join(root, "images/*/*/*/*/*/rootfs.squashfs"))
	b.Run("sha256sum", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if err := exec.Command("sha256sum", file[0]).Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("build", func(b *testing.B) {
		b.SetBytes(size)
		bench(b, "build", func() string {
			os.RemoveAll(filepath.Join(root, "streams"))
			return root
		})
	})
}

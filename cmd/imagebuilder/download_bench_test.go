package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Downloads beside those of curl, for testdata/bench/downloads.

// BenchmarkDownload downloads and verifies one file of 1 GiB from this machine.
func BenchmarkDownload(b *testing.B) {
	const size = 1 << 30
	block := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{})
	random.Read(block)
	sum := sha256.New()
	for range size / len(block) {
		sum.Write(block)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		for range size / len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	digest := fmt.Sprintf("%x", sum.Sum(nil))
	b.Run("curl", func(b *testing.B) {
		for b.Loop() {
			out := command(b, "sh", "-c", "curl -fsS "+server.URL+"/file | sha256sum")
			if !strings.HasPrefix(out, digest) {
				b.Fatal(out)
			}
		}
	})
	b.Run("imagebuilder", func(b *testing.B) {
		for b.Loop() {
			buildRecipe(b, fmt.Sprintf("def main():\n    download(%q, sha256 = %q)\n", server.URL+"/file", digest))
		}
	})
}

// BenchmarkDownloads downloads 20 files of 5 MB from a server that gives 10 MB/s to each
// connection.
func BenchmarkDownloads(b *testing.B) {
	const files, size, rate = 20, 5e6, 10e6
	content := make([]byte, size)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		start := time.Now()
		for sent := 0; sent < len(content); {
			n := min(64<<10, len(content)-sent)
			if _, err := w.Write(content[sent : sent+n]); err != nil {
				return
			}
			sent += n
			w.(http.Flusher).Flush()
			time.Sleep(time.Until(start.Add(time.Duration(float64(sent) / rate * float64(time.Second)))))
		}
	}))
	defer server.Close()
	b.Run("curl", func(b *testing.B) {
		dir := b.TempDir()
		for b.Loop() {
			command(b, "curl", "-fsS", "--output", filepath.Join(dir, "#1"), fmt.Sprintf("%s/[1-%d]", server.URL, files))
		}
	})
	b.Run("imagebuilder", func(b *testing.B) {
		for b.Loop() {
			buildRecipe(b, fmt.Sprintf("def main():\n    for i in range(%d):\n        download(\"%s/%%d\" %% i)\n", files, server.URL))
		}
	})
}

// buildRecipe runs a recipe with a new cache, in memory where there is such a place: a disk would
// be measured that curl does not write to.
func buildRecipe(b *testing.B, recipe string) {
	b.Helper()
	b.StopTimer()
	defer b.StartTimer()
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "imagebuilder-bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "x.star")
	if err := os.WriteFile(file, []byte(recipe), 0o644); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
	command(b, "imagebuilder", "run", file, dir, "--cache", filepath.Join(dir, "cache"))
	b.StopTimer()
}

// command runs a program and returns what it prints, and reports how much memory it used.
func command(b *testing.B, name string, args ...string) string {
	b.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v\n%s", name, err, &errs)
	}
	b.ReportMetric(float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)/1024, "MiB")
	return out.String()
}

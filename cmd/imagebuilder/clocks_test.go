package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

const clocksRecipe = `
variant = option("variant", "a")

_BASE = """#!/bin/sh
cd /tmp/rootfs
mkdir bin etc
cp /bin/busybox bin
ln -s busybox bin/sh
touch etc/now
"""

def main():
    root = rootfs(image("tiny", "1", variant))
    host_run(root, _BASE, network = False)
    host_run(root, "#!/bin/sh\necho %s >/tmp/rootfs/etc/variant; touch /tmp/rootfs/etc/%s" % (variant, variant), network = False)
    export(root, "tree")
`

// The clocks of two workers are 40 days apart. What they share is right, and with an epoch it is
// the same to the byte, whoever has built it.
func TestMatrixClocks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: builds")
	}
	need(t, "/bin/busybox", "busybox-static")
	need(t, "openssl", "openssl")
	later := newOtherMachine(t).env
	for how, epoch := range map[string]string{"with an epoch": "1760000000", "without": ""} {
		server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		t.Cleanup(server.Close)
		dir := t.TempDir()
		key, recipe := filepath.Join(dir, "key"), filepath.Join(dir, "tiny.star")
		output(t, nil, "openssl", "genpkey", "-algorithm", "ed25519", "-out", key)
		output(t, nil, "openssl", "pkey", "-in", key, "-pubout", "-out", key+".pub")
		if err := os.WriteFile(recipe, []byte(clocksRecipe), 0o644); err != nil {
			t.Fatal(err)
		}
		// build builds two cells on a machine, and returns the table of what became of them.
		build := func(machine, cells string, env ...string) []string {
			text := output(t, append(env, "SOURCE_DATE_EPOCH="+epoch), "imagebuilder", "run", recipe, filepath.Join(dir, machine), "--matrix", "variant="+cells, "-j", "1",
				"--cache", filepath.Join(dir, "cache", machine), "--remote", strings.TrimPrefix(server.URL, "http://")+"/team/layers",
				"--remote-keys", key+".pub", "--remote-push", "all", "--sign-key", key)
			lines := strings.Split(text, "\n")
			for i, line := range lines {
				lines[i] = strings.Join(strings.Fields(line), " ")
			}
			return lines
		}
		builds := []struct {
			machine, cells string
			env            []string
			want           []string // how each line begins
		}{
			{"first", "a,b", nil, []string{"tiny-a ok 3 0 0 3 ", "tiny-b ok 3 1 0 2 "}},
			{"later", "b,c", later, []string{"tiny-b ok 3 2 2 1 ", "tiny-c ok 3 1 0 2 "}}, // the base and b of the first
			{"third", "a,c", nil, []string{"tiny-a ok 3 2 2 1 ", "tiny-c ok 3 2 1 1 "}},   // all, of both
		}
		for _, b := range builds {
			got := build(b.machine, b.cells, b.env...)
			for i, want := range b.want {
				if !strings.HasPrefix(got[i+1], want) {
					t.Errorf("%s, %s machine: got %q, want %q", how, b.machine, got[i+1], want)
				}
			}
		}
		for _, same := range [][2]string{{"first/tiny-a", "third/tiny-a"}, {"first/tiny-b", "later/tiny-b"}, {"later/tiny-c", "third/tiny-c"}} {
			sameTrees(t, how, filepath.Join(dir, same[0]), filepath.Join(dir, same[1]))
		}
		if epoch == "" {
			continue
		}
		server.Close() // who gets nothing makes the same
		build("alone", "b,c")
		sameTrees(t, how, filepath.Join(dir, "later/tiny-b"), filepath.Join(dir, "alone/tiny-b"))
		sameTrees(t, how, filepath.Join(dir, "later/tiny-c"), filepath.Join(dir, "alone/tiny-c"))
	}
}

// sameTrees compares the trees of two cells.
func sameTrees(t *testing.T, how, one, two string) {
	t.Helper()
	was, is := described(t, one), described(t, two)
	compared := 0
	for name, text := range was {
		if !strings.HasPrefix(name, "tree") {
			continue // such as its log
		}
		compared++
		if is[name] != text {
			t.Errorf("%s: %s of %s is another in %s:\n%s\n%s", how, name, one, two, text, is[name])
		}
	}
	if compared < 8 {
		t.Errorf("%s: %s has only %d files in its tree", how, one, compared)
	}
}

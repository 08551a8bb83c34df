package pack_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"imagebuilder/builtins/pack"
)

func TestParseCompression(t *testing.T) {
	tests := []struct {
		text     string
		err      string
		tar      string // "" if it can be used
		squashfs string
	}{
		{"xz", "", "", ""},
		{"xz-9", "", "", ""},
		{"gzip-1", "", "", ""},
		{"gzip-0", "", "the compression gzip of a tar archive takes a level from 1 to 9, not 0", "the compression gzip of a squashfs image takes a level from 1 to 9, not 0"},
		{"zstd-22", "", "", ""},
		{"zstd-23", "", "the compression zstd of a tar archive takes a level from 1 to 22, not 23", "the compression zstd of a squashfs image takes a level from 1 to 22, not 23"},
		{"bzip2-9", "", "", "the compression bzip2 cannot be used for a squashfs image"},
		{"lzip", "", "", "the compression lzip cannot be used for a squashfs image"},
		{"lzma-0", "", "", ""},
		{"lzop", "", "", ""},
		{"lzo-9", "", "", ""},
		{"lz4", "", "", ""},
		{"lz4-1", "", "the compression lz4 of a tar archive takes no level", "the compression lz4 of a squashfs image takes no level"},
		{"none", "", "", ""},
		{"none-1", "", "the compression none of a tar archive takes no level", "the compression none of a squashfs image takes no level"},
		{"gzip-100", `unknown compression "gzip-100"; known are bzip2, gzip, lz4, lzip, lzma, lzo, none, xz, zstd`, "", ""},
		{"", `unknown compression ""; known are bzip2, gzip, lz4, lzip, lzma, lzo, none, xz, zstd`, "", ""},
	}
	for _, test := range tests {
		c, err := pack.ParseCompression(test.text)
		if message(err) != test.err {
			t.Errorf("%q: %v, want %s", test.text, err, test.err)
		}
		if err != nil {
			continue
		}
		if got := message(c.CheckTar()); got != test.tar {
			t.Errorf("%q for tar: %s", test.text, got)
		}
		if _, err := c.Squashfs(); message(err) != test.squashfs {
			t.Errorf("%q for squashfs: %v", test.text, err)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzParseCompression(f *testing.F) {
	f.Add("zstd-19")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := pack.ParseCompression(text)
		if err != nil {
			return
		}
		if again, err := pack.ParseCompression(c.String()); err != nil || again != c {
			t.Errorf("%q: %v, then %v, %v", text, c, again, err)
		}
	})
}

var metadata = pack.Metadata{
	Architecture: "x86_64",
	Created:      time.Unix(1700000000, 0),
	Expires:      time.Unix(1700086400, 0),
	Properties:   map[string]string{"release": "22.04", "os": "ubuntu", "variant": "true", "description": "Ubuntu: \"x\"\n", "name": ""},
	Templates: []pack.Template{
		{Path: "/etc/hosts", Name: "old.tpl", Content: "old", When: []string{"start"}},
		{Path: "/etc/hosts", Name: "hosts.tpl", Content: "{{ container.name }}\n", When: []string{"create", "copy"}},
		{Path: "/etc/a b", Name: "x.tpl", When: []string{"create"}, Properties: map[string]string{"default": "#cloud-config\n{}"}},
	},
}

func TestMetadataYAML(t *testing.T) {
	want := `architecture: x86_64
creation_date: 1700000000
expiry_date: 1700086400
properties:
  description: "Ubuntu: \"x\"\n"
  name: ""
  os: ubuntu
  release: "22.04"
  variant: "true"
templates:
  "/etc/a b":
    when:
    - create
    create_only: false
    template: x.tpl
    properties:
      default: "#cloud-config\n{}"
  /etc/hosts:
    when:
    - create
    - copy
    create_only: false
    template: hosts.tpl
    properties: {}
`
	if got := string(metadata.YAML()); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := string(pack.Metadata{}.YAML()); !strings.HasSuffix(got, "properties: {}\ntemplates: {}\n") {
		t.Errorf("empty maps: %s", got)
	}
}

// Whatever the properties are, YAML gives them back as the strings they were.
func FuzzMetadataYAML(f *testing.F) {
	for _, s := range []string{"22.04", "no", "~", "a: b", "#", "é\u2028", "\x00\xff", "0x10", "- x", "2001-01-01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?")
		var got struct{ Properties map[string]string }
		text := pack.Metadata{Properties: map[string]string{"k": s}}.YAML()
		var node struct{ Properties map[string]yaml.Node }
		if err := yaml.Unmarshal(text, &got); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if err := yaml.Unmarshal(text, &node); err != nil {
			t.Fatal(err)
		}
		if k := node.Properties["k"]; got.Properties["k"] != s || k.Tag != "!!str" {
			t.Errorf("%q came back as %s %q", s, k.Tag, got.Properties["k"])
		}
	})
}

func TestMetadataArchive(t *testing.T) {
	for _, method := range []string{"none", "gzip", "xz", "zstd-19"} {
		c, err := pack.ParseCompression(method)
		if err != nil {
			t.Fatal(err)
		}
		if c.Program() != "" {
			if _, err := exec.LookPath(c.Program()); err != nil {
				t.Logf("%s is left out: %s is not installed", method, c.Program())
				continue
			}
		}
		dir := t.TempDir()
		if err := metadata.Write(context.Background(), dir, "lxd.tar"+c.Suffix(), c, ""); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("tar", "-tvf", dir+"/lxd.tar"+c.Suffix(), "--full-time", "--utc").Output()
		if err != nil {
			t.Fatal(err)
		}
		want := "metadata.yaml\ntemplates/\ntemplates/hosts.tpl\ntemplates/old.tpl\ntemplates/x.tpl\n"
		got := ""
		for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			fields := strings.Fields(line)
			got += fields[len(fields)-1] + "\n"
			if !strings.Contains(line, " 0/0 ") || !strings.Contains(line, "2023-11-14 22:13:20") {
				t.Errorf("%s: owner or time: %s", method, line)
			}
		}
		if got != want {
			t.Errorf("%s: members:\n%s", method, got)
		}
	}
}

func TestPublish(t *testing.T) {
	store, dir := t.TempDir(), filepath.Join(t.TempDir(), "a/b")
	result := func(name, text string) pack.Result {
		path := filepath.Join(store, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(text))
		return pack.Result{Path: path, Name: name, Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:])}
	}
	list := func() string {
		var b bytes.Buffer
		names, _ := os.ReadDir(dir)
		for _, n := range names {
			text, _ := os.ReadFile(filepath.Join(dir, n.Name()))
			info, _ := n.Info()
			fmt.Fprintf(&b, "%s %o %s\n", n.Name(), info.Mode().Perm(), text)
		}
		return b.String()
	}
	if err := pack.Publish(context.Background(), dir, []pack.Result{result("x", "one"), result("y", "same")}); err != nil {
		t.Fatal(err)
	}
	if got := list(); got != "x 644 one\ny 644 same\n" {
		t.Errorf("the first set:\n%s", got)
	}
	before, _ := os.Stat(filepath.Join(dir, "y"))
	if err := pack.Publish(context.Background(), dir, []pack.Result{result("x", "two"), result("y", "same")}); err != nil {
		t.Fatal(err)
	}
	if got := list(); got != "x 644 two\ny 644 same\n" {
		t.Errorf("the second set:\n%s", got)
	}
	if after, _ := os.Stat(filepath.Join(dir, "y")); !os.SameFile(before, after) {
		t.Error("a file that is the same was replaced")
	}
	broken := result("z", "three")
	os.Remove(broken.Path)
	if err := pack.Publish(context.Background(), dir, []pack.Result{result("x", "three"), broken}); err == nil {
		t.Error("a missing file is no error")
	}
	if got := list(); got != "x 644 two\ny 644 same\n" {
		t.Errorf("after a failure:\n%s", got)
	}
	damaged := result("x", "four")
	if err := os.WriteFile(damaged.Path, []byte("FOUR"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pack.Publish(context.Background(), dir, []pack.Result{damaged}); !errors.Is(err, pack.ErrDamaged) {
		t.Errorf("a file with another digest: %v", err)
	}
	if got := list(); got != "x 644 two\ny 644 same\n" {
		t.Errorf("after a damaged file:\n%s", got)
	}
	if err := os.Mkdir(filepath.Join(dir, "z"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := pack.Publish(context.Background(), dir, []pack.Result{result("x", "five"), result("z", "six")}); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("a directory in the way: %v", err)
	}
	if got := list(); !strings.HasPrefix(got, "x 644 two\ny 644 same\n") {
		t.Errorf("after a directory in the way:\n%s", got)
	}
}

// A named pipe that has the name of a result gives way to it: to open it takes a writer.
// What the run has made and read for its digest is not read for it again.
func TestPublishOfWhatIsFresh(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(store+"/x", []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := strings.Repeat("0", 64) // of anything else
	err := pack.Publish(context.Background(), dir, []pack.Result{{Path: store + "/x", Name: "x", Size: 4, SHA256: sum, Fresh: true}})
	if text, rerr := os.ReadFile(dir + "/x"); err != nil || string(text) != "text" {
		t.Errorf("got %q, %v, %v", text, err, rerr)
	}
}

func TestPublishOverPipe(t *testing.T) {
	dir := t.TempDir()
	kept, name := filepath.Join(t.TempDir(), "x"), filepath.Join(dir, "x")
	if err := errors.Join(os.WriteFile(kept, nil, 0o600), syscall.Mkfifo(name, 0o600)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	empty := fmt.Sprintf("%x", sha256.Sum256(nil))
	go func() {
		done <- pack.Publish(context.Background(), dir, []pack.Result{{Path: kept, Name: "x", SHA256: empty}})
	}()
	select {
	case err := <-done:
		if st, _ := os.Lstat(name); err != nil || !st.Mode().IsRegular() {
			t.Errorf("%v, %v", err, st.Mode())
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for a writer")
	}
}

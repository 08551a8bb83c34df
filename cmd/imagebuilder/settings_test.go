package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Recipes and the command line refuse the same values of the options of the words on an
// image server, for the same reason, before anything is done.
func TestStreamOptionsAreChecked(t *testing.T) {
	tests := []struct {
		word     string
		flag     string // with its value
		argument string // the same
		reason   string // with the name of the option as %s
	}{
		{"build", "--retain-builds=-1", "retain_builds = -1", "%s and retain days are not negative"},
		{"build", "--retain-days=-1", "retain_days = -1", "retain builds and %s are not negative"},
		{"build", "--disk-deltas=all", `disk_deltas = "all"`, `%s: "all" is not one of always, never, safe`},
		{"build", "--delta-share=1.5", "delta_share = 1.5", "%s 1.5: want a share from 0 to 1"},
		{"build", "--delta-share=NaN", `delta_share = float("nan")`, "%s NaN: want a share from 0 to 1"},
		{"build", "--delta-memory=-5", "delta_memory = -5", `%s: not a size such as 500MB or 20GiB: "-5"`},
		{"build", "--delta-memory=much", `delta_memory = "much"`, `%s: not a size such as 500MB or 20GiB: "much"`},
		{"build", "--max-drop=-1", "max_drop = -1", "%s -1: want a share from 0 to 1"},
		{"build", "--stream=../x", `streams = ["../x"]`, `%s: the name "../x" has '/' in it`},
		{"build", "--stream=streams", `streams = ["streams"]`, `%s: the name "streams" is reserved`},
		{"build", "--stream=a,b,a", `streams = ["a", "b", "a"]`, "%s: a is given twice"},
		{"build", "--workers=-1", "workers = -1", "%s -1: want no negative number"},
		{"build", "--page-client=lxc,", `page = {"clients": ["lxc", ""]}`, "%s : want lxc or incus"},
		{"build", "--stream-version=.v1", `stream_version = ".v1"`, `%s: the name ".v1" is hidden`},
		{"build", "--sign-passphrase=f", `sign_passphrase = local("f")`, "%s is that of sign key, which is missing"},
		{"build", "--page-remote=x$(id)", `page = {"remote": "x$(id)"}`, "%s x$(id): want a name of letters, digits, '.', '_' and '-', such as my-images"},
		{"build", "--page-url=ftp://x", `page = {"url": "ftp://x"}`, "%s ftp://x: want an address such as https://images.example.org"},
		{"build", "--page-client=virsh", `page = {"clients": ["virsh"]}`, "%s virsh: want lxc or incus"},
		{"build", "--page-stale=soon", `page = {"stale": "soon"}`, `%s: not a length of time such as 30d or 1h30m (units s, m, h, d, w): "soon"`},
		{"prune", "--retain-builds=0", "retain_builds = 0", "%s 0: want at least 1"},
		{"prune", "--retain-days=-1", "retain_days = -1", "%s -1: want no negative number"},
		{"prune", "--grace=-1h", `grace = "-1h"`, `%s: not a length of time such as 30d or 1h30m (units s, m, h, d, w): "-1h"`},
		{"prune", "--dangling-age=5", `dangling_age = "5"`, `%s: not a length of time such as 30d or 1h30m (units s, m, h, d, w): "5"`},
		{"prune", "--workers=-1", "workers = -1", "%s -1: want no negative number"},
		{"prune", "--remove=", "remove = []", "%s: want at least one fingerprint"},
		{"prune", "--remove=0123,xyz", `remove = ["0123", "xyz"]`, "%s xyz: want a fingerprint, or its beginning, of the digits 0-9 and a-f"},
		{"prune", "--stream=a,a", `streams = ["a", "a"]`, "%s: a is given twice"},
		{"prune", "--sign-passphrase=f", `sign_passphrase = local("f")`, "%s is that of sign key, which is missing"},
		{"prune", "--max-drop=2", "max_drop = 2", "%s 2: want a share from 0 to 1"},
		{"verify", "--max-drop=2", "max_drop = 2", "%s 2: want a share from 0 to 1"},
		{"list", "--stream=.x", `streams = [".x"]`, `%s: the name ".x" is hidden`},
		{"add", "--stream=a/b", `stream = "a/b"`, `%s: the name "a/b" has '/' in it`},
		{"add", "--distribution=a:b", `distribution = "a:b"`, `%s: the name "a:b" has ':' in it`},
		{"add", "--variant=", `variant = ""`, `%s: empty name`},
		{"add", "--version=-1", `version = "-1"`, `%s: the name "-1" starts with a dash`},
	}
	for _, test := range tests {
		t.Run(test.word+" "+test.flag, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("IMAGEBUILDER_CACHE", filepath.Join(dir, "cache"))
			flag, _, _ := strings.Cut(test.flag, "=")
			args := []string{"stream", test.word, filepath.Join(dir, "srv"), test.flag}
			call := fmt.Sprintf("stream_%s(%q, %s)", test.word, filepath.Join(dir, "srv"), test.argument)
			if test.word == "add" {
				args = append(args, "file")
				call = fmt.Sprintf("stream_add([local(\"file\")], %q, %s)", filepath.Join(dir, "srv"), test.argument)
			}
			others := strings.NewReplacer("retain days", "--retain-days", "retain builds", "--retain-builds", "sign key", "--sign-key")
			if got, want := failure(t, args...), fmt.Sprintf(others.Replace(test.reason), flag); got != want {
				t.Errorf("the flag: %s\nwant %s", got, want)
			}

			recipe := filepath.Join(dir, "recipe.star")
			if err := os.WriteFile(recipe, []byte("def main():\n    "+call+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			name, value, _ := strings.Cut(test.argument, " = ")
			if key, _, isDict := strings.Cut(strings.TrimPrefix(value, "{"), ": "); isDict && name == "page" {
				name = "page[" + key + "]"
			}
			others = strings.NewReplacer("retain days", "retain_days", "retain builds", "retain_builds", "sign key", "sign_key")
			want := "stream_" + test.word + ": " + fmt.Sprintf(others.Replace(test.reason), name)
			if got := failure(t, "plan", recipe); !strings.HasSuffix(got, ": "+want) {
				t.Errorf("the argument: %s\nwant %s", got, want)
			}
		})
	}
}

// The same goes for the options of a packed image.
func TestPackOptionsAreChecked(t *testing.T) {
	tests := []struct {
		kind     string
		flag     string // with its value
		argument string // the same
		reason   string // with the name of the option as %s
	}{
		{"lxd", "--type=both", `type = "both"`, "%s both: want split or unified"},
		{"lxd", "--compression=gzp", `compression = "gzp"`, `%s: unknown compression "gzp"; known are bzip2, gzip, lz4, lzip, lzma, lzo, none, xz, zstd`},
		{"lxd", "--compression=zstd-99", `compression = "zstd-99"`, "%s: the compression zstd of a tar archive takes a level from 1 to 22, not 99"},
		{"lxc", "--compression=", `compression = ""`, `%s: unknown compression ""; known are bzip2, gzip, lz4, lzip, lzma, lzo, none, xz, zstd`},
		{"lxc", "--compression=lz4-99", `compression = "lz4-99"`, "%s: the compression lz4 of a tar archive takes no level"},
	}
	for _, test := range tests {
		t.Run(test.kind+" "+test.flag, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("IMAGEBUILDER_CACHE", filepath.Join(dir, "cache"))
			flag, _, _ := strings.Cut(test.flag, "=")
			got, want := failure(t, "build-"+test.kind, filepath.Join(dir, "missing.yaml"), test.flag), fmt.Sprintf(test.reason, flag)
			if got, _, _ = strings.Cut(got, "; see "); got != want {
				t.Errorf("the flag: %s\nwant %s", got, want)
			}

			recipe := filepath.Join(dir, "recipe.star")
			call := fmt.Sprintf("pack_%s(rootfs(image(\"x\")), image(\"x\"), %s)", test.kind, test.argument)
			if err := os.WriteFile(recipe, []byte("def main():\n    "+call+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			name, _, _ := strings.Cut(test.argument, " = ")
			want = "pack_" + test.kind + ": " + fmt.Sprintf(test.reason, name)
			if got := failure(t, "plan", recipe); !strings.HasSuffix(got, ": "+want) {
				t.Errorf("the argument: %s\nwant %s", got, want)
			}
		})
	}
}

// failure returns the error of a command line, without what the tool adds to it.
func failure(t *testing.T, args ...string) string {
	t.Helper()
	p := newProgram("imagebuilder")
	p.root.SetArgs(args)
	p.root.SetOut(new(bytes.Buffer))
	p.root.SetErr(new(bytes.Buffer))
	p.root.SilenceErrors, p.root.SilenceUsage = true, true
	err := p.root.Execute()
	if err == nil {
		t.Fatalf("%v: no error", args)
	}
	return err.Error()
}

package pack_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/pack"
)

func TestLXCArchive(t *testing.T) {
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("needs xz (Debian package xz-utils)")
	}
	created := time.Unix(1700000000, 0)
	tests := []struct {
		name string
		m    pack.LXCMetadata
		want string // name and content, in order
	}{
		{"nothing", pack.LXCMetadata{Expires: created}, `
			create-message: ""
			expiry: "1700000000"
			excludes-user: ""`},
		{"levels", pack.LXCMetadata{Expires: created, CreateMessage: "hello\n", Config: []pack.LXCConfig{
			{Type: "all", Before: 5, Content: "A"},
			{Type: "user", After: 4, Content: "B"},
			{Type: "system", Before: 2, After: 3, Content: "C"},
		}}, `
			create-message: "hello"
			expiry: "1700000000"
			excludes-user: ""
			config: "C"
			config-user: "B"
			config-user.1: "A"
			config-user.2: "A"
			config-user.3: "A"
			config-user.4: "A"
			config.1: "A C"
			config.2: "A"
			config.3: "A"
			config.4: "A C"`},
		{"the usual", pack.LXCMetadata{
			Expires: created, Devices: []string{"./dev/null", "./dev/tty"}, Templates: []string{"/etc/hostname"},
			Config: []pack.LXCConfig{{Type: "all", After: 4, Content: "new"}, {Type: "all", Content: "always"}},
		}, `
			create-message: ""
			expiry: "1700000000"
			excludes-user: "./dev/null ./dev/tty"
			config: "new always"
			config-user: "new always"
			config-user.1: "always"
			config-user.2: "always"
			config-user.3: "always"
			config-user.4: "always"
			config.1: "always"
			config.2: "always"
			config.3: "always"
			config.4: "always"
			templates: "/etc/hostname"`},
	}
	for _, test := range tests {
		dir := t.TempDir()
		test.m.Created = created
		if err := test.m.Write(context.Background(), dir, "meta.tar.xz"); err != nil {
			t.Fatal(err)
		}
		if got := members(t, dir); got != strings.ReplaceAll(test.want, "\t", "") {
			t.Errorf("%s: got:%s\nwant:%s", test.name, got, test.want)
		}
	}
}

// members lists what is in meta.tar.xz, with the lines of each file.
func members(t *testing.T, dir string) string {
	t.Helper()
	names, err := exec.Command("tar", "-tf", dir+"/meta.tar.xz").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("tar", "-xf", dir+"/meta.tar.xz", "-C", dir).Run(); err != nil {
		t.Fatal(err)
	}
	list := ""
	for _, name := range strings.Fields(string(names)) {
		data, err := os.ReadFile(dir + "/" + name)
		if err != nil || !strings.HasSuffix(string(data), "\n") {
			t.Errorf("%s: %q, %v", name, data, err)
		}
		list += "\n" + name + `: "` + strings.ReplaceAll(strings.TrimSuffix(string(data), "\n"), "\n", " ") + `"`
	}
	return list
}

func TestLXCConfigCheck(t *testing.T) {
	for kind, ok := range map[string]bool{"all": true, "system": true, "user": true, "": false, "ALL": false} {
		if err := (pack.LXCConfig{Type: kind}).Check(); (err == nil) != ok {
			t.Errorf("type %q: %v", kind, err)
		}
	}
}

// Where no file config comes of it, LXC does not take the image.
func TestTakenByLXC(t *testing.T) {
	for _, test := range []struct {
		summary string
		config  []pack.LXCConfig
		want    bool
	}{
		{"for all", []pack.LXCConfig{{Type: "all"}}, true},
		{"for privileged ones", []pack.LXCConfig{{Type: "user"}, {Type: "system", After: 4}}, true},
		{"for unprivileged ones", []pack.LXCConfig{{Type: "user"}}, false},
		{"for older levels", []pack.LXCConfig{{Type: "all", Before: 5}}, false},
	} {
		if got := pack.TakenByLXC(test.config); got != test.want {
			t.Errorf("%s: %v", test.summary, got)
		}
	}
}

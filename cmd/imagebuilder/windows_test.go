package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"imagebuilder/builtins/windows"
)

// The tests of this file make a small medium for each version of Windows, put drivers into it
// and compare everything on the new one with what a plan says.

// media are what there is in the world: NAME=VALUE for testdata/windows/make.
var media = []struct {
	version, arch string
	settings      []string
	hives         []string // that the plan tells of, if not all three
}{
	{"w11", "amd64", []string{"name=Windows 11 Pro", "build=10.0.22621"}, nil},
	{"w11", "ARM64", []string{"name=Windows 11 Pro", "build=10.0.26100", "bios="}, nil},
	{"w10", "amd64", []string{"name=Windows 10 Home", "build=10.0.19045", "windows=WINDOWS", "ext=esd"}, nil},
	{"w10", "x86", []string{"name=Unnamed", "build=10.0.19045"}, nil},
	{"w8.1", "amd64", []string{"name=Windows 8.1 Pro", "build=6.3.9600"}, nil},
	{"w8", "amd64", []string{"name=Windows 8 Pro", "build=6.2.9200"}, nil},
	{"w7", "amd64", []string{"name=Windows 7 PROFESSIONAL", "build=6.1.7601", "legacy=yes", "hives=SYSTEM SOFTWARE"}, []string{"SOFTWARE", "SYSTEM"}},
	{"xp", "x86", []string{"name=Windows XP", "build=5.1.2600", "legacy=yes", "hives=system software"}, []string{"SOFTWARE", "SYSTEM"}},
	{"2k25", "amd64", []string{"name=Windows Server 2025 SERVERSTANDARD", "build=10.0.26100"}, nil},
	{"2k22", "amd64", []string{"name=Windows Server 2022 SERVERSTANDARD", "build=10.0.20348"}, nil},
	{"2k19", "amd64", []string{"name=Windows Server 2019 SERVERSTANDARD", "build=10.0.17763"}, nil},
	{"2k16", "amd64", []string{"name=Windows Server 2016 SERVERSTANDARD", "build=10.0.14393"}, nil},
	{"2k12R2", "amd64", []string{"name=Windows Server 2012 R2 SERVERSTANDARD", "build=6.3.9600"}, nil},
	{"2k12", "amd64", []string{"name=Windows Server 2012 SERVERSTANDARD", "build=6.2.9200"}, nil},
	{"2k8R2", "amd64", []string{"name=Windows Server 2008 R2 SERVERSTANDARD", "build=6.1.7601", "legacy=yes", "hives=SYSTEM SOFTWARE"}, []string{"SOFTWARE", "SYSTEM"}},
	{"2k8", "x86", []string{"name=Windows Server 2008 SERVERSTANDARD", "build=6.0.6003", "legacy=yes", "hives=SYSTEM SOFTWARE"}, []string{"SOFTWARE", "SYSTEM"}},
	{"2k3", "amd64", []string{"name=Windows Server 2003", "build=5.2.3790", "legacy=yes", "hives=system software"}, []string{"SOFTWARE", "SYSTEM"}},
}

// archIDs are the values of ARCH in the XML of WIM files.
var archIDs = map[string]string{"x86": "0", "amd64": "9", "ARM64": "12"}

// needWindows skips a test where it cannot make media.
func needWindows(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes minutes")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: builds")
	}
	for _, need := range windows.Needs {
		if _, err := exec.LookPath(need[0]); err != nil {
			t.Skipf("needs %s: apt-get install %s", need[0], need[1])
		}
	}
}

// printed runs a program and returns what it prints.
func printed(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var out, diag bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &diag
	cmd.Env = append(os.Environ(), "IMAGEBUILDER_CACHE="+filepath.Join(dir, "cache"))
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, &out, &diag)
	}
	return out.String()
}

func TestRepackWindows(t *testing.T) {
	needWindows(t)
	maker, err := filepath.Abs("../../testdata/windows/make")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range media {
		t.Run(test.version+"-"+test.arch, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			printed(t, dir, append([]string{maker, ".", "version=" + test.version, "arch=" + test.arch, "xmlarch=" + archIDs[test.arch]}, test.settings...)...)
			recipe := `def main(): repack_windows(local("windows.iso"), local("virtio-win.iso"), name = "new.iso")`
			if err := os.WriteFile(filepath.Join(dir, "recipe.star"), []byte(recipe), 0o644); err != nil {
				t.Fatal(err)
			}
			r := repacked{t: t, dir: dir}
			r.plan()
			printed(t, dir, "imagebuilder", "run", "recipe.star", ".")
			r.open()
			for i, name := range []string{"boot", "install"} {
				for index := 1; index <= i+1; index++ {
					r.checkImage(name, index)
				}
			}
			r.checkRest()
			r.checkBoot(!slices.Contains(test.settings, "bios="))
			want := test.hives
			if want == nil {
				want = []string{"DRIVERS", "SOFTWARE", "SYSTEM"}
			}
			if got := slices.Sorted(maps.Keys(r.registry)); !slices.Equal(got, want) {
				t.Errorf("the plan tells of %q", got)
			}
		})
	}
}

// repacked is a medium and what was made of it.
type repacked struct {
	t        *testing.T
	dir      string
	files    map[string]string                       // what an image is to have besides, and what of the drivers
	registry map[string]map[string]map[string]string // by hive, key and name
	drivers  *windows.Volume
	old, new *windows.Volume
}

// plan reads what the images are to have.
func (r *repacked) plan() {
	var steps []struct {
		Args    map[string]json.RawMessage
		Details map[string]string
	}
	if err := json.Unmarshal([]byte(printed(r.t, r.dir, "imagebuilder", "plan", "recipe.star", "--json")), &steps); err != nil {
		r.t.Fatal(err)
	}
	r.files, r.registry = make(map[string]string), make(map[string]map[string]map[string]string)
	for name, arg := range steps[0].Args {
		var list []string
		if !strings.HasPrefix(name, "files for ") {
			continue
		}
		if err := json.Unmarshal(arg, &list); err != nil {
			r.t.Fatal(err)
		}
		for _, line := range list {
			from, to, _ := strings.Cut(line, " to ")
			for _, name := range strings.Split(to, ", ") {
				r.files[strings.ToLower(name)] = from
			}
		}
	}
	for _, text := range steps[0].Details {
		var key map[string]string
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if value, ok := strings.CutPrefix(line, "    "); ok {
				name, _, _ := strings.Cut(value, " = ")
				key[strings.ToLower(name)] = value
				continue
			}
			hive, path, _ := strings.Cut(line, `\`)
			if r.registry[hive] == nil {
				r.registry[hive] = make(map[string]map[string]string)
			}
			path = strings.ToLower(strings.Replace(path, "CurrentControlSet", "ControlSet002", 1))
			if key = r.registry[hive][path]; key == nil {
				key = make(map[string]string)
				r.registry[hive][path] = key
			}
		}
	}
	if len(r.files) < 20 || len(r.registry["SYSTEM"]) < 10 {
		r.t.Fatalf("the plan has %d files and %d keys", len(r.files), len(r.registry["SYSTEM"]))
	}
}

func (r *repacked) open() {
	for name, v := range map[string]**windows.Volume{"virtio-win.iso": &r.drivers, "windows.iso": &r.old, "new.iso": &r.new} {
		volume, err := windows.OpenVolume(filepath.Join(r.dir, name))
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { volume.Close() })
		*v = volume
	}
}

// isWIM tells whether a file of a medium is one of images.
func isWIM(name string) bool { return path.Ext(name) == ".wim" || path.Ext(name) == ".esd" }

// checkRest compares all that is not in images.
func (r *repacked) checkRest() {
	if r.new.Label != r.old.Label {
		r.t.Errorf("the label is %q", r.new.Label)
	}
	var names [2][]string
	for i, v := range []*windows.Volume{r.old, r.new} {
		err := fs.WalkDir(v, ".", func(name string, d fs.DirEntry, err error) error {
			if name != "boot.catalog" { // which genisoimage shows if nobody tells it not to
				names[i] = append(names[i], name)
			}
			return err
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	if !slices.Equal(names[0], names[1]) {
		r.t.Errorf("%q was on the medium, %q is", names[0], names[1])
	}
	for _, name := range names[0] {
		was, err1 := fs.ReadFile(r.old, name)
		is, err2 := fs.ReadFile(r.new, name)
		st, err := fs.Stat(r.old, name)
		if err == nil && !st.IsDir() && !isWIM(name) && (err1 != nil || err2 != nil || !bytes.Equal(was, is)) {
			r.t.Errorf("%s has changed: %v", name, errors.Join(err1, err2))
		}
	}
}

// checkBoot compares what firmware finds.
func (r *repacked) checkBoot(bios bool) {
	if _, err := exec.LookPath("xorriso"); err != nil {
		r.t.Log("not looked at how it boots: needs xorriso")
		return
	}
	report := printed(r.t, r.dir, "xorriso", "-indev", "new.iso", "-report_el_torito", "plain")
	if got := regexp.MustCompile(`boot img : +\d+ +BIOS +y +none .* 8 `).MatchString(report); got != bios {
		r.t.Errorf("BIOS: %v\n%s", got, report)
	}
	if !regexp.MustCompile(`boot img : +\d+ +UEFI +y +none .* 1 `).MatchString(report) {
		r.t.Errorf("it does not boot by UEFI:\n%s", report)
	}
}

// checkImage compares an image with what it was and what it is to have.
func (r *repacked) checkImage(name string, index int) {
	var trees [2]string
	var told [2]*windows.WIM
	for i, v := range []*windows.Volume{r.old, r.new} {
		wim, err := windows.Find(v, "sources/"+name+".wim")
		if err != nil {
			wim, err = windows.Find(v, "sources/"+name+".esd")
		}
		data, err2 := fs.ReadFile(v, wim)
		if err = errors.Join(err, err2); err != nil {
			r.t.Fatal(err)
		}
		if told[i], err = windows.ReadWIM(bytes.NewReader(data)); err != nil {
			r.t.Fatal(err)
		}
		file := filepath.Join(r.dir, fmt.Sprint("wim", i))
		if err := os.WriteFile(file, data, 0o644); err != nil {
			r.t.Fatal(err)
		}
		trees[i] = filepath.Join(r.dir, fmt.Sprint(name, index, i))
		printed(r.t, r.dir, "wimlib-imagex", "extract", file, fmt.Sprint(index), "--dest-dir="+trees[i])
	}
	for i := range told[1].Images {
		if told[1].Images[i].Has == "" {
			r.t.Errorf("%s.wim does not tell what image %d has got", name, i+1)
		}
		told[1].Images[i].Has = ""
	}
	if !reflect.DeepEqual(told[0], told[1]) {
		r.t.Errorf("%s.wim told %+v, tells %+v", name, told[0], told[1])
	}
	was, is := filesIn(r.t, trees[0]), filesIn(r.t, trees[1])
	for file, from := range r.files {
		want, err := fs.ReadFile(r.drivers, from)
		if err != nil || is[file] != string(want) {
			r.t.Errorf("%s %d: %s is not %s of the drivers: %v", name, index, file, from, err)
		}
		delete(is, file)
	}
	for file, content := range is {
		switch {
		case path.Dir(file) == "windows/system32/config":
			r.checkHive(filepath.Join(trees[1], r.spelt(trees[1], file)))
		case was[file] != content:
			r.t.Errorf("%s %d: %s has changed", name, index, file)
		}
		delete(was, file)
	}
	if len(was) > 0 {
		r.t.Errorf("%s %d: %v is gone", name, index, slices.Collect(maps.Keys(was)))
	}
}

// filesIn returns the files of a tree, in lower case, and what is in them.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		all[strings.ToLower(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (r *repacked) spelt(dir, name string) string {
	found, err := windows.Find(os.DirFS(dir), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// checkHive finds every value of the plan in a hive, and what was there.
func (r *repacked) checkHive(file string) {
	export := printed(r.t, r.dir, "hivexregedit", "--export", file, `\`)
	got, key := make(map[string]map[string]string), ""
	for line := range strings.Lines(export) {
		line = strings.TrimRight(line, "\r\n")
		if path, ok := strings.CutPrefix(line, `[\`); ok {
			key = strings.ToLower(strings.TrimSuffix(path, "]"))
			got[key] = make(map[string]string)
		} else if name, data, ok := strings.Cut(line, "="); ok {
			v := exported(r.t, name, data)
			name, _, _ = strings.Cut(v.String(), " = ")
			got[key][strings.ToLower(name)] = v.String()
		}
	}
	if !strings.Contains(export, `"Marker"=dword:00000007`) {
		r.t.Errorf("what was in %s is gone", file)
	}
	for path, values := range r.registry[strings.ToUpper(filepath.Base(file))] {
		for name, want := range values {
			if got[path][name] != want {
				r.t.Errorf("%s, %s: %q, want %q", file, path, got[path][name], want)
			}
		}
		if got[path] == nil {
			r.t.Errorf("%s has no key %s", file, path)
		}
	}
}

// exported reads a value as hivexregedit prints it.
func exported(t *testing.T, name, data string) (v windows.Value) {
	t.Helper()
	if name != "@" {
		v.Name = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(strings.Trim(name, `"`))
	}
	if digits, ok := strings.CutPrefix(data, "dword:"); ok {
		n, err := strconv.ParseUint(digits, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		return windows.Value{Name: v.Name, Type: 4, Data: []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}}
	}
	kind, digits, _ := strings.Cut(strings.TrimPrefix(data, "hex("), "):")
	n, err := strconv.ParseUint(kind, 16, 32)
	if err != nil {
		t.Fatalf("%s=%s: %v", name, data, err)
	}
	v.Type = uint32(n)
	for _, digit := range strings.FieldsFunc(digits, func(r rune) bool { return r == ',' }) {
		b, err := strconv.ParseUint(digit, 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		v.Data = append(v.Data, byte(b))
	}
	return v
}

// What ends the work at any moment leaves the medium as it was, no part of a new one, and
// nothing mounted.
func TestRepackWindowsCrash(t *testing.T) {
	needWindows(t)
	maker, err := filepath.Abs("../../testdata/windows/make")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	printed(t, dir, maker, ".", "megabytes=30", "images=1")
	recipe := `def main(): repack_windows(local("windows.iso"), local("virtio-win.iso"), name = "new.iso")`
	if err := os.WriteFile(filepath.Join(dir, "recipe.star"), []byte(recipe), 0o644); err != nil {
		t.Fatal(err)
	}
	sums := printed(t, dir, "sha256sum", "windows.iso", "virtio-win.iso")
	crash := crasher{t: t, dir: dir}
	whole := crash.build()
	signals := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT}
	for i := range 15 {
		os.RemoveAll(filepath.Join(dir, "out"))
		crash.kill(signals[i%3], rand.N(whole))
		crash.check()
		names, _ := os.ReadDir(filepath.Join(dir, "out"))
		for _, n := range names {
			if n.Name() != "new.iso" {
				t.Fatalf("%s is left", n.Name())
			}
			v, err := windows.OpenVolume(filepath.Join(dir, "out/new.iso"))
			if err != nil {
				t.Fatalf("new.iso is partial: %v\n%s", err, crash.last)
			}
			v.Close()
		}
	}
	if now := printed(t, dir, "sha256sum", "windows.iso", "virtio-win.iso"); now != sums {
		t.Errorf("the media have changed:\n%s%s", sums, now)
	}
	os.RemoveAll(filepath.Join(dir, "out"))
	crash.build()
	left, _ := filepath.Glob(filepath.Join(dir, "cache/staging/*"))
	if len(left) > 0 {
		t.Errorf("%v is left in the cache", left)
	}
}

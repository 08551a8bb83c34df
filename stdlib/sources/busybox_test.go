package sources_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"imagebuilder/builtins/build"
)

// What stands for the source: its build leaves a script that knows what it is called by.
const busyboxMakefile = `busybox: .config
	grep -qx CONFIG_STATIC=y .config
	printf '#!/bin/sh\nif [ "$$1" = --list-full ]; then printf "bin/busybox\\nbin/ls\\nusr/sbin/chroot\\nlinuxrc\\n"; fi\n' >$@
	printf '/bin/ls\n/sbin/$(CROSS_COMPILE)\n' >busybox.links
	chmod 755 $@
defconfig:
	printf '# CONFIG_STATIC is not set\n# CONFIG_STATIC_LIBGCC is not set\n' >.config
`

const busyboxSource = "busybox-1.36.1.tar.bz2"

func busyboxMirror(t *testing.T) *mirror {
	t.Helper()
	for _, program := range []string{"make", "gcc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	m := newMirror(t)
	source := archive{id: "source", prefix: "busybox-1.36.1/", files: map[string]string{"Makefile": busyboxMakefile}}.packed(t, "bz2")
	m.put(busyboxSource, source)
	m.put(busyboxSource+".sha256", fmt.Appendf(nil, "%s  %s\n", sha256Of(source), busyboxSource))
	m.put(busyboxSource+".sig", trusted().detached(source))
	return m
}

func fromBusybox(url, arch, args string) string {
	return fmt.Sprintf("load(\"@stdlib//sources/busybox.star\", \"busybox\")\n"+
		"def made():\n    return busybox(image(\"busybox\", \"1.36.1\", architecture = %q), %q%s)\n", arch, url, args)
}

func TestBusybox(t *testing.T) {
	m := busyboxMirror(t)
	for _, args := range []string{"", keysArgument(trusted().key())} {
		b, err := run(t, fromBusybox(m.http, "x86_64", args))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(read(t, b.dir, "bin/busybox"), "#!/bin/sh\n") {
			t.Error("bin/busybox is no program")
		}
		for _, link := range []string{"bin/ls", "usr/sbin/chroot", "linuxrc"} {
			if target, err := os.Readlink(b.dir + "/" + link); target != "/bin/busybox" {
				t.Errorf("%s leads to %q: %v", link, target, err)
			}
		}
		for _, dir := range []string{"dev", "mnt", "proc", "root", "sys", "tmp"} {
			if st := stat(t, b.dir, dir); st.Mode != 0o40755 {
				t.Errorf("%s is %#o", dir, st.Mode)
			}
		}
		if _, err := os.Lstat(b.dir + "/busybox.src"); err == nil {
			t.Error("the source is there")
		}
	}

	for _, test := range []struct {
		summary, arch, args string
		trouble             func()
		want                []string
	}{
		{"an architecture without compiler", "mips", "", nil, []string{`no compiler for the architecture "mips"`}},
		{"the signature of a stranger", "x86_64", keysArgument(stranger().key()), nil, []string{trusted().id()}},
		{"another checksum", "x86_64", "", func() { m.flip(busyboxSource) }, []string{busyboxSource, sha256Of(m.get(busyboxSource))}},
		{"no checksum", "x86_64", "", func() { m.remove(busyboxSource + ".sha256") }, []string{busyboxSource + ".sha256", "404"}},
		{"another version", "x86_64", "", func() { m.rename(busyboxSource, "busybox-2.tar.bz2") }, []string{busyboxSource, "404"}},
	} {
		if test.trouble != nil {
			test.trouble()
		}
		_, err := run(t, fromBusybox(m.http, test.arch, test.args))
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", test.summary, err, want)
			}
		}
	}
	m.rename("busybox-2.tar.bz2", busyboxSource)
	m.flip(busyboxSource)
	if _, err := run(t, fromBusybox(m.http, "x86_64", ", skip_verification = True")); err != nil {
		t.Error(err)
	}
}

// For machines of other kinds a compiler has to be there before anything begins.
func TestBusyboxCross(t *testing.T) {
	r, err := load(fromBusybox("https://example.org", "s390x", ""))
	if err != nil {
		t.Fatal(err)
	}
	planner := &build.Planner{Has: func(name string) bool { return name != "s390x-linux-gnu-gcc" }}
	must(r.PlanOn(planner))
	err = errors.Join(planner.Missing()...)
	if err == nil || !strings.Contains(err.Error(), "s390x-linux-gnu-gcc is not installed; the Debian package gcc-s390x-linux-gnu brings it") {
		t.Error(err)
	}
}

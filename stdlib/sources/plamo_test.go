package sources_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

var plamoPackages = map[string]pkg{
	"00_base/base-8.0-noarch-B1.tzst":        {files: map[string]string{"etc/os-release": "ID=plamo\n"}, script: "ln -sf os-release etc/release\n"},
	"00_base/bash-5.2-x86_64-B2.txz":         {files: map[string]string{"bin/bash": "#!/none\n"}},
	"00_base/pkgtools8-1.0-x86_64-B1.tzst":   {files: map[string]string{"sbin/installpkg": "#!/bin/sh\ntouch /ran\n"}},
	"00_base/grub-2-x86_64-B1.tzst":          {files: map[string]string{"boot/grub": "grub"}},
	"00_base/devel.txz/gcc-13-x86_64-B1.txz": {files: map[string]string{"usr/bin/gcc": "#!/none\n"}},
	"00_base/zlib-1-x86_64-B1.txz":           {files: map[string]string{"lib/libz.so": "z"}},
	"01_minimum/vim-9-x86_64-B1.txz":         {files: map[string]string{"usr/bin/vim": "#!/none\n"}},
}

func fromPlamo(url, release, args string) string {
	return fmt.Sprintf("load(\"@stdlib//sources/plamo.star\", \"plamo\")\n"+
		"def made():\n    return plamo(image(\"plamo\", %q, architecture = \"x86_64\"), %q%s)\n", release, url, args)
}

func TestPlamo(t *testing.T) {
	m := newMirror(t)
	for _, release := range []string{"6", "8"} {
		m.putPackages(t, "Plamo-"+release+".x/x86_64/plamo", plamoPackages)
	}
	for _, test := range []struct{ release, have, lack string }{{"8.x", "usr/bin/gcc", "usr/bin/vim"}, {"6", "usr/bin/vim", "boot"}} {
		m.requests()
		b, err := run(t, fromPlamo(m.http, test.release, ""))
		if err != nil {
			t.Fatal(err)
		}
		for _, request := range m.requests() {
			if strings.Contains(request, "grub") {
				t.Errorf("asked for %s", request)
			}
		}
		if read(t, b.dir, "lib/libz.so") != "z" || read(t, b.dir, "etc/release") != "ID=plamo\n" || read(t, b.dir, test.have) == "" {
			t.Error("the tree is wrong")
		}
		if entry := read(t, b.dir, "var/log/packages/pkgtools8-1.0-x86_64-B1"); !strings.HasSuffix(entry, "install/slack-desc\nsbin/\nsbin/installpkg\n") {
			t.Errorf("the entry is %q", entry)
		}
		for _, name := range []string{"install", "ran", "busybox.tmp", test.lack} {
			if _, err := os.Lstat(b.dir + "/" + name); err == nil {
				t.Errorf("there is %s", name)
			}
		}
		if !strings.Contains(b.log, "no signature is verified") {
			t.Errorf("nothing is said: %s", b.log)
		}
	}
}

func TestPlamoTrouble(t *testing.T) {
	m := newMirror(t)
	m.putPackages(t, "Plamo-8.x/x86_64/plamo", map[string]pkg{"00_base/grub-2-x86_64-B1.tzst": {}})
	for release, want := range map[string]string{
		"8.x":  "there are no packages in " + m.http + "/Plamo-8.x/x86_64/plamo/00_base",
		"7":    "Plamo-7.x",
		"8.1":  `the release is "8.1", not such as 8.x`,
		"next": `the release is "next", not such as 8.x`,
	} {
		if _, err := run(t, fromPlamo(m.http, release, "")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", release, err)
		}
	}
}

package sources_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The packages of a release that say the most about how they are installed.
var slackwarePackages = map[string]pkg{
	"a/aaa_base-15.0-x86_64-3.txz": {
		files:  map[string]string{"etc/passwd": "root:x:0:0::/root:/bin/sh\n", "var/spool/mail/.keep": "", "usr/bin/.keep": ""},
		script: "( cd usr ; rm -rf adm )\n( cd usr ; ln -sf ../var adm )\n",
	},
	// It comes after aaa_base, so that its file has to follow the link there.
	"a/bash-5.1.016-x86_64-1.txz": {
		files:  map[string]string{"bin/bash": "#!/none\n", "etc/profile.new": "new\n", "usr/adm/bash": "adm\n"},
		script: "config() { if [ ! -r ${1%.new} ]; then mv $1 ${1%.new}; fi; }\nconfig etc/profile.new\n( cd bin ; ln -sf bash sh )\n",
	},
	"a/kernel-huge-5.15.19-x86_64-2.txz":         {files: map[string]string{"boot/vmlinuz": "kernel"}},
	"a/pkgtools-15.0-noarch-42.txz":              {files: map[string]string{"sbin/installpkg": "#!/none\n"}},
	"a/sysvinit-3.01-x86_64-1.txz":               {files: map[string]string{"sbin/init": "#!/none\n"}, script: "if [ -x sbin/init ]; then\n  /sbin/init u\nfi\ntouch etc/configured\nexit 3\n"},
	"a/sysvinit-scripts-15.0-noarch-13.txz":      {files: map[string]string{"etc/rc.d/rc.M": "#!/bin/sh\n/bin/dmesg -s 65536 > /var/log/dmesg\necho done\n"}},
	"a/nodash.txz":                               {},
	"ap/slackpkg-15.0.10-noarch-1.txz":           {files: map[string]string{"etc/slackpkg/mirrors": "# none\n", "usr/sbin/slackpkg": "#!/bin/sh\n"}},
	"ap/bash-completion-2.11-noarch-2.txz":       {files: map[string]string{"usr/share/completion": "x"}},
	"d/perl-5.34.0.txz/perl-5.34.0-x86_64-1.txz": {files: map[string]string{"usr/bin/perl": "#!/none\n"}},
	"d/gcc-11.2.0-x86_64-2.txz":                  {files: map[string]string{"usr/bin/gcc": "#!/none\n"}},
	"d/tree-2.0.2-x86_64-1.txz":                  {files: map[string]string{"usr/bin/tree": "#!/none\n"}},
	"l/elogind-246.10-x86_64-1.txz":              {files: map[string]string{"etc/rc.d/rc.elogind": "#!/bin/sh\n(cd /sys/fs/cgroup; mkdir elogind)\n"}},
	"n/network-scripts-15.0-noarch-19.txz": {files: map[string]string{
		"etc/rc.d/rc.inet1":      "#!/bin/sh\n/sbin/modprobe 8021q\n  modprobe bonding\n",
		"etc/rc.d/rc.inet1.conf": "IPADDR[0]=\"\"\nUSE_DHCP[0]=\"\"\nUSE_DHCP6[0]=\"\"\nUSE_DHCP[1]=\"\"\n",
	}},
}

func slackwareMirror(t *testing.T) *mirror {
	m := newMirror(t)
	m.putPackages(t, "slackware64-15.0/slackware64", slackwarePackages)
	return m
}

func fromSlackware(url, release, args string) string {
	return fmt.Sprintf("load(\"@stdlib//sources/slackware.star\", \"slackware\")\n"+
		"def made():\n    return slackware(image(\"slackware\", %q, architecture = \"x86_64\"), %q%s)\n", release, url, args)
}

// keysArgument is how a recipe gives a source its keys.
func keysArgument(keys ...string) string {
	var quoted []string
	for _, key := range keys {
		quoted = append(quoted, strconv.Quote(key))
	}
	return ", keys = [" + strings.Join(quoted, ", ") + "]"
}

func TestSlackware(t *testing.T) {
	m := slackwareMirror(t)
	for _, style := range []style{nginx, apache} {
		m.style = style
		b, err := run(t, fromSlackware(m.http+"/", "15.0", keysArgument(trusted().key())))
		if err != nil {
			t.Fatal(err)
		}
		for _, request := range m.requests() {
			if strings.Contains(request, "kernel") || strings.Contains(request, "gcc") || strings.Contains(request, "nodash") {
				t.Errorf("asked for %s", request)
			}
		}
		checkSlackware(t, b.dir, m.http)
	}
}

// checkSlackware finds what is wrong with the root file system that was made of a mirror.
func checkSlackware(t *testing.T, dir, url string) {
	t.Helper()
	for name, want := range map[string]string{
		"etc/profile":            "new\n",
		"var/bash":               "adm\n",
		"usr/bin/perl":           "#!/none\n",
		"usr/bin/tree":           "#!/none\n",
		"usr/share/completion":   "x",
		"etc/configured":         "",
		"etc/fstab":              "",
		"etc/slackpkg/mirrors":   url + "/slackware64-15.0\n",
		"etc/rc.d/rc.M":          "#!/bin/sh\n: # /bin/dmesg -s 65536 > /var/log/dmesg\necho done\n",
		"etc/rc.d/rc.inet1":      "#!/bin/sh\necho 8021q\n  echo bonding\n",
		"etc/rc.d/rc.inet1.conf": "IPADDR[0]=\"\"\nUSE_DHCP[0]=\"yes\"\nUSE_DHCP6[0]=\"yes\"\nUSE_DHCP[1]=\"\"\n",
		"etc/rc.d/rc.elogind":    "#!/bin/sh\n( mkdir elogind)\n",
		"var/lib/pkgtools/scripts/sysvinit-3.01-x86_64-1": slackwarePackages["a/sysvinit-3.01-x86_64-1.txz"].script,
	} {
		if got := read(t, dir, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	entry := strings.Split(read(t, dir, "var/log/packages/network-scripts-15.0-noarch-19"), "\n")
	want := []string{
		"PACKAGE NAME:     network-scripts-15.0-noarch-19", "COMPRESSED PACKAGE SIZE:     1K", "UNCOMPRESSED PACKAGE SIZE:     10K",
		"PACKAGE LOCATION: " + url + "/slackware64-15.0/slackware64/n/network-scripts-15.0-noarch-19.txz", "PACKAGE DESCRIPTION:",
		"network-scripts: network-scripts (a package)", "network-scripts:", "FILE LIST:",
		"./", "etc/", "etc/rc.d/", "etc/rc.d/rc.inet1", "etc/rc.d/rc.inet1.conf", "install/", "install/slack-desc", "",
	}
	if !slices.Equal(entry, want) {
		t.Errorf("the entry is\n%q, want\n%q", entry, want)
	}
	for link, want := range map[string]string{"usr/adm": "../var", "bin/sh": "bash", "var/log/packages": "../lib/pkgtools/packages"} {
		if got, err := os.Readlink(dir + "/" + link); got != want {
			t.Errorf("%s leads to %q: %v", link, got, err)
		}
	}
	for _, name := range []string{"install", "busybox.tmp", "boot", "usr/bin/gcc"} {
		if _, err := os.Lstat(dir + "/" + name); err == nil {
			t.Errorf("there is %s", name)
		}
	}
}

func TestSlackwareTrouble(t *testing.T) {
	const bash = "slackware64-15.0/slackware64/a/bash-5.1.016-x86_64-1.txz"
	keys := keysArgument(trusted().key())
	tests := []struct {
		summary string
		release string
		args    string
		trouble func(*mirror)
		want    []string
	}{
		{"a flipped bit", "15.0", keys, func(m *mirror) { m.flip(bash) }, []string{bash}},
		{"the signature of a stranger", "15.0", keys, func(m *mirror) { m.put(bash+".asc", stranger().detached(m.get(bash))) }, []string{bash, stranger().id()}},
		{"no signature", "15.0", keys, func(m *mirror) { m.remove(bash + ".asc") }, []string{bash + ".asc", "404"}},
		{"a release that is not there", "14.9", keys, nil, []string{"slackware64-14.9", "404"}},
		{"a series that is not there", "15.0", keys, func(m *mirror) { m.remove("slackware64-15.0/slackware64/n") }, []string{"slackware64/n", "404"}},
		{"nothing wanted", "15.0", keys, func(m *mirror) {
			for _, s := range []string{"a", "ap", "d", "l", "n"} {
				m.remove("slackware64-15.0/slackware64/" + s)
				m.put("slackware64-15.0/slackware64/"+s+"/README", nil)
			}
		}, []string{"none of the packages"}},
		{"a package without the files to change", "15.0", keys, func(m *mirror) { m.remove("slackware64-15.0/slackware64/n/network-scripts-15.0-noarch-19.txz") }, []string{"/etc/rc.d/rc.inet1"}},
		{"no release", "", keys, nil, []string{"the image has no release"}},
		{"a login page", "15.0", "", func(m *mirror) { m.hinder(bash, portal) }, []string{bash}},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			m := slackwareMirror(t)
			if test.trouble != nil {
				test.trouble(m)
			}
			_, err := run(t, fromSlackware(m.http, test.release, test.args))
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

// Who gives no keys gets what the mirror has, and is told so; older releases have their
// database elsewhere.
func TestSlackwareOld(t *testing.T) {
	m := slackwareMirror(t)
	m.rename("slackware64-15.0/slackware64", "slackware-14.2/slackware")
	recipe := strings.Replace(fromSlackware(m.http, "14.2", ""), `"x86_64"`, `"i686"`, 1)
	b, err := run(t, recipe)
	if err != nil {
		t.Fatal(err)
	}
	if read(t, b.dir, "var/log/packages/tree-2.0.2-x86_64-1") == "" || read(t, b.dir, "etc/slackpkg/mirrors") != m.http+"/slackware-14.2\n" {
		t.Error("the tree is wrong")
	}
	if !strings.Contains(b.log, "anybody on the way can change") {
		t.Errorf("nothing is said: %s", b.log)
	}
	if _, err := run(t, strings.Replace(recipe, `"i686"`, `"s390x"`, 1)); err == nil || !strings.Contains(err.Error(), "known are i686, x86_64") {
		t.Error(err)
	}
}

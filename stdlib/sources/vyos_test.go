package sources_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

func fromVyos(url, arch, args string) string {
	return fmt.Sprintf("load(\"@stdlib//sources/vyos.star\", \"vyos\")\n"+
		"def made():\n    return vyos(image(\"vyos\", \"current\", architecture = %q), %q%s)\n", arch, url, args)
}

// isoImage returns an image of ISO 9660 with the files.
func isoImage(t *testing.T, files map[string]string) []byte {
	t.Helper()
	return imageOf(t, files, func(dir, image string) *exec.Cmd {
		return exec.Command("xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", image, dir)
	})
}

const vyosRelease = "repos/vyos/vyos-nightly-build/releases/latest"

// vyosMirror has a release of which the assets have the names.
func vyosMirror(t *testing.T, names ...string) *mirror {
	t.Helper()
	needUnpacking(t)
	m := newMirror(t)
	data := isoImage(t, map[string]string{"live/filesystem.squashfs": string(squashed(t, map[string]string{"etc/os-release": "ID=vyos\n"})), "live/vmlinuz": "kernel"})
	var assets []string
	for _, name := range names {
		m.put("dl/"+name, data)
		m.put("dl/"+name+".minisig", trustedSignify().minisigned(data))
		for _, file := range []string{name, name + ".minisig"} {
			assets = append(assets, fmt.Sprintf(`{"name":%q,"browser_download_url":"%s/dl/%s"}`, file, m.http, file))
		}
	}
	m.put(vyosRelease, fmt.Appendf(nil, `{"tag_name":"2026.10.01-0042-rolling","assets":[%s]}`, strings.Join(assets, ",")))
	return m
}

func TestVyos(t *testing.T) {
	const name = "vyos-2026.10.01-0042-rolling-generic-amd64.iso"
	signed := keysArgument(trustedSignify().key())
	m := vyosMirror(t, name, "vyos-2026.10.01-0042-rolling-generic-arm64.iso")
	for _, args := range []string{"", signed} {
		for _, arch := range []string{"x86_64", "aarch64"} {
			m.requests()
			b, err := run(t, fromVyos(m.http, arch, args))
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, b.dir, "etc/os-release"); got != "ID=vyos\n" {
				t.Errorf("etc/os-release is %q", got)
			}
			debian := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[arch]
			if asked := strings.Join(m.requests(), " "); !strings.Contains(asked, debian) || strings.Contains(asked, ".minisig") != (args != "") {
				t.Errorf("asked for %s", asked)
			}
		}
	}

	for _, test := range []struct {
		summary, args string
		trouble       func()
		want          []string
	}{
		{"the signature of a stranger", signed, func() { m.put("dl/"+name+".minisig", strangerSignify().minisigned(m.get("dl/"+name))) }, []string{name}},
		{"a flipped bit", signed, func() {
			m.put("dl/"+name+".minisig", trustedSignify().minisigned(m.get("dl/"+name)))
			m.flip("dl/" + name)
		}, []string{name}},
		{"no signature", signed, func() { m.remove("dl/" + name + ".minisig") }, []string{name + ".minisig", "404"}},
		{"no medium", "", func() { m.put(vyosRelease, []byte(`{"tag_name":"x","assets":[{"name":"notes.txt"}]}`)) }, []string{"notes.txt", "iso"}},
		{"no release", "", func() { m.remove(vyosRelease) }, []string{vyosRelease, "404"}},
	} {
		test.trouble()
		_, err := run(t, fromVyos(m.http, "x86_64", test.args))
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", test.summary, err, want)
			}
		}
	}
}

// Of releases from before there were images for several machines, the last medium counts.
func TestVyosOld(t *testing.T) {
	m := vyosMirror(t, "vyos-1.5-rolling-202301010000-amd64.iso", "vyos-1.5-rolling-202301020000-amd64.iso")
	if _, err := run(t, fromVyos(m.http+"/repos/vyos/vyos-nightly-build", "x86_64", "")); err != nil {
		t.Error(err)
	}
	if asked := strings.Join(m.requests(), " "); !strings.Contains(asked, "202301020000") || strings.Contains(asked, "202301010000") {
		t.Errorf("asked for %s", asked)
	}
	if _, err := run(t, fromVyos(m.http, "aarch64", "")); err == nil || !strings.Contains(err.Error(), "vyos-.+-generic-arm64") {
		t.Error(err)
	}
}

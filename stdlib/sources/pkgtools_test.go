package sources_test

import (
	"archive/tar"
	"bytes"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// Packages as makepkg makes them.

// A pkg is a package: its files, of which those that begin with "#!" are programs, its
// script, and its description.
type pkg struct {
	files  map[string]string
	script string
}

// packed returns it compressed, "xz" or "zst".
func (p pkg) packed(t *testing.T, name, extension string) []byte {
	t.Helper()
	files := maps.Clone(p.files)
	if files == nil {
		files = make(map[string]string)
	}
	if p.script != "" {
		files["install/doinst.sh"] = p.script
	}
	parts := strings.Split(name, "-")
	base := strings.Join(parts[:max(len(parts)-3, 1)], "-")
	files["install/slack-desc"] = "|-----handy-ruler---|\n" + base + ": " + base + " (a package)\n" + base + ":\n"
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}))
	made := map[string]bool{".": true}
	var mkdir func(dir string)
	mkdir = func(dir string) {
		if !made[dir] {
			mkdir(path.Dir(dir))
			made[dir] = true
			must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		mkdir(path.Dir(name))
		mode := int64(0o644)
		if strings.HasPrefix(files[name], "#!") || strings.HasPrefix(files[name], "\x7fELF") {
			mode = 0o755
		}
		must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(files[name]))}))
		_, err := w.Write([]byte(files[name]))
		must(err)
	}
	must(w.Close())
	return compress(t, b.Bytes(), extension)
}

// putPackages puts packages into a directory of a mirror, with signatures by the trusted key.
func (m *mirror) putPackages(t *testing.T, dir string, packages map[string]pkg) {
	t.Helper()
	for file, p := range packages {
		extension := "xz"
		if strings.HasSuffix(file, ".tzst") {
			extension = "zst"
		}
		name := path.Base(file)
		data := p.packed(t, strings.TrimSuffix(name, path.Ext(name)), extension)
		m.put(dir+"/"+file, data)
		m.put(dir+"/"+file+".asc", trusted().detached(data))
	}
}

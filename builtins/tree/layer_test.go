package tree_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/tree"
)

// layerTime is when everything in the layers of these tests was changed.
var layerTime = time.Unix(1_000_000_000, 5)

// layerOf makes the archive of a layer from headers of which little is said.
func layerOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == 0 {
			h.Typeflag, content = tar.TypeReg, h.Linkname
			h.Linkname, h.Size = "", int64(len(content))
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		h.Format, h.ModTime = tar.FormatPAX, layerTime
		h.Uid, h.Gid = max(h.Uid, os.Getuid()), max(h.Gid, os.Getgid())
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name, content string) tar.Header { return tar.Header{Name: name, Linkname: content} }
func dir(name string) tar.Header           { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
func symlink(name, text string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: text}
}
func hardlink(name, old string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: old}
}

// lay puts a layer onto a root as a build does.
func lay(root *dirfd.Dir, layer []byte) error {
	removals, err := tree.ScanLayer(bytes.NewReader(layer), &tree.Budget{Bytes: 1 << 20, Entries: 1 << 10})
	if err != nil {
		return err
	}
	return errors.Join(tree.Remove(root, removals), tree.ReadLayer(root, bytes.NewReader(layer)))
}

func TestLayers(t *testing.T) {
	for _, test := range []struct {
		summary string
		before  []string
		layer   []tar.Header
		after   []string // of the dump: path, type, and where a link leads or how long a file is
		err     string
	}{{
		summary: "a whiteout removes a file or a tree of the layers below, and is not there itself",
		before:  []string{"etc/a=1", "etc/d/x=1", "etc/b=1"},
		layer:   []tar.Header{dir("etc/"), file("etc/.wh.a", ""), file("etc/.wh.d", ""), file("etc/.wh.none", "")},
		after:   []string{"/etc dir", "/etc/b file 1"},
	}, {
		summary: "a whiteout takes nothing away that its own layer adds, wherever it stands",
		before:  []string{"etc/d/x=1"},
		layer:   []tar.Header{dir("etc/d/"), file("etc/d/y", "22"), file("etc/.wh.d", ""), file("etc/a", "22"), file("etc/.wh.a", "")},
		after:   []string{"/etc dir", "/etc/a file 2", "/etc/d dir", "/etc/d/y file 2"},
	}, {
		summary: "an opaque directory has only what its own layer adds, wherever the marker stands",
		before:  []string{"etc/d/x=1", "etc/d/y/z=1", "etc/k=1"},
		layer:   []tar.Header{dir("etc/d/"), file("etc/d/n", "22"), file("etc/d/.wh..wh..opq", ""), file("etc/d/y", "22")},
		after:   []string{"/etc dir", "/etc/d dir", "/etc/d/n file 2", "/etc/d/y file 2", "/etc/k file 1"},
	}, {
		summary: "what aufs keeps for itself is left out",
		layer:   []tar.Header{file(".wh..wh.aufs", ""), dir(".wh..wh.plnk/"), file(".wh..wh.plnk/1.2", "x"), file("a", "1")},
		after:   []string{"/a file 1"},
	}, {
		summary: "a directory over a link to one keeps the link",
		before:  []string{"usr/lib/k=1", "lib->usr/lib"},
		layer:   []tar.Header{dir("lib/"), file("lib/m", "22"), file("lib/.wh.k", "")},
		after:   []string{"/lib link usr/lib", "/usr dir", "/usr/lib dir", "/usr/lib/m file 2"},
	}, {
		summary: "links of layers below lead to places in the image",
		before:  []string{"abs->$HOST", "up->../..", "outside=1"},
		layer:   []tar.Header{file("up/outside", "22")},
		after:   []string{"/abs link HOST", "/outside file 2", "/up link ../.."},
	}, {
		summary: "a directory takes the place of a file and of a link to none, and a file that of a directory",
		before:  []string{"f=1", "d/x/y=1", "l->none"},
		layer:   []tar.Header{dir("f/"), dir("l/"), file("d", "22")},
		after:   []string{"/d file 2", "/f dir", "/l dir"},
	}, {
		summary: "a file does not go through the link that it takes the place of",
		before:  []string{"a->b", "b=1"},
		layer:   []tar.Header{file("a", "333")},
		after:   []string{"/a file 3", "/b file 1"},
	}, {
		summary: "hard links are kept, also to a file of a layer below",
		before:  []string{"old=1"},
		layer:   []tar.Header{file("a", "22"), hardlink("b", "a"), hardlink("c/d", "/a"), hardlink("e", "./old"), hardlink("a", "a")},
		after:   []string{"/a file 2", "/b hard /a", "/c dir", "/c/d hard /a", "/e file 1", "/old hard /e"},
	}, {
		summary: "pipes are made, directories that are missing as well",
		layer:   []tar.Header{{Name: "dev/p", Typeflag: tar.TypeFifo}},
		after:   []string{"/dev dir", "/dev/p fifo"},
	}, {
		summary: "absolute names are names in the image",
		layer:   []tar.Header{file("/etc/a", "1")},
		after:   []string{"/etc dir", "/etc/a file 1"},
	},
		{summary: "out by ..", layer: []tar.Header{file("../../evil", "x")}, err: `the member "../../evil" leads out of the image`},
		{summary: "out by .. on the way", layer: []tar.Header{file("a/../../evil", "x")}, err: "leads out of the image"},
		{summary: "out by a link of its own", layer: []tar.Header{symlink("out", "/tmp"), file("out/evil", "x")},
			err: `the member "out/evil" is behind the symbolic link /out of the same layer`},
		{summary: "out by a hard link", layer: []tar.Header{hardlink("a", "../../outside")}, err: `the hard link "a" leads out of the image`},
		{summary: "hard link to nothing", layer: []tar.Header{hardlink("a", "b")}, err: "cannot unpack /a: link /b: no such file or directory"},
		{summary: "hard link to a directory", layer: []tar.Header{dir("d"), hardlink("a", "d")}, err: "cannot unpack /a: link /d: operation not permitted"},
		{summary: "a whiteout of the directory it is in", before: []string{"etc/a=1"}, layer: []tar.Header{file("etc/.wh..", "")}, err: "removes nothing that has a name"},
		{summary: "a whiteout of the directory above", before: []string{"etc/a=1"}, layer: []tar.Header{file("etc/.wh...", "")}, err: "removes nothing that has a name"},
		{summary: "a whiteout of nothing", layer: []tar.Header{file(".wh.", "")}, err: "removes nothing that has a name"},
		{summary: "below a whiteout", layer: []tar.Header{file(".wh.a/b", "")}, err: "below something that is removed"},
		{summary: "the root is no file", layer: []tar.Header{file("./.", "x")}, err: "the root of an image is a directory"},
		{summary: "overlayfs' own sign", layer: []tar.Header{{Name: "n", Typeflag: tar.TypeChar}}, err: "there is no device 0:0"},
		{summary: "no such device", layer: []tar.Header{{Name: "n", Typeflag: tar.TypeChar, Devmajor: 1 << 12}}, err: "there is no device 4096:0"},
		{summary: "unknown type", layer: []tar.Header{{Name: "n", Typeflag: 'Z'}}, err: "there is no file of the type 'Z'"},
	} {
		t.Run(test.summary, func(t *testing.T) {
			root, base := newRoot(t, test.before...)
			err := lay(root, layerOf(t, test.layer...))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := outline(t, root, path.Dir(base)); !slices.Equal(got, test.after) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(test.after, "\n"))
			}
		})
	}
}

// outline is a dump without the root, modes, owners and digests.
func outline(t testing.TB, root *dirfd.Dir, host string) []string {
	t.Helper()
	var b bytes.Buffer
	if err := tree.Dump(&b, root); err != nil {
		t.Fatal(err)
	}
	lines := []string{}
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n")[1:] {
		f := strings.Fields(strings.ReplaceAll(line, host, "HOST"))
		switch {
		case f[1] == "hard":
		case f[1] == "file" || f[1] == "link":
			f = []string{f[0], f[1], f[4]}
		default:
			f = f[:2]
		}
		lines = append(lines, strings.Join(f, " "))
	}
	return lines
}

func TestLayerAttributes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for owners and device nodes")
	}
	root, base := newRoot(t, "d/old=1")
	before := time.Unix(900_000_000, 0)
	if err := os.Chtimes(base+"/d", before, before); err != nil {
		t.Fatal(err)
	}
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	err := lay(root, layerOf(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o711},
		tar.Header{Name: "su", Linkname: "x", Mode: 0o4755, Uid: 3, Gid: 4},
		tar.Header{Name: "ping", Linkname: "x", Mode: 0o755, PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.a": "b\x00c", "SCHILY.xattr.trusted.overlay.opaque": "y",
		}},
		tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3},
		tar.Header{Name: "disk", Typeflag: tar.TypeBlock, Mode: 0o660, Devmajor: 8, Devminor: 300, Gid: 6},
		tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "su", Uid: 5, PAXRecords: map[string]string{"SCHILY.xattr.user.a": "b"}},
		file("d/.wh.old", ""), file("d/new", "x"), file("made/f", "x"),
	))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := tree.Dump(&b, root); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`/ dir 0711 0:0
/d dir 0755 0:0
/d/new file 0644 0:0 1 2d711642b726
/disk block 0660 0:6 8:300
/link link 0777 5:0 su
/made dir 0755 0:0
/made/f file 0644 0:0 1 2d711642b726
/null char 0666 0:0 1:3
/ping file 0755 0:0 1 2d711642b726 security.capability=%x user.a=620063
/su file 4755 3:4 1 2d711642b726
`, capability)
	if b.String() != want {
		t.Errorf("got:\n%swant:\n%s", &b, want)
	}
	for name, want := range map[string]time.Time{"/": layerTime, "/su": layerTime, "/link": layerTime, "/made": layerTime, "/d": before} {
		st, err := root.Lstat(name)
		if got := time.Unix(st.Mtim.Unix()); err != nil || !got.Equal(want) {
			t.Errorf("%s was changed at %v, want %v (%v)", name, got, want, err)
		}
	}
}

func TestLayerBudget(t *testing.T) {
	layer := layerOf(t, dir("d"), file("d/a", "12345"), file("d/b", "12345"))
	for _, test := range []struct {
		budget tree.Budget
		err    string
	}{
		{tree.Budget{Bytes: 10, Entries: 3}, ""},
		{tree.Budget{Bytes: 9, Entries: 3}, "with d/b it holds more bytes than are allowed"},
		{tree.Budget{Bytes: 10, Entries: 2}, "it holds more entries than are allowed"},
	} {
		_, err := tree.ScanLayer(bytes.NewReader(layer), &test.budget)
		if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%v: %v", test.budget, err)
		}
	}
	if _, err := tree.ScanLayer(bytes.NewReader(layer[:len(layer)-3000]), &tree.Budget{Bytes: 10, Entries: 3}); err == nil {
		t.Error("half an archive is no error")
	}
}

// FuzzLayerArchive reads archives of any bytes: nothing outside the root is touched, and
// what ScanLayer refuses is refused before anything is.
func FuzzLayerArchive(f *testing.F) {
	f.Add(layerOf(f, dir("etc/"), file("etc/.wh.a", ""), file("etc/d/.wh..wh..opq", ""), symlink("l", "/"), hardlink("h", "etc/b"), file("etc/b", "x")))
	f.Add(layerOf(f, file("../../outside", "x")))
	f.Add(layerOf(f, symlink("out", "../.."), file("out/outside", "x")))
	f.Fuzz(func(t *testing.T, layer []byte) {
		root, _ := newRoot(t, "etc/a=1", "etc/d/x=1", "up->../..", "abs->$HOST")
		if err := lay(root, layer); err != nil {
			return
		}
		err := root.Walk("/", func(name string, _ *unix.Stat_t) error {
			if strings.HasPrefix(path.Base(name), ".wh.") {
				t.Errorf("%s is in the tree", name)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// FuzzWhiteouts puts two layers of a few names onto each other and compares what is there
// with what a model of paths says, for any order of the second.
func FuzzWhiteouts(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4}, []byte{0, 9, 18, 27, 5}, uint64(1))
	f.Add([]byte{6, 7, 8, 4, 5}, []byte{10, 2, 20, 30, 11, 3}, uint64(2))
	names := []string{"a", "b", "d/a", "d/b", "d/e/a", "d/e/b", "g/a", "g/d/a", "g/d/b"}
	f.Fuzz(func(t *testing.T, lower, upper []byte, seed uint64) {
		if len(lower) > 20 || len(upper) > 20 {
			return
		}
		model := make(map[string]bool)
		var first []tar.Header
		for _, b := range lower {
			name := names[int(b)%len(names)]
			if !model[name] {
				first = append(first, file(name, "1"))
			}
			model[name] = true
		}
		var second []tar.Header
		removed := func(gone func(name string) bool) {
			maps.DeleteFunc(model, func(name string, _ bool) bool { return gone(name) })
		}
		added := make(map[string]bool)
		for _, b := range upper {
			name := names[int(b)%len(names)]
			parent := path.Dir(name)
			switch int(b) / len(names) % 4 {
			case 0:
				second = append(second, file(name, "22"))
				added[name] = true
			case 1:
				second = append(second, file(path.Join(parent, ".wh."+path.Base(name)), ""))
				removed(func(n string) bool { return n == name })
			case 2:
				second = append(second, file(path.Join(parent, ".wh..wh..opq"), ""))
				removed(func(n string) bool { return parent == "." || strings.HasPrefix(n, parent+"/") })
			case 3:
				if parent != "." {
					second = append(second, file(path.Join(path.Dir(parent), ".wh."+path.Base(parent)), ""))
					removed(func(n string) bool { return strings.HasPrefix(n, parent+"/") })
				}
			}
		}
		maps.Copy(model, added)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(second), func(i, j int) { second[i], second[j] = second[j], second[i] })

		root, _ := newRoot(t)
		if err := errors.Join(lay(root, layerOf(t, first...)), lay(root, layerOf(t, second...))); err != nil {
			t.Fatal(err)
		}
		got := []string{}
		err := root.Walk("/", func(name string, st *unix.Stat_t) error {
			if st.Mode&unix.S_IFMT == unix.S_IFREG {
				got = append(got, strings.TrimPrefix(name, "/"))
				if (st.Size == 2) != added[got[len(got)-1]] {
					t.Errorf("%s is of the wrong layer", name)
				}
			}
			return nil
		})
		slices.Sort(got)
		if want := slices.Sorted(maps.Keys(model)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	})
}

package streams_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"imagebuilder/streams"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/imagetree"
)

// built makes files as a builder leaves them and returns their directory.
func built(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const metadataYAML = `architecture: x86_64
creation_date: 1704067200
properties: {os: Ubuntu, release: noble, variant: default, description: "Ubuntu noble"}
`

func metaTar(text string) string {
	return string(imagetree.Tar(map[string]string{"metadata.yaml": text, "templates/": ""}))
}

func (f *fixture) add(edit func(o *streams.AddOptions)) (streams.Added, error) {
	opts := streams.AddOptions{Site: f.tree()}
	edit(&opts)
	return streams.Add(context.Background(), opts)
}

// TestAdd holds where images go, by what they say of themselves.
func TestAdd(t *testing.T) {
	image := map[string]string{"lxd.tar.xz": metaTar(metadataYAML), "rootfs.squashfs": imagetree.Squashfs("rootfs"), "disk.qcow2": imagetree.Qcow2("disk")}
	with := func(name, content string, without ...string) map[string]string {
		files := map[string]string{name: content}
		for key, value := range image {
			if key != name && !slices.Contains(without, key) {
				files[key] = value
			}
		}
		return files
	}
	tests := []struct {
		summary string
		files   map[string]string
		edit    func(o *streams.AddOptions)
		path    string // of the version, below images/
		has     string // file names
		err     string
	}{{
		summary: "a container and a VM",
		files:   image,
		path:    ubuntu + "/" + v1,
		has:     "SHA256SUMS disk.qcow2 lxd.tar.xz rootfs.squashfs",
	}, {
		summary: "other names are no matter",
		files:   map[string]string{"meta.bin": metaTar(metadataYAML), "image.img": imagetree.Squashfs("rootfs"), "image.yaml": "simplestream: {}"},
		path:    ubuntu + "/" + v1,
		has:     "SHA256SUMS image.yaml lxd.tar.xz rootfs.squashfs",
		edit: func(o *streams.AddOptions) {
			var files []string
			for _, name := range []string{"meta.bin", "image.img", "image.yaml"} {
				files = append(files, filepath.Join(o.Files[0], name))
			}
			o.Files = files
		},
	}, {
		summary: "the metadata of both clients",
		files:   with("incus.tar.xz", metaTar(metadataYAML+"\n")),
		path:    ubuntu + "/" + v1,
		has:     "SHA256SUMS disk.qcow2 incus.tar.xz lxd.tar.xz rootfs.squashfs",
	}, {
		summary: "a root file system in a tarball",
		files:   map[string]string{"lxd.tar.xz": metaTar(metadataYAML), "root.tar.xz": string(imagetree.Tar(map[string]string{"etc/": "", "etc/hostname": "x"}))},
		path:    ubuntu + "/" + v1,
		has:     "SHA256SUMS lxd.tar.xz root.tar.xz",
	}, {
		summary: "compressed metadata",
		files:   with("lxd.tar.xz", gzipped(metaTar(metadataYAML))),
		path:    ubuntu + "/" + v1,
		has:     "SHA256SUMS disk.qcow2 lxd.tar.xz rootfs.squashfs",
	}, {
		summary: "the serial names the version",
		files:   with("lxd.tar.xz", metaTar("architecture: aarch64\nproperties: {os: Open SUSE, release: '15.6', serial: 20240203_0405}\n")),
		path:    "open-suse/15.6/arm64/default/20240203_0405",
	}, {
		summary: "or the clock",
		files:   with("lxd.tar.xz", metaTar("architecture: riscv64\nproperties: {os: x, release: y, variant: cloud}\n")),
		path:    "x/y/riscv64/cloud/20240110_0000",
	}, {
		summary: "what is said otherwise wins",
		files:   image,
		edit: func(o *streams.AddOptions) {
			o.Name, o.Version = catalog.Name{Distro: "a", Release: "b", Arch: "c", Variant: "d"}, "20230101"
		},
		path: "a/b/c/d/20230101",
	}, {
		summary: "linked instead of copied",
		files:   image,
		edit:    func(o *streams.AddOptions) { o.Link = true },
		path:    ubuntu + "/" + v1,
	}, {
		summary: "no metadata", files: with("x", "QFI\xfb", "lxd.tar.xz", "disk.qcow2"),
		edit: func(o *streams.AddOptions) { o.Files = []string{filepath.Join(o.Files[0], "x")} },
		err:  "there is no metadata tarball among the files",
	}, {
		summary: "no root file system", files: map[string]string{"lxd.tar.xz": metaTar(metadataYAML)},
		err: "there is no root file system among the files",
	}, {
		summary: "two of a kind", files: with("other.squashfs", imagetree.Squashfs("other")),
		err: "/rootfs.squashfs would both become rootfs.squashfs: add the one that is meant",
	}, {
		summary: "no such file", edit: func(o *streams.AddOptions) { o.Files = []string{"/nowhere"} },
		err: "/nowhere: no such file or directory",
	}, {
		summary: "a device", edit: func(o *streams.AddOptions) { o.Files = []string{"/dev/zero"} },
		err: "not a regular file",
	}, {
		summary: "metadata without a release", files: with("lxd.tar.xz", metaTar("architecture: x86_64\nproperties: {os: x}\n")),
		err: "does not say its release",
	}, {
		summary: "metadata that is none", files: with("lxd.tar.xz", metaTar("[")),
		err: "metadata.yaml: yaml:",
	}, {
		summary: "metadata without end", files: with("lxd.tar.xz", metaTar("x: "+strings.Repeat("y", 2<<20))),
		err: "metadata.yaml is larger than 1048576 bytes",
	}, {
		summary: "a damaged tarball", files: with("lxd.tar.xz", metaTar(metadataYAML)[:600]),
		err: "unexpected EOF",
	}, {
		summary: "a version that leads out", files: image, edit: func(o *streams.AddOptions) { o.Version = "../x" },
		err: "has '/' in it",
	}, {
		summary: "a product that leads out", files: image, edit: func(o *streams.AddOptions) { o.Name.Distro = ".." },
		err: `the name ".." is not one of a file`,
	}, {
		summary: "two streams", files: image, edit: func(o *streams.AddOptions) { o.Streams = []string{"a", "b"} },
		err: "can only be added to one stream",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t)
			source := built(t, test.files)
			added, err := f.add(func(o *streams.AddOptions) {
				o.Files = []string{source}
				if test.edit != nil {
					test.edit(o)
				}
			})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if added.Path != "images/"+test.path || added.Existed {
				t.Errorf("%+v", added)
			}
			if test.has != "" && strings.Join(f.names(added.Path), " ") != test.has {
				t.Errorf("files: %v", f.names(added.Path))
			}
			if names := f.names(filepath.Dir(added.Path)); len(names) != 1 {
				t.Errorf("beside it: %v", names)
			}
			f.build()
			f.verify()
			images, err := streams.List(context.Background(), streams.ListOptions{Site: f.tree()})
			if err != nil || len(images) == 0 || !slices.Contains(added.Fingerprints, images[0].Fingerprint) {
				t.Errorf("%v are not listed: %v %v", added.Fingerprints, images, err)
			}
		})
	}
}

func (f *fixture) names(dir string) []string {
	f.Helper()
	entries, err := os.ReadDir(f.path(dir))
	if err != nil {
		f.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func gzipped(text string) string {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	io.WriteString(w, text)
	w.Close()
	return buf.String()
}

// TestAddAgain holds that an image is not there twice, and that another one of the
// same minute finds a place of its own.
func TestAddAgain(t *testing.T) {
	image := map[string]string{"lxd.tar.xz": metaTar(metadataYAML), "rootfs.squashfs": imagetree.Squashfs("rootfs")}
	for _, listed := range []bool{false, true} {
		f := newFixture(t)
		source := built(t, image)
		files := func(o *streams.AddOptions) { o.Files = []string{source} }
		first, err := f.add(files)
		if err != nil {
			t.Fatal(err)
		}
		if listed {
			f.build()
		}
		again, err := f.add(files)
		if err != nil || !again.Existed || again.Path != first.Path || len(f.names("images/"+ubuntu)) != 1 {
			t.Errorf("listed %v: %+v %v", listed, again, err)
		}
		if err := os.WriteFile(filepath.Join(source, "rootfs.squashfs"), []byte(imagetree.Squashfs("another")), 0o644); err != nil {
			t.Fatal(err)
		}
		other, err := f.add(files)
		if err != nil || other.Existed || other.Version != "20240101_0001" {
			t.Errorf("listed %v: %+v %v", listed, other, err)
		}
		_, err = f.add(func(o *streams.AddOptions) {
			files(o)
			o.Version = v1
			o.Files = append(o.Files, filepath.Join(built(t, map[string]string{"disk.qcow2": imagetree.Qcow2("disk")}), "disk.qcow2"))
		})
		if err == nil || !strings.Contains(err.Error(), "file exists") {
			t.Errorf("listed %v: a version that is taken: %v", listed, err)
		}
		f.build()
		if !slices.Equal(f.listed(), []string{v1, "20240101_0001"}) {
			t.Errorf("listed: %v", f.listed())
		}
		f.verify()
	}
}

// TestAddLeaving holds that a version which is about to be removed is not taken for
// the image's place.
func TestAddLeaving(t *testing.T) {
	f := newFixture(t)
	source := built(t, map[string]string{"lxd.tar.xz": metaTar(metadataYAML), "rootfs.squashfs": imagetree.Squashfs("rootfs")})
	files := func(o *streams.AddOptions) { o.Files = []string{source} }
	if _, err := f.add(files); err != nil {
		t.Fatal(err)
	}
	f.make(versions(ubuntu, v2)...)
	f.build()
	f.prune(retain(1))
	again, err := f.add(files)
	if err != nil || again.Existed || again.Version != "20240101_0001" {
		t.Errorf("%+v %v", again, err)
	}
}

// TestAddUnified holds that unified images are taken apart, and nothing of them is lost.
func TestAddUnified(t *testing.T) {
	for _, program := range []string{"xz", "zstd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s", program)
		}
	}
	var container bytes.Buffer
	w := tar.NewWriter(&container)
	when := time.Date(2024, 1, 1, 0, 0, 0, 500, time.UTC)
	entries := []struct {
		header tar.Header
		body   string
	}{
		{tar.Header{Name: "./metadata.yaml", Typeflag: tar.TypeReg}, metadataYAML},
		{tar.Header{Name: "templates/hostname.tpl", Typeflag: tar.TypeReg}, "{{ container.name }}"},
		{tar.Header{Name: "rootfs/", Typeflag: tar.TypeDir}, ""},
		{tar.Header{Name: "rootfs/bin/sh", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}, "#!"},
		{tar.Header{Name: "rootfs/bin/bash", Typeflag: tar.TypeLink, Linkname: "rootfs/bin/sh"}, ""},
		{tar.Header{Name: "rootfs/etc/mtab", Typeflag: tar.TypeSymlink, Linkname: "/proc/mounts"}, ""},
		{tar.Header{Name: "rootfs/dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}, ""},
	}
	for _, e := range entries {
		e.header.Size, e.header.ModTime, e.header.Format = int64(len(e.body)), when, tar.FormatPAX
		if err := w.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, e.body)
	}
	w.Close()
	vm := string(imagetree.Tar(map[string]string{"metadata.yaml": metadataYAML, "rootfs.img": imagetree.Qcow2("disk")}))

	t.Run("container", func(t *testing.T) {
		for _, program := range []string{"xz", "zstd", "bzip2", "gzip", ""} {
			f := newFixture(t)
			source := built(t, map[string]string{"image.tar": filter(t, program, container.String())})
			added, err := f.add(func(o *streams.AddOptions) { o.Files = []string{filepath.Join(source, "image.tar")} })
			if err != nil {
				t.Fatal(program, err)
			}
			if got := strings.Join(f.names(added.Path), " "); got != "SHA256SUMS lxd.tar.xz root.tar.xz" {
				t.Errorf("files: %s", got)
			}
			meta, _ := untar(t, f.path(added.Path+"/lxd.tar.xz"))
			if strings.Join(meta, " ") != "metadata.yaml templates/hostname.tpl" {
				t.Errorf("metadata: %v", meta)
			}
			root, headers := untar(t, f.path(added.Path+"/root.tar.xz"))
			if strings.Join(root, " ") != "./ ./bin/sh ./bin/bash ./etc/mtab ./dev/null" {
				t.Errorf("root: %v", root)
			}
			sh := headers["./bin/sh"]
			if sh.Mode != 0o4755 || sh.Uid != 7 || sh.PAXRecords["SCHILY.xattr.user.x"] != "y" || !sh.ModTime.Equal(when) ||
				headers["./bin/bash"].Linkname != "./bin/sh" || headers["./etc/mtab"].Linkname != "/proc/mounts" || headers["./dev/null"].Devminor != 3 {
				t.Errorf("%+v", headers)
			}
			f.build()
			f.verify()
		}
	})
	t.Run("virtual machine", func(t *testing.T) {
		f := newFixture(t)
		source := built(t, map[string]string{"image.tar.xz": filter(t, "xz", vm)})
		added, err := f.add(func(o *streams.AddOptions) { o.Files = []string{filepath.Join(source, "image.tar.xz")} })
		if err != nil || f.read(added.Path+"/disk.qcow2") != imagetree.Qcow2("disk") {
			t.Errorf("%+v %v", added, err)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		whole := filter(t, "xz", container.String())
		for _, data := range []string{
			whole[:len(whole)-20], // the end of the file, after that of the archive
			whole[:len(whole)/2] + "x" + whole[len(whole)/2+1:],
			string(imagetree.Tar(map[string]string{"metadata.yaml": metadataYAML, "rootfs.img": "raw"})),
		} {
			f := newFixture(t)
			source := built(t, map[string]string{"image.tar.xz": data})
			if _, err := f.add(func(o *streams.AddOptions) { o.Files = []string{filepath.Join(source, "image.tar.xz")} }); err == nil {
				t.Error("it was added")
			}
			if f.exists("images/"+ubuntu) && len(f.names("images/"+ubuntu)) > 0 {
				t.Errorf("left over: %v", f.names("images/"+ubuntu))
			}
		}
	})
}

// filter returns what a program makes of a text.
func filter(t *testing.T, program, text string) string {
	t.Helper()
	if program == "" {
		return text
	}
	cmd := exec.Command(program, "-c")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func untar(t *testing.T, name string) ([]string, map[string]*tar.Header) {
	t.Helper()
	out, err := exec.Command("xz", "-dc", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	headers := make(map[string]*tar.Header)
	r := tar.NewReader(bytes.NewReader(out))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return names, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		headers[h.Name] = h
	}
}

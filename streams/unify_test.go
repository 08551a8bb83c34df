package streams_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
)

// unify makes one archive of a metadata tarball and a root file system and describes it, one
// entry a line.
func unify(t *testing.T, meta []byte, root string, disk bool) ([]string, error) {
	t.Helper()
	metaFile := filepath.Join(t.TempDir(), "meta")
	if err := os.WriteFile(metaFile, meta, 0o644); err != nil {
		t.Fatal(err)
	}
	parts := streams.Parts{Disk: disk}
	for name, to := range map[string]**os.File{metaFile: &parts.Meta, root: &parts.Root} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		*to = f
	}
	var first, second bytes.Buffer
	if err := streams.Unify(context.Background(), &first, parts); err != nil {
		return nil, err
	}
	if err := streams.Unify(context.Background(), &second, parts); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("the second time it is another one: %v", err)
	}
	return entries(t, &first), nil
}

// entries describes the entries of an archive.
func entries(t *testing.T, r io.Reader) (lines []string) {
	t.Helper()
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%c %s %o %d:%d", h.Typeflag, h.Name, h.Mode, h.Uid, h.Gid)
		switch {
		case h.Linkname != "":
			line += " -> " + h.Linkname
		case h.Devmajor != 0:
			line += fmt.Sprintf(" %d,%d", h.Devmajor, h.Devminor)
		case len(data) > 0 && len(data) < 20:
			line += fmt.Sprintf(" %q", data)
		case len(data) > 0:
			line += fmt.Sprintf(" %d bytes", len(data))
		}
		lines = append(lines, line)
	}
}

func TestUnify(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	meta := imagetree.Tar(map[string]string{"./": "", "./metadata.yaml": "architecture: x86_64", "rootfs/evil": "x", "templates/": ""})
	tests := []struct {
		summary string
		meta    []byte
		root    string
		disk    bool
		want    []string
		err     string
	}{{
		summary: "a tarball",
		meta:    meta,
		root:    file("root.tar", imagetree.Tar(map[string]string{"./": "", "./etc/": "", "./etc/issue": "hello"})),
		want: []string{
			"0 metadata.yaml 644 0:0 20 bytes", "5 templates 755 0:0", "5 rootfs/ 755 0:0", "5 rootfs/etc/ 755 0:0", `0 rootfs/etc/issue 644 0:0 "hello"`,
		},
	}, {
		summary: "a disk",
		meta:    meta,
		root:    file("disk.qcow2", []byte("QFI\xfb...")),
		disk:    true,
		want:    []string{"0 metadata.yaml 644 0:0 20 bytes", "5 templates 755 0:0", `0 rootfs.img 644 0:0 "QFI\xfb..."`},
	}, {
		summary: "no metadata",
		meta:    imagetree.Tar(map[string]string{"readme": "x"}),
		root:    file("disk2.qcow2", []byte("QFI\xfb...")),
		disk:    true,
		err:     "metadata: there is no metadata.yaml",
	}, {
		summary: "no archive",
		meta:    meta,
		root:    file("root2.tar", []byte("nothing")),
		err:     "root file system: ",
	}, {
		summary: "the beginning of a squashfs image",
		meta:    meta,
		root:    file("cut.squashfs", []byte("hsqs...")),
		err:     "root file system: cannot read the superblock",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			got, err := unify(t, test.meta, test.root, test.disk)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %v\n%s", err, strings.Join(got, "\n"))
			}
		})
	}
}

// TestUnifySquashfs holds that all that an archive can have comes out of a squashfs image.
func TestUnifySquashfs(t *testing.T) {
	for _, tool := range []string{"mksquashfs", "unsquashfs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs squashfs-tools")
		}
	}
	tree, image := filepath.Join(t.TempDir(), "tree"), filepath.Join(t.TempDir(), "image")
	err := errors.Join(os.Mkdir(tree, 0o755), os.Mkdir(tree+"/bin", 0o755))
	for name, text := range map[string]string{"bin/sh": "hello", "empty": "", `sp ace"\`: "x", "new\nline": "y", "caf\xe9": "z", "#": "", "large": strings.Repeat("x", 300000)} {
		err = errors.Join(err, os.WriteFile(filepath.Join(tree, name), []byte(text), 0o644))
	}
	err = errors.Join(err, os.Chmod(tree+"/bin/sh", 0o755|os.ModeSetuid), os.Link(tree+"/bin/sh", tree+"/bin/ash"), os.Symlink(`a "b"\ c`, tree+"/link"))
	if err != nil {
		t.Fatal(err)
	}
	nodes := []string{"-p", "dev d 755 0 0", "-p", "dev/null c 666 0 0 1 3", "-p", "dev/sda b 660 0 0 8 0", "-p", "fifo i 600 0 0 f", "-p", "socket i 600 0 0 s"}
	args := append([]string{tree, image, "-quiet", "-no-progress", "-no-xattrs", "-all-root"}, nodes...)
	if out, err := exec.Command("mksquashfs", args...).CombinedOutput(); err != nil {
		t.Skipf("mksquashfs: %v: %s", err, out)
	}
	got, err := unify(t, imagetree.Tar(map[string]string{"metadata.yaml": "x"}), image, false)
	want := []string{
		`0 metadata.yaml 644 0:0 "x"`, "5 rootfs/ 755 0:0", "0 rootfs/# 644 0:0", "5 rootfs/bin/ 755 0:0",
		`0 rootfs/bin/ash 4755 0:0 "hello"`, "1 rootfs/bin/sh 4755 0:0 -> rootfs/bin/ash", "0 rootfs/caf\xe9 644 0:0 \"z\"",
		"5 rootfs/dev/ 755 0:0", "3 rootfs/dev/null 666 0:0 1,3", "4 rootfs/dev/sda 660 0:0 8,0",
		"0 rootfs/empty 644 0:0", "6 rootfs/fifo 600 0:0", "0 rootfs/large 644 0:0 300000 bytes", `2 rootfs/link 777 0:0 -> a "b"\ c`,
		"0 rootfs/new\nline 644 0:0 \"y\"", `0 rootfs/sp ace"\ 644 0:0 "x"`,
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

package pack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

// A root file system as a tar archive, alone or together with its metadata.

// tarArgs make an archive of a root file system the same from the same files, with all
// that makes up an image: numeric owners, extended attributes (and so capabilities) and
// ACLs, but neither the names of this host's users nor times that only say when the tree was
// read. Holes are zeros, which compress to nothing: where they are depends on what the file
// system made of a file, and tar names a member with holes by its own process.
var tarArgs = []string{
	"--create", "--sort=name", "--format=posix",
	"--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
	"--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls",
}

// Tar packs the root file system as a tar archive whose members begin with "./".
func (j Job) Tar(ctx context.Context, c Compression) error {
	return j.tar(ctx, c, nil, "--directory="+sandbox.RootfsDir, ".")
}

// metaDir is where the programs find the metadata of a unified image.
const metaDir = "meta"

// Unified packs metadata and root file system as one archive for LXD, the metadata
// first, so that LXD has read them when the bulk comes. Only the names of members and
// of hard links move below rootfs/: the texts of symbolic links are what they are.
func (j Job) Unified(ctx context.Context, m Metadata, c Compression) error {
	return j.unified(ctx, m, c, "--transform=flags=rhS;s,^\\.\\(/\\|$\\),rootfs\\1,", "--directory="+sandbox.RootfsDir, ".")
}

// UnifiedDisk packs metadata and a disk, a file in the directory of the job, which it removes,
// as one archive for LXD.
func (j Job) UnifiedDisk(ctx context.Context, m Metadata, c Compression, disk string) error {
	const name = "rootfs.img" // what LXD knows a disk by
	if err := os.Rename(filepath.Join(j.Dir, disk), filepath.Join(j.Dir, name)); err != nil {
		return err
	}
	if err := os.Chtimes(filepath.Join(j.Dir, name), m.Created, m.Created); err != nil {
		return err
	}
	if err := j.unified(ctx, m, c, "--directory="+path.Join(sandbox.FilesDir, outDir), name); err != nil {
		return err
	}
	return os.Remove(filepath.Join(j.Dir, name))
}

// unified makes an archive of metadata and of what tar takes by further arguments.
func (j Job) unified(ctx context.Context, m Metadata, c Compression, content ...string) error {
	dir, err := os.MkdirTemp(j.Dir, metaDir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	names := []string{"metadata.yaml"}
	for _, f := range m.files() {
		name := filepath.Join(dir, f.name)
		if f.content == nil { // the directory, which comes before what is in it
			names = append(names, path.Clean(f.name))
			if err := host.Mkdir(name); err != nil {
				return err
			}
			continue
		}
		// Whatever the umask takes away.
		err := os.WriteFile(name, f.content, 0o644)
		if err := errors.Join(err, os.Chmod(name, 0o644), os.Chtimes(name, m.Created, m.Created)); err != nil {
			return err
		}
	}
	if len(names) > 1 {
		if err := os.Chtimes(filepath.Join(dir, "templates"), m.Created, m.Created); err != nil {
			return err
		}
	}
	args := append([]string{"--directory=" + path.Join(sandbox.FilesDir, metaDir)}, names...)
	return j.tar(ctx, c, []sandbox.Mount{{At: path.Join(sandbox.FilesDir, metaDir), Source: dir}}, append(args, content...)...)
}

// plainArchive is an archive that is still to be compressed, in the directory of the job.
const plainArchive = "archive.tar"

func (j Job) tar(ctx context.Context, c Compression, more []sandbox.Mount, args ...string) error {
	if c.Method == "xz" {
		plain := j
		plain.Name = plainArchive
		defer os.Remove(filepath.Join(j.Dir, plainArchive))
		if err := plain.tar(ctx, Compression{Method: "none", Level: -1}, more, args...); err != nil {
			return err
		}
		return j.compressArchive(ctx, c, plainArchive, usualCuts)
	}
	command := append([]string{"tar"}, tarArgs...)
	if c.Program() != "" {
		command = append(command, "--use-compress-program="+host.Quote(c.command()))
	}
	if j.Epoch != "" {
		command = append(command, "--mtime=@"+string(j.Epoch), "--clamp-mtime")
	}
	command = append(command, "--file="+j.target())
	if err := j.run(ctx, j.Out, more, append(command, args...)...); err != nil {
		return fmt.Errorf("cannot make %s: %w", j.Name, err)
	}
	return c.date(filepath.Join(j.Dir, j.Name), j.Epoch)
}

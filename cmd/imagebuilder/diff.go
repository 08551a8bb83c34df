package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins"
	"imagebuilder/builtins/build"
	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/packages"
	"imagebuilder/builtins/tree"
	"imagebuilder/streams/inventory"
)

// What makes two images different.

type diffOptions struct {
	build  buildOptions
	ignore []string
	leave  []string
}

func newDiffCommand() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say in what two images, directories or layers differ",
		Long: `Say by path in what NEW differs from OLD: type, owner, mode, size, time, link, device, extended
attributes (capabilities and access control lists are some) and content, with the first byte of
that; then which packages were added, removed and changed, and how much it all is. Each of OLD
and NEW is
  - a unified archive, a root file system in an archive or squashfs image, or a disk;
  - a directory with the files of one image, such as lxd.tar.xz and rootfs.squashfs;
  - any other directory, as it is;
  - a KEY from 'imagebuilder cache list': the root file system up to that layer.
Paths that begin with a slash are those of root file systems, others are those of what images
have beside them, such as metadata.yaml. Images are unpacked into the cache.

--exclude takes patterns of paths in which * stands for anything, also for slashes; a directory
stands for all that is in it.

The exit status is 0 if there is no difference, 1 if there is one, and 2 for an error.`,
		Example: `  imagebuilder diff yesterday/ today/
  imagebuilder diff old.squashfs new.squashfs --ignore time --exclude '/var/log/*'
  imagebuilder diff 0ee21ab4f7c5 out/rootfs.squashfs --json`,
		Args: args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			differ, err := o.diff(cmd, args[0], args[1])
			switch {
			case err != nil:
				return troubleError{err}
			case differ:
				return statusError(exitError)
			}
			return nil
		},
	}
	o.build.cache.addFlags(cmd)
	o.build.log.addFlags(cmd)
	addJSONFlag(cmd, &o.build.json)
	f := cmd.Flags()
	f.StringSliceVar(&o.ignore, "ignore", nil, "do not tell differences of these `kinds`: "+strings.Join(ignorable, ", "))
	f.StringArrayVar(&o.leave, "exclude", nil, "leave out paths that match a `pattern`; may be repeated")
	return cmd
}

// ignorable are the kinds of differences that somebody may not want to know of.
var ignorable = slices.DeleteFunc(slices.Clone(tree.Kinds), func(kind string) bool { return kind == "type" })

func (o *diffOptions) check() error {
	for i, kind := range o.ignore {
		if kind != "xattr" && !slices.Contains(ignorable, kind) {
			kind = strings.TrimSuffix(kind, "s") // as people say it
		}
		if !slices.Contains(ignorable, kind) {
			hint := "known are " + strings.Join(ignorable, ", ")
			if near := builtins.Nearest(kind, ignorable); near != "" {
				hint = "did you mean " + near + "?"
			}
			return usageError{fmt.Errorf("there is no kind %q to --ignore; %s", o.ignore[i], hint)}
		}
		o.ignore[i] = kind
	}
	return nil
}

// diff prints in what two images differ, and returns whether they do.
func (o *diffOptions) diff(cmd *cobra.Command, old, new string) (differ bool, err error) {
	display := o.build.log.newDisplay(cmd.ErrOrStderr())
	defer display.Close()
	report := o.report(cmd.OutOrStdout())
	err = o.visit(cmd, display, old, func(_ context.Context, was diffSide) error {
		return o.visit(cmd, display, new, func(ctx context.Context, is diffSide) error {
			display.Close()
			for _, side := range []*diffSide{&was, &is} {
				if err := side.readPackages(ctx, display.log); err != nil {
					return err
				}
			}
			c := build.Comparison{Old: was.Compared, New: is.Compared, Ignore: o.ignore, Leave: o.leave}
			totals, err := build.Compare(ctx, c, func(d tree.Difference) error {
				differ = true
				return report.difference(d)
			})
			if err != nil {
				return fmt.Errorf("cannot compare %s with %s: %w", old, new, err)
			}
			sum := diffSum{Old: totals[0], New: totals[1], Packages: changedPackages(was.packages, is.packages)}
			differ = differ || !sum.Packages.none()
			sum.Equal = !differ
			if sum.Repacked, err = otherwisePacked(differ, old, new); err != nil {
				return err
			}
			return report.end(sum, []string{old, new})
		})
	})
	return differ, err
}

// A diffSide is one of what is compared.
type diffSide struct {
	build.Compared
	packages []packages.Package // nil: nobody knows
}

// readPackages finds the packages of a side. Databases that cannot be read are no reason not to
// compare files.
func (s *diffSide) readPackages(ctx context.Context, log *slog.Logger) error {
	found, err := s.Packages(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		err = found.Err()
	}
	if err != nil {
		log.Warn("packages are not compared", "cause", err)
		return nil
	}
	s.packages = append([]packages.Package{}, found.Packages...)
	return nil
}

// visit enters an image, a directory or a layer.
func (o *diffOptions) visit(cmd *cobra.Command, display *display, name string, enter func(context.Context, diffSide) error) error {
	if isKey(name) {
		return o.build.cache.visitLayer(cmd.Context(), name, func(ctx context.Context, room *build.Room) error {
			return enter(ctx, diffSide{Compared: build.Compared{Room: room, System: "/"}})
		})
	}
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("cannot read the image: %w", err)
	}
	files := []string{name}
	switch {
	case info.IsDir():
		if files, err = imageFiles(name); err != nil {
			return err
		}
		if files == nil {
			return visitDirectory(cmd.Context(), name, enter)
		}
	case !info.Mode().IsRegular():
		return fmt.Errorf("cannot compare %s: it is no file and no directory", name)
	}
	return o.build.visitImage(cmd, display, files, func(ctx context.Context, room *build.Room, read inspected) error {
		return enter(ctx, diffSide{Compared: read.compared(room, len(files))})
	})
}

// visitDirectory enters a directory of the host.
func visitDirectory(ctx context.Context, name string, enter func(context.Context, diffSide) error) error {
	dir, err := os.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("cannot read the directory: %w", err)
	}
	defer dir.Close()
	return enter(ctx, diffSide{Compared: build.Compared{Dir: dir, System: "/"}})
}

// compared is what is compared of an image of so many files.
func (i inspected) compared(room *build.Room, files int) build.Compared {
	c := build.Compared{Room: room, System: i.Rootfs}
	if c.System == "" { // of no system, all that there is
		c.System = "/0"
		return c
	}
	for n := range files {
		if dir := fmt.Sprintf("/%d", n); dir != i.Rootfs {
			c.Beside, c.Skip = dir, "rootfs"
			break
		}
	}
	return c
}

// Patterns of the files that an image is made of.
var (
	metadataFiles = []string{"lxd.tar*", "incus.tar*", "meta.tar*"}
	systemFiles   = []string{"rootfs.squashfs", "rootfs.tar*", "disk.qcow2", "disk.img*"}
)

// imageFiles returns the files of the image in a directory: its metadata if there are some,
// and its root file system; nil: there is no image.
func imageFiles(dir string) ([]string, error) {
	var files []string
	for _, patterns := range [][]string{metadataFiles, systemFiles} {
		var found []string
		for _, pattern := range patterns {
			names, err := filepath.Glob(filepath.Join(globQuoted.Replace(dir), pattern))
			if err != nil {
				return nil, err
			}
			found = append(found, slices.DeleteFunc(names, inventory.IsDocument)...)
		}
		if len(found) > 1 {
			return nil, fmt.Errorf("%s holds more than one image: %s; name the file to compare", dir, strings.Join(found, ", "))
		}
		files = append(files, found...)
	}
	if len(files) == 1 && !slices.ContainsFunc(systemFiles, func(p string) bool { ok, _ := filepath.Match(p, filepath.Base(files[0])); return ok }) {
		return nil, nil // metadata alone
	}
	return files, nil
}

// globQuoted makes a path a pattern that it alone matches.
var globQuoted = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// otherwisePacked tells whether two files hold the same, but are not the same.
func otherwisePacked(differ bool, old, new string) (bool, error) {
	for _, name := range []string{old, new} {
		if info, err := os.Stat(name); differ || err != nil || !info.Mode().IsRegular() {
			return false, nil
		}
	}
	was, _, err := digest.File(old)
	if err != nil {
		return false, err
	}
	is, _, err := digest.File(new)
	return was != is, err
}

package disk

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"

	"imagebuilder/builtins/sandbox"
)

// The EFI system partition is made as a file of its own: mkfs.vfat writes no sound file system
// into a part of a larger file.

// mkfsESP makes an empty one in a file of its size.
func (d Disk) mkfsESP(file string) []string {
	return []string{"mkfs.vfat", "--invariant", "-F", "32", "-n", ESPLabel, "-i", strings.ReplaceAll(d.ESPUUID, "-", ""), file}
}

// esp makes and fills it, and puts it at its place on a disk.
func (j Job) esp(ctx context.Context, name string, c Content) (err error) {
	part := name + ".esp"
	file := filepath.Join(j.Dir, part)
	if err := sparse(file, j.Disk.ESPSize); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(file)) }()
	image := path.Join(outDir, part)
	programs := append([]sandbox.Program{{Args: j.Disk.mkfsESP(image)}}, c.fill(image)...)
	if err := j.run(ctx, []sandbox.Mount{{At: wholeDir, Stack: &j.Stack}}, programs...); err != nil {
		return err
	}
	return copyInto(filepath.Join(j.Dir, name), file, j.Disk.espSpan().start)
}

// fill puts the files on it, in an order that is always the same.
func (c Content) fill(image string) []sandbox.Program {
	var programs []sandbox.Program
	for _, dir := range c.Dirs {
		programs = append(programs, sandbox.Program{Args: []string{"mmd", "-i", image, "::" + dir}})
	}
	for _, name := range c.Files {
		programs = append(programs, sandbox.Program{Args: []string{"mcopy", "-m", "-Q", "-i", image, path.Join(wholeDir, ESP, name), "::" + name}})
	}
	return programs
}

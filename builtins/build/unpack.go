package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/unpack"
)

// Archives and images of file systems become part of a root file system.

// Bounds say how much an archive may unpack to, so that a small file cannot fill the disk.
type Bounds struct {
	Size    int64 // in bytes
	Entries int64 // files, directories and so on
}

// Unpack unpacks a file into a directory of the root file system. It is one that Opened has
// made: in a plan, what it is can only be told by its name.
func Unpack(file *File, into string, o unpack.Options, bounds Bounds) (Change, []Need, error) {
	var needs []Need
	for _, program := range unpack.Guess(file.Name, o) {
		needs = append(needs, Need{Name: program})
	}
	if file.Planned() {
		return Change{}, needs, nil
	}
	format, err := unpack.Detect(file.path)
	if err != nil {
		return Change{}, nil, err
	}
	if err := installed(format.Programs(o)); err != nil {
		return Change{}, nil, err
	}
	places := unpack.Places{
		File: path.Join(sandbox.FilesDir, "archive"), Tree: path.Join(sandbox.FilesDir, "tree"), Out: sandbox.RootfsDir, Into: into,
	}
	script, err := format.Script(places, o)
	return Change{Reads: []*File{file}, Do: func(ctx context.Context, _ *Builder, stack sandbox.Stack, out io.Writer) error {
		mounts := beside(stack, []NamedFile{{"archive", file}})
		mounts[0].Into = path.Clean("/" + into)
		mounts[0].MaxSize, mounts[0].MaxEntries = bounds.Size, bounds.Entries
		if fstype := format.FileSystem(o); fstype != "" {
			mounts = append(mounts, sandbox.Mount{At: places.Tree, Source: file.path, FileSystem: fstype})
		}
		spec := sandbox.Spec{Mounts: mounts, AnyNode: true, NoSync: true, NoNet: true}
		programs := sandbox.Programs{List: []sandbox.Program{{Script: script}}, Env: host.Environ(nil)}
		err := sandbox.Run(ctx, spec, programs, out)
		switch {
		case err == nil || context.Cause(ctx) != nil || errors.Is(err, sandbox.ErrOverlay):
			return err
		case errors.Is(err, sandbox.ErrTooMuch):
			err = tooMuch(err)
		}
		if said := unpack.Refused(err); said != "" {
			err = errors.New(said)
		}
		return fmt.Errorf("cannot unpack %s: %w", file.Name, err)
	}}, needs, err
}

// tooMuch says what to do if there is no attack.
func tooMuch(err error) error {
	return fmt.Errorf("%w; if that is right, give unpack a max_size or max_entries", err)
}

// installed finds out whether this machine has programs.
func installed(programs []string) error {
	for _, program := range programs {
		if !host.Installed(program) {
			return host.Missing(program, "")
		}
	}
	return nil
}

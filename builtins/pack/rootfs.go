package pack

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strconv"
	"strings"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

// A root file system as squashfs, and how the programs that pack are run.

// A Job is one file to be made of a root file system.
type Job struct {
	Stack sandbox.Stack
	Dir   string    // directory of the host that gets the file
	Name  string    // of the file
	Out   io.Writer // output of the programs
	Log   *slog.Logger
}

// outDir is where the programs find Job.Dir.
const outDir = "out"

// run runs a program of the host on the root file system, with further mounts.
func (j Job) run(ctx context.Context, out io.Writer, more []sandbox.Mount, args ...string) error {
	spec := sandbox.Spec{
		Mounts: append(more,
			sandbox.Mount{At: sandbox.RootfsDir, Stack: &j.Stack},
			sandbox.Mount{At: path.Join(sandbox.FilesDir, outDir), Source: j.Dir, Writable: true}),
		NoSync: true, // the store syncs the result
		NoNet:  true,
	}
	programs := sandbox.Programs{List: []sandbox.Program{{Args: args}}, Env: host.Environ(nil)}
	return sandbox.Run(ctx, spec, programs, out)
}

// target is what the programs call the file to be made.
func (j Job) target() string { return path.Join(sandbox.FilesDir, outDir, j.Name) }

// Squashfs packs the root file system as a squashfs image. Access control lists,
// which squashfs cannot hold, are lost; that is logged.
func (j Job) Squashfs(ctx context.Context, c Compression) error {
	c, err := c.Squashfs()
	if err != nil {
		return err
	}
	args := []string{"mksquashfs", sandbox.RootfsDir, j.target(),
		"-noappend", "-b", "1M", "-no-exports", "-no-progress", "-no-recovery"}
	if c.Method == "none" {
		args = append(args, "-noI", "-noD", "-noF", "-noX")
	} else {
		args = append(args, "-comp", c.Method)
	}
	if c.Level >= 0 {
		args = append(args, "-Xcompression-level", strconv.Itoa(c.Level))
	}
	lost := &counter{text: "Unrecognised xattr prefix system.posix_acl_"}
	if err := j.run(ctx, io.MultiWriter(j.Out, lost), nil, args...); err != nil {
		return fmt.Errorf("cannot make %s: %w", j.Name, err)
	}
	if lost.n > 0 {
		j.Log.Warn("squashfs holds no access control lists: some are lost", "file", j.Name, "lost", lost.n)
	}
	return nil
}

// counter counts how often a text is written, on lines that come whole.
type counter struct {
	text string
	rest string
	n    int
}

func (c *counter) Write(p []byte) (int, error) {
	lines := strings.Split(c.rest+string(p), "\n")
	c.rest = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		c.n += strings.Count(line, c.text)
	}
	return len(p), nil
}

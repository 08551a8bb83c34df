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
	"imagebuilder/builtins/tree"
	"imagebuilder/builtins/treetask"
)

// How programs that pack are run, and the one for squashfs.

// A Job is one file to be made of a root file system.
type Job struct {
	Stack sandbox.Stack
	Dir   string    // directory of the host that gets the file
	Name  string    // of the file
	Out   io.Writer // output of the programs
	Log   *slog.Logger
	Epoch host.Epoch // no time in the file is later

	Made    func(file string) []Made // results that hold a file of a name, the best first; nil: there are none
	Explain bool                     // say what had to be compressed

	// Progress begins to show how far something of so many bytes is; nil: that is not shown.
	// The writer gets as many bytes as are done.
	Progress func(name string, total int64) io.WriteCloser
}

// Made is a result of before.
type Made struct {
	Dir string // has the file
	Use func() // is called if something was taken from it
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
	programs := sandbox.Programs{List: []sandbox.Program{{Args: args}}, Env: j.Epoch.In(host.Environ(nil))}
	return sandbox.Run(ctx, spec, programs, out)
}

// target is what the programs call the file to be made.
func (j Job) target() string { return path.Join(sandbox.FilesDir, outDir, j.Name) }

// mksquashfs packs the root file system as a squashfs image by the program. It is for the
// methods that only that has, and says on the way which files lose access control lists.
func (j Job) mksquashfs(ctx context.Context, c Compression) error {
	args := []string{"mksquashfs", sandbox.RootfsDir, j.target(),
		"-noappend", "-b", "1M", "-no-exports", "-no-progress", "-no-recovery"}
	if c.Method == "none" {
		args = append(args, "-noI", "-noD", "-noF", "-noX")
	} else {
		args = append(args, "-comp", c.Method)
	}
	if c.Level >= 0 && c.Method != "xz" && c.Method != "lzma" { // which take none there
		args = append(args, "-Xcompression-level", strconv.Itoa(c.Level))
	}
	lost := &counter{text: "Unrecognised xattr prefix system.posix_acl_"}
	if err := j.run(ctx, io.MultiWriter(j.Out, lost), nil, args...); err != nil {
		return fmt.Errorf("cannot make %s: %w", j.Name, err)
	}
	if lost.n == 0 {
		return nil
	}
	answer, err := treetask.Looking.Run(ctx, []sandbox.Stack{j.Stack}, tree.Look{Op: "acls", Path: "/"})
	if err != nil {
		return err
	}
	j.tellLost(answer.Names, len(answer.Names))
	return nil
}

// maxNamed is how many files are named at most where there may be any number.
const maxNamed = 5

// tellLost says whose access control lists are not in the image.
func (j Job) tellLost(files []string, count int) {
	more := ""
	if len(files) > maxNamed {
		files = files[:maxNamed]
	}
	if count > len(files) {
		more = fmt.Sprintf(" and %d more", count-len(files))
	}
	j.Log.Warn(fmt.Sprintf("squashfs holds no access control lists: those of %s%s are lost; let the image set them when it starts, "+
		"as systemd-tmpfiles does, or remove them: setfacl -b", strings.Join(files, ", "), more), "file", j.Name)
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

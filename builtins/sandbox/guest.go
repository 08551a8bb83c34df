package sandbox

import (
	"bytes"
	"path"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/tree"
)

// A guest is a file put into the image for the time of a step. It is removed
// afterwards, with the directories made for it, unless the step made it its own.
type guest struct {
	name    string
	content []byte
	ino     uint64
	made    []string      // missing directories, the deepest first
	before  unix.Stat_t   // the directory that held the first new name
	after   unix.Timespec // its modification time once the guest was in
	where   string        // its path
}

// invite makes the file name, which is not there, and its missing directories.
func invite(root *tree.Root, name string, content []byte, mode uint32) ([]*guest, error) {
	g := &guest{name: name, content: content, where: path.Dir(name)}
	for ; !root.Exists(g.where); g.where = path.Dir(g.where) {
		g.made = append(g.made, g.where)
	}
	var err error
	if g.before, err = root.Lstat(g.where); err != nil {
		return nil, err
	}
	if err := root.Apply(tree.Edit{Op: "write", Path: name, Content: content, Mode: &mode}); err != nil {
		return nil, err
	}
	st, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	g.ino = st.Ino
	dir, err := root.Lstat(g.where)
	g.after = dir.Mtim
	return []*guest{g}, err
}

// leave removes the guest.
func (g *guest) leave(root *tree.Root) error {
	st, err := root.Lstat(g.name)
	if err != nil || st.Ino != g.ino {
		return nil // the step removed or replaced it
	}
	data, err := root.ReadFile(g.name)
	if err != nil || !bytes.Equal(data, g.content) {
		return nil // the step wrote to it
	}
	dir, err := root.Lstat(g.where)
	if err != nil {
		return err
	}
	untouched := dir.Mtim == g.after
	if err := root.RemoveAll(g.name); err != nil {
		return err
	}
	for _, made := range g.made {
		if names, err := root.ReadDir(made); err != nil || len(names) > 0 {
			break
		}
		if err := root.RemoveAll(made); err != nil {
			return err
		}
	}
	if !untouched {
		return nil
	}
	// The step did not change the directory: nor did we, as far as the image shows.
	return onto(root, g.where, func(dir string) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{g.before.Atim, g.before.Mtim}, 0)
	})
}

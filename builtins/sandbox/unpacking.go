package sandbox

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/tree"
)

// How programs of the host put files into an image of which they see nothing, so that no
// link in it can lead them astray.

// unpacked is where in a root file system the files lie before they are moved.
const unpacked = "/.unpacked.tmp"

// An unpacking is a root file system of which programs see an empty directory.
type unpacking struct {
	root *dirfd.Dir
	into string
}

// unpacking returns a mount of the directory, which is not in the tree.
func (s *Stack) unpacking(into string) (part int, u *unpacking, err error) {
	if err := s.mount(s.Point); err != nil {
		return -1, nil, err
	}
	// Of a mount that is not in the tree there can be no other on older kernels.
	part, err = detachPart(s.Point)
	if err != nil {
		return -1, nil, err
	}
	whole, err := detach(s.Point, true)
	if err != nil {
		return -1, nil, errors.Join(err, unix.Close(part))
	}
	root, err := dirfd.Open(fmt.Sprintf("/proc/self/fd/%d", whole), dirfd.InRoot)
	if err := errors.Join(err, unix.Close(whole), unmount(s.Point)); err != nil {
		return -1, nil, errors.Join(err, unix.Close(part))
	}
	return part, &unpacking{root, into}, nil
}

func detachPart(dir string) (part int, err error) {
	root, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		return -1, err
	}
	defer root.Close()
	if err := root.Mkdir(unpacked, tree.Unset); err != nil {
		return -1, err
	}
	err = onto(root, unpacked, func(name string) error {
		part, err = detach(name, true)
		return err
	})
	return part, err
}

// finish moves the files to their place; there may be no unpacking.
func (u *unpacking) finish() error {
	if u == nil {
		return nil
	}
	return tree.Move(u.root, unpacked, u.into)
}

func (u *unpacking) close() {
	if u != nil {
		u.root.Close()
	}
}

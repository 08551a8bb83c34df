package layer

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
)

// What is found in the store may have been damaged since. This file says how far that is
// looked at.

// Intact finds out whether a file of an entry still is what was stored. It is if it has
// its size and neither it nor what is known of it was changed after its description was
// written. Otherwise it is read, as a copy of a store is right, too.
func Intact(file, description string, size int64, sum string) error {
	var st, told unix.Stat_t
	if err := unix.Lstat(file, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: file, Err: err}
	}
	if err := unix.Lstat(description, &told); err != nil {
		return &os.PathError{Op: "lstat", Path: description, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != size || sum == "" {
		return fmt.Errorf("%s is not as it was stored", file)
	}
	if st.Mtim.Nano() <= told.Mtim.Nano() && st.Ctim.Nano() <= told.Ctim.Nano() {
		return nil
	}
	return Read(file, sum)
}

// Read reads a file of an entry to find out whether it has its digest.
func Read(file, sum string) error {
	now, _, err := digest.File(file)
	if err == nil && now.String() != sum {
		err = fmt.Errorf("%s was changed after it was stored", file)
	}
	return err
}

// intact finds out whether the result of a step can be used.
func (e *Entry) intact(step Origin) error {
	st, err := os.Lstat(e.Data())
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return errors.New("its data is no directory")
	}
	if step.Intact == nil {
		return nil
	}
	return step.Intact(e.Data())
}

package layer

import (
	"errors"
	"fmt"
	"os"

	"imagebuilder/builtins/digest"
)

// What is found in the store may have been damaged since. This file says how far that is
// looked at.

// Intact finds out whether a file of an entry still is what was stored. It is if it has
// its size and was last written before its description was; a file that was written to
// since is read, as a copy of a store is right, too.
func Intact(file, description string, size int64, sum string) error {
	st, err := os.Lstat(file)
	if err != nil {
		return err
	}
	told, err := os.Lstat(description)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Size() != size || sum == "" {
		return fmt.Errorf("%s is not as it was stored", file)
	}
	if !st.ModTime().After(told.ModTime()) {
		return nil
	}
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

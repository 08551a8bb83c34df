package builtins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/pack"
)

// Sources is a directory of downloads that users see, beside the store that they do not:
// a file that is there is taken, others are put there.
type Sources struct {
	Dir  string
	Keep bool // else Close removes what was taken from there or put there

	used []string
}

// find returns the file of a request if it is there.
func (s *Sources) find(r fetch.Request, name string) (*File, error) {
	if s == nil {
		return nil, nil
	}
	file, err := openFile(filepath.Join(s.Dir, name), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && r.SHA256 != "" && !strings.EqualFold(r.SHA256, file.sha256) {
		return nil, nil
	}
	if err == nil {
		s.used = append(s.used, filepath.Join(s.Dir, name))
	}
	return file, err
}

// add copies a download there.
func (s *Sources) add(f *File) error {
	if s == nil {
		return nil
	}
	set := []pack.Result{{Path: f.path, Name: f.name, Size: f.size, SHA256: f.sha256}}
	if err := pack.Publish(s.Dir, set); err != nil {
		return fmt.Errorf("cannot keep a download: %w", err)
	}
	s.used = append(s.used, filepath.Join(s.Dir, f.name))
	return nil
}

// Close removes what the run has used there unless it is to be kept, and the directory
// if nothing else is in it.
func (s *Sources) Close() error {
	if s == nil || s.Keep {
		return nil
	}
	var errs []error
	for _, file := range s.used {
		if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	os.Remove(s.Dir) // fails if it is of use to others
	return errors.Join(errs...)
}

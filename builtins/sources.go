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
// a file that is there is taken, others are put there. A hidden file beside each says
// which URL it is of; one that has none was put there by somebody, and is taken.
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
	if url, err := os.ReadFile(s.note(name)); err == nil && string(url) != r.URL {
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
		s.use(name)
	}
	return file, err
}

func (s *Sources) use(name string) {
	s.used = append(s.used, filepath.Join(s.Dir, name), s.note(name))
}

func (s *Sources) note(name string) string { return filepath.Join(s.Dir, "."+name+".url") }

// add copies a download there. At no time is a file there beside the wrong URL.
func (s *Sources) add(f *File, url string) error {
	if s == nil {
		return nil
	}
	err := os.MkdirAll(s.Dir, 0o755)
	if err == nil {
		err = os.RemoveAll(filepath.Join(s.Dir, f.name))
	}
	if err == nil {
		err = os.WriteFile(s.note(f.name), []byte(url), 0o644)
	}
	if err == nil {
		err = pack.Publish(s.Dir, []pack.Result{{Path: f.path, Name: f.name, Size: f.size, SHA256: f.sha256}})
	}
	if err != nil {
		return fmt.Errorf("cannot keep a download: %w", err)
	}
	s.use(f.name)
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

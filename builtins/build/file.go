package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/library"
)

// Files outside of any root file system, each known by a digest, and the notes beside packed
// ones that spare reading them again.

// A File is an immutable file that is known by its digest. Where it lies on the host is
// nobody's business but that of effects.
type File struct {
	Name   string
	Size   int64
	SHA256 string // "" in a plan, where it is not known

	SignedBy    string  // the key by which a download was verified; "": it was not, or is planned
	Fingerprint string  // of an image for LXD, whose last file this is; "" in a plan
	Documents   []*File // what is said of an image, whose last file this is; nil in a plan

	path  string // "" in a plan
	local string // of a file that was on this machine before, its path, also in a plan
	note  string // of one in the store, what is kept there of it; without that it is made anew
}

// MarshalJSON shows a file in plans and keys by what is the same everywhere. Names that a plan
// assumes have angle brackets, which stay as they are.
func (f *File) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		File   string `json:"file"`
		SHA256 string `json:"sha256,omitempty"`
	}{f.Name, f.SHA256})
	return b.Bytes(), err
}

// Planned tells whether the file is one of a plan, which is not there.
func (f *File) Planned() bool { return f.path == "" }

// Renamed is the file under another name.
func (f *File) Renamed(name string) *File {
	renamed := *f
	renamed.Name = name
	return &renamed
}

// Signed is the file as one that a key has signed.
func (f *File) Signed(by string) *File {
	signed := *f
	signed.SignedBy = by
	return &signed
}

// Read returns the content of a small file.
func (f *File) Read() ([]byte, error) {
	data, err := os.ReadFile(f.path)
	if sum := digest.Sum(data).String(); err == nil && sum != f.SHA256 {
		err = errors.Join(f.changed(sum), f.forget())
	}
	return data, err
}

// changed says that a file has another digest than it is known by.
func (f *File) changed(now string) error {
	return fmt.Errorf("%s has changed: it has the SHA-256 %s, not %s; run again", f.Name, now, f.SHA256)
}

// Paths are the paths of files on the host.
func Paths(files []*File) []string {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.path
	}
	return paths
}

// openFile returns a file of the host.
func openFile(path, name string) (*File, error) {
	sum, size, err := digest.File(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	return &File{Name: name, path: path, Size: size, SHA256: sum.String()}, nil
}

// intact reads the file to see whether it has the digest that it is known by.
func (f *File) intact() error {
	now, err := openFile(f.path, f.Name)
	if err == nil && now.SHA256 != f.SHA256 {
		err = f.changed(now.SHA256)
	}
	return err
}

// A description is what is kept of a packed file beside it, so that an unchanged one need
// not be read, and has the name it was packed with.
type description struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func descriptionFile(dir string) string { return filepath.Join(dir, "result.json") }

// describe keeps size and digest of a file beside it.
func describe(dir, name string) error {
	file, err := openFile(filepath.Join(dir, name), name)
	if err != nil {
		return err
	}
	data, err := json.Marshal(description{name, file.Size, file.SHA256})
	if err != nil {
		return err
	}
	return os.WriteFile(descriptionFile(dir), data, 0o600)
}

// described returns the file in a directory as it was described.
func described(dir string) (*File, error) {
	var d description
	data, err := os.ReadFile(descriptionFile(dir))
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	return &File{Name: d.Name, path: filepath.Join(dir, d.Name), note: descriptionFile(dir), Size: d.Size, SHA256: d.SHA256}, err
}

// stillDescribed finds out whether the file in a directory still is what was described.
func stillDescribed(dir string) error {
	f, err := described(dir)
	if err != nil {
		return err
	}
	return layer.Intact(f.path, descriptionFile(dir), f.Size, f.SHA256)
}

// Verify reads what is in a directory of the store, a file that was packed or downloaded or a
// library, to find out whether it still is what was stored.
func Verify(dir string) error {
	if library.IsEntry(dir) {
		return library.Verify(dir)
	}
	f, err := described(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fetch.Verify(dir)
	}
	if err != nil {
		return err
	}
	return layer.Read(f.path, f.SHA256)
}

// forget takes away what is kept of those files that are damaged, without which they are
// made anew.
func forget(files []*File) error {
	for _, f := range files {
		if f.intact() != nil {
			if err := f.forget(); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget takes away what is kept of a damaged file.
func (f *File) forget() error {
	if f.note == "" {
		return nil
	}
	return os.Remove(f.note)
}

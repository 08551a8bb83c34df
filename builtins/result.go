package builtins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"imagebuilder/builtins/layer"
)

// describe keeps size and digest of a result beside it.
func describe(dir, name string) error {
	file, err := openFile(filepath.Join(dir, name), name)
	if err != nil {
		return err
	}
	data, err := json.Marshal(result{file.size, file.sha256})
	if err != nil {
		return err
	}
	return os.WriteFile(resultFile(dir), data, 0o600)
}

type result struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func described(dir, name string) (*File, error) {
	var r result
	data, err := os.ReadFile(resultFile(dir))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	return &File{name: name, path: filepath.Join(dir, name), size: r.Size, sha256: r.SHA256}, err
}

func resultFile(dir string) string { return filepath.Join(dir, "result.json") }

// intact finds out whether a result still is what describe has seen.
func intact(dir, name string) error {
	f, err := described(dir, name)
	if err != nil {
		return err
	}
	return layer.Intact(f.path, resultFile(dir), f.size, f.sha256)
}

// forget takes away the descriptions of those results that are damaged, without which
// they are made anew.
func forget(files []*File) error {
	for _, f := range files {
		if f.intact() == nil {
			continue
		}
		if err := os.Remove(resultFile(filepath.Dir(f.path))); err != nil {
			return err
		}
	}
	return nil
}

// intact reads the file to see whether it has the digest that it is known by.
func (f *File) intact() error {
	now, err := openFile(f.path, f.name)
	if err == nil && now.sha256 != f.sha256 {
		err = fmt.Errorf("%s has changed: it has the SHA-256 %s, not %s", f.name, now.sha256, f.sha256)
	}
	return err
}

// unchanged finds out whether the files that a step has read are those of its key,
// after it has, since they may change while it does. That they do explains any error.
func (s *Step) unchanged(ctx context.Context, err error) error {
	for _, arg := range s.Args {
		f, ok := arg.Value.(*File)
		if !ok || context.Cause(ctx) != nil {
			continue
		}
		if changed := f.intact(); changed != nil {
			return fmt.Errorf("%w; run again", changed)
		}
	}
	return err
}

func openFile(path, name string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	return &File{name: name, path: path, size: size, sha256: hex.EncodeToString(h.Sum(nil))}, nil
}

package matrix

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/registry"
)

// Cells of machines that have nothing but a registry in common: each leaves there what it leaves in
// a directory otherwise, where a publisher takes it from.

// Report is a result as it is given to a shared store, with what the run has made in target. Paths
// in it are below that.
func (r Result) Report(recipe string, options []string, target string) (registry.Report, error) {
	said := registry.Report{Recipe: filepath.Base(recipe), Options: append([]string{}, options...)}
	results := r.Results
	r.Results = nil
	if r.Status != OK {
		results = nil
	}
	var dirs []string
	for _, result := range results {
		name, err := filepath.Rel(target, result.Path)
		if err != nil {
			return said, err
		}
		result.Path = filepath.ToSlash(name)
		r.Results = append(r.Results, result)
		if result.SHA256 == "" {
			continue // a directory
		}
		said.Files = append(said.Files, registry.File{Name: result.Path, Size: result.Size, SHA256: result.SHA256})
		if dir := path.Dir(result.Path); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range dirs {
		f, err := registry.FileOf(target, path.Join(dir, build.SumsName))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return said, err
		}
		said.Files = append(said.Files, f)
	}
	text, err := json.Marshal(r)
	said.Result = text
	return said, err
}

// A Source is a shared store as one takes what became of cells from it.
type Source struct {
	*registry.Share
	Since time.Time // what began before is nothing of theirs
}

// Look is ReadResult of a shared store, with paths below the directory of the cell. Of what cannot be
// trusted the result says why; where nobody can know what became of a cell, the error is a
// [registry.SilentError].
func (s Source) Look(ctx context.Context, c Cell) (Result, error) {
	r, _, err := s.look(ctx, c)
	return r, err
}

// look is Look with what was found; nil: nothing that can be trusted.
func (s Source) look(ctx context.Context, c Cell) (r Result, found *registry.Report, err error) {
	found, err = s.Report(ctx, filepath.Base(c.Recipe), c.Options)
	if err == nil && found == nil {
		return Result{ID: c.ID, Status: NotStarted}, nil, nil
	}
	if err == nil {
		r, err = parseResult(found.Result)
	}
	if err != nil {
		r, err = refused(ctx, c, err)
		return r, nil, err
	}
	if r.Started.Before(s.Since) {
		return Result{ID: c.ID, Status: NotStarted}, nil, nil
	}
	r.ID = c.ID
	return r, found, nil
}

// refused is the result of a cell of which nothing is taken for a reason, unless that is one to end.
func refused(ctx context.Context, c Cell, err error) (Result, error) {
	var silent *registry.SilentError
	if errors.As(err, &silent) || context.Cause(ctx) != nil {
		return Result{}, err
	}
	return Result{ID: c.ID, Status: Failed, Error: err.Error()}, nil
}

// parseResult reads a result whose paths are below the directory of its cell.
func parseResult(text []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("cannot read its result: %w", err)
	}
	if !slices.Contains([]string{OK, Failed, Interrupted, Running}, r.Status) {
		return r, fmt.Errorf("its result has the status %q", r.Status)
	}
	for _, result := range r.Results {
		if !filepath.IsLocal(filepath.FromSlash(result.Path)) {
			return r, fmt.Errorf("its result %q is not below the directory of a cell", result.Path)
		}
	}
	return r, nil
}

// Take takes what became of a cell from a shared store, and what it has made, into its directory
// below out. What is there already stays.
func (s Source) Take(ctx context.Context, out string, c Cell) (Result, error) {
	r, found, err := s.look(ctx, c)
	if err != nil || found == nil {
		return r, err
	}
	dir := filepath.Join(out, c.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return r, err
	}
	if err := takeFiles(ctx, s.Share, dir, found.Files); err != nil {
		return refused(ctx, c, err)
	}
	for i := range r.Results {
		r.Results[i].Path = filepath.Join(dir, filepath.FromSlash(r.Results[i].Path))
	}
	return r, r.Write(filepath.Join(dir, ResultFile))
}

func takeFiles(ctx context.Context, share *registry.Share, to string, files []registry.File) error {
	dir, err := dirfd.Open(to, dirfd.Refuse)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, f := range files {
		if is, err := registry.FileOf(to, f.Name); err == nil && is == f {
			continue
		}
		if err := dir.MkdirAll(path.Dir(f.Name), 0o755); err != nil {
			return err
		}
		err := dir.Replace(f.Name, 0o644, func(w *bufio.Writer) error { return share.TakeFile(ctx, f, w) })
		if err != nil {
			return fmt.Errorf("cannot take %s: %w", f.Name, err)
		}
	}
	return nil
}

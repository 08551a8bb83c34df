package fetch

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// A Shared has files that others have downloaded, by their digests: nobody has to be trusted.
type Shared interface {
	// Body returns the bytes with a SHA-256; the error is [fs.ErrNotExist] where there are none.
	Body(ctx context.Context, sha256 string) (io.ReadCloser, error)
	// Keep notes that a file with a SHA-256 is used, and whether a server has just sent it.
	Keep(ctx context.Context, sha256, file string, isNew bool)
}

// fromShared puts the file that a request asks for into dir, if others have it. What they have may
// be damaged: then the server is asked.
func (c *Client) fromShared(ctx context.Context, r Request, dir string, check check) (there bool, err error) {
	body, err := c.Shared.Body(ctx, r.SHA256)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	name := filepath.Join(dir, "file")
	if err == nil {
		err = errors.Join(c.copyShared(r, body, name, dir, check), body.Close())
	}
	switch {
	case err == nil:
		return true, nil
	case context.Cause(ctx) != nil:
		return true, context.Cause(ctx)
	}
	c.warn("what others have downloaded cannot be used: the server is asked", "url", r.URL, "cause", err)
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, err
	}
	return false, nil
}

func (c *Client) copyShared(r Request, body io.Reader, name, dir string, check check) error {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	p := &fragment{file: file, content: file}
	p.hashFor(r)
	writers := []io.Writer{file, p.hashes()}
	if c.Progress != nil {
		bar := c.Progress.Start(cmp.Or(r.Label, path.Base(fileName(r.URL))), -1)
		defer bar.Close()
		writers = append(writers, bar)
	}
	p.size, err = io.Copy(io.MultiWriter(writers...), io.LimitReader(body, r.MaxSize+1))
	switch {
	case err != nil:
		return err
	case p.size > r.MaxSize:
		return errTooLarge(r.MaxSize)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	p.response.URL = r.URL
	if err := p.verify(r, check); err != nil {
		return err
	}
	return writeResponse(dir, p.response)
}

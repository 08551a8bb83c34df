package library

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/unpack"
)

// Archives of libraries: text and some small files. They are unpacked by this process, whoever
// runs it, so that nothing but directories and regular files comes of one.

// bounds are how much an archive may hold.
type bounds struct {
	size    int64 // of the files, in bytes
	entries int
}

var usual = bounds{size: 256 << 20, entries: 20000}

// maxArchive bounds the size of what is downloaded.
const maxArchive = 64 << 20

// unpackTo unpacks what an archive has below the directory prefix into the empty directory dir,
// and returns what it leaves out: links and devices.
func (b bounds) unpackTo(ctx context.Context, archive, prefix, dir string) (left []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	found := false
	err = b.members(ctx, archive, func(name string, h *tar.Header, content io.Reader) error {
		name, inside := below(name, prefix)
		if !inside {
			return nil
		}
		found = true
		switch {
		case h.Typeflag == tar.TypeDir:
			return root.MkdirAll(name, 0o755)
		case h.Typeflag != tar.TypeReg:
			left = append(left, name)
			return nil
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		return writeFile(root, name, h, content)
	})
	if err == nil && !found {
		err = errors.New("it is empty")
		if prefix != "" {
			err = fmt.Errorf("it has no directory %s, which prefix= names", prefix)
		}
	}
	return left, err
}

func writeFile(root *os.Root, name string, h *tar.Header, content io.Reader) (err error) {
	mode := fs.FileMode(0o644)
	if h.Mode&0o111 != 0 {
		mode = 0o755
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return errors.New("it is there twice")
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	return f.Chmod(mode) // whatever the umask
}

// below returns a name relative to a directory that it is in.
func below(name, dir string) (string, bool) {
	if dir == "" {
		return name, true
	}
	return strings.CutPrefix(name, dir+"/")
}

// commonDirectory returns the one directory that all that an archive has is in, as in archives
// of releases; "" if there is none.
func (b bounds) commonDirectory(ctx context.Context, archive string) (string, error) {
	common, several := "", false
	err := b.members(ctx, archive, func(name string, h *tar.Header, _ io.Reader) error {
		top, _, deeper := strings.Cut(name, "/")
		several = several || !deeper && h.Typeflag != tar.TypeDir || common != "" && top != common
		common = top
		return nil
	})
	if several {
		common = ""
	}
	return common, err
}

// members calls do for each member of a tar archive, compressed or not, with its name as
// package fs has names.
func (b bounds) members(ctx context.Context, archive string, do func(name string, h *tar.Header, content io.Reader) error) (err error) {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := unpack.Stream(ctx, f)
	if err != nil {
		return fmt.Errorf("it cannot be decompressed: %w", err)
	}
	defer plain.Close() // it may not have been read to its end
	bounded := &boundedReader{r: plain, left: b.size + int64(b.entries)<<10, max: b.size}
	var total int64
	entries := 0
	for r := tar.NewReader(bounded); ; {
		h, err := r.Next()
		if err == io.EOF && entries > 0 {
			return nil
		}
		if err != nil {
			return noArchive(err, entries)
		}
		if h.Typeflag == tar.TypeXGlobalHeader { // a comment of git's
			entries++
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
		if name == "" || name == "." {
			entries++
			continue
		}
		if !fs.ValidPath(name) {
			return fmt.Errorf("the name %q leads out of it", h.Name)
		}
		if entries++; entries > b.entries {
			return fmt.Errorf("it has more than %d files", b.entries)
		}
		if total += h.Size; h.Size < 0 || total > b.size {
			return tooLarge(b.size)
		}
		if err := do(name, h, r); err != nil {
			return fmt.Errorf("cannot unpack %s: %w", name, dirfd.Cause(err))
		}
	}
}

func tooLarge(max int64) error {
	return fmt.Errorf("it is larger than %v unpacked, which no library is", bytesize.Size(max))
}

// noArchive says what is wrong with what cannot be read as an archive, behind so many members.
func noArchive(err error, entries int) error {
	if entries == 0 && (errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF) {
		return errors.New("it is no tar archive, which may be compressed")
	}
	return fmt.Errorf("it cannot be read: %w", err)
}

// A boundedReader fails where too much was read.
type boundedReader struct {
	r         io.Reader
	left, max int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, tooLarge(b.max)
	}
	return n, err
}

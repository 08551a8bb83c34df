package streams

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// An output is a file of the site while it is written. Its mode is 0644 whatever
// the umask.
type output struct {
	site *site
	file *os.File
}

// create makes a file that must not be there yet.
func (s *site) create(name string) (*output, error) {
	if err := s.allow("create", name); err != nil {
		return nil, err
	}
	f, err := s.openat(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, false)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o644); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &output{s, f}, nil
}

func (o *output) Write(p []byte) (int, error) {
	if err := o.site.allow("write", o.file.Name()); err != nil {
		return 0, err
	}
	return o.file.Write(p)
}

// sync makes what was written durable.
func (o *output) sync() error {
	if err := o.site.allow("sync", o.file.Name()); err != nil {
		return err
	}
	return o.file.Sync()
}

func (o *output) close() error { return o.file.Close() }

// write makes a new file with what fill writes, and makes it durable.
func (s *site) write(name string, fill func(*bufio.Writer) error) error {
	out, err := s.create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(out, 64<<10)
	err = fill(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = out.sync()
	}
	return errors.Join(err, out.close())
}

// writeHashed is write, and returns the hash of what was written.
func (s *site) writeHashed(name string, fill func(*bufio.Writer) error) (digest, error) {
	h := sha256.New()
	err := s.write(name, func(w *bufio.Writer) error {
		both := bufio.NewWriterSize(io.MultiWriter(w, h), 64<<10)
		if err := fill(both); err != nil {
			return err
		}
		return both.Flush()
	})
	return sumOf(h), err
}

// replace writes a file of a fixed name so that it is there as a whole, old or new,
// at any time. A left-over of one that was killed gives way.
func (s *site) replace(name string, fill func(*bufio.Writer) error) error {
	temp := tempName(name)
	if err := s.remove(temp); err != nil {
		return err
	}
	err := s.write(temp, fill)
	if err == nil {
		err = s.rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, s.remove(temp))
	}
	return s.sync(path.Dir(name))
}

// tempSuffix ends the names of files that are not finished. They are hidden too.
const tempSuffix = ".tmp"

func tempName(name string) string {
	return path.Join(path.Dir(name), "."+path.Base(name)+tempSuffix)
}

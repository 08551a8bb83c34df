package site

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Catalogs, compressed forms, signatures and the index have to change in one moment, or clients
// meet an index that does not fit the catalogs. This file is how.

// A Publication replaces the files of a directory all at once. They are written
// into a hidden directory beside it, into which everything else is linked; then the
// two directories change places. Whoever reads, and whenever the tool is killed,
// there are all the old files or all the new ones.
//
// A file system that cannot do this gets the files renamed one by one, in the order
// in which they were staged: catalogs before the index that lists them.
type Publication struct {
	site   *Files
	dir    string   // that is published
	next   string   // that will be
	staged []string // files in next, in order
	gone   []string // files that shall not be there any more
	page   []string // files in the root directory that have changed, under temporary names
}

const (
	GzipSuffix      = ".gz"
	SignatureSuffix = ".gpg" // as simplestreams has it
)

// NewPublication prepares to publish in dir. A left-over of one that was killed
// gives way.
func NewPublication(f *Files, dir string) (*Publication, error) {
	p := &Publication{site: f, dir: dir, next: path.Join(path.Dir(dir), "."+path.Base(dir)+".next")}
	if err := f.RemoveAll(p.next); err != nil {
		return nil, err
	}
	return p, f.MkdirAll(p.next, DirMode)
}

// Discard removes what was staged.
func (p *Publication) Discard() error {
	var errs []error
	for _, name := range p.page {
		errs = append(errs, p.site.Remove(dirfd.TempName(name)))
	}
	return errors.Join(append(errs, p.site.RemoveAll(p.next))...)
}

// Stage stages a file with its compressed form and its signature. It tells whether the
// file has changed.
func (p *Publication) Stage(name string, signer *Signer, fill func(*bufio.Writer) error) (bool, error) {
	changed, err := p.stage(name, fill)
	if err == nil {
		err = p.stageGzip(name)
	}
	if err == nil {
		err = p.stageSignature(name, signer)
	}
	return changed, err
}

// stage writes a file, unless it would be what it is already. It tells whether it
// has changed.
func (p *Publication) stage(name string, fill func(*bufio.Writer) error) (bool, error) {
	next := path.Join(p.next, name)
	if err := p.site.Write(next, fill); err != nil {
		return false, err
	}
	if p.site.same(next, path.Join(p.dir, name)) {
		return false, p.site.Remove(next)
	}
	p.staged = append(p.staged, name)
	return true, nil
}

// Current returns where the coming content of a file is.
func (p *Publication) Current(name string) string {
	if slices.Contains(p.staged, name) {
		return path.Join(p.next, name)
	}
	return path.Join(p.dir, name)
}

// stageGzip stages the compressed form of a file, unless there is one that unpacks
// to it.
func (p *Publication) stageGzip(name string) error {
	if !slices.Contains(p.staged, name) && p.site.SameUnpacked(path.Join(p.dir, name)) {
		return nil
	}
	err := p.site.compress(p.Current(name), path.Join(p.next, name+GzipSuffix))
	p.staged = append(p.staged, name+GzipSuffix)
	return err
}

// stageSignature stages a file's signature, unless there is a valid one. Without a
// signer, an old signature of a file that has changed must go.
func (p *Publication) stageSignature(name string, signer *Signer) error {
	changed := slices.Contains(p.staged, name)
	if signer == nil {
		if changed {
			p.gone = append(p.gone, name+SignatureSuffix)
		}
		return nil
	}
	if !changed && signer.Verify(p.site, path.Join(p.dir, name)) == nil {
		return nil
	}
	from, err := p.site.OpenRegular(p.Current(name))
	if err != nil {
		return err
	}
	defer from.Close()
	p.staged = append(p.staged, name+SignatureSuffix)
	return p.site.Write(path.Join(p.next, name+SignatureSuffix), func(w *bufio.Writer) error {
		return signer.sign(w, from)
	})
}

// StageSigned stages the form of a staged file that has its signature in it, with the text
// given, unless that is there. Without a signer, that of a file that has changed must go, and
// so must one that leads to it.
func (p *Publication) StageSigned(name string, signer *Signer, text func() ([]byte, error)) error {
	signed := SignedName(name)
	if signer == nil {
		if slices.Contains(p.staged, name) || len(p.gone) > 0 {
			p.gone = append(p.gone, signed)
		}
		return nil
	}
	want, err := text()
	if err != nil {
		return err
	}
	if old, err := signer.ReadSigned(p.site, path.Join(p.dir, signed)); err == nil && bytes.Equal(old, want) {
		return nil
	}
	p.staged = append(p.staged, signed)
	return p.site.Write(path.Join(p.next, signed), func(w *bufio.Writer) error { return signer.signInline(w, want) })
}

// StagePage writes a file of the root directory, unless it would be what it is.
func (p *Publication) StagePage(name string, fill func(*bufio.Writer) error) error {
	_, err := p.stagePage(name, fill)
	return err
}

// StageZippedPage does so with a compressed form beside it, which is the newer one of the two:
// a web server may go by that.
func (p *Publication) StageZippedPage(name string, fill func(*bufio.Writer) error) error {
	changed, err := p.stagePage(name, fill)
	if err != nil || !changed && p.site.SameUnpacked(name) {
		return err
	}
	from, zip := name, name+GzipSuffix
	if changed {
		from = dirfd.TempName(name)
	}
	if err := p.vacate(zip); err != nil {
		return err
	}
	p.page = append(p.page, zip)
	return p.site.compress(from, dirfd.TempName(zip))
}

// stagePage tells whether the file has changed.
func (p *Publication) stagePage(name string, fill func(*bufio.Writer) error) (bool, error) {
	temp := dirfd.TempName(name)
	if err := p.vacate(name); err != nil {
		return false, err
	}
	p.page = append(p.page, name)
	if err := p.site.Write(temp, fill); err != nil {
		return false, err
	}
	if p.site.same(temp, name) {
		p.page = p.page[:len(p.page)-1]
		return false, p.site.Remove(temp)
	}
	return true, nil
}

// vacate removes what is under a file's temporary name. What cannot give way to the file
// is found here, before anything is visible.
func (p *Publication) vacate(name string) error {
	if st, err := p.site.Lstat(name); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return &fs.PathError{Op: "replace", Path: name, Err: unix.EISDIR}
	}
	return p.site.Remove(dirfd.TempName(name))
}

// Commit makes everything visible. It is not cancelled any more once it has begun
// to. It returns the paths of the files that are new.
func (p *Publication) Commit(ctx context.Context) ([]string, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	var changed []string
	if len(p.staged) > 0 {
		if err := p.publish(); err != nil {
			return nil, err
		}
	}
	for _, name := range p.staged {
		changed = append(changed, path.Join(p.dir, name))
	}
	for _, name := range p.page {
		if err := p.site.Rename(dirfd.TempName(name), name); err != nil {
			return changed, err
		}
		changed = append(changed, name)
	}
	if len(p.page) > 0 {
		if err := p.site.Sync("."); err != nil {
			return changed, err
		}
	}
	p.page = nil
	return changed, p.site.RemoveAll(p.next)
}

// publish puts the staged files into place.
func (p *Publication) publish() error {
	err := p.swap()
	if unsupported(err) {
		return p.renameAll()
	}
	return err
}

// swap lets the two directories change places, or gives the new one its name.
func (p *Publication) swap() error {
	old, err := p.site.Lstat(p.dir)
	there := !errors.Is(err, fs.ErrNotExist)
	if there && err == nil {
		err = p.carry()
	}
	if there && err == nil {
		err = p.likeness(&old)
	}
	if there && err != nil {
		return err
	}
	if err := p.site.Sync(p.next); err != nil {
		return err
	}
	if there {
		_, err = p.site.Supplant(p.next, p.dir)
	} else {
		err = p.site.Rename(p.next, p.dir)
	}
	if err != nil {
		return err
	}
	return p.site.Sync(path.Dir(p.dir))
}

// likeness gives the new directory the mode of the old one and, where that is allowed,
// its owner.
func (p *Publication) likeness(old *unix.Stat_t) error {
	p.site.Chown(p.next, int(old.Uid), int(old.Gid)) // only root may give files away
	return p.site.Chmod(p.next, old.Mode&0o7777)
}

// carry links everything that stays as it is into the new directory.
func (p *Publication) carry() error {
	entries, err := p.site.List(p.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if slices.Contains(p.staged, name) || slices.Contains(p.gone, name) {
			continue
		}
		if entry.IsDir() {
			return unix.ENOTSUP // directories cannot be linked
		}
		if err := p.site.Link(path.Join(p.dir, name), path.Join(p.next, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// unsupported tells whether an error is that of a file system that has no exchange
// or no hard links, or of a directory that cannot be moved.
func unsupported(err error) bool {
	for _, no := range []error{unix.ENOSYS, unix.EINVAL, unix.ENOTSUP, unix.EXDEV, unix.EBUSY, unix.EPERM, unix.EMLINK} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// renameAll puts the staged files into place one by one.
func (p *Publication) renameAll() error {
	for _, name := range p.staged {
		if err := p.site.Rename(path.Join(p.next, name), path.Join(p.dir, name)); err != nil {
			return err
		}
	}
	for _, name := range p.gone {
		if err := p.site.Remove(path.Join(p.dir, name)); err != nil {
			return err
		}
	}
	return p.site.Sync(p.dir)
}

// compress writes the compressed form of a file.
func (f *Files) compress(name, to string) error {
	from, err := f.OpenRegular(name)
	if err != nil {
		return err
	}
	defer from.Close()
	return f.Write(to, func(w *bufio.Writer) error {
		// Neither name nor time go into the header, so that equal files stay equal.
		zip, err := gzip.NewWriterLevel(w, gzip.BestCompression)
		if err != nil {
			return err
		}
		_, err = io.Copy(zip, from)
		return errors.Join(err, zip.Close())
	})
}

// same tells whether two files have the same content.
func (f *Files) same(name, other string) bool {
	a, err := f.OpenRegular(name)
	if err != nil {
		return false
	}
	defer a.Close()
	b, err := f.OpenRegular(other)
	if err != nil {
		return false
	}
	defer b.Close()
	return sameContent(a, b)
}

// SameUnpacked tells whether the compressed form of a file unpacks to it.
func (f *Files) SameUnpacked(name string) bool {
	a, err := f.OpenRegular(name)
	if err != nil {
		return false
	}
	defer a.Close()
	b, err := f.OpenRegular(name + GzipSuffix)
	if err != nil {
		return false
	}
	defer b.Close()
	zip, err := gzip.NewReader(bufio.NewReader(b))
	return err == nil && sameContent(a, zip)
}

// sameContent reads no further than to where the two differ: what others have put in the
// place of a catalog may have no end that one could wait for.
func sameContent(a, b io.Reader) bool {
	var partA, partB [32 << 10]byte
	for {
		n, errA := io.ReadFull(a, partA[:])
		m, errB := io.ReadFull(b, partB[:])
		if !bytes.Equal(partA[:n], partB[:m]) {
			return false
		}
		if errA != nil || errB != nil {
			return ended(a) && ended(b) // a compressed form that is cut off has not
		}
	}
}

// ended tells whether a reader is at its end, in order.
func ended(r io.Reader) bool {
	n, err := r.Read(make([]byte, 1))
	return n == 0 && err == io.EOF
}

package streams

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// A publication replaces the files of a directory all at once. They are written
// into a hidden directory beside it, into which everything else is linked; then the
// two directories change places. Whoever reads, and whenever the tool is killed,
// there are all the old files or all the new ones.
//
// A file system that cannot do this gets the files renamed one by one, in the order
// in which they were staged: catalogs before the index that lists them.
type publication struct {
	site   *site
	dir    string   // that is published
	next   string   // that will be
	staged []string // files in next, in order
	gone   []string // files that shall not be there any more
	page   []string // files in the root directory that have changed, under temporary names
}

const (
	gzipSuffix      = ".gz"
	signatureSuffix = ".gpg" // as simplestreams has it
)

// newPublication prepares to publish in dir. A left-over of one that was killed
// gives way.
func newPublication(s *site, dir string) (*publication, error) {
	p := &publication{site: s, dir: dir, next: path.Join(path.Dir(dir), "."+path.Base(dir)+".next")}
	if err := s.removeAll(p.next); err != nil {
		return nil, err
	}
	return p, s.mkdirAll(p.next)
}

// discard removes what was staged.
func (p *publication) discard() error {
	var errs []error
	for _, name := range p.page {
		errs = append(errs, p.site.remove(tempName(name)))
	}
	return errors.Join(append(errs, p.site.removeAll(p.next))...)
}

// stage writes a file, unless it would be what it is already. It tells whether it
// has changed.
func (p *publication) stage(name string, fill func(*bufio.Writer) error) (bool, error) {
	sum, err := p.site.writeHashed(path.Join(p.next, name), fill)
	if err != nil {
		return false, err
	}
	if old, err := p.site.digestOf(path.Join(p.dir, name)); err == nil && old == sum {
		return false, p.site.remove(path.Join(p.next, name))
	}
	p.staged = append(p.staged, name)
	return true, nil
}

// current returns where the coming content of a file is.
func (p *publication) current(name string) string {
	if slices.Contains(p.staged, name) {
		return path.Join(p.next, name)
	}
	return path.Join(p.dir, name)
}

// stageGzip stages the compressed form of a file, unless there is one that unpacks
// to it.
func (p *publication) stageGzip(name string) error {
	if !slices.Contains(p.staged, name) && p.site.sameUnpacked(path.Join(p.dir, name)) {
		return nil
	}
	from, err := p.site.open(p.current(name))
	if err != nil {
		return err
	}
	defer from.Close()
	err = p.site.write(path.Join(p.next, name+gzipSuffix), func(w *bufio.Writer) error {
		// Neither name nor time go into the header, so that equal files stay equal.
		zip, err := gzip.NewWriterLevel(w, gzip.BestCompression)
		if err != nil {
			return err
		}
		_, err = io.Copy(zip, from)
		return errors.Join(err, zip.Close())
	})
	p.staged = append(p.staged, name+gzipSuffix)
	return err
}

// stageSignature stages a file's signature, unless there is a valid one. Without a
// signer, an old signature of a file that has changed must go.
func (p *publication) stageSignature(name string, signer *Signer) error {
	changed := slices.Contains(p.staged, name)
	if signer == nil {
		if changed {
			p.gone = append(p.gone, name+signatureSuffix)
		}
		return nil
	}
	if !changed && signer.verify(p.site, path.Join(p.dir, name)) == nil {
		return nil
	}
	from, err := p.site.open(p.current(name))
	if err != nil {
		return err
	}
	defer from.Close()
	p.staged = append(p.staged, name+signatureSuffix)
	return p.site.write(path.Join(p.next, name+signatureSuffix), func(w *bufio.Writer) error {
		return signer.sign(w, from)
	})
}

// stagePage writes a file of the root directory, unless it would be what it is.
func (p *publication) stagePage(name string, fill func(*bufio.Writer) error) error {
	temp := tempName(name)
	if err := p.site.remove(temp); err != nil {
		return err
	}
	p.page = append(p.page, name)
	sum, err := p.site.writeHashed(temp, fill)
	if err != nil {
		return err
	}
	if old, err := p.site.digestOf(name); err == nil && old == sum {
		p.page = p.page[:len(p.page)-1]
		return p.site.remove(temp)
	}
	return nil
}

// commit makes everything visible. It is not cancelled any more once it has begun
// to. It returns the paths of the files that are new.
func (p *publication) commit(ctx context.Context) ([]string, error) {
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
		if err := p.site.rename(tempName(name), name); err != nil {
			return changed, err
		}
		changed = append(changed, name)
	}
	if len(p.page) > 0 {
		if err := p.site.sync("."); err != nil {
			return changed, err
		}
	}
	p.page = nil
	return changed, p.site.removeAll(p.next)
}

// publish puts the staged files into place.
func (p *publication) publish() error {
	err := p.swap()
	if unsupported(err) {
		return p.renameAll()
	}
	return err
}

// swap lets the two directories change places.
func (p *publication) swap() error {
	old, err := p.site.stat(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return p.place(0)
	}
	if err != nil {
		return err
	}
	if err := p.carry(); err != nil {
		return err
	}
	if err := p.site.likeness(p.next, &old); err != nil {
		return err
	}
	return p.place(unix.RENAME_EXCHANGE)
}

func (p *publication) place(flags uint) error {
	if err := p.site.sync(p.next); err != nil {
		return err
	}
	if err := p.site.rename2(p.next, p.dir, flags); err != nil {
		return err
	}
	return p.site.sync(path.Dir(p.dir))
}

// carry links everything that stays as it is into the new directory.
func (p *publication) carry() error {
	entries, err := p.site.list(p.dir)
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
		if err := p.site.link(path.Join(p.dir, name), path.Join(p.next, name)); err != nil && !errors.Is(err, fs.ErrExist) {
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
func (p *publication) renameAll() error {
	for _, name := range p.staged {
		if err := p.site.rename(path.Join(p.next, name), path.Join(p.dir, name)); err != nil {
			return err
		}
	}
	for _, name := range p.gone {
		if err := p.site.remove(path.Join(p.dir, name)); err != nil {
			return err
		}
	}
	return p.site.sync(p.dir)
}

// digestOf returns the hash of a file's content.
func (s *site) digestOf(name string) (digest, error) {
	f, err := s.open(name)
	if err != nil {
		return digest{}, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return sumOf(h), err
}

// sameUnpacked tells whether the compressed form of a file unpacks to it.
func (s *site) sameUnpacked(name string) bool {
	want, err := s.digestOf(name)
	if err != nil {
		return false
	}
	f, err := s.open(name + gzipSuffix)
	if err != nil {
		return false
	}
	defer f.Close()
	zip, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return false
	}
	h := sha256.New()
	_, err = io.Copy(h, zip)
	return err == nil && sumOf(h) == want
}

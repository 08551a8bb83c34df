package streams

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/magic"
	"imagebuilder/builtins/unpack"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/whole"
)

// What an added image consists of: each file is known by its content, must be all there, and
// of a directory only what belongs together is taken (addchoose.go). Names are said as the
// user knows them, since those of the version mean nothing yet.

// An addedFile is a file to add.
type addedFile struct {
	file *os.File // whose name is the one that the user knows
	time time.Time
	as   string         // name in the version
	sum  *digest.Digest // that came with it, nil if none did
	content
}

func (s *addedFile) name() string { return s.file.Name() }

func (s *addedFile) isRootfs() bool {
	return s.meta == nil && !s.lxc && inventory.Classify(s.as, false).IsRootfs()
}

// unified tells whether it is the whole of an image.
func (s *addedFile) unified() bool { return s.meta != nil && (s.rootfs || s.disk) }

func (a *adder) closeAll() {
	for _, s := range a.sources {
		s.file.Close()
	}
	for _, f := range a.beside {
		f.Close()
	}
}

// collect opens the files and finds out what they are.
func (a *adder) collect(ctx context.Context) error {
	for _, name := range a.opts.Files {
		collect := a.collectNamed
		if st, err := os.Stat(name); err == nil && st.IsDir() {
			collect = a.collectDir
		}
		if err := collect(ctx, name); err != nil {
			return err
		}
	}
	if err := a.arrange(); err != nil {
		return err
	}
	for i := range a.sources {
		s := &a.sources[i]
		if err := s.checkWhole(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
	}
	return nil
}

// arrange finds out which file is what of the image, and what is missing.
func (a *adder) arrange() error {
	as := make(map[string]*addedFile)
	var unified, lxc, root *addedFile
	alone := true // but for what a unified image has not in it
	for i := range a.sources {
		s := &a.sources[i]
		other := as[s.as]
		alone = alone && (len(a.sources) == 1 || s.unified() && unified == nil || inventory.Classify(s.as, false) == inventory.ConfigFile)
		switch {
		case s.lxc:
			lxc = s
			continue
		case s.unified():
			unified, a.meta = s, s.meta
			continue
		case other != nil:
			return fmt.Errorf("%s and %s would both become %s: add the one that is meant", other.name(), s.name(), s.as)
		case s.meta != nil && a.meta == nil:
			a.meta = s.meta
		case s.isRootfs():
			root = s
		}
		as[s.as] = s
	}
	switch {
	case unified != nil && !alone:
		return fmt.Errorf("a unified image is added alone, and %s is one", unified.name())
	case a.meta == nil && lxc != nil:
		return fmt.Errorf("there is no metadata tarball among the files: %s is for LXC, which takes no images from a server of this kind", lxc.name())
	case a.meta == nil:
		return errors.New("there is no metadata tarball among the files")
	case lxc != nil:
		return fmt.Errorf("%s is metadata for LXC, which takes no images from a server of this kind: leave it out", lxc.name())
	case unified == nil && root == nil:
		return errors.New("there is no root file system among the files")
	}
	return nil
}

// collectNamed takes a file that is named by itself. What is said of its hash beside it holds for
// it as well.
func (a *adder) collectNamed(ctx context.Context, name string) error {
	sums, err := readSums(filepath.Dir(name))
	if err != nil {
		return err
	}
	return a.collectFile(ctx, name, sums)
}

// collectFile takes a file, of which hashes may be known by name.
func (a *adder) collectFile(ctx context.Context, name string, sums map[string]digest.Digest) error {
	f, err := os.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", name, dirfd.Cause(err))
	}
	if inventory.IsDocument(filepath.Base(name)) {
		return a.collectDocument(f)
	}
	added := addedFile{file: f, as: filepath.Base(name)}
	if sum, ok := sums[added.as]; ok {
		added.sum = &sum
	}
	a.sources = append(a.sources, added) // from here on it is closed with the others
	if err := a.sources[len(a.sources)-1].recognize(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, dirfd.Cause(err))
	}
	return nil
}

// collectDocument takes a file that says something of the image, under its name.
func (a *adder) collectDocument(f *os.File) error {
	a.beside = append(a.beside, f) // from here on it is closed with the others
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	name := filepath.Base(f.Name())
	if err == nil && slices.ContainsFunc(a.beside[:len(a.beside)-1], func(g *os.File) bool { return filepath.Base(g.Name()) == name }) {
		err = errors.New("another file has that name, too")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	return nil
}

// recognize finds out by its content what a file is, and so its name in a version.
func (s *addedFile) recognize(ctx context.Context) error {
	st, err := s.file.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	s.time = st.ModTime()
	switch inventory.Classify(s.as, false) {
	case inventory.ConfigFile, inventory.DiskUEFI1, inventory.DiskDisk1:
		return nil // raw disks cannot be told from anything
	}
	head, _ := magic.Head(s.file) // an error comes again below
	switch magic.Of(head) {
	case magic.Squashfs:
		s.as = inventory.SquashfsName
		return nil
	case magic.Qcow2:
		s.as = inventory.DiskName
		return nil
	}
	if s.content, err = inspect(ctx, s.file); err != nil {
		return err
	}
	switch {
	case s.meta == nil:
		s.as = inventory.RootTarXZName
	case stem(s.as) == stem(catalog.IncusMeta):
		s.as = catalog.IncusMeta
	default:
		s.as = catalog.LXDMeta
	}
	return nil
}

// checkWhole tells whether all of the file is there. A unified image is read to its end when
// it is taken apart.
func (s *addedFile) checkWhole(ctx context.Context) error {
	st, err := s.file.Stat()
	if err != nil || s.unified() || inventory.Classify(s.as, false) == inventory.ConfigFile {
		return err
	}
	head, err := magic.Head(s.file)
	if err != nil {
		return err
	}
	switch kind := magic.Of(head); {
	case kind == magic.Squashfs:
		return whole.Squashfs(s.file, st.Size())
	case kind == magic.Qcow2:
		return whole.Qcow2(s.file, st.Size())
	case s.meta == nil && s.as != inventory.RootTarXZName:
		return whole.Disk(s.file)
	}
	r, err := unpack.Stream(ctx, io.NewSectionReader(s.file, 0, math.MaxInt64))
	if err != nil {
		return err
	}
	return errors.Join(whole.Tar(r), r.Close())
}

// stem is what the name of an archive is without the end that says how it is compressed.
func stem(name string) string {
	base := filepath.Base(name)
	if i := strings.LastIndex(base, ".tar"); i > 0 {
		return base[:i]
	}
	return base
}

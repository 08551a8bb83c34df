// Package packages reads which packages a root file system has, from what the package managers
// write down there: dpkg, apk, pacman, opkg, xbps, portage and rpm. It runs nothing of the root
// file system, and believes nothing that it reads there to be well-formed.
package packages

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// A Package is one that is installed. What its database does not say is empty.
type Package struct {
	Manager string // dpkg, apk, pacman, opkg, xbps, portage, rpm
	Name    string
	Version string // as the manager prints it, with epoch and release
	Arch    string
	Size    int64 // bytes, installed
	Several bool  // it may be installed for several architectures, and the manager names it with its own

	Source        string // package of the sources, if it has another name
	SourceVersion string // if it has another one
	License       string // as its database has it, which may be no expression of SPDX
	Homepage      string
	Maintainer    string // who builds it
	Summary       string
}

// A List is what is known of a root file system.
type List struct {
	System   System
	Packages []Package // sorted by name
	Unread   []string  // why the databases of managers are not read, or not to their ends
}

// Err is why packages may be missing from the list, if they may.
func (l List) Err() error {
	if len(l.Unread) == 0 {
		return nil
	}
	return errors.New(strings.Join(l.Unread, "; "))
}

// Bounds of what is read.
const (
	maxDatabase = 64 << 20  // of one file of a database
	maxRead     = 512 << 20 // of all of them
	maxPackages = 200_000
	maxText     = 1000 // of one fact of a package: what is longer is cut
)

// A database is that of one manager.
type database struct {
	manager string
	globs   []string // of its files
	parse   func(name, text string) ([]Package, error)
}

// databases are all that are read as text. That of rpm is not.
var databases = []database{
	{"apk", []string{"/lib/apk/db/installed", "/usr/lib/apk/db/installed"}, parseAPK},
	{"dpkg", []string{"/var/lib/dpkg/status", "/var/lib/dpkg/status.d/*"}, parseDpkg}, // the second of images without dpkg
	{"opkg", []string{"/usr/lib/opkg/status", "/var/lib/opkg/status"}, parseDpkg},
	{"pacman", []string{"/var/lib/pacman/local/*/desc"}, parsePacman},
	{"portage", []string{"/var/db/pkg/*/*/PF"}, nil},
	{"xbps", []string{"/var/db/xbps/pkgdb-*.plist"}, parseXBPS},
}

// Read returns the packages of a root file system. What cannot be read is said in the list: one
// that is silently too short would be worse than none.
func Read(root *dirfd.Dir) List {
	r := reader{root: root, left: maxRead, seen: make(seenFiles)}
	for _, db := range databases {
		r.unread(db.manager, r.read(db))
	}
	r.unread("rpm", r.rpm())
	for i := range r.Packages {
		r.Packages[i].clean()
	}
	slices.SortStableFunc(r.Packages, func(a, b Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version), strings.Compare(a.Arch, b.Arch),
			strings.Compare(a.Manager, b.Manager))
	})
	r.System = systemOf(root)
	return r.List
}

// A reader reads one root file system.
type reader struct {
	List
	root *dirfd.Dir
	left int64 // bytes that may still be read
	seen seenFiles
}

// unread takes note of why a database is not read.
func (r *reader) unread(manager string, err error) {
	if err != nil {
		r.Unread = append(r.Unread, fmt.Sprintf("the %s database is not read: %s", manager, cleaned(err.Error())))
	}
}

// add adds packages.
func (r *reader) add(manager string, found ...Package) error {
	if len(r.Packages)+len(found) > maxPackages {
		return fmt.Errorf("it has more than %d packages", maxPackages)
	}
	for _, p := range found {
		p.Manager = manager
		r.Packages = append(r.Packages, p)
	}
	return nil
}

// read reads the database of a manager.
func (r *reader) read(db database) error {
	for _, glob := range db.globs {
		names, err := r.root.Glob(glob)
		if err != nil {
			return err
		}
		for _, name := range names {
			if r.seen.again(r.root, name) || strings.HasSuffix(name, ".md5sums") {
				continue
			}
			found, err := r.readFrom(db, name)
			if err == nil {
				err = r.add(db.manager, found...)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// seenFiles are those that were read, by whatever name.
type seenFiles map[[2]uint64]bool

// again tells whether a file was read already, or is none.
func (s seenFiles) again(root *dirfd.Dir, name string) bool {
	st, err := root.Stat(name)
	id := [2]uint64{uint64(st.Dev), st.Ino}
	again := s[id]
	s[id] = true
	return err != nil || again
}

func (r *reader) readFrom(db database, name string) ([]Package, error) {
	if db.parse == nil {
		return r.portage(strings.TrimSuffix(name, "/PF"))
	}
	text, err := r.file(name, maxDatabase)
	if err != nil {
		return nil, err
	}
	return db.parse(name, text)
}

// file returns the text of a regular file.
func (r *reader) file(name string, max int64) (string, error) {
	data, err := r.root.ReadFile(name, min(max, r.left))
	r.left -= int64(len(data))
	return string(data), err
}

// portage reads the directory of one package: a file for each fact.
func (r *reader) portage(dir string) ([]Package, error) {
	fact := func(name string) string {
		text, err := r.file(dir+"/"+name, 1<<20)
		if err != nil { // which facts there are depends on the ebuild
			return ""
		}
		return strings.Join(strings.Fields(text), " ")
	}
	full := fact("PF")
	at := versionOfEbuild(full)
	if at < 0 {
		return nil, fmt.Errorf("%q is no name with a version", full)
	}
	category, _, _ := strings.Cut(strings.TrimPrefix(dir, "/var/db/pkg/"), "/")
	return []Package{{
		Name: category + "/" + full[:at], Version: full[at+1:], Size: number(fact("SIZE"), 1), License: fact("LICENSE"),
		Homepage: first(fact("HOMEPAGE")), Summary: fact("DESCRIPTION"), Arch: first(strings.TrimLeft(fact("KEYWORDS"), "~")),
	}}, nil
}

// clean makes all texts of a package such that they can stand on a line, and in any document.
func (p *Package) clean() {
	for _, text := range []*string{
		&p.Name, &p.Version, &p.Arch, &p.Source, &p.SourceVersion, &p.License, &p.Homepage, &p.Maintainer, &p.Summary,
	} {
		*text = cleaned(*text)
	}
}

func cleaned(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD")))
}

// versionOfEbuild returns where in a name such as gcc-libs-14.2.1_p2-r1 the hyphen before the
// version is, or -1.
func versionOfEbuild(name string) int {
	at := -1
	for i := 0; i+1 < len(name); i++ {
		if name[i] == '-' && name[i+1] >= '0' && name[i+1] <= '9' {
			at = i
		}
	}
	return at
}

// number is a size that a database has, in some unit; what is none is unknown.
func number(text string, unit int64) int64 {
	var n int64
	for _, c := range []byte(strings.TrimSpace(text)) {
		if c < '0' || c > '9' || n > 1<<50 {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n * unit
}

func first(words string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(words), " ")
	return word
}

// openRegular opens a file that may be missing: nil.
func openRegular(root *dirfd.Dir, name string) (f io.ReaderAt, size int64, done func(), err error) {
	file, err := root.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, func() {}, nil
	}
	if err != nil {
		return nil, 0, func() {}, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		file.Close()
		return nil, 0, func() {}, err
	}
	return file, info.Size(), func() { file.Close() }, nil
}

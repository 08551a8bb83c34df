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

	Source     string // package of the sources, if it has another name
	License    string // as its database has it, which may be no expression of SPDX
	Homepage   string
	Maintainer string // who builds it
	Summary    string
}

// maxDatabase bounds one file of a database.
const maxDatabase = 64 << 20

// A database is that of one manager.
type database struct {
	manager string
	globs   []string // of its files
	parse   func(name, text string) ([]Package, error)
}

// databases are all that are read as text. That of rpm is a file of SQLite.
var databases = []database{
	{"apk", []string{"/lib/apk/db/installed", "/usr/lib/apk/db/installed"}, parseAPK},
	{"dpkg", []string{"/var/lib/dpkg/status", "/var/lib/dpkg/status.d/*"}, parseDpkg}, // the second of images without dpkg
	{"opkg", []string{"/usr/lib/opkg/status", "/var/lib/opkg/status"}, parseDpkg},
	{"pacman", []string{"/var/lib/pacman/local/*/desc"}, parsePacman},
	{"portage", []string{"/var/db/pkg/*/*/PF"}, nil},
	{"xbps", []string{"/var/db/xbps/pkgdb-*.plist"}, parseXBPS},
}

// Read returns the packages of a root file system, sorted by name. A database that cannot be
// read is an error: a list that is silently too short would be worse than none.
func Read(root *dirfd.Dir) ([]Package, error) {
	var all []Package
	seen := make(seenFiles) // /lib may be a link to /usr/lib
	for _, db := range databases {
		for _, glob := range db.globs {
			names, err := root.Glob(glob)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				if seen.again(root, name) || strings.HasSuffix(name, ".md5sums") {
					continue
				}
				found, err := db.read(root, name)
				if err != nil {
					return nil, fmt.Errorf("cannot read the packages of %s in %s: %w", db.manager, name, err)
				}
				all = append(all, found...)
			}
		}
	}
	found, err := readRPM(root)
	if err != nil {
		return nil, fmt.Errorf("cannot read the packages of rpm: %w", err)
	}
	all = append(all, found...)
	slices.SortStableFunc(all, func(a, b Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version), strings.Compare(a.Arch, b.Arch),
			strings.Compare(a.Manager, b.Manager))
	})
	return all, nil
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

func (db database) read(root *dirfd.Dir, name string) ([]Package, error) {
	if db.parse == nil {
		return readPortage(root, strings.TrimSuffix(name, "/PF"))
	}
	text, err := readFile(root, name, maxDatabase)
	if err != nil {
		return nil, err
	}
	found, err := db.parse(name, text)
	for i := range found {
		found[i].Manager = db.manager
	}
	return found, err
}

// readFile returns the text of a regular file.
func readFile(root *dirfd.Dir, name string, max int64) (string, error) {
	data, err := root.ReadFile(name, max)
	return string(data), err
}

// readPortage reads the directory of one package: a file for each fact.
func readPortage(root *dirfd.Dir, dir string) ([]Package, error) {
	fact := func(name string) string {
		text, err := readFile(root, dir+"/"+name, 1<<20)
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
		Manager: "portage", Name: category + "/" + full[:at], Version: full[at+1:], Size: number(fact("SIZE"), 1), License: fact("LICENSE"),
		Homepage: first(fact("HOMEPAGE")), Summary: fact("DESCRIPTION"), Arch: first(strings.TrimLeft(fact("KEYWORDS"), "~")),
	}}, nil
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

package catalog

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Name is the identity of a product: its four directory names.
type Name struct{ Distro, Release, Arch, Variant string }

// ParseName takes a product id apart.
func ParseName(id string) (Name, error) {
	parts := strings.Split(id, ":")
	if len(parts) != 4 {
		return Name{}, fmt.Errorf("product id %q has %d parts, not 4", id, len(parts))
	}
	n := Name{parts[0], parts[1], parts[2], parts[3]}
	return n, n.Check()
}

// ID returns the product id.
func (n Name) ID() string {
	return n.Distro + ":" + n.Release + ":" + n.Arch + ":" + n.Variant
}

// Check tells whether all parts can be used as names of directories, in ids and
// in aliases.
func (n Name) Check() error {
	for _, part := range n.parts() {
		if err := CheckPart(part); err != nil {
			return err
		}
	}
	return nil
}

const (
	partChars    = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+~-"
	versionChars = partChars + ":" // lxc-ci writes YYYYMMDD_HH:MM
)

// CheckPart tells whether s can be one part of a product's name. What is refused
// would be ambiguous in a product id, split an alias, leave the directory or be
// taken for an option.
func CheckPart(s string) error { return checkName(s, partChars) }

// maxVersion leaves room for what is made of a version's name: hidden ones while it
// comes and goes, and those of deltas.
const maxVersion = 200

// CheckVersion tells whether s can name a version.
func CheckVersion(s string) error {
	if len(s) > maxVersion {
		return fmt.Errorf("the name %.40q… is longer than %d bytes", s, maxVersion)
	}
	return CheckFile(s)
}

// CheckFile tells whether s can name a file of a version.
func CheckFile(s string) error { return checkName(s, versionChars) }

// CheckStream tells whether s can name a stream. The names of the metadata
// directory and of the index are taken.
func CheckStream(s string) error {
	if s == "streams" || s == "index" {
		return fmt.Errorf("the name %q is reserved", s)
	}
	return CheckStreamVersion(s)
}

// CheckStreamVersion tells whether s can name a directory of catalogs.
func CheckStreamVersion(s string) error {
	if err := CheckPart(s); err != nil {
		return err
	}
	if s[0] == '.' {
		return fmt.Errorf("the name %q is hidden", s)
	}
	return nil
}

func checkName(s, chars string) error {
	switch {
	case s == "":
		return errors.New("empty name")
	case s == "." || s == "..":
		return fmt.Errorf("the name %q is not one of a file", s)
	case s[0] == '-':
		return fmt.Errorf("the name %q starts with a dash", s)
	case len(s) > 255:
		return fmt.Errorf("the name %.40q… is longer than 255 bytes", s)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(chars, r) }); i >= 0 {
		return fmt.Errorf("the name %q has %q in it", s, []rune(s[i:])[0])
	}
	return nil
}

// Readable tells whether clients accept a version of this name: they take it by
// the date it starts with and skip all others silently.
func Readable(version string) bool {
	_, ok := Time(version)
	return ok
}

// Time returns the time a version's name stands for, in UTC: YYYYMMDD, perhaps
// followed by hours, minutes and seconds with or without separators.
func Time(version string) (time.Time, bool) {
	if len(version) < 8 {
		return time.Time{}, false
	}
	day, err := time.Parse("20060102", version[:8])
	if err != nil {
		return time.Time{}, false
	}
	clock := strings.ReplaceAll(strings.TrimLeft(version[8:], "_-T"), ":", "")
	for _, layout := range []string{"1504", "150405"} {
		if t, err := time.Parse("20060102"+layout, version[:8]+clock); err == nil {
			return t, true
		}
	}
	return day, true
}

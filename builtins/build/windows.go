package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"imagebuilder/builtins/windows"
)

// Installation media of Windows: what is on one, and which drivers there are for it. How a new
// one is made is in windowsmedium.go.

// A WindowsSource is where a medium or drivers are: a file of the recipe, or a path of this
// machine, where drivers may be a directory. Of what is at a path no digest is taken.
type WindowsSource struct {
	File *File
	Path string // absolute
}

// Name is what a reader would call it.
func (w WindowsSource) Name() string {
	if w.File != nil {
		return w.File.Name
	}
	return w.Path
}

// hostPath is where it is on this machine, "" if it is nowhere yet.
func (w WindowsSource) hostPath() string {
	if w.File != nil {
		return cmp.Or(w.File.path, w.File.local)
	}
	return w.Path
}

// here tells whether it is on this machine already, also if a plan asks.
func (w WindowsSource) here() bool {
	_, err := os.Stat(w.hostPath())
	return err == nil
}

// plain is what a plan shows of it, and what steps depend on besides what they ask of it.
func (w WindowsSource) plain() any {
	if w.File != nil {
		return w.File
	}
	return filepath.Base(w.Path)
}

// A WindowsMedium is what was found on an installation medium.
type WindowsMedium struct {
	Assumed bool          `json:"assumed"` // nothing is known: it is not there yet
	Label   string        `json:"label"`
	Files   []*WindowsWIM `json:"files"` // of images, as asked for; nil: there is none
	Problem error         `json:"-"`
}

// A WindowsWIM is a file of images on a medium.
type WindowsWIM struct {
	Path   string             `json:"path"`
	Parts  int                `json:"parts"` // of how many files it is one
	Images []windows.WIMImage `json:"images"`
}

// FindWindows asks what is on a medium. Each of the files is asked for by several paths, of
// which the first that is there counts. A plan looks at a medium of this machine as well.
func FindWindows(medium WindowsSource, paths [][]string) Question[WindowsMedium] {
	find := func() (WindowsMedium, error) {
		found, err := findWindows(medium, paths)
		if err != nil {
			err = fmt.Errorf("cannot use %s as an installation medium of Windows: %w", medium.Name(), err)
		}
		return found, err
	}
	return Question[WindowsMedium]{
		What: "windows_medium",
		Find: func(context.Context, *Builder) (WindowsMedium, error) { return find() },
		Assume: func(*Planner) (WindowsMedium, bool) {
			if !medium.here() {
				return WindowsMedium{Assumed: true}, false
			}
			found, err := find()
			found.Problem = err
			return found, true
		},
	}
}

func findWindows(medium WindowsSource, paths [][]string) (found WindowsMedium, err error) {
	v, err := windows.OpenVolume(medium.hostPath())
	if err != nil {
		return found, err
	}
	defer v.Close()
	found.Label = v.Label
	for _, alternatives := range paths {
		w, err := findWIM(v, alternatives)
		if err != nil {
			return found, err
		}
		found.Files = append(found.Files, w)
	}
	return found, nil
}

// findWIM reads the first of some files of images that is there; nil: none is.
func findWIM(v *windows.Volume, alternatives []string) (*WindowsWIM, error) {
	for _, name := range alternatives {
		name, err := windows.Find(v, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		w, err := readWIM(v, name)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", name, err)
		}
		return &WindowsWIM{Path: name, Parts: w.Parts, Images: w.Images}, nil
	}
	return nil, nil
}

func readWIM(v *windows.Volume, name string) (*windows.WIM, error) {
	f, err := v.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, ok := f.(interface {
		ReadAt([]byte, int64) (int, error)
	})
	if !ok {
		return nil, errors.New("it is a directory")
	}
	return windows.ReadWIM(r)
}

// open opens drivers as a tree of files.
func (w WindowsSource) open() (fs.FS, func() error, error) {
	st, err := os.Stat(w.hostPath())
	if err != nil {
		return nil, nil, err
	}
	if !st.IsDir() {
		v, err := windows.OpenVolume(w.hostPath())
		if err != nil {
			return nil, nil, err
		}
		return v, v.Close, nil
	}
	root, err := os.OpenRoot(w.hostPath())
	if err != nil {
		return nil, nil, err
	}
	return root.FS(), root.Close, nil
}

// FoundDrivers are what was found of drivers.
type FoundDrivers struct {
	Assumed bool                          `json:"assumed"` // nothing is known: they are not there yet
	Dirs    map[string]*windows.DriverDir `json:"dirs"`    // by the paths that were asked for; nil: there is none
	Problem error                         `json:"-"`
}

// FindDrivers asks what is in some directories of drivers. A plan looks as well at what this
// machine has.
func FindDrivers(drivers WindowsSource, paths []string) Question[FoundDrivers] {
	find := func() (FoundDrivers, error) {
		found, err := findDrivers(drivers, paths)
		if err != nil {
			err = fmt.Errorf("cannot use the drivers in %s: %w", drivers.Name(), err)
		}
		return found, err
	}
	return Question[FoundDrivers]{
		What: "windows_drivers",
		Find: func(context.Context, *Builder) (FoundDrivers, error) { return find() },
		Assume: func(*Planner) (FoundDrivers, bool) {
			if !drivers.here() {
				return FoundDrivers{Assumed: true}, false
			}
			found, err := find()
			found.Problem = err
			return found, true
		},
	}
}

func findDrivers(drivers WindowsSource, paths []string) (found FoundDrivers, err error) {
	tree, end, err := drivers.open()
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, end()) }()
	found.Dirs = make(map[string]*windows.DriverDir)
	for _, name := range paths {
		if found.Dirs[name], err = windows.FindDriver(tree, name); err != nil {
			return found, err
		}
	}
	return found, nil
}

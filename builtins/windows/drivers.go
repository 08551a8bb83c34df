package windows

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// What a directory of drivers holds. Whoever asks knows which directories there may be.

// A DriverDir is a directory with the files of one driver.
type DriverDir struct {
	Path  string          `json:"path"`  // as it is spelt
	Files []DriverFile    `json:"files"` // directly in it, by name
	INFs  map[string]*INF `json:"infs"`  // by the names of their files
}

// A DriverFile is a file of a driver.
type DriverFile struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// maxDriver is how long a file of a driver may be, in bytes.
const maxDriver = 256 << 20

// FindDriver reads a directory of drivers; nil: there is none. Its name need not be spelt as it
// is there.
func FindDriver(drivers fs.FS, name string) (*DriverDir, error) {
	spelt, err := Find(drivers, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(drivers, spelt)
	if err != nil {
		return nil, err
	}
	d := &DriverDir{Path: spelt, INFs: make(map[string]*INF)}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		file := path.Join(spelt, e.Name())
		data, sum, _, err := readDriver(drivers, file)
		if err != nil {
			return nil, err
		}
		d.Files = append(d.Files, DriverFile{e.Name(), sum})
		if !strings.EqualFold(path.Ext(e.Name()), ".inf") {
			continue
		}
		inf, err := ParseINF(data)
		if err != nil { // it need not be the one that counts
			inf = &INF{Problem: err.Error()}
		}
		d.INFs[e.Name()] = inf
	}
	slices.SortFunc(d.Files, func(a, b DriverFile) int { return strings.Compare(a.Name, b.Name) })
	return d, nil
}

// readDriver reads a file of a driver.
func readDriver(drivers fs.FS, name string) (data []byte, sum string, modified time.Time, err error) {
	f, err := drivers.Open(name)
	if err != nil {
		return nil, "", modified, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, "", modified, err
	}
	data, err = io.ReadAll(io.LimitReader(f, maxDriver+1))
	if err == nil && len(data) > maxDriver {
		err = fmt.Errorf("it has more than %d bytes", maxDriver)
	}
	if err != nil {
		return nil, "", modified, fmt.Errorf("cannot read %s: %w", name, err)
	}
	digest := sha256.Sum256(data)
	return data, hex.EncodeToString(digest[:]), st.ModTime(), nil
}

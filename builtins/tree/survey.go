package tree

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Where the bytes of a tree are, for people who wonder.

// A Survey says what a tree holds. Sizes are bytes of content; a file of several names counts
// once, at the first of them.
type Survey struct {
	Files       int     `json:"files"` // of all kinds
	Size        int64   `json:"size"`
	Directories []Sized `json:"directories"` // the largest ones, with what is below
	Largest     []Sized `json:"largest"`     // the largest files
}

// Sized is a name and how many bytes it holds.
type Sized struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// surveyDepth is down to where directories are counted by themselves.
const surveyDepth = 3

// TakeSurvey looks at a directory and all below it, and names so many of the largest.
func TakeSurvey(dir *dirfd.Dir, names int) (Survey, error) {
	var s Survey
	sizes := make(map[string]int64)
	seen := make(map[[2]uint64]bool)
	var files []Sized
	err := dir.Walk(".", func(name string, st *unix.Stat_t) error {
		s.Files++
		id := [2]uint64{st.Dev, st.Ino}
		if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink > 1 && seen[id] {
			return nil
		}
		seen[id] = st.Nlink > 1
		name = path.Clean("/" + name)
		s.Size += st.Size
		parts := strings.Split(name, "/") // the first is empty, the last is the file's own
		for i := 2; i < len(parts) && i <= surveyDepth+1; i++ {
			sizes[strings.Join(parts[:i], "/")] += st.Size
		}
		files = append(files, Sized{name, st.Size})
		return nil
	})
	for name, size := range sizes {
		s.Directories = append(s.Directories, Sized{name, size})
	}
	s.Directories, s.Largest = largest(s.Directories, names), largest(files, names)
	return s, err
}

func largest(list []Sized, n int) []Sized {
	slices.SortFunc(list, func(a, b Sized) int { return cmp.Or(cmp.Compare(b.Size, a.Size), strings.Compare(a.Path, b.Path)) })
	return list[:min(n, len(list))]
}

package pack

import (
	"archive/tar"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// latestMembers names for each of some pieces of an archive, which are in their order, the
// regular file that was changed last, a few of them at most. What cannot be read names none: this is
// for people.
func latestMembers(archive *os.File, pieces []piece) []string {
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return nil
	}
	type member struct {
		name    string
		changed time.Time
	}
	latest := make([]member, len(pieces))
	members := tar.NewReader(archive)
	for from := int64(0); ; {
		h, err := members.Next()
		if err != nil {
			break
		}
		at, err := archive.Seek(0, io.SeekCurrent)
		if err != nil {
			break
		}
		to := at + h.Size
		first, _ := slices.BinarySearchFunc(pieces, from, func(p piece, at int64) int {
			if p.at+p.size <= at {
				return -1
			}
			return 1
		})
		for i := first; i < len(pieces) && pieces[i].at < to && h.Typeflag == tar.TypeReg; i++ {
			if h.ModTime.After(latest[i].changed) || latest[i].name == "" {
				latest[i] = member{h.Name, h.ModTime}
			}
		}
		from = to
	}
	var names []string
	for _, m := range latest {
		name := "/" + strings.TrimPrefix(m.name, "./")
		if m.name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
		if len(names) == maxNamed {
			break
		}
	}
	return names
}

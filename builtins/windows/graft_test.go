package windows

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// standIns are files that others are put in place of.
var standIns = map[string]string{"sources/boot.wim": strings.Repeat("0", sector), "sources/Large.wim": strings.Repeat("1", sector), "other": strings.Repeat("2", sector)}

// trees are all that a medium says of its files: by UDF, and by each volume of ISO 9660.
func trees(t *testing.T, f *os.File) (trees []*Volume) {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	udf := &Volume{file: f, r: f, size: st.Size(), left: maxEntries}
	if err := udf.readUDF(); err != nil {
		t.Fatal(err)
	}
	trees = append(trees, udf)
	volumes, err := udf.isoVolumes()
	if err != nil {
		t.Fatal(err)
	}
	for _, volume := range volumes {
		if blocks := int64(le.Uint32(volume.b[80:])); blocks*sector != st.Size() {
			t.Errorf("a volume of ISO 9660 has %d blocks", blocks)
		}
		iso := *udf
		iso.left = maxEntries
		if iso.root, err = iso.isoTree(volume); err != nil {
			t.Fatal(err)
		}
		trees = append(trees, &iso)
	}
	return trees
}

// Files that are put onto a medium are there in all of its trees, and the others as they were.
func TestGraft(t *testing.T) {
	udf := []string{"-udf", "-l", "-allow-limited-size"}
	for _, test := range []struct {
		summary string
		args    []string
		trees   int
	}{
		{"UDF and ISO 9660:1999", append(udf, "-iso-level", "4"), 3},
		{"and Joliet, which comes by what hides files", append(udf, "-iso-level", "4", "-hide-joliet", "none"), 4},
		{"UDF and ISO 9660 with short names", append(udf, "-iso-level", "3"), 2},
	} {
		for _, sizes := range [][2]int{{1, 1}, {0, sector}, {sector + 1, 5 << 20}, {3 << 20, 149 * sector}} {
			t.Run(fmt.Sprint(test.summary, sizes), func(t *testing.T) {
				f, err := os.OpenFile(makeMedium(t, test.args, standIns), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				var scions []scion
				want := map[string]string{"other": standIns["other"]}
				for i, name := range []string{"sources/Large.wim", "sources/boot.wim"} {
					want[strings.ToLower(name)] = strings.Repeat(fmt.Sprintf("%07d", i), sizes[i])[:sizes[i]]
					from, err := os.Create(filepath.Join(t.TempDir(), "x"))
					if err != nil {
						t.Fatal(err)
					}
					defer from.Close()
					if _, err := from.WriteString(want[strings.ToLower(name)]); err != nil {
						t.Fatal(err)
					}
					scions = append(scions, scion{name, from, int64(sizes[i])})
				}
				told := int64(0)
				if err := graft(t.Context(), f, scions, func(n int64) { told += n }); err != nil {
					t.Fatal(err)
				}
				if told != int64(sizes[0]+sizes[1]) {
					t.Errorf("told of %d bytes", told)
				}
				all := trees(t, f)
				if len(all) != test.trees {
					t.Errorf("there are %d trees", len(all))
				}
				for _, v := range all {
					for name, content := range want {
						found, err := Find(v, name)
						got, err2 := fs.ReadFile(v, found)
						if err := errors.Join(err, err2); err != nil || string(got) != content {
							t.Errorf("%s: %d bytes, %v", found, len(got), err)
						}
					}
				}
				checkSeals(t, f)
			})
		}
	}
}

// checkSeals reads all descriptors of UDF that can be changed with their sums, as readers do that are
// stricter than ours, and the size of the partition, which all must tell alike.
func checkSeals(t *testing.T, f *os.File) {
	t.Helper()
	st, _ := f.Stat()
	var sizes []uint32
	var anchors []int64
	for n := int64(0); n < st.Size()/sector; n++ {
		b := make([]byte, sector)
		if _, err := f.ReadAt(b, n*sector); err != nil {
			t.Fatal(err)
		}
		id := le.Uint16(b)
		if id == 0 || id > tagLargeFile || le.Uint16(b[2:]) != 2 || !checkTag(b, id) {
			continue
		}
		sealed := bytes.Clone(b)
		if seal(sealed); !bytes.Equal(b, sealed) {
			t.Errorf("block %d: the descriptor %d has other sums than its content", n, id)
		}
		switch id {
		case tagPartition:
			sizes = append(sizes, le.Uint32(b[192:]))
		case tagIntegrity:
			sizes = append(sizes, le.Uint32(b[84:]))
		case tagAnchor:
			anchors = append(anchors, n)
			if le.Uint32(b[12:]) != uint32(n) {
				t.Errorf("the anchor in block %d tells of another place", n)
			}
		}
	}
	end := st.Size()/sector - 1
	if !slices.Equal(anchors, []int64{256, end - padding + 1, end}) {
		t.Errorf("anchors are in the blocks %d of %d", anchors, end+1)
	}
	if len(sizes) != 3 || len(slices.Compact(sizes)) != 1 || int64(257+sizes[0]+padding) != end+2 {
		t.Errorf("the partition has the sizes %d of %d bytes", sizes, st.Size())
	}
}

// A file of more than 4 GiB has several extents in UDF. Other programs read it, too.
func TestGraftLarge(t *testing.T) {
	name := makeMedium(t, []string{"-udf", "-l", "-allow-limited-size", "-iso-level", "4"}, standIns)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	g := &grafting{f: f, v: &Volume{r: f, size: st.Size()}}
	if err := g.look(); err != nil {
		t.Fatal(err)
	}
	const size = 5<<30 + 5
	end := st.Size() - padding*sector
	for at, text := range map[int64]string{0: "begin", maxExtent - 2: "edges", size - 5: "ends."} { // the rest is a hole
		if _, err := f.WriteAt([]byte(text), end+at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(g.place(scion{Path: "sources/Large.wim", Size: size}, end), g.finish(end+size+sector-5)); err != nil {
		t.Fatal(err)
	}
	v, err := OpenVolume(name)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	large, err := v.Open("sources/Large.wim")
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	if st, err := large.Stat(); err != nil || st.Size() != size {
		t.Fatalf("it has %d bytes, %v", st.Size(), err)
	}
	for at, text := range map[int64]string{0: "begin", maxExtent - 2: "edges", size - 5: "ends."} {
		got := make([]byte, 5)
		if _, err := large.(*file).ReadAt(got, at); err != nil || string(got) != text {
			t.Errorf("at %d: %q, %v", at, got, err)
		}
	}
	if _, err := exec.LookPath("7z"); err != nil {
		t.Skip("not read by another program: needs p7zip-full")
	}
	list, err := exec.Command("7z", "l", "-tudf", "-slt", name).CombinedOutput()
	if err != nil || !strings.Contains(string(list), fmt.Sprintf("Path = sources/Large.wim\nFolder = -\nSize = %d\n", size)) {
		t.Errorf("7z: %v\n%s", err, list)
	}
}

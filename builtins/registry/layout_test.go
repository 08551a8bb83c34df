package registry

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever an archive says, finding an image in it ends.
func FuzzLayout(f *testing.F) {
	archive := func(files ...string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := 0; i < len(files); i += 2 {
			w.WriteHeader(&tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o644, Typeflag: tar.TypeReg})
			io.WriteString(w, files[i+1])
		}
		w.Close()
		return b.Bytes()
	}
	f.Add(archive("index.json", `{"schemaVersion": 2, "manifests": []}`))
	f.Add(archive("./index.json", `{"manifests": [{"digest": "sha256:`+strings.Repeat("0", 64)+`", "mediaType": "application/vnd.oci.image.index.v1+json"}]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(dir, "archive")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := OpenArchive(file)
		if err != nil {
			return
		}
		defer l.Close()
		l.Find(Query{Platform: "linux/amd64"})
	})
}

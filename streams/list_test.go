package streams_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
)

func sha256Hex(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func itoa(n int64) string { return fmt.Sprint(n) }

func TestList(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.make(imagetree.Sample{Product: "alpine/current/arm64/cloud", Version: "20240105", Files: []string{"incus.tar.xz", "lxd.tar.xz", "rootfs.squashfs"},
		Extra: map[string]string{"incus.tar.xz": "another", "image.yaml": "simplestream: {distro_name: \"Al\\e[31mpine\"}"}})
	f.build()
	images, err := streams.List(context.Background(), streams.ListOptions{Site: f.tree()})
	if err != nil {
		t.Fatal(err)
	}
	if len(images) != 6 { // two clients' images of alpine, a container and a VM of each ubuntu
		t.Fatalf("%d images", len(images))
	}
	newest := images[2]
	if newest.Version != v2 || newest.Type != "container" || newest.Description != "Ubuntu noble amd64 (20240102_0000)" ||
		strings.Join(newest.Clients, ",") != "incus,lxd" || newest.Path+"/" != dir(v2) || newest.Size != 2560+4100 {
		t.Errorf("%+v", newest)
	}
	for _, format := range streams.ListFormats() {
		t.Run(format, func(t *testing.T) {
			var out bytes.Buffer
			if err := streams.WriteImages(&out, format, images); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "list."+format), out.String())
			var again any
			switch format {
			case "csv":
				again, err = csv.NewReader(&out).ReadAll()
			case "json":
				err = json.Unmarshal(out.Bytes(), &again)
			case "yaml":
				err = yaml.Unmarshal(out.Bytes(), &again)
			case "table":
				if strings.Contains(out.String(), "\x1b") {
					t.Error("it colours the screen")
				}
			}
			if err != nil {
				t.Error(err)
			}
			if err := streams.WriteImages(new(bytes.Buffer), format, nil); err != nil {
				t.Error(err)
			}
		})
	}
	if err := streams.WriteImages(new(bytes.Buffer), "xml", nil); err == nil || err.Error() != `unknown format "xml": it is one of csv, json, table, yaml` {
		t.Errorf("got %v", err)
	}
}

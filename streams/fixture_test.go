package streams_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"imagebuilder/streams"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/imagetree"
)

const (
	ubuntu   = "ubuntu/noble/amd64/default"
	ubuntuID = "ubuntu:noble:amd64:default"
	v1       = "20240101_0000"
	v2       = "20240102_0000"
	v3       = "20240103_0000"
	v4       = "20240104_0000"
)

// versions returns images of one product.
func versions(product string, names ...string) []imagetree.Sample {
	var list []imagetree.Sample
	for _, name := range names {
		list = append(list, imagetree.Sample{Product: product, Version: name})
	}
	return list
}

// A fixture is a tree with a clock and a log.
type fixture struct {
	*testing.T
	root string
	now  time.Time
	log  bytes.Buffer
}

func newFixture(t *testing.T, images ...imagetree.Sample) *fixture {
	f := &fixture{T: t, root: filepath.Join(t.TempDir(), "root"), now: time.Date(2024, 1, 10, 0, 0, 0, 0, time.UTC)}
	if err := os.MkdirAll(filepath.Join(f.root, "images"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.make(images...)
	return f
}

func (f *fixture) make(images ...imagetree.Sample) {
	f.Helper()
	if err := imagetree.Make(f.root, images...); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) tree() streams.Site {
	return streams.Site{
		Root:  f.root,
		Log:   slog.New(slog.NewTextHandler(&f.log, nil)),
		Clock: func() time.Time { return f.now },
	}
}

// build builds and fails the test on an error.
func (f *fixture) build(edits ...func(*streams.BuildOptions)) streams.BuildSummary {
	f.Helper()
	sum, err := f.tryBuild(edits...)
	if err != nil {
		f.Fatal(err)
	}
	return sum
}

func (f *fixture) tryBuild(edits ...func(*streams.BuildOptions)) (streams.BuildSummary, error) {
	f.log.Reset()
	opts := streams.BuildOptions{Site: f.tree()}
	for _, edit := range edits {
		edit(&opts)
	}
	return streams.Build(context.Background(), opts)
}

func noDeltas(o *streams.BuildOptions) { o.Deltas.Off = true }

func (f *fixture) prune(edits ...func(*streams.PruneOptions)) streams.PruneSummary {
	f.Helper()
	sum, err := f.tryPrune(edits...)
	if err != nil {
		f.Fatal(err)
	}
	return sum
}

func (f *fixture) tryPrune(edits ...func(*streams.PruneOptions)) (streams.PruneSummary, error) {
	f.log.Reset()
	opts := streams.PruneOptions{Site: f.tree()}
	for _, edit := range edits {
		edit(&opts)
	}
	return streams.Prune(context.Background(), opts)
}

func retain(builds int) func(*streams.PruneOptions) {
	return func(o *streams.PruneOptions) { o.Retain.Builds = builds }
}

func atOnce(o *streams.PruneOptions) { o.Grace = streams.AtOnce }

// verify fails the test if anything that is published is wrong.
func (f *fixture) verify() {
	f.Helper()
	for _, fault := range f.faults() {
		f.Errorf("%s: %s", fault.Kind, fault)
	}
}

func (f *fixture) faults() []streams.Fault {
	f.Helper()
	report, err := streams.Verify(context.Background(), streams.VerifyOptions{Site: f.tree()})
	if err != nil {
		f.Fatal(err)
	}
	return report.Faults
}

// products reads the catalog of a stream.
func (f *fixture) products(stream string) map[string]*catalog.Product {
	f.Helper()
	file, err := os.Open(f.path("streams/v1/" + stream + ".json"))
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	products := make(map[string]*catalog.Product)
	r := catalog.NewReader(file, stream)
	for {
		id, p, err := r.Next()
		if err == io.EOF {
			return products
		}
		if err != nil {
			f.Fatal(err)
		}
		products[id] = p
	}
}

// listed returns the versions of the usual product that are listed.
func (f *fixture) listed() []string {
	f.Helper()
	p := f.products("images")[ubuntuID]
	if p == nil {
		return nil
	}
	return p.VersionNames()
}

// items returns the keys of the items of a version of the usual product.
func (f *fixture) items(version string) []string {
	f.Helper()
	var keys []string
	if p := f.products("images")[ubuntuID]; p != nil {
		for key := range p.Versions[version].Items {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (f *fixture) path(name string) string { return filepath.Join(f.root, name) }

func (f *fixture) write(name, content string) {
	f.Helper()
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o755); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(f.path(name), []byte(content), 0o644); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) read(name string) string {
	f.Helper()
	data, err := os.ReadFile(f.path(name))
	if err != nil {
		f.Fatal(err)
	}
	return string(data)
}

func (f *fixture) remove(name string) {
	f.Helper()
	if err := os.RemoveAll(f.path(name)); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) exists(name string) bool {
	_, err := os.Lstat(f.path(name))
	return !errors.Is(err, fs.ErrNotExist)
}

// age sets the times of a path and all below it to so long ago.
func (f *fixture) age(name string, ago time.Duration) {
	f.Helper()
	when := time.Now().Add(-ago)
	err := filepath.WalkDir(f.path(name), func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(name, when, when)
	})
	if err != nil {
		f.Fatal(err)
	}
}

// said tells whether a record with the message and text was logged.
func (f *fixture) said(message, text string) bool {
	for line := range strings.Lines(f.log.String()) {
		if strings.Contains(line, message) && strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// published returns what clients may see: path to content.
func (f *fixture) published() map[string]string {
	f.Helper()
	files := make(map[string]string)
	entries, err := os.ReadDir(f.path("streams/v1"))
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		files[e.Name()] = f.read("streams/v1/" + e.Name())
	}
	return files
}

func dir(version string) string { return "images/" + ubuntu + "/" + version + "/" }

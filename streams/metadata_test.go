package streams

import (
	"testing"
	"time"

	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
)

// FuzzMetadata holds that whatever an image says of itself, it goes to a directory of
// its own below the stream.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte("architecture: x86_64\ncreation_date: 1\nproperties: {os: Ubuntu, release: noble, serial: 20240101_0000}"))
	f.Add([]byte("architecture: ../x\nproperties: {os: '../..', release: '-rf', variant: 'a/b', serial: '20240101/../..'}"))
	f.Add([]byte("properties: {architecture: [a]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMetadata(data)
		if err != nil {
			return
		}
		name, err := m.name(catalog.Name{})
		if err != nil {
			return
		}
		version := m.version(time.Unix(0, 0))
		place := name.In("images").Of(version)
		if parsed, err := catalog.ParseLocation(place.Path()); err != nil || parsed != place || !(inventory.Removable{Location: place}).Allowed() {
			t.Fatalf("%q", place.Path())
		}
		if _, err := later(version); err != nil {
			t.Fatal(err)
		}
	})
}

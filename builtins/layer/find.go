package layer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// How an entry is found, and held before anything of it is believed.

// errMiss is why an entry cannot be used.
type errMiss string

// damaged begins the reason where an entry is no longer what was stored.
const damaged = "it is damaged: "

func (e errMiss) Error() string { return string(e) }

// place returns where the result of a key is, relative to the store.
func (s *Store) place(key string) (string, error) {
	text, err := s.root.Readlink(path.Join("entries", key))
	if err != nil {
		return "", err
	}
	place := path.Join("results", path.Base(text))
	if path.Dir(place) != "results" { // but to all of them, or to the store
		return "", fmt.Errorf("%s leads to no result", text)
	}
	return place, nil
}

// find returns the entry of a key, held, or an errMiss.
func (s *Store) find(key, baseID string, step Origin) (*Entry, error) {
	place, err := s.place(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errMiss("")
	}
	if err != nil {
		return nil, errMiss("its place cannot be read")
	}
	dir, err := s.root.OpenFile(place, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, errMiss("it is not in its place")
	}
	e := &Entry{path: s.path(place), dir: dir}
	if err := s.hold(e, key, place, baseID, step); err != nil {
		dir.Close()
		return nil, err
	}
	return e, nil
}

func (s *Store) hold(e *Entry, key, place, baseID string, step Origin) error {
	if err := dirfd.Flock(e.dir, unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return errMiss("it was just removed")
	}
	if now, err := s.place(key); err != nil || now != place {
		return errMiss("it was just replaced")
	}
	meta, err := s.readMeta(key, place)
	if err != nil {
		return errMiss("its description cannot be read")
	}
	if meta.BaseID != baseID {
		return errMiss("its base was built anew")
	}
	if !s.fresh(meta, step) {
		return errMiss("it is too old")
	}
	err = e.intact(step)
	if err == nil && step.layer {
		err = s.sameLayer(place, meta)
	}
	if err != nil {
		return errMiss(damaged + err.Error())
	}
	e.Meta = meta
	return e.Touch()
}

// maxMeta bounds the size of a description.
const maxMeta = 64 << 20

// readMeta reads the description of a result.
func (s *Store) readMeta(key, place string) (Meta, error) {
	var meta Meta
	name := path.Join(place, "meta.json")
	data, err := s.root.ReadFile(name, maxMeta)
	if err != nil {
		return meta, err
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return meta, err
	}
	if meta.Key != key {
		return meta, fmt.Errorf("%s is not of this entry", name)
	}
	st, err := s.root.Lstat(name)
	if err == nil {
		meta.Used = time.Unix(st.Mtim.Unix())
	}
	return meta, err
}

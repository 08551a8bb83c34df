// Package streams is what is done with a simplestreams image server: Build makes
// the catalogs and the index from the image files, Prune takes old versions out,
// Verify checks all that is published, List says what that is and Add puts a built
// image onto the site. Unify makes one file of an image that is there in parts.
//
// The files are the truth and everything else is derived from them:
//
//	<root>/<stream>/<distro>/<release>/<arch>/<variant>/<version>/<files>
//	<root>/streams/<stream version>/index.json, <stream>.json and their .gz copies
//	<root>/streams/.state/ what the tool remembers; all of it can be lost without harm
//	<root>/index.html, index.html.gz, page.css, page.js, page.svg if a page is wanted
//
// One version's trouble never stops the rest: it is logged, counted in the summary
// and the error of the whole run stays nil. Whatever kills a run, clients see
// the catalogs as they were before it or as they are after it.
//
// It stands on three floors: package site is the directory and how it is changed safely,
// package inventory what is on it, and this one what is done with that. Beside them are
// catalog (the JSON that clients read), page (the web page), words (what users can say,
// over this package) and serve, which serves a site: this package does not, and it knows
// neither recipes nor a command line.
package streams

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"

	"imagebuilder/builtins/host"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/site"
)

// Names that are used where a Site does not say otherwise.
const (
	DefaultStream        = "images"
	DefaultStreamVersion = "v1" // the only one that LXD and Incus look for
)

// A Site says which image server a function works on, and how. Only Root must be
// set.
type Site struct {
	Root          string       // directory that is served
	Streams       []string     // directories of images in it; nil: DefaultStream
	StreamVersion string       // directory of the catalogs below streams/; "": DefaultStreamVersion
	Workers       int          // files worked on at a time; 0: one for each CPU
	Links         bool         // follow symbolic links that stay inside Root; else they count as not there
	NaturalOrder  bool         // v10 comes after v9; clients disagree and use byte order
	Log           *slog.Logger // nil: nothing is logged
	Clock         host.Clock   // nil: the system's

	fault func(op, name string) error // of dirfd.Dir: it lets changes fail
}

// An openSite is a Site that has been checked and opened, for one run.
type openSite struct {
	Site
	files    *site.Files
	catalogs inventory.Catalogs
	clock    host.Clock
	log      *slog.Logger
}

// open checks the names and opens the root. Nothing has been changed if it fails.
func (t Site) open() (*openSite, error) {
	w := &openSite{Site: t, clock: t.Clock, log: t.Log}
	if w.Root == "" {
		return nil, errors.New("no directory is given")
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.clock == nil {
		w.clock = host.SystemClock
	}
	if w.Workers < 1 {
		w.Workers = runtime.GOMAXPROCS(0)
	}
	if err := w.names(); err != nil {
		return nil, err
	}
	var err error
	w.files, err = site.Open(w.Root, w.Links)
	if err != nil {
		return nil, err
	}
	w.files.Fault = t.fault
	w.catalogs = inventory.Catalogs{Files: w.files, Version: w.StreamVersion}
	if err := w.catalogs.CheckFiles(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot use %s: %w", w.Root, err), w.close())
	}
	return w, nil
}

func (w *openSite) close() error { return w.files.Close() }

// names fills in and checks the names that become part of paths.
func (w *openSite) names() error {
	if w.StreamVersion == "" {
		w.StreamVersion = DefaultStreamVersion
	}
	if err := catalog.CheckStreamVersion(w.StreamVersion); err != nil {
		return fmt.Errorf("stream version: %w", err)
	}
	if len(w.Streams) == 0 {
		w.Streams = []string{DefaultStream}
	}
	seen := make(map[string]bool)
	for _, name := range w.Streams {
		if err := catalog.CheckStream(name); err != nil {
			return fmt.Errorf("stream: %w", err)
		}
		if seen[name] {
			return fmt.Errorf("stream %s is given twice", name)
		}
		seen[name] = true
	}
	return nil
}

// full returns a path as the user knows it, for messages.
func (w *openSite) full(name string) string { return filepath.Join(w.Root, name) }

// info, warn and fail log one record. The keys and their order are those of the
// old tool, whose records some people evaluate.
func (w *openSite) info(msg string, args ...any) { w.log.Info(msg, args...) }
func (w *openSite) warn(msg string, args ...any) { w.log.Warn(msg, args...) }
func (w *openSite) fail(msg string, args ...any) { w.log.Error(msg, args...) }

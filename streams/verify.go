package streams

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/site"
)

// Verify looks at a site as its clients do, from the index to every byte, and believes nothing
// that the tool remembers. What is checked of one version is in verifyversion.go.

// VerifyOptions say what Verify checks.
type VerifyOptions struct {
	Site                // Streams: besides those that the index lists if Repair is set; nil: all of these
	Signer *site.Signer // checks and makes the signatures; nil: they are not looked at
	Repair bool         // derive again what can be, in the way of the last Build
	Safety              // of the repair
}

// A FaultKind says what is wrong.
type FaultKind string

// The kinds of faults that Verify finds.
const (
	faultCatalog   FaultKind = "catalog"   // cannot be read, or not be trusted
	faultIndex     FaultKind = "index"     // does not say what the catalogs say
	faultGzip      FaultKind = "gzip"      // missing, or of other content
	faultSignature FaultKind = "signature" // missing, or not valid
	faultMissing   FaultKind = "missing"   // a listed file is not there
	faultContent   FaultKind = "content"   // a listed file has another size or hash
	faultCombined  FaultKind = "combined"  // a fingerprint is wrong or missing
	faultDelta     FaultKind = "delta"     // does not make its file, or is one too many
	faultDuplicate FaultKind = "duplicate" // a fingerprint is there twice
	faultUnchecked FaultKind = "unchecked" // nobody knows: it could not be looked at
)

// A Fault is one thing that is wrong.
type Fault struct {
	Kind     FaultKind `json:"kind" yaml:"kind"`
	Path     string    `json:"path" yaml:"path"` // from the root
	Problem  string    `json:"problem" yaml:"problem"`
	Repaired bool      `json:"repaired" yaml:"repaired"`
}

func (f Fault) String() string { return f.Path + ": " + f.Problem }

// A Report is what Verify found.
type Report struct {
	Products int     `json:"products" yaml:"products"`
	Versions int     `json:"versions" yaml:"versions"`
	Items    int     `json:"items" yaml:"items"`
	Bytes    int64   `json:"bytes" yaml:"bytes"`   // read
	Faults   []Fault `json:"faults" yaml:"faults"` // sorted by path
}

// String returns the report as one line for people.
func (r *Report) String() string {
	text := fmt.Sprintf("%s, %s, %s, %s read", plural(r.Products, "product"), plural(r.Versions, "version"), plural(r.Items, "file"), bytesize.Size(r.Bytes))
	if repaired := len(r.Faults) - r.open(); repaired > 0 {
		text += fmt.Sprintf("; %s repaired", plural(repaired, "fault"))
	}
	return text + "; " + outcomeOf(r.Err())
}

// Err returns how many faults there are that were not repaired, nil if there are none.
func (r *Report) Err() error { return tallies{{r.open(), "fault", "found"}}.err() }

// open is how many faults are left.
func (r *Report) open() int {
	n := 0
	for _, f := range r.Faults {
		if !f.Repaired {
			n++
		}
	}
	return n
}

// Verify checks everything that is published: the index, the catalogs and what is
// derived from them, each file with its hashes and fingerprints, and each delta by
// decoding it. It reports all faults; the error is that it could not look.
//
// With Repair, the catalogs are built anew, bad deltas are replaced and versions
// with damaged files are taken out until somebody replaces the files.
func Verify(ctx context.Context, opts VerifyOptions) (Report, error) {
	w, err := opts.Site.open()
	if err != nil {
		return Report{}, err
	}
	defer w.close()
	switch {
	case len(opts.Streams) == 0:
		w.Streams = w.allStreams()
	case opts.Repair: // the index must not lose the others
		w.Streams = slices.Compact(slices.Sorted(slices.Values(slices.Concat(w.indexed(), opts.Streams))))
	}
	l, err := w.files.Lock(!opts.Repair, w.clock)
	if err != nil {
		return Report{}, err
	}
	defer l.Close()
	v, err := verify(ctx, w, opts.Signer)
	if err != nil || v.report.open() == 0 || !opts.Repair {
		return v.report, err
	}
	return repair(ctx, w, l, v, opts)
}

// allStreams returns the streams that the index lists, or else the default.
func (w *openSite) allStreams() []string {
	if names := w.indexed(); names != nil {
		return names
	}
	return []string{DefaultStream}
}

// indexed returns the streams that the index lists.
func (w *openSite) indexed() []string {
	var names []string
	for name := range inventory.Sorted(w.oldIndex().Entries) {
		if catalog.CheckStream(name) == nil {
			names = append(names, name)
		}
	}
	return names
}

// A verifier is one pass over what is published.
type verifier struct {
	*openSite
	signer *site.Signer
	xdelta *inventory.Xdelta
	prints map[string]*versionCheck // by fingerprint
	built  bool                     // by this tool, which makes more than clients need
	report Report

	unchecked []string // deltas that were not decoded for want of xdelta3
}

func verify(ctx context.Context, w *openSite, signer *site.Signer) (*verifier, error) {
	v := &verifier{
		openSite: w, signer: signer, xdelta: inventory.NewXdelta(w.files, 0), prints: make(map[string]*versionCheck),
		built: w.files.ReadState(w.recordPath()) != nil,
	}
	ids := make(map[string][]string)
	for _, stream := range w.Streams {
		list, err := v.stream(ctx, stream)
		if err != nil {
			return v, err
		}
		ids[stream] = list
		v.derived(w.catalogs.Path(stream), w.lines)
	}
	v.index(ids)
	v.derived(w.catalogs.IndexPath(), func(string) ([]byte, error) {
		index, err := w.catalogs.Index()
		if err != nil {
			return nil, err
		}
		return indexLines(index)
	})
	v.sayUnchecked(ctx)
	slices.SortStableFunc(v.report.Faults, func(a, b Fault) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	return v, nil
}

func (v *verifier) fault(kind FaultKind, name, format string, args ...any) {
	v.report.Faults = append(v.report.Faults, Fault{Kind: kind, Path: name, Problem: fmt.Sprintf(format, args...)})
}

// stream checks a catalog and what it lists, and returns the ids of its products.
func (v *verifier) stream(ctx context.Context, stream string) ([]string, error) {
	var ids []string
	var checks []*versionCheck
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(v.Workers)
	err := v.products(stream, func(id string, c *catalog.Product) error {
		ids = append(ids, id)
		v.report.Products++
		for _, name := range c.VersionNames() {
			check := &versionCheck{dir: c.Dir(stream, name)}
			checks = append(checks, check)
			group.Go(func() error { return v.version(inner, check, name, c.Versions) })
		}
		return context.Cause(inner)
	})
	if end := group.Wait(); end != nil || ctx.Err() != nil {
		return nil, cmp.Or(end, context.Cause(ctx))
	}
	if err != nil {
		v.fault(faultCatalog, v.catalogs.Path(stream), "%v", dirfd.Cause(err))
	}
	if !slices.IsSorted(ids) {
		if v.built {
			v.fault(faultCatalog, v.catalogs.Path(stream), "the products are not sorted")
		}
		slices.Sort(ids)
	}
	for _, c := range checks {
		v.collect(c)
	}
	return ids, nil
}

// products reads a catalog as eachProduct does, and checks all of it that is not in a
// product's files.
func (v *verifier) products(stream string, fn func(string, *catalog.Product) error) error {
	name := v.catalogs.Path(stream)
	f, err := v.files.OpenRegular(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := catalog.NewReader(f, stream)
	r.Foreign = true
	err = inventory.ReadProducts(r, name, fn, func(bad *catalog.InvalidError) { v.fault(faultCatalog, name, "%v", bad) })
	if err == nil {
		err = r.CheckHeader()
	}
	return err
}

// sayUnchecked says once that xdelta3 is missing, however many deltas there are.
func (v *verifier) sayUnchecked(ctx context.Context) {
	if n := len(v.unchecked); n > 0 {
		v.fault(faultUnchecked, v.unchecked[0], "%s cannot be checked: %v; install it", plural(n, "delta"), v.xdelta.Available(ctx))
	}
}

// derived checks the compressed form of a file and its signatures, of which one is in a form
// with lines.
func (v *verifier) derived(name string, lines func(string) ([]byte, error)) {
	if _, err := v.files.Lstat(name); err != nil {
		return // that is a fault already
	}
	_, err := v.files.Lstat(name + site.GzipSuffix)
	if unasked := !v.built && errors.Is(err, fs.ErrNotExist); !unasked && !v.files.SameUnpacked(name) {
		v.fault(faultGzip, name+site.GzipSuffix, "it is missing or does not unpack to %s", path.Base(name))
	}
	if v.signer == nil {
		return
	}
	if err := v.signer.Verify(v.files, name); err != nil {
		v.fault(faultSignature, name+site.SignatureSuffix, "%v", dirfd.Cause(err))
	}
	signed := site.SignedName(name)
	text, err := v.signer.ReadSigned(v.files, signed)
	if err != nil {
		v.fault(faultSignature, signed, "%v", dirfd.Cause(err))
	} else if want, err := lines(name); err != nil || !bytes.Equal(text, want) {
		v.fault(faultSignature, signed, "it does not say what %s says", path.Base(name))
	}
}

// index checks that the index says what the catalogs say.
func (v *verifier) index(ids map[string][]string) {
	name := v.catalogs.IndexPath()
	f, err := v.files.OpenRegular(name)
	if err != nil {
		v.fault(faultIndex, name, "%v", dirfd.Cause(err))
		return
	}
	defer f.Close()
	index, err := catalog.ReadIndex(f)
	if err != nil {
		v.fault(faultIndex, name, "%v", err)
		return
	}
	for entry := range inventory.Sorted(index.Entries) {
		if err := catalog.CheckStream(entry); err != nil {
			v.fault(faultIndex, name, "an entry of it is not that of a stream: %v", err)
		}
	}
	for _, stream := range v.Streams {
		entry, ok := index.Entries[stream]
		switch _, err := time.Parse(time.RFC3339, entry.Updated); {
		case !ok:
			v.fault(faultIndex, name, "stream %s is not in it", stream)
		case entry.Datatype != catalog.Datatype || entry.Format != catalog.FormatProducts || entry.Path != v.catalogs.Path(stream):
			v.fault(faultIndex, name, "the entry of stream %s is not that of its catalog", stream)
		case err != nil && (v.built || entry.Updated != ""):
			v.fault(faultIndex, name, "the time of stream %s is none: %q", stream, entry.Updated)
		case !slices.Equal(slices.Sorted(slices.Values(entry.Products)), ids[stream]):
			v.fault(faultIndex, name, "the products of stream %s are not those of its catalog", stream)
		}
	}
}

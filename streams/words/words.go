// Package words has the words on an image server, build, prune, verify, list and add, with
// the options of each, said once for recipes and for the command line.
//
// It neither works on a site nor knows a language: what the options say becomes the options
// of package streams.
package words

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/options"
	"imagebuilder/builtins/timespan"
	"imagebuilder/streams"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
)

// Each word of the tool has its table here: the options that it alone has, and those of a
// kind that several have.

// A BuildCall is the options of the word build.
type BuildCall struct {
	onSite
	publishing
	page
	Strict bool // any trouble is an error

	opts   streams.BuildOptions
	disks  string
	share  float64
	memory bytesize.Size
	file   bytesize.Size // the largest of an image
}

// ForBuild returns the options of build, all at their defaults.
func ForBuild(spell options.Spelling) *BuildCall {
	b := &BuildCall{onSite: newOnSite(spell), disks: "safe", share: streams.DefaultDeltaShare}
	deltas := &b.opts.Deltas
	b.addStreams(streams.DefaultStream)
	b.page.addTo(&b.Table)
	b.Add(
		&options.Setting{
			Name: "deltas", Flag: "no-deltas", To: (*options.Opposite)(&deltas.Off),
			Help: "make no deltas; those that are there stay listed",
		},
		&options.Setting{
			Name: "disk_deltas", To: &b.disks,
			Help:  "`which` deltas of VM disks to list: always, never, or safe: not those that Incus would apply to a container image",
			Check: func() error { _, err := inventory.ParseDiskDeltas(b.disks); return err },
		},
		&options.Setting{
			Name: "delta_share", To: &b.share, Check: isShare(&b.share),
			Help: "largest `share` of its file, from 0 to 1, at which a delta is worth having",
		},
		&options.Setting{
			Name: "delta_memory", To: &b.memory,
			Help: "`size` of the memory that all xdelta3 processes take together (default half of the machine's)",
		},
		&options.Setting{
			Name: "retain_builds", To: &deltas.Retain.Builds,
			Help: "make deltas only for so many of the newest versions, as prune is going to keep (default all)",
		},
		&options.Setting{
			Name: "retain_days", To: &deltas.Retain.Days,
			Help: "make deltas only for versions of the last `days`, as prune is going to keep (default all)",
		},
		&options.Setting{
			Name: "max_file", To: &b.file,
			Help: "`size` of the largest file of an image; a version with a larger one is not read and left out (default 256GiB)",
		},
		&options.Setting{
			Name: "upstream", To: &b.opts.Upstream,
			Help: "list what simplestream-maintainer lists, no more; Incus sees no images then",
		},
		&options.Setting{
			Name: "dry_run", To: &b.opts.DryRun,
			Help: "only say what would be done, as far as can be told without reading images",
		},
		strict(&b.Strict),
	)
	b.publishing.addTo(&b.Table, "sign the index and the catalogs, beside them (.json.gpg) and in them (.sjson)")
	b.addVersion()
	b.addWork()
	b.Together(func() error {
		if deltas.Retain.Builds < 0 || deltas.Retain.Days < 0 {
			return fmt.Errorf("%s and %s are not negative", b.Named("retain_builds"), b.Named("retain_days"))
		}
		return nil
	})
	return b
}

// Options returns what the options say, once they have been checked.
func (b *BuildCall) Options(s streams.Site) streams.BuildOptions {
	opts := b.opts
	opts.Site, opts.Page, opts.Safety = b.fill(s), b.page.options(), b.safety()
	opts.Deltas.Disks, _ = inventory.ParseDiskDeltas(b.disks) // it was checked
	opts.Deltas.MaxShare, opts.Deltas.Memory = nonzero(b.share), int64(b.memory)
	opts.MaxFile = int64(b.file)
	return opts
}

// A PruneCall is the options of the word prune.
type PruneCall struct {
	onSite
	publishing
	Strict bool // any trouble is an error

	opts       streams.PruneOptions
	grace, age timespan.Span
}

// ForPrune returns the options of prune, all at their defaults.
func ForPrune(spell options.Spelling) *PruneCall {
	p := &PruneCall{onSite: newOnSite(spell), grace: timespan.Span(streams.DefaultGrace), age: timespan.Span(streams.DefaultDanglingAge)}
	retain := &p.opts.Retain
	retain.Builds = streams.DefaultRetainBuilds
	p.addStreams(streams.DefaultStream)
	p.Add(
		&options.Setting{
			Name: "retain_builds", To: &retain.Builds, Help: "`number` of versions of each product to keep",
			Check: func() error {
				if retain.Builds < 1 {
					return options.Want(retain.Builds, "at least 1")
				}
				return nil
			},
		},
		&options.Setting{
			Name: "retain_days", To: &retain.Days, Help: "keep versions of so many `days`, and the newest (default any age)",
			Check: func() error {
				if retain.Days < 0 {
					return options.Want(retain.Days, "no negative number")
				}
				return nil
			},
		},
		&options.Setting{Name: "allow_empty", To: &retain.AllowEmpty, Help: "let {retain_days} take the last version of a product as well"},
		&options.Setting{
			Name: "remove", To: &p.opts.Remove, Check: p.checkRemove,
			Help: "take out the version of the image with this `fingerprint`, or its beginning, and nothing else unless {retain_builds} or {retain_days} is given; may be repeated",
		},
		&options.Setting{Name: "grace", To: &p.grace, Help: "`duration` from leaving the catalog to the removal of files; 0: at once"},
		&options.Setting{Name: "dangling", To: &p.opts.Dangling, Help: "also remove what no catalog lists"},
		&options.Setting{Name: "dangling_age", To: &p.age, Help: "`duration` for which it must have been left alone"},
		&options.Setting{Name: "dry_run", To: &p.opts.DryRun, Help: "only say what would be done"},
		strict(&p.Strict),
	)
	p.publishing.addTo(&p.Table, "sign the index and the catalogs, beside them (.json.gpg) and in them (.sjson)")
	p.addVersion()
	p.addWork()
	return p
}

// Options returns what the options say, once they have been checked.
func (p *PruneCall) Options(s streams.Site) streams.PruneOptions {
	opts := p.opts
	opts.Site, opts.Safety = p.fill(s), p.safety()
	if !p.Get("retain_builds").Given {
		opts.Retain.Builds = 0 // the default, or all with remove
	}
	opts.Grace = p.grace.Duration()
	if opts.Grace == 0 {
		opts.Grace = streams.AtOnce
	}
	opts.DanglingAge = max(p.age.Duration(), time.Nanosecond) // zero would mean the default
	return opts
}

// fingerprint is the beginning of one.
var fingerprint = regexp.MustCompile(`^[0-9a-f]{1,64}$`)

// checkRemove refuses what is no fingerprint, and none at all: who says what is to go, and by
// some mistake says nothing, does not mean all that is old.
func (p *PruneCall) checkRemove() error {
	if len(p.opts.Remove) == 0 {
		return errors.New("want at least one fingerprint")
	}
	for _, text := range p.opts.Remove {
		if !fingerprint.MatchString(text) {
			return options.Want(text, "a fingerprint, or its beginning, of the digits 0-9 and a-f")
		}
	}
	return nil
}

// A VerifyCall is the options of the word verify.
type VerifyCall struct {
	onSite
	publishing
	Repair bool
}

// ForVerify returns the options of verify, all at their defaults.
func ForVerify(spell options.Spelling) *VerifyCall {
	v := &VerifyCall{onSite: newOnSite(spell)}
	v.addStreams("all that the index lists")
	v.Add(&options.Setting{Name: "repair", To: &v.Repair, Help: "derive again what can be"})
	v.publishing.addTo(&v.Table, "check signatures, and make them with {repair}")
	v.addVersion()
	v.addWork()
	return v
}

// Options returns what the options say, once they have been checked.
func (v *VerifyCall) Options(s streams.Site) streams.VerifyOptions {
	return streams.VerifyOptions{Site: v.fill(s), Repair: v.Repair, Safety: v.safety()}
}

// A ListCall is the options of the word list.
type ListCall struct{ onSite }

// ForList returns the options of list, all at their defaults.
func ForList(spell options.Spelling) *ListCall {
	l := &ListCall{newOnSite(spell)}
	l.addStreams("all that the index lists")
	l.addVersion()
	l.Add(&options.Setting{Name: "natural_order", To: &l.natural, Help: "order versions by the numbers in their names"})
	return l
}

// Options returns what the options say, once they have been checked.
func (l *ListCall) Options(s streams.Site) streams.ListOptions {
	return streams.ListOptions{Site: l.fill(s)}
}

// A AddCall is the options of the word add.
type AddCall struct {
	onSite
	stream options.Once
	opts   streams.AddOptions
}

// ForAdd returns the options of add, all at their defaults.
func ForAdd(spell options.Spelling) *AddCall {
	a := &AddCall{onSite: newOnSite(spell), stream: options.Once{
		Text: streams.DefaultStream, Err: errors.New("an image can only be added to one stream"),
	}}
	n := &a.opts.Name
	a.Add(&options.Setting{
		Name: "stream", To: &a.stream, Help: "`name` of the stream, a directory of images (default " + streams.DefaultStream + ")",
		Check: func() error { return catalog.CheckStream(a.stream.Text) },
	})
	for _, part := range []struct {
		name, help string
		to         *string
	}{
		{"distribution", "`name` of the distribution", &n.Distro},
		{"release", "`name` of the release", &n.Release},
		{"architecture", "`name` of the architecture, as in amd64", &n.Arch},
		{"variant", "`name` of the variant", &n.Variant},
	} {
		a.Add(&options.Setting{Name: part.name, To: part.to, Help: part.help, Check: func() error { return catalog.CheckPart(*part.to) }})
	}
	a.Add(
		&options.Setting{
			Name: "version", To: &a.opts.Version, Help: "`name` of the version, as in 20260102_0304; it must be free",
			Check: func() error { return catalog.CheckVersion(a.opts.Version) },
		},
		&options.Setting{Name: "link", To: &a.opts.Link, Help: "link the files instead of copying them, where that is possible"},
	)
	a.addVersion()
	return a
}

// Options returns what the options say, once they have been checked.
func (a *AddCall) Options(s streams.Site) streams.AddOptions {
	opts := a.opts
	opts.Site = a.fill(s)
	opts.Streams = []string{a.stream.Text}
	return opts
}

func strict(to *bool) *options.Setting {
	return &options.Setting{Name: "strict", To: to, Help: "exit with 1 if there was any trouble"}
}

// isShare checks a number that is a part of a whole.
func isShare(f *float64) func() error {
	return func() error {
		if !(*f >= 0 && *f <= 1) { // nor is it no number at all
			return options.Want(f, "a share from 0 to 1")
		}
		return nil
	}
}

// nonzero returns as little as there is for zero, which the engine takes for "not given".
func nonzero(f float64) float64 { return max(f, math.SmallestNonzeroFloat64) }

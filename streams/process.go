package streams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
)

// A build works on many products side by side, and yet logs and counts as if it went from one
// to the next. How that is kept apart from the work is the matter of this file.

// A job is the work on one product: its new versions are read, newest first, or, once
// it is known which versions of all products are listed, its deltas are made. Only the
// job changes its product.
type job struct {
	*builder
	slots    *semaphore.Weighted // work on one file each, for all jobs together
	stream   *streamBuild
	product  *inventory.FoundProduct
	versions []*inventory.FoundVersion // that are listed, when that is known
	sum      BuildSummary
	noXdelta *inventory.DeltaResult // the first delta that could not be made because the program is missing
	records  []logRecord
	done     chan struct{}
}

// An logRecord is a log record that waits until those of the products before it are out,
// so that the order of the log is that of the tree.
type logRecord struct {
	level slog.Level
	msg   string
	args  []any
}

func (j *job) log(level slog.Level, msg string, args ...any) {
	j.records = append(j.records, logRecord{level, msg, args})
}

// process reads what is new, decides what is listed, and makes the deltas of that.
func (b *builder) process(ctx context.Context) error {
	if err := b.each(ctx, (*job).read); err != nil {
		return err
	}
	b.choose()
	return b.each(ctx, (*job).makeDeltas)
}

// each does one part of the work for all products.
func (b *builder) each(ctx context.Context, do func(*job, context.Context) error) error {
	jobs := b.jobs()
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(2 * b.Workers) // some at work and some waiting for a slot
	go func() {
		// What takes long comes last: if it is interrupted, the rest has been read.
		for _, j := range slices.SortedStableFunc(slices.Values(jobs), func(a, b *job) int { return cmp.Compare(a.unread(), b.unread()) }) {
			group.Go(func() error {
				defer close(j.done)
				return do(j, inner)
			})
		}
	}()
	for _, j := range jobs {
		<-j.done
		j.flush()
	}
	return group.Wait()
}

// unread is how many bytes there are to read.
func (j *job) unread() (n int64) {
	for _, v := range j.product.Versions {
		if v.Verdict == inventory.Unjudged && j.tooLarge(v) == nil {
			n += v.Unread()
		}
	}
	return n
}

// flush adds what came of a job to what came of those before it.
func (j *job) flush() {
	b := j.builder
	b.sum.add(&j.sum)
	for _, r := range j.records {
		b.openSite.log.Log(context.Background(), r.level, r.msg, r.args...)
	}
	if j.noXdelta != nil && b.noXdelta == nil {
		b.noXdelta = j.noXdelta // said once, however many deltas are missing
		b.fail("Failed creating delta file", append(j.noXdelta.Attrs(), "error", j.noXdelta.Err)...)
	}
}

func (b *builder) jobs() []*job {
	slots := semaphore.NewWeighted(int64(b.Workers))
	var jobs []*job
	for _, s := range b.streams {
		listed := make(map[*inventory.FoundProduct][]*inventory.FoundVersion)
		for _, p := range s.products {
			listed[p.FoundProduct] = p.versions
		}
		for _, p := range s.found.Products {
			jobs = append(jobs, &job{
				builder: b, slots: slots, stream: s, product: p, versions: listed[p], done: make(chan struct{}),
			})
		}
	}
	return jobs
}

// read judges the versions that are new or have changed and says what came of it.
func (j *job) read(ctx context.Context) error {
	if err := j.judgeAll(ctx); err != nil {
		return err
	}
	j.report()
	j.welcome()
	return nil
}

// do runs fn when a slot is free.
func (j *job) do(ctx context.Context, group *errgroup.Group, fn func()) error {
	if err := j.slots.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	group.Go(func() error {
		defer j.slots.Release(1)
		fn()
		return nil
	})
	return nil
}

// judgeAll judges the versions that have not been yet.
func (j *job) judgeAll(ctx context.Context) error {
	versions := j.product.Versions
	results := make([]inventory.Judgement, len(versions))
	var group errgroup.Group
	var err error
	for i := len(versions) - 1; i >= 0 && err == nil; i-- {
		v := versions[i]
		if v.Verdict != inventory.Unjudged {
			continue
		}
		if results[i].Err = j.tooLarge(v); results[i].Err == nil {
			err = j.do(ctx, &group, func() { results[i] = inventory.Judge(ctx, j.files, j.place(v), v, j.opts.Upstream) })
		}
	}
	group.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	for i, r := range results {
		j.sum.Read += r.Read
		if r.Config != nil {
			j.odd(versions[i], r.Config)
		}
		switch {
		case errors.Is(r.Err, errTooLarge): // whatever it was before, it is not that any more
			j.failed(versions[i], r.Err)
		case r.Err != nil:
			versions[i] = j.keepOld(versions[i], r.Err)
		}
	}
	return nil
}

// odd tells of configuration that has no effect.
func (j *job) odd(v *inventory.FoundVersion, c *inventory.ImageConfig) {
	for _, key := range c.WithoutEffect(j.product.Location.Product) {
		j.log(slog.LevelWarn, "Configuration has no effect", append(j.attrs(v), "key", key)...)
	}
}

// keepOld returns what stands for a version that could not be read just now: what
// was known of it, if that could be listed.
func (j *job) keepOld(v *inventory.FoundVersion, err error) *inventory.FoundVersion {
	j.failed(v, err)
	v.Verdict = inventory.Unjudged
	if v.Before != nil && v.Before.Verdict == inventory.Good {
		return v.Before
	}
	return v
}

func (j *job) failed(v *inventory.FoundVersion, err error) {
	j.sum.Failed++
	j.sum.unclean = true
	j.log(slog.LevelError, "Failed to get version", append(j.attrs(v), "error", err)...)
}

// errTooLarge is part of the error of a version with a file that is not read for its size.
var errTooLarge = errors.New("it is left out")

// tooLarge returns an error if a version has a file that is larger than any may be. That is
// no judgement: with another limit it is read.
func (b *builder) tooLarge(v *inventory.FoundVersion) error {
	limit := cmp.Or(b.opts.MaxFile, DefaultMaxFile)
	for _, f := range v.Files {
		if f.Class.IsItem() && f.Stamp.Size > limit {
			return fmt.Errorf("%w: %s has %s, and a file may have %s", errTooLarge, f.Name, bytesize.Size(f.Stamp.Size), bytesize.Size(limit))
		}
	}
	return nil
}

func (j *job) place(v *inventory.FoundVersion) catalog.Location { return j.product.Location.Of(v.Name) }

func (j *job) attrs(v *inventory.FoundVersion) []any {
	return []any{"streamName", j.stream.name, "product", j.product.Location.Product.ID(), "version", v.Name}
}

// report says what is wrong with the versions.
func (j *job) report() {
	for _, v := range j.product.Versions {
		switch v.Verdict {
		case inventory.Incomplete:
			j.sum.Incomplete++
			if v.Trouble != "" {
				j.log(slog.LevelWarn, "Version is incomplete", append(j.attrs(v), "item", v.Item, "error", v.Trouble)...)
			}
		case inventory.Rejected:
			j.sum.Rejected++
			j.log(slog.LevelError, "Checksum mismatch", append(j.attrs(v), "item", v.Item)...)
		case inventory.Failed:
			j.sum.Failed++
			j.log(slog.LevelError, "Failed to get version", append(j.attrs(v), "error", v.Trouble)...)
		}
	}
}

// welcome says which versions are new. Whether one that was withheld is listed now
// shows later.
func (j *job) welcome() {
	for _, v := range j.product.Listed() {
		if !j.stream.listing.Has(j.place(v)) && !j.before[j.place(v)] {
			j.added(v)
		}
	}
}

func (j *job) added(v *inventory.FoundVersion) {
	j.sum.Added++
	j.log(slog.LevelInfo, "New version added to the product catalog", j.attrs(v)...)
	if !catalog.Readable(v.Name) {
		j.log(slog.LevelWarn, "Clients pass over a version whose name does not start with a date", j.attrs(v)...)
	}
	if !catalog.KnownArchitecture(j.product.Location.Product.Arch) {
		j.log(slog.LevelWarn, "Clients pass over an architecture that they do not know", j.attrs(v)...)
	}
}

// ordered returns versions in the order that decides which is newer.
func (w *openSite) ordered(versions []*inventory.FoundVersion) []*inventory.FoundVersion {
	if !w.NaturalOrder {
		return versions
	}
	return slices.SortedFunc(slices.Values(versions), func(a, b *inventory.FoundVersion) int {
		return inventory.CompareVersions(a.Name, b.Name, true)
	})
}

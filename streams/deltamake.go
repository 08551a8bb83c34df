package streams

import (
	"context"
	"crypto/sha256"
	"errors"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/site"
)

// errContradicts says that a delta cannot be listed although it may well be a good one.
var errContradicts = errors.New("it differs from its entry in " + sumsName + ", which is signed")

// fulfil sees to a wish: a delta file that is there is taken if it can be decoded,
// and otherwise made. One that is too large is not worth having, and one that
// contradicts checksums which cannot be changed is not taken.
func (x *xdelta) fulfil(ctx context.Context, w wish, share float64) *deltaResult {
	r := &deltaResult{wish: w, file: w.file()}
	if r.signed, r.err = signedSum(x.files, w.place.Of(w.target.name), w.name); r.err != nil {
		return r
	}
	if w = r.wish; r.file != nil && !w.agrees(r.file.sum) {
		r.err = errContradicts
		return r
	}
	limit := int64(share * float64(w.to().stamp.Size))
	if r.file != nil {
		r.err = x.check(ctx, w.fromPath(), w.filePath(), w.to().sum)
	}
	if r.file == nil || errors.Is(r.err, errDecode) {
		r.file, r.err = x.make(ctx, w, limit)
		r.made = r.file != nil
	}
	switch {
	case r.err != nil:
	case r.file != nil && r.file.stamp.Size <= limit:
		r.kept, r.key = true, w.keptKey(r.file)
	default:
		r.key = w.droppedKey(share)
	}
	return r
}

// make makes a delta under a temporary name, checks it and gives it its own. If it
// is larger than limit, or not the one that was signed, it is removed again and the
// result is nil.
func (x *xdelta) make(ctx context.Context, w wish, limit int64) (f *file, err error) {
	temp := dirfd.TempName(w.filePath())
	if err := x.files.Remove(temp); err != nil {
		return nil, err
	}
	out, err := x.files.Create(temp, site.FileMode)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, out.Close())
		if f == nil {
			err = errors.Join(err, x.files.Remove(temp))
		}
	}()
	if err := x.encode(ctx, w.fromPath(), w.toPath(), out.File()); err != nil {
		return nil, err
	}
	st, err := out.File().Stat()
	if err != nil || st.Size() > limit {
		return nil, err
	}
	if err := x.check(ctx, w.fromPath(), temp, w.to().sum); err != nil {
		return nil, err
	}
	return x.finish(ctx, out, temp, w)
}

// finish makes a delta durable and visible.
func (x *xdelta) finish(ctx context.Context, out *dirfd.Writer, temp string, w wish) (*file, error) {
	if err := out.Sync(); err != nil {
		return nil, err
	}
	st, err := x.files.Lstat(temp)
	if err != nil {
		return nil, err
	}
	// Nobody else writes it, so its time can be trusted although it is recent.
	f := &file{name: w.name, class: delta, stamp: site.StampOf(&st), settled: true, hashed: true}
	h := sha256.New()
	if err := x.files.Hash(ctx, temp, f.stamp, h); err != nil {
		return nil, err
	}
	if f.sum = digest.Of(h); !w.agrees(f.sum) {
		return nil, nil
	}
	if err := x.files.Rename(temp, w.filePath()); err != nil {
		return nil, err
	}
	return f, x.files.Sync(w.place.Of(w.target.name).Path())
}

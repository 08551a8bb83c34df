package inventory

import (
	"context"
	"crypto/sha256"
	"errors"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/site"
)

// How one delta comes about: taken if it is there and good, else made, checked and published.
// Nothing is listed here that was not decoded first.

// errContradicts says that a delta cannot be listed although it may well be a good one.
var errContradicts = errors.New("it differs from its entry in " + SumsName + ", which is signed")

// Fulfil sees to a wish: a delta file that is there is taken if it can be decoded,
// and otherwise made. One that is too large is not worth having, and one that
// contradicts checksums which cannot be changed is not taken.
func (x *Xdelta) Fulfil(ctx context.Context, w Wish, share float64) *DeltaResult {
	r := &DeltaResult{Wish: w, File: w.File()}
	if r.signed, r.Err = signedSum(x.files, w.place.Of(w.Target.Name), w.Name); r.Err != nil {
		return r
	}
	if w = r.Wish; r.File != nil && !w.agrees(r.File.Sum) {
		r.Err = errContradicts
		return r
	}
	limit := int64(share * float64(w.To().Stamp.Size))
	if r.File != nil {
		r.Err = x.Check(ctx, w.fromPath(), w.filePath(), w.To().Sum)
	}
	if r.File == nil || errors.Is(r.Err, ErrDecode) {
		r.File, r.Err = x.make(ctx, w, limit)
		r.Made = r.File != nil
	}
	switch {
	case r.Err != nil:
	case r.File != nil && r.File.Stamp.Size <= limit:
		r.Kept, r.key = true, w.keptKey(r.File)
	default:
		r.key = w.droppedKey(share)
	}
	return r
}

// make makes a delta under a temporary name, checks it and gives it its own. If it
// is larger than limit, or not the one that was signed, it is removed again and the
// result is nil.
func (x *Xdelta) make(ctx context.Context, w Wish, limit int64) (f *FoundFile, err error) {
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
	if err := x.Check(ctx, w.fromPath(), temp, w.To().Sum); err != nil {
		return nil, err
	}
	return x.finish(ctx, out, temp, w)
}

// finish makes a delta durable and visible.
func (x *Xdelta) finish(ctx context.Context, out *dirfd.Writer, temp string, w Wish) (*FoundFile, error) {
	if err := out.Sync(); err != nil {
		return nil, err
	}
	st, err := x.files.Lstat(temp)
	if err != nil {
		return nil, err
	}
	// Nobody else writes it, so its time can be trusted although it is recent.
	f := &FoundFile{Name: w.Name, Class: Delta, Stamp: site.StampOf(&st), Settled: true, Hashed: true}
	h := sha256.New()
	if err := x.files.Hash(ctx, temp, f.Stamp, h); err != nil {
		return nil, err
	}
	if f.Sum = digest.Of(h); !w.agrees(f.Sum) {
		return nil, nil
	}
	if err := x.files.Rename(temp, w.filePath()); err != nil {
		return nil, err
	}
	return f, x.files.Sync(w.place.Of(w.Target.Name).Path())
}

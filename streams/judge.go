package streams

import (
	"context"
	"errors"
	"slices"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// A judgement is what came of judging a version, besides its verdict.
type judgement struct {
	read   int64   // bytes
	config *config // of the version
	err    error   // something could not be read, which says nothing about the version
}

// judge reads what it has to of a version and decides whether it can be listed.
func judge(ctx context.Context, files *site.Files, place catalog.Place, v *version, upstream bool) (j judgement) {
	v.verdict, v.item, v.trouble = incomplete, "", ""
	if !v.isComplete(upstream) {
		return j
	}
	if f := v.find(sumsName); f != nil && f.stamp == unusable {
		v.verdict, v.item, v.trouble = failed, sumsName, sumsName+" is not a regular file"
		return j
	}
	sums, err := readSums(files, place, v)
	if err != nil {
		v.verdict = unjudged
		return judgement{err: err}
	}
	if name := v.missing(sums, upstream); name != "" {
		v.item, v.trouble = name, sumsName+" names a file that is not there"
		return j
	}
	j.config, j.err = readConfig(files, place, v)
	if bad := (*configError)(nil); errors.As(j.err, &bad) {
		v.verdict, v.trouble = failed, j.err.Error()
		return judgement{}
	}
	if j.err == nil {
		j.read, j.err = hashVersion(ctx, files, place, v)
	}
	if j.err != nil {
		v.verdict = unjudged
		return j
	}
	v.verdict = good
	if name := v.mismatch(sums); name != "" {
		v.verdict, v.item = rejected, name
		v.trouble = "it differs from its entry in " + sumsName + ", or has none"
	}
	v.doubtDeltas(sums)
	return j
}

// isComplete tells whether there is metadata and a root file system. In the old
// tool's way, a tarball alone is none.
func (v *version) isComplete(upstream bool) bool {
	var meta, rootfs bool
	for _, f := range v.files {
		meta = meta || f.class.isMeta()
		rootfs = rootfs || f.class.isRootfs() && !(upstream && f.class == rootTarXZ)
	}
	return meta && rootfs
}

// readSums returns what SHA256SUMS says, nil if there is none.
func readSums(files *site.Files, place catalog.Place, v *version) (map[string]digest.Digest, error) {
	if v.find(sumsName) == nil {
		return nil, nil
	}
	data, err := files.ReadSmall(place.File(sumsName))
	if err != nil {
		return nil, err
	}
	return parseSums(data), nil
}

// missing returns an item that is in the sums but not in the version: the upload
// is not finished.
func (v *version) missing(sums map[string]digest.Digest, upstream bool) string {
	for name := range sorted(sums) {
		c := classify(name, upstream)
		if c.isItem() && c != delta && v.find(name) == nil {
			return name
		}
	}
	return ""
}

// mismatch returns an item that is not what the sums say. Deltas do not count: they
// are made here after the sums, and each is checked by decoding it.
func (v *version) mismatch(sums map[string]digest.Digest) string {
	if sums == nil {
		return ""
	}
	for _, f := range v.files {
		if f.class.isItem() && f.class != delta && sums[f.name] != f.sum {
			return f.name
		}
	}
	return ""
}

// doubtDeltas forgets what is known of deltas that the sums, which are others now,
// contradict: either file may have to go by the other.
func (v *version) doubtDeltas(sums map[string]digest.Digest) {
	v.deltas = slices.DeleteFunc(slices.Clone(v.deltas), func(d decision) bool {
		want, ok := sums[d.name]
		f := v.find(d.name)
		return ok && f != nil && f.sum != want
	})
}

// A configError says that a configuration can be read but not understood.
type configError struct {
	name string
	err  error
}

func (e *configError) Error() string { return e.name + ": " + e.err.Error() }

func (e *configError) Unwrap() error { return e.err }

// readConfig returns the configuration of a version, nil if it has none.
func readConfig(files *site.Files, place catalog.Place, v *version) (*config, error) {
	for _, name := range []string{configName, configNameDoc} {
		if v.find(name) == nil {
			continue
		}
		data, err := files.ReadSmall(place.File(name))
		if err != nil {
			return nil, err
		}
		c, err := parseConfig(data)
		if err != nil {
			return nil, &configError{name, err}
		}
		return c, nil
	}
	return nil, nil
}

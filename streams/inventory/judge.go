package inventory

import (
	"context"
	"errors"
	"slices"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// Whether a version can be listed is one judgement on all of it: complete, as its checksums
// say, understood. A version that could not be read was not judged.

// A Judgement is what came of judging a version, besides its verdict.
type Judgement struct {
	Read   int64        // bytes
	Config *ImageConfig // of the version
	Err    error        // something could not be read, which says nothing about the version
}

// Judge reads what it has to of a version and decides whether it can be listed.
func Judge(ctx context.Context, files *site.Files, place catalog.Location, v *FoundVersion, upstream bool) (j Judgement) {
	v.Verdict, v.Item, v.Trouble = Incomplete, "", ""
	if !v.IsComplete(upstream) {
		return j
	}
	if f := v.Find(SumsName); f != nil && f.Stamp == unusable {
		v.Verdict, v.Item, v.Trouble = Failed, SumsName, SumsName+" is not a regular file"
		return j
	}
	sums, err := readSums(files, place, v)
	if err != nil {
		v.Verdict = Unjudged
		return Judgement{Err: err}
	}
	if name := v.missing(sums, upstream); name != "" {
		v.Item, v.Trouble = name, SumsName+" names a file that is not there"
		return j
	}
	j.Config, j.Err = readConfig(files, place, v)
	if bad := (*configError)(nil); errors.As(j.Err, &bad) {
		v.Verdict, v.Trouble = Failed, j.Err.Error()
		return Judgement{}
	}
	if j.Err == nil {
		j.Read, j.Err = HashVersion(ctx, files, place, v)
	}
	if j.Err != nil {
		v.Verdict = Unjudged
		return j
	}
	v.Verdict = Good
	if name := v.mismatch(sums); name != "" {
		v.Verdict, v.Item = Rejected, name
		v.Trouble = "it differs from its entry in " + SumsName + ", or has none"
	}
	v.doubtDeltas(sums)
	return j
}

// IsComplete tells whether there is metadata and a root file system. In the old
// tool's way, a tarball alone is none.
func (v *FoundVersion) IsComplete(upstream bool) bool {
	var meta, rootfs bool
	for _, f := range v.Files {
		meta = meta || f.Class.isMeta()
		rootfs = rootfs || f.Class.IsRootfs() && !(upstream && f.Class == rootTarXZ)
	}
	return meta && rootfs
}

// readSums returns what SHA256SUMS says, nil if there is none.
func readSums(files *site.Files, place catalog.Location, v *FoundVersion) (map[string]digest.Digest, error) {
	if v.Find(SumsName) == nil {
		return nil, nil
	}
	data, err := files.ReadSmall(place.File(SumsName))
	if err != nil {
		return nil, err
	}
	return digest.ParseSums(data), nil
}

// missing returns an item that is in the sums but not in the version: the upload
// is not finished.
func (v *FoundVersion) missing(sums map[string]digest.Digest, upstream bool) string {
	for name := range Sorted(sums) {
		c := Classify(name, upstream)
		if c.IsItem() && c != Delta && v.Find(name) == nil {
			return name
		}
	}
	return ""
}

// mismatch returns an item that is not what the sums say. Deltas do not count: they
// are made here after the sums, and each is checked by decoding it.
func (v *FoundVersion) mismatch(sums map[string]digest.Digest) string {
	if sums == nil {
		return ""
	}
	for _, f := range v.Files {
		if f.Class.IsItem() && f.Class != Delta && sums[f.Name] != f.Sum {
			return f.Name
		}
	}
	return ""
}

// doubtDeltas forgets what is known of deltas that the sums, which are others now,
// contradict: either file may have to go by the other.
func (v *FoundVersion) doubtDeltas(sums map[string]digest.Digest) {
	v.deltas = slices.DeleteFunc(slices.Clone(v.deltas), func(d decision) bool {
		want, ok := sums[d.name]
		f := v.Find(d.name)
		return ok && f != nil && f.Sum != want
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
func readConfig(files *site.Files, place catalog.Location, v *FoundVersion) (*ImageConfig, error) {
	for _, name := range []string{configName, configNameDoc} {
		if v.Find(name) == nil {
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

// Doubt applies what a verification found to what is believed of the version. A delta
// that is wrong is looked at again, and the version is taken out if the content of another
// file is not what it was although nothing says that it was replaced. It comes back when
// the files change.
func (v *FoundVersion) Doubt(found func(file string) (wrong, content bool)) {
	for i := range v.Files {
		f := &v.Files[i]
		wrong, content := found(f.Name)
		switch {
		case !wrong:
		case f.Class == Delta:
			f.Hashed = false
			v.Verdict = Unjudged
			v.deltas = slices.DeleteFunc(slices.Clone(v.deltas), func(d decision) bool { return d.name == f.Name })
		case content && (f.Hashed || v.Before == nil):
			v.Verdict, v.Item, v.Trouble = Failed, f.Name, "its content is not what it was, though nothing says that it was replaced"
			return
		}
	}
}

package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/packages"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/sbom"
	"imagebuilder/builtins/treetask"
)

// What is said of a packed image beside it: its packages, as results of the store like the image
// itself, and the digests of all its files.

// documents makes or finds what is said of an image, whose last file is given, and which was
// made at a time.
func (k packer) documents(ctx context.Context, last *File, made time.Time) ([]*File, error) {
	list, kept, err := k.packages(ctx)
	if err != nil {
		return nil, err
	}
	for _, why := range list.Unread {
		k.Log.Warn("the packages of the image are not all listed", "step", k.step.Label, "at", k.step.At, "cause", why)
	}
	now, err := k.image.At(made)
	if err != nil {
		return nil, err
	}
	about := sbom.Image{
		Name: now.Name, Version: now.Serial, Description: now.Description, Distribution: now.Distribution, Release: now.Release,
		File: last.Name, SHA256: last.SHA256, Created: made, List: list,
	}
	facts := about
	facts.List = packages.List{} // whose digest stands for it
	said, err := json.Marshal(facts)
	if err != nil {
		return nil, fmt.Errorf("internal error: %w", err)
	}
	var files []*File
	for _, kind := range sbom.Kinds {
		name := last.Name + kind.Suffix
		st := layer.Origin{Name: "sbom", Summary: name, Intact: stillDescribed, Inputs: []layer.Input{
			documentFormat, {Name: "kind", Value: kind.Suffix}, {Name: "image", Value: string(said)}, {Name: "packages", Value: kept.SHA256},
		}}
		file, err := k.keepMade(ctx, name, st, func() ([]byte, error) { return kind.Write(about) })
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// documentFormat is part of the keys of all that is made here: whoever changes what comes of the
// same packages changes it.
var documentFormat = layer.Input{Name: "format", Value: "1"}

// packages are those of the root file system, which is read once.
func (k packer) packages(ctx context.Context) (list packages.List, kept *File, err error) {
	const name = "packages.json"
	st := layer.Origin{Name: "packages", Summary: name, Intact: stillDescribed, Inputs: []layer.Input{documentFormat}}
	dir, _, err := k.stateOf(k.step.Root).Result(ctx, st, func(ctx context.Context, stack sandbox.Stack, dir string) error {
		list, err := treetask.Packaging.Run(ctx, []sandbox.Stack{stack}, "/")
		if err != nil {
			return err
		}
		data, err := json.Marshal(list)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
		return describe(dir, name)
	})
	if err != nil {
		return list, nil, err
	}
	if kept, err = described(dir); err != nil {
		return list, nil, err
	}
	data, err := kept.Read()
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	return list, kept, err
}

// SumsName is the file with the digests of a directory.
const SumsName = "SHA256SUMS"

// putWithSums puts the files of an image into the target directory, with their digests.
// Those are no moment wrong: the lines of what is replaced are away meanwhile.
func (k packer) putWithSums(ctx context.Context, set []pack.Result) error {
	dir := filepath.Join(k.Target, k.dir)
	sums := make(map[string]digest.Digest)
	for _, r := range set {
		sum, err := digest.Parse(r.SHA256)
		if err != nil {
			return fmt.Errorf("internal error: %s: %w", r.Name, err)
		}
		sums[r.Name] = sum
	}
	outdated := func(_ *dirfd.Dir, listed map[string]digest.Digest) map[string]digest.Digest {
		edits := make(map[string]digest.Digest)
		for name, sum := range listed {
			if now, ok := sums[name]; ok && now != sum {
				edits[name] = digest.Digest{}
			}
		}
		return edits
	}
	if err := k.editSums(dir, outdated); err != nil {
		return err
	}
	if err := k.put(ctx, set); err != nil {
		return err
	}
	return k.editSums(dir, func(d *dirfd.Dir, listed map[string]digest.Digest) map[string]digest.Digest {
		edits := maps.Clone(sums)
		for name := range listed {
			if gone(d, listed, name) {
				edits[name] = digest.Digest{}
			}
		}
		return edits
	})
}

// gone tells whether a file of an image, with which documents were listed, is there no more.
func gone(d *dirfd.Dir, listed map[string]digest.Digest, name string) bool {
	image := name
	for _, kind := range sbom.Kinds {
		image = strings.TrimSuffix(image, kind.Suffix)
	}
	_, ours := listed[image+sbom.Kinds[len(sbom.Kinds)-1].Suffix]
	return ours && !d.Exists(name)
}

// editSums changes lines of the SHA256SUMS of a directory; see [digest.EditSums]. Other lines stay,
// and so does all of one that is signed.
func (k packer) editSums(dir string, edit func(d *dirfd.Dir, listed map[string]digest.Digest) map[string]digest.Digest) error {
	d, err := dirfd.Open(dir, dirfd.Refuse)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was published yet
	}
	if err != nil {
		return err
	}
	defer d.Close()
	before, err := d.ReadFile(SumsName, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	after := digest.EditSums(before, edit(d, digest.ParseSums(before)))
	if err != nil || string(after) == string(before) {
		return err
	}
	for _, suffix := range digest.SignatureSuffixes {
		if d.Exists(SumsName + suffix) {
			k.Log.Warn(filepath.Join(dir, SumsName)+" stays as it is, without the image: it is signed", "step", k.step.Label, "at", k.step.At)
			return nil
		}
	}
	if err := d.Replace(SumsName, 0o644, dirfd.Bytes(after)); err != nil {
		return fmt.Errorf("cannot write %s: %w", filepath.Join(dir, SumsName), err)
	}
	return nil
}

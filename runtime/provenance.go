package runtime

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/provenance"
)

// Where images come from, as the run knows that has made them.

// ProvenanceName is the name of the file that has it, beside the images.
const ProvenanceName = "provenance.intoto.jsonl"

// A Signer vouches for what runs say of the images they have made.
type Signer struct {
	Key     provenance.Key // a private one
	Version string         // of the tool
}

// vouch writes the provenance of the results, beside them: those of a directory have one file.
func (r *Recipe) vouch(s Signer, b *build.Builder, start time.Time) error {
	said := r.provenance(b)
	said.Version = s.Version
	if said.Epoch == "" { // else the same images are to have the same provenance
		said.Started, said.Ended = start, time.Now()
	}
	images := make(map[string][]provenance.Resource)
	for _, result := range b.Results {
		if result.SHA256 == "" {
			continue // a directory
		}
		dir, name := filepath.Split(result.Path)
		images[dir] = append(images[dir], provenance.Resource{Name: name, SHA256: result.SHA256})
	}
	for _, dir := range slices.Sorted(maps.Keys(images)) {
		said.Images = images[dir]
		written, err := s.write(r.loader.ctx, said, filepath.Clean(dir))
		if err != nil {
			return fmt.Errorf("cannot write the provenance of what is in %s: %w", filepath.Clean(dir), err)
		}
		b.Results = append(b.Results, written)
	}
	return nil
}

// provenance is what a run can say of all its images.
func (r *Recipe) provenance(b *build.Builder) provenance.Build {
	said := provenance.Build{
		Recipe:  r.Name,
		Options: r.options.given.List(),
		Epoch:   string(r.epoch),
		Tools:   make(map[string]string),
	}
	for _, tool := range host.Tools() {
		if r.needs[tool.Name] {
			if version := tool.VersionLine(r.loader.ctx); version != "" {
				said.Tools[tool.Name] = version
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.loader.texts)) {
		said.Inputs = append(said.Inputs, provenance.Resource{Name: name, SHA256: digest.Sum([]byte(r.loader.texts[name])).String()})
	}
	for _, in := range b.Inputs() {
		where := provenance.Resource{Name: in.Name, SHA256: in.SHA256, SignedBy: in.SignedBy}
		if strings.Contains(in.Name, "://") {
			where.Name, where.URI = "", in.Name
		}
		said.Inputs = append(said.Inputs, where)
	}
	for _, step := range b.Done {
		if step.Key != "" {
			said.Layers = append(said.Layers, provenance.Layer{Key: step.Key, Step: step.Step, What: step.What})
		}
	}
	return said
}

// write writes the signed provenance of images into their directory.
func (s Signer) write(ctx context.Context, said provenance.Build, dir string) (build.Result, error) {
	statement, err := said.Statement()
	if err != nil {
		return build.Result{}, err
	}
	envelope, err := provenance.Sign(ctx, statement, s.Key)
	if err != nil {
		return build.Result{}, err
	}
	envelope = append(envelope, '\n')
	d, err := dirfd.Open(dir, dirfd.Refuse)
	if err != nil {
		return build.Result{}, err
	}
	defer d.Close()
	return build.Result{Path: filepath.Join(dir, ProvenanceName), Size: int64(len(envelope)), SHA256: digest.Sum(envelope).String()},
		d.Replace(ProvenanceName, 0o644, func(w *bufio.Writer) error { _, err := w.Write(envelope); return err })
}

package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/signing"
)

// What became of runs, with the files that they have made, for machines that have nothing but the
// registry in common. A run of a recipe with the same options takes the place of the one before, so
// that these do not pile up.

// reportPrefix begins the tags of reports; what tells runs apart follows.
const reportPrefix = "cell-"

// reportType is the media type of what is signed of a report.
const reportType = "application/vnd.imagebuilder.report.v1+json"

// maxFiles is more than a run has.
const maxFiles = 10000

// A Report is what became of a run.
type Report struct {
	Recipe  string          `json:"recipe"` // without its directory
	Options []string        `json:"options"`
	Result  json.RawMessage `json:"result"` // what the run says of itself
	Files   []File          `json:"files,omitempty"`
}

// A File is one that a run has made.
type File struct {
	Name   string `json:"name"` // with slashes, below the directory of the run
	Size   int64  `json:"size"` // in bytes
	SHA256 string `json:"sha256"`
}

// reportTag is where the report of a run is.
func reportTag(recipe string, options []string) string {
	text, err := json.Marshal(append([]string{recipe}, options...))
	if err != nil {
		panic("internal error: " + err.Error()) // texts are always JSON
	}
	return reportPrefix + digest.Sum(text).String()
}

// Begins says that a run has begun, in place of what became of the one before.
func (s *Share) Begins(ctx context.Context, r Report) {
	s.notGiven(ctx, "report", s.giveReport(ctx, r, ""))
}

// Ends gives what became of a run, with its files below a directory. That is tried whatever trouble
// there was: unlike layers nobody can make it again who looks for it.
func (s *Share) Ends(ctx context.Context, r Report, dir string) {
	err := s.back(ctx)
	if err == nil {
		err = s.giveReport(ctx, r, dir)
	}
	if err != nil {
		s.Log.Warn("what became of the run is not in the shared store: 'imagebuilder matrix publish --remote' does not find it there", "store", s.repo.String(), "cause", err)
	}
}

// returning is how long a registry that could not be used is waited for once more.
const returning = 2 * time.Second

// back finds out whether a registry can be used, if it could not before.
func (s *Share) back(ctx context.Context) error {
	if s.Signer == nil || s.Giving == None || !s.troubled(asking) {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, returning, errSilent)
	defer cancel()
	if _, err := s.puller.Head(ctx, s.repo.Tag("none")); err != nil && !missing(err) {
		return err
	}
	return nil
}

func (s *Share) giveReport(ctx context.Context, r Report, dir string) error {
	if s.Signer == nil || s.Giving == None {
		return nil
	}
	tag := reportTag(r.Recipe, r.Options)
	s.Used(tag)
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	envelope, err := s.Signer.Sign(ctx, reportType, text)
	if err != nil {
		return err
	}
	var blobs []blob
	has := make(map[string]bool)
	for _, f := range r.Files {
		if !has[f.SHA256] {
			has[f.SHA256] = true
			blobs = append(blobs, body{filepath.Join(dir, filepath.FromSlash(f.Name)), v1.Hash{Algorithm: "sha256", Hex: f.SHA256}, f.Size})
		}
	}
	if blobs == nil {
		blobs = append(blobs, static.NewLayer([]byte("{}"), emptyType)) // as images have layers
	}
	image, err := newImage(envelopeType, envelope, blobs...)
	if err != nil {
		return err
	}
	return s.pusher.Push(ctx, s.repo.Tag(tag), image)
}

// needed is the pace of a registry that somebody cannot do without.
var needed = pace{answer: 30 * time.Second, keep: time.Minute, piece: 1 << 20}

// Need has the registry waited for that is needed, for reports: it is slow rather than of no use.
func (s *Share) Need() error { return s.keep(needed) }

// A SilentError is that a registry cannot say what it has.
type SilentError struct {
	Store string
	Cause error
}

func (e *SilentError) Error() string {
	return fmt.Sprintf("%s does not say what it has: %v", e.Store, e.Cause)
}

func (e *SilentError) Unwrap() error { return e.Cause }

// silent makes an error of the registry one that says so.
func (s *Share) silent(err error) error {
	if answered(err) || unusable(err) {
		return &SilentError{s.repo.String(), err}
	}
	return err
}

// Report returns what became of the last run of a recipe with options, nil if the store has nothing
// of it. Where nobody can know, the error is a [SilentError]; others are that it cannot be trusted.
func (s *Share) Report(ctx context.Context, recipe string, options []string) (*Report, error) {
	tag := reportTag(recipe, options)
	got, err := s.puller.Get(ctx, s.repo.Tag(tag))
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, s.silent(err)
	}
	image, err := got.Image()
	if err != nil {
		return nil, err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	if manifest.Config.MediaType != envelopeType || manifest.Config.Size > maxDescription {
		return nil, fmt.Errorf("%s:%s is no report of imagebuilder", s.repo, tag)
	}
	envelope, err := image.RawConfigFile()
	if err != nil {
		return nil, s.silent(err)
	}
	text, err := signing.Open(ctx, reportType, envelope, s.Keys...)
	if err != nil {
		return nil, fmt.Errorf("cannot trust %s:%s: %w", s.repo, tag, err)
	}
	r, err := parseReport(text)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s:%s: %w", s.repo, tag, err)
	}
	if reportTag(r.Recipe, r.Options) != tag {
		return nil, fmt.Errorf("%s:%s is about something else: %s with %q", s.repo, tag, r.Recipe, r.Options)
	}
	return r, nil
}

// parseReport reads what is signed of a report. Its files are below the directory of the run.
func parseReport(text []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	if len(r.Files) > maxFiles {
		return nil, fmt.Errorf("it has %d files, which is more than %d", len(r.Files), maxFiles)
	}
	for _, f := range r.Files {
		switch {
		case !filepath.IsLocal(f.Name) || filepath.Clean(f.Name) != f.Name || f.Name == ".":
			return nil, fmt.Errorf("%q is no name of a file below the directory of a run", f.Name)
		case !isAddress(f.SHA256):
			return nil, fmt.Errorf("%q is no SHA-256", f.SHA256)
		case f.Size < 0:
			return nil, fmt.Errorf("%s has the size %d", f.Name, f.Size)
		}
	}
	return &r, nil
}

// TakeFile writes the content of a file of a report, which is what the report says or an error.
func (s *Share) TakeFile(ctx context.Context, f File, w io.Writer) error {
	l, err := s.puller.Layer(ctx, s.repo.Digest("sha256:"+f.SHA256))
	var content io.ReadCloser
	if err == nil {
		content, err = l.Compressed()
	}
	if missing(err) {
		return fmt.Errorf("%s has it no more", s.repo)
	}
	if err != nil {
		return s.silent(err)
	}
	is := &counted{Writer: w, hash: sha256.New()}
	_, err = io.Copy(is, io.LimitReader(content, f.Size+1))
	if err == nil && (is.n != f.Size || is.sum() != f.SHA256) {
		err = fmt.Errorf("what %s has is another: it has the SHA-256 %s, not %s", s.repo, is.sum(), f.SHA256)
	}
	return errors.Join(s.silent(err), content.Close())
}

// FileOf describes a file of a run below a directory.
func FileOf(dir, name string) (File, error) {
	sum, size, err := digest.File(filepath.Join(dir, filepath.FromSlash(name)))
	return File{name, size, sum.String()}, err
}

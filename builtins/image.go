package builtins

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
)

// The value that says what is packed. What its fields mean, and how its texts are rendered,
// is in package build; here are its attributes and the word that makes one.

// An image is what a packed root file system is. Its attributes are those of the moment
// at which the run began.
type image struct {
	*build.Image
	now time.Time
}

var _ starlark.HasAttrs = (*image)(nil)

func (i *image) Type() string          { return "image" }
func (i *image) Freeze()               {}
func (i *image) Truth() starlark.Bool  { return true }
func (i *image) Hash() (uint32, error) { return starlark.String(i.String()).Hash() }

// Attr returns what will be packed now. A name or description that cannot be rendered is
// no business of the others.
func (i *image) Attr(name string) (starlark.Value, error) {
	now, err := i.At(i.now)
	if err != nil && (name == "name" || name == "description") {
		return nil, err
	}
	if value, ok := now.Fields()[name]; ok {
		return starlark.String(value), nil
	}
	return nil, nil
}

func (i *image) AttrNames() []string { return slices.Sorted(maps.Keys(i.Fields())) }

// make_image(distribution, release="", variant="default", architecture="", mapped="",
// kernel="", personality="", serial="", name="", description="", expiry="30d",
// context={}) returns an image. It is what image of the standard library is made of,
// which knows the names of architectures. name and description are templates, which
// see the image as image and what is in context; that they are wrong matters to images
// for LXD, which have them, and to who asks for them.
//
// Example:
//
//	img = make_image("debian", release = "trixie", architecture = "amd64", mapped = "amd64", kernel = "x86_64", personality = "linux64")
func (b *Words) makeImage(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	img := &build.Image{Variant: "default", Architecture: b.Machine}
	ends := expiry{build.Expiry{Duration: 30 * 24 * time.Hour, Text: "30d"}}
	var context *starlark.Dict
	if err := unpackArgs(fn, args, kwargs, "distribution", &img.Distribution, "release?", &img.Release, "variant?", &img.Variant,
		"architecture?", &img.Architecture, "mapped?", &img.Mapped, "kernel?", &img.Kernel, "personality?", &img.Personality,
		"serial?", &img.Serial, "name?", &img.Name, "description?", &img.Description, "expiry?", &ends, "context?", &context); err != nil {
		return nil, err
	}
	if strings.TrimSpace(img.Distribution) == "" {
		return nil, fmt.Errorf("%s: distribution is empty", fn.Name())
	}
	if img.Mapped == "" {
		img.Mapped = img.Architecture
	}
	img.Expiry = ends.Expiry
	if context != nil {
		img.Context = ToPlain(context).(map[string]any)
		if _, err := json.Marshal(img.Context); err != nil {
			return nil, fmt.Errorf("%s: context: a number in it is not finite", fn.Name())
		}
	}
	if _, err := img.At(b.Now); err != nil {
		b.Log.Warn("only images for LXD have a name and a description: " + err.Error())
	}
	return &image{img, b.Now}, nil
}

// expiry is an argument that is a length of time such as "30d" or "1h30m".
type expiry struct{ build.Expiry }

func (e *expiry) Unpack(v starlark.Value) (err error) {
	text, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("got %s, want a string such as \"30d\"", v.Type())
	}
	e.Expiry, err = build.ParseExpiry(text)
	return err
}

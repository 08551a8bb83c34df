package builtins

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/template"
)

// An Image says what a packed root file system is: the metadata of an image.
type Image struct {
	Distribution string
	Release      string
	Variant      string
	Architecture string // as given: a kernel's name or one of its aliases
	Mapped       string // the distribution's own name of it
	Kernel       string // the kernel's name of it
	Personality  string // linux32 or linux64
	Serial       string // empty: the time of packing
	Name         string // template; empty: made of the others
	Description  string // template; empty: made of the others
	Expiry       expiry
	Context      map[string]any // further names that the templates may use

	now time.Time // what the serial is if it is empty
}

var _ starlark.HasAttrs = (*Image)(nil)

func (i *Image) String() string {
	return fmt.Sprintf("<image %s %s %s %s>", i.Distribution, i.Release, i.Mapped, i.Variant)
}
func (i *Image) Type() string          { return "image" }
func (i *Image) Freeze()               {}
func (i *Image) Truth() starlark.Bool  { return true }
func (i *Image) Hash() (uint32, error) { return starlark.String(i.String()).Hash() }

// serialLayout is the layout of a serial that is the time of packing.
const serialLayout = "20060102_1504"

// at returns the image as it is at the time of packing, with its texts rendered.
func (i Image) at(now time.Time) (Image, error) {
	i.fill(now)
	context := i.context(nil)
	var err error
	if i.Name, err = template.Render(i.Name, context); err != nil {
		return i, fmt.Errorf("the name of the image: %w", err)
	}
	if i.Description, err = template.Render(i.Description, context); err != nil {
		return i, fmt.Errorf("the description of the image: %w", err)
	}
	return i, nil
}

// fill gives what is empty and depends on the time of packing its value.
func (i *Image) fill(now time.Time) {
	if i.Serial == "" {
		i.Serial = now.UTC().Format(serialLayout)
	}
	if i.Name == "" {
		i.Name = strings.Join([]string{i.Distribution, i.Release, i.Mapped, i.Variant, i.Serial}, "-")
	}
	if i.Description == "" {
		i.Description = i.describe()
	}
}

func (i Image) describe() string {
	first, size := utf8.DecodeRuneInString(i.Distribution)
	text := string(unicode.ToUpper(first)) + i.Distribution[size:] + " " + i.Release + " " + i.Mapped
	if i.Variant != "default" {
		text += " (" + i.Variant + ")"
	}
	return text + " (" + i.Serial + ")"
}

// fields are the attributes, under the names that definitions and templates use.
func (i *Image) fields() map[string]string {
	return map[string]string{
		"distribution":             i.Distribution,
		"release":                  i.Release,
		"variant":                  i.Variant,
		"architecture":             i.Architecture,
		"architecture_mapped":      i.Mapped,
		"architecture_kernel":      i.Kernel,
		"architecture_personality": i.Personality,
		"serial":                   i.Serial,
		"name":                     i.Name,
		"description":              i.Description,
		"expiry":                   i.Expiry.text,
	}
}

// context is what templates see of the image, with further names. Texts that are
// templates themselves stay so: they are rendered with what they are put into.
func (i Image) context(more map[string]any) map[string]any {
	fields := make(map[string]any)
	for name, value := range i.fields() {
		if value != "" {
			fields[name] = value
		}
	}
	context := map[string]any{"image": fields}
	for _, m := range []map[string]any{i.Context, more} {
		for name, value := range m {
			context[name] = value
		}
	}
	return context
}

// Attr returns what will be packed now.
func (i *Image) Attr(name string) (starlark.Value, error) {
	at, err := i.at(i.now)
	if err != nil {
		return nil, err
	}
	if value, ok := at.fields()[name]; ok {
		return starlark.String(value), nil
	}
	return nil, nil
}

func (i *Image) AttrNames() []string {
	return slices.Sorted(maps.Keys(i.fields()))
}

// MarshalJSON leaves out what depends on the time of packing, so that an image that
// has not changed is the same image a day later.
func (i *Image) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Distribution string         `json:"distribution"`
		Release      string         `json:"release"`
		Variant      string         `json:"variant"`
		Architecture string         `json:"architecture"`
		Mapped       string         `json:"architecture_mapped"`
		Serial       string         `json:"serial,omitempty"`
		Name         string         `json:"name,omitempty"`
		Description  string         `json:"description,omitempty"`
		Expiry       string         `json:"expiry"`
		Context      map[string]any `json:"context,omitempty"`
	}{i.Distribution, i.Release, i.Variant, i.Architecture, i.Mapped, i.Serial, i.Name, i.Description, i.Expiry.text, i.Context})
}

// make_image(distribution, release="", variant="default", architecture="", mapped="",
// kernel="", personality="", serial="", name="", description="", expiry="30d",
// context={}) returns an image. It is what image of the standard library is made of,
// which knows the names of architectures. name and description are templates, which
// see the image as image and what is in context.
func (b *Build) makeImage(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	img := &Image{Variant: "default", Architecture: b.Machine, Expiry: expiry{30 * 24 * time.Hour, "30d"}, now: b.Clock()}
	var context *starlark.Dict
	if err := unpackArgs(fn, args, kwargs, "distribution", &img.Distribution, "release?", &img.Release, "variant?", &img.Variant,
		"architecture?", &img.Architecture, "mapped?", &img.Mapped, "kernel?", &img.Kernel, "personality?", &img.Personality,
		"serial?", &img.Serial, "name?", &img.Name, "description?", &img.Description, "expiry?", &img.Expiry, "context?", &context); err != nil {
		return nil, err
	}
	if strings.TrimSpace(img.Distribution) == "" {
		return nil, fmt.Errorf("%s: distribution is empty", fn.Name())
	}
	if img.Mapped == "" {
		img.Mapped = img.Architecture
	}
	if context != nil {
		img.Context = ToPlain(context).(map[string]any)
		if _, err := json.Marshal(img.Context); err != nil {
			return nil, fmt.Errorf("%s: context: a number in it is not finite", fn.Name())
		}
	}
	_, err := img.at(img.now)
	return img, err
}

// expiry is an argument that is a length of time: parts such as "30d" or "1h30m", in
// seconds, minutes, hours, days and weeks, which are added up.
type expiry struct {
	time.Duration
	text string
}

var (
	expiryParts = regexp.MustCompile(`^\s*(\d+[smhdw]\s*)+$`)
	expiryPart  = regexp.MustCompile(`(\d+)([smhdw])`)
)

var expiryUnits = map[string]time.Duration{
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

func (e *expiry) Unpack(v starlark.Value) error {
	text, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("got %s, want a string such as \"30d\"", v.Type())
	}
	d, err := ParseExpiry(text)
	*e = expiry{d, text}
	return err
}

// ParseExpiry reads a length of time such as "30d" or "1w 2d 3h4m5s".
func ParseExpiry(text string) (time.Duration, error) {
	if !expiryParts.MatchString(text) {
		return 0, fmt.Errorf("not a length of time such as 30d or 1h30m (units s, m, h, d, w): %q", text)
	}
	var total time.Duration
	for _, part := range expiryPart.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseInt(part[1], 10, 64)
		unit := expiryUnits[part[2]]
		if err != nil || time.Duration(n) > (math.MaxInt64-total)/unit {
			return 0, fmt.Errorf("too long: %q", text)
		}
		total += time.Duration(n) * unit
	}
	return total, nil
}

package builtins

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.starlark.net/starlark"
)

// An Image says what a packed root file system is: the metadata of an image.
type Image struct {
	Distribution string
	Release      string
	Variant      string
	Architecture string // as given: a kernel's name or one of its aliases
	Mapped       string // the distribution's own name of it
	Serial       string // empty: the time of packing
	Name         string // empty: made of the others
	Description  string // empty: made of the others
	Expiry       time.Duration
	now          time.Time // what the serial is if it is empty
}

var _ starlark.HasAttrs = (*Image)(nil)

func (i *Image) String() string {
	return fmt.Sprintf("<image %s %s %s %s>", i.Distribution, i.Release, i.Mapped, i.Variant)
}
func (i *Image) Type() string          { return "image" }
func (i *Image) Freeze()               {}
func (i *Image) Truth() starlark.Bool  { return true }
func (i *Image) Hash() (uint32, error) { return starlark.String(i.String()).Hash() }

// serial is the layout of a serial that is the time of packing.
const serialLayout = "20060102_1504"

// at returns the image with the parts filled in that depend on the time of packing.
func (i Image) at(now time.Time) Image {
	if i.Serial == "" {
		i.Serial = now.Format(serialLayout)
	}
	if i.Name == "" {
		i.Name = strings.Join([]string{i.Distribution, i.Release, i.Mapped, i.Variant, i.Serial}, "-")
	}
	if i.Description == "" {
		first, size := utf8.DecodeRuneInString(i.Distribution)
		i.Description = string(unicode.ToUpper(first)) + i.Distribution[size:] + " " + i.Release + " " + i.Mapped
		if i.Variant != "default" {
			i.Description += " (" + i.Variant + ")"
		}
		i.Description += " (" + i.Serial + ")"
	}
	return i
}

func (i *Image) fields() map[string]string {
	at := i.at(i.now)
	return map[string]string{
		"distribution":        at.Distribution,
		"release":             at.Release,
		"variant":             at.Variant,
		"architecture":        at.Architecture,
		"architecture_mapped": at.Mapped,
		"serial":              at.Serial,
		"name":                at.Name,
		"description":         at.Description,
	}
}

func (i *Image) Attr(name string) (starlark.Value, error) {
	if value, ok := i.fields()[name]; ok {
		return starlark.String(value), nil
	}
	return nil, nil
}

func (i *Image) AttrNames() []string {
	var names []string
	for name := range i.fields() {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// MarshalJSON leaves out what depends on the time of packing, so that an image that
// has not changed is the same image a day later.
func (i *Image) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Distribution string `json:"distribution"`
		Release      string `json:"release"`
		Variant      string `json:"variant"`
		Architecture string `json:"architecture"`
		Mapped       string `json:"architecture_mapped"`
		Serial       string `json:"serial,omitempty"`
		Name         string `json:"name,omitempty"`
		Description  string `json:"description,omitempty"`
		Expiry       string `json:"expiry"`
	}{i.Distribution, i.Release, i.Variant, i.Architecture, i.Mapped, i.Serial, i.Name, i.Description, i.Expiry.String()})
}

// make_image(distribution, release="", variant="default", architecture="", mapped="",
// serial="", name="", description="", expiry="30d") returns an image. It is what image
// of the standard library is made of, which knows the distributions' own names of
// architectures.
func (b *Build) makeImage(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	img := &Image{Variant: "default", Architecture: b.Machine, now: b.Clock()}
	expiry := expiry(30 * 24 * time.Hour)
	if err := unpack(fn, args, kwargs, "distribution", &img.Distribution, "release?", &img.Release, "variant?", &img.Variant,
		"architecture?", &img.Architecture, "mapped?", &img.Mapped, "serial?", &img.Serial, "name?", &img.Name,
		"description?", &img.Description, "expiry?", &expiry); err != nil {
		return nil, err
	}
	if strings.TrimSpace(img.Distribution) == "" {
		return nil, fmt.Errorf("%s: distribution is empty", fn.Name())
	}
	if img.Mapped == "" {
		img.Mapped = img.Architecture
	}
	img.Expiry = time.Duration(expiry)
	return img, nil
}

// expiry is an argument that is a length of time: parts such as "30d" or "1h30m", in
// seconds, minutes, hours, days and weeks, which are added up.
type expiry time.Duration

var expiryParts = regexp.MustCompile(`^\s*(\d+[smhdw]\s*)+$`)
var expiryPart = regexp.MustCompile(`(\d+)([smhdw])`)

var expiryUnits = map[string]time.Duration{
	"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

func (e *expiry) Unpack(v starlark.Value) error {
	text, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("got %s, want a string such as \"30d\"", v.Type())
	}
	d, err := ParseExpiry(text)
	*e = expiry(d)
	return err
}

// ParseExpiry reads a length of time such as "30d" or "1w 2d 3h4m5s".
func ParseExpiry(text string) (time.Duration, error) {
	if !expiryParts.MatchString(text) {
		return 0, fmt.Errorf("not a length of time such as 30d or 1h30m (units s, m, h, d, w): %q", text)
	}
	var total time.Duration
	for _, part := range expiryPart.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseInt(part[1], 10, 32)
		if err != nil {
			return 0, fmt.Errorf("too long: %q", text)
		}
		total += time.Duration(n) * expiryUnits[part[2]]
	}
	return total, nil
}

package build

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"imagebuilder/builtins/template"
	"imagebuilder/builtins/timespan"
)

// What an image says of itself, which every kind of packed image needs in its own form.

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
	Expiry       Expiry
	Context      map[string]any // further names that the templates may use
}

func (i *Image) String() string {
	return fmt.Sprintf("<image %s %s %s %s>", i.Distribution, i.Release, i.Mapped, i.Variant)
}

// serialLayout is the layout of a serial that is the time of packing.
const serialLayout = "20060102_1504"

// At returns the image as it is when it is packed at a time, with its texts rendered.
func (i Image) At(now time.Time) (Image, error) {
	i.fill(now)
	context := i.names(now, nil)
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

// Fields are what an image says, under the names that definitions and templates use.
func (i *Image) Fields() map[string]string {
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
		"expiry":                   i.Expiry.Text,
	}
}

// Names are what templates see of the image when it is packed at a time, with further
// names. Texts that are templates themselves stay so: they are rendered with what they are
// put into.
func (i Image) Names(now time.Time, more map[string]any) map[string]any {
	i.fill(now)
	return i.names(now, more)
}

func (i Image) names(now time.Time, more map[string]any) map[string]any {
	fields := make(map[string]any)
	for name, value := range i.Fields() {
		if value != "" {
			fields[name] = value
		}
	}
	context := map[string]any{"image": fields, template.Now: now}
	maps.Copy(context, i.Context)
	maps.Copy(context, more)
	return context
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
	}{i.Distribution, i.Release, i.Variant, i.Architecture, i.Mapped, i.Serial, i.Name, i.Description, i.Expiry.Text, i.Context})
}

// An Expiry is the time after which an image expires, as it was given.
type Expiry struct {
	time.Duration
	Text string
}

// maxAge is how old metadata may be when they are handed out again.
func (e Expiry) maxAge() time.Duration { return max(e.Duration/2, time.Second) }

// ParseExpiry reads a length of time such as "30d" (see timespan.Parse).
func ParseExpiry(text string) (Expiry, error) {
	d, err := timespan.Parse(text)
	return Expiry{d, text}, err
}

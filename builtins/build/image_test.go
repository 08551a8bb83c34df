package build

import (
	"testing"
	"time"
)

func TestParseExpiry(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		err  bool
	}{
		{"30d", 720 * time.Hour, false},
		{"1h30m10s", 5410 * time.Second, false},
		{" 1w 2d ", 216 * time.Hour, false},
		{"0s", 0, false},
		{"", 0, true},
		{"5", 0, true},
		{"1D", 0, true},
		{"1d,2d", 0, true},
		{"1.5h", 0, true},
		{"99999999999d", 0, true},
		{"20000w", 0, true},
		{"15000w 15000w", 0, true},
		{"9223372036s", 9223372036 * time.Second, false},
	}
	for _, test := range tests {
		got, err := ParseExpiry(test.text)
		if got.Duration != test.want && err == nil || (err != nil) != test.err {
			t.Errorf("%q: %v, %v", test.text, got, err)
		}
	}
}

func FuzzParseExpiry(f *testing.F) {
	f.Add("1w 2d3h")
	f.Add("20000w")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseExpiry(text); err == nil && d.Duration < 0 {
			t.Errorf("%q is %v", text, d)
		}
	})
}

func TestImage(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	base := Image{Distribution: "debian", Release: "trixie", Variant: "default", Mapped: "amd64"}
	tests := []struct {
		summary           string
		change            func(*Image)
		name, description string
		err               string
	}{{
		summary:     "the defaults",
		change:      func(*Image) {},
		name:        "debian-trixie-amd64-default-20260304_0506",
		description: "Debian trixie amd64 (20260304_0506)",
	}, {
		summary:     "another variant",
		change:      func(i *Image) { i.Variant = "cloud" },
		name:        "debian-trixie-amd64-cloud-20260304_0506",
		description: "Debian trixie amd64 (cloud) (20260304_0506)",
	}, {
		summary:     "no release",
		change:      func(i *Image) { i.Release, i.Serial = "", "1" },
		name:        "debian--amd64-default-1",
		description: "Debian  amd64 (1)",
	}, {
		summary: "templates, one in the other",
		change: func(i *Image) {
			i.Name, i.Description = "{{ image.distribution }}-{{ source.suite }}", "{{ image.name|capfirst }} {{ nope }}"
			i.Context = map[string]any{"source": map[string]any{"suite": "x"}}
		},
		name:        "debian-x",
		description: "debian-x ", // the filter sees the template
	}, {
		summary: "a broken template",
		change:  func(i *Image) { i.Description = "{% nope %}" },
		err:     "the description of the image: line 1 of the template: Tag 'nope' not found (or beginning tag not provided)",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			img := base
			test.change(&img)
			rendered, err := img.At(now)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || rendered.Name != test.name || rendered.Description != test.description {
				t.Errorf("%q, %q, %v", rendered.Name, rendered.Description, err)
			}
		})
	}
}

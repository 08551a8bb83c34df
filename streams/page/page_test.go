package page_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imagebuilder/streams/page"
)

var now = time.Date(2024, 1, 10, 12, 0, 0, 0, time.UTC)

func day(n int) time.Time { return time.Date(2024, 1, n, 0, 0, 0, 0, time.UTC) }

const evil = `<script>alert("x")</script>`

func sample() []page.Stream {
	both := func(s string) map[string]string { return map[string]string{"lxc": s, "incus": s} }
	return []page.Stream{{Name: "images", Products: []page.Card{{
		ID: "ubuntu:noble:amd64:default", OS: "Ubuntu", Release: "noble", Arch: "amd64", Variant: "default",
		Aliases:      []string{"ubuntu/noble", "ubuntu/24.04"},
		Requirements: []page.Demand{{"nesting", "true"}, {"secureboot", "false"}},
		Versions: []page.Row{{
			Name: "20240109_0000", Built: day(9), ContainerSize: 123456789, VMSize: 6655,
			Container: both(strings.Repeat("a", 64)), VM: map[string]string{"lxc": strings.Repeat("b", 64), "incus": strings.Repeat("c", 64)},
			Files: []page.Download{{"lxd.tar.xz", "images/ubuntu/noble/amd64/default/20240109_0000/lxd.tar.xz", 600}, {"odd name.log", "images/a b#?%/x", 6655}},
		}, {
			Name: "20240102_0000", Built: day(2), Container: both(strings.Repeat("d", 64)),
		}},
	}, {
		ID: "x:y:z:w", OS: evil, Release: `"><img src=x>`, Arch: "z", Variant: "w", Aliases: []string{evil},
		Versions: []page.Row{{Name: "20240101_0000", Built: day(1), VM: map[string]string{"lxc": strings.Repeat("e", 64)}}},
	}}}, {Name: "empty"}}
}

func render(t *testing.T, opts page.Setup) string {
	t.Helper()
	var buf bytes.Buffer
	if err := page.Render(&buf, opts, sample(), day(9), now); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func TestCommands(t *testing.T) {
	text := render(t, page.Setup{Remote: "mine", URL: "https://images.example"})
	for _, want := range []string{
		"lxc remote add mine https://images.example --protocol simplestreams",
		"lxc launch mine:ubuntu/noble c1 -c security.nesting=true",
		"incus launch mine:ubuntu/noble v1 --vm -c security.secureboot=false",
		"lxc launch mine:dddddddddddd c1",
		`<h2 id="stream-empty">empty</h2>`,
		"There are no images yet.",
		`title="` + strings.Repeat("c", 64) + `"><b>` + strings.Repeat("c", 12) + `</b>` + strings.Repeat("c", 52) + `<`,
		`<span>Release</span>`, `<span>Size</span>`, `title="Container: 123456789 bytes">123 MB<`, `title="VM: 6655 bytes">6.66 kB<`,
		`<option>amd64</option><option>z</option>`,
		`<a href="images/a%20b%23%3F%25/x">odd name.log</a>`,
		`title="6655 bytes">6.66 kB<`, "600 B",
		`<time datetime="2024-01-09T00:00:00Z">2024-01-09 00:00</time>`,
		"nesting=true", "Last change:",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
	if strings.Contains(text, "incus launch mine:eeee") {
		t.Error("a command for a client that does not see the image")
	}
}

// TestDefaultRemote holds that the commands do not lead to a server that clients know already.
func TestDefaultRemote(t *testing.T) {
	text := render(t, page.Setup{URL: "https://images.example"})
	if !strings.Contains(text, "lxc remote add my-images https://images.example") || !strings.Contains(text, "incus launch my-images:ubuntu/noble v1") {
		t.Error("the commands do not call the server my-images")
	}
	if text := render(t, page.Setup{Remote: "images"}); !strings.Contains(text, "lxc launch images:ubuntu/noble c1") {
		t.Error("the name that was asked for is not used")
	}
}

func TestStale(t *testing.T) {
	tests := []struct {
		summary string
		after   time.Duration
		marks   int
		next    time.Time
	}{
		{"by default after eight days", 0, 1, day(17)},
		{"never", -1, 0, time.Time{}},
		{"after a day both are", 24 * time.Hour, 2, time.Time{}},
		{"after a month none is, yet", 30 * 24 * time.Hour, 0, day(31)},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			opts := page.Setup{StaleAfter: test.after}
			if n := strings.Count(render(t, opts), ">Out of date<"); n != test.marks {
				t.Errorf("%d marks", n)
			}
			if next := page.Stale(opts, sample(), now); !next.Equal(test.next) {
				t.Errorf("changes at %v", next)
			}
		})
	}
}

// TestNothingInline holds that a content policy without exceptions can be in force,
// and that nothing comes from elsewhere.
func TestNothingInline(t *testing.T) {
	text := render(t, page.Setup{Title: evil, Intro: []string{evil}, Notice: evil, Footer: evil, Logo: "logo.svg", Remote: evil})
	if strings.Contains(text, evil) || strings.Contains(text, "<img src=x") {
		t.Error("markup gets through")
	}
	if regexp.MustCompile(`<script>|<style|\sstyle=|\son\w+=|javascript:|href="(https?:)?//|src="(https?:)?//`).MatchString(text) {
		t.Error("something is inline or from elsewhere")
	}
	if regexp.MustCompile(`url\(|@import|@font-face`).Match(page.Asset(page.Style)) {
		t.Error("the style sheet loads something")
	}
	if regexp.MustCompile(`innerHTML|eval\(|fetch\(|https?://`).Match(page.Asset(page.Script)) {
		t.Error("the script loads something or writes markup")
	}
}

// TestStructure holds what assistive technology relies on.
func TestStructure(t *testing.T) {
	text := render(t, page.Setup{Intro: []string{"Hello"}, URL: "https://x"})
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.Strict, dec.AutoClose, dec.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	ids, labels, open := map[string]bool{}, []string{}, []string{}
	level := 0
	for {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			open = append(open, e.Name.Local)
			for _, a := range e.Attr {
				switch a.Name.Local {
				case "id":
					if ids[a.Value] {
						t.Errorf("the id %s is there twice", a.Value)
					}
					ids[a.Value] = true
				case "for", "aria-labelledby":
					labels = append(labels, a.Value)
				}
			}
			if name := e.Name.Local; len(name) == 2 && name[0] == 'h' && name[1] >= '1' && name[1] <= '6' {
				if n := int(name[1] - '0'); n > level+1 {
					t.Errorf("%s follows a heading of level %d", name, level)
				} else {
					level = n
				}
			}
		case xml.EndElement:
			if open[len(open)-1] != e.Name.Local {
				t.Fatalf("%s is closed in %v", e.Name.Local, open)
			}
			open = open[:len(open)-1]
		}
	}
	for _, label := range labels {
		if !ids[label] {
			t.Errorf("a label is for %s, which is not there", label)
		}
	}
	for _, landmark := range []string{"<header", "<main", "<footer", `lang="en"`, `class="skip"`, `role="search"`} {
		if !strings.Contains(text, landmark) {
			t.Errorf("there is no %s", landmark)
		}
	}
}

// TestContrast holds WCAG AA in both themes: 4.5 for text, 3 for what shows focus
// and the edges of controls.
func TestContrast(t *testing.T) {
	css := string(page.Asset(page.Style))
	themes := map[string]string{
		"light": css[strings.Index(css, ":root {"):],
		"dark":  css[strings.Index(css, `:root[data-theme="dark"]`):],
	}
	pairs := []struct {
		front, back string
		ratio       float64
	}{
		{"text", "back", 4.5}, {"text", "panel", 4.5}, {"soft", "back", 4.5}, {"soft", "panel", 4.5},
		{"link", "back", 4.5}, {"link", "panel", 4.5}, {"tag-text", "tag", 4.5}, {"stale-text", "stale", 4.5},
		{"new-text", "new", 4.5}, {"focus", "back", 3}, {"focus", "panel", 3}, {"soft", "back", 3},
	}
	for name, theme := range themes {
		theme = theme[:strings.Index(theme, "}")]
		for _, p := range pairs {
			if got := contrast(colour(t, theme, p.front), colour(t, theme, p.back)); got < p.ratio {
				t.Errorf("%s: %s on %s has a contrast of %.2f", name, p.front, p.back, got)
			}
		}
	}
}

func colour(t *testing.T, theme, name string) (rgb [3]float64) {
	t.Helper()
	m := regexp.MustCompile(`--` + name + `: #([0-9a-f]{6});`).FindStringSubmatch(theme)
	if m == nil {
		t.Fatalf("no colour %s", name)
	}
	for i := range rgb {
		n, _ := strconv.ParseUint(m[1][2*i:2*i+2], 16, 8)
		rgb[i] = float64(n) / 255
	}
	return rgb
}

func contrast(a, b [3]float64) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(rgb [3]float64) float64 {
	for i, c := range rgb {
		if c <= 0.04045 {
			rgb[i] = c / 12.92
		} else {
			rgb[i] = math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*rgb[0] + 0.7152*rgb[1] + 0.0722*rgb[2]
}

// TestThemesAgree holds that the dark theme is the same by preference and by choice.
func TestThemesAgree(t *testing.T) {
	css := string(page.Asset(page.Style))
	vars := func(from string) []string {
		part := css[strings.Index(css, from):]
		return regexp.MustCompile(`--[a-z-]+: #[0-9a-f]{6};`).FindAllString(part[:strings.Index(part, "}")], -1)
	}
	if a, b := vars(`:root:not([data-theme="light"])`), vars(`:root[data-theme="dark"]`); !slices.Equal(a, b) || len(a) == 0 {
		t.Errorf("%v\n%v", a, b)
	}
}

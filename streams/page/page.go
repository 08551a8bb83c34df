// Package page makes the static web page of an image server: one HTML file that can
// be read without scripts, with a style sheet, a script and an icon beside it that add
// looks, search and a switch between light and dark. Nothing is loaded from elsewhere and
// nothing is inline, so that the strictest content policy can be in force. The
// package writes what it is given; it reads neither catalogs nor files.
package page

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
	"time"

	"imagebuilder/builtins/bytesize"
)

// Names of the files that make up the page, in the root of the server.
const (
	HTML   = "index.html"
	Style  = "page.css"
	Script = "page.js"
	Icon   = "page.svg"
)

// Assets are the files beside the HTML file, the same for all pages.
var Assets = []string{Style, Script, Icon}

//go:embed assets
var assets embed.FS

// A Setup is the texts and settings of a page. The zero value is a page that speaks
// for itself.
type Setup struct {
	Title      string        // "": Images
	Intro      []string      // paragraphs at the top
	Notice     string        // set off from the introduction, such as how official the images are
	Footer     string        // at the bottom
	Logo       string        // path of an image on the server, from its root
	Remote     string        // name of the server in commands; "": DefaultRemote
	URL        string        // of the server; if set, the page shows how to add it
	Clients    []string      // programs to show commands for; nil: lxc and incus
	StaleAfter time.Duration // age at which a product counts as out of date; 0: 8 days; negative: never
}

// DefaultRemote is what commands call the server. Clients have remotes of their own, such as
// images, ubuntu and local: a name that one of them has would lead elsewhere.
const DefaultRemote = "my-images"

// DefaultStale is the age at which a product counts as out of date.
const DefaultStale = 8 * 24 * time.Hour

// fill sets what was left out.
func (o Setup) fill() Setup {
	o.Title = cmp.Or(o.Title, "Images")
	o.Remote = cmp.Or(o.Remote, DefaultRemote)
	o.StaleAfter = cmp.Or(o.StaleAfter, DefaultStale)
	if o.Clients == nil {
		o.Clients = []string{"lxc", "incus"}
	}
	return o
}

// A Stream is the products of one catalog, sorted.
type Stream struct {
	Name     string
	Products []Card
}

// A Card is one entry of the page.
type Card struct {
	ID           string
	OS           string
	Release      string
	Arch         string
	Variant      string
	Aliases      []string
	Requirements []Demand
	Versions     []Row // newest first
}

// A Demand is what an image asks of the instance.
type Demand struct{ Key, Value string }

// A Row is one build of a product. The fingerprints are by client program, since
// each reads metadata of its own; an image that a client does not see has none.
type Row struct {
	Name      string
	Built     time.Time         // zero: not known
	Container map[string]string // client to fingerprint
	VM        map[string]string
	Files     []Download

	ContainerSize, VMSize int64 // bytes that clients download
}

// A Download is one that can be downloaded.
type Download struct {
	Name string
	Path string // from the root of the server
	Size int64
}

// Render writes the HTML file as it is at the given time.
func Render(w io.Writer, opts Setup, streams []Stream, updated, now time.Time) error {
	v := &view{Setup: opts.fill(), Updated: updated, now: now}
	v.StyleHref, v.ScriptHref, v.IconHref = versioned(Style), versioned(Script), versioned(Icon)
	for _, s := range streams {
		v.Streams = append(v.Streams, v.stream(s))
	}
	t, err := tmpl()
	if err == nil {
		err = t.Execute(w, v)
	}
	if err != nil {
		return fmt.Errorf("cannot make the page: %w", err)
	}
	return nil
}

// Asset returns the content of one of the Assets.
func Asset(name string) []byte {
	data, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic("internal error: " + err.Error()) // they are part of the program
	}
	return data
}

// versioned returns a link that changes with the file, so that an old copy in a
// browser's cache is not used with a new page.
func versioned(name string) string {
	sum := sha256.Sum256(Asset(name))
	return name + "?v=" + hex.EncodeToString(sum[:6])
}

// Stale returns when the page is next going to change by itself: when the newest
// version of some product comes of age. It is zero if it never does.
func Stale(opts Setup, streams []Stream, now time.Time) time.Time {
	limit := opts.fill().StaleAfter
	var next time.Time
	for _, s := range streams {
		for _, p := range s.Products {
			if limit < 0 || len(p.Versions) == 0 || p.Versions[0].Built.IsZero() {
				continue
			}
			due := p.Versions[0].Built.Add(limit)
			if due.After(now) && (next.IsZero() || due.Before(next)) {
				next = due
			}
		}
	}
	return next
}

// tmpl is parsed when it is needed: every child of a build starts this program.
var tmpl = sync.OnceValues(func() (*template.Template, error) {
	return template.New("index.tmpl").Funcs(template.FuncMap{
		"bytes": Size,
		"date":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"rough": rough,
	}).ParseFS(assets, "assets/index.tmpl")
})

// Size prints a size in decimal units: "600 B", "6.66 kB".
func Size(n int64) string { return bytesize.Size(n).Decimal() }

// rough prints a size with three digits at least, for a narrow column: "123 MB".
func rough(n int64) string {
	number, unit, _ := strings.Cut(Size(n), " ")
	if whole, _, fraction := strings.Cut(number, "."); fraction && len(whole) > 2 {
		number = whole
	}
	return number + " " + unit
}

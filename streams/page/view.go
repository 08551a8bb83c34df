package page

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A view is what the template sees.
type view struct {
	Setup
	Streams    []streamView
	Archs      []string // of all products, sorted
	Updated    time.Time
	StyleHref  string
	ScriptHref string
	IconHref   string

	now time.Time
}

type streamView struct {
	Name     string
	Products []productView
}

type productView struct {
	Card
	Anchor    string // id of the element
	Find      string // what a search looks at
	Container bool
	VM        bool
	Types     string // both of these as words that a filter looks at
	Sizes     []amount
	Stale     bool
	Builds    []versionView
}

// Newest returns the newest build.
func (p productView) Newest() versionView { return p.Builds[0] }

type versionView struct {
	Row
	Newest   bool
	Commands []command
	Prints   []fingerprint
}

// A command is one to copy.
type command struct{ What, Line string }

// An amount is what clients download of an image.
type amount struct {
	What  string
	Bytes int64
}

// A fingerprint is one with what it is of.
type fingerprint struct{ What, Value string }

// Short returns the beginning, by which commands name the image.
func (f fingerprint) Short() string { return f.Value[:min(len(f.Value), 12)] }

// Rest returns what follows it.
func (f fingerprint) Rest() string { return f.Value[len(f.Short()):] }

func (v *view) stream(s Stream) streamView {
	out := streamView{Name: s.Name}
	for _, p := range s.Products {
		if len(p.Versions) > 0 {
			v.addArch(p.Arch)
			out.Products = append(out.Products, v.product(s.Name, p))
		}
	}
	return out
}

// addArch adds an architecture to those that there are.
func (v *view) addArch(arch string) {
	if i, ok := slices.BinarySearch(v.Archs, arch); !ok {
		v.Archs = slices.Insert(v.Archs, i, arch)
	}
}

func (v *view) product(stream string, p Card) productView {
	newest := p.Versions[0]
	out := productView{
		Card:      p,
		Anchor:    anchor(stream + ":" + p.ID),
		Container: len(newest.Container) > 0,
		VM:        len(newest.VM) > 0,
		Stale:     v.StaleAfter > 0 && !newest.Built.IsZero() && v.now.Sub(newest.Built) >= v.StaleAfter,
	}
	var types []string
	words := append([]string{stream, p.ID, p.OS, p.Release, p.Arch, p.Variant}, p.Aliases...)
	if out.Container {
		types = append(types, "container")
		out.Sizes = append(out.Sizes, amount{"Container", newest.ContainerSize})
	}
	if out.VM {
		types = append(types, "vm")
		words = append(words, "virtual machine")
		out.Sizes = append(out.Sizes, amount{"VM", newest.VMSize})
	}
	words, out.Types = append(words, types...), strings.Join(types, " ")
	if out.Stale {
		words = append(words, "out of date")
	}
	out.Find = strings.ToLower(strings.Join(words, " "))
	for i, version := range p.Versions {
		out.Builds = append(out.Builds, v.version(p, version, i == 0))
	}
	return out
}

// anchor makes an element's id of a product's.
func anchor(id string) string { return "image-" + strings.ReplaceAll(id, ":", "-") }

func (v *view) version(p Card, version Row, newest bool) versionView {
	out := versionView{Row: version, Newest: newest}
	for _, client := range v.Clients {
		if name := v.source(p, version.Container[client], newest); name != "" {
			out.Commands = append(out.Commands, command{
				"Container, " + client,
				client + " launch " + name + " c1" + flags(p, "nesting", "true"),
			})
		}
		if name := v.source(p, version.VM[client], newest); name != "" {
			out.Commands = append(out.Commands, command{
				"Virtual machine, " + client,
				client + " launch " + name + " v1 --vm" + flags(p, "secureboot", "false"),
			})
		}
	}
	out.Prints = append(prints("Container fingerprint", v.Clients, version.Container), prints("VM fingerprint", v.Clients, version.VM)...)
	return out
}

// source returns how a client names an image: the newest by its first alias, others
// by fingerprint.
func (v *view) source(p Card, print string, newest bool) string {
	switch {
	case print == "":
		return ""
	case newest && len(p.Aliases) > 0 && p.Aliases[0] != "":
		return v.Remote + ":" + p.Aliases[0]
	}
	return v.Remote + ":" + fingerprint{Value: print}.Short()
}

// flags returns the setting without which an image with a requirement does not start.
func flags(p Card, key, value string) string {
	if slices.Contains(p.Requirements, Demand{key, value}) {
		return " -c security." + key + "=" + value
	}
	return ""
}

// prints returns the fingerprints of an image, one if all clients see the same.
func prints(what string, clients []string, by map[string]string) []fingerprint {
	var list []fingerprint
	for _, client := range clients {
		value := by[client]
		if value == "" || slices.ContainsFunc(list, func(f fingerprint) bool { return f.Value == value }) {
			continue
		}
		label := what
		if len(list) > 0 {
			label = fmt.Sprintf("%s, %s", what, client)
		}
		list = append(list, fingerprint{label, value})
	}
	return list
}

// Href returns a relative link to the file, so that the page can be served from
// below any path.
func (f Download) Href() string {
	parts := strings.Split(f.Path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// LogoHref returns a relative link to the logo.
func (o Setup) LogoHref() string { return Download{Path: strings.TrimPrefix(o.Logo, "/")}.Href() }

package page_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/streams/page"
	"imagebuilder/streams/serve"
)

// fleet is what a real server may have.
func fleet() []page.Stream {
	var products []page.Card
	for i, p := range []struct{ os, release, arch, variant string }{
		{"Alpine", "edge", "amd64", "default"}, {"Alpine", "edge", "arm64", "default"}, {"Debian", "bookworm", "amd64", "cloud"},
		{"Debian", "trixie", "amd64", "default"}, {"Debian", "trixie", "arm64", "cloud"}, {"openSUSE", "tumbleweed", "amd64", "desktop-kde"},
		{"Rocky Linux", "9", "amd64", "default"}, {"Ubuntu", "noble", "amd64", "default"}, {"Ubuntu", "noble", "riscv64", "default"},
	} {
		distro := strings.ToLower(strings.ReplaceAll(p.os, " ", "-"))
		product := page.Card{
			ID: distro + ":" + p.release + ":" + p.arch + ":" + p.variant, OS: p.os, Release: p.release, Arch: p.arch, Variant: p.variant,
			Aliases: []string{distro + "/" + p.release + "/" + p.variant, distro + "/" + p.release},
		}
		if i%3 == 0 {
			product.Requirements = []page.Demand{{Key: "secureboot", Value: "false"}}
		}
		for n := range 3 {
			built := day(9 - i - n)
			dir := "images/" + strings.ReplaceAll(product.ID, ":", "/") + "/" + built.Format("20060102_1504") + "/"
			print := func(s string) string { return strings.Repeat(fmt.Sprintf("%s%d%d", s, i, n), 32)[:64] }
			v := page.Row{Name: built.Format("20060102_1504"), Built: built, Container: map[string]string{"lxc": print("a"), "incus": print("a")}, ContainerSize: 123457401}
			v.Files = []page.Download{{Name: "lxd.tar.xz", Path: dir + "lxd.tar.xz", Size: 612}, {Name: "rootfs.squashfs", Path: dir + "rootfs.squashfs", Size: 123456789}}
			if i%2 == 1 {
				v.VMSize = 345679513
				v.VM = map[string]string{"lxc": print("b"), "incus": print("c")}
				v.Files = append(v.Files, page.Download{Name: "disk.qcow2", Path: dir + "disk.qcow2", Size: 345678901})
			}
			product.Versions = append(product.Versions, v)
		}
		products = append(products, product)
	}
	return []page.Stream{{Name: "images", Products: products}, {Name: "daily"}}
}

// servePage serves the page with its files and the strict policy of the real server.
func servePage(t *testing.T, streams ...page.Stream) string {
	t.Helper()
	web := httptest.NewServer(pageHandler(t, page.Setup{
		Title: "Example images", Intro: []string{"Images for LXD and Incus, built every night from what the distributions publish."},
		Notice: "These images are not official ones.", Footer: "Questions go to images@example.org.", URL: "https://images.example.org", Remote: "example",
	}, streams...))
	t.Cleanup(web.Close)
	return web.URL + "/"
}

func pageHandler(t *testing.T, opts page.Setup, streams ...page.Stream) http.Handler {
	t.Helper()
	dir := t.TempDir()
	var html bytes.Buffer
	if streams == nil {
		streams = fleet()
	}
	if err := page.Render(&html, opts, streams, day(9), now); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{page.HTML: html.Bytes()}
	for _, name := range page.Assets {
		files[name] = page.Asset(name)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server, err := serve.Listen(serve.ServerOptions{Root: dir, Address: "127.0.0.1:0", Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server.Handler()
}

// shown are the products that can be seen.
const shown = `[...document.querySelectorAll(".product")].filter(p => p.checkVisibility()).length`

func (b *browser) expect(what, expression string, want any) {
	b.t.Helper()
	var got any
	b.eval(expression, &got)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestBrowser uses the page as people do.
func TestBrowser(t *testing.T) {
	b := startBrowser(t)
	url := servePage(t)
	b.show(1280, 900, "light")
	b.open(url)

	// Searching narrows the list while it is typed.
	b.eval("document.getElementById('find').focus()", nil)
	b.call("Input.insertText", map[string]any{"text": "Trixie VM"}, nil)
	b.wait(shown + " === 1")
	b.expect("said", "document.getElementById('count').textContent", "1 of 9 images")
	b.call("Input.insertText", map[string]any{"text": " nonsense"}, nil)
	b.wait(shown + " === 0")
	b.expect("said", "document.getElementById('none').checkVisibility()", true)
	b.eval("{ const f = document.getElementById('find'); f.value = ''; f.dispatchEvent(new Event('input')); }", nil)
	b.wait(shown + " === 9")

	// Architecture and type narrow it as well.
	b.choose("arch", "arm64")
	b.expect("of the architecture", shown, 2)
	b.choose("type", "vm")
	b.expect("of the type as well", shown, 1)
	b.choose("arch", "")
	b.expect("of the type", shown, 4)
	b.choose("type", "")
	b.expect("all", shown, 9)

	// The keyboard opens a product and an older version of it.
	b.eval("document.querySelector('.product summary').focus()", nil)
	b.press("Enter", 13, "\r")
	b.wait("document.querySelector('.version') !== null")
	b.expect("open", "document.querySelector('.product > details').open", true)
	b.expect("newest", "document.querySelector('.version').open", true)
	b.expect("older", "document.querySelectorAll('.version')[1].open", false)
	b.eval("document.querySelectorAll('.version > summary')[1].focus()", nil)
	b.press(" ", 32, " ")
	b.expect("older", "document.querySelectorAll('.version')[1].open", true)
	b.expect("file", "document.querySelectorAll('.version')[1].querySelector('a').checkVisibility()", true)

	// The theme follows the system until one is chosen, which is remembered.
	back := "getComputedStyle(document.body).backgroundColor"
	b.expect("light", back, "rgb(255, 255, 255)")
	b.show(1280, 900, "dark")
	b.expect("dark", back, "rgb(20, 23, 28)")
	b.eval("{ const s = document.getElementById('theme'); s.value = 'light'; s.dispatchEvent(new Event('change')); }", nil)
	b.expect("chosen", back, "rgb(255, 255, 255)")
	b.open(url)
	b.expect("remembered", back, "rgb(255, 255, 255)")

	// A link to one product opens it, and a search can be part of a link.
	b.open(url + "?q=cloud&arch=arm64#image-images-debian-trixie-arm64-cloud")
	b.expect("found", shown, 1)
	b.expect("opened", "document.querySelector(':target > details').open", true)
	b.expect("filled", "document.querySelectorAll(':target .version').length", 3)

	// Commands and whole fingerprints are copied.
	b.call("Browser.grantPermissions", map[string]any{"permissions": []string{"clipboardReadWrite", "clipboardSanitizedWrite"}}, nil)
	b.eval("document.querySelector('.commands button').click()", nil)
	b.wait("document.querySelector('.commands button').textContent === 'Copied'")
	b.eval("document.querySelector(':target .print + button').click()", nil)
	b.wait("document.querySelector(':target .print + button').textContent === 'Copied'")
	b.expect("fingerprint", "navigator.clipboard.readText()", strings.Repeat("a40", 32)[:64])
	if len(b.errors) > 0 {
		t.Errorf("the page has caused errors: %s", b.errors)
	}
}

// Without scripts the page can be read as well, and shows nothing that does not work.
func TestBrowserWithoutScripts(t *testing.T) {
	b := startBrowser(t)
	url := servePage(t)
	b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	b.open(url)
	b.expect("listed", shown, 9)
	b.eval("document.querySelectorAll('details').forEach((d) => { d.open = true; })", nil)
	b.expect("versions", "[...document.querySelectorAll('.version table a')].filter(a => a.checkVisibility()).length", 66)
	b.expect("search", "document.querySelector('.search').checkVisibility()", false)
	b.expect("theme", "document.querySelector('.theme').checkVisibility()", false)
	b.expect("buttons", "document.querySelectorAll('button').length", 0)
}

// A page that was not told its address tells how to add the server by that at which it is seen,
// if clients would take it.
func TestBrowserOwnAddress(t *testing.T) {
	b := startBrowser(t)
	b.show(1280, 900, "light")
	for _, encrypted := range []bool{false, true} {
		start := httptest.NewServer
		if encrypted {
			start = httptest.NewTLSServer
		}
		web := start(pageHandler(t, page.Setup{}))
		t.Cleanup(web.Close)
		b.open(web.URL + "/")
		b.expect("shown", "document.querySelector('.use').checkVisibility()", encrypted)
		if encrypted {
			b.expect("command", "document.querySelector('.use code').textContent", "lxc remote add my-images "+web.URL+" --protocol simplestreams")
		}
	}
}

// TestAccessibility checks the page, all of it open, on large and small screens in both
// themes.
func TestAccessibility(t *testing.T) {
	b := startBrowser(t)
	url := servePage(t)
	check, err := os.ReadFile("testdata/check.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, width := range []int{320, 390, 768, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.show(width, 844, scheme)
			b.open(url)
			name := fmt.Sprintf("%d-%s", width, scheme)
			b.shoot(name)
			b.openAll()
			var faults []string
			b.eval(string(check), &faults)
			for _, fault := range faults {
				t.Errorf("%s: %s", name, fault)
			}
			b.eval("document.querySelector('.product').scrollIntoView()", nil)
			b.shoot(name + "-open")
			b.checkNames(name)
		}
	}
}

// openAll opens whatever can be.
func (b *browser) openAll() {
	b.t.Helper()
	const all = `document.querySelectorAll("details").forEach((d) => { d.open = true; })`
	b.eval(all, nil)
	b.wait(`document.querySelector(".product noscript") === null`)
	b.eval(all, nil) // with what has come
}

// choose makes a choice of a filter.
func (b *browser) choose(id, value string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("{ const f = document.getElementById(%q); f.value = %q; f.dispatchEvent(new Event('change')); }", id, value), nil)
}

// checkNames asks the browser what it would tell assistive technology: whatever can be
// used has a role and a name.
func (b *browser) checkNames(where string) {
	b.t.Helper()
	type value struct{ Value any }
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name value
			Properties []struct {
				Name  string
				Value value
			}
		}
	}
	b.call("Accessibility.getFullAXTree", nil, &tree)
	usable := 0
	for _, node := range tree.Nodes {
		for _, p := range node.Properties {
			if p.Name != "focusable" || p.Value.Value != true || node.Ignored || node.Role.Value == "RootWebArea" {
				continue
			}
			usable++
			if name, _ := node.Name.Value.(string); strings.TrimSpace(name) == "" {
				b.t.Errorf("%s: a %v has no name", where, node.Role.Value)
			}
		}
	}
	if usable < 50 {
		b.t.Errorf("%s: only %d things can be used", where, usable)
	}
}

// TestCheckFinds breaks the page in ways that TestAccessibility is to find.
func TestCheckFinds(t *testing.T) {
	b := startBrowser(t)
	url := servePage(t)
	check, err := os.ReadFile("testdata/check.js")
	if err != nil {
		t.Fatal(err)
	}
	for breakage, want := range map[string]string{
		"document.documentElement.lang = ''":                                              "no language",
		"document.querySelector('h2').outerHTML = '<h4>x</h4>'":                           "skips a level",
		"document.querySelector('label[for=find]').remove()":                              "has no label",
		"document.querySelector('.columns').style.color = '#999'":                         "contrast 2.85",
		"document.querySelector('.commands button').setAttribute('aria-label', 'x')":      "named otherwise",
		"document.querySelector('.commands button').style = 'min-height: 0; height: 9px'": "too small",
		"document.querySelector('main').outerHTML = '<p>x</p>'":                           "not one main",
		"document.querySelector('.product summary').replaceChildren()":                    "has no name",
		"document.querySelector('h1').style = 'min-width: 3000px'":                        "wider than the window",
		"document.querySelector('.products').append(document.createElement('p'))":         "a list of other than items",
	} {
		b.show(1280, 844, "light")
		b.open(url)
		b.openAll()
		b.eval(breakage, nil)
		var faults []string
		b.eval(string(check), &faults)
		if !strings.Contains(strings.Join(faults, "\n"), want) {
			t.Errorf("%s: found %q, want %s", breakage, faults, want)
		}
	}
}

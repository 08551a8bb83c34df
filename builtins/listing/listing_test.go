package listing

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

const nginx = `<html><head><title>Index of /pub/x/</title></head><body><h1>Index of /pub/x/</h1><hr><pre><a href="../">../</a>
<a href="v3.20/">v3.20/</a>                   22-May-2024 10:00       -
<a href="a-very-long-name-of-a-root-file-system-3.20.0-x86_64.tar.xz">a-very-long-name-of-a-root-file-system-3.20.0..&gt;</a> 22-May-2024 10:00  3M
<a href="a%2Bb%20c.iso">a+b c.iso</a> 22-May-2024 10:00  3M
</pre><hr></body></html>`

const apache = `<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><body><table>
<tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><img src="/icons/back.gif" alt="[PARENTDIR]"></td><td><a href="/pub/">Parent Directory</a></td></tr>
<tr><td><img src="/icons/folder.gif" alt="[DIR]"></td><td><a href="v3.20/">v3.20/</a></td></tr>
<tr><td><a href="a-very-long-name-of-a-root-file-system-3.20.0-x86_64.tar.xz">a-very-long-name-o..&gt;</a></td></tr>
<tr><td><a HREF='A+B.iso'>A+B.iso</a>
</table><address>Apache Server at x.org</address></body></html>`

const lighttpd = `<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><body><div class="list"><table>
<tr class="d"><td class="n"><a href="../">..</a>/</td></tr>
<tr class="d"><td class="n"><a href="v3.20/">v3.20</a>/</td><td class="m">2024-May-22</td></tr>
<tr><td class="n"><a href="x.iso">x.iso</a></td></tr></table></div><div class="foot">lighttpd/1.4</div></body></html>`

const caddy = `<!DOCTYPE html><html><body><h1><a href="/">/</a><a href="/pub/">pub</a></h1><table id="list">
<tr class="file"><td><a href="./v3.20/"><svg></svg><span class="name">v3.20/</span></a></td></tr>
<tr class="file"><td><a href="./x.iso"><span class="name">x.iso</span></a></td></tr></table>
<a rel="noopener noreferrer" href="https://caddyserver.com"><svg/></a></body></html>`

// The styles of section 9 of the specification of sources, and those that are no HTML.
func TestLinks(t *testing.T) {
	tests := []struct {
		summary, media, body string
		want                 string // names and URLs below the page, or whole
	}{
		{"nginx", "text/html", nginx, "v3.20=v3.20/ a-very-long-name-of-a-root-file-system-3.20.0-x86_64.tar.xz a+b c.iso=a%2Bb%20c.iso"},
		{"Apache", "text/html;charset=UTF-8", apache, "v3.20=v3.20/ a-very-long-name-of-a-root-file-system-3.20.0-x86_64.tar.xz A+B.iso"},
		{"lighttpd", "text/html", lighttpd, "v3.20=v3.20/ x.iso"},
		{"Caddy", "text/html; charset=utf-8", caddy, "v3.20=v3.20/ x.iso"},
		{"HTML by its bytes", "", nginx, "v3.20=v3.20/ a-very-long-name-of-a-root-file-system-3.20.0-x86_64.tar.xz a+b c.iso=a%2Bb%20c.iso"},
		{"absolute paths", "text/html", `<a href="/pub/x/a.iso">a</a> <a href="/other/b.iso">b</a>`, "a.iso b.iso=http://x.org/other/b.iso"},
		{"absolute URLs", "text/html", `<a href="http://y.org/a.iso#top">a</a><a href="//z.org/b/?q=1">b</a>`, "a.iso=http://y.org/a.iso b=http://z.org/b/?q=1"},
		{"a base", "text/html", `<base href="https://y.org/z/"><a href="a.iso">`, "a.iso=https://y.org/z/a.iso"},
		{"the page and what it is in", "text/html", `<a href="."><a href="./"><a href=".."><a href="/pub/x"><a href="/"><a href="?"><a href="http://x.org">`, ""},
		{"other schemes", "text/html", `<a href="mailto:a@x.org"><a href="ftp://x.org/b"><a href="c">`, "c"},
		{"each name once", "text/html", `<a href="a/">icon</a><a href="a/">a/</a><a href="b">`, "a=a/ b"},
		{"a name with a colon", "text/html", `<a href="./a:b">`, "a:b"},
		{"only text", "text/html", `<a>a.iso</a> <a href="#">b</a><a href="javascript:void(0)">c&amp;d/</a><a name="x"></a>`, "a.iso b c&d=c&d/"},
		{"no end tags", "text/html", `<a href="a"><a href="b"><li><a href="c`, "a b"},
		{"an empty page", "text/html", "", ""},
		{"Latin-1", "text/html; charset=iso-8859-1", "<a>caf\xe9</a>", "café=caf%C3%A9"},
		{"Latin-1 by the page", "text/html", "<html><meta charset=iso-8859-1><a>caf\xe9</a>", "café=caf%C3%A9"},
		{"UTF-16", "text/html", "\xff\xfe<\x00a\x00>\x00b\x00<\x00/\x00a\x00>\x00", "b"},

		{"the JSON of openSUSE", "application/json", `{"data":[{"name":"15.6/","size":null},{"name":"15.5/","mtime":1}]}`, "15.6=15.6/ 15.5=15.5/"},
		{
			"the JSON of GitHub", "application/json; charset=utf-8",
			`[{"url":"https://api.x.org/releases/7","tag_name":"v1.0","body":"two words","assets":[{"name":"a b.iso"},{"name":"a.iso","browser_download_url":"https://x.org/dl/v1.0/a.iso"}]}]`,
			"7=https://api.x.org/releases/7 v1.0 a.iso=https://x.org/dl/v1.0/a.iso",
		},
		{"JSON by its bytes", "text/plain", ` ["a.iso", {"b": "c", "d": ["e"]}, 1]`, "a.iso c e"},
		{"no JSON after all", "application/json", `["a.iso"`, "[=%5B a.iso"},
		{
			"YAML", "text/yaml", "- title: x\n  version: 3.20.0\n  file: \"a-3.20.0.tar.gz\"\n  sha256: 00\n",
			"- title x version 3.20.0 file a-3.20.0.tar.gz sha256 00",
		},
		{"words", "text/plain", "releases/39/a.qcow2\n./b.iso\nhttp://y.org/c.iso\n", "a.qcow2=releases/39/a.qcow2 b.iso c.iso=http://y.org/c.iso"},
		{"checksums", "text/plain", "00  a.iso\n01 *b.iso\nSHA256 (c.iso) = 02\n", "00 a.iso 01 b.iso SHA256 c.iso = 02"},
		{"XML", "application/xml", `<?xml version="1.0"?><Contents><Key>images/a.iso</Key></Contents>`, "?xml=%3Fxml version= 1.0 ?=%3F Contents Key a.iso=images/a.iso"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			page := Page{URL: mustParse(t, "http://x.org/pub/x/"), Type: test.media, Body: []byte(test.body)}
			var got []string
			for _, l := range page.Links() {
				text := strings.TrimPrefix(l.URL, "http://x.org/pub/x/")
				if text != l.Name {
					text = l.Name + "=" + text
				}
				got = append(got, text)
			}
			if s := strings.Join(got, " "); s != test.want {
				t.Errorf("got\n%s, want\n%s", s, test.want)
			}
		})
	}
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func parsePatterns(t *testing.T, texts ...string) []Pattern {
	t.Helper()
	var list []Pattern
	for _, text := range texts {
		p, err := ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func TestSelect(t *testing.T) {
	page := Page{URL: mustParse(t, "http://x.org/"), Type: "text/html", Body: []byte(`<a href="a-1.iso"><a href="a-2.iso"><a href="b-1"><a href="c"><a href="d"><a href="e">`)}
	tests := []struct {
		summary  string
		search   bool
		patterns []string
		want     string // the names, and behind a colon their groups
		err      string
	}{
		{"whole names", false, []string{`a-(\d)\.iso`}, "a-1.iso:1 a-2.iso:2", ""},
		{"no part of a name", false, []string{`a-`, `b`}, "", "nothing there matches a- or b; it lists a-1.iso, a-2.iso, b-1, c, d and 1 more"},
		{"an alternative is whole, too", false, []string{`a|b-1`}, "b-1", ""},
		{"the first that finds anything", false, []string{"x", "c", "d"}, "c", ""},
		{"anywhere", true, []string{`[ab]-(\d)`}, "a-1:1 a-2:2 b-1:1", ""},
		{"nowhere", true, []string{`x`}, "", "nothing there matches x; it lists a-1.iso, a-2.iso, b-1, c, d and 1 more"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			find := page.Select
			if test.search {
				find = page.Search
			}
			found, err := find(parsePatterns(t, test.patterns...))
			if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Fatalf("got %v, want %q", err, test.err)
			}
			var got []string
			for _, l := range found {
				if l.URL != "http://x.org/"+l.Name || l.Groups[0] != l.Name {
					t.Errorf("%+v", l)
				}
				got = append(got, strings.Join(append([]string{l.Name}, l.Groups[1:]...), ":"))
			}
			if s := strings.Join(got, " "); s != test.want {
				t.Errorf("got %s, want %s", s, test.want)
			}
		})
	}
	_, err := (Page{URL: page.URL}).Select(parsePatterns(t, "a"))
	if err == nil || err.Error() != "nothing there matches a; it lists nothing" {
		t.Errorf("got %v", err)
	}
}

// Whatever a page is, each of its names is there once, is no path, and has a URL of http.
func FuzzLinks(f *testing.F) {
	for _, body := range []string{nginx, apache, lighttpd, caddy, `{"a":["b",{"c":"http://x/d"}]}`, "a b\n* c", `<base href=//a><a href=b>`, "<a>b</a>"} {
		f.Add(body, "text/html", `.*`)
		f.Add(body, "", `[a-z]+`)
	}
	f.Add("a/..", "", ".*")
	f.Add(`<a href="%2f%2e%2e">`, "text/html; charset=utf-16", ".*")
	f.Fuzz(func(t *testing.T, body, media, pattern string) {
		base, _ := url.Parse("http://x.org/pub/")
		page := Page{URL: base, Type: media, Body: []byte(body)}
		found := page.Links()
		if p, err := ParsePattern(pattern); err == nil && len(body) < 1000 {
			chosen, _ := page.Select([]Pattern{p})
			if len(chosen) > len(found) {
				t.Errorf("%d links of %d", len(chosen), len(found))
			}
			searched, _ := page.Search([]Pattern{p})
			found = append(found, slices.DeleteFunc(searched, func(l Link) bool {
				return slices.ContainsFunc(found, func(m Link) bool { return l.Name == m.Name })
			})...)
		}
		names := make(map[string]bool)
		for _, l := range found {
			u, err := url.Parse(l.URL)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" {
				t.Errorf("%q: %v", l.URL, err)
			}
			if l.Name == "" || strings.Contains(l.Name, "/") || names[l.Name] {
				t.Errorf("the name %q", l.Name)
			}
			names[l.Name] = true
		}
	})
}

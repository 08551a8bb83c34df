package sources_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"path"
	"strings"
)

// The pages by which servers show what is in a directory. Names of directories end in a
// slash.

// A style prints the page of a directory.
type style func(dir string, entries []string) string

// styles are all of them, by the servers that print them so.
var styles = map[string]style{"nginx": nginx, "apache": apache, "lighttpd": lighttpd, "caddy": caddy, "absolute": absolute}

func href(name string) string { return (&url.URL{Path: name}).EscapedPath() }

func page(title, before string, entries []string, row func(name string) string, after string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<html><head><title>%s</title></head><body>\n%s", html.EscapeString(title), before)
	for _, name := range entries {
		b.WriteString(row(name) + "\n")
	}
	b.WriteString(after + "</body></html>\n")
	return b.String()
}

func nginx(dir string, entries []string) string {
	return page("Index of "+dir, "<h1>Index of "+dir+"</h1><hr><pre><a href=\"../\">../</a>\n", entries, func(name string) string {
		return fmt.Sprintf(`<a href="%s">%s</a>     20-Oct-2026 10:00     1234`, href(name), html.EscapeString(name))
	}, "</pre><hr>")
}

// apache cuts the text of long names short, and has links that sort.
func apache(dir string, entries []string) string {
	head := `<table><tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>` +
		`<tr><td><a href="` + path.Dir(dir) + `">Parent Directory</a></td></tr>` + "\n"
	return page("Index of "+dir, head, entries, func(name string) string {
		text := name
		if len(text) > 23 {
			text = text[:20] + "..>"
		}
		return fmt.Sprintf(`<tr><td><a href='%s'>%s</a></td><td align="right">2026-10-20 10:00</td></tr>`, href(name), html.EscapeString(text))
	}, "</table>")
}

// lighttpd has the slash of directories outside of the link, and so has the site of OpenWrt.
func lighttpd(dir string, entries []string) string {
	return page("Index of "+dir, `<table summary="Directory Listing"><tr class="d"><td class="n"><a href="../">..</a>/</td></tr>`, entries, func(name string) string {
		text := strings.TrimSuffix(name, "/")
		return fmt.Sprintf(`<tr><td class="n"><a href="%s">%s</a>%s</td><td class="m">2026-Oct-20 10:00:00</td></tr>`,
			href(name), html.EscapeString(text), strings.TrimPrefix(name, text))
	}, "</table>")
}

func caddy(dir string, entries []string) string {
	return page(dir, "<table><tbody>", entries, func(name string) string {
		return fmt.Sprintf("<tr class=\"file\">\n<td>\n<a href=\"./%s\">\n<svg></svg>\n<span class=\"name\">%s</span>\n</a>\n</td></tr>", href(name), html.EscapeString(name))
	}, "</tbody></table>")
}

// absolute has the whole path in each link.
func absolute(dir string, entries []string) string {
	return page(dir, "<ul>", entries, func(name string) string {
		return fmt.Sprintf(`<li><a class="x" href="%s">%s</a></li>`, href(path.Join(dir, name)), html.EscapeString(name))
	}, "</ul>")
}

// jsonTable is what the servers of openSUSE answer where "?jsontable" is asked for.
func jsonTable(entries []string) string {
	type row struct {
		Name string `json:"name"`
		Size int    `json:"size"`
	}
	var data []row
	for _, name := range entries {
		data = append(data, row{name, 1})
	}
	text, err := json.Marshal(map[string][]row{"data": data})
	if err != nil {
		panic(err)
	}
	return string(text)
}

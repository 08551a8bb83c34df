// Package listing reads what a page of a server lists: the files of a directory, the assets
// of a release, the names in an index. How pages look is up to the servers; what is certain
// is the last element of the path that a link leads to.
//
// Getting pages is not its business.
package listing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// A Page is what a server has answered.
type Page struct {
	URL  *url.URL // where it came from in the end, which links are relative to
	Type string   // its media type, as Content-Type says; "": it says nothing
	Body []byte
}

// A Link is something that a page lists.
type Link struct {
	Name   string   `json:"name"` // the last element of the path that it leads to, without a slash
	URL    string   `json:"url"`
	Groups []string `json:"groups"` // what the pattern that has chosen it has matched, all of it first
}

// Links returns what a page lists, in its order, each name once. Of HTML that is what its
// anchors lead to; of JSON every text that can be a name or a URL; of anything else every
// such word.
func (p Page) Links() []Link {
	c := collector{base: p.URL, seen: make(map[string]int)}
	switch p.format() {
	case formatHTML:
		c.html(p.decoded())
	case formatJSON:
		c.json(p.Body)
	default:
		c.words(string(p.Body))
	}
	return c.links
}

type format int

const (
	formatText format = iota
	formatHTML
	formatJSON
)

// format is what the page is in. Its bytes count more than what the server calls them.
func (p Page) format() format {
	body := bytes.TrimSpace(bytes.TrimPrefix(p.Body, []byte("\ufeff")))
	media, _, _ := mime.ParseMediaType(p.Type)
	sniffed, _, _ := mime.ParseMediaType(http.DetectContentType(body))
	switch {
	case len(body) > 0 && (body[0] == '{' || body[0] == '[') && json.Valid(body):
		return formatJSON
	case sniffed == "text/html", media == "text/html", media == "application/xhtml+xml":
		return formatHTML
	}
	return formatText
}

// A collector gathers links. It knows each name once.
type collector struct {
	base  *url.URL
	links []Link
	seen  map[string]int // where in links a name is
	full  map[string]bool
}

// add adds what a reference leads to, and tells whether it leads anywhere: not to the page
// itself, nor to what that is in.
func (c *collector) add(ref string) bool {
	u, err := url.Parse(strings.TrimSpace(ref))
	if err != nil || u.Opaque != "" || u.Path == "" {
		return false
	}
	absolute := u.Scheme != ""
	u = c.base.ResolveReference(u)
	u.Fragment, u.RawFragment = "", ""
	name := lastElement(u.Path)
	if name == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	if above := strings.TrimSuffix(u.Path, "/") + "/"; u.Host == c.base.Host && strings.HasPrefix(strings.TrimSuffix(c.base.Path, "/")+"/", above) {
		return false
	}
	at, known := c.seen[name]
	switch {
	case !known:
		c.seen[name] = len(c.links)
		c.links = append(c.links, Link{Name: name, URL: u.String()})
	case absolute && !c.full[name]: // where the other one leads to was a guess
		c.links[at].URL = u.String()
	}
	if absolute {
		if c.full == nil {
			c.full = make(map[string]bool)
		}
		c.full[name] = true
	}
	return true
}

// lastElement is the last element of a path.
func lastElement(path string) string {
	path = strings.TrimRight(path, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}

// addName adds a text that is a name or a URL, if it can be one.
func (c *collector) addName(text string) {
	if text == "" || len(text) > maxName || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return
	}
	if !strings.Contains(text, "://") {
		// A name, which url.Parse would take apart at a colon or a question mark.
		elements := strings.Split(text, "/")
		for i, e := range elements {
			elements[i] = url.PathEscape(e)
		}
		text = strings.Join(elements, "/")
		if strings.Contains(elements[0], ":") {
			text = "./" + text
		}
	}
	c.add(text)
}

// maxName is how long a name or a URL may be.
const maxName = 4096

// json adds the texts of a JSON document, but not the names of its members.
func (c *collector) json(body []byte) {
	dec := json.NewDecoder(bytes.NewReader(body))
	var objects []bool // whether each bracket around is one of an object
	key := false       // the next text is the name of a member
	for {
		token, err := dec.Token()
		if err != nil {
			return // the end: the document is valid
		}
		switch t := token.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				objects = append(objects, t == '{')
			} else {
				objects = objects[:len(objects)-1]
			}
			key = len(objects) > 0 && objects[len(objects)-1]
			continue
		case string:
			if !key {
				c.addName(t)
			}
		}
		key = len(objects) > 0 && objects[len(objects)-1] && !key
	}
}

// words adds the words of a text, without what stands around them in lists, checksum files
// and YAML.
func (c *collector) words(body string) {
	for word := range strings.FieldsFuncSeq(body, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`<>"'`, r) }) {
		word = strings.TrimLeft(word, "*(")
		c.addName(strings.TrimRight(word, ",;:)"))
	}
}

// examples shows up to five of the names that a page lists.
func examples(links []Link) string {
	if len(links) == 0 {
		return "it lists nothing"
	}
	var names []string
	for _, l := range links[:min(len(links), 5)] {
		names = append(names, l.Name)
	}
	text := "it lists " + strings.Join(names, ", ")
	if n := len(links) - len(names); n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

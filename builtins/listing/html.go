package listing

import (
	"bytes"
	"io"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"
)

// What HTML lists. Indexes of servers are seldom well-formed, so that their tokens are gone
// through, not their tree.

// decoded is the body in UTF-8.
func (p Page) decoded() []byte {
	r, err := charset.NewReader(bytes.NewReader(p.Body), p.Type)
	if err != nil {
		return p.Body
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return p.Body
	}
	return text
}

// html adds what the anchors of a page lead to. What they say counts only where they lead
// nowhere: servers shorten it.
func (c *collector) html(body []byte) {
	z := html.NewTokenizer(bytes.NewReader(body))
	var text *strings.Builder // of an anchor that leads nowhere; nil: not in one
	for {
		switch z.Next() {
		case html.ErrorToken:
			return
		case html.TextToken:
			if text != nil {
				text.Write(z.Text())
			}
		case html.EndTagToken:
			if name, _ := z.TagName(); text != nil && string(name) == "a" {
				c.addName(strings.TrimSpace(html.UnescapeString(text.String())))
				text = nil
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			href, ok := attribute(token, "href")
			switch token.Data {
			case "base":
				if u, err := c.base.Parse(href); err == nil && ok && u.Host != "" {
					c.base = u
				}
			case "a":
				text = nil
				if !ok || href == "" || href[0] == '#' || strings.HasPrefix(strings.ToLower(href), "javascript:") {
					text = new(strings.Builder)
				} else {
					c.add(href)
				}
			}
		}
	}
}

func attribute(t html.Token, name string) (value string, ok bool) {
	for _, a := range t.Attr {
		if a.Key == name {
			return strings.TrimSpace(a.Val), true
		}
	}
	return "", false
}

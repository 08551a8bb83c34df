package words

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/options"
	"imagebuilder/builtins/timespan"
	"imagebuilder/streams"
	"imagebuilder/streams/catalog"
	pages "imagebuilder/streams/page"
	"imagebuilder/streams/site"
)

// Options that several words have, each kind of them with what it comes to in the end.

// onSite are the options of all words: which streams of a site, and how to read it.
type onSite struct {
	options.Table
	streams []string
	version string
	workers int
	links   bool
	natural bool
}

func newOnSite(spell options.Spelling) onSite {
	return onSite{Table: options.New(spell), version: streams.DefaultStreamVersion}
}

// addStreams adds the option that says which streams; byDefault is what it is without.
func (o *onSite) addStreams(byDefault string) {
	o.Add(&options.Setting{
		Name: "streams", Flag: "stream", To: &o.streams,
		Help: "`name` of a stream, a directory of images; may be repeated (default " + byDefault + ")",
		Check: func() error {
			for i, name := range o.streams {
				if err := catalog.CheckStream(name); err != nil {
					return err
				}
				if slices.Contains(o.streams[:i], name) {
					return fmt.Errorf("%s is given twice", name)
				}
			}
			return nil
		},
	})
}

func (o *onSite) addVersion() {
	o.Add(&options.Setting{
		Name: "stream_version", To: &o.version, Help: "`name` of the directory of catalogs; clients know v1 only",
		Check: func() error { return catalog.CheckStreamVersion(o.version) },
	})
}

// addWork adds the options of the words that read the images.
func (o *onSite) addWork() {
	o.Add(
		&options.Setting{
			Name: "workers", To: &o.workers, Help: "`number` of files worked on at a time (default one for each CPU)",
			Check: func() error {
				if o.workers < 0 {
					return options.Want(o.workers, "no negative number")
				}
				return nil
			},
		},
		&options.Setting{Name: "follow_links", To: &o.links, Help: "follow symbolic links that stay inside ROOT"},
		&options.Setting{
			Name: "natural_order", To: &o.natural,
			Help: "order versions by the numbers in their names, v10 after v9; clients do not",
		},
	)
}

// fill enters the options into a site, of which the face knows the rest.
func (o *onSite) fill(s streams.Site) streams.Site {
	s.Streams, s.StreamVersion, s.Workers, s.Links, s.NaturalOrder = o.streams, o.version, o.workers, o.links, o.natural
	return s
}

// publishing are the options of the words that publish.
type publishing struct {
	key, passphrase options.KeyFile
	maxDrop         float64
	force           bool
}

// addTo adds the options; does says what the key is for.
func (p *publishing) addTo(t *options.Table, does string) {
	p.maxDrop = streams.DefaultMaxDrop
	key := &options.Setting{Name: "sign_key", To: &p.key, Help: "`file` with an OpenPGP private key: " + does}
	passphrase := &options.Setting{Name: "sign_passphrase", To: &p.passphrase, Help: "`file` with the passphrase of that key"}
	t.Add(key, passphrase,
		&options.Setting{
			Name: "max_drop", To: &p.maxDrop, Check: isShare(&p.maxDrop),
			Help: "refuse to drop more than this `share` of the listed versions, from 0 to 1",
		},
		&options.Setting{Name: "force", To: &p.force, Help: "do so nevertheless"},
	)
	t.Together(func() error {
		if passphrase.Given && !key.Given {
			return fmt.Errorf("%s is that of %s, which is missing", t.Spell(passphrase), t.Spell(key))
		}
		return nil
	})
}

func (p *publishing) safety() streams.Safety {
	return streams.Safety{MaxDrop: nonzero(p.maxDrop), Force: p.force}
}

// Signer returns what signs, nil if nothing is to be signed.
func (p *publishing) Signer(clock host.Clock) (*site.Signer, error) {
	if p.key.Path == "" {
		return nil, nil
	}
	key, err := os.ReadFile(p.key.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the signing key: %w", err)
	}
	var passphrase []byte
	if p.passphrase.Path != "" {
		if passphrase, err = os.ReadFile(p.passphrase.Path); err != nil {
			return nil, fmt.Errorf("cannot read the passphrase of the signing key: %w", err)
		}
	}
	return site.NewSigner(key, bytes.TrimRight(passphrase, "\r\n"), clock)
}

// page are the options about the web page: a switch, and the texts of it, of which each
// implies the switch.
type page struct {
	on    bool
	texts pages.Setup
	stale timespan.Span
	each  []*options.Setting
}

// PageName is the argument and the flag that ask for a web page. In a recipe its value
// can be a dict of the texts.
const PageName = "page"

func (p *page) addTo(t *options.Table) {
	o := &p.texts
	p.stale = timespan.Span(pages.DefaultStale)
	p.each = []*options.Setting{
		{Name: "title", To: &o.Title, Help: "`title` of the page (default Images)"},
		{Name: "intro", To: (*options.Paragraphs)(&o.Intro), Help: "`paragraph` of the introduction; may be repeated"},
		{Name: "notice", To: &o.Notice, Help: "`text` that is set off from the introduction, such as how official the images are"},
		{Name: "footer", To: &o.Footer, Help: "`text` at the bottom"},
		{Name: "logo", To: &o.Logo, Help: "`path` of a picture, from ROOT"},
		{Name: "remote", To: &o.Remote, Help: "`name` of the server in the commands that are shown (default " + pages.DefaultRemote + ")", Check: p.checkRemote},
		{Name: "url", To: &o.URL, Help: "`address` of the server; the page shows how to add it then", Check: p.checkURL},
		{
			Name: "clients", Flag: "page-client", To: &o.Clients, Check: p.checkClients,
			Help: "`program` to show commands for; may be repeated (default lxc,incus)",
		},
		{Name: "stale", To: &p.stale, Help: "`age` at which the newest version counts as out of date; 0: never"},
	}
	t.Add(&options.Setting{Name: PageName, To: &p.on, Help: "make a web page, index.html; implied by the flags about it"})
	for _, s := range p.each {
		s.Of = PageName
		if s.Flag == "" {
			s.Flag = PageName + "-" + s.Name
		}
		t.Add(s)
	}
}

func (p *page) checkClients() error {
	for _, client := range p.texts.Clients {
		if client != "lxc" && client != "incus" {
			return options.Want(client, "lxc or incus")
		}
	}
	return nil
}

// remoteName is what visitors can copy into a shell, and clients take.
var remoteName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (p *page) checkRemote() error {
	if text := p.texts.Remote; text != "" && !remoteName.MatchString(text) {
		return options.Want(text, "a name of letters, digits, '.', '_' and '-', such as "+pages.DefaultRemote)
	}
	return nil
}

func (p *page) checkURL() error {
	text := p.texts.URL
	if u, err := url.Parse(text); text != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		return options.Want(text, "an address such as https://images.example.org")
	}
	return nil
}

// options returns the settings of the page, nil if there is to be none.
func (p *page) options() *pages.Setup {
	on := p.on
	for _, s := range p.each {
		on = on || s.Given
	}
	if !on {
		return nil
	}
	opts := p.texts
	if opts.StaleAfter = p.stale.Duration(); p.stale == 0 {
		opts.StaleAfter = -1 // never
	}
	return &opts
}

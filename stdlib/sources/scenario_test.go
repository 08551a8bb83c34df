package sources_test

import (
	"cmp"
	"fmt"
	"path"
	"strings"
	"testing"
)

// What all sources have to do, whatever their mirrors look like.

// A scenario is a source with a mirror as it has to be for it.
type scenario struct {
	function string // of @stdlib//sources/, as "FILE NAME"
	image    string // arguments of image
	args     string // further arguments of the source
	path     string // of the mirror that is the URL for the source

	fill    func(m *mirror, by keys) // makes the files, signed by keys
	archive string                   // path of what is unpacked
	want    archive                  // what comes out

	unsigned bool   // nothing on the mirror is signed
	gone     string // part of the error when the archive is gone; "": that the server says so
}

// keys are those that sign a mirror.
type keys struct {
	*signer
	*signify
}

func ours() keys   { return keys{trusted(), trustedSignify()} }
func theirs() keys { return keys{stranger(), strangerSignify()} }

// A fault is what goes wrong.
type fault struct {
	summary string
	mirror  func(m *mirror) // what is wrong there
	image   string          // "": that of the scenario
	args    string          // "": those of the scenario; our keys go with them unless they have any
	want    []string        // parts of the error
}

// recipe prints the recipe that uses the source.
func (s scenario) recipe(url, image string, args ...string) string {
	file, name, _ := strings.Cut(s.function, " ")
	all := fmt.Sprintf("image(%s), %q", image, url)
	for _, arg := range args {
		if arg != "" {
			all += ", " + arg
		}
	}
	ours := fmt.Sprintf("OURS = [%q, %q]\n", trusted().key(), trustedSignify().key())
	return fmt.Sprintf("load(\"@stdlib//sources/%s.star\", %q)\n%sdef made():\n    return %s(%s)\n", file, name, ours, name, all)
}

// withKeys is the argument with our keys.
const withKeys = "keys = OURS"

func (s scenario) mirror(t *testing.T, by keys) *mirror {
	m := newMirror(t)
	s.fill(m, by)
	return m
}

// test builds from a mirror that is right, and from others.
func (s scenario) test(t *testing.T, faults ...fault) {
	t.Helper()
	t.Parallel() // with other sources
	s.testRight(t)
	s.testPlan(t)
	right := s.mirror(t, ours())
	if !s.unsigned {
		s.testSignatures(t, right)
	}
	name := path.Base(s.archive)
	faults = append(faults,
		fault{"a flipped bit", func(m *mirror) { m.flip(s.archive) }, "", "", []string{name + ": it "}},
		fault{"a page with status 200 instead of the archive", func(m *mirror) { m.hinder(s.archive, portal) }, "", "", []string{name, "the server has sent an HTML page"}},
		fault{"an archive that is gone", func(m *mirror) { m.hinder(s.archive, notFound) }, "", "", []string{cmp.Or(s.gone, name+": the server says 404 Not Found")}},
		fault{"an architecture that nobody has", nil, s.image + `, architecture = "mips64"`, "", []string{`there is nothing for the architecture "mips64"; known are `}},
	)
	for _, f := range faults {
		t.Run(f.summary, func(t *testing.T) {
			m := s.mirror(t, ours())
			if f.mirror != nil {
				f.mirror(m)
			}
			base, keys := m.http, withKeys
			if s.unsigned {
				base, keys = m.https, ""
			}
			if strings.Contains(f.args, "keys = ") {
				keys = ""
			}
			s.fails(t, f.want, s.recipe(base+"/"+s.path, cmp.Or(f.image, s.image), cmp.Or(f.args, s.args), keys))
		})
	}
}

// testRight builds over http with keys, and over https with and without them.
func (s scenario) testRight(t *testing.T) {
	t.Helper()
	m := s.mirror(t, ours())
	for _, way := range []struct {
		summary, url, args string
		style              style
		skip               bool
	}{
		{"http with keys", m.http, withKeys, nginx, s.unsigned},
		{"https without", m.https, "", apache, false},
		{"https with keys", m.https, withKeys, lighttpd, false},
		{"http that is not to be verified", m.http, "skip_verification = True", caddy, false},
	} {
		if way.skip {
			continue
		}
		t.Run(way.summary, func(t *testing.T) {
			m.style = way.style
			b, err := run(t, s.recipe(way.url+"/"+s.path, s.image, s.args, way.args))
			if err != nil {
				t.Fatal(err)
			}
			s.want.check(t, b.dir)
			for _, asked := range m.requests() {
				if strings.Contains(asked, "//") {
					t.Errorf("two slashes in %s", asked)
				}
			}
		})
	}
}

// testPlan plans without a server, with and without a slash at the end.
func (s scenario) testPlan(t *testing.T) {
	t.Helper()
	t.Run("plan", func(t *testing.T) {
		for _, slash := range []string{"", "/"} {
			steps, err := plan(t, s.recipe("https://example.org/"+s.path+slash, s.image, s.args))
			if err != nil || !strings.Contains(steps, `"builtin":"unpack"`) {
				t.Errorf("%v\n%s", err, steps)
			}
		}
	})
}

// testSignatures builds where signatures are not there, or by others.
func (s scenario) testSignatures(t *testing.T, right *mirror) {
	t.Helper()
	t.Run("http without keys", func(t *testing.T) {
		s.fails(t, []string{"give the keys"}, s.recipe(right.http+"/"+s.path, s.image, s.args))
	})
	other := s.mirror(t, theirs())
	for _, base := range []string{other.http, other.https} {
		t.Run("signed by somebody else, "+base[:strings.Index(base, ":")], func(t *testing.T) {
			s.fails(t, []string{"signed with the key", "none of those given"}, s.recipe(base+"/"+s.path, s.image, s.args, withKeys))
		})
	}
}

// fails builds a recipe, which has to fail with an error that has all parts.
func (s scenario) fails(t *testing.T, want []string, recipe string) {
	t.Helper()
	_, err := run(t, recipe)
	if err == nil {
		t.Error("it is built")
		return
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error has no %q: %v", part, err)
		}
	}
}

// sums is a checksum file in the form of sha256sum, with a space or a star before names.
func sums(mark string, m *mirror, names ...string) []byte {
	var text string
	for _, name := range names {
		text += sha256Of(m.get(name)) + " " + mark + name[strings.LastIndex(name, "/")+1:] + "\n"
	}
	return []byte(text)
}

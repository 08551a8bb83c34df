package fetch_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/blake2b"

	"imagebuilder/builtins/fetch"
)

// A signer makes OpenPGP signatures.
type signer struct {
	*openpgp.Entity
	armored string // its public key
	name    string // its fingerprint
}

func newSigner(t testing.TB, config *packet.Config) signer {
	t.Helper()
	entity, err := openpgp.NewEntity("signer", "", "signer@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := entity.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	text, err := fetch.Armor(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return signer{entity, string(text), fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint)}
}

func (s signer) detached(data []byte) []byte {
	var b bytes.Buffer
	openpgp.DetachSign(&b, s.Entity, bytes.NewReader(data), nil)
	return b.Bytes()
}

func (s signer) clear(data []byte) []byte {
	var b bytes.Buffer
	w, _ := clearsign.Encode(&b, s.PrivateKey, nil)
	w.Write(data)
	w.Close()
	return append(b.Bytes(), '\n')
}

func (s signer) binary(data []byte) []byte {
	var b bytes.Buffer
	w, _ := openpgp.Sign(&b, s.Entity, nil, nil)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func armored(kind string, packets []byte) []byte {
	var b bytes.Buffer
	w, _ := armor.Encode(&b, kind, nil)
	w.Write(packets)
	w.Close()
	return b.Bytes()
}

// A minisigner makes signatures of signify and of minisign.
type minisigner struct {
	key  ed25519.PrivateKey
	id   string
	text string // its public key
}

func newMinisigner(t testing.TB, id string) minisigner {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return minisigner{private, id, "untrusted comment: a key\n" + base64.StdEncoding.EncodeToString([]byte("Ed"+id+string(public))) + "\n"}
}

func (m minisigner) line(kind string, message []byte) string {
	return "untrusted comment: a signature\n" + base64.StdEncoding.EncodeToString([]byte(kind+m.id+string(ed25519.Sign(m.key, message)))) + "\n"
}

// signify signs as signify -S does.
func (m minisigner) signify(data []byte) []byte { return []byte(m.line("Ed", data)) }

// minisign signs as minisign -S does, which hashes first.
func (m minisigner) minisign(data []byte) []byte {
	sum := blake2b.Sum512(data)
	const comment = "timestamp:1"
	global := ed25519.Sign(m.key, append(ed25519.Sign(m.key, sum[:]), comment...))
	return []byte(m.line("ED", sum[:]) + "trusted comment: " + comment + "\n" + base64.StdEncoding.EncodeToString(global) + "\n")
}

// A site serves files from memory and logs what is asked for.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	log   []string
}

func newSite(t testing.TB, tls bool, files map[string][]byte) *site {
	s := &site{files: files}
	s.Server = httptest.NewUnstartedServer(s)
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, strings.TrimPrefix(r.URL.Path, "/"))
	data, ok := s.files[strings.TrimPrefix(r.URL.Path, "/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256(data)
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sum))
	http.ServeContent(w, r, r.URL.Path, time.Time{}, bytes.NewReader(data))
}

// asked returns what was asked for since.
func (s *site) asked() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.log = nil }()
	return strings.Join(s.log, " ")
}

func (s *site) client(t *testing.T, dir string) *fetch.Client {
	c := newClient(t, dir)
	c.Transport = s.Client().Transport
	return c
}

func flipped(data []byte) []byte {
	other := bytes.Clone(data)
	other[len(other)/2] ^= 1
	return other
}

// A file is verified by a signature beside it, of whatever kind.
func TestDetachedSignatures(t *testing.T) {
	day := 24 * time.Hour
	past := func(age time.Duration) *packet.Config {
		return &packet.Config{Time: func() time.Time { return time.Now().Add(-age) }}
	}
	one, two := newSigner(t, nil), newSigner(t, nil)
	expired := past(10 * day)
	expired.KeyLifetimeSecs = uint32((5 * day).Seconds())
	old := newSigner(t, expired)
	var oldSignature bytes.Buffer
	openpgp.DetachSign(&oldSignature, old.Entity, bytes.NewReader(content), past(9*day))
	revoked := newSigner(t, nil)
	revokedSignature := revoked.detached(content)
	if err := revoked.RevokeKey(packet.KeyCompromised, "", nil); err != nil {
		t.Fatal(err)
	}
	var packets bytes.Buffer
	revoked.Serialize(&packets)
	revokedKey, _ := fetch.Armor(packets.Bytes())
	mini, other := newMinisigner(t, "12345678"), newMinisigner(t, "87654321")
	unsigned := "its signature is missing: cannot download URL/file.sig: the server says 404 Not Found"
	tests := []struct {
		summary   string
		keys      []string
		signature []byte
		content   []byte // what is served, if not what was signed
		signer    string
		err       string
	}{
		{summary: "binary", keys: []string{one.armored}, signature: one.detached(content), signer: one.name},
		{summary: "armored", keys: []string{one.armored}, signature: armored("PGP SIGNATURE", one.detached(content)), signer: one.name},
		{summary: "by one of several keys", keys: []string{two.armored, one.armored}, signature: one.detached(content), signer: one.name},
		{summary: "two signatures, one key", keys: []string{one.armored}, signature: append(two.detached(content), one.detached(content)...), signer: one.name},
		{summary: "a wrong signature and a right one", keys: []string{one.armored}, signature: append(one.detached(nil), one.detached(content)...), signer: one.name},
		{summary: "changed content", keys: []string{one.armored}, signature: one.detached(content), content: flipped(content),
			err: "it is not what was signed with the key " + one.name + ": its content or the signature was changed (URL/file.sig)"},
		{summary: "a signature of something else", keys: []string{one.armored}, signature: one.detached(nil), err: "it is not what was signed with the key " + one.name},
		{summary: "an unknown key", keys: []string{two.armored}, signature: one.detached(content), err: "it is signed with the key " + one.name + ", which is none of those given"},
		{summary: "an expired key", keys: []string{old.armored}, signature: oldSignature.Bytes(), err: "the key " + old.name + " that it is signed with has expired"},
		{summary: "a revoked key", keys: []string{string(revokedKey)}, signature: revokedSignature, err: "was revoked by its owner"},
		{summary: "no signature", keys: []string{one.armored}, err: unsigned},
		{summary: "a page", keys: []string{one.armored}, signature: []byte("<!DOCTYPE html><html>no</html>"), err: "the server has sent an HTML page"},
		{summary: "words", keys: []string{one.armored}, signature: []byte("words"), err: "URL/file.sig: it is no signature of OpenPGP, signify or minisign"},
		{summary: "a key", keys: []string{one.armored}, signature: []byte(one.armored), err: "URL/file.sig: it is no signature, but a PGP PUBLIC KEY BLOCK"},
		{summary: "a cut signature", keys: []string{one.armored}, signature: one.detached(content)[:20], err: "cannot read the signature"},
		{summary: "signify", keys: []string{mini.text}, signature: mini.signify(content), signer: "3837363534333231"},
		{summary: "minisign", keys: []string{mini.text}, signature: mini.minisign(content), signer: "3837363534333231"},
		{summary: "a bare key", keys: []string{strings.Split(mini.text, "\n")[1]}, signature: mini.minisign(content), signer: "3837363534333231"},
		{summary: "signify, changed", keys: []string{mini.text}, signature: mini.signify(content), content: flipped(content), err: "it is not what was signed with the key 3837363534333231"},
		{summary: "minisign, changed", keys: []string{mini.text}, signature: mini.minisign(content), content: flipped(content), err: "it is not what was signed with the key 3837363534333231"},
		{summary: "minisign, its comment changed", keys: []string{mini.text}, signature: bytes.Replace(mini.minisign(content), []byte("timestamp:1"), []byte("timestamp:2"), 1),
			err: "it is not what was signed with the key 3837363534333231"},
		{summary: "minisign, without its comment", keys: []string{mini.text}, signature: bytes.Split(mini.minisign(content), []byte("trusted comment: time"))[0], err: "its trusted comment is missing"},
		{summary: "another key of minisign", keys: []string{other.text}, signature: mini.minisign(content), err: "it is signed with the key 3837363534333231, which is none of those given"},
		{summary: "no key of its kind", keys: []string{one.armored}, signature: mini.minisign(content), err: "its signature is of signify or minisign, and none of the keys given is"},
		{summary: "no key of its kind, the other way round", keys: []string{mini.text}, signature: one.detached(content), err: "its signature is of OpenPGP, and none of the keys given is"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			s := newSite(t, false, map[string][]byte{"file": content})
			if test.content != nil {
				s.files["file"] = test.content
			}
			if test.signature != nil {
				s.files["file.sig"] = test.signature
			}
			dir := t.TempDir()
			c := s.client(t, dir)
			f, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file", Signature: s.URL + "/file.sig", Trust: &fetch.Trust{Keys: test.keys}})
			if test.err != "" {
				want := strings.ReplaceAll(test.err, "URL", s.URL)
				if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "cannot download "+s.URL+"/file: ") {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				if found, err := c.Known(ctx, s.URL+"/file"); err == nil {
					t.Errorf("it is in the store: %+v", found)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			data, _ := os.ReadFile(f.Path)
			if f.SignedBy != test.signer || !bytes.Equal(data, content) {
				t.Errorf("signed by %q, %d bytes", f.SignedBy, len(data))
			}
		})
	}
}

// A checksum file is verified before it is read, and nothing else of it counts.
func TestListed(t *testing.T) {
	one, two, mini := newSigner(t, nil), newSigner(t, nil), newMinisigner(t, "12345678")
	right, wrong := sha256.Sum256(content), sha256.Sum256(nil)
	sums := []byte(fmt.Sprintf("%x  file\n", right))
	forged := []byte(fmt.Sprintf("%x  file\n", wrong))
	long := sha512.Sum512(content)
	tests := []struct {
		summary   string
		sums      []byte // nil: there are none
		detached  []byte
		signature string // "detached", "inline", "inline?" or ""
		keys      []string
		skip      bool // the trust is none
		tls       bool
		optional  bool
		algorithm string
		signer    string
		none      bool
		err       string
	}{
		{summary: "no trust", sums: sums, skip: true},
		{summary: "no keys, https", sums: sums, tls: true},
		{summary: "no keys, http", sums: sums, err: "give the keys that it is signed with, or a"},
		{summary: "keys and no signature, https", sums: sums, tls: true, keys: []string{one.armored}},
		{summary: "keys and no signature, http", sums: sums, keys: []string{one.armored}, err: "nothing says where a signature of URL/SUMS is"},
		{summary: "detached", sums: sums, detached: one.detached(sums), signature: "detached", keys: []string{one.armored}, signer: one.name},
		{summary: "detached, https", sums: sums, detached: one.detached(sums), signature: "detached", tls: true, keys: []string{one.armored}, signer: one.name},
		{summary: "detached, wrong, https", sums: forged, detached: one.detached(sums), signature: "detached", tls: true, keys: []string{one.armored}, err: "it is not what was signed"},
		{summary: "detached, another key", sums: sums, detached: two.detached(sums), signature: "detached", keys: []string{one.armored}, err: "URL/SUMS.sig: it is signed with the key " + two.name},
		{summary: "detached, missing", sums: sums, signature: "detached", keys: []string{one.armored}, err: "its signature is missing"},
		{summary: "detached, missing, no keys", sums: sums, signature: "detached", tls: true},
		{summary: "clear-signed", sums: one.clear(sums), signature: "inline", keys: []string{one.armored}, signer: one.name},
		{summary: "clear-signed, no keys", sums: one.clear(sums), signature: "inline", tls: true},
		{summary: "clear-signed, changed", sums: bytes.Replace(one.clear(sums), sums[:8], forged[:8], 1), signature: "inline", keys: []string{one.armored}, err: "URL/SUMS: it is not what was signed"},
		{summary: "clear-signed, lines around", sums: append(append(bytes.Clone(forged), one.clear(sums)...), forged...), signature: "inline", keys: []string{one.armored}, signer: one.name},
		{summary: "clear-signed, lines around, no keys", sums: append(append(bytes.Clone(forged), one.clear(sums)...), forged...), skip: true},
		{summary: "clear-signed, only lines around", sums: append(one.clear([]byte("nothing\n")), sums...), signature: "inline", keys: []string{one.armored}, err: "there is no checksum in it"},
		{summary: "clear-signed, cut", sums: one.clear(sums)[:100], signature: "inline?", keys: []string{one.armored}, err: "cannot read a clear-signed message"},
		{summary: "signed by gpg --sign", sums: one.binary(sums), signature: "inline", keys: []string{one.armored}, signer: one.name},
		{summary: "signed by gpg --sign --armor", sums: armored("PGP MESSAGE", one.binary(sums)), signature: "inline", keys: []string{one.armored}, signer: one.name},
		{summary: "signed by gpg --sign, another key", sums: one.binary(sums), signature: "inline", keys: []string{two.armored}, err: "it is signed with the key " + one.name},
		{summary: "signed by signify -S -e", sums: append(mini.signify(sums), sums...), signature: "inline", keys: []string{mini.text}, signer: "3837363534333231"},
		{summary: "plain, and must be signed", sums: sums, signature: "inline", keys: []string{one.armored}, err: "URL/SUMS is not signed: it has to be a signed message"},
		{summary: "plain, and must be signed, no keys", sums: sums, signature: "inline", tls: true, err: "URL/SUMS is not signed"},
		{summary: "plain, and may be signed, https", sums: sums, signature: "inline?", tls: true, keys: []string{one.armored}},
		{summary: "plain, and may be signed, http", sums: sums, signature: "inline?", keys: []string{one.armored}, err: "nothing says where a signature of URL/SUMS is"},
		{summary: "signed by another key, and may be", sums: two.clear(sums), signature: "inline?", tls: true, keys: []string{one.armored}, err: "it is signed with the key " + two.name},
		{summary: "keys of another kind, https", sums: sums, detached: mini.signify(sums), signature: "detached", tls: true, keys: []string{one.armored}},
		{summary: "keys of another kind, http", sums: sums, detached: mini.signify(sums), signature: "detached", keys: []string{one.armored}, err: "none of the keys given is"},
		{summary: "missing", tls: true, err: "the server says 404 Not Found"},
		{summary: "missing and optional", tls: true, optional: true, none: true},
		{summary: "there, optional, without the signature", sums: sums, signature: "detached", tls: true, optional: true, keys: []string{one.armored}, err: "its signature is missing"},
		{summary: "of another file", sums: []byte(fmt.Sprintf("%x  other\n", right)), tls: true, err: "cannot verify URL/file by URL/SUMS: it does not name file, but other"},
		{summary: "SHA-512", sums: []byte(fmt.Sprintf("%x  file\n", long)), tls: true, algorithm: "sha512"},
		{summary: "an unknown algorithm", sums: sums, tls: true, algorithm: "md5", err: `the algorithm is "md5"`},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			s := newSite(t, test.tls, map[string][]byte{"file": content})
			if test.sums != nil {
				s.files["SUMS"] = test.sums
			}
			if test.detached != nil {
				s.files["SUMS.sig"] = test.detached
			}
			list := fetch.Checksums{URL: s.URL + "/SUMS", Algorithm: "sha256", Signature: test.signature, Optional: test.optional}
			if test.algorithm != "" {
				list.Algorithm = test.algorithm
			}
			if test.signature == "detached" {
				list.Signature = s.URL + "/SUMS.sig"
			}
			if !test.skip {
				list.Trust = &fetch.Trust{Keys: test.keys}
			}
			got, err := s.client(t, t.TempDir()).Listed(ctx, list, s.URL+"/file")
			if test.err != "" {
				want := strings.ReplaceAll(test.err, "URL", s.URL)
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := fetch.Listed{SHA256: hex.EncodeToString(right[:]), SignedBy: test.signer}
			if test.algorithm == "sha512" {
				want = fetch.Listed{SHA512: hex.EncodeToString(long[:])}
			}
			if test.none {
				want = fetch.Listed{}
			}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// What was verified by the same signature and keys is not read again; whatever else is asked
// for is checked.
func TestVerifiedAgain(t *testing.T) {
	one, two := newSigner(t, nil), newSigner(t, nil)
	both := append(one.detached(content), two.detached(content)...)
	s := newSite(t, false, map[string][]byte{"file": content, "file.sig": one.detached(content)})
	dir := t.TempDir()
	steps := []struct {
		summary string
		do      func()
		keys    []string
		sha512  bool
		signer  string
		asked   string
		err     string
	}{
		{"first", func() {}, []string{one.armored}, false, one.name, "file.sig file", ""},
		{"again", func() {}, []string{one.armored}, false, one.name, "file.sig file", ""},
		{"another key", func() {}, []string{two.armored}, false, "", "file.sig file", "it is signed with the key " + one.name},
		{"that key after all", func() {}, []string{one.armored}, false, one.name, "file.sig file", ""},
		{"another signature", func() { s.files["file.sig"] = both }, []string{two.armored}, false, two.name, "file.sig file", ""},
		{"no keys", func() {}, nil, false, "", "", "give the keys"},
		{"a known digest", func() {}, []string{one.armored}, true, one.name, "file.sig file", ""},
		{"a known digest again", func() {}, []string{one.armored}, true, one.name, "file.sig", ""},
		{"a known digest, another key", func() {}, []string{two.armored}, true, two.name, "file.sig", ""},
		{"a wrong signature", func() { s.files["file.sig"] = one.detached(nil) }, []string{one.armored}, true, "", "file.sig", "it is not what was signed"},
	}
	for _, step := range steps {
		step.do()
		r := fetch.Request{URL: s.URL + "/file", Signature: s.URL + "/file.sig", Trust: &fetch.Trust{Keys: step.keys}}
		if step.sha512 {
			sum := sha512.Sum512(content)
			r.SHA512 = strings.ToUpper(hex.EncodeToString(sum[:]))
		}
		c := s.client(t, dir)
		for range 2 { // the second time in the same run
			f, err := c.Fetch(ctx, r)
			if step.err != "" && (err == nil || !strings.Contains(err.Error(), step.err)) || step.err == "" && (err != nil || f.SignedBy != step.signer) {
				t.Errorf("%s: %+v, %v", step.summary, f, err)
			}
			if step.err != "" {
				break
			}
		}
		c.Store.Close()
		if got := s.asked(); got != step.asked {
			t.Errorf("%s: asked for %s, want %s", step.summary, got, step.asked)
		}
	}
}

// A page is not taken for a file, unless the file is one.
func TestPages(t *testing.T) {
	page := []byte("\n<!DOCTYPE html><html><body>Sign in</body></html>")
	s := newSite(t, false, map[string][]byte{"file.tar": page, "index.html": page, "notes": []byte("a < b")})
	c := s.client(t, t.TempDir())
	for name, fine := range map[string]bool{"file.tar": false, "index.html": true, "notes": true} {
		if _, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/" + name, NoPage: true}); (err == nil) != fine {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file.tar", NoPage: true, SHA256: digest(page)}); err != nil {
		t.Error(err)
	}
	_, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file.tar", NoPage: true, SHA256: digest(nil)})
	if err == nil || !strings.Contains(err.Error(), "the server has sent an HTML page") {
		t.Error(err)
	}
}

// https is worth nothing if the way leads through http.
func TestDowngrade(t *testing.T) {
	plain := newSite(t, false, map[string][]byte{"file": content})
	safe := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/file", http.StatusFound))
	defer safe.Close()
	one := newSigner(t, nil)
	plain.files["file.sig"] = one.detached(content)
	dir := t.TempDir()
	try := func(r fetch.Request) error {
		c := newClient(t, dir)
		defer c.Store.Close()
		c.Transport = safe.Client().Transport
		r.URL = safe.URL + "/file"
		_, err := c.Fetch(ctx, r)
		return err
	}
	if err := try(fetch.Request{}); err != nil {
		t.Errorf("nobody asks: %v", err)
	}
	if err := try(fetch.Request{Trust: &fetch.Trust{}}); err == nil || !strings.Contains(err.Error(), "it is redirected from https to "+plain.URL) {
		t.Errorf("https is all there is: %v", err)
	}
	if err := try(fetch.Request{Trust: &fetch.Trust{}, SHA256: digest(content)}); err != nil {
		t.Errorf("there is a digest: %v", err)
	}
	if err := try(fetch.Request{Trust: &fetch.Trust{Keys: []string{one.armored}}, Signature: plain.URL + "/file.sig"}); err != nil {
		t.Errorf("there is a signature: %v", err)
	}
}

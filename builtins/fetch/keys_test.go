package fetch_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
)

// newKey makes a key and returns it armored, as packets, and its fingerprint.
func newKey(t *testing.T, name string) (armored string, packets []byte, fingerprint string) {
	t.Helper()
	entity, err := openpgp.NewEntity(name, "", name+"@example.org", nil)
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
	return string(text), b.Bytes(), fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint)
}

func TestKeyring(t *testing.T) {
	one, onePackets, oneName := newKey(t, "one")
	two, twoPackets, twoName := newKey(t, "two")
	other, otherPackets, _ := newKey(t, "other")
	owner := newSigner(t, nil)
	if err := owner.AddSigningSubkey(nil); err != nil {
		t.Fatal(err)
	}
	var withSubkeys bytes.Buffer
	if err := owner.SerializePrivate(io.Discard, nil); err != nil { // which signs what is new
		t.Fatal(err)
	}
	if err := owner.Serialize(&withSubkeys); err != nil {
		t.Fatal(err)
	}
	encryption := fmt.Sprintf("%X", owner.Subkeys[0].PublicKey.Fingerprint)
	signing := fmt.Sprintf("%X", owner.Subkeys[1].PublicKey.Fingerprint)
	joined := armored("PGP PUBLIC KEY BLOCK", append(append(bytes.Clone(otherPackets), withSubkeys.Bytes()...), onePackets...))
	both := append(append([]byte(nil), onePackets...), twoPackets...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch strings.TrimPrefix(r.URL.Query().Get("search"), "0x") {
		case twoName:
			io.WriteString(w, one+two)
		case signing, encryption:
			w.Write(joined)
		default:
			io.WriteString(w, other)
		}
	}))
	defer server.Close()
	store, err := layer.Open(t.TempDir(), layer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	client := &fetch.Client{Store: store, Log: slog.New(slog.DiscardHandler)}
	tests := []struct {
		summary string
		keys    []string
		want    []byte
		err     string
	}{
		{"a text", []string{one}, onePackets, ""},
		{"two texts", []string{one, two}, both, ""},
		{"a text with several blocks has them all", []string{"\n" + one + "\ncomment\n" + two}, both, ""},
		{"of what a server sends, the key that was asked for", []string{twoName}, twoPackets, ""},
		{"the same, as gpg prints it", []string{"0X" + twoName[:20] + "  " + twoName[20:]}, twoPackets, ""},
		{"of keys in one block, that with a subkey for signatures", []string{signing}, withSubkeys.Bytes(), ""},
		{"a subkey for something else", []string{encryption}, nil, "has sent another key than"},
		{"another key than that", []string{oneName}, nil, "has sent another key than"},
		{"a text that is cut", []string{one + two[:len(two)/2]}, nil, "cannot read an armored key"},
		{"a short id", []string{twoName[32:]}, nil, "not a full fingerprint"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			got, err := client.Keyring(context.Background(), test.keys, server.URL)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || !bytes.Equal(got, test.want) {
				t.Errorf("got %d bytes, want %d: %v", len(got), len(test.want), err)
			}
		})
	}
}

// Key servers are named as gpg names them; of one that is no more others take the place.
func TestKeyservers(t *testing.T) {
	fingerprint := strings.Repeat("AB", 20)
	const path = "/pks/lookup?op=get&options=mr&search=0x"
	usual := "https://keys.openpgp.org" + path + "FP https://keyserver.ubuntu.com" + path + "FP"
	tests := []struct{ name, asked string }{
		{"", usual},
		{"hkps.pool.sks-keyservers.net", usual},
		{"hkp://pool.sks-keyservers.net/", usual},
		{"keys.example.org", "https://keys.example.org" + path + "FP"},
		{"hkps://keys.example.org/", "https://keys.example.org" + path + "FP"},
		{"hkp://keys.example.org", "http://keys.example.org:11371" + path + "FP"},
		{"hkp://keys.example.org:80", "http://keys.example.org:80" + path + "FP"},
		{"http://keys.example.org:8080/", "http://keys.example.org:8080" + path + "FP"},
	}
	for _, test := range tests {
		var asked []string
		c := newClient(t, t.TempDir())
		c.Transport = transport(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.String())
			return &http.Response{StatusCode: http.StatusNotFound, Status: "404 Not Found", Body: http.NoBody, Request: r}, nil
		})
		_, err := c.Keyring(ctx, []string{fingerprint}, test.name)
		if err == nil || !strings.Contains(err.Error(), "cannot look up the key "+fingerprint+": cannot download ") {
			t.Errorf("%q: %v", test.name, err)
		}
		if got, want := strings.Join(asked, " "), strings.ReplaceAll(test.asked, "FP", fingerprint); got != want {
			t.Errorf("%q: asked %s, want %s", test.name, got, want)
		}
	}
}

// A transport is a function that answers requests.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A key that was looked up is asked for again the next day, and serves on if nobody answers.
func TestKeysAreKept(t *testing.T) {
	one, _, name := newKey(t, "one")
	fine := true
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if !fine {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		io.WriteString(w, one)
	}))
	defer server.Close()
	dir, now := t.TempDir(), time.Now()
	try := func(summary string, want int) {
		t.Helper()
		store, err := layer.Open(dir, layer.Options{Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		c := &fetch.Client{Store: store, Log: slog.New(slog.DiscardHandler)}
		asked = 0
		if _, err := c.Keyring(ctx, []string{name}, server.URL); err != nil || asked != want {
			t.Errorf("%s: asked %d times, want %d: %v", summary, asked, want, err)
		}
	}
	try("first", 1)
	try("at once", 0)
	now = now.Add(25 * time.Hour)
	try("the next day", 1)
	now, fine = now.Add(25*time.Hour), false
	try("nobody answers", 1)
}

// Whatever stands in an armored text, or is said to be one, is keys or an error.
func FuzzCheckKey(f *testing.F) {
	f.Add("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n")
	f.Add("-----BEGIN PGP PUBLIC KEY BLOCK----------BEGIN PGP PUBLIC KEY BLOCK-----")
	f.Add("0x0123456789ABCDEF0123456789ABCDEF01234567")
	f.Add("untrusted comment: x\nRWQxMjM0NTY3OEFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB")
	f.Fuzz(func(t *testing.T, key string) {
		fetch.CheckKey(key)
		trust := fetch.Trust{Keys: []string{key}}
		if trust.Check("https://host/") == nil && len(trust.Names()) == 0 {
			t.Errorf("a right key has no name: %q", key)
		}
	})
}

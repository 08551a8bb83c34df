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
	other, _, _ := newKey(t, "other")
	both := append(append([]byte(nil), onePackets...), twoPackets...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch strings.TrimPrefix(r.URL.Query().Get("search"), "0x") {
		case twoName:
			io.WriteString(w, one+two)
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

// Whatever stands in an armored text, or is said to be one, is keys or an error.
func FuzzCheckKey(f *testing.F) {
	f.Add("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n")
	f.Add("-----BEGIN PGP PUBLIC KEY BLOCK----------BEGIN PGP PUBLIC KEY BLOCK-----")
	f.Add("0x0123456789ABCDEF0123456789ABCDEF01234567")
	f.Fuzz(func(t *testing.T, key string) { fetch.CheckKey(key) })
}

package builtins

import (
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/fetch"
)

// keyring(keys, keyserver="", armor=False) returns a file with OpenPGP public keys, in
// the binary form that gpgv takes, or armored. Each key is an armored block or a full fingerprint,
// which is looked up at the key server, by default keys.openpgp.org and then
// keyserver.ubuntu.com.
//
// Example:
//
//	keys = keyring(["F6ECB3762474EDA9D21B7022871920D1991BC93C"])
//	root.copy(keys, "/etc/apt/keyrings/ubuntu.gpg")
func (b *Words) keyring(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var keys stringList
	var keyserver string
	var armor bool
	if err := unpackArgs(fn, args, kwargs, "keys", &keys, "keyserver?", &keyserver, "armor?", &armor); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := fetch.CheckKey(key); err != nil {
			return nil, fmt.Errorf("keyring: %w", err)
		}
	}
	f, err := b.make(thread, b.newStep(thread, fn, nil), build.Keyring(keys, keyserver, armor))
	if err != nil {
		return nil, err
	}
	return &file{f}, nil
}

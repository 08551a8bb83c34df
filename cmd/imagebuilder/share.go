package main

import (
	"cmp"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/registry"
	"imagebuilder/builtins/signing"
	"imagebuilder/builtins/timespan"
	"imagebuilder/runtime/matrix"
)

// A store that machines share, as the command line says it.

// shareOptions are the flags about it.
type shareOptions struct {
	repository string
	keys       string // file
	push       string // a registry.Giving

	maxAge timespan.Span // of what is taken of cells; 0: any

	opened *registry.Share // nil: it is to be opened
}

func (o *shareOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.repository, "remote", "", "share with other machines in a `repository` of a registry, such as registry.example:5000/team/layers: downloads with a checksum are taken from there; it is never needed")
	cmd.Flags().StringVar(&o.keys, "remote-keys", "", "take from there steps, too, that any of the public keys in `file` has signed")
	cmd.Flags().StringVar(&o.push, "remote-push", string(registry.None), "give there what is built here, signed with --sign-key: `none|shared|all`; shared: results, and steps that read the network or take long")
	completeValues(cmd, "remote-push", givings)
}

// givings are the values of --remote-push.
var givings = []string{string(registry.None), string(registry.Shared), string(registry.All)}

// open returns the store, nil if there is none.
func (o *shareOptions) open(signKey string) (*registry.Share, error) {
	o.push = cmp.Or(o.push, string(registry.None)) // of commands without the flag
	push := o.push != string(registry.None)
	switch {
	case o.opened != nil:
		return o.opened, nil
	case !slices.Contains(givings, o.push):
		return nil, usageError{fmt.Errorf("--remote-push %s: want %s", o.push, strings.Join(givings, ", "))}
	case o.repository == "" && (o.keys != "" || push):
		return nil, usageError{errors.New("--remote-keys and --remote-push are about the repository that --remote says")}
	case o.repository == "":
		return nil, nil
	case push && signKey == "":
		return nil, usageError{errors.New("--remote-push needs --sign-key: nobody takes what is not signed")}
	}
	share, err := registry.NewShare(o.repository)
	if err != nil {
		return nil, usageError{fmt.Errorf("--remote: %w", err)}
	}
	if o.keys != "" {
		if share.Keys, err = readKeys(o.keys); err != nil {
			return nil, fmt.Errorf("cannot use the shared store: %w", err)
		}
	}
	share.Giving = registry.Giving(o.push)
	if push {
		key, err := readKey(signKey, signing.ParsePrivateKey)
		if err != nil {
			return nil, fmt.Errorf("cannot sign: %w", err)
		}
		share.Signer = &key
	}
	return share, nil
}

// addTakingFlags adds those of commands that take what became of cells.
func (o *shareOptions) addTakingFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.repository, "remote", "", "take what cells with --remote-push have left in a `repository` of a registry, in place of a directory")
	cmd.Flags().StringVar(&o.keys, "remote-keys", "", "take there what any of the public keys in `file` has signed")
	cmd.Flags().Var(&o.maxAge, "max-age", "take nothing there of runs that began longer ago, such as 20h (default: whenever)")
}

// openTaking returns the store from which what became of cells is taken, nil if there is none.
func (o *shareOptions) openTaking() (*matrix.Source, error) {
	switch {
	case o.maxAge != 0 && o.repository == "":
		return nil, usageError{errors.New("--max-age is about what is taken from --remote")}
	case o.repository != "" && o.keys == "":
		return nil, usageError{errors.New("--remote needs --remote-keys: what cells say of themselves is taken from those alone whom you trust")}
	}
	share, err := o.open("")
	if err != nil || share == nil {
		return nil, err
	}
	source := &matrix.Source{Share: share}
	if o.maxAge != 0 {
		source.Since = time.Now().Add(-o.maxAge.Duration())
	}
	return source, share.Need()
}

// readKeys reads a file with any number of keys.
func readKeys(name string) (keys []signing.Key, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		k, err := signing.ParseKey(pem.EncodeToMemory(block))
		if err != nil {
			return nil, fmt.Errorf("cannot use key %d of %s: %w", len(keys)+1, name, err)
		}
		keys, text = append(keys, k), rest
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s has no key in PEM form", name)
	}
	return keys, nil
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/provenance"
	"imagebuilder/builtins/signing"
	"imagebuilder/runtime"
)

// Where images come from, as who has built them says, and whether that is so.

// vouched says where images come from, with the signature of a key if there is one.
func vouched(key *signing.Key) runtime.Voucher {
	return func(ctx context.Context, dir string, said provenance.Build) (build.Result, error) {
		said.Version = version
		name, text, err := provenance.Write(ctx, dir, said, key)
		if err != nil {
			return build.Result{}, err
		}
		return build.Result{Path: name, Size: int64(len(text)), SHA256: digest.Sum(text).String()}, nil
	}
}

func readKey(name string, parse func([]byte) (signing.Key, error)) (signing.Key, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return signing.Key{}, err
	}
	key, err := parse(text)
	if err != nil {
		err = fmt.Errorf("cannot use the key %s: %w", name, err)
	}
	return key, err
}

type verifyOptions struct {
	provenance string
	key        string
	rebuild    string // directory
	locked     lockedOptions
	json       bool
	build      buildOptions
}

func newVerifyCommand() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify IMAGE...",
		Short: "Verify where images come from",
		Long: `Verify that the files of images are those of which a signed provenance speaks, and print
what that says: recipe, options and all that was read to make them. It is the file
` + provenance.Name + ` beside the first image that 'imagebuilder run --sign-key' has written, or
any other in the form of in-toto and SLSA that is signed the same way (DSSE).

With --rebuild the images are built again, in a directory of their own, by the recipe of the
same name and with the same options and epoch, and must come out the same. The recipe has to be
the one that they were built from, and so has its lock if they were built by 'run --locked'.
Without a lock the network may serve something else meanwhile.`,
		Example: `  imagebuilder verify out/rootfs.squashfs out/lxd.tar.xz --key release.pub
  imagebuilder verify rootfs.squashfs --provenance debian.intoto.jsonl --key release.pub
  imagebuilder verify out/rootfs.squashfs --key release.pub --rebuild again`,
		Args: cobra.MatchAll(args(1, 100000), func(*cobra.Command, []string) error {
			if o.key == "" {
				return usageError{errors.New("--key is missing: whom do you trust? It is the public key of who has built the images")}
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	cmd.Flags().StringVar(&o.provenance, "provenance", "", "what is said of the images is in `file`, by default "+provenance.Name+" beside the first")
	cmd.Flags().StringVar(&o.key, "key", "", "the public key in `file` must have signed it")
	cmd.Flags().StringVar(&o.rebuild, "rebuild", "", "build the images again in `dir`, and compare")
	cmd.Flags().StringVar(&o.locked.file, "lock-file", "", lockFileUsage)
	o.build.addStepFlags(cmd)
	addJSONFlag(cmd, &o.json)
	return cmd
}

func (o verifyOptions) run(cmd *cobra.Command, images []string) error {
	for _, image := range images {
		if o.rebuild != "" && sameFile(o.rebuild, filepath.Dir(image)) {
			return usageError{fmt.Errorf("--rebuild %s: %s lies there, which would be overwritten; name another directory", o.rebuild, image)}
		}
	}
	said, err := o.said(cmd.Context(), cmp.Or(o.provenance, filepath.Join(filepath.Dir(images[0]), provenance.Name)))
	if err != nil {
		return err
	}
	for _, image := range images {
		if err := covered(said, image); err != nil {
			return fmt.Errorf("cannot verify %s: %w", image, err)
		}
	}
	if o.rebuild != "" {
		if err := o.again(cmd, said); err != nil {
			return fmt.Errorf("cannot build the same again: %w", err)
		}
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), said)
	}
	return printProvenance(cmd.OutOrStdout(), said)
}

// sameFile tells whether two names lead to one file that is there.
func sameFile(a, b string) bool {
	first, err1 := os.Stat(a)
	second, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(first, second)
}

// said is what a file says that the key has signed.
func (o verifyOptions) said(ctx context.Context, name string) (provenance.Build, error) {
	key, err := readKey(o.key, signing.ParseKey)
	if err != nil {
		return provenance.Build{}, fmt.Errorf("cannot verify: %w", err)
	}
	envelope, err := os.ReadFile(name)
	if unsigned := filepath.Join(filepath.Dir(name), provenance.UnsignedName); o.provenance == "" && errors.Is(err, fs.ErrNotExist) {
		if other, no := os.ReadFile(unsigned); no == nil {
			name, envelope, err = unsigned, other, nil
		}
	}
	if err != nil {
		return provenance.Build{}, fmt.Errorf("cannot read the provenance: %w", err)
	}
	said, err := provenance.Open(ctx, envelope, key)
	if err != nil {
		return said, fmt.Errorf("cannot trust %s: %w", name, err)
	}
	return said, nil
}

// covered finds out whether a file is one of those that were said to be made.
func covered(said provenance.Build, image string) error {
	sum, _, err := digest.File(image)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(said.Images, func(r provenance.Resource) bool { return r.SHA256 == sum.String() }) {
		return nil
	}
	for _, r := range said.Images {
		if r.Name == filepath.Base(image) {
			return fmt.Errorf("it is not the file that was built: it has the SHA-256 %s, not %s", sum, r.SHA256)
		}
	}
	var names []string
	for _, r := range said.Images {
		names = append(names, r.Name)
	}
	return fmt.Errorf("its provenance is about other files: %s", strings.Join(names, ", "))
}

// again builds the images of which something is said, and finds out whether they come out the
// same.
func (o verifyOptions) again(cmd *cobra.Command, said provenance.Build) error {
	from := recipeOptions{set: said.Options}
	if said.Lock != "" {
		o.locked.how = lockedUsual
	}
	if err := o.locked.open(said.Recipe, &from, &o.build); err != nil {
		return err
	}
	if o.build.lock != nil {
		if err := said.Same(said.Lock, o.build.lock.Digest().String()); err != nil {
			return err
		}
	}
	var err error
	if from.epoch, err = host.ParseEpoch(said.Epoch); err != nil {
		return fmt.Errorf("the epoch is %w", err)
	}
	recipe, err := from.load(cmd, said.Recipe, o.build.log)
	if err != nil {
		return err
	}
	if err := recipe.Differs(said); err != nil {
		return err
	}
	var now provenance.Build
	o.build.voucher = func(_ context.Context, _ string, said provenance.Build) (build.Result, error) {
		now.Inputs = said.Inputs
		now.Images = append(now.Images, said.Images...)
		return build.Result{}, nil
	}
	o.build.documents = true
	o.build.store.NoCache = true // what the first build has left proves nothing
	if _, err := o.build.make(cmd, recipe, o.rebuild); err != nil {
		return err
	}
	return same(said, now)
}

// same finds out whether a second build has come to what the first did, and if not, what of
// that which it has read was another.
func same(said, now provenance.Build) error {
	var wrong []error
	for _, image := range said.Images {
		if !slices.ContainsFunc(now.Images, func(r provenance.Resource) bool { return r.Name == image.Name && r.SHA256 == image.SHA256 }) {
			wrong = append(wrong, fmt.Errorf("%s is another", image.Name))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	for _, in := range said.Inputs {
		i := slices.IndexFunc(now.Inputs, func(r provenance.Resource) bool { return r.Name == in.Name && r.URI == in.URI })
		if i >= 0 && now.Inputs[i].SHA256 != in.SHA256 {
			wrong = append(wrong, fmt.Errorf("%s was another when it was read", cmp.Or(in.URI, in.Name)))
		}
	}
	return errors.Join(append(wrong, errors.New("'imagebuilder diff' says in what images differ"))...)
}

// printProvenance prints what is said of a build.
func printProvenance(w io.Writer, b provenance.Build) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(what string, values ...string) {
		for i, v := range values {
			values[i] = printable.Line(v)
		}
		fmt.Fprintln(table, what+"\t"+strings.Join(values, "\t"))
	}
	line("recipe", b.Recipe)
	for _, o := range b.Options {
		line("option", o)
	}
	if b.Epoch != "" {
		line("epoch", b.Epoch)
	}
	line("imagebuilder", b.Version)
	for _, r := range b.Images {
		line("image", r.Name, r.SHA256)
	}
	for _, r := range b.Inputs {
		if strings.HasPrefix(r.Name, "@stdlib//") {
			continue // it is of the tool
		}
		values := []string{cmp.Or(r.URI, r.Name), r.SHA256}
		if r.SignedBy != "" {
			values = append(values, "signed by "+r.SignedBy)
		}
		line("input", values...)
	}
	return table.Flush()
}

package main

import (
	"flag"
	"io"

	"github.com/rogpeppe/go-internal/testscript"

	"imagebuilder/streams/imagetree"
)

// image [-same] [-stream NAME] [-sums] ROOT PRODUCT VERSION [FILE...] makes a version of
// a product in the tree of an image server, of the given files or else of lxd.tar.xz,
// rootfs.squashfs and disk.qcow2. -same makes files that do not differ from those of
// other versions, -sums adds their SHA256SUMS.
func makeImage(ts *testscript.TestScript, neg bool, args []string) {
	var i imagetree.Sample
	f := flag.NewFlagSet("image", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&i.Same, "same", false, "")
	f.StringVar(&i.Stream, "stream", "", "")
	f.BoolVar(&i.Sums, "sums", false, "")
	if err := f.Parse(args); err != nil || neg || f.NArg() < 3 {
		ts.Fatalf("usage: image [-same] [-stream NAME] [-sums] ROOT PRODUCT VERSION [FILE...]")
	}
	i.Product, i.Version = f.Arg(1), f.Arg(2)
	if f.NArg() > 3 {
		i.Files = f.Args()[3:]
	}
	ts.Check(imagetree.Make(ts.MkAbs(f.Arg(0)), i))
}

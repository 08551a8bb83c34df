package streams_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/inventory"
)

// The life of an image server: images come in, the catalogs follow, old versions go.
func Example() {
	root, err := os.MkdirTemp("", "images")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	ctx := context.Background()
	tree := streams.Site{Root: root, Clock: func() time.Time { return time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC) }}

	// A builder leaves its files in a directory.
	for _, version := range []string{"20240101_0000", "20240102_0000"} {
		image := imagetree.Sample{
			Stream: "out", Product: "ubuntu/noble/amd64/default", Version: version,
			Files: []string{"lxd.tar.xz"}, Extra: map[string]string{"rootfs.squashfs": imagetree.Squashfs(version), "disk.qcow2": imagetree.Qcow2(version)},
		}
		if err := imagetree.Make(root+".built", image); err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(root + ".built")
		added, err := streams.Add(ctx, streams.AddOptions{Site: tree, Files: []string{root + ".built/" + image.Dir()}})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("added", added.Path)
	}

	built, err := streams.Build(ctx, streams.BuildOptions{Site: tree})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listed", built.Versions, "versions; deltas:", built.Deltas)

	pruned, err := streams.Prune(ctx, streams.PruneOptions{Site: tree, Retain: inventory.Retention{Builds: 1}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("dropped", pruned.Dropped, "version; waiting to be removed:", pruned.Waiting)

	report, err := streams.Verify(ctx, streams.VerifyOptions{Site: tree})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("all well:", report.Err() == nil)

	images, err := streams.List(ctx, streams.ListOptions{Site: tree})
	if err != nil {
		log.Fatal(err)
	}
	for _, image := range images {
		fmt.Println(image.Description, image.Type)
	}
	// Output:
	// added images/ubuntu/noble/amd64/default/20240101_0000
	// added images/ubuntu/noble/amd64/default/20240102_0000
	// listed 2 versions; deltas: 1
	// dropped 1 version; waiting to be removed: 2
	// all well: true
	// Ubuntu noble amd64 (20240102_0000) container
	// Ubuntu noble amd64 (20240102_0000) virtual-machine
}

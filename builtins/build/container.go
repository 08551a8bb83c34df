package build

import (
	"context"
	"time"

	"imagebuilder/builtins/pack"
)

// ContainerFile is the name of the file that a container image is.
const ContainerFile = "oci.tar"

// A ContainerImage is what a root file system is packed as for registries, and what runs containers.
type ContainerImage struct {
	Image       *Image
	Compression pack.Compression
	Config      pack.ContainerConfig
	Now         time.Time // of packing
}

// Pack is the product of the image in a directory below the target directory. It gives the
// step its needs.
func (i ContainerImage) Pack(s *Step, dir string) (Product, error) {
	if err := i.Compression.CheckLayer(); err != nil {
		return Product{}, err
	}
	s.Needs = []Need{{Name: "tar"}}
	if program := i.Compression.Program(); program != "" {
		s.Needs = append(s.Needs, Need{Name: program})
	}
	return packed(s, i.Image, dir, []part{{
		what:   "container",
		file:   ContainerFile,
		args:   Args{{"image", i.Image}, {"compression", i.Compression.String()}, {"config", i.Config}},
		maxAge: i.Image.Expiry.maxAge(),
		make: func(ctx context.Context, job pack.Job) error {
			return job.Container(ctx, i.Compression, i.Config, i.Now)
		},
	}}), nil
}

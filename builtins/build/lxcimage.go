package build

import (
	"context"
	"time"

	"imagebuilder/builtins/pack"
)

// An LXCImage is what a root file system is packed as for LXC.
type LXCImage struct {
	Image         *Image
	Compression   pack.Compression
	CreateMessage string
	Config        []pack.LXCConfig
	Placeholders  []string  // files in which LXC replaces some
	Now           time.Time // of packing
}

// Pack is the product of the image in a directory below the target directory. It gives the
// step its needs.
func (i LXCImage) Pack(s *Step, dir string) (Product, error) {
	if err := i.Compression.CheckTar(); err != nil {
		return Product{}, err
	}
	s.Needs = []Need{{Name: "tar"}, {Name: "xz"}}
	if program := i.Compression.Program(); program != "" {
		s.Needs = append(s.Needs, Need{Name: program})
	}
	meta := part{
		what:   "metadata",
		file:   "meta.tar.xz",
		args:   Args{{"image", i.Image}, {"create_message", i.CreateMessage}, {"config", i.Config}, {"templates", i.Placeholders}},
		maxAge: i.Image.Expiry.maxAge(),
		make: func(ctx context.Context, job pack.Job) error {
			return job.LXCMeta(ctx, pack.LXCMetadata{
				CreateMessage: i.CreateMessage,
				Created:       i.Now,
				Expires:       i.Now.Add(i.Image.Expiry.Duration),
				Config:        i.Config,
				Templates:     i.Placeholders,
			})
		},
	}
	return packed(s, i.Image, dir, []part{meta, tarPart(i.Compression)}), nil
}

package pack

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
	"imagebuilder/builtins/treetask"
)

// The metadata of images for LXC, in the form that lxc-create reads.

// LXCMetadata is what LXC is told of an image: the content of meta.tar.xz, as
// lxc-create's templates "download" and "local" read it.
type LXCMetadata struct {
	CreateMessage string
	Created       time.Time
	Expires       time.Time
	Config        []LXCConfig
	Templates     []string // files in which LXC replaces placeholders
	Devices       []string // device nodes below /dev of the root file system
}

// LXCConfig is a piece of configuration of containers.
type LXCConfig struct {
	Type    string `json:"type"` // all, system (privileged) or user
	Before  int    `json:"before,omitempty"`
	After   int    `json:"after,omitempty"`
	Content string `json:"content"`
}

// DefaultLXCConfig is the configuration of containers of which nothing is said: LXC refuses
// images without any. The architecture is the kernel's name of it, if it is known.
func DefaultLXCConfig(kernel string) []LXCConfig {
	config := []LXCConfig{
		{Type: "all", Content: "lxc.include = LXC_TEMPLATE_CONFIG/common.conf"},
		{Type: "user", Content: "lxc.include = LXC_TEMPLATE_CONFIG/userns.conf"},
	}
	if kernel != "" {
		config = append(config, LXCConfig{Type: "all", Content: "lxc.arch = " + kernel})
	}
	return config
}

// ReadByLXC tells whether LXC's own templates, local and download, can unpack a root file
// system: they call tar with -J.
func (c Compression) ReadByLXC() bool { return c.Method == "xz" || c.Method == "lzma" }

// compatLevels is the newest level of configuration there is. Files of older levels
// have its number as a suffix; a consumer of a level takes the file with its number or
// else the one without.
const compatLevels = 5

// Check finds what is wrong with a piece of configuration.
func (c LXCConfig) Check() error {
	if c.Type != "all" && c.Type != "system" && c.Type != "user" {
		return fmt.Errorf(`the type of LXC configuration is %q, want "all", "system" or "user"`, c.Type)
	}
	return nil
}

// appliesTo tells whether the piece is for a level: for those between After and Before,
// or, where these do not leave any between them, for those outside.
func (c LXCConfig) appliesTo(level int) bool {
	before := c.Before
	if before == 0 {
		before = compatLevels + 1
	}
	if c.After < before {
		return c.After < level && level < before
	}
	return level > c.After || level < before
}

// TakenByLXC tells whether LXC's templates take an image with such configuration: without a file
// named config they refuse it.
func TakenByLXC(config []LXCConfig) bool {
	return slices.ContainsFunc(config, func(c LXCConfig) bool { return c.Type != "user" && c.appliesTo(compatLevels) })
}

// files returns the content of the archive, in the order LXC's own tools have it.
func (m LXCMetadata) files() []archiveFile {
	files := []archiveFile{
		{"create-message", line(m.CreateMessage)},
		{"expiry", line(fmt.Sprint(m.Expires.Unix()))},
		{"excludes-user", line(strings.Join(m.Devices, "\n"))},
	}
	files = append(files, m.configFiles()...)
	if len(m.Templates) > 0 {
		files = append(files, archiveFile{"templates", line(strings.Join(m.Templates, "\n"))})
	}
	return files
}

// line ends a text with a newline.
func line(text string) []byte {
	if strings.HasSuffix(text, "\n") {
		return []byte(text)
	}
	return []byte(text + "\n")
}

// configFiles puts each piece into the files of its types and levels.
func (m LXCMetadata) configFiles() []archiveFile {
	content := make(map[string][]byte)
	for _, c := range m.Config {
		for level := 1; level <= compatLevels; level++ {
			if !c.appliesTo(level) {
				continue
			}
			suffix := ""
			if level < compatLevels {
				suffix = fmt.Sprintf(".%d", level)
			}
			if c.Type != "user" {
				content["config"+suffix] = append(content["config"+suffix], line(c.Content)...)
			}
			if c.Type != "system" {
				content["config-user"+suffix] = append(content["config-user"+suffix], line(c.Content)...)
			}
		}
	}
	var files []archiveFile
	for _, name := range slices.Sorted(maps.Keys(content)) {
		files = append(files, archiveFile{name, content[name]})
	}
	return files
}

// Write makes the metadata archive, which is always compressed by xz.
func (m LXCMetadata) Write(ctx context.Context, dir, name string) error {
	return writeArchive(ctx, filepath.Join(dir, name), m.files(), m.Created, Compression{"xz", -1}, "")
}

// LXCMeta makes meta.tar.xz for the root file system of the job.
func (j Job) LXCMeta(ctx context.Context, m LXCMetadata) error {
	answer, err := treetask.Looking.Run(ctx, []sandbox.Stack{j.Stack}, tree.Look{Op: "devices", Path: "/dev"})
	if err != nil {
		return err
	}
	for _, name := range answer.Names {
		m.Devices = append(m.Devices, "."+name)
	}
	return m.Write(ctx, j.Dir, j.Name)
}

// Package compat reads the YAML image definitions of older tools and translates them
// into recipes, which are then run like any other: there is one pipeline. It knows what
// a definition means; how images are made is none of its business.
package compat

// Definition is an image definition. The yaml tags are its keys; a key that is not here
// is an error.
type Definition struct {
	Image        Image        `yaml:"image"`
	Source       Source       `yaml:"source"`
	Targets      Targets      `yaml:"targets"`
	Files        []File       `yaml:"files"`
	Packages     Packages     `yaml:"packages"`
	Actions      []Action     `yaml:"actions"`
	Mappings     Mappings     `yaml:"mappings"`
	Environment  Environment  `yaml:"environment"`
	Simplestream Simplestream `yaml:"simplestream"`
}

// Image says what is built.
type Image struct {
	Distribution string `yaml:"distribution"`
	Release      string `yaml:"release"`
	Architecture string `yaml:"architecture"`
	Description  string `yaml:"description"` // template
	Name         string `yaml:"name"`        // template
	Variant      string `yaml:"variant"`
	Serial       string `yaml:"serial"`
	Expiry       string `yaml:"expiry"`

	// Accepted and ignored: they are derived from the architecture.
	Mapped      string `yaml:"architecture_mapped"`
	Kernel      string `yaml:"architecture_kernel"`
	Personality string `yaml:"architecture_personality"`
}

// Source says what the root file system is made from.
type Source struct {
	Downloader       string   `yaml:"downloader"`
	URL              string   `yaml:"url"`  // template
	Keys             []string `yaml:"keys"` // templates
	Keyserver        string   `yaml:"keyserver"`
	Variant          string   `yaml:"variant"`
	Suite            string   `yaml:"suite"`
	SameAs           string   `yaml:"same_as"`
	SkipVerification bool     `yaml:"skip_verification"`
	Components       []string `yaml:"components"`
}

// Targets says more about the kinds of image.
type Targets struct {
	LXC   LXC    `yaml:"lxc"`
	LXD   LXD    `yaml:"lxd"`
	Incus LXD    `yaml:"incus"` // the sister project's name for lxd
	Type  string `yaml:"type"`  // container or vm; accepted and ignored
}

// LXC is the metadata of LXC images.
type LXC struct {
	CreateMessage string      `yaml:"create_message"` // template
	Config        []LXCConfig `yaml:"config"`
}

// LXCConfig is a piece of the configuration of LXC containers.
type LXCConfig struct {
	Filter  `yaml:",inline"`
	Type    string `yaml:"type"`
	Before  uint   `yaml:"before"`
	After   uint   `yaml:"after"`
	Content string `yaml:"content"` // template
}

// LXD says what LXD images look like.
type LXD struct {
	VM VM `yaml:"vm"`
}

// VM is the disk of a virtual machine.
type VM struct {
	Size       string `yaml:"size"`
	Filesystem string `yaml:"filesystem"`
}

// File is an entry that a generator acts on.
type File struct {
	Filter    `yaml:",inline"`
	Generator string       `yaml:"generator"`
	Path      string       `yaml:"path"`    // template, if Pongo
	Content   string       `yaml:"content"` // template, if Pongo
	Name      string       `yaml:"name"`
	Source    string       `yaml:"source"` // template, if Pongo
	Template  FileTemplate `yaml:"template"`
	Templated bool         `yaml:"templated"`
	Mode      string       `yaml:"mode"`
	GID       string       `yaml:"gid"`
	UID       string       `yaml:"uid"`
	Pongo     bool         `yaml:"pongo"`
}

// FileTemplate says how LXD renders a file.
type FileTemplate struct {
	Properties map[string]string `yaml:"properties"`
	When       []string          `yaml:"when"`
}

// Packages says what is installed and by what.
type Packages struct {
	Manager       string         `yaml:"manager"`
	CustomManager *CustomManager `yaml:"custom_manager"`
	Update        bool           `yaml:"update"`
	Cleanup       bool           `yaml:"cleanup"`
	Sets          []PackageSet   `yaml:"sets"`
	Repositories  []Repository   `yaml:"repositories"`
}

// CustomManager is a package manager of any commands.
type CustomManager struct {
	Clean   Command  `yaml:"clean"`
	Install Command  `yaml:"install"`
	Remove  Command  `yaml:"remove"`
	Refresh Command  `yaml:"refresh"`
	Update  Command  `yaml:"update"`
	Flags   []string `yaml:"flags"`
}

// Command is one operation of a custom manager.
type Command struct {
	Cmd   string   `yaml:"cmd"`
	Flags []string `yaml:"flags"`
}

// PackageSet is a list of packages to install or to remove.
type PackageSet struct {
	Filter   `yaml:",inline"`
	Packages []string `yaml:"packages"`
	Action   string   `yaml:"action"`
	Early    bool     `yaml:"early"`
	Flags    []string `yaml:"flags"`
}

// Repository is where packages come from.
type Repository struct {
	Filter `yaml:",inline"`
	Name   string `yaml:"name"`
	URL    string `yaml:"url"` // template
	Type   string `yaml:"type"`
	Key    string `yaml:"key"` // template
}

// Action is a script to run at some point of a build.
type Action struct {
	Filter  `yaml:",inline"`
	Trigger string `yaml:"trigger"`
	Action  string `yaml:"action"` // template, if Pongo
	Pongo   bool   `yaml:"pongo"`
}

// Mappings says what the distribution calls architectures.
type Mappings struct {
	Architectures   map[string]string `yaml:"architectures"`
	ArchitectureMap string            `yaml:"architecture_map"`
}

// Environment is that of all programs inside the image.
type Environment struct {
	ClearDefaults bool       `yaml:"clear_defaults"`
	Variables     []Variable `yaml:"variables"`
}

// Variable is a variable of the environment.
type Variable struct {
	Filter `yaml:",inline"`
	Key    string `yaml:"key"`
	Value  string `yaml:"value"`
}

// Simplestream is for the tool that publishes images, which reads it from a copy of the
// definition beside them.
type Simplestream struct {
	DistroName     string            `yaml:"distro_name"`
	ReleaseAliases map[string]string `yaml:"release_aliases"`
	Requirements   []Requirement     `yaml:"requirements"`
}

// Requirement is what an image demands of those who use it.
type Requirement struct {
	Filter       `yaml:",inline"`
	Requirements map[string]string `yaml:"requirements"`
}

// Filter restricts an entry. Each list that is not empty must contain what is built.
type Filter struct {
	Releases      []string `yaml:"releases"`
	Architectures []string `yaml:"architectures"` // the distribution's own names
	Variants      []string `yaml:"variants"`
	Types         []string `yaml:"types"` // container, vm
}

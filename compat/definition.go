// Package compat reads the YAML image definitions of older tools and translates them
// into recipes, which are then run like any other: there is one pipeline. It knows what
// a definition means; how images are made is none of its business.
package compat

// A definition is an image definition. The yaml tags are its keys; a key that is not here
// is an error.
type definition struct {
	Image        imageSection        `yaml:"image"`
	Source       sourceSection       `yaml:"source"`
	Targets      targetsSection      `yaml:"targets"`
	Files        []fileEntry         `yaml:"files"`
	Packages     packagesSection     `yaml:"packages"`
	Actions      []actionEntry       `yaml:"actions"`
	Mappings     mappingsSection     `yaml:"mappings"`
	Environment  environmentSection  `yaml:"environment"`
	Simplestream simplestreamSection `yaml:"simplestream"`
}

// An imageSection says what is built.
type imageSection struct {
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

// A sourceSection says what the root file system is made from.
type sourceSection struct {
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

// A targetsSection says more about the kinds of image.
type targetsSection struct {
	LXC   lxcTarget    `yaml:"lxc"`
	LXD   serverTarget `yaml:"lxd"`
	Incus serverTarget `yaml:"incus"` // of distrobuilder, whose definitions have it for lxd
	Type  string       `yaml:"type"`  // container or vm; accepted and ignored
}

// A lxcTarget is the metadata of LXC images.
type lxcTarget struct {
	CreateMessage string      `yaml:"create_message"` // template
	Config        []lxcConfig `yaml:"config"`
}

// A lxcConfig is a piece of the configuration of LXC containers.
type lxcConfig struct {
	filter  `yaml:",inline"`
	Type    string `yaml:"type"`
	Before  uint   `yaml:"before"`
	After   uint   `yaml:"after"`
	Content string `yaml:"content"` // template
}

// A serverTarget says what images for LXD, or for Incus, look like.
type serverTarget struct {
	VM vmTarget `yaml:"vm"`
}

// A vmTarget is the disk of a virtual machine.
type vmTarget struct {
	Size       string `yaml:"size"`
	Filesystem string `yaml:"filesystem"`
}

// A fileEntry is an entry that a generator acts on.
type fileEntry struct {
	filter    `yaml:",inline"`
	Generator string       `yaml:"generator"`
	Path      string       `yaml:"path"`    // template, if Pongo
	Content   string       `yaml:"content"` // template, if Pongo
	Name      string       `yaml:"name"`
	Source    string       `yaml:"source"` // template, if Pongo
	Template  fileTemplate `yaml:"template"`
	Templated bool         `yaml:"templated"`
	Mode      string       `yaml:"mode"`
	GID       string       `yaml:"gid"`
	UID       string       `yaml:"uid"`
	Pongo     bool         `yaml:"pongo"`
}

// A fileTemplate says how LXD renders a file.
type fileTemplate struct {
	Properties map[string]string `yaml:"properties"`
	When       []string          `yaml:"when"`
}

// A packagesSection says what is installed and by what.
type packagesSection struct {
	Manager       string            `yaml:"manager"`
	CustomManager *customManager    `yaml:"custom_manager"`
	Update        bool              `yaml:"update"`
	Cleanup       bool              `yaml:"cleanup"`
	Sets          []packageSet      `yaml:"sets"`
	Repositories  []repositoryEntry `yaml:"repositories"`
}

// A customManager is a package manager of any commands.
type customManager struct {
	Clean   managerCommand `yaml:"clean"`
	Install managerCommand `yaml:"install"`
	Remove  managerCommand `yaml:"remove"`
	Refresh managerCommand `yaml:"refresh"`
	Update  managerCommand `yaml:"update"`
	Flags   []string       `yaml:"flags"`
}

// A managerCommand is one operation of a custom manager.
type managerCommand struct {
	Cmd   string   `yaml:"cmd"`
	Flags []string `yaml:"flags"`
}

// A packageSet is a list of packages to install or to remove.
type packageSet struct {
	filter   `yaml:",inline"`
	Packages []string `yaml:"packages"`
	Action   string   `yaml:"action"`
	Early    bool     `yaml:"early"`
	Flags    []string `yaml:"flags"`
}

// A repositoryEntry is where packages come from.
type repositoryEntry struct {
	filter `yaml:",inline"`
	Name   string `yaml:"name"`
	URL    string `yaml:"url"` // template
	Type   string `yaml:"type"`
	Key    string `yaml:"key"` // template
}

// An actionEntry is a script to run at some point of a build.
type actionEntry struct {
	filter  `yaml:",inline"`
	Trigger string `yaml:"trigger"`
	Action  string `yaml:"action"` // template, if Pongo
	Pongo   bool   `yaml:"pongo"`
}

// A mappingsSection says what the distribution calls architectures.
type mappingsSection struct {
	Architectures   map[string]string `yaml:"architectures"`
	ArchitectureMap string            `yaml:"architecture_map"`
}

// An environmentSection is that of all programs inside the image.
type environmentSection struct {
	ClearDefaults bool            `yaml:"clear_defaults"`
	Variables     []variableEntry `yaml:"variables"`
}

// A variableEntry is a variable of the environment.
type variableEntry struct {
	filter `yaml:",inline"`
	Key    string `yaml:"key"`
	Value  string `yaml:"value"`
}

// A simplestreamSection is for the tool that publishes images, which reads it from a copy of the
// definition beside them.
type simplestreamSection struct {
	DistroName     string             `yaml:"distro_name"`
	ReleaseAliases map[string]string  `yaml:"release_aliases"`
	Requirements   []requirementEntry `yaml:"requirements"`
}

// A requirementEntry is what an image demands of those who use it.
type requirementEntry struct {
	filter       `yaml:",inline"`
	Requirements map[string]string `yaml:"requirements"`
}

// A filter restricts an entry. Each list that is not empty must contain what is built.
type filter struct {
	Releases      []string `yaml:"releases"`
	Architectures []string `yaml:"architectures"` // the distribution's own names
	Variants      []string `yaml:"variants"`
	Types         []string `yaml:"types"` // container, vm
}

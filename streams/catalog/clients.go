package catalog

import (
	"fmt"
	"slices"
)

// What clients take of a catalog, as far as it is not a matter of its form: what they do not
// understand they pass over without a word.

// architectures are the names that LXD and Incus know, by that of the kernel.
var architectures = map[string][]string{
	"i686":        {"386", "generic_32", "i386", "i586", "x86"},
	"x86_64":      {"amd64", "generic_64", "x86_64_v1", "x86_64_v2", "x86_64_v3", "x86_64_v4"},
	"armv6l":      {"arm", "armel"},
	"armv7l":      {"armhf", "armhfp", "armv7", "armv7a_hardfp", "armv7a_vfpv3_hardfp"},
	"armv8l":      {},
	"aarch64":     {"arm64", "arm64_generic"},
	"ppc":         {"powerpc"},
	"ppc64":       {"powerpc64"},
	"ppc64le":     {"ppc64el"},
	"s390x":       {},
	"mips":        {"mipsel", "mipsle"},
	"mips64":      {"mips64el", "mips64le"},
	"riscv32":     {},
	"riscv64":     {},
	"loongarch64": {"loong64"},
}

// KnownArchitecture tells whether clients know an architecture by this name.
func KnownArchitecture(name string) bool { return kernels(name) != "" }

// SameArchitecture tells whether two names are of one architecture to clients.
func SameArchitecture(a, b string) bool {
	return a == b || kernels(a) != "" && kernels(a) == kernels(b)
}

// kernels returns the kernel's name of an architecture, "" for one that clients do not know.
func kernels(name string) string {
	for kernel, others := range architectures {
		if name == kernel || slices.Contains(others, name) {
			return kernel
		}
	}
	return ""
}

// PassedOver says why clients pass over a version of a product, "" if they do not.
func (p *Product) PassedOver(version string) string {
	switch {
	case !KnownArchitecture(p.Arch):
		return fmt.Sprintf("they do not know the architecture %q", p.Arch)
	case !Readable(version):
		return fmt.Sprintf("the name of the version, %q, does not start with a date such as 20260102", version)
	}
	return ""
}

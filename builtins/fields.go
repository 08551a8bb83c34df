package builtins

import (
	"maps"
	"slices"
	"strings"
)

// What the fields of values are. Methods have comments of their own; of fields, the reference
// has this.

// fields are by type and name.
var fields = map[string]map[string]string{
	"rootfs": {
		"disk":    "what disk(…) has said of the disk that it is to lie on, else None.",
		"env":     "the environment of programs that run in it, besides their own: a dict whose items can be changed.",
		"image":   "the image that it was made for, or None.",
		"manager": "the package manager that install and its kin use, or None; sources set it, and so can a recipe.",
		"memo":    "a dict for what the functions that work on it have to remember, such as package managers.",
		"source":  "the directory of this machine that it began as; \"\": it began empty.",
		"target":  "the kind of image that it is to be, as target of rootfs says; \"\": any.",
	},
	"file": {
		"name":      "what it is called.",
		"sha256":    "its SHA-256, 64 hex digits; \"\" in a plan, where it is not known.",
		"signed_by": "the fingerprint or id of the key by which a download was verified; \"\": by none.",
		"size":      "its size in bytes.",
	},
	"image": {
		"architecture":             "the architecture as it was given.",
		"architecture_kernel":      "the kernel's name of the architecture, such as x86_64.",
		"architecture_mapped":      "the distribution's name of the architecture, such as amd64.",
		"architecture_personality": "linux64 or linux32.",
		"description":              "a sentence about the image, rendered.",
		"distribution":             "the distribution, such as debian.",
		"expiry":                   "after how long the image is to be built anew, such as 30d.",
		"name":                     "what the image is called, rendered.",
		"release":                  "the release, such as trixie; \"\": it has none.",
		"serial":                   "what tells builds of one image apart: the time of the run, as 20060102_1504, unless it was given.",
		"variant":                  "the variant, such as default or cloud.",
	},
	"link": {
		"groups": "what the groups of the pattern have matched, a list of strings.",
		"name":   "the last element of the URL, without a slash at its end.",
		"url":    "the URL.",
	},
	"oci_image": {
		"digest":   "the digest of its manifest, as sha256:… .",
		"platform": "the platform that it is for, such as linux/amd64.",
	},
	"trust": {
		"skips":    "True if nothing is verified.",
		"verifies": "True if there are keys that count.",
	},
	"checksums": {
		"url": "the URL of the checksum file.",
	},
}

// Fields returns the documentation of the fields of values, by the names of the types; those of
// a rootfs begin with "root.", as its methods do.
func Fields() []Doc {
	var docs []Doc
	for _, typeName := range slices.Sorted(maps.Keys(fields)) {
		for _, name := range slices.Sorted(maps.Keys(fields[typeName])) {
			full := strings.TrimSuffix(typeName, "fs") + "." + name
			docs = append(docs, Doc{Name: full, Signature: full, Text: fields[typeName][name]})
		}
	}
	return docs
}

package streams_test

import (
	"maps"
	"slices"
	"strings"
)

// A difference is a step of a golden case whose outcome differs from the old tool's
// on purpose.
type difference struct {
	run      string
	fault    string // number in section 12 of the specification, and why
	succeeds bool   // where the old tool failed
	edit     func(want *outcome)
}

var differences = []difference{{
	run:   "03-no-xdelta3/run-1",
	fault: "30: a missing xdelta3 is said once, not once a delta",
	edit: func(o *outcome) {
		o.log = without(o.log, "disk.20240101_0000.qcow2.vcdiff")
	},
}, {
	run:   "03-no-xdelta3/run-2",
	fault: "15: deltas of versions that are known already are entered into SHA256SUMS as well",
	edit: func(o *outcome) {
		o.sums["20240102_0000"] = append(o.sums["20240102_0000"],
			"X  disk.20240101_0000.qcow2.vcdiff", "X  rootfs.20240101_0000.vcdiff")
	},
}, {
	run:   "05-insert/run-2",
	fault: "19: no more than one delta for an item",
	edit: func(o *outcome) {
		o.dropItems("20240103_0000", "disk.20240101_0000.qcow2.vcdiff", "rootfs.20240101_0000.vcdiff")
	},
}, {
	run:   "06-prune-builds/run-2",
	fault: "19: deltas whose base is pruned go with it",
	edit:  dropOrphans,
}, {
	run:   "06-prune-builds/run-3",
	fault: "19: as above",
	edit:  dropOrphans,
}, {
	run:   "07-prune-days/run-2",
	fault: "16: the age of a version is what its name says; 17: the last one stays",
	edit: func(o *outcome) {
		o.dropVersion("20240102_0000")
		o.dropItems("20240103_0000", "disk.20240102_0000.qcow2.vcdiff", "rootfs.20240102_0000.vcdiff")
		o.tree = without(o.tree, "/20240102_0000/")
		o.tree = without(o.tree, ".vcdiff")
		o.log = append(o.log, `level=INFO msg="Pruned old product version" path=<root>/images/ubuntu/noble/amd64/default/20240102_0000 error=<nil>`)
	},
}, {
	run:   "09-stale/run-2",
	fault: "10: a build drops what has vanished, and makes deltas from the version that is now before",
	edit: func(o *outcome) {
		vanished(o)
		for _, name := range []string{"disk.20240101_0000.qcow2.vcdiff", "rootfs.20240101_0000.vcdiff"} {
			o.tree = append(o.tree, "images/ubuntu/noble/amd64/default/20240103_0000/"+name)
			o.log = append(o.log, `level=INFO msg="Delta generated successfully" product=ubuntu:noble:amd64:default version=20240103_0000 item=`+name+" deltaBase=20240101_0000")
		}
		for _, name := range []string{"cloud/20240101_0000", "cloud/20240102_0000", "cloud/20240103_0000", "default/20240102_0000"} {
			o.log = append(o.log, `level=WARN msg="Dropping stale product version from catalog" path=<root>/images/ubuntu/noble/amd64/`+name)
		}
	},
}, {
	run:   "09-stale/run-3",
	fault: "10: nothing is left to drop; 6: the index follows; 19: the delta from the vanished version goes",
	edit: func(o *outcome) {
		delete(o.catalogs, "streams/v1/images.json") // its delta is another
		o.dropProduct("ubuntu:noble:amd64:cloud")
		o.tree = without(o.tree, ".20240102_0000.")
		for _, name := range []string{"disk.20240101_0000.qcow2.vcdiff", "rootfs.20240101_0000.vcdiff"} {
			o.tree = append(o.tree, "images/ubuntu/noble/amd64/default/20240103_0000/"+name)
		}
		o.log = nil
	},
}, {
	run:   "12-config/run-1",
	fault: "28: the same images are not published twice; 29: aliases are trimmed and not repeated",
	edit: func(o *outcome) {
		odd := o.catalogs["streams/v1/odd.json"].(map[string]any)["products"].(map[string]any)
		for _, p := range odd {
			delete(p.(map[string]any), "versions")
		}
		odd["archlinux:current:amd64:default"].(map[string]any)["aliases"] = "archlinux/current/default,archlinux/default,archlinux"
		odd["ubuntu:noble:amd64:default"].(map[string]any)["aliases"] = "ubuntu/noble/default,ubuntu/noble,ubuntu/24.04/default,ubuntu/24.04,ubuntu/24/default,ubuntu/24"
	},
}, {
	run:      "13-bad-config/run-1",
	fault:    "12: a configuration that cannot be read fails its own version only",
	succeeds: true,
	edit: func(o *outcome) {
		o.tree = without(o.tree, "streams/")
		o.tree = append(o.tree, "streams/v1/images.json", "streams/v1/images.json.gz", "streams/v1/index.json", "streams/v1/index.json.gz")
		for _, product := range []string{"ubuntu:noble:amd64:cloud", "ubuntu:noble:amd64:default"} {
			attrs := " streamName=images product=" + product
			o.log = append(o.log,
				`level=INFO msg="New version added to the product catalog"`+attrs+" version=20240101_0000",
				`level=ERROR msg="Failed to get version"`+attrs+" version=20240102_0000 error=X")
		}
	},
}, {
	run:   "15-unlisted-delta/run-2",
	fault: "13: a left-over delta does not reject its version; 1: it is not believed either, but made anew",
	edit: func(o *outcome) {
		o.tree = append(o.tree, "images/ubuntu/noble/amd64/default/20240102_0000/disk.20240101_0000.qcow2.vcdiff")
		o.log = unlistedLog()[1:]
		delete(o.catalogs, "streams/v1/images.json") // the next run has the same one
		o.sums["20240102_0000"] = append(o.sums["20240102_0000"], "X  disk.20240101_0000.qcow2.vcdiff", "X  rootfs.20240101_0000.vcdiff")
	},
}, {
	run:   "15-unlisted-delta/run-3",
	fault: "2: deltas the catalog does not know are decoded and taken; 13: and entered into SHA256SUMS",
	edit: func(o *outcome) {
		o.log = without(o.log, "Delta generated")
		o.sums["20240102_0000"] = append(o.sums["20240102_0000"], "X  rootfs.20240101_0000.vcdiff")
	},
}, {
	run:   "16-webpage/run-1",
	fault: "26: style sheet and script are files of their own, since nothing may be inline",
	edit:  addAssets,
}, {
	run:   "16-webpage/run-2",
	fault: "23: the same stream twice is refused before any work; 26: a page can have several",
	edit: func(o *outcome) {
		addAssets(o)
		o.log = []string{`level=ERROR msg="stream images is given twice"`}
	},
}, {
	run:   "18-sums-forms/run-1",
	fault: "14: binary-mode entries are understood; a file that is listed and missing makes the version incomplete",
	edit: func(o *outcome) {
		delete(o.catalogs, "streams/v1/images.json")
		const dir, attrs = "images/ubuntu/noble/amd64/default/20240102_0000/", " product=ubuntu:noble:amd64:default version=20240102_0000"
		o.tree = without(o.tree, ".vcdiff")
		o.log = without(without(o.log, "version=20240102_0000"), "version=20240103_0000")
		o.log = append(o.log, `level=INFO msg="New version added to the product catalog" streamName=images`+attrs)
		for _, name := range []string{"disk.20240101_0000.qcow2.vcdiff", "rootfs.20240101_0000.vcdiff"} {
			o.tree = append(o.tree, dir+name)
			o.log = append(o.log, `level=INFO msg="Delta generated successfully"`+attrs+" item="+name+" deltaBase=20240101_0000")
		}
		o.sums = nil
	},
}}

func unlistedLog() []string {
	const attrs = " product=ubuntu:noble:amd64:default version=20240102_0000"
	return []string{
		"",
		`level=INFO msg="New version added to the product catalog" streamName=images` + attrs,
		`level=INFO msg="Delta generated successfully"` + attrs + " item=disk.20240101_0000.qcow2.vcdiff deltaBase=20240101_0000",
		`level=INFO msg="Delta generated successfully"` + attrs + " item=rootfs.20240101_0000.vcdiff deltaBase=20240101_0000",
	}
}

func addAssets(o *outcome) {
	o.tree = append(o.tree, "index.html.gz", "page.css", "page.js", "page.svg")
}

func dropOrphans(o *outcome) {
	o.dropItems("20240103_0000", "disk.20240102_0000.qcow2.vcdiff", "rootfs.20240102_0000.vcdiff")
	o.tree = without(o.tree, ".20240102_0000.")
}

func vanished(o *outcome) {
	o.dropProduct("ubuntu:noble:amd64:cloud")
	o.dropVersion("20240102_0000")
	delete(o.catalogs, "streams/v1/images.json") // its deltas are others
}

// without returns the lines that do not contain a text.
func without(lines []string, text string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return strings.Contains(line, text) })
}

// products calls fn with all products of the catalogs.
func (o *outcome) products(fn func(p map[string]any)) {
	for _, c := range o.catalogs {
		products, _ := c.(map[string]any)["products"].(map[string]any)
		for p := range maps.Values(products) {
			fn(p.(map[string]any))
		}
	}
}

func (o *outcome) dropVersion(version string) {
	o.products(func(p map[string]any) { delete(p["versions"].(map[string]any), version) })
}

func (o *outcome) dropItems(version string, names ...string) {
	o.products(func(p map[string]any) {
		v, ok := p["versions"].(map[string]any)[version].(map[string]any)
		for _, name := range names {
			if ok {
				delete(v["items"].(map[string]any), name)
			}
		}
	})
}

// dropProduct takes a product out of catalogs and index.
func (o *outcome) dropProduct(id string) {
	for _, c := range o.catalogs {
		m := c.(map[string]any)
		if products, ok := m["products"].(map[string]any); ok {
			delete(products, id)
		}
		index, _ := m["index"].(map[string]any)
		for _, entry := range index {
			e := entry.(map[string]any)
			e["products"] = slices.DeleteFunc(e["products"].([]any), func(p any) bool { return p == id })
		}
	}
}

package streams_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/site"
)

// TestVerify holds that every kind of fault is found, each where it is, and which of
// them a repair removes.
func TestVerify(t *testing.T) {
	keepTime := func(f *fixture, name string, edit func(string) string) {
		st, err := os.Stat(f.path(name))
		if err != nil {
			f.Fatal(err)
		}
		f.write(name, edit(f.read(name)))
		if err := os.Chtimes(f.path(name), st.ModTime(), st.ModTime()); err != nil {
			f.Fatal(err)
		}
	}
	flip := func(s string) string { return s[:100] + "X" + s[101:] }
	tests := []struct {
		summary string
		edit    func(f *fixture)
		faults  []string // "kind path"
		after   []string // versions listed after the repair
	}{{
		summary: "nothing",
		edit:    func(f *fixture) {}, after: []string{v1, v2},
	}, {
		summary: "a file has changed without a trace",
		edit:    func(f *fixture) { keepTime(f, dir(v2)+"rootfs.squashfs", flip) },
		faults:  []string{"combined " + dir(v2) + "lxd.tar.xz", "combined " + dir(v2) + "lxd.tar.xz", "content " + dir(v2) + "rootfs.squashfs"},
		after:   []string{v1},
	}, {
		summary: "a file has changed without a trace, and the tool has forgotten what it was",
		edit: func(f *fixture) {
			keepTime(f, dir(v1)+"disk.qcow2", flip)
			f.remove("streams/.state")
		},
		faults: []string{"content " + dir(v1) + "disk.qcow2", "combined " + dir(v1) + "lxd.tar.xz", "combined " + dir(v1) + "lxd.tar.xz"},
		after:  []string{v2},
	}, {
		summary: "a file was replaced",
		edit:    func(f *fixture) { f.write(dir(v2)+"disk.qcow2", "QFI\xfbnew") },
		faults:  []string{"content " + dir(v2) + "disk.qcow2"},
		after:   []string{v1, v2},
	}, {
		summary: "a file is gone",
		edit:    func(f *fixture) { f.remove(dir(v1) + "disk.qcow2") },
		faults:  []string{"missing " + dir(v1) + "disk.qcow2"},
		after:   []string{v1, v2},
	}, {
		summary: "a file cannot be read, and others are damaged",
		edit: func(f *fixture) {
			f.remove(dir(v2) + "disk.qcow2")
			f.symlink("rootfs.squashfs", dir(v2)+"disk.qcow2")
			keepTime(f, dir(v2)+"rootfs.squashfs", flip)
			keepTime(f, dir(v2)+rootDelta, flip)
		},
		faults: []string{"combined " + dir(v2) + "lxd.tar.xz", "combined " + dir(v2) + "lxd.tar.xz", "content " + dir(v2) + "disk.qcow2",
			"content " + dir(v2) + "rootfs.squashfs", "content " + dir(v2) + rootDelta},
		after: []string{v1},
	}, {
		summary: "metadata cannot be read",
		edit: func(f *fixture) {
			f.remove(dir(v2) + "lxd.tar.xz")
			f.symlink("rootfs.squashfs", dir(v2)+"lxd.tar.xz")
			keepTime(f, dir(v2)+rootDelta, flip)
		},
		faults: []string{"content " + dir(v2) + "lxd.tar.xz", "content " + dir(v2) + rootDelta},
		after:  []string{v1},
	}, {
		summary: "a version is gone",
		edit:    func(f *fixture) { f.remove(dir(v2)) },
		faults: []string{"missing " + dir(v2) + "disk.qcow2", "missing " + dir(v2) + "lxd.tar.xz",
			"missing " + dir(v2) + rootDelta, "missing " + dir(v2) + "rootfs.squashfs"},
		after: []string{v1},
	}, {
		summary: "a delta is damaged",
		edit:    func(f *fixture) { keepTime(f, dir(v2)+rootDelta, flip) },
		faults:  []string{"content " + dir(v2) + rootDelta},
		after:   []string{v1, v2},
	}, {
		summary: "a delta is listed with its new hash, but does not make its file",
		edit: func(f *fixture) {
			f.write(dir(v2)+rootDelta, "nonsense")
			old := f.products("images")[ubuntuID].Versions[v2].Items[rootDelta]
			f.replace("streams/v1/images.json", old.SHA256, sha256Hex("nonsense"))
			f.replace("streams/v1/images.json", f.sizeOf(old.Size, rootDelta), f.sizeOf(8, rootDelta))
		},
		faults: []string{"delta " + dir(v2) + rootDelta, "gzip streams/v1/images.json.gz"},
		after:  []string{v1, v2},
	}, {
		summary: "a fingerprint is wrong",
		edit: func(f *fixture) {
			print := f.products("images")[ubuntuID].Versions[v1].Items["lxd.tar.xz"].CombinedSquash
			f.replace("streams/v1/images.json", print, strings.Repeat("0", 64))
		},
		faults: []string{"combined " + dir(v1) + "lxd.tar.xz", "combined " + dir(v1) + "lxd.tar.xz", "gzip streams/v1/images.json.gz"},
		after:  []string{v1, v2},
	}, {
		summary: "an image is there twice",
		edit: func(f *fixture) {
			versions := f.products("images")[ubuntuID].Versions
			f.replace("streams/v1/images.json", versions[v2].Items["lxd.tar.xz"].CombinedDisk, versions[v1].Items["lxd.tar.xz"].CombinedDisk)
		},
		faults: []string{"duplicate " + dir(v2)[:len(dir(v2))-1], "duplicate " + dir(v2)[:len(dir(v2))-1], "combined " + dir(v2) + "lxd.tar.xz", "combined " + dir(v2) + "lxd.tar.xz", "gzip streams/v1/images.json.gz"},
		after:  []string{v1, v2},
	}, {
		summary: "a compressed form is old",
		edit:    func(f *fixture) { f.write("streams/v1/index.json.gz", f.read("streams/v1/images.json.gz")) },
		faults:  []string{"gzip streams/v1/index.json.gz"},
		after:   []string{v1, v2},
	}, {
		summary: "the index is old",
		edit: func(f *fixture) {
			f.replace("streams/v1/index.json", ubuntuID, "other:noble:amd64:default")
			f.replace("streams/v1/index.json", "2024-", "last year ")
		},
		faults: []string{"index streams/v1/index.json", "gzip streams/v1/index.json.gz"},
		after:  []string{v1, v2},
	}, {
		summary: "the index lists something else",
		edit:    func(f *fixture) { f.replace("streams/v1/index.json", "v1/images.json", "v2/images.json") },
		faults:  []string{"index streams/v1/index.json", "gzip streams/v1/index.json.gz"},
		after:   []string{v1, v2},
	}, {
		summary: "the index lists what cannot be a stream",
		edit: func(f *fixture) {
			f.replace("streams/v1/index.json", `"index":{`, `"index":{"../evil":{"path":"../evil.json"},`)
		},
		faults: []string{"index streams/v1/index.json", "gzip streams/v1/index.json.gz"},
		after:  []string{v1, v2},
	}, {
		summary: "the catalog says that it is something else",
		edit:    func(f *fixture) { f.replace("streams/v1/images.json", "products:1.0", "products:2.0") },
		faults:  []string{"catalog streams/v1/images.json", "gzip streams/v1/images.json.gz"},
		after:   []string{v1, v2},
	}, {
		summary: "the index is gone",
		edit:    func(f *fixture) { f.remove("streams/v1/index.json") },
		faults:  []string{"index streams/v1/index.json"},
		after:   []string{v1, v2},
	}, {
		summary: "the catalog is cut off",
		edit:    func(f *fixture) { f.write("streams/v1/images.json", f.read("streams/v1/images.json")[:300]) },
		faults:  []string{"catalog streams/v1/images.json", "gzip streams/v1/images.json.gz", "index streams/v1/index.json"},
		after:   []string{v1, v2},
	}, {
		summary: "the catalog has a product that cannot be trusted",
		edit:    func(f *fixture) { f.replace("streams/v1/images.json", `"arch":"amd64"`, `"arch":".."`) },
		faults:  []string{"catalog streams/v1/images.json", "gzip streams/v1/images.json.gz", "index streams/v1/index.json"},
		after:   []string{v1, v2},
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1, v2)...)
			f.build()
			test.edit(f)
			var faults []string
			for _, fault := range f.faults() {
				faults = append(faults, string(fault.Kind)+" "+fault.Path)
			}
			slices.Sort(faults)
			slices.Sort(test.faults)
			if !slices.Equal(faults, test.faults) {
				t.Fatalf("got  %q\nwant %q", faults, test.faults)
			}
			f.repair(t, len(faults))
			if got := f.listed(); !slices.Equal(got, test.after) {
				t.Errorf("listed: %v", got)
			}
			if sum := f.build(); len(sum.Published) > 0 {
				t.Errorf("build after repair: %+v", sum)
			}
			f.verify()
		})
	}
}

func (f *fixture) sizeOf(size int64, name string) string {
	return name + `","size":` + strings.TrimSpace(itoa(size)) + ","
}

func (f *fixture) repair(t *testing.T, faults int) {
	t.Helper()
	report, err := streams.Verify(context.Background(), streams.VerifyOptions{Site: f.tree(), Repair: true})
	if err != nil {
		t.Fatal(err)
	}
	if report.Err() != nil || len(report.Faults) != faults {
		t.Errorf("%+v", report)
	}
}

// TestRepairReplaced holds that a version which was taken out comes back when its
// files are replaced, and not before.
func TestRepairReplaced(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.build()
	name := dir(v2) + "disk.qcow2"
	whole := f.read(name)
	st, _ := os.Stat(f.path(name))
	f.write(name, strings.Replace(whole, whole[50:60], "damaged...", 1))
	os.Chtimes(f.path(name), st.ModTime(), st.ModTime())
	f.repair(t, 3)
	for range 2 {
		if sum := f.build(); sum.Failed != 1 || !slices.Equal(f.listed(), []string{v1}) {
			t.Errorf("%v %+v", f.listed(), sum)
		}
	}
	f.write(name, whole)
	if sum := f.build(); sum.Err() != nil || !slices.Equal(f.listed(), []string{v1, v2}) {
		t.Errorf("%v %+v", f.listed(), sum)
	}
	f.verify()
}

// TestVerifyStreams holds that all streams of the index are checked.
func TestVerifyStreams(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	f.make(imagetree.Sample{Stream: "daily", Product: ubuntu, Version: v2})
	f.build(func(o *streams.BuildOptions) { o.Streams = []string{"images", "daily"} })
	for _, none := range [][]string{nil, {}} {
		all := f.tree()
		all.Streams = none
		report, err := streams.Verify(context.Background(), streams.VerifyOptions{Site: all})
		if err != nil || report.Products != 2 || report.Versions != 2 || report.Items != 8 || report.Bytes == 0 || report.Err() != nil {
			t.Errorf("%+v %v", report, err)
		}
		if images, err := streams.List(context.Background(), streams.ListOptions{Site: all}); err != nil || len(images) != 4 {
			t.Errorf("%v %v", images, err)
		}
	}
}

// TestSignatures holds that the index and the catalogs are signed with what they say,
// and that an old signature does not stay.
func TestSignatures(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	key, public := newKey(t)
	signer, err := site.NewSigner(key, []byte("secret"), func() time.Time { return f.now })
	if err != nil {
		t.Fatal(err)
	}
	signed := func(o *streams.BuildOptions) { o.Signer = signer }
	f.build(signed)
	check := func() {
		t.Helper()
		for _, name := range []string{"streams/v1/images.json", "streams/v1/index.json"} {
			_, err := openpgp.CheckArmoredDetachedSignature(public, strings.NewReader(f.read(name)), strings.NewReader(f.read(name+".gpg")),
				&packet.Config{Time: func() time.Time { return f.now }})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			text := f.read(site.SignedName(name))
			block, _ := clearsign.Decode([]byte(text))
			if _, err := block.VerifySignature(public, &packet.Config{Time: func() time.Time { return f.now }}); err != nil {
				t.Errorf("%s: %v", site.SignedName(name), err)
			}
			for line := range strings.Lines(text) {
				if len(line) > 10000 { // GnuPG cuts longer ones than 19995 bytes off
					t.Errorf("%s has a line of %d bytes", site.SignedName(name), len(line))
				}
			}
			same := compact(t, string(block.Plaintext))
			if strings.HasSuffix(name, "index.json") {
				same = strings.ReplaceAll(same, "images.sjson", "images.json")
			}
			if same != compact(t, f.read(name)) {
				t.Errorf("%s is not what %s says", site.SignedName(name), name)
			}
		}
	}
	check()
	if sum := f.build(signed); !sum.Unchanged {
		t.Errorf("%+v", sum)
	}
	f.remove("streams/v1/images.sjson")
	f.build(signed)
	check()
	if sum := f.prune(func(o *streams.PruneOptions) { o.Signer = signer }); len(sum.Published) > 0 {
		t.Errorf("%+v", sum)
	}
	for i := range 20 {
		f.make(versions(ubuntu, fmt.Sprintf("20240105_%04d", i))...)
	}
	f.build(signed, noDeltas)
	check()
	f.write("streams/v1/index.json.gpg", "damaged")
	report, err := streams.Verify(context.Background(), streams.VerifyOptions{Site: f.tree(), Signer: signer})
	if err != nil || len(report.Faults) != 1 || report.Faults[0].Kind != "signature" {
		t.Errorf("%+v %v", report, err)
	}
	f.build(signed)
	check()
	f.prune(retain(1), func(o *streams.PruneOptions) { o.Signer = signer })
	check()
	f.make(versions(ubuntu, v3)...)
	f.build()
	if f.exists("streams/v1/images.json.gpg") || f.exists("streams/v1/images.sjson") || f.exists("streams/v1/index.sjson") {
		t.Error("the signature of another catalog is still there")
	}
	for summary, data := range map[string][]byte{"no key": nil, "nonsense": []byte("x"), "a public key": publicKey(t, public)} {
		if _, err := site.NewSigner(data, nil, nil); err == nil {
			t.Errorf("%s signs", summary)
		}
	}
	if _, err := site.NewSigner(key, []byte("wrong"), nil); err == nil {
		t.Error("it is unlocked by another passphrase")
	}
}

// compact returns JSON without blanks.
func compact(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// newKey returns a private key, armored and locked with "secret", and its public half.
func newKey(t *testing.T) ([]byte, openpgp.EntityList) {
	t.Helper()
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC) }}
	entity, err := openpgp.NewEntity("Images", "", "images@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	if err := entity.EncryptPrivateKeys([]byte("secret"), config); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w, err := armor.Encode(&buf, openpgp.PrivateKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := entity.SerializePrivateWithoutSigning(w, config); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return buf.Bytes(), openpgp.EntityList{entity}
}

func publicKey(t *testing.T, keys openpgp.EntityList) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := keys[0].Serialize(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

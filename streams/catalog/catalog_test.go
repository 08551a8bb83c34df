package catalog_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"imagebuilder/streams/catalog"
)

func TestAliases(t *testing.T) {
	tests := []struct {
		summary  string
		name     catalog.Name
		releases []string
		want     string
	}{{
		summary: "release and variant",
		name:    catalog.Name{Distro: "ubuntu", Release: "noble", Arch: "amd64", Variant: "cloud"},
		want:    "ubuntu/noble/cloud",
	}, {
		summary: "the default variant need not be said",
		name:    catalog.Name{Distro: "ubuntu", Release: "noble", Arch: "amd64", Variant: "default"},
		want:    "ubuntu/noble/default,ubuntu/noble",
	}, {
		summary: "nor the current release",
		name:    catalog.Name{Distro: "alpine", Release: "current", Arch: "amd64", Variant: "cloud"},
		want:    "alpine/current/cloud,alpine/cloud",
	}, {
		summary: "nor both",
		name:    catalog.Name{Distro: "archlinux", Release: "current", Arch: "amd64", Variant: "default"},
		want:    "archlinux/current/default,archlinux/default,archlinux",
	}, {
		summary:  "further names of the release",
		name:     catalog.Name{Distro: "debian", Release: "trixie", Arch: "arm64", Variant: "default"},
		releases: []string{"13", "current"},
		want:     "debian/trixie/default,debian/trixie,debian/13/default,debian/13,debian/current/default,debian/default,debian",
	}, {
		summary:  "blanks, empty names, repetitions and commas do not get through",
		name:     catalog.Name{Distro: "ubuntu", Release: "noble", Arch: "amd64", Variant: "default"},
		releases: []string{" 24", "", "24", "noble", "../x", "a b"},
		want:     "ubuntu/noble/default,ubuntu/noble,ubuntu/24/default,ubuntu/24",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			if got := strings.Join(catalog.Aliases(test.name, test.releases), ","); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestTitle(t *testing.T) {
	tests := map[string]string{
		"ubuntu": "Ubuntu", "rocky-linux": "Rocky-Linux", "open_SUSE": "Open_suse", "": "",
		"a.b": "A.b", "x.9y": "X.9Y", "9front": "9Front", "a..b": "A..B", "end.": "End.", "a+b~c": "A+B~C",
	}
	for in, want := range tests {
		if got := catalog.Title(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestTime(t *testing.T) {
	tests := map[string]string{
		"20240102_0304":   "2024-01-02 03:04:00",
		"20240102_03:04":  "2024-01-02 03:04:00",
		"202401020304":    "2024-01-02 03:04:00",
		"20240102T030405": "2024-01-02 03:04:05",
		"20240102":        "2024-01-02 00:00:00",
		"20240102_2561":   "2024-01-02 00:00:00",
		"20240102-rc1":    "2024-01-02 00:00:00",
		"20241302_0000":   "",
		"v10":             "",
		"":                "",
	}
	for name, want := range tests {
		got, ok := catalog.Time(name)
		if ok != (want != "") || ok && got.Format(time.DateTime) != want {
			t.Errorf("%s: got %v, %v", name, got, ok)
		}
	}
}

func TestCheckNames(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "-x", "a/b", "a b", "a,b", "a:b", "a\n", "ä", strings.Repeat("x", 256)} {
		if catalog.CheckPart(bad) == nil {
			t.Errorf("the part %q passes", bad)
		}
	}
	for _, good := range []string{"a", "1", "open_SUSE", "a.b+c~d-e", ".hidden"} {
		if err := catalog.CheckPart(good); err != nil {
			t.Errorf("the part %q: %v", good, err)
		}
	}
	for _, bad := range []string{"index", "streams", ".x", "a/b"} {
		if catalog.CheckStream(bad) == nil {
			t.Errorf("the stream %q passes", bad)
		}
	}
	if err := catalog.CheckVersion("20240101_00:00"); err != nil {
		t.Error(err)
	}
	long := strings.Repeat("1", 200)
	if err := errors.Join(catalog.CheckVersion(long), catalog.CheckFile(long+".squashfs")); err != nil {
		t.Error(err)
	}
	if catalog.CheckVersion(long+"1") == nil {
		t.Error("a version passes whose hidden names would be too long")
	}
	if _, err := catalog.ParseName("a:b:c"); err == nil {
		t.Error("an id of three parts passes")
	}
}

var sum = strings.Repeat("0123456789abcdef", 4)

func sample() *catalog.Product {
	dir := "images/ubuntu/noble/amd64/default/20240101_0000/"
	return &catalog.Product{
		Aliases: "ubuntu/noble", Arch: "amd64", Distro: "ubuntu", OS: "Ubuntu & <co>", Release: "noble",
		ReleaseTitle: "noble", Variant: "default",
		Versions: map[string]catalog.Version{"20240101_0000": {Items: map[string]catalog.Item{
			"rootfs.squashfs": {FType: "squashfs", Path: dir + "rootfs.squashfs", Size: 7, SHA256: sum},
			"lxd.tar.xz":      {FType: "lxd.tar.xz", Path: dir + "lxd.tar.xz", Size: 5, SHA256: sum, CombinedSquash: sum},
		}}},
	}
}

const golden = `{"content_id":"images","format":"products:1.0","datatype":"image-downloads","products":{` +
	`"ubuntu:noble:amd64:default":{"aliases":"ubuntu/noble","arch":"amd64","distro":"ubuntu","os":"Ubuntu \u0026 \u003cco\u003e",` +
	`"release":"noble","release_title":"noble","variant":"default","versions":{"20240101_0000":{"items":{` +
	`"lxd.tar.xz":{"ftype":"lxd.tar.xz","path":"images/ubuntu/noble/amd64/default/20240101_0000/lxd.tar.xz","size":5,"sha256":"S","combined_squashfs_sha256":"S"},` +
	`"rootfs.squashfs":{"ftype":"squashfs","path":"images/ubuntu/noble/amd64/default/20240101_0000/rootfs.squashfs","size":7,"sha256":"S"}}}},` +
	`"requirements":{}}}}` + "\n"

func TestWriteAndRead(t *testing.T) {
	var buf bytes.Buffer
	w := catalog.NewEncoder(&buf, "images")
	if err := errors.Join(w.Product("ubuntu:noble:amd64:default", sample()), w.Close()); err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(golden, `"S"`, `"`+sum+`"`); buf.String() != want {
		t.Fatalf("got  %s\nwant %s", &buf, want)
	}
	r := catalog.NewReader(&buf, "images")
	id, p, err := r.Next()
	if err != nil || id != "ubuntu:noble:amd64:default" || len(p.Versions) != 1 {
		t.Fatalf("%s %v %v", id, p, err)
	}
	if _, _, err := r.Next(); err != io.EOF {
		t.Fatal(err)
	}
}

// TestCheckHeader holds that a catalog has to say what it is, before its products or behind.
func TestCheckHeader(t *testing.T) {
	tests := []struct{ before, after, err string }{
		{`"content_id":"images","format":"products:1.0","datatype":"image-downloads",`, ``, ""},
		{``, `,"datatype":"image-downloads","x":[1],"content_id":"images","format":"products:1.0"`, ""},
		{`"content_id":"daily","format":"products:1.0","datatype":"image-downloads",`, ``, `content_id is "daily", not "images"`},
		{`"content_id":"images","format":"index:1.0","datatype":"image-downloads",`, ``, `format is "index:1.0", not "products:1.0"`},
		{`"content_id":"images","format":"products:1.0","datatype":["image-downloads"],`, ``, `datatype is "", not "image-downloads"`},
		{``, ``, `content_id is "", not "images"`},
	}
	for _, test := range tests {
		text := `{` + test.before + `"products":{}` + test.after + `}`
		r := catalog.NewReader(strings.NewReader(text), "images")
		if _, _, err := r.Next(); err != io.EOF {
			t.Fatalf("%s: %v", text, err)
		}
		got := ""
		if err := r.CheckHeader(); err != nil {
			got = err.Error()
		}
		if got != test.err {
			t.Errorf("%s: got %q, want %q", text, got, test.err)
		}
	}
}

func TestEmptyCatalog(t *testing.T) {
	var buf bytes.Buffer
	if err := catalog.NewEncoder(&buf, "images").Close(); err != nil {
		t.Fatal(err)
	}
	if want := `{"content_id":"images","format":"products:1.0","datatype":"image-downloads","products":{}}` + "\n"; buf.String() != want {
		t.Fatalf("got %s", &buf)
	}
	if _, _, err := catalog.NewReader(&buf, "images").Next(); err != io.EOF {
		t.Fatal(err)
	}
}

func TestReadInvalid(t *testing.T) {
	good := strings.ReplaceAll(golden, `"S"`, `"`+sum+`"`)
	tests := []struct {
		summary  string
		old, new string
		err      string // contained in it
		invalid  bool   // of one product, so that reading can go on
	}{{
		summary: "a cut-off file", old: `"requirements":{}}}}` + "\n", new: "", err: "unexpected EOF",
	}, {
		summary: "a file cut off after the last product", old: `{}}}}` + "\n", new: `{}}`, err: "unexpected EOF",
	}, {
		summary: "something behind it", old: `{}}}}`, new: `{}}}}x`, err: "not a catalog",
	}, {
		summary: "no products", old: `"products":`, new: `"other":`, err: "no products key",
	}, {
		summary: "a product that is there twice", old: `"requirements":{}}}}`, new: `"requirements":{}},"ubuntu:noble:amd64:default":{}}}`, err: `the product "ubuntu:noble:amd64:default" is there twice`,
	}, {
		summary: "products that are there twice", old: `"requirements":{}}}}`, new: `"requirements":{}}},"products":{}}`, err: "a second products key",
	}, {
		summary: "a number for a name", old: `"arch":"amd64"`, new: `"arch":64`, err: "cannot unmarshal number", invalid: true,
	}, {
		summary: "parts that do not make the id", old: `"arch":"amd64"`, new: `"arch":"arm64"`, err: "its parts make the id", invalid: true,
	}, {
		summary: "a product outside the tree", old: "noble", new: "..", err: `the name ".."`, invalid: true,
	}, {
		summary: "a version outside the tree", old: `"versions":{"20240101_0000"`, new: `"versions":{"../../x"`, err: `has '/' in it`, invalid: true,
	}, {
		summary: "a file outside the tree", old: `_0000/lxd.tar.xz"`, new: `_0000/../../lxd.tar.xz"`, err: "has '/' in it", invalid: true,
	}, {
		summary: "a file of another version", old: `_0000/lxd.tar.xz"`, new: `_0001/lxd.tar.xz"`, err: "is not in images/", invalid: true,
	}, {
		summary: "a hash that is none", old: sum, new: "<script>", err: "is not a SHA-256", invalid: true,
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			text := strings.ReplaceAll(good, test.old, test.new)
			r := catalog.NewReader(strings.NewReader(text), "images")
			var err error
			for err == nil {
				_, _, err = r.Next()
			}
			var invalid *catalog.InvalidError
			if !strings.Contains(err.Error(), test.err) || errors.As(err, &invalid) != test.invalid {
				t.Fatalf("got %v", err)
			}
			if _, _, next := r.Next(); test.invalid && next != io.EOF {
				t.Errorf("then %v", next)
			}
		})
	}
}

// Clients do not need the name of the distribution beside the id, which has it.
func TestReaderWithoutDistro(t *testing.T) {
	text := strings.ReplaceAll(strings.Replace(golden, `"distro":"ubuntu",`, "", 1), `"S"`, `"`+sum+`"`)
	id, p, err := catalog.NewReader(strings.NewReader(text), "images").Next()
	if err != nil || p.Name().ID() != id {
		t.Errorf("%s: %+v %v", id, p, err)
	}
}

func TestImages(t *testing.T) {
	v := catalog.Version{Items: map[string]catalog.Item{
		"lxd.tar.xz":      {FType: "lxd.tar.xz", CombinedSquash: "a", CombinedDisk: "b"},
		"incus.tar.xz":    {FType: "incus.tar.xz", CombinedSquash: "c"},
		"disk.qcow2":      {FType: "disk-kvm.img"},
		"rootfs.squashfs": {FType: "squashfs"},
		"root.tar.xz":     {FType: "root.tar.xz"},
		"all.tar.gz":      {FType: "incus_combined.tar.gz", SHA256: "d", CombinedType: "virtual-machine"},
	}}
	want := []catalog.Pairing{
		{"d", true, "all.tar.gz", "all.tar.gz"},
		{"a", false, "lxd.tar.xz", "rootfs.squashfs"},
		{"c", false, "incus.tar.xz", "rootfs.squashfs"},
		{"b", true, "lxd.tar.xz", "disk.qcow2"},
	}
	if got := v.Images(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestIndex(t *testing.T) {
	index := catalog.Index{Format: catalog.FormatIndex, Entries: map[string]catalog.IndexEntry{
		"images": {Datatype: catalog.Datatype, Path: "streams/v1/images.json", Format: catalog.FormatProducts, Updated: "2024-01-01T00:00:00Z"},
	}}
	var buf bytes.Buffer
	if err := index.Write(&buf); err != nil {
		t.Fatal(err)
	}
	want := `{"format":"index:1.0","index":{"images":{"datatype":"image-downloads","path":"streams/v1/images.json",` +
		`"format":"products:1.0","updated":"2024-01-01T00:00:00Z","products":[]}}}` + "\n"
	if buf.String() != want {
		t.Fatalf("got %s", &buf)
	}
	if _, err := catalog.ReadIndex(&buf); err != nil {
		t.Error(err)
	}
	if _, err := catalog.ReadIndex(strings.NewReader(`{"format":"index:2.0"}`)); err == nil {
		t.Error("another format passes")
	}
	if _, err := catalog.ReadIndex(strings.NewReader(want + "x")); err == nil || err.Error() != "not an index: something follows it" {
		t.Errorf("with something behind it: %v", err)
	}
}

// TestLines holds that what is signed as a text has short lines, and ends none in the middle
// of a string for any program.
func TestLines(t *testing.T) {
	got, err := catalog.Lines([]byte("{\"a\":[\"b\u0085c\"]}\n"))
	if want := "{\n \"a\": [\n  \"b\\u0085c\"\n ]\n}\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := catalog.Lines([]byte("{")); err == nil {
		t.Error("half of an object passes")
	}
}

// FuzzReader holds that no product gets through with a name or path that leads out
// of its directory, and that what got through is written and read again the same.
func FuzzReader(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(golden, `"S"`, `"`+sum+`"`)))
	f.Add([]byte(`{"products":{"a:b:c:d":{}},"x":[1,{}]}`))
	f.Add([]byte(`{"products":{"..:b:c:d":{"distro":"..","versions":{"../x":{}}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, foreign := range []bool{false, true} {
			r := catalog.NewReader(bytes.NewReader(data), "images")
			r.Foreign = foreign
			readAll(t, r)
		}
	})
}

func readAll(t *testing.T, r *catalog.Reader) {
	for {
		id, p, err := r.Next()
		var invalid *catalog.InvalidError
		switch {
		case errors.As(err, &invalid):
		case err != nil:
			return
		case !p.Foreign:
			checkTrusted(t, id, p)
		default:
			for _, v := range p.Versions {
				for _, item := range v.Items {
					if !fs.ValidPath(item.Path) {
						t.Fatalf("the path %q got through", item.Path)
					}
				}
			}
		}
	}
}

func checkTrusted(t *testing.T, id string, p *catalog.Product) {
	if name, err := catalog.ParseName(id); err != nil || name != p.Name() {
		t.Fatalf("%q: %v", id, err)
	}
	for version, v := range p.Versions {
		if strings.ContainsAny(version, "/\x00") || version == ".." {
			t.Fatalf("the version %q got through", version)
		}
		for _, item := range v.Items {
			if strings.Contains(item.Path, "/../") || strings.HasSuffix(item.Path, "/..") {
				t.Fatalf("the path %q got through", item.Path)
			}
		}
	}
	var buf bytes.Buffer
	w := catalog.NewEncoder(&buf, "images")
	if err := errors.Join(w.Product(id, p), w.Close()); err != nil {
		t.Fatal(err)
	}
	if again, _, err := catalog.NewReader(&buf, "images").Next(); err != nil || again != id {
		t.Fatalf("read again: %q, %v", again, err)
	}
}

package windows

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"
)

// wim is a WIM file with an XML and nothing else.
func wim(images, parts int, text string) []byte {
	b := make([]byte, 208)
	copy(b, "MSWIM\x00\x00\x00")
	units := utf16.Encode([]rune("\ufeff" + text))
	le.PutUint16(b[40:], 1)
	le.PutUint16(b[42:], uint16(parts))
	le.PutUint32(b[44:], uint32(images))
	le.PutUint64(b[72:], uint64(2*len(units)))
	le.PutUint64(b[80:], 208)
	le.PutUint32(b[120:], 1)
	for _, u := range units {
		b = le.AppendUint16(b, u)
	}
	return b
}

const image = `<WIM><IMAGE INDEX="1"><NAME>Windows 11 Pro</NAME><WINDOWS><ARCH>9</ARCH><PRODUCTTYPE>WinNT</PRODUCTTYPE>` +
	`<EDITIONID>Professional</EDITIONID><INSTALLATIONTYPE>Client</INSTALLATIONTYPE>` +
	`<VERSION><MAJOR>10</MAJOR><MINOR>0</MINOR><BUILD>22621</BUILD></VERSION></WINDOWS></IMAGE></WIM>`

var wims = []struct {
	summary string
	data    []byte
	want    *WIM
	err     string
}{
	{summary: "all there is", data: wim(1, 1, image), want: &WIM{Parts: 1, Boot: 1, Images: []WIMImage{{
		Index: 1, Name: "Windows 11 Pro", Architecture: "amd64", Major: 10, Build: 22621, Product: "WinNT", Installation: "Client", Edition: "Professional",
	}}}},
	{summary: "no architecture is not the first one", data: wim(1, 2, `<WIM><IMAGE INDEX="1"><NAME>ä</NAME><IMAGEBUILDER><INJECTION>abc</INJECTION></IMAGEBUILDER></IMAGE></WIM>`),
		want: &WIM{Parts: 2, Boot: 1, Images: []WIMImage{{Index: 1, Name: "ä", Has: "abc"}}}},
	{summary: "the first one", data: wim(1, 1, `<WIM><IMAGE INDEX="1"><WINDOWS><ARCH>0</ARCH></WINDOWS></IMAGE></WIM>`),
		want: &WIM{Parts: 1, Boot: 1, Images: []WIMImage{{Index: 1, Architecture: "x86"}}}},
	{summary: "nothing", data: nil, err: "does not begin as a WIM file"},
	{summary: "something else", data: bytes.Repeat([]byte("x"), 300), err: "does not begin as a WIM file"},
	{summary: "cut", data: wim(1, 1, image)[:300], err: "ends before its XML"},
	{summary: "no XML", data: wim(1, 1, "x"), err: "its XML"},
	{summary: "indexes", data: wim(1, 1, strings.Replace(image, `"1"`, `"2"`, 1)), err: "has the index 2"},
	{summary: "another number", data: wim(2, 1, image), err: "it has 2 images, and its XML tells of 1"},
	{summary: "no image", data: wim(0, 1, "<WIM></WIM>"), err: "tells of 0 images"},
}

func TestReadWIM(t *testing.T) {
	for _, test := range wims {
		got, err := ReadWIM(bytes.NewReader(test.data))
		switch {
		case test.err == "" && (err != nil || !reflect.DeepEqual(got, test.want)):
			t.Errorf("%s: %+v, %v", test.summary, got, err)
		case test.err != "" && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%s: %v", test.summary, err)
		}
	}
	huge := wim(1, 1, image)
	le.PutUint64(huge[72:], 1<<40)
	if _, err := ReadWIM(bytes.NewReader(huge)); !errors.Is(err, ErrDamaged) {
		t.Errorf("an XML of a terabyte: %v", err)
	}
}

func FuzzWIM(f *testing.F) {
	for _, test := range wims {
		f.Add(test.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := ReadWIM(bytes.NewReader(data))
		if err != nil {
			return
		}
		for i, image := range w.Images {
			if image.Index != i+1 {
				t.Errorf("image %d has the index %d", i+1, image.Index)
			}
		}
	})
}

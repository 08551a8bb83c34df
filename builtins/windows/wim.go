package windows

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
)

// What a WIM file tells of itself. Its header and its XML are never compressed, unlike all
// else in it, which is left to wimlib. The format is Microsoft's "Windows Imaging File Format
// (WIM)"; that of ESD files is the same as far as this goes.

// A WIM is what is told of a file of images.
type WIM struct {
	Parts  int // of how many files it is one
	Boot   int // index of the image that is booted; 0: none is
	Images []WIMImage
}

// A WIMImage is what is told of one image.
type WIMImage struct {
	Index        int    `json:"index"`
	Name         string `json:"name"`
	Architecture string `json:"architecture"` // "amd64", "ARM64", "x86"; "": not told, or another one
	Major        int    `json:"major"`        // of the version of Windows; 0: not told
	Minor        int    `json:"minor"`
	Build        int    `json:"build"`
	Product      string `json:"product"`      // PRODUCTTYPE: "WinNT", "ServerNT"
	Installation string `json:"installation"` // INSTALLATIONTYPE: "Client", "Server", "WindowsPE"
	Edition      string `json:"edition"`      // EDITIONID
	Has          string `json:"has"`          // the digest of an injection that it has got; "": none
}

// hasProperty is where the XML of an image says what it has got, in the words of wimlib. Windows
// has no such element, and programs leave those alone that they do not know.
const hasProperty = "IMAGEBUILDER/INJECTION"

// architectures are the values of ARCH: those of PROCESSOR_ARCHITECTURE in winnt.h, by the
// names that the drivers have for them.
var architectures = map[string]string{"0": "x86", "9": "amd64", "12": "ARM64"}

// What the XML may have at most; that of media is a hundredth of it.
const (
	maxWIMText   = 16 << 20
	maxWIMImages = 1 << 10
)

// ReadWIM reads what a WIM file tells of itself.
func ReadWIM(r io.ReaderAt) (*WIM, error) {
	head := make([]byte, 208)
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.HasPrefix(head, []byte("MSWIM\x00\x00\x00")) {
		return nil, damaged("it does not begin as a WIM file does")
	}
	w := &WIM{Parts: int(le.Uint16(head[42:])), Boot: int(le.Uint32(head[120:]))}
	size, at := le.Uint64(head[72:])&(1<<56-1), le.Uint64(head[80:])
	if size > maxWIMText || at > 1<<56 {
		return nil, damaged("its XML has %d bytes", size)
	}
	text := make([]byte, size)
	if n, err := r.ReadAt(text, int64(at)); n < len(text) {
		if errors.Is(err, io.EOF) {
			return nil, damaged("it ends before its XML does")
		}
		return nil, err
	}
	images, err := parseWIMText(text)
	if err != nil {
		return nil, err
	}
	if count := le.Uint32(head[44:]); int(count) != len(images) {
		return nil, damaged("it has %d images, and its XML tells of %d", count, len(images))
	}
	w.Images = images
	return w, nil
}

// wimXML is the XML as it is. What may be missing is a pointer.
type wimXML struct {
	XMLName xml.Name `xml:"WIM"`
	Images  []struct {
		Index   int    `xml:"INDEX,attr"`
		Name    string `xml:"NAME"`
		Has     string `xml:"IMAGEBUILDER>INJECTION"`
		Windows struct {
			Architecture *string `xml:"ARCH"`
			Product      string  `xml:"PRODUCTTYPE"`
			Installation string  `xml:"INSTALLATIONTYPE"`
			Edition      string  `xml:"EDITIONID"`
			Version      struct {
				Major int `xml:"MAJOR"`
				Minor int `xml:"MINOR"`
				Build int `xml:"BUILD"`
			} `xml:"VERSION"`
		} `xml:"WINDOWS"`
	} `xml:"IMAGE"`
}

// parseWIMText reads the XML of a WIM file: UTF-16, little-endian, with a byte order mark.
func parseWIMText(text []byte) ([]WIMImage, error) {
	units := make([]uint16, len(text)/2)
	for i := range units {
		units[i] = le.Uint16(text[2*i:])
	}
	if len(units) > 0 && units[0] == 0xfeff {
		units = units[1:]
	}
	var parsed wimXML
	if err := xml.Unmarshal([]byte(string(utf16.Decode(units))), &parsed); err != nil {
		return nil, damaged("its XML: %v", err)
	}
	if len(parsed.Images) == 0 || len(parsed.Images) > maxWIMImages {
		return nil, damaged("its XML tells of %d images", len(parsed.Images))
	}
	images := make([]WIMImage, len(parsed.Images))
	for i, p := range parsed.Images {
		if p.Index != i+1 {
			return nil, damaged("image %d of its XML has the index %d", i+1, p.Index)
		}
		images[i] = WIMImage{
			Index: p.Index, Name: p.Name, Has: p.Has,
			Major: p.Windows.Version.Major, Minor: p.Windows.Version.Minor, Build: p.Windows.Version.Build,
			Product: p.Windows.Product, Installation: p.Windows.Installation, Edition: p.Windows.Edition,
		}
		if a := p.Windows.Architecture; a != nil {
			images[i].Architecture = architectures[*a]
		}
	}
	return images, nil
}

// String is what an image is called.
func (i WIMImage) String() string { return fmt.Sprintf("%d, %s", i.Index, i.Name) }

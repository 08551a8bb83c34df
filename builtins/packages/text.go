package packages

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Databases of text.

// parseDpkg reads the stanzas of deb-control(5), of which opkg writes such, too. Installed-Size
// is KiB of dpkg, and bytes of opkg.
func parseDpkg(name, text string) ([]Package, error) {
	unit := int64(1024)
	if strings.Contains(name, "/opkg/") {
		unit = 1
	}
	var found []Package
	for stanza := range strings.SplitSeq(text, "\n\n") {
		fields := controlFields(stanza)
		if status, ok := fields["Status"]; fields["Package"] == "" || ok && !strings.HasSuffix(status, " installed") {
			continue
		}
		source, version, _ := strings.Cut(fields["Source"], " ") // such as glibc (2.36-9)
		found = append(found, Package{
			Name: fields["Package"], Version: fields["Version"], Arch: fields["Architecture"], Size: number(fields["Installed-Size"], unit),
			Source: source, SourceVersion: strings.Trim(version, "()"), Several: fields["Multi-Arch"] == "same", Homepage: fields["Homepage"], Maintainer: fields["Maintainer"], Summary: fields["Description"],
			License: fields["License"],
		})
	}
	return found, nil
}

// controlFields are the first lines of the fields of a stanza.
func controlFields(stanza string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.SplitSeq(stanza, "\n") {
		key, value, ok := strings.Cut(line, ":")
		if ok && key != "" && key[0] != ' ' && key[0] != '\t' {
			fields[key] = strings.TrimSpace(value)
		}
	}
	return fields
}

// parseAPK reads the records of apk-tools, whose fields are letters:
// https://wiki.alpinelinux.org/wiki/Apk_spec.
func parseAPK(_, text string) ([]Package, error) {
	var found []Package
	for record := range strings.SplitSeq(text, "\n\n") {
		fields := make(map[byte]string)
		for line := range strings.SplitSeq(record, "\n") {
			if len(line) > 2 && line[1] == ':' {
				fields[line[0]] = line[2:]
			}
		}
		if fields['P'] == "" {
			continue
		}
		p := Package{
			Name: fields['P'], Version: fields['V'], Arch: fields['A'], Size: number(fields['I'], 1), Source: fields['o'],
			License: fields['L'], Homepage: fields['U'], Maintainer: fields['m'], Summary: fields['T'],
		}
		if p.Source == p.Name {
			p.Source = ""
		}
		found = append(found, p)
	}
	return found, nil
}

// parsePacman reads a file desc: a name in percent signs, and its values on the lines that follow.
func parsePacman(_, text string) ([]Package, error) {
	fields := make(map[string]string)
	for part := range strings.SplitSeq(text, "\n\n") {
		key, values, _ := strings.Cut(strings.Trim(part, "\n"), "\n")
		fields[strings.Trim(key, "%")] = values
	}
	p := Package{
		Name: fields["NAME"], Version: fields["VERSION"], Arch: fields["ARCH"], Size: number(fields["SIZE"], 1),
		License: strings.ReplaceAll(fields["LICENSE"], "\n", " AND "), Homepage: fields["URL"], Maintainer: fields["PACKAGER"], Summary: fields["DESC"],
		Source: fields["BASE"],
	}
	if p.Name == "" {
		return nil, errors.New("it names no package")
	}
	if p.Source == p.Name {
		p.Source = ""
	}
	return []Package{p}, nil
}

// parseXBPS reads a property list: a dictionary of packages, each of which is one of facts.
func parseXBPS(_, text string) ([]Package, error) {
	var found []Package
	in := xml.NewDecoder(strings.NewReader(text))
	in.Strict = true
	depth, key, inner := 0, "", ""
	var p *Package
	for {
		token, err := in.Token()
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			inner = ""
			if t.Name.Local == "dict" || t.Name.Local == "array" {
				if depth++; depth == 2 && t.Name.Local == "dict" && !strings.HasPrefix(key, "_XBPS_") {
					p = &Package{Name: key}
				}
			}
		case xml.CharData:
			inner += string(t)
		case xml.EndElement:
			switch name := t.Name.Local; {
			case name == "dict" || name == "array":
				if depth == 2 && p != nil {
					if p.Version == "" {
						return nil, fmt.Errorf("the package %q has no version", p.Name)
					}
					found, p = append(found, *p), nil
				}
				depth--
			case name == "key":
				key = inner
			case depth == 2 && p != nil:
				p.setXBPS(key, inner)
			}
		}
	}
}

func (p *Package) setXBPS(key, value string) {
	switch key {
	case "pkgver":
		p.Version = strings.TrimPrefix(value, p.Name+"-")
	case "architecture":
		p.Arch = value
	case "installed_size":
		p.Size = number(value, 1)
	case "homepage":
		p.Homepage = value
	case "license":
		p.License = value
	case "maintainer":
		p.Maintainer = value
	case "short_desc":
		p.Summary = value
	}
}

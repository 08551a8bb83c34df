package windows

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// INF files, as far as they tell what a driver is. Their syntax is that of "General Syntax
// Rules for INF Files" and "INF Version Section" in Microsoft's documentation of drivers.

// An INF is what the section Version of an INF file tells.
type INF struct {
	Class     string `json:"class"`
	ClassGUID string `json:"class_guid"` // as it is spelt there, with braces
	Provider  string `json:"provider"`
	Catalog   string `json:"catalog"` // CatalogFile, or one for a platform
	Date      string `json:"date"`    // of DriverVer, as MM/DD/YYYY
	Version   string `json:"version"` // of DriverVer, as a.b.c.d

	// Two values of the registry that are made of these, in hexadecimal: FileTime is the date,
	// Rank what the database of drivers calls Version.
	FileTime string `json:"file_time"`
	Rank     string `json:"rank"`

	Problem string `json:"problem"` // why nothing else is known of it; "": all is
}

// maxINF is how long a file may be, in bytes; those of drivers have some kilobytes.
const maxINF = 4 << 20

// ParseINF reads an INF file, in UTF-16 or in bytes of which those that count are ASCII.
func ParseINF(data []byte) (*INF, error) {
	if len(data) > maxINF {
		return nil, fmt.Errorf("an INF file of more than %d bytes", maxINF)
	}
	sections := parseINF(infText(data))
	version, ok := sections["version"]
	if !ok {
		return nil, fmt.Errorf("it has no section [Version], which INF files have")
	}
	expand := func(text string) string {
		return infString.ReplaceAllStringFunc(text, func(token string) string {
			if token == "%%" {
				return "%"
			}
			if value, ok := sections["strings"][strings.ToLower(strings.Trim(token, "%"))]; ok {
				return value
			}
			return token
		})
	}
	inf := &INF{
		Class:     expand(version["class"]),
		ClassGUID: expand(version["classguid"]),
		Provider:  expand(version["provider"]),
		Catalog:   expand(version["catalogfile"]),
	}
	for key, value := range version {
		if inf.Catalog == "" && strings.HasPrefix(key, "catalogfile.") {
			inf.Catalog = expand(value)
		}
	}
	guid, err := guidBytes(inf.ClassGUID)
	if err != nil {
		return nil, err
	}
	return inf, inf.driverVersion(expand(version["driverver"]), guid)
}

var (
	infString = regexp.MustCompile(`%[^%\r\n]*%`)
	guidText  = regexp.MustCompile(`^\{[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}$`)
)

// infText decodes an INF file: UTF-16 or UTF-8 by their marks, UTF-16 also by the zeros of its
// first letters, else bytes.
func infText(data []byte) string {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		order, data = binary.LittleEndian, data[2:]
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		order, data = binary.BigEndian, data[2:]
	case len(data) > 3 && data[1] == 0 && data[3] == 0:
		order = binary.LittleEndian
	default:
		return string(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return string(utf16.Decode(units))
}

// parseINF returns the entries of all sections, names and keys in lower case. A section that
// comes again goes on; of a key the first value counts.
func parseINF(text string) map[string]map[string]string {
	sections := make(map[string]map[string]string)
	var section map[string]string
	line := ""
	for part := range strings.Lines(text) {
		part = strings.TrimSpace(cutComment(part))
		if more, ok := strings.CutSuffix(part, `\`); ok {
			line += more
			continue
		}
		line += part
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ = strings.Cut(name, "]")
			name = strings.ToLower(strings.TrimSpace(name))
			if section = sections[name]; section == nil {
				section = make(map[string]string)
				sections[name] = section
			}
		} else if key, value, ok := strings.Cut(line, "="); ok && section != nil {
			key = strings.ToLower(strings.Trim(strings.TrimSpace(key), `"`))
			if _, ok := section[key]; !ok {
				section[key] = unquoteINF(strings.TrimSpace(value))
			}
		}
		line = ""
	}
	return sections
}

// cutComment takes away what stands behind a semicolon outside of quotes.
func cutComment(line string) string {
	quoted := false
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return line[:i]
		}
	}
	return line
}

// unquoteINF takes the quotes off a value that is one quoted text.
func unquoteINF(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return strings.ReplaceAll(value[1:len(value)-1], `""`, `"`)
	}
	return value
}

// guidBytes are a GUID as Windows keeps it: its first three fields are little-endian.
func guidBytes(text string) ([]byte, error) {
	if !guidText.MatchString(text) {
		return nil, fmt.Errorf("its ClassGuid is %q, which is no GUID in braces", text)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Trim(text, "{}"), "-", ""))
	if err != nil {
		return nil, err
	}
	for _, field := range [][]byte{b[0:4], b[4:6], b[6:8]} {
		for i, j := 0, len(field)-1; i < j; i, j = i+1, j-1 {
			field[i], field[j] = field[j], field[i]
		}
	}
	return b, nil
}

// driverVersion reads a DriverVer: MM/DD/YYYY,a.b.c.d.
func (inf *INF) driverVersion(text string, guid []byte) error {
	date, version, _ := strings.Cut(text, ",")
	inf.Date, inf.Version = strings.TrimSpace(date), strings.TrimSpace(version)
	wrong := fmt.Errorf("its DriverVer is %q, not MM/DD/YYYY,a.b.c.d", text)
	day, err := time.Parse("1/2/2006", inf.Date)
	if err != nil {
		return wrong
	}
	numbers := strings.Split(inf.Version, ".")
	if len(numbers) != 4 {
		return wrong
	}
	rank := []byte{0, 0xff, 9, 0, 0, 0, 0, 0}
	rank = append(rank, guid...)
	fileTime := le.AppendUint64(nil, fileTime(day))
	rank = append(rank, fileTime...)
	for i := range numbers {
		n, err := strconv.ParseUint(numbers[len(numbers)-1-i], 10, 16)
		if err != nil {
			return wrong
		}
		rank = le.AppendUint16(rank, uint16(n))
	}
	inf.FileTime, inf.Rank = hex.EncodeToString(fileTime), hex.EncodeToString(append(rank, make([]byte, 8)...))
	return nil
}

// fileTime is a time in units of 100 ns since 1601.
func fileTime(t time.Time) uint64 {
	const untilUnix = 11_644_473_600 // seconds
	return uint64(t.Unix()+untilUnix) * 10_000_000
}

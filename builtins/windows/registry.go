package windows

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Registry values, and the text that hivexregedit merges into a hive.

// A Key is a key of the registry and what it is to have. Other values of it stay.
type Key struct {
	Path   string  `json:"key"` // from the root of the hive, with backslashes
	Values []Value `json:"values,omitempty"`
}

// A Value is a value of the registry; the name "" is the default one.
type Value struct {
	Name string `json:"name"`
	Type uint32 `json:"type"`
	Data []byte `json:"data"` // in little-endian order, texts in UTF-16 with their zeros
}

// Types are the types of values by their names in winnt.h.
var Types = map[string]uint32{
	"REG_NONE":      0,
	"REG_SZ":        1,
	"REG_EXPAND_SZ": 2,
	"REG_BINARY":    3,
	"REG_DWORD":     4,
	"REG_MULTI_SZ":  7,
	"REG_QWORD":     11,
}

// Text is a text as the registry keeps it, with its zero.
func Text(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = le.AppendUint16(b, u)
	}
	return append(b, 0, 0)
}

// CurrentControlSet begins the keys that are those of the control set that Windows starts with.
const CurrentControlSet = `CurrentControlSet\`

// Check finds what is wrong with a key.
func (k Key) Check() error {
	if k.Path == "" || strings.HasPrefix(k.Path, `\`) || strings.Contains(k.Path, `\\`) || strings.HasSuffix(k.Path, `\`) {
		return fmt.Errorf("not a key of the registry, from the root of its hive: %q", k.Path)
	}
	if strings.ContainsAny(k.Path, "\r\n\x00]") {
		return fmt.Errorf("the key %q has a character that keys cannot have here", k.Path)
	}
	for _, v := range k.Values {
		if strings.ContainsAny(v.Name, "\r\n\x00") {
			return fmt.Errorf("the key %s has a value with the name %q", k.Path, v.Name)
		}
	}
	return nil
}

// regText is the text by which hivexregedit makes the keys, with all keys above them, which it
// would not make itself. controlSet is the number of the current control set.
func regText(keys []Key, controlSet int) string {
	var b strings.Builder
	b.WriteString("Windows Registry Editor Version 5.00\n\n")
	made := make(map[string]bool)
	for _, k := range keys {
		path := k.Path
		if rest, ok := strings.CutPrefix(path, CurrentControlSet); ok {
			path = fmt.Sprintf(`ControlSet%03d\%s`, controlSet, rest)
		}
		for i, c := range path {
			if above := path[:i]; c == '\\' && !made[strings.ToLower(above)] {
				made[strings.ToLower(above)] = true
				fmt.Fprintf(&b, "[\\%s]\n\n", above)
			}
		}
		made[strings.ToLower(path)] = true
		fmt.Fprintf(&b, "[\\%s]\n", path)
		for _, v := range k.Values {
			b.WriteString(v.reg() + "\n")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// reg is a value as a line. Numbers are written as such, all else as bytes, whatever is in it.
func (v Value) reg() string {
	name := "@"
	if v.Name != "" {
		name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v.Name) + `"`
	}
	if v.Type == Types["REG_DWORD"] && len(v.Data) == 4 {
		return fmt.Sprintf("%s=dword:%08x", name, le.Uint32(v.Data))
	}
	digits := make([]string, len(v.Data))
	for i, c := range v.Data {
		digits[i] = hex.EncodeToString([]byte{c})
	}
	return fmt.Sprintf("%s=hex(%x):%s", name, v.Type, strings.Join(digits, ","))
}

// String is a value as people read it.
func (v Value) String() string {
	name, kind := v.Name, fmt.Sprintf("%#x", v.Type)
	if name == "" {
		name = "(default)"
	}
	for text, number := range Types {
		if number == v.Type {
			kind = text
		}
	}
	return fmt.Sprintf("%s = %s %s", name, kind, v.data())
}

func (v Value) data() string {
	switch {
	case v.Type == Types["REG_DWORD"] && len(v.Data) == 4:
		return fmt.Sprintf("%#x", le.Uint32(v.Data))
	case v.Type == Types["REG_BINARY"] || v.Type == Types["REG_QWORD"] || len(v.Data)%2 != 0:
		return fmt.Sprintf("% x", v.Data)
	}
	units := make([]uint16, len(v.Data)/2)
	for i := range units {
		units[i] = le.Uint16(v.Data[2*i:])
	}
	return fmt.Sprintf("%q", strings.Split(strings.TrimRight(string(utf16.Decode(units)), "\x00"), "\x00"))
}

// UnmarshalJSON reads a value as recipes say it: its name, its type, by its name or its number,
// and its data. That is a number; a text; a list of texts, of REG_MULTI_SZ; or the bytes of any
// other type as hexadecimal digits, between which there may be blanks.
func (v *Value) UnmarshalJSON(text []byte) error {
	var said [3]json.RawMessage
	if err := json.Unmarshal(text, &said); err != nil {
		return fmt.Errorf("not a value of the registry, which is a list of name, type and data: %s", text)
	}
	err := json.Unmarshal(said[0], &v.Name)
	var name string
	if json.Unmarshal(said[1], &name) == nil {
		known := false
		if v.Type, known = Types[name]; !known {
			return fmt.Errorf("there is no type %s of registry values", name)
		}
	} else {
		err = errors.Join(err, json.Unmarshal(said[1], &v.Type))
	}
	if err != nil {
		return err
	}
	if v.Data, err = v.parse(said[2]); err != nil {
		return fmt.Errorf("the value %q: %w", v.Name, err)
	}
	return nil
}

// parse reads what a recipe says as the data of a value.
func (v *Value) parse(said json.RawMessage) ([]byte, error) {
	switch v.Type {
	case Types["REG_DWORD"]:
		var n uint32
		err := json.Unmarshal(said, &n)
		return le.AppendUint32(nil, n), err
	case Types["REG_QWORD"]:
		var n uint64
		err := json.Unmarshal(said, &n)
		return le.AppendUint64(nil, n), err
	case Types["REG_MULTI_SZ"]:
		var texts []string
		err := json.Unmarshal(said, &texts)
		var b []byte
		for _, text := range texts {
			b = append(b, Text(text)...)
		}
		return append(b, 0, 0), err
	}
	var text string
	if err := json.Unmarshal(said, &text); err != nil {
		return nil, err
	}
	if v.Type == Types["REG_BINARY"] || v.Type == Types["REG_NONE"] {
		return hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	}
	return Text(text), nil
}

// ParseEdits reads edits as recipes say them, in JSON.
func ParseEdits(text []byte) ([]Edit, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var edits []Edit
	if err := d.Decode(&edits); err != nil {
		return nil, err
	}
	for _, e := range edits {
		if e.Injection == nil {
			return nil, fmt.Errorf("image %d of %s has no injection", e.Index, e.File)
		}
		if err := e.Check(); err != nil {
			return nil, err
		}
	}
	return edits, nil
}

package windows

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var valuesOfRegistry = []struct{ said, reg, text, err string }{
	{said: `["a", "REG_SZ", "x"]`, reg: `"a"=hex(1):78,00,00,00`, text: `a = REG_SZ ["x"]`},
	{said: `["", "REG_SZ", ""]`, reg: `@=hex(1):00,00`, text: `(default) = REG_SZ [""]`},
	{said: `["a\\\"", "REG_EXPAND_SZ", "%x%"]`, reg: `"a\\\""=hex(2):25,00,78,00,25,00,00,00`, text: `a\" = REG_EXPAND_SZ ["%x%"]`},
	{said: `["a", "REG_MULTI_SZ", ["x", "y"]]`, reg: `"a"=hex(7):78,00,00,00,79,00,00,00,00,00`, text: `a = REG_MULTI_SZ ["x" "y"]`},
	{said: `["a", "REG_DWORD", 4294967295]`, reg: `"a"=dword:ffffffff`, text: `a = REG_DWORD 0xffffffff`},
	{said: `["a", "REG_QWORD", 258]`, reg: `"a"=hex(b):02,01,00,00,00,00,00,00`, text: `a = REG_QWORD 02 01 00 00 00 00 00 00`},
	{said: `["a", "REG_BINARY", "01 ff"]`, reg: `"a"=hex(3):01,ff`, text: `a = REG_BINARY 01 ff`},
	{said: `["a", "REG_NONE", ""]`, reg: `"a"=hex(0):`, text: `a = REG_NONE [""]`},
	{said: `["a", 4294901778, "é"]`, reg: `"a"=hex(ffff0012):e9,00,00,00`, text: `a = 0xffff0012 ["é"]`},
	{said: `["a", "REG_X", ""]`, err: "no type REG_X"},
	{said: `["a", "REG_DWORD", 4294967296]`, err: `the value "a"`},
	{said: `["a", "REG_DWORD", -1]`, err: `the value "a"`},
	{said: `["a", "REG_BINARY", "0"]`, err: `the value "a"`},
	{said: `["a", "REG_SZ", 1]`, err: `the value "a"`},
	{said: `"a"`, err: "not a value of the registry"},
}

func TestValue(t *testing.T) {
	for _, test := range valuesOfRegistry {
		var v Value
		err := json.Unmarshal([]byte(test.said), &v)
		switch {
		case test.err == "" && (err != nil || v.reg() != test.reg || v.String() != test.text):
			t.Errorf("%s: %v, %s, %s", test.said, err, v.reg(), v)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%s: %v", test.said, err)
		}
	}
}

// hivexregedit takes the text, whatever the hive has of it, and all values are in the hive then.
func TestRegText(t *testing.T) {
	if _, err := exec.LookPath("hivexregedit"); err != nil {
		t.Skip("needs hivexregedit: apt-get install libwin-hivex-perl")
	}
	var keys []Key
	for _, path := range []string{`CurrentControlSet\Services\x`, `Deep\er\{4d36e97b}\%SystemRoot%/System32/x.sys`} {
		k := Key{Path: path}
		for _, test := range valuesOfRegistry {
			var v Value
			if json.Unmarshal([]byte(test.said), &v) == nil && !strings.Contains(test.said, "0012") {
				v.Name += test.reg[len(test.reg)-2:] // each another
				k.Values = append(k.Values, v)
			}
		}
		keys = append(keys, k)
	}
	data, err := os.ReadFile("../../testdata/windows/empty.hive")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	hive, reg := filepath.Join(dir, "HIVE"), filepath.Join(dir, "reg")
	text := regText(keys, 7)
	if err := os.WriteFile(hive, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(reg, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also if all of it is there
		if out, err := exec.Command("hivexregedit", "--merge", hive, reg).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, text)
		}
	}
	out, err := exec.Command("hivexregedit", "--export", hive, `\ControlSet007\Services\x`).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, v := range keys[0].Values {
		if !strings.Contains(string(out), v.reg()+"\n") {
			t.Errorf("%s is not in\n%s", v.reg(), out)
		}
	}
}

func TestParseEdits(t *testing.T) {
	edit := func(injection string) string {
		return `[{"file": "sources/boot.wim", "index": 1, "image": "x", "injection": ` + injection + `}]`
	}
	for injection, want := range map[string]string{
		`{"files": [{"source": "a", "sha256": "b", "to": ["Windows/x"]}]}`: "",
		`{"files": [{"source": "a", "to": ["../x"]}]}`:                     "not a path in an image",
		`{"files": [{"source": "a", "to": ["a\"b"]}]}`:                     "not a path in an image",
		`{"moves": [{"from": "a\nb", "to": "x"}]}`:                         "not a path in an image",
		`{"hives": [{"path": "/x"}]}`:                                      "not a path in an image",
		`{"hives": [{"path": "x", "keys": [{"key": "\\a"}]}]}`:             "not a key of the registry",
		`{"hives": [{"path": "x", "keys": [{"key": "a]\n[b"}]}]}`:          "has a character",
		`{"files": [], "fils": []}`:                                        "unknown field",
		`null`:                                                             "has no injection",
	} {
		_, err := ParseEdits([]byte(edit(injection)))
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", injection, err)
		}
	}
}

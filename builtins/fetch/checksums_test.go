package fetch_test

import (
	"strings"
	"testing"

	"imagebuilder/builtins/fetch"
)

var (
	sum256 = strings.Repeat("ab", 32)
	old256 = strings.Repeat("cd", 32)
	sum512 = strings.Repeat("0f", 64)
	blake  = strings.Repeat("1e", 64)
)

func TestChecksum(t *testing.T) {
	const file = "https://host/dir/a%20b/root.tar.xz"
	tests := []struct {
		summary   string
		list      string // URL of the checksum file; "": SHA256SUMS beside the file
		file      string // "": file
		algorithm string // "": sha256
		text      string
		want      string
		err       string
	}{
		{summary: "coreutils, text", text: old256 + "  other\n" + sum256 + "  root.tar.xz\n", want: sum256},
		{summary: "coreutils, binary", text: sum256 + " *root.tar.xz\n", want: sum256},
		{summary: "a tab", text: sum256 + "\troot.tar.xz\n", want: sum256},
		{summary: "line ends of Windows", text: sum256 + "  root.tar.xz\r\n", want: sum256},
		{summary: "no line end", text: sum256 + "  root.tar.xz", want: sum256},
		{summary: "indented", text: "  " + sum256 + "  root.tar.xz\n", want: sum256},
		{summary: "upper case", text: strings.ToUpper(sum256) + "  root.tar.xz\n", want: sum256},
		{summary: "a directory", text: sum256 + "  ./images/root.tar.xz\n", want: sum256},
		{summary: "BSD", text: "# root.tar.xz: 99 bytes\nSHA256 (root.tar.xz) = " + sum256 + "\n", want: sum256},
		{summary: "BSD, another algorithm beside", text: "MD5 (root.tar.xz) = 00112233445566778899aabbccddeeff\nSHA256 (root.tar.xz) = " + sum256 + "\n", want: sum256},
		{summary: "openssl", text: "SHA2-256(root.tar.xz)= " + sum256 + "\n", want: sum256},
		{summary: "a name with a blank", file: "https://host/dir/a%20b", text: sum256 + "  a b\n" + old256 + "  b\n", want: sum256},
		{summary: "a name with an escape", file: `https://host/dir/a%5Cb`, text: `\` + sum256 + `  a\\b` + "\n", want: sum256},
		{summary: "a bare digest in a file named so", list: file + ".sha256", text: sum256 + "\n", want: sum256},
		{summary: "a bare digest in a file named so, too", list: file + ".SHA256SUM", text: sum256 + "\n", want: sum256},
		{summary: "a bare digest of anything", text: sum256 + "\n", err: "there is no checksum in it"},
		{summary: "a bare digest of another file", list: "https://host/x.sha256", text: sum256 + "\n", err: "there is no checksum in it"},
		{summary: "DIGESTS", algorithm: "sha512",
			text: "# BLAKE2B HASH\n" + blake + "  root.tar.xz\n# SHA512 HASH\n" + sum512 + "  root.tar.xz\n# SHA512 HASH\n" + blake + "  root.tar.xz.CONTENTS.gz\n", want: sum512},
		{summary: "the same digest twice", text: sum256 + "  root.tar.xz\n" + strings.ToUpper(sum256) + " *root.tar.xz\n", want: sum256},
		{summary: "two digests", text: sum256 + "  root.tar.xz\n" + old256 + "  root.tar.xz\n", err: "it has 2 different digests of root.tar.xz"},
		{summary: "two digests, of which one is of the same directory", list: "https://host/dir/SUMS",
			text: sum256 + "  a b/root.tar.xz\n" + old256 + "  c/root.tar.xz\n", want: sum256},
		{summary: "longer and shorter names", text: sum256 + "  root.tar.xz.old\n" + sum256 + "  xroot.tar.xz\n" + sum256 + "  root.tar\n",
			err: "it does not name root.tar.xz, but root.tar.xz.old, xroot.tar.xz, root.tar"},
		{summary: "many names", text: sum256 + "  1\n" + sum256 + "  2\n" + sum256 + "  3\n" + sum256 + "  4\n" + sum256 + "  5\n" + sum256 + "  6\n",
			err: "it does not name root.tar.xz, but 1, 2, 3, 4, 5 and 1 more"},
		{summary: "another algorithm", algorithm: "sha512", text: sum256 + "  root.tar.xz\n", err: "it has no SHA512 of root.tar.xz, but 64 hex digits"},
		{summary: "another algorithm that is named", algorithm: "sha512", text: "BLAKE2B (root.tar.xz) = " + blake + "\n", err: "it has no SHA512 of root.tar.xz, but BLAKE2B"},
		{summary: "something else", text: "<html>" + sum256 + " root.tar.xz</html>", err: "there is no checksum in it"},
		{summary: "nothing", err: "there is no checksum in it"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			list, wanted, algorithm := test.list, test.file, test.algorithm
			if wanted == "" {
				wanted = file
			}
			if list == "" {
				list = "https://host/dir/a%20b/SHA256SUMS"
			}
			if algorithm == "" {
				algorithm = "sha256"
			}
			got, err := fetch.Checksum([]byte(test.text), list, wanted, algorithm)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// Whatever stands in a checksum file, what is taken from it is a digest, in lower case, that
// stands there.
func FuzzChecksum(f *testing.F) {
	f.Add([]byte("# SHA256 HASH\n" + sum256 + " *./x/root.tar.xz\n"))
	f.Add([]byte("SHA256 (root.tar.xz) = " + sum256))
	f.Add([]byte(`\` + sum256 + `  a\n\\root.tar.xz`))
	f.Add([]byte(sum256))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := fetch.Checksum(text, "https://h/root.tar.xz.sha256", "https://h/root.tar.xz", "sha256")
		if err == nil && (len(got) != 64 || !strings.Contains(strings.ToLower(string(text)), got)) {
			t.Errorf("%q gives %q", text, got)
		}
	})
}

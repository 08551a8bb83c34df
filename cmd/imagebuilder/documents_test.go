package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/lxd"
)

// What documents show is tried. Blocks of python are recipes, or parts of the function main of
// one, which are planned; of sh, every command line of the tool is parsed and recipes that it
// runs are planned, and blocks that are marked "sh run" are run; yaml is a definition, ini a
// drop-in of a unit. A first line "# NAME" makes a block a file, which later blocks may use.

// A codeBlock is one of a document.
type codeBlock struct {
	at   string // file:line of its first line
	kind string // python, sh, sh run, ...
	text string
}

// name is the file that the block is, or "".
func (b codeBlock) name() string {
	found := regexp.MustCompile(`^# ([\w-]+\.(?:star|yaml|service))\n`).FindStringSubmatch(b.text)
	if found == nil {
		return ""
	}
	return found[1]
}

// codeBlocks returns those of a document.
func codeBlocks(t *testing.T, file string) []codeBlock {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []codeBlock
	inside := false
	for i, line := range strings.SplitAfter(string(data), "\n") {
		kind, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && !inside:
			blocks = append(blocks, codeBlock{at: fmt.Sprintf("%s:%d", file, i+2), kind: kind})
			inside = true
		case isFence:
			inside = false
		case inside:
			blocks[len(blocks)-1].text += line
		}
	}
	if inside {
		t.Fatalf("%s: its last block has no end", file)
	}
	return blocks
}

// documents are all of the repository.
func documents(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return fs.SkipDir
		}
		if err == nil && filepath.Ext(name) == ".md" {
			files = append(files, name)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	return files
}

func TestDocuments(t *testing.T) {
	t.Setenv("IMAGEBUILDER_CACHE", t.TempDir())
	dir := t.TempDir()
	for _, file := range documents(t) { // README.md, which has what others use, is the first
		for _, block := range codeBlocks(t, file) {
			if err := tryBlock(t, block, dir); err != nil {
				t.Errorf("%s: %v", strings.TrimPrefix(block.at, "../../"), err)
			}
		}
	}
}

// tryBlock tries one in a directory that has the files of those before.
func tryBlock(t *testing.T, block codeBlock, dir string) error {
	name := block.name()
	if name != "" {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(block.text), 0o644); err != nil {
			return err
		}
	}
	switch block.kind {
	case "": // what is shown, not to be done
		return nil
	case "python":
		return tryRecipe(block, dir)
	case "yaml":
		return quietly(dir, "imagebuilder", "validate", name)
	case "ini":
		return tryUnit(t, block)
	case "sh", "sh run":
		if err := tryCommands(block, dir); err != nil || block.kind == "sh" {
			return err
		}
		return runCommands(t, block, dir)
	}
	return fmt.Errorf("nothing tries blocks of %q: write python, sh, sh run, yaml, ini, or nothing", block.kind)
}

// quietly runs a program, whose output the error has.
func quietly(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// around is what a part of main finds: the words that documents use for what a reader has.
const around = `load("@stdlib//sources/debian.star", "debootstrap")
KEY = "0123456789ABCDEF0123456789ABCDEF01234567"
url = "https://example.org"
def main():
    img = image("debian", "trixie")
    root = debootstrap(img, url = "http://ftp.debian.org/debian")
    t = trust(url, keys = [KEY])
    sums = checksums(url + "/SHA256SUMS", t, signature = url + "/SHA256SUMS.gpg")
`

func tryRecipe(block codeBlock, dir string) error {
	name := block.name()
	if strings.HasSuffix(name, "_test.star") {
		return nil // run by a block that says how
	}
	text := block.text
	if strings.Contains(text, "\ncells(") {
		return quietly(dir, "imagebuilder", "matrix", "run", name, "--list")
	}
	if !strings.Contains(text, "\ndef main():") {
		text = around + regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(text, "    $1")
	}
	if name == "" {
		name = "block.star"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return quietly(dir, "imagebuilder", "plan", name)
}

// tryUnit lets systemd read a unit with a drop-in.
func tryUnit(t *testing.T, block codeBlock) error {
	unit, err := os.ReadFile("../../streams/systemd/" + block.name())
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		return nil // TestUnits is skipped there, and says so
	}
	file := filepath.Join(t.TempDir(), block.name())
	if err := os.WriteFile(file, append(append(unit, '\n'), block.text...), 0o644); err != nil {
		return err
	}
	return verifyUnits(t.TempDir(), file)
}

// others are the programs besides the tool that documents use.
var others = []string{"echo", "export", "make", "lxc", "incus", "systemctl", "journalctl", "openssl", "skopeo", "docker", "kubectl"}

// tryCommands parses the command lines of a block, and plans recipes that they run.
func tryCommands(block codeBlock, dir string) error {
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader(block.text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sh cannot read it: %w\n%s", err, out)
	}
	text := regexp.MustCompile(`(?m)(^|\s)#.*$`).ReplaceAllString(block.text, "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	for _, line := range regexp.MustCompile(`\n|&&|;`).Split(text, -1) {
		line, into, redirected := strings.Cut(line, ">")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := tryCommand(words, dir); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
		}
		if redirected && words[1] == "convert" {
			cmd := exec.Command(words[0], words[1:]...)
			cmd.Dir = dir
			out, err := cmd.Output()
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, strings.TrimSpace(into)), out, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func tryCommand(words []string, dir string) error {
	var root *cobra.Command
	switch words[0] {
	case "imagebuilder":
		root = newRootCommand()
	case "lxd-imagebuilder":
		root = newOldBuilderCommand(words[0], lxd.LXD)
	case "distrobuilder":
		root = newOldBuilderCommand(words[0], lxd.Incus)
	case "simplestream-maintainer":
		root = newOldMaintainer().root
	case "make":
		return makeTargets(words[1:])
	default:
		if !slices.Contains(others, words[0]) {
			return fmt.Errorf("documents use no program %s yet", words[0])
		}
		return nil
	}
	cmd, rest, err := root.Find(words[1:])
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		return err
	}
	args := cmd.Flags().Args()
	if cmd.Parent().Name() == "matrix" {
		if cmd.Name() == "run" && !filepath.IsAbs(args[0]) { // else one of the reader's machine
			return quietly(dir, words[0], append(words[1:], "--list")...)
		}
		return nil
	}
	switch cmd.Name() {
	case "init":
		return quietly(dir, words[0], words[1:]...)
	case "run":
		if args[0] == "recipe.star" { // the reader's own
			return nil
		}
		options, err := cmd.Flags().GetStringArray("option")
		if err != nil {
			return err
		}
		plan := []string{"plan", args[0]}
		for _, option := range options {
			plan = append(plan, "-o", option)
		}
		return quietly(dir, words[0], plan...)
	case "options":
		return quietly(dir, words[0], words[1:]...)
	}
	return nil
}

// makeTargets looks targets up in the Makefile.
func makeTargets(targets []string) error {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		return err
	}
	for _, target := range targets {
		if !bytes.Contains(makefile, []byte("\n"+target+":")) && !strings.Contains(target, "=") {
			return fmt.Errorf("the Makefile has no target %s", target)
		}
	}
	return nil
}

// runCommands runs a block where out has an image, and /srv only what blocks have put there.
func runCommands(t *testing.T, block codeBlock, dir string) error {
	if os.Geteuid() != 0 || exec.Command("unshare", "--mount", "true").Run() != nil {
		t.Logf("%s: not run: that needs root, and mounts of its own", block.at)
		return nil
	}
	if _, err := os.Stat("/bin/busybox"); err != nil {
		t.Logf("%s: not run: needs busybox-static", block.at)
		return nil
	}
	srv := filepath.Join(dir, "srv")
	if _, err := os.Stat(srv); err != nil {
		if err := os.Mkdir(srv, 0o755); err != nil {
			return err
		}
		if err := makeOut(dir); err != nil {
			return err
		}
	}
	return quietly(dir, "unshare", "--mount", "sh", "-c", `mount --bind "$1" /srv && exec sh -eu -c "$2"`, "sh", srv, block.text)
}

// makeOut builds what the recipe debian would leave in out, but of BusyBox.
func makeOut(dir string) error {
	base, err := filepath.Abs("../../testdata/recipes/busybox.star")
	if err != nil {
		return err
	}
	const recipe = `load("busybox.star", "busybox")

def main():
    img = image("debian", "trixie")
    pack_lxd(busybox(img), img)
`
	if err := quietly(dir, "cp", base, "."); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "out.star"), []byte(recipe), 0o644); err != nil {
		return err
	}
	return quietly(dir, "imagebuilder", "run", "out.star", "out")
}

// The errors that are explained are those that there are.
func TestExplainedErrors(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(text), -1)
	if len(rows) < 10 {
		t.Fatalf("README.md explains only %d errors", len(rows))
	}
	all := sources(t)
	for _, row := range rows {
		for part := range strings.SplitSeq(row[1], "…") {
			if part = strings.TrimSpace(part); !strings.Contains(all, part) {
				t.Errorf("README.md explains %q, but nothing says %q", row[1], part)
			}
		}
	}
}

// sources is the text of all files that errors can come from, with texts that stand on two
// lines put together.
func sources(t *testing.T) string {
	t.Helper()
	var all bytes.Buffer
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, "_test.go") || filepath.Ext(name) != ".go" && filepath.Ext(name) != ".star" {
			return err
		}
		data, err := os.ReadFile(name)
		all.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`" \+\n\s*"`).ReplaceAllString(all.String(), "")
}

// Links between documents, and to files and headings, lead somewhere.
func TestDocumentLinks(t *testing.T) {
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			target := file
			if link[1] != "" {
				target = filepath.Join(filepath.Dir(file), link[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: (%s%s): %v", file, link[1], link[2], err)
			} else if link[2] != "" && !slices.Contains(anchors(t, target), link[2]) {
				t.Errorf("%s: (%s%s): no such heading", file, link[1], link[2])
			}
		}
	}
}

// anchors are those that a document's headings get.
func anchors(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		plain := regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		list = append(list, "#"+strings.ReplaceAll(plain, " ", "-"))
	}
	return list
}

// Every verb has its place in a document, and documents name no others.
func TestDocumentedVerbs(t *testing.T) {
	named := make(map[string]string)
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, span := range regexp.MustCompile("`(?:sudo )?imagebuilder ([a-z-]+)").FindAllStringSubmatch(string(text), -1) {
			named[span[1]] = file
		}
	}
	for _, cmd := range newRootCommand().Commands() {
		if _, ok := named[cmd.Name()]; !ok && cmd.Name() != "version" {
			t.Errorf("no document names imagebuilder %s", cmd.Name())
		}
		delete(named, cmd.Name())
	}
	for verb, file := range named {
		t.Errorf("%s: there is no imagebuilder %s", file, verb)
	}
}

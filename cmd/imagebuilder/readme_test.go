package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Who follows the README to the letter, on a machine that has make and Go and nothing else,
// gets what it promises. Only the mirror is this machine's own, not the one that recipes name.
func TestRealReadme(t *testing.T) {
	needAll(t)
	root := cleanDebian(t)
	goTree := strings.Fields(output(t, nil, "go", "env", "GOROOT", "GOMODCACHE"))
	root.binds["/usr/local/go"] = goTree[0]
	root.binds["/root/go/pkg/mod"] = goTree[1]
	home := filepath.Join(root.dir, "root/imagebuilder")
	output(t, nil, "sh", "-c", `mkdir "$1" && cd ../.. && tar -c --exclude ./.git --exclude ./bin --exclude ./out . | tar -x -C "$1"`, "sh", home)

	script := "set -eux\nexport PATH=$PATH:/usr/local/go/bin GOPROXY=off\ncd /root/imagebuilder\n" +
		"apt-get update -q\napt-get install -q -y --no-install-recommends make\n"
	archive, _ := mirrors(t)
	for _, block := range codeBlocks(t, "../../README.md") {
		text := strings.ReplaceAll(block.text, "http://ftp.debian.org/debian", archive)
		if name := block.name(); name != "" {
			if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasPrefix(block.kind, "sh") {
			// Recipes whose mirror is an option get it as make demo does.
			text = regexp.MustCompile(`(?m)^imagebuilder run debian \w+`).ReplaceAllString(text, "$0 $$(.ci/mirrors)")
			text = regexp.MustCompile(`(?m)^imagebuilder run mine/recipe.star [\w/]+`).ReplaceAllString(text, "$0 -o mirror="+archive)
			script += text
		}
	}
	script += "ls out/lxd.tar.xz out/rootfs.squashfs mine/out/lxd.tar.xz mine/out/rootfs.squashfs /srv/images/index.html\n"
	t.Log(root.run(t, script))

	if _, err := exec.LookPath("unsquashfs"); err == nil {
		listing := output(t, nil, "unsquashfs", "-ll", filepath.Join(home, "mine/out/rootfs.squashfs"))
		if !strings.Contains(listing, "/etc/motd") {
			t.Errorf("the first recipe has no /etc/motd:\n%.500s", listing)
		}
	}
}

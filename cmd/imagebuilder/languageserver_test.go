package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"imagebuilder/runtime"
)

// Language servers that load the declarations know the words, and what a rootfs has. They are
// no part of the tool: '.ci/language-servers DIR' installs them where that can be.
func TestLanguageServers(t *testing.T) {
	for _, server := range []struct {
		command []string
		stubs   string // where it looks for declarations, below the directory of the recipe
	}{
		{[]string{"starlark-lsp", "start", "--builtin-paths", "stubs"}, "stubs/__init__.py"},
		{[]string{"pyright-langserver", "--stdio"}, "__builtins__.pyi"},
	} {
		t.Run(server.command[0], func(t *testing.T) {
			if _, err := exec.LookPath(server.command[0]); err != nil {
				t.Skipf("%s is not there; '.ci/language-servers DIR' puts it into DIR/bin", server.command[0])
			}
			dir := t.TempDir()
			writeStubs(t, filepath.Join(dir, server.stubs))
			s := startServer(t, dir, server.command)
			lines := []string{
				"img = image(\"debian\", \"trixie\")",
				"root = rootfs(img)",
				"root.",
				"pack_lxd(",
			}
			s.open("recipe.star", strings.Join(lines, "\n")+"\n")
			for _, question := range []struct {
				method          string
				line, character int
				want            string
			}{
				{"textDocument/hover", 3, 2, "Packs a rootfs as an image for LXD"},
				{"textDocument/completion", 2, len("root."), `"copy_from"`},
				{"textDocument/signatureHelp", 3, len("pack_lxd("), "compression"},
			} {
				answer := s.ask(question.method, map[string]any{
					"textDocument": map[string]any{"uri": s.uri("recipe.star")},
					"position":     map[string]any{"line": question.line, "character": question.character},
				})
				if !strings.Contains(string(answer), question.want) {
					t.Errorf("%s: no %s in %.2000s", question.method, question.want, answer)
				}
			}
		})
	}
}

func writeStubs(t *testing.T, file string) {
	t.Helper()
	sections, err := runtime.Reference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := referenceStubs(&b, sections); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A languageServer is a program that answers by the Language Server Protocol.
type languageServer struct {
	t    *testing.T
	dir  string
	in   io.Writer
	out  *bufio.Reader
	last int // id of the last question
}

// startServer starts a server for the recipes of a directory.
func startServer(t *testing.T, dir string, command []string) *languageServer {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() }) // ends ask
	t.Cleanup(func() {
		hung.Stop()
		cmd.Process.Kill()
		cmd.Wait()
	})
	s := &languageServer{t: t, dir: dir, in: in, out: bufio.NewReader(out)}
	s.ask("initialize", map[string]any{
		"processId": os.Getpid(),
		"rootUri":   s.uri(""),
		"capabilities": map[string]any{"textDocument": map[string]any{
			"hover":      map[string]any{"contentFormat": []string{"plaintext"}},
			"completion": map[string]any{"completionItem": map[string]any{}},
		}},
		"workspaceFolders": []any{map[string]any{"uri": s.uri(""), "name": "recipes"}},
	})
	s.send(map[string]any{"method": "initialized", "params": map[string]any{}})
	return s
}

func (s *languageServer) uri(name string) string { return "file://" + filepath.Join(s.dir, name) }

func (s *languageServer) open(name, text string) {
	s.t.Helper()
	s.send(map[string]any{"method": "textDocument/didOpen", "params": map[string]any{
		"textDocument": map[string]any{"uri": s.uri(name), "languageId": "starlark", "version": 1, "text": text},
	}})
}

func (s *languageServer) send(message map[string]any) {
	s.t.Helper()
	message["jsonrpc"] = "2.0"
	text, err := json.Marshal(message)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(s.in, "Content-Length: %d\r\n\r\n%s", len(text), text); err != nil {
		s.t.Fatal(err)
	}
}

// ask returns the answer to a question. What the server asks meanwhile has no answer.
func (s *languageServer) ask(method string, params any) json.RawMessage {
	s.t.Helper()
	s.last++
	s.send(map[string]any{"id": s.last, "method": method, "params": params})
	for {
		header, err := textproto.NewReader(s.out).ReadMIMEHeader()
		if err != nil {
			s.t.Fatalf("%s: the server has ended: %s", method, err)
		}
		size, err := strconv.Atoi(header.Get("Content-Length"))
		if err != nil {
			s.t.Fatal(err)
		}
		text := make([]byte, size)
		if _, err := io.ReadFull(s.out, text); err != nil {
			s.t.Fatal(err)
		}
		var message struct {
			ID     json.RawMessage
			Method string
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal(text, &message); err != nil {
			s.t.Fatal(err)
		}
		switch {
		case message.Method == "workspace/configuration":
			s.send(map[string]any{"id": message.ID, "result": []any{nil, nil, nil}})
		case message.Method != "" && message.ID != nil:
			s.send(map[string]any{"id": message.ID, "result": nil})
		case message.Method == "" && string(message.ID) == strconv.Itoa(s.last) && message.Error != nil:
			s.t.Fatalf("%s: %s", method, message.Error)
		case message.Method == "" && string(message.ID) == strconv.Itoa(s.last):
			return message.Result
		}
	}
}

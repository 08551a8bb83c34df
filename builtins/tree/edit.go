package tree

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
)

// Changes of single files, as data.

// An Edit is one change of files as data, so that it can be shown in a plan, be
// part of a layer's key and be carried out by another process.
type Edit struct {
	Op      string `json:"op"`                // one of the keys of edits
	Path    string `json:"path"`              // in the image
	To      string `json:"to,omitempty"`      // rename: new path; symlink: text; link: existing file
	Content []byte `json:"content,omitempty"` // write, append; replace: the new text
	Source  string `json:"source,omitempty"`  // copy: file of the host
	SHA256  string `json:"sha256,omitempty"`  // copy: what the file must have; a link is followed then
	Pattern string `json:"pattern,omitempty"` // replace: RE2, for each line
	SetMode bool   `json:"set_mode,omitempty"`
	Mode    uint32 `json:"mode,omitempty"`   // twelve bits, if SetMode
	Owner   string `json:"owner,omitempty"`  // name in the image's /etc/passwd, or number
	Group   string `json:"group,omitempty"`  // name in the image's /etc/group, or number
	If      string `json:"if,omitempty"`     // do nothing where this path does not exist
	Unless  string `json:"unless,omitempty"` // do nothing where this path exists
}

// edits are the kinds of edits there are.
var edits = map[string]func(editor, Edit) error{
	"append":  editor.appendTo,
	"chmod":   func(r editor, e Edit) error { return r.own(e) },
	"clear":   func(r editor, e Edit) error { return r.Clear(e.Path) },
	"copy":    editor.copyIn,
	"link":    func(r editor, e Edit) error { return r.Link(e.To, e.Path) },
	"mkdir":   editor.mkdir,
	"remove":  func(r editor, e Edit) error { return r.RemoveAll(e.Path) },
	"rename":  func(r editor, e Edit) error { return rename(r.Dir, e.Path, e.To) },
	"replace": editor.replace,
	"symlink": editor.symlink,
	"write":   editor.write,
}

// An editor carries out edits in a root file system.
type editor struct{ *dirfd.Dir }

// Apply carries out one edit.
func Apply(root *dirfd.Dir, e Edit) error {
	r := editor{root}
	do, ok := edits[e.Op]
	if !ok {
		return fmt.Errorf("internal error: unknown edit %q", e.Op)
	}
	if e.If != "" && !r.Exists(e.If) || e.Unless != "" && r.Exists(e.Unless) {
		return nil
	}
	return do(r, e)
}

// write creates or truncates a file. An existing one is written through, so that
// it keeps owner, mode and further names; a new one is 0644 and root's.
func (r editor) write(e Edit) error {
	return r.fill(e, unix.O_TRUNC, e.Content)
}

func (r editor) appendTo(e Edit) error {
	return r.fill(e, unix.O_APPEND, e.Content)
}

func (r editor) fill(e Edit, flag int, content []byte) error {
	if err := r.MkdirAll(path.Dir(clean(e.Path)), 0o755); err != nil {
		return err
	}
	f, err := r.create(e.Path, flag)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", clean(e.Path), dirfd.Cause(err))
	}
	return r.own(e)
}

// create opens a file for writing; a new one gets mode 0644 whatever the umask.
func (r editor) create(name string, flag int) (*os.File, error) {
	f, err := r.OpenFile(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o644)
	if err == nil {
		return f, f.Chmod(0o644)
	}
	// A dangling link is created through, as the image's own programs would.
	return r.OpenFile(name, unix.O_WRONLY|unix.O_CREAT|unix.O_NOCTTY|unix.O_NONBLOCK|flag, 0o644)
}

// own sets owner, then mode: the kernel drops set-id bits when the owner changes.
func (r editor) own(e Edit) error {
	uid, gid := -1, -1
	var err error
	if e.Owner != "" {
		if uid, err = r.lookup("/etc/passwd", e.Owner); err != nil {
			return fmt.Errorf("chown %s: %w", clean(e.Path), err)
		}
	}
	if e.Group != "" {
		if gid, err = r.lookup("/etc/group", e.Group); err != nil {
			return fmt.Errorf("chown %s: %w", clean(e.Path), err)
		}
	}
	if uid >= 0 || gid >= 0 {
		if err := r.Chown(e.Path, uid, gid); err != nil {
			return err
		}
	}
	if !e.SetMode {
		return nil
	}
	return r.Chmod(e.Path, e.Mode)
}

func (r editor) mkdir(e Edit) error {
	if err := r.MkdirAll(e.Path, 0o755); err != nil {
		return err
	}
	return r.own(e)
}

func (r editor) symlink(e Edit) error {
	if err := r.MkdirAll(path.Dir(clean(e.Path)), 0o755); err != nil {
		return err
	}
	return r.Symlink(e.To, e.Path, true)
}

// replace puts the new text, in which $1 stands for a group, in place of every
// match, line by line.
func (r editor) replace(e Edit) error {
	re, err := regexp.Compile(e.Pattern)
	if err != nil {
		return err
	}
	old, err := r.ReadFile(e.Path, maxRead)
	if err != nil {
		return err
	}
	lines := bytes.SplitAfter(old, []byte("\n"))
	for i, line := range lines {
		text, ended := bytes.CutSuffix(line, []byte("\n"))
		lines[i] = re.ReplaceAll(text, e.Content)
		if ended {
			lines[i] = append(lines[i], '\n')
		}
	}
	e.Content = bytes.Join(lines, nil)
	return r.write(e)
}

// copyIn copies a regular file or symbolic link of the host. Only the bytes (or the
// link's text) are taken: a new file is 0644 and root's unless the edit says more.
func (r editor) copyIn(e Edit) error {
	look := os.Lstat
	if e.SHA256 != "" {
		look = os.Stat
	}
	st, err := look(e.Source)
	if err != nil {
		return err
	}
	switch st.Mode().Type() {
	case fs.ModeSymlink:
		text, err := os.Readlink(e.Source)
		if err != nil {
			return err
		}
		e.To = text
		return r.symlink(e)
	case 0:
		return r.copyFile(e)
	}
	return fmt.Errorf("copy %s: not a regular file or a symbolic link", e.Source)
}

func (r editor) copyFile(e Edit) error {
	src, err := os.Open(e.Source)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := r.MkdirAll(path.Dir(clean(e.Path)), 0o755); err != nil {
		return err
	}
	f, err := r.create(e.Path, unix.O_TRUNC)
	if err != nil {
		return err
	}
	if err := errors.Join(e.copyBytes(f, src), f.Close()); err != nil {
		return fmt.Errorf("copy to %s: %w", clean(e.Path), dirfd.Cause(err))
	}
	return r.own(e)
}

// copyBytes copies the bytes and sees to it that they are those of the digest: the file
// may have changed since it was hashed, and while it is read.
func (e Edit) copyBytes(f, src *os.File) error {
	if e.SHA256 == "" {
		_, err := f.ReadFrom(src) // copy_file_range where the file systems allow
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), src); err != nil {
		return err
	}
	if got := digest.Of(h).String(); got != e.SHA256 {
		return fmt.Errorf("%s has changed: it had the SHA-256 %s, now it has %s; run again", e.Source, e.SHA256, got)
	}
	return nil
}

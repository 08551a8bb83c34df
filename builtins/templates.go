package builtins

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/pack"
)

// Files that are not in the image but made when an instance is: by LXD of templates, by LXC
// of placeholders. They change no layer, only what is packed.

// root.template(path, content, name="", when=["create", "copy"], properties={},
// if_exists="") makes the file path of an instance a template that LXD renders
// with content, on the events when: "create", "copy", "start", "rename"; of others it is
// said that LXD does not know them. The content is kept in the image under name, which is made from path if it is not given. properties is
// what the template finds as properties. Where the image has no file of the path
// if_exists, nothing happens. A later template for the same path takes its place.
//
// Example:
//
//	root.template("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 {{ container.name }}\n")
func rootfsTemplate(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	t := pack.Template{When: []string{"create", "copy"}}
	var when stringList
	var properties stringMap
	var ifExists string
	if err := unpackArgs(fn, args, kwargs, "path", &t.Path, "content", &t.Content, "name?", &t.Name, "when??", &when,
		"properties??", &properties, "if_exists?", &ifExists); err != nil {
		return nil, err
	}
	r := receiver(fn)
	if err := r.checkMutable("change"); err != nil {
		return nil, err
	}
	if len(when) > 0 {
		t.When = when
	}
	t.Properties = properties
	if t.Name == "" {
		t.Name = strings.ReplaceAll(strings.Trim(t.Path, "/"), "/", "-") + ".tpl"
	}
	if err := r.checkTemplate(t); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	if there, err := r.isThere(thread, fn, ifExists); err != nil || !there {
		return starlark.None, err
	}
	for _, event := range t.When {
		if !slices.Contains(pack.Events, event) {
			r.words.Log.Warn(fmt.Sprintf("the template for %s: LXD knows no event %q, only %s", t.Path, event, strings.Join(pack.Events, ", ")))
		}
	}
	r.templates = append(r.templates[:len(r.templates):len(r.templates)], t)
	return starlark.None, r.words.Worker.Act(Context(thread), r.words.newStep(thread, fn, r, arg("template", t)), build.Act{})
}

// checkTemplate refuses what LXD would refuse, and a name that another path's
// template has with another content: the later would silently win for both.
func (r *rootfs) checkTemplate(t pack.Template) error {
	if strings.Trim(t.Path, "/") == "" {
		return errors.New("the path is empty")
	}
	if err := build.CheckFileName(t.Name); err != nil {
		return err
	}
	for _, other := range r.templates {
		if other.Name == t.Name && other.Content != t.Content && other.Path != t.Path {
			return fmt.Errorf("%s is already the name of the template for %s", t.Name, other.Path)
		}
	}
	return nil
}

// root.placeholder(path, if_exists="") lets LXC replace its placeholders, such as
// LXC_NAME, in a file when a container is created. Where the image has no file of the
// path if_exists, nothing happens.
//
// Example:
//
//	root.placeholder("/etc/hostname", if_exists = "/etc/hostname")
func rootfsPlaceholder(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var path, ifExists string
	if err := unpackArgs(fn, args, kwargs, "path", &path, "if_exists?", &ifExists); err != nil {
		return nil, err
	}
	r := receiver(fn)
	if err := r.checkMutable("change"); err != nil {
		return nil, err
	}
	if strings.Trim(path, "/") == "" || strings.Contains(path, "\n") {
		return nil, fmt.Errorf("placeholder: not the path of a file: %q", path)
	}
	if there, err := r.isThere(thread, fn, ifExists); err != nil || !there {
		return starlark.None, err
	}
	r.placeholders = append(r.placeholders[:len(r.placeholders):len(r.placeholders)], path)
	return starlark.None, r.words.Worker.Act(Context(thread), r.words.newStep(thread, fn, r, arg("path", path)), build.Act{})
}

// isThere tells whether the image has a file of that path; an empty path stands for no
// condition.
func (r *rootfs) isThere(thread *starlark.Thread, fn *starlark.Builtin, path string) (bool, error) {
	if path == "" {
		return true, nil
	}
	answer, err := r.look(thread, fn, "exists", path)
	return answer.Found, err
}

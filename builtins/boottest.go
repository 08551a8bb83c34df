package builtins

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/boot"
	"imagebuilder/builtins/build"
	"imagebuilder/builtins/timespan"
)

// boot_test(image, expect="login:", timeout="10m", secure_boot=False, memory="1GiB",
// architecture="") starts the disk of an image in QEMU with UEFI firmware and waits until a
// text appears on its serial console, as a part of a line. That this does not come about
// within the timeout, that the guest panics, ends in an emergency shell or is shut down is
// an error, so that nothing is published by the lines that follow. It is done every time.
//
// image is what pack_lxd returns for a virtual machine; a file: a disk, qcow2 or raw, which
// may be compressed, or a unified archive; or a list of files, such as metadata and disk.
// The image is not changed, and the guest has no network. timeout is a length of time such
// as "90s" or "1h", memory a size such as "2GiB". With secure_boot the firmware starts only
// what is signed by the keys that machines come with. architecture is "x86_64" or "aarch64",
// by default that of the metadata, or of this machine.
//
// Example:
//
//	vm = disk(root, size = "4GiB")
//	packed = pack_lxd(vm, img)
//	boot_test(packed, timeout = "20m", secure_boot = True)
func (b *Words) bootTest(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var image starlark.Value
	guest, expect := boot.Guest{Memory: boot.DefaultMemory, Timeout: boot.DefaultTimeout}, boot.DefaultExpect
	timeout := settable{to: (*timespan.Span)(&guest.Timeout)}
	memory := settable{to: &guest.Memory}
	err := unpackArgs(fn, args, kwargs, "image", &image, "expect?", &expect, "timeout?", &timeout, "secure_boot?", &guest.SecureBoot,
		"memory?", &memory, "architecture?", &guest.Architecture)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(boot.CheckExpect(expect), guest.Check()); err != nil {
		return nil, Misuse{fmt.Errorf("%s: %w", fn.Name(), err)}
	}
	files, err := bootedFiles(image)
	if err != nil {
		return nil, Misuse{fmt.Errorf("%s: %w", fn.Name(), err)}
	}
	s := b.newStep(thread, fn, nil, arg("files", files), arg("expect", expect))
	for _, kwarg := range kwargs {
		if name, _ := starlark.AsString(kwarg[0]); name != "image" && name != "expect" {
			s.Args = append(s.Args, arg(name, ToPlain(kwarg[1])))
		}
	}
	return starlark.None, b.Worker.Act(Context(thread), s, build.Boots(s, files, guest, expect))
}

// bootedFiles are the files of what may have a disk to boot.
func bootedFiles(v starlark.Value) ([]*build.File, error) {
	if f, ok := v.(*file); ok {
		return []*build.File{f.File}, nil
	}
	if fields, ok := v.(starlark.HasAttrs); ok {
		root, _ := fields.Attr("rootfs")
		disk, _ := fields.Attr("disk")
		if root != nil && disk == nil {
			return nil, errors.New("the image is that of a container, which has no disk to boot")
		}
	}
	return addedFiles(v)
}

// settable is an argument whose text is read as that of a flag is.
type settable struct {
	to interface{ Set(string) error }
}

func (s *settable) Unpack(v starlark.Value) error {
	text, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("got %s, want a string", v.Type())
	}
	return s.to.Set(text)
}

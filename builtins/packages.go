package builtins

import (
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
)

// The word installed_packages. How databases of package managers are read is in package packages.

// installed_packages(root, dir="/") returns the packages that are installed in a rootfs, sorted
// by their names: a list of structs with name, version, arch, size, in bytes as the package
// manager has it, source, the package of the sources if it has another name, license, homepage
// and manager, which is "apk", "dpkg", "opkg", "pacman", "portage", "rpm" or "xbps". What a
// manager does not say is "" or 0. dir is the directory that is looked at, which may hold
// another root file system. In a plan there are none.
//
// A database that cannot be read is an error.
//
// Example:
//
//	for package in installed_packages(root):
//	    print(package.name, package.version, package.size)
func (b *Words) installedPackages(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	dir := anyPath("/")
	if err := unpackArgs(fn, args, kwargs, "root", &root, "dir?", &dir); err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, root, arg("path", string(dir)))
	list, err := build.Ask(Context(thread), b.Worker, s, build.Packages(root.root, string(dir)))
	if err == nil {
		err = list.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fn.Name(), err)
	}
	values := make([]starlark.Value, len(list.Packages))
	for i, p := range list.Packages {
		values[i] = newStruct(starlark.StringDict{
			"name": starlark.String(p.Name), "version": starlark.String(p.Version), "arch": starlark.String(p.Arch), "size": starlark.MakeInt64(p.Size),
			"source": starlark.String(p.Source), "license": starlark.String(p.License), "homepage": starlark.String(p.Homepage),
			"manager": starlark.String(p.Manager),
		})
	}
	return starlark.NewList(values), nil
}

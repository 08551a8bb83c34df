package builtins

import (
	"context"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/options"
	"imagebuilder/streams"
	"imagebuilder/streams/words"
)

// stream_build(tree, streams=["images"], page=None, deltas=True, disk_deltas="safe",
// delta_share=0.8, delta_memory=0, retain_builds=0, retain_days=0, upstream=False,
// dry_run=False, strict=False, …) lists the images in the tree of an image server for
// clients: it makes the catalog of each stream and the index, with deltas between
// versions. Only what is new or has changed is read. What is wrong with one version keeps
// that one out; with strict that is an error. tree is a directory of this machine;
// a relative path is relative to the recipe file that says it.
//
// page is True, or a dict with any of title, intro (a list of paragraphs), notice,
// footer, logo, remote, url, clients (of "lxc" and "incus") and stale ("8d"), for a web
// page. disk_deltas is "always", "never", or "safe": not those which Incus would apply to
// a container image. A delta larger than delta_share of its file is not listed;
// delta_memory is in bytes or as "2GiB", 0 for half of the machine's; with retain_builds and
// retain_days, as prune gets them, deltas are made only for versions that it keeps.
// A version with a file that is larger than max_file="256GiB" is not read and left out.
// upstream lists what simplestream-maintainer lists and no more. All words that publish
// also take sign_key and sign_passphrase, files with an OpenPGP key, whose signatures are
// beside what it signs (.json.gpg) and in a second form of it (.sjson), max_drop=0.75, the
// share of versions that may vanish at once unless force=True, and as all words on a tree
// stream_version="v1", workers=0, follow_links=False and natural_order=False.
//
// It returns a struct of numbers: streams, products, versions, added, dropped,
// incomplete, rejected, failed, duplicates, skipped, bytes_read, deltas,
// deltas_not_worth and deltas_failed; with published, the list of files that are new,
// unchanged, whether there was nothing to do, and trouble, a text that is empty if all
// went well.
//
// Example:
//
//	built = stream_build("/srv/images", page = {"title": "Our images"})
//	if built.trouble:
//	    notice(built.trouble)
func (b *Words) streamBuild(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	build := words.ForBuild(options.InRecipe)
	c := b.newStreamCall(thread, fn, build)
	if err := c.unpack(args, kwargs, []any{"tree", &c.tree}); err != nil {
		return nil, err
	}
	c.strict = build.Strict
	var sum streams.BuildSummary
	err := c.do(func(ctx context.Context, s streams.Site) (err error) {
		opts := build.Options(s)
		if opts.Signer, err = build.Signer(s.Clock); err != nil {
			return err
		}
		sum, err = streams.Build(ctx, opts)
		return err
	})
	return c.finish(built(&sum), sum.Err(), err)
}

func built(sum *streams.BuildSummary) starlark.StringDict {
	fields := numbers(map[string]int{
		"streams": sum.Streams, "products": sum.Products, "versions": sum.Versions, "added": sum.Added, "dropped": sum.Dropped,
		"incomplete": sum.Incomplete, "rejected": sum.Rejected, "failed": sum.Failed, "duplicates": sum.Duplicates,
		"skipped": sum.Skipped, "bytes_read": int(sum.Read), "deltas": sum.Deltas, "deltas_not_worth": sum.Undelta,
		"deltas_failed": sum.DeltaFails,
	})
	fields["published"] = stringValues(sum.Published)
	fields["unchanged"] = starlark.Bool(sum.Unchanged)
	return fields
}

// stream_prune(tree, streams=["images"], retain_builds=10, retain_days=0,
// allow_empty=False, remove=[], grace="2h", dangling=False, dangling_age="6h",
// dry_run=False, strict=False, …) takes old versions out of the catalogs of an image
// server, and those whose files have vanished. Kept are retain_builds of each product
// and, with retain_days, those not older; the newest stays however old it is, unless
// allow_empty. remove is a list of fingerprints, or their beginnings, of images whose
// versions go; all others stay then, unless retain_builds or retain_days is given. The
// files are removed by a prune that runs after the grace period, "0s" for at once. With
// dangling, what no catalog lists is removed too once it was left alone for
// dangling_age. For the arguments not shown see stream_build.
//
// It returns a struct of numbers: dropped, vanished, removed, deltas, dangling, empty,
// waiting and failed; with published and trouble as of stream_build.
//
// Example:
//
//	stream_prune("/srv/images", retain_builds = 3, dangling = True)
func (b *Words) streamPrune(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	prune := words.ForPrune(options.InRecipe)
	c := b.newStreamCall(thread, fn, prune)
	if err := c.unpack(args, kwargs, []any{"tree", &c.tree}); err != nil {
		return nil, err
	}
	c.strict = prune.Strict
	var sum streams.PruneSummary
	err := c.do(func(ctx context.Context, s streams.Site) (err error) {
		opts := prune.Options(s)
		if opts.Signer, err = prune.Signer(s.Clock); err != nil {
			return err
		}
		sum, err = streams.Prune(ctx, opts)
		return err
	})
	return c.finish(pruned(&sum), sum.Err(), err)
}

func pruned(sum *streams.PruneSummary) starlark.StringDict {
	fields := numbers(map[string]int{
		"dropped": sum.Dropped, "vanished": sum.Vanished, "removed": sum.Removed, "deltas": sum.Deltas, "dangling": sum.Dangling,
		"empty": sum.Empty, "waiting": sum.Waiting, "failed": sum.Failed,
	})
	fields["published"] = stringValues(sum.Published)
	return fields
}

// stream_verify(tree, streams=[], repair=False, strict=False, …) checks all that an image
// server lists: index, catalogs, files, fingerprints, and deltas by decoding them.
// Without streams it is all that the index lists. With repair, what can be derived again
// is, as the last build made it, and versions with damaged files are taken out; strict
// makes an error of faults that are left. For the arguments not shown see stream_build.
//
// It returns a struct of numbers: products, versions, items and bytes; with faults, a
// list of structs with kind, path, problem and repaired, and trouble as of stream_build.
//
// Example:
//
//	found = stream_verify("/srv/images", repair = True)
//	for fault in found.faults:
//	    notice("%s: %s" % (fault.path, fault.problem))
func (b *Words) streamVerify(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	verify := words.ForVerify(options.InRecipe)
	c := b.newStreamCall(thread, fn, verify)
	strict := false // on a command line it is always so
	if err := c.unpack(args, kwargs, []any{"tree", &c.tree}, "strict?", &strict); err != nil {
		return nil, err
	}
	c.strict = strict
	var report streams.Report
	err := c.do(func(ctx context.Context, s streams.Site) (err error) {
		opts := verify.Options(s)
		if opts.Signer, err = verify.Signer(s.Clock); err != nil {
			return err
		}
		report, err = streams.Verify(ctx, opts)
		for _, f := range report.Faults {
			s.Log.Warn("Fault found", "kind", f.Kind, "path", f.Path, "problem", f.Problem, "repaired", f.Repaired)
		}
		return err
	})
	return c.finish(verified(&report), report.Err(), err)
}

func verified(r *streams.Report) starlark.StringDict {
	fields := numbers(map[string]int{"products": r.Products, "versions": r.Versions, "items": r.Items, "bytes": int(r.Bytes)})
	var faults []starlark.Value
	for _, f := range r.Faults {
		faults = append(faults, newStruct(starlark.StringDict{
			"kind": starlark.String(f.Kind), "path": starlark.String(f.Path), "problem": starlark.String(f.Problem),
			"repaired": starlark.Bool(f.Repaired),
		}))
	}
	fields["faults"] = starlark.NewList(faults)
	return fields
}

// numbers are the fields of a struct.
func numbers(m map[string]int) starlark.StringDict {
	fields := make(starlark.StringDict, len(m)+2)
	for name, n := range m {
		fields[name] = starlark.MakeInt(n)
	}
	return fields
}

func stringValues(list []string) *starlark.List {
	values := make([]starlark.Value, len(list))
	for i, s := range list {
		values[i] = starlark.String(s)
	}
	return starlark.NewList(values)
}

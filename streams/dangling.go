package streams

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// planDangling finds what the catalog of a stream does not know: whole products, or
// versions, hidden, incomplete and rejected ones included, in which nothing was
// changed for a while. What waits for its grace period to end is not dangling, and
// neither is what a build withholds.
func (p *pruner) planDangling(ctx context.Context, s *streamPrune) error {
	if len(s.products) == 0 {
		p.info("Skipping removal of dangling resources, because product catalog is empty")
		return nil
	}
	if s.damaged || p.record.Damaged[s.name] {
		p.warn("Skipping removal of dangling resources, because products were dropped from the catalog; build lists them again", "streamName", s.name)
		return nil
	}
	complete := 0
	err := p.eachDir(ctx, s.name, productDepth, func(dir string) error {
		id := strings.ReplaceAll(strings.TrimPrefix(dir, s.name+"/"), "/", ":")
		names := p.danglingIn(s, id, dir)
		for _, name := range names {
			complete += p.countComplete(name, strings.Count(name, "/") == productDepth)
		}
		s.dangling = append(s.dangling, names...)
		return nil
	})
	if err != nil {
		return err
	}
	return p.opts.Safety.check("remove", complete, complete+s.stays(), s.name)
}

func (s *streamPrune) stays() int {
	n := 0
	for _, p := range s.products {
		n += len(p.stays)
	}
	return n
}

// eachDir calls fn with the directories so many levels below dir. One that cannot
// be read does not stop the rest.
func (p *pruner) eachDir(ctx context.Context, dir string, levels int, fn func(string) error) error {
	if err := context.Cause(ctx); err != nil || levels == 0 {
		if err == nil {
			err = fn(dir)
		}
		return err
	}
	entries, err := p.site.list(dir)
	if err != nil {
		p.trouble(dir, err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := p.eachDir(ctx, path.Join(dir, e.Name()), levels-1, fn); err != nil {
			return err
		}
	}
	return nil
}

// danglingIn returns what is dangling of the product in a directory: its own path
// if the catalog does not know it at all.
func (p *pruner) danglingIn(s *streamPrune, id, dir string) []string {
	if s.products[id] == nil && !p.hasLeaving(dir) && !p.hasWithheld(s, dir) {
		return p.ifOld(dir)
	}
	entries, err := p.site.list(dir)
	if err != nil {
		p.trouble(dir, err)
	}
	var names []string
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if _, leaves := p.leaving[name]; e.IsDir() && !leaves && !s.knows(id, e.Name()) && !p.isWithheld(s, name) {
			names = append(names, p.ifOld(name)...)
		}
	}
	return names
}

func (p *pruner) hasLeaving(dir string) bool {
	for name := range p.leaving {
		if strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

// isWithheld tells whether a build keeps a version out of the catalog on purpose. While
// that is not known, it may be any that is complete.
func (p *pruner) isWithheld(s *streamPrune, name string) bool {
	withheld := p.record.Withheld[s.name]
	return slices.Contains(withheld, name) || withheld == nil && p.countComplete(name, false) > 0
}

func (p *pruner) hasWithheld(s *streamPrune, dir string) bool {
	withheld := p.record.Withheld[s.name]
	return slices.ContainsFunc(withheld, func(name string) bool { return path.Dir(name) == dir }) ||
		withheld == nil && p.countComplete(dir, true) > 0
}

// ifOld returns a path if nothing in or below it was changed for a while. An
// upload changes something all the time, if only the size of one file.
func (p *pruner) ifOld(name string) []string {
	latest, err := p.site.newest(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		p.trouble(name, err)
	case p.age(latest) > p.opts.DanglingAge:
		return []string{name}
	}
	return nil
}

// age compares times of files with the clock of their own file system.
func (p *pruner) age(t time.Time) time.Duration { return time.Duration(p.start - t.UnixNano()) }

// countComplete returns how many versions are complete in a version's or product's
// directory.
func (p *pruner) countComplete(dir string, isProduct bool) int {
	entries, err := p.site.list(dir)
	if err != nil {
		return 0
	}
	n := 0
	v := new(version)
	for _, e := range entries {
		if isProduct && e.IsDir() {
			n += p.countComplete(path.Join(dir, e.Name()), false)
		}
		v.files = append(v.files, file{name: e.Name(), class: classify(e.Name(), false)})
	}
	if !isProduct && !strings.HasPrefix(path.Base(dir), ".") && v.isComplete(false) {
		n++
	}
	return n
}

// removeDangling removes what was found to be dangling.
func (p *pruner) removeDangling(ctx context.Context) error {
	for _, s := range p.streams {
		errs, err := p.removeEach(ctx, s.dangling, p.removeDir)
		for i, err := range errs {
			if err != nil {
				p.sum.Failed++
				p.fail("Failed to prune dangling resource", "path", p.full(s.dangling[i]), "error", err)
				continue
			}
			p.sum.Dangling++
			p.info("Pruned dangling resource", "path", p.full(s.dangling[i]))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sweep removes empty directories below the streams, never a stream itself, and what
// killed runs left: unfinished files, and versions they were removing. Any other
// hidden directory may be an upload that is just beginning, and so may a young one.
func (p *pruner) sweep(ctx context.Context) error {
	for _, s := range p.streams {
		for _, name := range s.temps {
			if err := p.site.remove(name); err != nil {
				return err
			}
		}
		if _, err := p.sweepDir(ctx, s, s.name, 0); err != nil {
			return err
		}
	}
	return nil
}

// sweepDir sweeps one directory, so many levels below the stream's, and tells
// whether it is gone.
func (p *pruner) sweepDir(ctx context.Context, s *streamPrune, dir string, level int) (bool, error) {
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	st, err := p.site.stat(dir)
	if err != nil {
		return false, ignoreMissing(err)
	}
	entries, err := p.site.list(dir)
	if err != nil {
		p.trouble(dir, err)
		return false, nil
	}
	left := len(entries)
	for _, e := range entries {
		gone, err := p.sweepEntry(ctx, s, dir, e, level+1)
		if err != nil {
			return false, err
		}
		if gone {
			left--
		}
	}
	if left > 0 || level == 0 || !p.oldEnough(st.Mtim.Nano()) {
		return false, nil
	}
	return p.removeEmpty(dir)
}

func (p *pruner) sweepEntry(ctx context.Context, s *streamPrune, dir string, e fs.DirEntry, level int) (bool, error) {
	name := path.Join(dir, e.Name())
	hidden := strings.HasPrefix(e.Name(), ".")
	switch {
	case !e.IsDir() || level > versionDepth:
		return false, nil
	case hidden && strings.HasSuffix(e.Name(), removedSuffix) && level >= productDepth:
		return true, p.site.removeAll(name)
	case hidden:
		return false, nil
	}
	return p.sweepDir(ctx, s, name, level)
}

func (p *pruner) oldEnough(mtime int64) bool {
	return p.opts.Grace < 0 || p.age(time.Unix(0, mtime)) >= p.opts.Grace
}

func (p *pruner) removeEmpty(dir string) (bool, error) {
	err := p.site.rmdir(dir)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrNotExist) {
		return false, nil // somebody was faster
	}
	if err != nil {
		return false, err
	}
	p.sum.Empty++
	p.info("Removed empty directory", "path", p.full(dir))
	return true, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

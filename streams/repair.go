package streams

import (
	"context"
	"slices"

	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// repair builds anew what a verification found wrong, in the way of the last build, and
// verifies that.
func repair(ctx context.Context, w *work, l *site.Lock, found *verifier, opts VerifyOptions) (Report, error) {
	last := w.readRecord()
	b := newBuilder(w, l, BuildOptions{
		Upstream: last.Upstream, Deltas: last.Deltas, Page: last.Page, Signer: opts.Signer, Safety: opts.Safety,
	})
	b.record = record{} // whatever it says, there is something to do
	b.suspect = make(map[string]FaultKind)
	for _, f := range found.report.Faults {
		if f.Kind != FaultUnchecked { // which speaks against nothing
			b.suspect[f.Path] = f.Kind
		}
	}
	if err := b.run(ctx); err != nil {
		return found.report, err
	}
	again, err := verify(ctx, w, opts.Signer)
	report := again.report
	for _, f := range found.report.Faults {
		if f.Kind != FaultUnchecked && !slices.Contains(again.report.Faults, f) {
			f.Repaired = true
			report.Faults = append(report.Faults, f)
		}
	}
	return report, err
}

// doubt applies what a verification found to what is believed of the tree: a bad
// delta is looked at again, and a version is taken out if one of its files is not
// what it was although nothing says that it was replaced. It comes back when the
// files change.
func (b *builder) doubt() {
	for _, s := range b.streams {
		for _, p := range s.found.products {
			for _, v := range p.versions {
				b.doubtVersion(p.place.Of(v.name), v)
			}
		}
	}
}

func (b *builder) doubtVersion(place catalog.Place, v *version) {
	for i := range v.files {
		f := &v.files[i]
		kind, ok := b.suspect[place.File(f.name)]
		switch {
		case !ok:
		case f.class == delta:
			f.hashed = false
			v.verdict = unjudged
			v.deltas = slices.DeleteFunc(slices.Clone(v.deltas), func(d decision) bool { return d.name == f.name })
		case kind == FaultContent && (f.hashed || v.before == nil):
			v.verdict, v.item, v.trouble = failed, f.name, "its content is not what it was, though nothing says that it was replaced"
			return
		}
	}
}

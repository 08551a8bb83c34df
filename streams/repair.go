package streams

import (
	"context"
	"slices"

	"imagebuilder/streams/site"
)

// A repair is a build that believes a verification more than the cache.

// repair builds anew what a verification found wrong, in the way of the last build, and
// verifies that.
func repair(ctx context.Context, w *openSite, l *site.Lock, found *verifier, opts VerifyOptions) (Report, error) {
	last := w.readRecord()
	b := newBuilder(w, l, BuildOptions{
		Upstream: last.Upstream, MaxFile: last.MaxFile, Deltas: last.Deltas, Page: last.Page, Signer: opts.Signer, Safety: opts.Safety,
	})
	b.record = buildRecord{} // whatever it says, there is something to do
	b.suspect = make(map[string]FaultKind)
	for _, f := range found.report.Faults {
		if f.Kind != faultUnchecked { // which speaks against nothing
			b.suspect[f.Path] = f.Kind
		}
	}
	if err := b.run(ctx); err != nil {
		return found.report, err
	}
	again, err := verify(ctx, w, opts.Signer)
	report := again.report
	for _, f := range found.report.Faults {
		if f.Kind != faultUnchecked && !slices.Contains(again.report.Faults, f) {
			f.Repaired = true
			report.Faults = append(report.Faults, f)
		}
	}
	return report, err
}

// doubt applies what a verification found to what is believed of the tree.
func (b *builder) doubt() {
	for _, s := range b.streams {
		for _, p := range s.found.Products {
			for _, v := range p.Versions {
				place := p.Location.Of(v.Name)
				v.Doubt(func(file string) (wrong, content bool) {
					kind, wrong := b.suspect[place.File(file)]
					return wrong, kind == faultContent
				})
			}
		}
	}
}

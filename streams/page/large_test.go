package page_test

import (
	"fmt"
	"testing"

	"imagebuilder/streams/page"
)

// largeFleet is what a very large server may have.
func largeFleet() page.Stream {
	few := fleet()[0].Products
	large := page.Stream{Name: "images"}
	for n := range 640 {
		card := few[n%len(few)]
		card.Release = fmt.Sprintf("%s-%d", card.Release, n)
		card.ID = fmt.Sprintf("x:%s:%s:%s", card.Release, card.Arch, card.Variant)
		large.Products = append(large.Products, card)
	}
	return large
}

// TestBrowserLarge holds that the page of a very large server answers at once. Its versions are
// no part of it before they are wanted.
func TestBrowserLarge(t *testing.T) {
	b := startBrowser(t)
	b.show(1280, 900, "light")
	b.open(servePage(t, largeFleet()))
	b.expect("versions", "document.querySelectorAll('.version').length", 0)
	b.expect("few elements", "document.querySelectorAll('*').length < 640 * 20", true)

	// From the key to the picture the page is laid out a few times, not once for each image, and
	// of very many the first are in it.
	b.call("Performance.enable", nil, nil)
	for _, text := range []string{"ubu", "deb", "arm64 vm", ""} {
		before, seen := b.layouts(), 0
		b.eval(fmt.Sprintf(`(async () => {
  const find = document.getElementById("find"), count = document.getElementById("count");
  const changed = new Promise((done) => new MutationObserver(done).observe(count, { childList: true }));
  find.value = %q;
  find.dispatchEvent(new Event("input"));
  await changed;
  await new Promise(requestAnimationFrame); // the picture is about to be made
  await new Promise((done) => { const c = new MessageChannel(); c.port1.onmessage = done; c.port2.postMessage(0); }); // it is
  return %s;
})()`, text, shown), &seen)
		if n := b.layouts() - before; n > 10 {
			t.Errorf("the page is laid out %d times for a search of %q", n, text)
		}
		if text == "" && seen == 640 {
			t.Error("all images are shown at once")
		}
		b.wait(shown + ` === parseInt(document.getElementById("count").textContent)`)
	}

	// Several keys in a row are one search.
	b.eval(`new MutationObserver(() => { window.searches = (window.searches || 0) + 1; }).observe(document.getElementById("count"), { childList: true })`, nil)
	b.eval(`for (const text of ["t", "tr", "tri", "trix"]) {
  document.getElementById("find").value = text;
  document.getElementById("find").dispatchEvent(new Event("input"));
}`, nil)
	b.wait(`document.getElementById("count").textContent === "142 of 640 images"`)
	b.expect("searches", "window.searches", 1)

	b.eval("document.querySelector('.product:not([hidden]) > details > summary').click()", nil)
	b.wait("document.querySelectorAll('.version').length === 3")
}

// layouts returns how often the page has been laid out so far.
func (b *browser) layouts() int {
	b.t.Helper()
	var all struct {
		Metrics []struct {
			Name  string
			Value float64
		}
	}
	b.call("Performance.getMetrics", nil, &all)
	for _, m := range all.Metrics {
		if m.Name == "LayoutCount" {
			return int(m.Value)
		}
	}
	b.t.Fatal("chromium does not say how often it has laid out the page")
	return 0
}

// TestPhone holds that the first image is on the first screen of a phone, with scripts and
// without, whatever the server says of itself.
func TestPhone(t *testing.T) {
	b := startBrowser(t)
	url := servePage(t)
	for _, off := range []bool{false, true} {
		b.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": off}, nil)
		for _, size := range [][2]int{{320, 568}, {360, 640}, {390, 844}} {
			b.show(size[0], size[1], "light")
			b.open(url)
			b.expect(fmt.Sprint(size, " without scripts: ", off), "document.querySelector('.product').getBoundingClientRect().bottom <= innerHeight", true)
			b.expect("introduction", "document.querySelector('.about p').checkVisibility()", false)
			b.expect("its title", "document.querySelector('.about > summary').checkVisibility()", true)
		}
	}
	b.show(1280, 900, "light")
	b.expect("introduction on a large screen", "document.querySelector('.about p').checkVisibility()", true)
}

// Finds what keeps people from using a page: an expression whose value is the list of
// faults. What it looks for is what the Web Content Accessibility Guidelines 2.2 ask for
// at level AA, as far as a program can tell.
(() => {
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const seen = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
  const name = (e) => e.outerHTML.slice(0, 100);
  const want = (ok, what) => { if (!ok) faults.push(what); };

  // The document: language, title, landmarks, headings.
  want(document.documentElement.lang, "the page has no language");
  want(document.title, "the page has no title");
  want(all("main").length === 1, "there is not one main");
  want(all("body > header").length === 1 && all("body > footer").length === 1, "header or footer is missing");
  want(all("h1").filter(seen).length === 1, "there is not one h1");
  let level = 0;
  for (const h of all("h1, h2, h3, h4, h5, h6").filter(seen)) {
    const next = Number(h.tagName[1]);
    want(next <= level + 1, "a heading skips a level: " + name(h));
    want(h.textContent.trim(), "a heading is empty: " + name(h));
    level = next;
  }
  for (const e of document.body.querySelectorAll("*")) {
    if (seen(e) && e.children.length === 0 && e.textContent.trim() && !e.closest("main, header, footer, .skip")) {
      faults.push("outside all landmarks: " + name(e));
    }
  }

  // References and names.
  const ids = all("[id]").map((e) => e.id);
  want(new Set(ids).size === ids.length, "an id is there twice");
  for (const e of all("[aria-labelledby], label[for]")) {
    const id = e.getAttribute("aria-labelledby") || e.htmlFor;
    want(document.getElementById(id), "refers to nothing: " + name(e));
  }
  for (const e of all("input, select").filter(seen)) {
    want(e.labels.length > 0 || e.ariaLabel, "has no label: " + name(e));
  }
  for (const e of all("a, button, summary").filter(seen)) {
    want((e.ariaLabel || e.textContent).trim(), "has no name: " + name(e));
    // The visible text is part of the name, so that it can be said to be pressed.
    want(!e.ariaLabel || e.ariaLabel.includes(e.textContent.trim()), "is named otherwise than it reads: " + name(e));
  }
  for (const e of all("img")) {
    want(e.hasAttribute("alt"), "has no alternative text: " + name(e));
  }
  for (const e of all("table").filter(seen)) {
    want(e.caption && e.querySelector("th[scope]"), "a table without caption or heads: " + name(e));
  }
  for (const e of all("ul, ol")) {
    want([...e.children].every((c) => c.tagName === "LI"), "a list of other than items: " + name(e));
  }
  for (const e of all("dl")) {
    want([...e.children].every((c) => c.tagName === "DT" || c.tagName === "DD"), "a list of other than terms: " + name(e));
  }
  for (const e of all("[tabindex]")) {
    want(e.tabIndex <= 0, "changes the order of focus: " + name(e));
  }
  for (const e of all("[aria-hidden=true]")) {
    want(!e.querySelector("a, button, input, select, summary"), "hides what can be used: " + name(e));
  }

  // Contrast of each text with what is behind it.
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = channels(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const ratio = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode());) {
    const e = text.parentElement;
    if (!text.data.trim() || !seen(e) || e.tagName === "OPTION") continue;
    const style = getComputedStyle(e);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
    const got = ratio(channels(style.color), behind(e));
    want(got >= (large ? 3 : 4.5), "contrast " + got.toFixed(2) + ": " + name(e));
    want(size >= 12, "small print: " + name(e));
  }
  // Borders are what tells a field from the page.
  for (const e of all("input, select").filter(seen)) {
    const got = ratio(channels(getComputedStyle(e).borderTopColor), behind(e.parentElement));
    want(got >= 3, "contrast of a border " + got.toFixed(2) + ": " + name(e));
  }

  // Size of what is pressed, and of the page.
  for (const e of all("button, select, input, summary").filter(seen)) {
    const box = e.getBoundingClientRect();
    want(box.width >= 24 && box.height >= 24, "too small to be pressed: " + name(e));
  }
  want(document.documentElement.scrollWidth <= innerWidth, "wider than the window: " + document.documentElement.scrollWidth);
  return faults;
})();

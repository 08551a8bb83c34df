// What the page can do with scripts on: search and filters, the theme, copying. All of its
// content can be read without.
"use strict";

(() => {
  const root = document.documentElement;
  const get = (id) => document.getElementById(id);

  // The theme. Storage may be forbidden; then the choice lasts as long as the page.
  const theme = get("theme");
  const store = {
    get: () => { try { return localStorage.getItem("theme") || ""; } catch { return ""; } },
    set: (value) => { try { localStorage.setItem("theme", value); } catch { /* as said */ } },
  };
  const apply = (value) => {
    if (value === "light" || value === "dark") {
      root.dataset.theme = value;
    } else {
      delete root.dataset.theme;
    }
  };
  theme.value = store.get();
  apply(theme.value);
  theme.addEventListener("change", () => { apply(theme.value); store.set(theme.value); });
  theme.parentElement.hidden = false;

  // The search: a product is shown if all words are in what it can be found by, and the
  // filters have it.
  const find = get("find");
  const filters = { arch: get("arch"), type: get("type") };
  const products = [...document.querySelectorAll(".product")].map((element) => ({
    element, stream: element.closest(".stream"),
    text: element.dataset.find, arch: element.dataset.arch, types: element.dataset.type.split(" "),
  }));
  const streams = [...document.querySelectorAll(".stream")];
  const search = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const arch = filters.arch.value;
    const type = filters.type.value;
    const found = products.filter((product) => (!arch || product.arch === arch) &&
      (!type || product.types.includes(type)) && words.every((word) => product.text.includes(word)));
    const elements = new Set(found.map((product) => product.element));
    for (const { element } of products) {
      element.hidden = element.hidden || !elements.has(element);
    }
    const within = new Set(found.map((product) => product.stream));
    for (const stream of streams) {
      stream.hidden = Boolean(words.length || arch || type) && !within.has(stream);
    }
    get("count").textContent = found.length + " of " + products.length + " images";
    get("none").hidden = found.length > 0 || products.length === 0;
    cancelAnimationFrame(later);
    show([...elements].filter((element) => element.hidden));
  };
  // Many rows take long to be laid out: a screen of them comes at once, the rest frame by frame.
  let later = 0;
  const show = (elements) => {
    for (const element of elements.splice(0, 30)) {
      element.hidden = false;
    }
    if (elements.length > 0) {
      later = requestAnimationFrame(() => show(elements));
    }
  };
  const asked = new URLSearchParams(location.search);
  find.value = asked.get("q") || "";
  for (const [name, filter] of Object.entries(filters)) {
    filter.value = asked.get(name) || "";
    if (filter.selectedIndex < 0) {
      filter.value = ""; // there is no such choice
    }
    filter.addEventListener("change", search);
  }
  // While keys follow each other quickly, one search for all of them is enough.
  let pause = 0;
  find.addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(search, 40); });
  find.form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  find.form.hidden = false;
  search();

  // A button to copy each command and fingerprint. The clipboard is only there on secure pages.
  const addButtons = (part) => {
    for (const line of navigator.clipboard ? part.querySelectorAll(".commands code, .print") : []) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.setAttribute("aria-label", "Copy: " + line.textContent);
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(line.textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
      line.after(button);
    }
  };

  // How to add this server, if the page does not say its address itself: clients want https.
  if (location.protocol === "https:") {
    for (const here of document.querySelectorAll(".here")) {
      here.textContent = new URL(".", location.href).href.replace(/\/$/, "");
      here.closest(".use").hidden = false;
      here.closest(".about").hidden = false;
    }
  }
  addButtons(document);

  // The versions of a product become part of the page when it is opened.
  const fill = (details) => {
    const source = details.querySelector(":scope > noscript");
    if (source) {
      source.replaceWith(...new DOMParser().parseFromString(source.textContent, "text/html").body.children);
      addButtons(details);
    }
  };
  document.addEventListener("toggle", (event) => { if (event.target.open) { fill(event.target); } }, true);

  // A link to one product opens it.
  const open = () => {
    const target = location.hash && get(location.hash.slice(1));
    const details = target && target.querySelector("details");
    if (details) {
      details.open = true;
      fill(details);
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  open();
})();

// What the page can do with scripts on: search, the theme, copying commands. All of
// its content can be read without.
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

  // The search: a product is shown if all words are in what it can be found by.
  const find = get("find");
  const count = get("count");
  const products = [...document.querySelectorAll(".product")];
  const search = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const product of products) {
      product.hidden = !words.every((word) => product.dataset.find.includes(word));
      shown += product.hidden ? 0 : 1;
    }
    for (const stream of document.querySelectorAll(".stream")) {
      stream.hidden = words.length > 0 && !stream.querySelector(".product:not([hidden])");
    }
    count.textContent = shown + " of " + products.length + " images";
    get("none").hidden = shown > 0 || products.length === 0;
  };
  find.value = new URLSearchParams(location.search).get("q") || "";
  find.addEventListener("input", search);
  find.form.addEventListener("submit", (event) => event.preventDefault());
  find.form.hidden = false;
  search();

  // A button to copy each command. The clipboard is only there on secure pages.
  if (navigator.clipboard) {
    for (const line of document.querySelectorAll(".commands code")) {
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
  }

  // A link to one product opens it.
  const open = () => {
    const target = location.hash && get(location.hash.slice(1));
    const details = target && target.querySelector("details");
    if (details) {
      details.open = true;
    }
  };
  addEventListener("hashchange", open);
  open();
})();

// MeSH as a filter: a tree that is unfolded a level at a time, and headings suggested for what is typed.

import { ask, byId, make } from "./parts.js";

const PAUSE = 150;
const number = (count) => (count == null ? "" : make("span", { class: "number" }, count.toLocaleString("en")));

// `add` is called with a heading's UI and name, `isChosen` with its UI.
export function headingFilter(add, isChosen) {
  suggest(add);
  unfold(byId("tree"), "", add, isChosen).catch((error) => { byId("wrong-heading").textContent = error.message; });
  byId("tree").addEventListener("keydown", walk);
}

// Which headings are chosen is shown in the tree as well.
export function showChosen(isChosen) {
  for (const button of byId("tree").querySelectorAll("button.name")) {
    button.setAttribute("aria-pressed", isChosen(button.dataset.ui));
  }
}

async function unfold(list, under, add, isChosen) {
  const { branches } = await ask("/api/tree", { parameters: under ? { under } : {} });
  list.replaceChildren(...branches.map((branch) => row(branch, add, isChosen)));
}

function row(branch, add, isChosen) {
  const below = make("ul", { hidden: true, "aria-label": `Below ${branch.name}` });
  const toggle = async () => {
    const opening = below.hidden;
    below.hidden = !opening;
    fold?.setAttribute("aria-expanded", opening);
    if (opening && !below.childElementCount) {
      try {
        await unfold(below, branch.tree_number, add, isChosen);
      } catch (error) {
        below.replaceChildren(make("li", { class: "wrong" }, error.message));
      }
    }
  };
  const fold = branch.has_children
    ? make("button", { type: "button", class: "fold", "aria-expanded": "false", "aria-label": `Unfold ${branch.name}`, on: { click: toggle } })
    : null;
  const title = `${branch.tree_number}${branch.descriptor_ui ? ": add as a filter" : ""}`;
  const name = branch.descriptor_ui
    ? make("button", { type: "button", class: "name", title, "data-ui": branch.descriptor_ui, "aria-pressed": isChosen(branch.descriptor_ui), on: { click: () => add(branch.descriptor_ui, branch.name) } }, branch.name)
    : make("button", { type: "button", class: "name", title, on: { click: toggle }, tabindex: "-1" }, branch.name);
  const line = make("div", { class: branch.citations === 0 ? "row empty" : "row" }, fold ?? make("span", { class: "leaf" }), name, number(branch.citations));
  return make("li", {}, line, below);
}

// Up and down go from row to row, right unfolds, left folds or goes to the row above.
function walk(event) {
  const at = event.target.closest("li");
  const rows = [...byId("tree").querySelectorAll("li")].filter((row) => row.offsetParent !== null);
  const to = (row) => row?.querySelector("button")?.focus();
  const fold = at?.querySelector(":scope > .row > button.fold");
  const isOpen = fold?.getAttribute("aria-expanded") === "true";
  const doing = {
    ArrowDown: () => to(rows[rows.indexOf(at) + 1]),
    ArrowUp: () => to(rows[rows.indexOf(at) - 1]),
    ArrowRight: () => (fold && !isOpen ? fold.click() : to(at.querySelector("ul li"))),
    ArrowLeft: () => (isOpen ? fold.click() : to(at.parentElement.closest("li"))),
  }[event.key];
  if (!at || !doing) return;
  event.preventDefault();
  doing();
}

function suggest(add) {
  const box = byId("heading");
  const list = byId("suggested");
  let waiting;
  let asked;
  let active = -1;

  const close = () => {
    list.hidden = true;
    active = -1;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
  };
  const choose = (ui, name) => {
    clearTimeout(waiting);
    asked?.abort();
    box.value = "";
    byId("wrong-heading").textContent = "";
    close();
    add(ui, name);
  };
  const show = (headings) => {
    list.replaceChildren(...headings.map((heading, place) => make(
      "li",
      // Before the box loses the focus, which closes the list.
      { role: "option", id: `suggested-${place}`, "aria-selected": "false", on: { mousedown: (event) => { event.preventDefault(); choose(heading.descriptor_ui, heading.name); } } },
      heading.name, " ", heading.term === heading.name ? "" : make("span", { class: "number" }, `${heading.term} `), number(heading.citations),
    )));
    close();
    list.hidden = !headings.length;
    box.setAttribute("aria-expanded", !list.hidden);
  };
  const ours = async () => {
    asked?.abort();
    asked = new AbortController();
    if (!box.value.trim()) return close();
    try {
      const { headings } = await ask("/api/headings", { parameters: { q: box.value }, signal: asked.signal });
      byId("wrong-heading").textContent = "";
      show(headings);
    } catch (error) {
      if (error.name !== "AbortError") byId("wrong-heading").textContent = error.message;
    }
  };
  const move = (step) => {
    const options = [...list.children];
    if (list.hidden || !options.length) return;
    active = (active + step + options.length) % options.length;
    options.forEach((option, place) => option.setAttribute("aria-selected", place === active));
    options[active].scrollIntoView({ block: "nearest" });
    box.setAttribute("aria-activedescendant", options[active].id);
  };
  // By name, synonym, UI or tree number; the server names the nearest where there is none.
  const typed = async () => {
    try {
      const { headings: [heading] } = await ask("/api/search", { parameters: { q: "heading", mode: "bm25", k: 1, heading: box.value } });
      choose(heading.descriptor_ui, heading.name);
    } catch (error) {
      close();
      byId("wrong-heading").textContent = error.message;
    }
  };
  box.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(ours, PAUSE);
  });
  box.addEventListener("blur", close);
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") move(1);
    else if (event.key === "ArrowUp") move(-1);
    else if (event.key === "Escape") close();
    else if (event.key === "Enter" && active >= 0) list.children[active].dispatchEvent(new MouseEvent("mousedown", { cancelable: true }));
    else if (event.key === "Enter" && box.value.trim()) { clearTimeout(waiting); asked?.abort(); typed(); }
    else return;
    event.preventDefault();
  });
}

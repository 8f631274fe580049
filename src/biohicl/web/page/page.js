// The page: what is asked stands in its address, so that it can be shared and the back button works.

import { headingFilter, showChosen } from "./headings.js";
import { ask, byId, counted, make, sentence } from "./parts.js";
import { shown } from "./results.js";

const STEPS = [10, 30, 100];
const NOTHING = { q: "", mode: "hybrid", from: "", to: "", headings: [], types: [], like: "", k: STEPS[0] };
const names = new Map();
const chosen = new Set();
let about;
let state = { ...NOTHING };
let citations = [];
let asking;

function read() {
  const given = new URLSearchParams(location.search);
  const k = Number(given.get("k"));
  return {
    q: given.get("q") ?? "",
    mode: ["hybrid", "dense", "bm25"].includes(given.get("mode")) ? given.get("mode") : NOTHING.mode,
    from: given.get("from") ?? "",
    to: given.get("to") ?? "",
    headings: given.getAll("heading"),
    types: given.getAll("type"),
    like: /^\d+$/.test(given.get("like")) ? given.get("like") : "",
    k: STEPS.includes(k) ? k : STEPS[0],
  };
}

function address() {
  const { q, mode, from, to, headings, types, like, k } = state;
  const pairs = [["q", q], ["like", like], ["mode", mode === NOTHING.mode ? "" : mode], ["from", from], ["to", to]];
  pairs.push(...headings.map((ui) => ["heading", ui]), ...types.map((name) => ["type", name]), ["k", k === STEPS[0] ? "" : k]);
  const query = new URLSearchParams(pairs.filter(([, value]) => value !== "")).toString();
  return query ? `/?${query}` : "/";
}

// Changes what is asked for, notes it in the address, and asks.
function change(changes) {
  state = { ...state, ...("k" in changes ? {} : { k: STEPS[0] }), ...changes };
  const now = address();
  if (now !== location.pathname + location.search) history.pushState(null, "", now);
  show();
  return search();
}

// The boxes as the state has them.
function show() {
  byId("q").value = state.q;
  byId("mode").value = state.mode;
  byId("from").value = state.from;
  byId("to").value = state.to;
  byId("chips").replaceChildren(...state.headings.map((ui) => make(
    "li", {},
    make("button", { type: "button", "aria-label": `Remove ${names.get(ui) ?? ui}`, on: { click: () => { byId("heading").focus(); change({ headings: state.headings.filter((other) => other !== ui) }); } } }, `${names.get(ui) ?? ui} ×`),
  )));
  showChosen((ui) => state.headings.includes(ui));
  for (const box of byId("types").querySelectorAll("input")) box.checked = state.types.includes(box.value);
}

function parameters() {
  const pairs = [["k", state.k]];
  if (!state.like) pairs.push(["q", state.q], ["mode", state.mode]);
  if (state.from) pairs.push(["first_year", state.from]);
  if (state.to) pairs.push(["last_year", state.to]);
  return [...pairs, ...state.headings.map((ui) => ["heading", ui]), ...state.types.map((name) => ["publication_type", name])];
}

async function search() {
  asking?.abort();
  wrong("");
  document.title = state.q ? `${state.q} – BioHiCL search` : "BioHiCL search";
  if (!state.like && !state.q.trim()) {
    citations = [];
    return list("");
  }
  const length = Array.from(state.q).length;
  if (about && length > about.longest_query) {
    return wrong(`The query has ${counted(length, "character")}, and at most ${about.longest_query.toLocaleString("en")} are taken.`);
  }
  asking = new AbortController();
  const { signal } = asking;
  document.body.classList.add("waiting");
  try {
    const path = state.like ? `/api/similar/${encodeURIComponent(state.like)}` : "/api/search";
    const answer = await ask(path, { parameters: parameters(), signal });
    for (const { descriptor_ui: ui, name } of answer.headings) names.set(ui, name);
    state.headings = answer.headings.map(({ descriptor_ui: ui }) => ui);
    citations = answer.citations;
    show();
    const source = state.like ? ` most like PMID ${state.like}` : "";
    const filtered = state.from || state.to || state.headings.length || state.types.length;
    const nothing = filtered ? "No citation passes these filters." : "No citation has any of these words.";
    list(citations.length ? `${counted(citations.length, "citation")}${source}, best first` : nothing);
  } catch (error) {
    if (error.name === "AbortError") return;
    citations = [];
    list("");
    wrong(error.message);
  }
  if (!signal.aborted) document.body.classList.remove("waiting");
}

// Near the box that it is about.
function wrong(words) {
  const place = /^No year|_year/.test(words) ? "wrong-years" : /name or synonym|several descriptors|^Heading/.test(words) ? "wrong-heading" : "wrong";
  for (const id of ["wrong", "wrong-years", "wrong-heading"]) byId(id).textContent = id === place ? words : "";
  if (words && place !== "wrong") {
    byId("filters").open = true;
    byId("count").textContent = "Nothing was searched: a filter has to be put right.";
  }
  byId("q").setAttribute("aria-invalid", Boolean(words) && place === "wrong");
}

function list(words) {
  document.body.classList.remove("waiting");
  byId("count").textContent = words;
  const doing = {
    add,
    like: (citation) => { scrollTo(0, 0); byId("results").focus({ preventScroll: true }); change({ like: String(citation.pmid), q: "" }); },
    choose: (pmid, isChosen) => { isChosen ? chosen.add(pmid) : chosen.delete(pmid); count(); },
  };
  const here = new Set(citations.map(({ pmid }) => pmid));
  for (const pmid of chosen) if (!here.has(pmid)) chosen.delete(pmid);
  byId("results").replaceChildren(...citations.map((citation) => shown(citation, chosen.has(citation.pmid), doing)));
  byId("start").hidden = Boolean(state.q.trim() || state.like);
  byId("tools").hidden = !citations.length;
  byId("more").hidden = citations.length < state.k || state.k === STEPS.at(-1);
  byId("copied").textContent = "";
  count();
}

function count() {
  byId("chosen").textContent = chosen.size ? `${chosen.size} of ${citations.length} chosen` : `none chosen: all ${citations.length} are copied`;
  byId("all").checked = chosen.size > 0 && chosen.size === citations.length;
  byId("all").indeterminate = chosen.size > 0 && chosen.size < citations.length;
}

function add(ui, name) {
  names.set(ui, name);
  const headings = state.headings.includes(ui) ? state.headings.filter((other) => other !== ui) : [...state.headings, ui];
  change({ headings });
}

async function copy(format, label) {
  const pmids = citations.map(({ pmid }) => pmid).filter((pmid) => !chosen.size || chosen.has(pmid));
  const said = byId("copied");
  try {
    const text = await ask("/api/export", { body: { format, pmids } });
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = `${counted(pmids.length, "citation")} copied as ${label}.`;
    } catch {
      offer(text, format);
    }
  } catch (error) {
    said.textContent = error.message;
  }
}

// Where the clipboard is not ours.
function offer(text, format) {
  const link = byId("text-file");
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = `citations.${{ bibtex: "bib", ris: "ris" }[format] ?? "txt"}`;
  byId("text-content").value = text;
  byId("text").showModal();
  byId("text-content").select();
  byId("text-content").scrollTop = 0;
}

function listen() {
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const q = byId("q").value;
    if (!q.trim()) return wrong("The query is empty; say what is sought, in words.");
    change({ q, like: "", mode: byId("mode").value });
  });
  byId("mode").addEventListener("change", () => change({ mode: byId("mode").value, like: "", q: byId("q").value }));
  for (const id of ["from", "to"]) byId(id).addEventListener("change", () => change({ [id]: byId(id).value }));
  byId("all").addEventListener("change", (event) => {
    chosen.clear();
    if (event.target.checked) for (const { pmid } of citations) chosen.add(pmid);
    for (const box of byId("results").querySelectorAll(".hit > input")) box.checked = event.target.checked;
    count();
  });
  byId("more").addEventListener("click", () => change({ k: STEPS[STEPS.indexOf(state.k) + 1] }));
  byId("text-close").addEventListener("click", () => byId("text").close());
  for (const button of byId("tools").querySelectorAll("button")) button.addEventListener("click", () => copy(button.dataset.format, button.textContent));
  addEventListener("popstate", () => { state = read(); show(); search(); });
}

async function tell() {
  about = await ask("/api/about");
  const { first_year: first, last_year: last } = about;
  const source = about.invented ? "invented for the built-in sample" : "of PubMed";
  byId("about").textContent = `${counted(about.citations, "citation")} ${source}${first ? `, ${first} to ${last}` : ""}, release ${about.release}; model ${about.model}`;
  const types = Object.entries(about.publication_types).filter(([, number]) => number).sort((one, other) => other[1] - one[1] || one[0].localeCompare(other[0]));
  byId("types").replaceChildren(...types.map(([name, number]) => make(
    "li", {},
    make("label", {}, make("input", { type: "checkbox", value: name, on: { change: toggleType } }), make("span", {}, name), make("span", { class: "number" }, number.toLocaleString("en"))),
  )));
}

function toggleType({ target: { value, checked } }) {
  change({ types: checked ? [...state.types, value] : state.types.filter((name) => name !== value) });
}

state = read();
// On a narrow screen the results come first.
byId("filters").open = matchMedia("(min-width: 50.01rem)").matches;
listen();
headingFilter(add, (ui) => state.headings.includes(ui));
show();
tell().then(show, (error) => wrong(sentence(error.message))).then(search);

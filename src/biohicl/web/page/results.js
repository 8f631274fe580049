// Citations as they are shown.

import { make, marked } from "./parts.js";

const AUTHORS = 3;
const HEADINGS = 8;

// `add`: a heading as a filter. `like`: more like a citation. `choose`: that its box was ticked or not.
export function shown(citation, isChosen, { add, like, choose }) {
  const box = make("input", { type: "checkbox", "aria-label": `Choose ${citation.title}`, checked: isChosen, on: { change: (event) => choose(citation.pmid, event.target.checked) } });
  // What is no address of PubMed is no link, whatever the server says.
  const isPubMed = citation.link.startsWith("https://pubmed.ncbi.nlm.nih.gov/");
  const [text, unfold] = abstract(citation);
  const title = citation.title ? marked(citation.title, citation.title_matches) : ["(without a title)"];
  return make(
    "li",
    { class: "hit", "data-pmid": citation.pmid },
    box,
    make(
      "article",
      {},
      make("h2", { dir: "auto" }, ...(isPubMed ? [make("a", { href: citation.link, target: "_blank", rel: "noopener noreferrer" }, ...title)] : title)),
      make("p", { class: "by" }, citation.retracted ? make("span", { class: "badge" }, "Retracted") : "", citation.retracted ? " " : "", ...by(citation)),
      text,
      headings(citation, add),
      make("div", { class: "doing" }, unfold, make("button", { type: "button", "aria-label": `More like ${citation.title}`, on: { click: () => like(citation) } }, "More like this")),
    ),
  );
}

function by({ authors, journal, year, pmid, score }) {
  const first = authors.slice(0, AUTHORS).join(", ") + (authors.length > AUTHORS ? `, and ${authors.length - AUTHORS} more` : "");
  const all = authors.length > AUTHORS ? authors.join(", ") : null;
  const parts = [
    first && make("bdi", { title: all }, first),
    journal && make("bdi", {}, journal),
    year && String(year),
    `PMID ${pmid}`,
    make("span", { title: "comparable within one answer alone" }, `score ${score.toFixed(3)}`),
  ].filter(Boolean);
  return parts.flatMap((part, place) => (place ? [" · ", part] : [part]));
}

function abstract(citation) {
  if (!citation.abstract) return [make("p", { class: "by" }, "No abstract."), null];
  const text = make("p", { class: "abstract short", dir: "auto" }, ...marked(citation.abstract, citation.abstract_matches));
  const toggle = () => {
    const isShort = text.classList.toggle("short");
    button.setAttribute("aria-expanded", !isShort);
    button.textContent = isShort ? "Whole abstract" : "Less";
  };
  const button = make("button", { type: "button", "aria-expanded": "false", on: { click: toggle } }, "Whole abstract");
  return [text, button];
}

// Major topics first; of the others as many as fit a glance.
function headings(citation, add) {
  const sorted = [...citation.headings].sort((one, other) => other.major - one.major);
  const chip = ({ descriptor_ui: ui, name, major }) => make(
    "li", {},
    make("button", { type: "button", class: major ? "major" : null, title: major ? "A major topic; add as a filter" : "Add as a filter", on: { click: () => add(ui ?? name, name) } }, major ? `★ ${name}` : name),
  );
  const list = make("ul", { class: "chips", "aria-label": "MeSH headings" }, ...sorted.slice(0, HEADINGS).map(chip));
  const rest = sorted.slice(HEADINGS);
  if (rest.length) {
    const all = make("li", {}, make("button", { type: "button", on: { click: () => { all.replaceWith(...rest.map(chip)); } } }, `and ${rest.length} more`));
    list.append(all);
  }
  return sorted.length ? list : "";
}

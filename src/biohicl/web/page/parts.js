// What the other modules build the page with. Texts go in as text nodes alone, so that no markup in them is read.

export const byId = (id) => document.getElementById(id);

// An element with attributes; children are elements or texts. `on` has listeners by event.
export function make(tag, { on = {}, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  element.append(...children.filter((child) => child != null && child !== ""));
  return element;
}

// `text` in pieces, those of `spans` as <mark>. The server counts in code points, a string here in units of UTF-16.
export function marked(text, spans) {
  const characters = Array.from(text);
  const pieces = [];
  let last = 0;
  for (const [start, end] of spans) {
    pieces.push(characters.slice(last, start).join(""), make("mark", {}, characters.slice(start, end).join("")));
    last = end;
  }
  pieces.push(characters.slice(last).join(""));
  return pieces;
}

// The JSON, or text, that the server answers; an Error with its words where it refuses.
export async function ask(path, { parameters = [], body, signal } = {}) {
  const query = new URLSearchParams(parameters).toString();
  const how = body ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) } : {};
  let answer;
  try {
    answer = await fetch(query ? `${path}?${query}` : path, { ...how, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.ok) return body ? answer.text() : answer.json();
  const refusal = await answer.json().catch(() => ({}));
  throw new Error(sentence(refusal.error || `The server answers with status ${answer.status}.`));
}

export const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);
export const counted = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

// What the reader does: keys, buttons, choices, and files that are dropped.

import { act, activePane, panes, partner, queue, remove, setModel } from "./desk.js";
import { sides, state, step, take, view } from "./desk.js";
import { find, make } from "./dom.js";
import { save } from "./exports.js";
import { admit, chosen, dropped } from "./files.js";

const toggle = (name) => () => act(() => (state[name] = !state[name]));
const onFilm = (change) => () => activePane().film && change(activePane());
const next = (pane) => pane.present((pane.index + 1) % pane.film.presentations.length);
const compare = () => act(() => (state.other = state.other ? null : partner()));
const other = () => state.other && act(() => (state.active = 1 - state.active));

// [keys, what they do in words, how; the name that a button knows it by]
const KEYS = [
  [["J", "↓"], "Next image", () => step(1)],
  [["K", "↑"], "Previous image", () => step(-1)],
  [["O"], "Choose files", () => find("#files").click(), "files"],
  [["Delete"], "Remove this image", () => state.open && remove([state.open])],
  [["W"], "Window mode; while held, dragging changes the window", toggle("windows"), "windows"],
  [["P"], "Next presentation", onFilm(next)],
  [["I"], "Invert", onFilm((pane) => pane.invert()), "invert"],
  [["R"], "Rotate by 90°", onFilm((pane) => pane.rotate()), "rotate"],
  [["F"], "Fit", onFilm(() => view.fit()), "fit"],
  [["1"], "One to one: no pixel is scaled", onFilm((pane) => pane.actual()), "actual"],
  [["+", "="], "Zoom in", onFilm((pane) => pane.zoom(1.25)), "larger"],
  [["-"], "Zoom out", onFilm((pane) => pane.zoom(0.8)), "smaller"],
  [["0"], "Reset the film, as a double click does", onFilm((pane) => pane.reset()), "reset"],
  [["H"], "Heat map of the chosen finding", toggle("heat"), "heat"],
  [["G"], "Cells of the heat map", toggle("cells")],
  [["C"], "Compare two", compare, "compare"],
  [["S"], "The other film of two", other],
  [["?"], "These keys", () => find("#help").showModal(), "help"],
];
const ARROWS = { ArrowDown: "↓", ArrowUp: "↑" };
const REPEATED = "JK↓↑+=-";
const PAN = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const OWN_KEYS = "select, dialog, input[type=range]";

const keyed = Object.fromEntries(KEYS.flatMap(([keys, , run]) => keys.map((key) => [key, run])));
const named = {
  ...Object.fromEntries(KEYS.map(([, , run, name]) => [name, run])),
  folder: () => find("#folders").click(),
  close: () => find("#help").close(),
  clear: () => remove(queue.items),
  csv: () => save("csv"),
  pdf: () => save("pdf"),
  dicom: () => save("dicom"),
};

let held = null; // while the W key is down: whether something was dragged

function onKey(event) {
  if (event.key === "Escape") find("#exports").open = false;
  const elsewhere = event.target.closest?.(OWN_KEYS);
  if (elsewhere || event.ctrlKey || event.metaKey || event.altKey || !state.about) return;
  if (PAN[event.key] && takesArrow(event)) return;
  const key = event.key.length === 1 ? event.key.toUpperCase() : (ARROWS[event.key] ?? event.key);
  if (!keyed[key] || (event.key.length === 1 && !find("#single").checked)) return;
  event.preventDefault();
  if (event.repeat && !REPEATED.includes(key)) return;
  if (key === "W") held = { dragged: false };
  else keyed[key]();
  queue.changed();
}

// Arrows are those of what has the focus, and else go from image to image.
function takesArrow(event) {
  if (event.target.type === "radio") return true;
  const pane = panes.find((one) => one.canvas === event.target);
  if (!pane?.film) return false;
  const [right, down] = PAN[event.key];
  const far = 40 * devicePixelRatio;
  if (state.windows) pane.adjust(-right / 50, down / 50);
  else pane.pan(right * far, down * far);
  event.preventDefault();
  return true;
}

function onKeyUp(event) {
  if (event.key.toUpperCase() !== "W" || !held) return;
  if (!held.dragged) keyed.W();
  held = null;
}

function onClick({ target }) {
  const name = target.closest("[data-act]")?.dataset.act;
  if (name) {
    named[name]();
    queue.changed();
  }
  const line = target.closest("#table tbody tr");
  if (line) find("input", line).click();
  if (!target.closest("#exports")) find("#exports").open = false;
}

function onChange({ target }) {
  if (target.name === "finding") act(() => (state.label = target.value));
  if (target.id === "model") setModel(target.value);
  if (target.id === "cells") act(() => (state.cells = target.checked));
  if (target.id === "presentation" && target.value !== "own") {
    activePane().present(Number(target.value));
  }
  if (target.className === "partner") act(() => (state.other = partnerOf(target.value)));
  if (target.type === "file") {
    offer(chosen(target.files));
    target.value = "";
  }
}

function partnerOf(value) {
  const item = queue.items.find((one) => one.id === value);
  if (item) return { item, model: state.model };
  return { item: state.open, model: value.replace(/^run /, "") };
}

function onOpacity({ target }) {
  state.opacity = target.value / 100;
  find("#opaque").textContent = `${target.value} %`;
  queue.changed();
}

function offer(found) {
  if (found.length && state.about) take(admit(found, state.about.limits));
}

// A file beside the page's own place would otherwise take the browser away from it.
function onDrag(event) {
  if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
  event.preventDefault();
  document.body.classList.toggle("dragging", event.type !== "drop");
  if (event.type === "drop") dropped(event.dataTransfer).then(offer);
}

function preparePane(pane, index) {
  pane.part("letter").textContent = "AB"[index];
  if (index === 0) pane.part("partner").remove();
  pane.windowing = () => {
    if (held) held.dragged = true;
    return Boolean(held) || state.windows;
  };
  pane.used = () => {
    if (state.active === index) return;
    state.active = index;
    queue.changed();
  };
}

function helpOf([keys, text]) {
  const caps = keys.flatMap((key) => [make("kbd", {}, key), " "]);
  return make("tr", {}, make("th", { scope: "row" }, ...caps), make("td", {}, text));
}

/** Listen to the reader; `start` is what "Try again" does where the page knows no model yet. */
export function listen(start) {
  find("#panes").append(...panes.map((one) => one.root));
  find("#keys").append(...KEYS.map(helpOf));
  panes.forEach(preparePane);
  named.again = () => {
    if (!state.about) start();
    else act(() => queue.retry(queue.paused ? [] : sides().map(({ item }) => item)));
  };
  const listeners = { keydown: onKey, keyup: onKeyUp, click: onClick, change: onChange };
  const drags = { dragenter: onDrag, dragover: onDrag, drop: onDrag };
  for (const [name, does] of Object.entries({ ...listeners, ...drags })) {
    document.addEventListener(name, does);
  }
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove("dragging");
  });
  window.addEventListener("blur", () => (held = null));
  find("#opacity").addEventListener("input", onOpacity);
}

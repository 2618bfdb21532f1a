// What is shown of what is open: everything is brought up to date after each change.

import { activePane, cardNamed, panes, partner, queue, sides, state, view } from "./desk.js";
import { act, open, remove } from "./desk.js";
import { counted, find, findAll, make } from "./dom.js";
import { cardOf, findingsOf, labelsOf } from "./findings.js";
import { List } from "./list.js";

const list = new List(find("#images"), queue, {
  open,
  remove: (item) => remove([item]),
  retry: (item) => act(() => queue.retry([item])),
});

let asked = 0;

/** Bring everything up to date; once, however much changed. */
export function refresh() {
  asked ||= setTimeout(() => {
    asked = 0;
    if (!state.about) return showStatus();
    const shown = sides();
    find("#desk").classList.toggle("empty", !state.open);
    find("#empty").hidden = Boolean(state.open);
    find("#reading").hidden = !state.open;
    showModel();
    list.update(shown.map(({ item }) => item));
    showFilms(shown);
    showFindings(shown);
    showControls(shown);
    showStatus();
  });
}

function messageOf({ item, row, problem, model }) {
  if (row?.state === "failed") return `Could not be read: ${row.error}`;
  if (problem) return problem;
  if (queue.paused) return "Waiting for the server";
  return item.jobs.has(model) ? "Loading the film" : "Waiting";
}

function showFilms(shown) {
  view.panes = panes.slice(0, shown.length);
  panes[1].root.hidden = shown.length < 2;
  shown.forEach((side, index) => {
    const pane = panes[index];
    const before = pane.film;
    const { item, maps, row } = side;
    pane.show(row?.state === "failed" ? null : item.film, item.name, messageOf(side));
    pane.part("name").textContent = pane.part("name").title = side.name;
    pane.root.classList.toggle("active", shown.length > 1 && index === state.active);
    const layer = state.heat && maps?.layers.find((one) => one.label === state.label);
    const heat = layer ? heatOf(layer, maps, pane) : null;
    const same = ["image", "opacity", "cells"].every((one) => heat?.[one] === pane.heat?.[one]);
    if (pane.film && (before !== pane.film || !same)) {
      pane.heat = heat;
      pane.draw();
    }
  });
}

for (const pane of panes) pane.changed = showPresentations;

function heatOf(layer, maps, pane) {
  if (!layer.image) {
    layer.image = make("img");
    layer.image.onload = () => pane.draw();
    if (layer.png) layer.image.src = layer.png;
  }
  const { image } = layer;
  return { image, opacity: state.opacity, cells: state.cells && maps.cells };
}

let rendered = [];

function showFindings(shown) {
  const labels = shown[0]?.row?.findings.map((one) => one.label) ?? [];
  if (labels.length && !labels.includes(state.label)) state.label = labels[0];
  const parts = [state.model, ...shown.flatMap(({ row, name, problem }) => [row, name, problem])];
  if (parts.length === rendered.length && parts.every((one, index) => one === rendered[index])) {
    return markChosen();
  }
  rendered = parts;
  const focused = document.activeElement?.name === "finding";
  const made = state.open ? findingsOf(shown) : labelsOf(cardNamed(state.model));
  find("#table").replaceChildren(...made);
  markChosen();
  if (focused) find("#table input:checked")?.focus();
}

function markChosen() {
  for (const line of findAll("#table tbody tr")) {
    const chosen = line.dataset.label === state.label;
    line.classList.toggle("chosen", chosen);
    find("input", line).checked = chosen;
  }
}

function whereText(shown) {
  if (!shown[0].row?.findings.length) return "";
  const absent = shown.every(({ card }) => card.maps);
  if (!state.heat && !absent) return `Heat map of ${state.label}: off`;
  const texts = shown.map(lookedAt);
  if (texts.every((text) => text === texts[0])) return texts[0];
  return texts.map((text, index) => `${"AB"[index]}: ${text}`).join(". ");
}

function lookedAt({ card, maps, row }) {
  if (card.maps) return `No heat maps: ${card.maps}`;
  if (row && !row.findings.length) return "No heat map";
  if (!maps) return "Drawing the heat map";
  if (maps.absent) return `No heat map: ${maps.absent}`;
  return maps.layers.find((one) => one.label === state.label)?.png
    ? `Where the network looked for ${state.label}`
    : `Nothing in the image speaks for ${state.label}`;
}

function showControls(shown) {
  const pressed = { windows: state.windows, heat: state.heat, compare: Boolean(state.other) };
  for (const [name, on] of Object.entries(pressed)) {
    find(`[data-act="${name}"]`).setAttribute("aria-pressed", String(on));
  }
  find("#desk").classList.toggle("windowing", state.windows);
  find("#cells").checked = state.cells;
  find("#clear").hidden = !queue.items.length;
  find("#about").textContent = state.open ? state.open.name : "Findings";
  const film = Boolean(activePane().film);
  for (const one of findAll(".toolbar button:not([data-act=compare])")) one.disabled = !film;
  find("#presentation").disabled = !film;
  find("#heat").hidden = !shown[0]?.row?.findings.length;
  find("#map").hidden = !state.heat;
  find("#heat .scale").hidden = !state.heat;
  if (shown[0]) {
    find('[data-act="heat"]').disabled = shown.every(({ card }) => card.maps);
    find("#where").textContent = whereText(shown);
  }
  const { pdf, dicom } = state.about.exports;
  const scored = shown[0]?.row?.findings.length;
  find('[data-act="csv"]').disabled = !queue.items.some((one) => one.answers.size);
  find('[data-act="pdf"]').disabled = !pdf || !scored;
  find('[data-act="dicom"]').disabled = Boolean(dicom) || !scored;
  find("#why").textContent = dicom;
  find('[data-act="compare"]').disabled = !state.other && !partner();
  showPresentations();
  showPartners();
}

function options(select, groups, value) {
  const key = JSON.stringify(groups);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    const option = ([id, text]) => make("option", { value: id }, text);
    select.replaceChildren(...groups.map(([label, some]) =>
      make("optgroup", { label }, ...some.map(option))));
  }
  select.value = value;
}

function showPresentations() {
  const pane = activePane();
  const select = find("#presentation");
  const names = pane.film?.presentations.map(({ name }, index) => [String(index), name]) ?? [];
  const own = pane.own ? [["own", "Your window"]] : [];
  options(select, [["Presentation", [...names, ...own]]], pane.own ? "own" : String(pane.index));
  find('[data-act="invert"]').setAttribute("aria-pressed", String(pane.inverted));
}

function showPartners() {
  if (!state.other) return;
  const others = queue.items.filter((one) => one !== state.open);
  const models = state.about.models.filter((one) => one.name !== state.model);
  const groups = [
    ["Another image", others.map(({ id, name }) => [id, name])],
    ["This image by another run", models.map(({ name }) => [`run ${name}`, name])],
  ].filter(([, some]) => some.length);
  const { item, model } = state.other;
  const select = panes[1].part("partner");
  select.hidden = false;
  panes[1].part("name").hidden = true;
  options(select, groups, item === state.open ? `run ${model}` : item.id);
}

function showStatus() {
  const problem = queue.paused || state.said;
  const text = problem || state.busy || progress();
  const status = find("#status");
  if (status.textContent !== text) status.textContent = text;
  status.parentElement.classList.toggle("problem", Boolean(problem));
  const wrong = queue.paused || (state.open?.problem ?? "") || (!state.about && state.said);
  find('[data-act="again"]').hidden = !wrong;
}

function progress() {
  if (!state.about) return "Loading the page";
  const left = queue.items.filter((one) => ["waiting", "work"].includes(queue.stateOf(one)));
  const before = queue.ahead ? `, after ${counted(queue.ahead, "other request")}` : "";
  if (left.length) return `Scoring: ${counted(left.length, "image")} to go${before}`;
  const jobs = queue.items.flatMap((item) => [...item.jobs.values()]);
  if (!jobs.length) return "Ready";
  if (jobs.some(({ wants }) => wants.row)) return "Scoring";
  return jobs.some(({ wants }) => wants.maps) ? "Drawing the heat map" : "Loading the film";
}

let carded = null;

function showModel() {
  const { models, limits } = state.about;
  const card = cardNamed(state.model);
  if (card === carded) return;
  carded = card;
  options(find("#model"), [["Run", models.map(({ name }) => [name, name])]], card.name);
  find("#run").hidden = models.length < 2;
  find("#limits").textContent = `${limits.files} at once, of at most ${limits.mb} MiB each`;
  find("#name").textContent = card.name;
  find("#name").hidden = models.length > 1;
  find("#score").textContent = card.score;
  find("#brief").textContent = card.brief;
  document.title = `${card.name} · cxrtool`;
  find("#subject").textContent = card.name;
  find("#card").replaceChildren(...cardOf(card));
  const remark = (kind, title, text) =>
    make("p", { className: kind, role: "note" }, make("b", {}, title), ` ${text}`);
  find("#remarks").replaceChildren(
    ...(card.banner ? [remark("banner", "Drawn images.", card.banner)] : []),
    ...card.warnings.map((text) => remark("warning", "Warning:", text)),
  );
}

// What is open, and what becomes of it; what is shown follows (show.js).

import { Pane, View } from "./film.js";
import { Queue } from "./queue.js";

export const state = {
  ...{ about: null, model: "", open: null, other: null, label: "" },
  ...{ heat: false, cells: false, opacity: 0.6, windows: false, active: 0, said: "", busy: "" },
};
export const queue = new Queue();
export const view = new View();
export const panes = [new Pane(view), new Pane(view)];

export const cardNamed = (name) => state.about.models.find((one) => one.name === name);
export const activePane = () => panes[state.other ? state.active : 0];

/** What is on the screen: the image that is open, and the one beside it. */
export function sides() {
  const shown = [{ item: state.open, model: state.model }, state.other].filter((one) => one?.item);
  return shown.map(({ item, model }) => ({
    ...{ item, model, card: cardNamed(model), problem: item.problem },
    ...item.answers.get(model),
    name: state.other?.item === state.open ? model : item.name,
  }));
}

queue.opened = () =>
  sides().map(({ item, model, card }) => ({ item, model, maps: state.heat && !card.maps }));

export function act(change) {
  state.said = "";
  change();
  queue.run();
}

export function open(item) {
  act(() => {
    const { open: before, other } = state;
    state.open = item;
    if (!item) state.other = null;
    else if (other?.item === before && other?.model !== state.model) other.item = item;
    else if (other?.item === item) state.other = partner();
    if (item) queue.touch(item);
    view.fit();
  });
}

export function take({ taken, said }) {
  const added = queue.add(taken);
  queue.paused = "";
  if (added.length) open(added[0]);
  state.said = said;
  queue.changed();
}

export function remove(items) {
  const at = queue.items.indexOf(state.open);
  const rest = queue.items.filter((one) => !items.includes(one));
  if (items.includes(state.other?.item)) state.other = null;
  if (items.includes(state.open)) open(rest[Math.min(at, rest.length - 1)] ?? null);
  act(() => queue.remove(items));
}

export function step(by) {
  const order = queue.groups().flatMap((group) => group.items);
  const next = order[order.indexOf(state.open) + by];
  if (next) open(next);
}

export function setModel(name) {
  act(() => {
    const { open: item, other } = state;
    state.model = queue.model = name;
    if (other && other.item !== item) other.model = name;
    else if (other?.model === name) state.other = partner();
  });
}

/** What is compared by default: the image before in its study or folder, the next, another run. */
export function partner() {
  const { open: item, model } = state;
  if (!item) return null;
  const group = queue.groups().find(({ items }) => items.includes(item)).items;
  const order = queue.groups().flatMap(({ items }) => items);
  const at = order.indexOf(item);
  const before = group[group.indexOf(item) - 1];
  const beside = before ?? order[at + 1] ?? order[at - 1];
  if (beside) return { item: beside, model };
  const another = state.about.models.find((one) => one.name !== model);
  return another ? { item, model: another.name } : null;
}

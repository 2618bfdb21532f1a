// The queue on the screen: one entry an image, kept while it is there.

import { find, findAll, make } from "./dom.js";

const FAILED = { failed: "could not be read" };
const STATES = { waiting: "waiting", work: "at work", undecided: "nothing decided" };

export class List {
  #entries = new Map();
  #order = "";

  constructor(place, queue, { open, remove, retry }) {
    this.place = place;
    this.queue = queue;
    place.addEventListener("click", (event) => {
      const entry = event.target.closest("li");
      const item = entry && queue.items.find((one) => one.id === entry.dataset.item);
      if (!item) return;
      if (event.target.closest(".remove")) remove(item);
      else if (event.target.closest(".retry")) retry(item);
      else if (event.target.closest(".open")) open(item);
    });
  }

  update(shown) {
    const order = [];
    let studies = 0;
    for (const { study, folder, items } of this.queue.groups()) {
      const title = study ? `Study ${(studies += 1)}` : folder;
      items.forEach((item, index) => {
        const entry = this.#entryOf(item);
        const heading = title && index === 0 && (folder || items.length > 1) ? title : "";
        find("h2", entry).textContent = heading;
        find("h2", entry).hidden = !heading;
        entry.classList.toggle("grouped", Boolean(title && (folder || items.length > 1)));
        this.#fill(entry, item, shown);
        order.push(entry);
      });
    }
    this.#arrange(order);
  }

  #arrange(order) {
    const key = order.map((one) => one.dataset.item).join();
    if (key === this.#order) return;
    this.#order = key;
    const focused = document.activeElement;
    this.place.replaceChildren(...order);
    if (focused !== document.activeElement && this.place.contains(focused)) focused.focus();
    for (const item of this.#entries.keys()) {
      if (!this.queue.items.includes(item)) this.#entries.delete(item);
    }
  }

  #entryOf(item) {
    if (!this.#entries.has(item)) {
      const entry = find("#entry").content.firstElementChild.cloneNode(true);
      entry.dataset.item = item.id;
      find(".name", entry).textContent = item.name;
      find(".open", entry).title = item.folder ? `${item.folder}/${item.name}` : item.name;
      for (const button of findAll(".retry, .remove", entry)) {
        button.setAttribute("aria-label", `${button.title} ${item.name}`);
      }
      this.#entries.set(item, entry);
    }
    return this.#entries.get(item);
  }

  #fill(entry, item, shown) {
    const state = this.queue.stateOf(item);
    const told = this.#told(item, state);
    const current = String(shown.includes(item));
    const key = [state, told, current, item.thumb.length, item.problem].join();
    if (entry.dataset.key === key) return;
    entry.dataset.key = key;
    entry.dataset.state = state;
    find(".state", entry).textContent = told;
    find(".retry", entry).hidden = state !== "failed" && !item.problem;
    const button = find(".open", entry);
    if (current === "true" && button.getAttribute("aria-current") !== "true") {
      requestAnimationFrame(() => entry.scrollIntoView({ block: "nearest", inline: "nearest" }));
    }
    button.setAttribute("aria-current", current);
    const place = find(".thumb", entry);
    if (item.thumb && !place.firstChild) place.append(make("img", { src: item.thumb, alt: "" }));
  }

  #told(item, state) {
    const row = this.queue.rowOf(item);
    if (!row) return item.problem ? "no answer" : STATES[state];
    const told = FAILED[state] ?? STATES[state] ?? row.summary;
    return row.warning && state === "warned" ? `${told} · warning` : told;
  }
}

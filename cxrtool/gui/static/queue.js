// The images that were dropped, in that order, and what the server is asked about each.

import { predict, ServerError } from "./api.js";
import { decodeFilm } from "./windows.js";

const AT_ONCE = 2;
const FILMS_KEPT = 4;
const INCOMPLETE = "The server's answer is not complete: try again.";

export class Queue {
  items = [];
  paused = ""; // why nothing is asked any more
  ahead = 0; // requests of others that come first
  model = ""; // asked about what waits
  opened = () => []; // what is on the screen: {item, model, maps}
  changed = () => {};
  #running = 0;
  #made = 0;
  #films = []; // items with pixels, the one used last at the end

  /** Put files at the end; they wait until `run`. */
  add(files) {
    const added = files.map(({ file, folder }) => ({
      ...{ id: `image-${(this.#made += 1)}`, file, folder, name: file.name },
      ...{ answers: new Map(), jobs: new Map(), film: null, thumb: "", problem: "" },
    }));
    this.items.push(...added);
    return added;
  }

  remove(items) {
    this.items = this.items.filter((one) => !items.includes(one));
    this.#films = this.#films.filter((one) => !items.includes(one));
    for (const item of items) for (const job of item.jobs.values()) job.controller.abort();
    this.run();
  }

  retry(items) {
    this.paused = "";
    for (const item of items) {
      item.problem = "";
      for (const [model, { row }] of item.answers) {
        if (row?.state === "failed") item.answers.delete(model);
      }
    }
    this.run();
  }

  /** Ask as much as may be asked at once; what is on the screen first. */
  run() {
    this.#abandon();
    while (this.#running < AT_ONCE && !this.paused) {
      const job = this.#next();
      if (!job) break;
      this.#start(job);
    }
    this.changed();
  }

  /** waiting, work, or what came of it: scored, warned, undecided, failed. */
  stateOf(item) {
    const row = this.rowOf(item);
    if (row) return row.state;
    if (item.problem) return "failed";
    return item.jobs.size ? "work" : "waiting";
  }

  /** What the present model says of an image, or else the last that was asked. */
  rowOf(item) {
    return (item.answers.get(this.model) ?? [...item.answers.values()].at(-1))?.row;
  }

  /** The images in groups of one study or folder, each where its first image was dropped. */
  groups() {
    const groups = new Map();
    for (const item of this.items) {
      const study = this.rowOf(item)?.study;
      const key = study ? `study ${study}` : item.folder ? `folder ${item.folder}` : item.id;
      if (!groups.has(key)) groups.set(key, { study, folder: item.folder, items: [] });
      groups.get(key).items.push(item);
    }
    return [...groups.values()];
  }

  // Pixels that nobody looks at any more need not come.
  #abandon() {
    const open = this.opened().map(({ item }) => item);
    for (const item of this.items) {
      if (open.includes(item)) continue;
      for (const { wants, controller } of item.jobs.values()) if (!wants.row) controller.abort();
    }
  }

  #next() {
    for (const { item, model, maps } of this.opened()) {
      if (item.problem || item.jobs.has(model)) continue;
      const answer = item.answers.get(model);
      if (answer?.row?.state === "failed") continue;
      const coming = [...item.jobs.values()].some(({ wants }) => wants.film);
      const wants = { row: !answer?.row, film: !item.film && !coming, maps: maps && !answer?.maps };
      if (wants.row || wants.film || wants.maps) return { item, model, wants };
    }
    const item = this.items.find((one) => this.stateOf(one) === "waiting");
    return item && { item, model: this.model, wants: { row: true } };
  }

  async #start({ item, model, wants }) {
    const controller = new AbortController();
    item.jobs.set(model, { wants, controller });
    this.#running += 1;
    const { film, maps } = wants;
    try {
      const fields = { model, film, maps, thumb: !item.thumb };
      for await (const [name, data] of predict(item.file, fields, controller.signal)) {
        this.#take(item, model, name, data);
        if (film && !wants.row && !maps && item.film) break; // its row is known
      }
      const { row, maps: drawn } = item.answers.get(model) ?? {};
      const scored = row && row.state !== "failed";
      const whole = row && (!scored || ((!film || item.film) && (!maps || drawn)));
      if (!whole) throw new ServerError(INCOMPLETE);
    } catch (error) {
      if (controller.signal.aborted) return;
      if (error.forAll) this.paused = error.message;
      else item.problem = error.message;
    } finally {
      item.jobs.delete(model);
      this.#running -= 1;
      this.run();
    }
  }

  #take(item, model, name, data) {
    this.ahead = name === "queued" ? data.ahead : 0;
    if (name === "film") this.#keep(item, decodeFilm(data));
    if (name === "row") {
      item.thumb ||= data.thumb ?? "";
      item.answers.set(model, { ...item.answers.get(model), row: data });
    }
    if (name === "maps") item.answers.get(model).maps = data;
    this.changed();
  }

  #keep(item, film) {
    item.film = film;
    this.touch(item);
    const open = this.opened().map((one) => one.item);
    const old = this.#films.slice(0, -FILMS_KEPT).filter((one) => !open.includes(one));
    for (const one of old) {
      one.film = null;
      for (const answer of one.answers.values()) delete answer.maps;
    }
    this.#films = this.#films.filter((one) => !old.includes(one));
  }

  /** Note that an image is looked at: its pixels go last. */
  touch(item) {
    this.#films = [...this.#films.filter((one) => one !== item), ...(item.film ? [item] : [])];
  }
}

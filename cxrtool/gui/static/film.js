// One film on the screen: its pixels through a window, zoomed, turned, with what lies over it.

import { find, make } from "./dom.js";
import { coloursOf, greysOf, paint, shown, windowOf } from "./windows.js";

const MOST = 32; // screen pixels that one of the film may have across
const SHARP = 4; // from this zoom on single pixels are shown as such
const EDGES = ["left", "top", "right", "bottom"];
const LENGTHS = [1, 2, 5, 10, 20, 50, 100, 200];
const WHOLE = { scale: 1, x: 0.5, y: 0.5 };

/** Where panes look, together: zoom over what fits, and the middle as shares of the film. */
export class View {
  panes = [];
  scale = 1;
  x = 0.5;
  y = 0.5;

  set(values) {
    Object.assign(this, values);
    this.x = Math.min(Math.max(this.x, 0), 1);
    this.y = Math.min(Math.max(this.y, 0), 1);
    for (const pane of this.panes) pane.draw();
  }

  fit() {
    this.set(WHOLE);
  }
}

export class Pane {
  film = null;
  own = null; // the window that the reader made
  index = 0; // of the presentation that is shown
  inverted = false;
  turns = 0; // quarters, clockwise
  heat = null; // {image, opacity, cells}
  windowing = () => false;
  used = () => {};
  changed = () => {}; // what is shown, and how
  #pointers = new Map();
  #picture = make("canvas");
  #image = null;
  #asked = 0;

  constructor(view) {
    this.view = view;
    this.root = find("#pane").content.firstElementChild.cloneNode(true);
    this.canvas = find("canvas", this.root);
    this.marks = EDGES.map((edge) => find(`.edge.${edge}`, this.root));
    this.#listen();
    new ResizeObserver(() => this.#resize()).observe(this.canvas);
  }

  part(name) {
    return find(`.${name}`, this.root);
  }

  /** Show a film; or say why there is none. */
  show(film, name, message) {
    this.part("message").textContent = film ? "" : message;
    if (film === this.film) return;
    this.film = film;
    this.root.classList.toggle("without", !film);
    const about = film ? `, ${film.width} by ${film.height} pixels` : "";
    this.canvas.setAttribute("aria-label", `X-ray ${name}${about}`);
    this.part("size").textContent = film ? `${film.width} × ${film.height}` : "";
    Object.assign(this, { own: null, index: 0, inverted: false, turns: 0, heat: null });
    this.#image = null;
    if (film) {
      this.#picture.width = film.width;
      this.#picture.height = film.height;
      this.#image = new ImageData(film.width, film.height);
    } else this.#picture.width = this.#picture.height = 0;
    this.#place();
    this.paint();
  }

  get presentation() {
    return this.own ?? this.film.presentations[this.index];
  }

  present(index) {
    Object.assign(this, { own: null, index });
    this.paint();
  }

  invert() {
    this.inverted = !this.inverted;
    this.paint();
  }

  rotate() {
    this.turns = (this.turns + 1) % 4;
    this.#place();
    if (this.view.panes.length === 1) this.view.set({ x: 1 - this.view.y, y: this.view.x });
    else this.draw();
  }

  reset() {
    Object.assign(this, { own: null, index: 0, inverted: false, turns: 0 });
    this.#place();
    this.paint();
    this.view.fit();
  }

  /** One pixel of the film is one of the screen. */
  actual() {
    this.view.set({ scale: 1 / this.#fitting() });
  }

  /** Zoom about a point of the canvas, in its pixels; its middle where none is given. */
  zoom(factor, at = [this.canvas.width / 2, this.canvas.height / 2]) {
    const fitting = this.#fitting();
    const most = Math.max(MOST / fitting, 1);
    const least = Math.min(0.5, 1 / fitting);
    const scale = Math.min(Math.max(this.view.scale * factor, least), most);
    const change = 1 / (fitting * this.view.scale) - 1 / (fitting * scale);
    const [wide, high] = this.#sides();
    this.view.set({
      scale,
      x: this.view.x + ((at[0] - this.canvas.width / 2) * change) / wide,
      y: this.view.y + ((at[1] - this.canvas.height / 2) * change) / high,
    });
  }

  /** Move the film by so many pixels of the canvas. */
  pan(right, down) {
    const [wide, high] = this.#sides();
    const each = this.#fitting() * this.view.scale;
    const [x, y] = [this.view.x - right / each / wide, this.view.y - down / each / high];
    this.view.set({ x, y });
  }

  /** Change contrast and brightness by shares of the values in use. */
  adjust(wider, brighter) {
    const from = windowOf(this.film, this.presentation);
    const step = Math.max(windowOf(this.film, this.film.presentations[0]).width, from.width);
    const width = Math.max(from.function === "LINEAR" ? 2 : 1, from.width + wider * step);
    const direction = this.film.white_is_zero === this.inverted ? -1 : 1;
    const centre = from.centre + direction * brighter * step;
    this.own = { ...from, name: "", width, centre };
    this.paint();
  }

  /** Look all pixels up anew, then draw; at most once a frame. */
  paint() {
    this.stale = true;
    this.draw();
    this.changed();
  }

  draw() {
    this.#asked ||= requestAnimationFrame(() => {
      this.#asked = 0;
      this.#render();
    });
  }

  #sides() {
    const { width, height } = this.film;
    return this.turns % 2 ? [height, width] : [width, height];
  }

  #fitting() {
    const [wide, high] = this.#sides();
    return Math.min(this.canvas.width / wide, this.canvas.height / high);
  }

  #resize() {
    const { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.max(1, Math.round(clientWidth * devicePixelRatio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * devicePixelRatio));
    this.#render(); // a canvas is empty after that: another frame would be one too late
  }

  #repaint() {
    this.stale = false;
    const colours = coloursOf(greysOf(this.film, this.presentation), this.inverted);
    paint(this.film.values, colours, new Uint32Array(this.#image.data.buffer));
    find2d(this.#picture).putImageData(this.#image, 0, 0);
  }

  #render() {
    const context = find2d(this.canvas);
    context.reset();
    if (!this.film) return;
    if (this.stale) this.#repaint();
    this.#transform(context);
    const { width, height } = this.film;
    const each = this.#fitting() * this.view.scale;
    context.imageSmoothingEnabled = each < SHARP;
    context.imageSmoothingQuality = this.#pointers.size ? "low" : "medium"; // fast while it moves
    context.drawImage(this.#picture, 0, 0);
    if (this.heat?.image?.complete) this.#overlay(context, width, height, each);
    this.#tell(each);
  }

  #transform(context) {
    const { width, height } = this.film;
    const each = this.#fitting() * this.view.scale;
    const [wide, high] = this.#sides();
    const left = this.canvas.width / 2 - this.view.x * wide * each;
    const top = this.canvas.height / 2 - this.view.y * high * each;
    context.translate(Math.round(left), Math.round(top)); // one to one, no pixel is blurred
    context.scale(each, each);
    context.translate(wide / 2, high / 2);
    context.rotate((this.turns * Math.PI) / 2);
    context.translate(-width / 2, -height / 2);
  }

  #overlay(context, width, height, each) {
    const { image, opacity, cells } = this.heat;
    context.imageSmoothingEnabled = true;
    context.globalAlpha = opacity;
    if (image.width) context.drawImage(image, 0, 0, width, height);
    context.globalAlpha = 1;
    if (!cells) return;
    const edges = (count, side) =>
      Array.from({ length: count + 1 }, (_, index) => cells.first + (index - 0.5) * cells.step)
        .map((share) => Math.min(Math.max(share, 0), 1) * side);
    context.beginPath();
    for (const x of edges(cells.columns, width)) context.moveTo(x, 0), context.lineTo(x, height);
    for (const y of edges(cells.rows, height)) context.moveTo(0, y), context.lineTo(width, y);
    context.lineWidth = devicePixelRatio / each;
    context.strokeStyle = "rgb(140 220 255 / .75)";
    context.stroke();
  }

  // The letters stay at the edges that they belong to, however the film is turned.
  #place() {
    const [left, right] = this.film?.sides ?? ["", ""];
    const letters = [left, "", right, ""];
    for (const [index, mark] of this.marks.entries()) {
      mark.textContent = letters[(index + 4 - this.turns) % 4];
    }
  }

  #tell(each) {
    this.part("zoom").textContent = `${Math.round(each * 100)} %`;
    const { kind, name, centre, width } = this.presentation;
    const numbers = kind === "window" ? `centre ${shown(centre)}, width ${shown(width)}` : name;
    this.part("window").textContent = numbers + (this.inverted ? ", inverted" : "");
    this.#measure(each / devicePixelRatio);
  }

  #measure(each) {
    const bar = this.part("ruler");
    const spacing = this.film.spacing?.[this.turns % 2 ? 0 : 1];
    bar.hidden = !spacing;
    if (!spacing) return;
    const most = this.canvas.clientWidth / 4;
    const length = LENGTHS.findLast((one) => (one / spacing) * each <= most) ?? LENGTHS[0];
    find("i", bar).style.width = `${(length / spacing) * each}px`;
    find("span", bar).textContent = `${length} mm`;
  }

  #point(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top].map((one) => one * devicePixelRatio);
  }

  #value(event) {
    const context = find2d(this.canvas);
    context.save();
    context.resetTransform();
    this.#transform(context);
    const at = context.getTransform().inverse().transformPoint(new DOMPoint(...this.#point(event)));
    context.restore();
    const [x, y] = [Math.floor(at.x), Math.floor(at.y)];
    const { width, height, values, slope, intercept } = this.film;
    const inside = x >= 0 && y >= 0 && x < width && y < height;
    const value = slope * values[y * width + x] + intercept;
    this.part("value").textContent = inside ? `${x}, ${y}: ${shown(value)}` : "";
  }

  #listen() {
    const { canvas } = this;
    const on = (name, act, options) =>
      canvas.addEventListener(name, (event) => this.film && act(event), options);
    on("wheel", (event) => {
      event.preventDefault();
      const speed = event.ctrlKey ? 0.01 : 0.0015; // a pinch on a touchpad says ctrl
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      this.zoom(Math.exp(-event.deltaY * lines * speed), this.#point(event));
    }, { passive: false });
    on("pointerdown", (event) => {
      this.used();
      canvas.setPointerCapture(event.pointerId);
      const windows = event.button === 2 || this.windowing();
      this.#pointers.set(event.pointerId, { at: this.#point(event), windows });
    });
    on("pointermove", (event) => this.#move(event));
    const end = ({ pointerId }) => this.#pointers.delete(pointerId) && this.draw();
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, end);
    on("pointerleave", () => (this.part("value").textContent = ""));
    on("contextmenu", (event) => event.preventDefault());
    on("dblclick", () => this.reset());
    canvas.addEventListener("focus", () => this.used());
  }

  #move(event) {
    this.#value(event);
    const moved = this.#pointers.get(event.pointerId);
    if (!moved) return;
    const [before, now] = [moved.at, this.#point(event)];
    const [right, down] = [now[0] - before[0], now[1] - before[1]];
    moved.at = now;
    if (this.#pointers.size === 2) {
      const other = [...this.#pointers.values()].find((one) => one !== moved).at;
      const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
      this.pan(right / 2, down / 2);
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      this.zoom(apart(now) / Math.max(apart(before), 1), middle);
    } else if (moved.windows || this.windowing()) {
      const each = devicePixelRatio * 500;
      this.adjust(right / each, -down / each);
    } else this.pan(right, down);
  }
}

const find2d = (canvas) => canvas.getContext("2d");

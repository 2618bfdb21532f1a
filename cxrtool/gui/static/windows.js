// From a film's pixel values to 8-bit greys. Pure functions, by DICOM PS3.3 C.11.2.1.2.

export const bytesOf = (text) =>
  Uint8Array.fromBase64
    ? Uint8Array.fromBase64(text)
    : Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** A film as the server sent it, with its pixels as numbers. */
export function decodeFilm({ pixels, presentations, ...film }) {
  const bytes = bytesOf(pixels);
  const values = film.bits === 16 ? new Uint16Array(bytes.buffer) : bytes;
  if (values.length !== film.width * film.height) throw new Error("the film is not whole");
  const decoded = presentations.map((one) =>
    one.kind === "table" ? { ...one, greys: bytesOf(one.greys) } : one,
  );
  const most = values.reduce((one, other) => (one > other ? one : other), 0);
  return { ...film, values, most, presentations: decoded };
}

// The share of full white, not yet cut off at 0 and 1. A LINEAR window of width 1 is a step.
const SHAPES = {
  LINEAR: (value, centre, width) =>
    width > 1 ? (value - centre + 0.5) / (width - 1) + 0.5 : Number(value > centre - 0.5),
  LINEAR_EXACT: (value, centre, width) => (value - centre) / width + 0.5,
  SIGMOID: (value, centre, width) => 1 / (1 + Math.exp((-4 * (value - centre)) / width)),
};

/** The grey of every pixel value up to the most that a film has. */
export function greysOf(film, presentation) {
  const greys = new Uint8ClampedArray(film.most + 1); // rounds, and cuts off
  if (presentation.kind === "table") {
    const { greys: table } = presentation;
    greys.set(table.subarray(0, greys.length));
    return table.length < greys.length ? greys.fill(table.at(-1), table.length) : greys;
  }
  const { centre, width } = presentation;
  const shape = SHAPES[presentation.function];
  for (let pixel = 0; pixel < greys.length; pixel += 1) {
    greys[pixel] = 255 * shape(film.slope * pixel + film.intercept, centre, width);
  }
  return film.white_is_zero ? greys.map((grey) => 255 - grey) : greys;
}

/** Greys as the pixels of an ImageData, each in one number. */
export const coloursOf = (greys, inverted) =>
  Uint32Array.from(greys, (grey) => 0xff000000 | ((inverted ? 255 - grey : grey) * 0x010101));

/** Look every pixel up: one loop over the film. */
export function paint(values, colours, into) {
  for (let index = 0; index < values.length; index += 1) into[index] = colours[values[index]];
}

/** The window to start from where a reader changes what a presentation shows. */
export function windowOf(film, presentation) {
  if (presentation.kind === "window") return presentation;
  const greys = greysOf(film, presentation);
  const low = Math.max(0, greys.findIndex((grey) => grey !== greys[0]) - 1);
  const found = greys.findLastIndex((grey) => grey !== greys.at(-1)) + 1;
  const high = found > low ? found : greys.length - 1;
  const centre = film.slope * ((low + high) / 2) + film.intercept;
  const width = Math.max(1, Math.abs(film.slope) * (high - low));
  return { kind: "window", centre, width, function: "LINEAR_EXACT" };
}

/** A number as it is read on the screen: six digits at most, a point in every language. */
export const shown = (value) => String(Number(value.toPrecision(6)));

// What the page asks the server, and what it says when there is no good answer.

const GONE =
  "The server does not answer. If it was ended, start it again; what was dropped here is kept.";
const BROKEN = "The connection broke before the answer was complete.";
const UNREADABLE = "The file cannot be read any more: it was changed or moved. Drop it again.";
const WORDS = {
  401: "The page is not allowed to ask this server: open it by the address with the token.",
  413: "The file is too large for this server.",
  503: "The server has too much to do: try again in a minute.",
};
const FOR_ALL = [401, 403, 503]; // of no use to ask about the next image

/** What went wrong in plain words; `forAll`: other images would fare the same. */
export class ServerError extends Error {
  constructor(text, forAll = false) {
    super(text);
    this.forAll = forAll;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    throw error.name === "AbortError" ? error : await whyBroken(options.body);
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const text = typeof told.detail === "string" && told.detail ? told.detail : WORDS[answer.status];
  const unknown = `The server answered ${answer.status}: try again.`;
  throw new ServerError(text || unknown, FOR_ALL.includes(answer.status));
}

// Of a request that came to nothing a browser does not say why.
async function whyBroken(form) {
  try {
    await form?.get("files").slice(0, 1).arrayBuffer();
  } catch {
    return new ServerError(UNREADABLE);
  }
  const there = await fetch("health", { cache: "no-store" }).catch(() => null);
  return there ? new ServerError(BROKEN) : new ServerError(GONE, true);
}

function formOf(files, fields) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, String(value));
  return form;
}

export const getModels = async () => (await ask("api/model")).json();

/** A document of one model about files: `kind` is pdf or dicom. */
export async function getDocument(kind, files, fields) {
  const answer = await ask(`api/${kind}`, { method: "POST", body: formOf(files, fields) });
  return answer.blob();
}

/** Server-sent events of a text that comes in pieces; each piece is looked at once. */
export class EventParser {
  #begun = []; // of the line that has no end yet
  #name = "message";
  #data = [];

  *push(text) {
    const [first, ...others] = text.split("\n");
    this.#begun.push(first);
    for (const next of others) {
      const line = this.#begun.join("");
      this.#begun = [next];
      const event = this.#take(line.endsWith("\r") ? line.slice(0, -1) : line);
      if (event) yield event;
    }
  }

  #take(line) {
    if (line === "") {
      const event = this.#data.length && [this.#name, JSON.parse(this.#data.join("\n"))];
      this.#name = "message";
      this.#data = [];
      return event;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") this.#name = value;
    if (field === "data") this.#data.push(value);
    return null;
  }
}

/** What the server says about one file: [name, data] of each event, up to `done`. */
export async function* predict(file, fields, signal) {
  const body = formOf([file], fields);
  const headers = { accept: "text/event-stream" };
  const answer = await ask("api/predict", { method: "POST", body, headers, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  try {
    for (;;) {
      const { value, done } = await reader.read().catch(async (error) => {
        throw error.name === "AbortError" ? error : await whyBroken(body);
      });
      if (done) throw await whyBroken(body);
      for (const [name, data] of parser.push(value)) {
        if (name === "done") return;
        if (name === "error") throw new ServerError(data.detail);
        yield [name, data];
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

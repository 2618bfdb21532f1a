// Results to take along: a table that is made here, documents that the server makes.

import { getDocument } from "./api.js";
import { csvOf } from "./csv.js";
import { cardNamed, queue, sides, state } from "./desk.js";
import { find, make } from "./dom.js";

const PATH = ({ folder, name }) => (folder ? `${folder}/${name}` : name);

function table() {
  const rows = queue.items.flatMap((item) =>
    [...item.answers].map(([model, { row }]) => {
      const { fingerprint } = cardNamed(model);
      return { path: PATH(item), model, fingerprint, row };
    }),
  );
  const labels = state.about.models.flatMap((card) => card.labels.map((one) => one.label));
  return new Blob([csvOf(rows, [...new Set(labels)])], { type: "text/csv;charset=utf-8" });
}

const DOCUMENTS = {
  csv: async () => [table(), "findings.csv"],
  pdf: async ({ item, model }) => [
    await getDocument("pdf", [item.file], { model, label: state.label }),
    `${item.name}.pdf`,
  ],
  dicom: async ({ item, model, row }) => {
    const same = queue.items.filter((one) => row?.study && queue.rowOf(one)?.study === row.study);
    const files = (same.length ? same : [item]).map((one) => one.file);
    return [await getDocument("dicom", files, { model }), `${item.name}.zip`];
  },
};

/** Make a csv, pdf or dicom and hand it to the browser. */
export async function save(kind) {
  find("#exports").open = false;
  state.busy = `Preparing the ${kind === "csv" ? "CSV" : kind === "pdf" ? "PDF" : "DICOM results"}`;
  state.said = "";
  queue.changed();
  try {
    const [blob, name] = await DOCUMENTS[kind](sides()[0]);
    const href = URL.createObjectURL(blob);
    make("a", { href, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(href), 10_000); // the browser has begun to read it
  } catch (error) {
    state.said = error.message;
  }
  state.busy = "";
  queue.changed();
}

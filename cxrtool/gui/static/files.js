// What was dropped or chosen: files with the folder that they lay in, and which of them are taken.

import { counted } from "./dom.js";

const IMAGE = /\.(jpe?g|png|tiff?|dcm|dicom|ima)$|^[^.]+$/i; // DICOMs often have no ending at all
const INDEX = /^DICOMDIR$/i;

/** The files of a drop, those in folders too. Must be called while the event is handled. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((one) => one.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...transfer.files].map((file) => ({ file, folder: "" }));
  if (!entries.some((one) => one.isDirectory)) return plain;
  return (await Promise.all(entries.map((one) => filesOf(one, "")))).flat();
}

async function filesOf(entry, folder) {
  if (entry.isFile) {
    return [{ file: await new Promise((done, fail) => entry.file(done, fail)), folder }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!some.length) break; // a browser gives a hundred at a time
    found.push(...some);
  }
  found.sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
  const path = folder ? `${folder}/${entry.name}` : entry.name;
  return (await Promise.all(found.map((one) => filesOf(one, path)))).flat();
}

/** The files that were chosen in a dialog. */
export const chosen = (files) =>
  [...files].map((file) => ({
    file,
    folder: (file.webkitRelativePath || "").split("/").slice(0, -1).join("/"),
  }));

/** Of what was found those to be taken, and what is said of the others. */
export function admit(found, limits) {
  const images = found.filter(
    ({ file, folder }) => !folder || (IMAGE.test(file.name) && !INDEX.test(file.name)),
  );
  const said = [];
  const left = found.length - images.length;
  if (left) said.push(`${counted(left, "file")} left out that no image is called like.`);
  if (images.length > limits.files) {
    const few = `Drop ${limits.files} or fewer, and the others when these are done.`;
    said.push(`${images.length} files are too many: at most ${limits.files} at once. ${few}`);
    return { taken: [], said: said.join(" ") };
  }
  const large = images.filter(({ file }) => file.size > limits.mb * 2 ** 20);
  for (const { file } of large) {
    const size = Math.ceil(file.size / 2 ** 20);
    said.push(
      `${file.name} has ${size} MiB, and at most ${limits.mb} MiB can be sent: ` +
        "export it smaller, or start the page with a larger --max-mb.",
    );
  }
  return { taken: images.filter((one) => !large.includes(one)), said: said.join(" ") };
}

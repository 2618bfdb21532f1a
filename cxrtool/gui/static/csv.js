// The queue as a table, in the columns of `cxrtool predict --output`.

const AFTER = ["positive", "warning", "error", "model", "fingerprint"];

// A spreadsheet takes a text that begins like this for a formula.
const guarded = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const cell = (value) => (typeof value === "number" ? String(value) : quoted(guarded(value ?? "")));

/** Lines of CSV for rows of {path, model, fingerprint, row}; `labels` are the columns between. */
export function csvOf(rows, labels) {
  const lines = rows.map(({ path, model, fingerprint, row }) => {
    const found = new Map(row.findings.map((one) => [one.label, one.probability]));
    const positive = row.findings.filter(({ decision }) => ["positive", "yes"].includes(decision));
    return [
      path,
      ...labels.map((label) => found.get(label)),
      positive.map((one) => one.label).join(";"),
      row.warning,
      row.error,
      model,
      fingerprint,
    ];
  });
  return [["path", ...labels, ...AFTER], ...lines]
    .map((line) => `${line.map(cell).join(",")}\n`)
    .join("");
}

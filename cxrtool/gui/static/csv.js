// The queue as a table, in the columns of `cxrtool predict --output`.

const AFTER = ["positive", "warning", "error"];
const MODEL = ["model", "fingerprint"];

// A spreadsheet takes a text that begins like this for a formula.
const guarded = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const cell = (value) => (typeof value === "number" ? String(value) : quoted(guarded(value ?? "")));

const verdictsOf = (row) =>
  row.findings.filter((one) => one.verdict).map((one) => `${one.label}:${one.verdict}`).join(";");

/** Lines of CSV for rows of {path, model, fingerprint, row}; `labels` are the columns between. */
export function csvOf(rows, labels) {
  const judged = rows.some(({ row }) => row.findings.some((one) => one.verdict));
  const lines = rows.map(({ path, model, fingerprint, row }) => {
    const found = new Map(row.findings.map((one) => [one.label, one.probability]));
    const positive = row.findings.filter(({ decision }) => ["positive", "yes"].includes(decision));
    return [
      path,
      ...labels.map((label) => found.get(label)),
      positive.map((one) => one.label).join(";"),
      [row.warning, ...row.contradictions].filter((text) => text).join("; "),
      row.error,
      ...(judged ? [verdictsOf(row)] : []),
      model,
      fingerprint,
    ];
  });
  return [["path", ...labels, ...AFTER, ...(judged ? ["verdict"] : []), ...MODEL], ...lines]
    .map((line) => `${line.map(cell).join(",")}\n`)
    .join("");
}

// What a model says of an image, for one image or for two beside each other.

import { counted, make } from "./dom.js";

const SHAPES = { positive: "▲", negative: "○", yes: "■", no: "□", "n/a": "–" };
const UNKNOWN = "not scored on test";

/** Everything that stands in the panel; `sides` are one or two of {name, card, row, problem}. */
export function findingsOf(sides) {
  const twice = sides.length > 1;
  const notes = sides.flatMap((side) => notesOf(side, twice ? `${side.name}: ` : ""));
  const rows = sides.map(({ row }) => row).filter((row) => row?.findings.length);
  if (!rows.length) return notes;
  const labels = [...new Set(rows.flatMap((row) => row.findings.map((one) => one.label)))];
  const apart = new Set(rows.flatMap(labelsApart));
  const lines = (some) => some.map((label) => lineOf(label, sides));
  const without = [...new Set(rows.flatMap((row) => row.why_none))];
  return [
    ...notes,
    make("table", { className: twice ? "two" : "" },
      make("caption", { className: "hidden" }, "Findings, the most probable first"),
      headOf(sides),
      make("tbody", {}, ...lines(labels.filter((label) => !apart.has(label)))),
      make("tbody", { className: "apart" }, ...lines([...apart])),
    ),
    ...(without.length
      ? [
          make("p", { className: "without" }, "Why a threshold is missing or says little:"),
          make("ul", { className: "without" }, ...without.map((text) => make("li", {}, text))),
        ]
      : []),
  ];
}

const labelsApart = (row) => row.findings.filter((one) => one.apart).map((one) => one.label);

function notesOf({ row, problem }, before) {
  const note = (kind, title, text) =>
    make("p", { className: kind, role: "note" }, make("b", {}, `${before}${title}`), " ", text);
  if (!row && problem) return [note("problem", "No answer.", problem)];
  if (!row) return [make("p", { className: "soft" }, `${before}Scoring`)];
  if (row.state === "failed") return [note("problem", "Could not be read.", row.error)];
  const title = row.state === "undecided" ? "Nothing is decided." : "Warning.";
  return [
    ...(row.warning || row.state === "undecided" ? [note("warning", title, row.warning)] : []),
    ...row.contradictions.map((text) => note("warning", "Contradiction.", text)),
  ];
}

function headOf(sides) {
  const columns = sides.length > 1
    ? sides.map(({ name }, index) => [make("b", {}, "AB"[index]), " ", name])
    : [["Probability"], ["Decision"]];
  const cells = [["Finding"], ...columns].map((text) => make("th", { scope: "col" }, ...text));
  return make("thead", {}, make("tr", {}, ...cells));
}

function lineOf(label, sides) {
  const found = sides.map(({ row }) => row?.findings.find((one) => one.label === label));
  const cells = sides.length > 1 ? found.map(cellOf) : cellsOf(found[0]);
  const radio = make("input", { type: "radio", name: "finding", value: label });
  const title = make("label", {}, radio, make("span", {}, label));
  const made = make("tr", { className: classOf(found[0]) },
    make("th", { scope: "row" }, title, aurocOf(label, sides)), ...cells);
  made.dataset.label = label;
  return made;
}

const classOf = (finding) => (finding?.decision === "positive" ? "positive" : "");

function aurocOf(label, sides) {
  const cards = [...new Set(sides.map(({ card }) => card))];
  const texts = cards.map((card) => aurocText(card.labels.find((one) => one.label === label)));
  const named = texts.map((text, index) => (texts.length > 1 ? `${"AB"[index]} ${text}` : text));
  return make("small", { title: "on test" }, `AUROC ${named.join(", ")}`);
}

const aurocText = (known) => known?.shown_auroc || UNKNOWN;

function decisionOf(finding) {
  const none = finding.decision === "n/a";
  const shape = make("span", { "aria-hidden": "true" }, SHAPES[finding.decision]);
  return make("span", { className: `decision ${classOf(finding)}` },
    shape, ` ${none ? "no decision" : finding.decision}`,
    finding.verdict ? make("span", { className: "verdict" }, finding.verdict) : "");
}

function barOf({ probability, threshold, shown_threshold: limit }) {
  const share = (value) => `${100 * Math.min(Math.max(value, 0), 1)}%`;
  const fill = make("span", { className: "fill" });
  fill.style.width = share(probability);
  const bar = make("span", { className: "track", "aria-hidden": "true" }, fill);
  if (threshold != null) {
    const mark = make("span", { className: "mark", title: `threshold ${limit}` });
    mark.style.left = share(threshold);
    bar.append(mark);
  }
  return bar;
}

function limitOf({ threshold, shown_threshold: limit, why_none: why }) {
  const text = threshold == null ? "no threshold" : `threshold ${limit}`;
  return make("small", { title: why }, why ? `${text} *` : text);
}

const cellsOf = (finding) => [
  make("td", {}, finding.shown, barOf(finding)),
  make("td", {}, decisionOf(finding), limitOf(finding)),
];

function cellOf(finding) {
  if (!finding) return make("td", {}, "–");
  const number = make("span", { className: "number" }, finding.shown, barOf(finding));
  return make("td", { className: classOf(finding) }, number, decisionOf(finding), limitOf(finding));
}

/** What a model can find, before there is an image. */
export function labelsOf(card) {
  const known = card.labels.some((one) => one.shown_auroc);
  const level = card.labels.find((one) => one.auroc)?.auroc.level;
  const how = known ? `, and how well they are told apart on test: AUROC` : "";
  const interval = known && level ? ` (${Math.round(level * 100)} % interval)` : "";
  return [
    make("p", { className: "soft" }, `${counted(card.labels.length, "finding")}${how}${interval}`),
    make("dl", { className: "labels" }, ...card.labels.map((one) =>
      make("div", {}, make("dt", {}, one.label), make("dd", {}, aurocText(one))))),
  ];
}

/** What a run says of itself. */
export const cardOf = (card) => [
  make("dl", {}, ...card.rows.map(([term, text]) =>
    make("div", {}, make("dt", {}, term), make("dd", {}, text)))),
  make("p", { className: "soft" }, "Fingerprint ", make("code", {}, card.fingerprint.slice(0, 12))),
];

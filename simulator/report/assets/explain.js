/* A decision in words: its one-line summary, and what every stage of the pipeline said. */

const GLYPHS = { out: "▲", in: "▼", held: "·", refused: "✕" };

function glyphOf(row) {
  return GLYPHS[row.refused ? "refused" : row.kind];
}

/* "3 → 5 copies", "5 copies, unchanged". */
function changeInWords(row, unit) {
  const counted = (n) => `${n} ${n === 1 ? SINGULAR[unit] : unit}`;
  if (row.kind === "held") return `stays at ${counted(row.to)}`;
  return `${row.from} → ${counted(row.to)}`;
}

const SINGULAR = { copies: "copy", instances: "instance" };

/* For people who listen: "Scale out 3 → 5 copies at 1:20:10: StepAdjustment, applied". */
function decisionInWords(row, unit, runLength) {
  const what = row.kind === "held" ? "Held" : row.kind === "out" ? "Scale out" : "Scale in";
  const outcome = [row.reason, row.outcome].filter(Boolean).join(", ");
  return `${what}, ${changeInWords(row, unit)} at ${writeMoment(row.t, runLength)}: ${outcome}`;
}

/* "Demand 12.4 in flight, worth 2.6 copies; 3.4 expected within 470 s". */
function demandInWords(row, unit) {
  if (row.demand === undefined) return null;
  const parts = [`Demand ${writeNumber(row.demand, 1)} in flight`];
  if (row.worth !== undefined) parts.push(`, worth ${writeNumber(row.worth, 1)} ${unit}`);
  if (row.expected !== undefined) {
    const within = row.lead_s === undefined ? "with the room that the target has in it" : `within ${writeNumber(row.lead_s)} s`;
    parts.push(`; ${writeNumber(row.expected, 1)} expected ${within}`);
  }
  return parts.join("");
}

function explainDecision(row, words, unit, { withDetail = true } = {}) {
  const parts = [];
  if (row.detail && withDetail) parts.push(el("p", { class: "because", text: row.detail }));
  const demand = demandInWords(row, unit);
  if (demand) parts.push(el("p", { class: "facts demand", text: demand }));
  const facts = [];
  if (row.current !== undefined) facts.push(`${row.current} in service`);
  if (row.from !== undefined && row.from !== row.current) facts.push(`${row.from} already asked for`);
  if (row.outcome) facts.push(`outcome: ${row.outcome}${row.outcome_detail ? `, ${row.outcome_detail}` : ""}`);
  if (facts.length) parts.push(el("p", { class: "facts", text: facts.join(" · ") }));
  if (row.n > 1)
    parts.push(
      el("p", {
        class: "facts",
        text: `${row.n} decisions in a row came out the same; the stages below are those of the first.`,
      }),
    );
  if (row.steps) parts.push(stepTable(row.steps, words, unit));
  else
    parts.push(
      el("p", {
        class: "facts",
        text: "The stages of this decision are not in this file, to keep it small; the result JSON has them.",
      }),
    );
  return parts;
}

function stepTable(steps, words, unit) {
  let before = null;
  const rows = steps.map(([stage, recommended, reason, detail, inputs]) => {
    const moved = before !== null && recommended !== before;
    const step =
      before === null || !moved
        ? ""
        : recommended > before
          ? ` (+${recommended - before})`
          : ` (−${before - recommended})`;
    before = recommended;
    return el(
      "tr",
      { class: moved ? "moved" : null },
      el("th", { scope: "row", text: words[stage] }),
      el("td", { class: "number" }, `${recommended ?? UNKNOWN}`, el("span", { class: "delta", text: step })),
      el("td", {}, el("code", {}, breakable(words[reason]))),
      el("td", {}, detail, inputChips(inputs)),
    );
  });
  const heads = ["Stage", unit === "copies" ? "Copies" : "Instances", "Reason", "Why"];
  return el(
    "table",
    { class: "steps" },
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        heads.map((text) => el("th", { scope: "col", text })),
      ),
    ),
    el("tbody", {}, rows),
  );
}

/* A reason code that may break between its words: AlreadyAtMaxCapacity as Already|At|Max|Capacity. */
function breakable(code) {
  return code.split(/(?<=[a-z])(?=[A-Z])/).flatMap((word, i) => (i ? [el("wbr"), word] : [word]));
}

function inputChips(inputs) {
  const names = Object.keys(inputs);
  if (!names.length) return null;
  const write = (value) =>
    value === null ? UNKNOWN : typeof value === "number" ? writeNumber(value, 3) : String(value);
  return el(
    "span",
    { class: "inputs" },
    names.map((name) => el("span", { class: "input" }, `${name} `, el("b", { text: write(inputs[name]) }))),
  );
}

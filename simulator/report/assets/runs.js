/* The table of all runs: a press on a column's head sorts by it, a second press turns the order round. */

const RUNS_AT_ONCE = 100;
const seconds = (value) => writeSeconds(value);
const percent = (value) => (value === null ? UNKNOWN : `${value.toFixed(1)} %`);
const RUN_HEADS = {
  trace: ["Trace", String],
  policy: ["Policy", String],
  knob: ["Knob", (value) => value ?? UNKNOWN],
  seed: ["Seed", (value) => value ?? UNKNOWN],
  slo_attainment: ["SLO", (value) => (value === null ? UNKNOWN : writeAttainment(value))],
  cost_vs_oracle: ["× optimum", (value) => (value === null ? UNKNOWN : value.toFixed(2))],
  cost_usd: ["Cost", (value) => (value === null ? UNKNOWN : `$${writeNumber(value, 0)}`)],
  instance_hours: ["Instance-h", (value) => writeNumber(value, 0)],
  copy_hours: ["Copy-h", (value) => writeNumber(value, 0)],
  requests: ["Requests", (value) => writeNumber(value)],
  late: ["Late", (value) => writeNumber(value)],
  lost: ["Lost", (value) => writeNumber(value)],
  ttft_p50_s: ["TTFT p50", seconds],
  ttft_p95_s: ["p95", seconds],
  ttft_p99_s: ["p99", seconds],
  theta_u: ["θU", percent],
  theta_o: ["θO", percent],
  tau_u: ["τU", percent],
  tau_o: ["τO", percent],
  instability: ["υ", percent],
  changes: ["Changes", (value) => writeNumber(value)],
  time_to_alarm_s: ["To alarm", (value) => (value === null ? UNKNOWN : writeDuration(value))],
  scaling_time_s: ["To scale", (value) => (value === null ? UNKNOWN : writeDuration(value))],
  longest_shortage_s: ["Longest shortage", (value) => (value === null ? UNKNOWN : writeDuration(value))],
};

class RunTable {
  constructor(root, columns, runs, isOurs) {
    this.columns = columns;
    this.runs = runs;
    this.isOurs = isOurs;
    this.order = { column: 0, down: false };
    this.limit = RUNS_AT_ONCE;
    this.words = "";
    this.heads = columns.map((name, index) =>
      el(
        "th",
        { scope: "col" },
        el(
          "button",
          { type: "button", onclick: () => this.sortBy(index) },
          RUN_HEADS[name][0],
          el("span", { class: "direction", "aria-hidden": "true" }),
        ),
      ),
    );
    this.body = el("tbody");
    this.status = el("p", { class: "facts", role: "status" });
    this.more = el("button", {
      type: "button",
      class: "more",
      onclick: () => ((this.limit += RUNS_AT_ONCE), this.fill()),
    });
    root.append(
      el(
        "div",
        { class: "controls" },
        el("input", {
          type: "search",
          placeholder: "Trace, policy…",
          "aria-label": "Show only runs whose trace or policy contains",
          oninput: (event) => ((this.words = event.target.value.toLowerCase()), this.fill()),
        }),
      ),
      this.status,
      el(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Every run" },
        el("table", { class: "runs" }, el("thead", {}, el("tr", {}, this.heads)), this.body),
      ),
      this.more,
    );
    this.fill();
  }

  sortBy(column) {
    this.order = { column, down: this.order.column === column && !this.order.down };
    this.fill();
  }

  fill() {
    const { column, down } = this.order;
    this.heads.forEach((head, index) => {
      if (index === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      head.querySelector(".direction").textContent = index === column ? (down ? " ▼" : " ▲") : "";
    });
    const rows = this.runs
      .filter((run) => `${run[0]} ${run[1]}`.toLowerCase().includes(this.words))
      .sort((a, b) => compare(a[column], b[column], down));
    this.body.replaceChildren(...rows.slice(0, this.limit).map((run) => this.row(run)));
    this.more.hidden = rows.length <= this.limit;
    this.more.textContent = `Show more (${writeNumber(rows.length - this.limit)} left)`;
    this.status.textContent = `${writeNumber(rows.length)} of ${writeNumber(this.runs.length)} runs.`;
  }

  row(run) {
    return el(
      "tr",
      { class: this.isOurs(run[1]) ? "ours" : null },
      run.map((value, index) =>
        el(index === 0 ? "th" : "td", {
          scope: index === 0 ? "row" : null,
          class: index > 1 ? "number" : null,
          text: RUN_HEADS[this.columns[index]][1](value),
        }),
      ),
    );
  }
}

/* What is not known comes last in either order. */
function compare(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order =
    typeof a === "number" && typeof b === "number"
      ? a - b
      : String(a).localeCompare(String(b), "en", { numeric: true });
  return down ? -order : order;
}

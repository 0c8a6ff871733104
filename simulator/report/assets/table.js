/* The table of decisions: filters, a row each, and the stages behind a row when it is opened. */

const ROWS_AT_ONCE = 50;
const FILTERS = {
  changes: { label: "Changes", keep: (row) => row.kind !== "held" },
  refusals: { label: "Refusals", keep: (row) => Boolean(row.refused) },
  all: { label: "All", keep: () => true },
};

class DecisionTable {
  constructor(root, view, { decisions, unit, severalComponents, onShow }) {
    this.view = view;
    this.decisions = decisions;
    this.unit = unit;
    this.severalComponents = severalComponents;
    this.onShow = onShow;
    this.filter = decisions.rows.some(FILTERS.changes.keep) ? "changes" : "all";
    this.search = "";
    this.opened = new Set();
    this.limit = ROWS_AT_ONCE;
    this.buttons = Object.entries(FILTERS).map(([name, { label, keep }]) =>
      el(
        "button",
        { type: "button", "data-filter": name, onclick: () => this.choose(name) },
        label,
        el("span", { class: "count", text: writeNumber(decisionsIn(decisions.rows.filter(keep))) }),
      ),
    );
    this.searchBox = el("input", {
      type: "search",
      placeholder: "Reason, words, stage…",
      "aria-label": "Show only decisions that contain",
      oninput: (event) => this.find(event.target.value),
    });
    this.stretch = el("button", {
      type: "button",
      class: "stretch",
      hidden: true,
      title: "Show the whole run again",
      onclick: () => view.reset(),
    });
    this.status = el("p", { class: "facts", role: "status" });
    this.body = el("tbody", {});
    this.more = el("button", { type: "button", class: "more", onclick: () => this.showMore() });
    const heads = ["", "Time", severalComponents ? "Component" : null, "Change", "Reason", "Why", "Outcome"].filter(
      (head) => head !== null,
    );
    root.append(
      el(
        "div",
        { class: "controls" },
        el("div", { class: "segments", role: "group", "aria-label": "Which decisions" }, this.buttons),
        this.searchBox,
        this.stretch,
      ),
      this.status,
      el(
        "table",
        { class: severalComponents ? "decisions several" : "decisions" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            heads.map((text) => el("th", { scope: "col", text: text || null, "aria-label": text ? null : "Open" })),
          ),
        ),
        this.body,
      ),
      this.more,
    );
    view.on("range", () => this.fill());
    this.fill();
  }

  choose(name) {
    this.filter = name;
    this.limit = ROWS_AT_ONCE;
    this.fill();
  }

  find(words) {
    this.search = words.trim().toLowerCase();
    this.limit = ROWS_AT_ONCE;
    this.fill();
  }

  showMore() {
    this.limit += 2 * ROWS_AT_ONCE;
    this.fill();
  }

  /* Open a row, making sure that it is shown, and bring it into sight. */
  open(row) {
    this.opened.add(row);
    if (!this.matching().includes(row)) {
      this.filter = "all";
      this.search = this.searchBox.value = "";
      if (!this.inSight(row)) this.view.reset();
    }
    this.limit = Math.max(this.limit, this.matching().indexOf(row) + 1);
    this.fill();
    const node = this.body.querySelector(`[data-row="${this.decisions.rows.indexOf(row)}"]`);
    node?.scrollIntoView({ block: "center" });
    node?.querySelector("button")?.focus({ preventScroll: true });
  }

  matching() {
    return this.decisions.rows.filter((row) => FILTERS[this.filter].keep(row) && this.inSight(row) && this.says(row));
  }

  inSight(row) {
    return row.t <= this.view.to && (row.until ?? row.t) >= this.view.from;
  }

  says(row) {
    if (!this.search) return true;
    const own = [row.reason, row.detail, row.outcome, row.outcome_detail, row.component].filter(Boolean).join(" ");
    const steps = (row.steps ?? [])
      .map((step) => `${this.decisions.words[step[0]]} ${this.decisions.words[step[2]]} ${step[3]}`)
      .join(" ");
    return `${own} ${steps}`.toLowerCase().includes(this.search);
  }

  fill() {
    for (const button of this.buttons)
      button.setAttribute("aria-pressed", String(button.dataset.filter === this.filter));
    this.stretch.hidden = !this.view.zoomed;
    this.stretch.textContent = `${writeStretch(this.view.from, this.view.to, this.view.length)} ✕`;
    const rows = this.matching();
    const shown = rows.slice(0, this.limit);
    this.body.replaceChildren(...shown.flatMap((row) => this.rowsOf(row)));
    this.more.hidden = shown.length === rows.length;
    this.more.textContent = `Show more (${writeNumber(rows.length - shown.length)} left)`;
    this.status.textContent = this.summary(rows);
  }

  summary(rows) {
    if (!this.decisions.total) return "This run recorded no decisions.";
    const of = `${writeNumber(decisionsIn(rows))} of ${writeNumber(this.decisions.total)} decisions`;
    const folded = this.filter === "all" ? "; those that came out the same in a row share one line" : "";
    const left = this.decisions.left_out
      ? `; ${writeNumber(this.decisions.left_out)} lines of holds are left out to keep this file small`
      : "";
    return `${of}${folded}${left}.`;
  }

  rowsOf(row) {
    const isOpen = this.opened.has(row);
    const index = this.decisions.rows.indexOf(row);
    const kind = row.refused ? "refused" : row.kind;
    const toggle = (event) => {
      // The chart button inside an open row has its own meaning.
      event.stopPropagation();
      if (isOpen) this.opened.delete(row);
      else this.opened.add(row);
      this.fill();
      this.body.querySelector(`[data-row="${index}"] button`)?.focus({ preventScroll: true });
    };
    const times = row.n > 1 ? el("span", { class: "count", text: `held ×${writeNumber(row.n)}` }) : null;
    const when = writeStretch(row.t, row.until, this.view.length);
    const button = el("button", {
      type: "button",
      class: "opener",
      "aria-expanded": String(isOpen),
      "aria-label": `Stages of: ${decisionInWords(row, this.unit, this.view.length)}`,
      onclick: toggle,
    });
    const line = el(
      "tr",
      { class: `decision ${kind}`, "data-row": index, onclick: toggle },
      el("td", { class: "open" }, button),
      el("td", { class: "time", text: when }),
      this.severalComponents ? el("td", { class: "component", text: row.component ?? "" }) : null,
      el(
        "td",
        { class: "change" },
        el("span", { class: `glyph glyph-${kind}`, "aria-hidden": "true", text: glyphOf(row) }),
        ` ${row.kind === "held" ? row.to : `${row.from} → ${row.to}`} `,
        times,
      ),
      el("td", { class: "reason" }, el("code", {}, breakable(row.reason ?? ""))),
      el("td", { class: "why", text: row.detail ?? "" }),
      el(
        "td",
        { class: "outcome" },
        row.outcome
          ? el("span", {
              class: `badge badge-${row.refused ? "refused" : row.outcome === "applied" ? "applied" : "other"}`,
              text: row.outcome,
            })
          : null,
      ),
    );
    if (!isOpen) return [line];
    const show = el("button", {
      type: "button",
      class: "link",
      text: "Show on the charts",
      onclick: () => this.onShow(row),
    });
    return [
      line,
      el(
        "tr",
        { class: "explanation" },
        el(
          "td",
          { colspan: this.severalComponents ? 7 : 6 },
          ...explainDecision(row, this.decisions.words, this.unit, { withDetail: false }),
          el("p", { class: "actions" }, show),
        ),
      ),
    ];
  }
}

/* Rows stand for one decision or for several in a row that came out the same. */
function decisionsIn(rows) {
  return rows.reduce((sum, row) => sum + row.n, 0);
}

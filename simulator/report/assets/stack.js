/* The charts one above the other: pointer and keys move one crosshair through all of them, and one tooltip reads all values. */

const CLICK_TOLERANCE_PX = 5;
const DOCKED_BELOW_PX = 640;

class Stack {
  constructor(root, view, { onOpenDecision, words, unit }) {
    this.root = root;
    this.view = view;
    this.words = words;
    this.unit = unit;
    this.onOpenDecision = onOpenDecision;
    this.panels = [];
    this.dragged = null;
    this.tip = el("div", { class: "tip-box", hidden: true });
    this.live = el("p", { class: "for-listeners", "aria-live": "polite" });
    this.body = el("div", {
      class: "panels",
      tabindex: "0",
      role: "group",
      "aria-label":
        "Charts. Left and right arrows read values, plus and minus zoom, 0 shows the whole run, N and P go to the next and previous change.",
    });
    root.append(this.body, this.tip, this.live);
    view.on("range", () => this.draw());
    view.on("moment", () => this.point());
    this.body.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.body);
    // Docked at the window's edge, the tooltip belongs there only while the charts are in sight.
    new IntersectionObserver(([seen]) => this.tip.classList.toggle("out-of-sight", !seen.isIntersecting)).observe(
      this.body,
    );
  }

  /* Panels in order; `rows` are the decisions shown. A panel draws into a width, marks a moment and reads it out. */
  fill(panels, rows) {
    this.panels = panels;
    this.rows = rows;
    this.body.replaceChildren(...panels.map((panel) => panel.node));
    if (!panels.length) this.body.append(el("p", { class: "facts", text: "This result has no timeline to draw." }));
    for (const panel of panels) this.listen(panel.frame);
    this.draw();
  }

  draw(width = this.body.clientWidth) {
    if (width < 50) return;
    for (const panel of this.panels) panel.draw(width);
    this.point();
  }

  listen(frame) {
    const node = frame.node;
    node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.dragged = {
        x: event.clientX,
        from: frame.momentAt(event.clientX),
        touch: event.pointerType === "touch",
        far: false,
      };
      if (!this.dragged.touch) node.setPointerCapture(event.pointerId);
    });
    node.addEventListener("pointermove", (event) => {
      const t = frame.momentAt(event.clientX);
      this.pointer = event;
      if (this.dragged && Math.abs(event.clientX - this.dragged.x) > CLICK_TOLERANCE_PX) this.dragged.far = true;
      if (this.dragged?.far && !this.dragged.touch) this.select([this.dragged.from, t]);
      this.view.hover(t);
    });
    node.addEventListener("pointerup", (event) => {
      const dragged = this.dragged;
      this.dragged = null;
      this.select(null);
      if (!dragged) return;
      const t = frame.momentAt(event.clientX);
      if (dragged.far && !dragged.touch) this.view.show(Math.min(dragged.from, t), Math.max(dragged.from, t));
      else this.view.pin(this.view.pinned !== null && !dragged.touch ? null : t);
    });
    node.addEventListener("pointercancel", () => this.leave());
    node.addEventListener("pointerleave", () => this.leave());
    node.addEventListener("dblclick", () => {
      this.view.pin(null);
      this.view.reset();
    });
  }

  leave() {
    this.dragged = null;
    this.select(null);
    this.pointer = null;
    this.view.hover(null);
  }

  select(stretch) {
    for (const panel of this.panels) panel.frame.select(stretch);
  }

  point() {
    const t = this.view.moment;
    for (const panel of this.panels) panel.point(t);
    if (this.showsDecision) return;
    if (!this.panels.length || t === null || t < this.view.from || t > this.view.to || this.dragged?.far) {
      this.tip.hidden = true;
      return;
    }
    this.tip.classList.remove("wide", "pinned");
    this.tip.replaceChildren(...this.reading(t));
    this.place(this.anchor(t));
  }

  /* Rows of decisions as the tooltip, beside their mark; null puts the values back. `pinned` keeps it until closed. */
  showDecisions(rows, node = null, pinned = false) {
    if (!rows && this.showsDecision === "pinned") return;
    this.showsDecision = rows ? (pinned ? "pinned" : "hovered") : null;
    if (!rows) {
      this.tip.hidden = true;
      this.point();
      return;
    }
    const [first] = rows;
    this.tip.classList.add("wide");
    this.tip.classList.toggle("pinned", pinned);
    const others = rows
      .slice(1, 6)
      .map((row) => el("li", { text: `${glyphOf(row)} ${decisionInWords(row, this.unit, this.view.length)}` }));
    if (rows.length > 6) others.push(el("li", { text: `and ${rows.length - 6} more; zoom in to part them` }));
    this.tip.replaceChildren(
      el(
        "h4",
        {},
        el("span", { class: `glyph glyph-${first.refused ? "refused" : first.kind}`, text: glyphOf(first) }),
        ` ${decisionInWords(first, this.unit, this.view.length)}`,
      ),
      ...explainDecision(first, this.words, this.unit),
      others.length ? el("ul", { class: "others" }, others) : "",
      pinned
        ? el(
            "p",
            { class: "actions" },
            el("button", {
              type: "button",
              text: "Show in the table",
              onclick: () => this.closeAnd(() => this.onOpenDecision(first)),
            }),
            el("button", { type: "button", text: "Close", onclick: () => this.closeAnd() }),
          )
        : "",
    );
    const box = node.getBoundingClientRect();
    this.place({ x: box.left + box.width / 2, y: box.top + box.height / 2 });
  }

  closeAnd(then = () => {}) {
    this.showsDecision = null;
    this.tip.hidden = true;
    this.point();
    then();
  }

  reading(t) {
    const letGo = el("button", {
      type: "button",
      class: "let-go",
      "aria-label": "Close",
      text: "✕",
      onclick: () => (this.leave(), this.view.pin(null)),
    });
    const parts = [el("h4", {}, writeMoment(t, this.view.length), letGo)];
    const lines = this.panels.flatMap((panel) => panel.readout(t));
    parts.push(
      el(
        "div",
        { class: "readings" },
        lines.map((line) =>
          el(
            "div",
            { class: "reading" },
            line.series ? swatch(line.series) : stateSwatch(line.state),
            el("span", { class: "name", text: line.series?.label ?? line.label }),
            el("b", { text: line.text }),
          ),
        ),
      ),
    );
    const decision =
      this.rows[
        lastAtOrBefore(
          this.rows.map((row) => row.t),
          t,
        )
      ];
    if (decision)
      parts.push(
        el(
          "p",
          { class: "facts" },
          el("b", { text: `Last decision ${glyphOf(decision)} ` }),
          `${changeInWords(decision, this.unit)}: ${decision.reason ?? ""}, at ${writeMoment(decision.t, this.view.length)}${decision.n > 1 ? ` ×${decision.n}` : ""}`,
        ),
      );
    for (const event of this.panels.flatMap((panel) => panel.near?.(t) ?? []))
      parts.push(el("p", { class: "facts" }, el("b", { text: `${event.what} ` }), event.detail));
    return parts;
  }

  /* Where the tooltip belongs: at the pointer, or at the crosshair in the first chart. */
  anchor(t) {
    if (this.pointer && this.view.hovered !== null) return { x: this.pointer.clientX, y: this.pointer.clientY };
    const frame = this.panels[0].frame;
    const box = frame.node.getBoundingClientRect();
    return { x: box.left + (frame.x(t) * box.width) / frame.width, y: box.top + 40 };
  }

  place({ x, y }) {
    this.tip.hidden = false;
    const docked = window.innerWidth < DOCKED_BELOW_PX;
    this.tip.classList.toggle("docked", docked);
    if (docked) {
      this.tip.style.left = this.tip.style.top = "";
      return;
    }
    const around = this.root.getBoundingClientRect();
    const box = this.tip.getBoundingClientRect();
    const right = x + 18 + box.width < Math.min(around.right, window.innerWidth);
    const left = right ? x + 18 : Math.max(around.left, x - 18 - box.width);
    const top = clamp(y - box.height / 3, Math.min(around.top, y), Math.max(around.top, around.bottom - box.height));
    this.tip.style.left = `${left - around.left}px`;
    this.tip.style.top = `${Math.max(top, Math.min(8, y - 30)) - around.top}px`;
  }

  key(event) {
    const { view } = this;
    const step = (view.to - view.from) / (event.shiftKey ? 10 : 100);
    const here = view.pinned ?? (view.from + view.to) / 2;
    const moves = {
      ArrowRight: () => here + step,
      ArrowLeft: () => here - step,
      Home: () => view.from,
      End: () => view.to,
      n: () => this.changeAfter(view.pinned ?? view.from - 1),
      p: () => this.changeBefore(view.pinned ?? view.to),
    };
    const acts = {
      "+": () => view.zoom(0.5),
      "=": () => view.zoom(0.5),
      "-": () => view.zoom(2),
      0: () => view.reset(),
      Escape: () => (this.closeAnd(), view.pin(null)),
    };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey || !(key in moves || key in acts)) return;
    event.preventDefault();
    if (key in acts) return acts[key]();
    view.hovered = null;
    view.pin(moves[key]() ?? here);
    const lines = this.panels[0]?.readout(view.pinned) ?? [];
    const values = lines.map((line) => `${line.series?.label ?? line.label} ${line.text}`);
    this.live.textContent = `${writeMoment(view.pinned, view.length)}: ${values.join(", ")}`;
  }

  changeAfter(t) {
    return this.rows.find((row) => row.kind !== "held" && row.t > t + 0.5)?.t;
  }

  changeBefore(t) {
    return this.rows.findLast((row) => row.kind !== "held" && row.t < t - 0.5)?.t;
  }
}

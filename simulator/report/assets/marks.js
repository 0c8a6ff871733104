/* Decisions as marks on the chart of copies: out, in and refused at the count they asked for, holds on a rail below.

   Marks that would overlap are drawn as one. One of them is in the tab order; the arrow keys move between them. */

const MARK_DISTANCE_PX = 11;

class DecisionMarks {
  constructor(plot, view, { rows, unit, onPoint, onOpen }) {
    this.plot = plot;
    this.view = view;
    this.rows = rows;
    this.unit = unit;
    this.onPoint = onPoint;
    this.onOpen = onOpen;
    this.current = 0;
    this.layer = svg("g", { class: "marks" });
    plot.frame.above.append(this.layer);
    plot.onDraw = () => this.draw();
    this.layer.addEventListener("keydown", (event) => this.key(event));
  }

  draw() {
    const changes = this.rows.filter((row) => row.kind !== "held" || row.refused);
    const holds = this.rows.filter((row) => row.kind === "held" && !row.refused);
    this.layer.replaceChildren(...this.rail(holds));
    this.clusters = [...this.clustered(holds, 6), ...this.clustered(changes, MARK_DISTANCE_PX)].sort(
      (a, b) => a.x - b.x,
    );
    this.nodes = this.clusters.map((cluster) => this.mark(cluster));
    this.dropCrowdedCounts();
    this.layer.append(...this.nodes);
    this.current = clamp(this.current, 0, Math.max(0, this.nodes.length - 1));
    this.nodes[this.current]?.setAttribute("tabindex", "0");
  }

  /* How long a hold went on, as a thin line between its dots. */
  rail(holds) {
    const y = this.plot.frame.bottom - 5;
    return holds
      .filter((row) => row.until !== undefined && row.until >= this.view.from && row.t <= this.view.to)
      .map((row) => {
        const from = this.plot.frame.x(Math.max(row.t, this.view.from));
        const to = this.plot.frame.x(Math.min(row.until, this.view.to));
        return svg("line", { class: "hold", x1: from, x2: Math.max(to, from + 1), y1: y, y2: y });
      });
  }

  clustered(rows, distance) {
    const clusters = [];
    for (const row of rows) {
      if (row.t < this.view.from || row.t > this.view.to) continue;
      const x = this.plot.frame.x(row.t);
      const last = clusters[clusters.length - 1];
      if (last && x - last.x < distance) last.rows.push(row);
      else clusters.push({ x, rows: [row] });
    }
    return clusters;
  }

  mark(cluster) {
    const [first] = cluster.rows;
    const kinds = new Set(cluster.rows.map((row) => (row.refused ? "refused" : row.kind)));
    const kind = kinds.size === 1 ? [...kinds][0] : "mixed";
    const held = kind === "held";
    const y = held ? this.plot.frame.bottom - 5 : this.plot.y(cluster.rows[cluster.rows.length - 1].to);
    const label =
      cluster.rows.length === 1
        ? decisionInWords(first, this.unit, this.view.length)
        : `${cluster.rows.length} decisions, the first: ${decisionInWords(first, this.unit, this.view.length)}`;
    const node = svg(
      "g",
      {
        class: `mark mark-${kind}${kind === "mixed" && kinds.has("refused") ? " with-refusal" : ""}`,
        role: "button",
        tabindex: "-1",
        "aria-label": label,
        transform: `translate(${cluster.x.toFixed(1)},${y.toFixed(1)})`,
      },
      svg("rect", { class: "hit", x: -7, y: held ? -6 : -9, width: 14, height: held ? 11 : 18 }),
      MARK_SHAPES[kind](),
      cluster.rows.length > 1 && !held
        ? svg("text", { class: "mark-count", x: 7, y: -5, text: String(cluster.rows.length) })
        : null,
    );
    const point = (pinned) => this.onPoint(cluster.rows, node, pinned);
    node.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && point(false));
    node.addEventListener("pointerleave", () => this.onPoint(null));
    node.addEventListener("focus", () => {
      this.choose(this.nodes.indexOf(node));
      if (node.matches(":focus-visible")) point(false);
    });
    node.addEventListener("blur", () => this.onPoint(null));
    node.addEventListener("pointerdown", (event) => event.stopPropagation());
    node.addEventListener("click", (event) => {
      event.stopPropagation();
      point(true);
    });
    return node;
  }

  /* A count is written only where the next mark leaves room for it. */
  dropCrowdedCounts() {
    let next = Infinity;
    for (let i = this.clusters.length - 1; i >= 0; i -= 1) {
      const count = this.nodes[i].querySelector(".mark-count");
      if (count && next - this.clusters[i].x < 24) count.remove();
      if (this.clusters[i].rows.some((row) => row.kind !== "held")) next = this.clusters[i].x;
    }
  }

  choose(index) {
    this.nodes[this.current]?.setAttribute("tabindex", "-1");
    this.current = index;
    this.nodes[index].setAttribute("tabindex", "0");
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      this.nodes[clamp(this.current + step, 0, this.nodes.length - 1)].focus();
    } else if (event.key === "Enter" || event.key === " ") {
      this.onOpen(this.clusters[this.current].rows[0]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

const MARK_SHAPES = {
  out: () => svg("path", { class: "shape", d: "M0,-5.5L5.5,4.5H-5.5Z" }),
  in: () => svg("path", { class: "shape", d: "M0,5.5L5.5,-4.5H-5.5Z" }),
  mixed: () => svg("path", { class: "shape", d: "M0,-6L6,0L0,6L-6,0Z" }),
  held: () => svg("circle", { class: "shape", r: 2.2 }),
  refused: () => svg("path", { class: "shape", d: "M-4.5,-4.5L4.5,4.5M4.5,-4.5L-4.5,4.5" }),
};

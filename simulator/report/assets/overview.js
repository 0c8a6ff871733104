/* The whole run in one line of pixels: drag the window to move it, drag beside it to choose another stretch. */

const OVERVIEW_HEIGHT = 40;

class Overview {
  constructor(root, view) {
    this.view = view;
    this.drawing = svg("g", {});
    this.veils = [svg("rect", { class: "veil" }), svg("rect", { class: "veil" })];
    this.window = svg("rect", { class: "window", y: 0.5, height: OVERVIEW_HEIGHT - 1 });
    this.cross = svg("line", { class: "crosshair", y1: 0, y2: OVERVIEW_HEIGHT, hidden: true });
    this.node = svg(
      "svg",
      { class: "frame overview", "aria-hidden": "true" },
      this.drawing,
      this.veils,
      this.window,
      this.cross,
    );
    root.replaceChildren(this.node);
    this.listen();
    view.on("range", () => this.drawWindow());
    view.on("moment", () => this.drawWindow());
    new ResizeObserver(() => this.draw()).observe(root);
  }

  /* `load` is the series to draw, or null. */
  show(load) {
    this.load = load;
    this.draw();
  }

  draw() {
    const width = this.node.parentNode.clientWidth;
    if (width < 50) return;
    this.width = width;
    this.left = marginsOf(width).left;
    this.right = width - marginsOf(width).right;
    this.node.setAttribute("viewBox", `0 0 ${width} ${OVERVIEW_HEIGHT}`);
    this.drawing.replaceChildren();
    if (this.load) {
      const high = Math.max(...this.load.values.filter((value) => value !== null), 1e-9);
      const points = this.load.times.map((t, i) => [
        this.x(t),
        OVERVIEW_HEIGHT - 2 - ((this.load.values[i] ?? 0) / high) * (OVERVIEW_HEIGHT - 6),
      ]);
      this.drawing.append(
        svg("path", { class: "fill", d: closed(points, OVERVIEW_HEIGHT) }),
        svg("path", { class: "stroke", d: open(points) }),
      );
    }
    this.drawWindow();
  }

  x(t) {
    const [from, to] = this.view.whole;
    return this.left + ((t - from) / (to - from)) * (this.right - this.left);
  }

  momentAt(clientX) {
    const box = this.node.getBoundingClientRect();
    const part = ((clientX - box.left) * (this.width / box.width) - this.left) / (this.right - this.left);
    return clamp(this.view.whole[0] + part * this.view.length, ...this.view.whole);
  }

  drawWindow() {
    if (!this.width) return;
    const [a, b] = [this.x(this.view.from), this.x(this.view.to)];
    const [left, right] = this.veils;
    for (const [veil, x, width] of [
      [left, this.left, a - this.left],
      [right, b, this.right - b],
    ]) {
      veil.setAttribute("x", x);
      veil.setAttribute("width", Math.max(0, width));
      veil.setAttribute("height", OVERVIEW_HEIGHT);
    }
    this.window.setAttribute("x", a);
    this.window.setAttribute("width", Math.max(2, b - a));
    const t = this.view.moment;
    this.cross.toggleAttribute("hidden", t === null);
    if (t !== null) {
      this.cross.setAttribute("x1", this.x(t));
      this.cross.setAttribute("x2", this.x(t));
    }
  }

  listen() {
    let grip = null;
    this.node.addEventListener("pointerdown", (event) => {
      const t = this.momentAt(event.clientX);
      const inside = this.view.zoomed && t >= this.view.from && t <= this.view.to;
      grip = { inside, from: this.view.from, to: this.view.to, t };
      this.node.setPointerCapture(event.pointerId);
    });
    this.node.addEventListener("pointermove", (event) => {
      if (!grip) return;
      const t = this.momentAt(event.clientX);
      if (grip.inside) this.view.show(grip.from + t - grip.t, grip.to + t - grip.t);
      else if (t !== grip.t) this.view.show(Math.min(t, grip.t), Math.max(t, grip.t));
    });
    for (const end of ["pointerup", "pointercancel"]) this.node.addEventListener(end, () => (grip = null));
    this.node.addEventListener("dblclick", () => this.view.reset());
  }
}

/* What all charts of the page share: the stretch of time they show, and the moment that is pointed at or pinned. */

const SHORTEST_STRETCH_S = 30;

class View {
  constructor(from, to) {
    this.whole = [from, Math.max(to, from + 1)];
    [this.from, this.to] = this.whole;
    this.hovered = null;
    this.pinned = null;
    this.listeners = { range: [], moment: [] };
  }

  on(what, listener) {
    this.listeners[what].push(listener);
  }

  get length() {
    return this.whole[1] - this.whole[0];
  }

  get zoomed() {
    return this.from > this.whole[0] || this.to < this.whole[1];
  }

  /* The moment to read values at; null if there is none. */
  get moment() {
    return this.hovered ?? this.pinned;
  }

  show(from, to) {
    const length = clamp(to - from, Math.min(SHORTEST_STRETCH_S, this.length), this.length);
    const middle = (from + to) / 2;
    this.from = clamp(middle - length / 2, this.whole[0], this.whole[1] - length);
    this.to = this.from + length;
    this.tell("range");
  }

  reset() {
    this.show(...this.whole);
  }

  /* Shorter stretch for a factor below 1, longer above; `around` stays where it is on the screen. */
  zoom(factor, around = this.moment ?? (this.from + this.to) / 2) {
    const anchor = clamp(around, this.from, this.to);
    const length = clamp((this.to - this.from) * factor, Math.min(SHORTEST_STRETCH_S, this.length), this.length);
    const part = (anchor - this.from) / (this.to - this.from);
    this.show(anchor - part * length, anchor + (1 - part) * length);
  }

  hover(t) {
    this.hovered = t;
    this.tell("moment");
  }

  pin(t) {
    this.pinned = t === null ? null : clamp(t, ...this.whole);
    if (this.pinned !== null && (this.pinned < this.from || this.pinned > this.to)) {
      const half = (this.to - this.from) / 2;
      this.show(this.pinned - half, this.pinned + half);
    }
    this.tell("moment");
  }

  tell(what) {
    for (const listener of this.listeners[what]) listener();
  }
}

/* One drawing on the shared time axis: margins, axis, crosshair and the rectangle that a drag selects. */
const marginsOf = (width) => (width < 600 ? { left: 34, right: 8 } : { left: 46, right: 14 });
let framesMade = 0;

class Frame {
  constructor(view, { height, top = 8, axis = true, label, role = "img" }) {
    this.view = view;
    this.top = top;
    this.bottom = top + height;
    this.height = this.bottom + (axis ? 22 : 4);
    this.axis = axis;
    this.clipId = `clip-${(framesMade += 1)}`;
    this.clipRect = svg("rect", { y: 0, height: this.height });
    this.grid = svg("g", { class: "grid" });
    this.content = svg("g", { "clip-path": `url(#${this.clipId})` });
    this.above = svg("g");
    this.crosshair = svg("line", { class: "crosshair", y1: 0, y2: this.bottom, hidden: true });
    this.selection = svg("rect", { class: "selection", y: 0, height: this.bottom, hidden: true });
    this.node = svg(
      "svg",
      { class: "frame", role, "aria-label": label },
      svg("defs", {}, svg("clipPath", { id: this.clipId }, this.clipRect)),
      this.grid,
      this.content,
      this.selection,
      this.crosshair,
      this.above,
    );
  }

  resize(width) {
    this.width = width;
    this.left = marginsOf(width).left;
    this.right = width - marginsOf(width).right;
    this.node.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    this.clipRect.setAttribute("x", this.left);
    this.clipRect.setAttribute("width", Math.max(1, this.right - this.left));
    this.grid.replaceChildren(...this.timeAxis());
    this.mark(this.view.moment);
  }

  x(t) {
    return this.left + ((t - this.view.from) / (this.view.to - this.view.from)) * (this.right - this.left);
  }

  /* The moment under a pointer at this many pixels from the window's left edge. */
  momentAt(clientX) {
    const box = this.node.getBoundingClientRect();
    const x = ((clientX - box.left) * this.width) / box.width;
    const t = this.view.from + ((x - this.left) / (this.right - this.left)) * (this.view.to - this.view.from);
    return clamp(t, this.view.from, this.view.to);
  }

  mark(t) {
    const visible = t !== null && t >= this.view.from && t <= this.view.to;
    this.crosshair.toggleAttribute("hidden", !visible);
    if (!visible) return;
    this.crosshair.setAttribute("x1", this.x(t));
    this.crosshair.setAttribute("x2", this.x(t));
  }

  select(stretch) {
    this.selection.toggleAttribute("hidden", stretch === null);
    if (stretch === null) return;
    const [a, b] = stretch.map((t) => this.x(t));
    this.selection.setAttribute("x", Math.min(a, b));
    this.selection.setAttribute("width", Math.abs(b - a));
  }

  timeAxis() {
    const { from, to, length } = this.view;
    const step = timeStep(to - from, Math.max(2, (this.right - this.left) / 64));
    const parts = [];
    let written = -Infinity;
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      const x = this.x(t);
      parts.push(svg("line", { class: "tick", x1: x, x2: x, y1: 0, y2: this.bottom }));
      if (!this.axis) continue;
      const midnight = length > 86400 && t % 86400 === 0;
      const long = writeMoment(t, length, step < 60);
      const text = midnight ? `day ${t / 86400 + 1}` : long.replace(/^day \d+ /, "");
      const anchor = x - this.left < 14 ? "start" : this.right - x < 18 ? "end" : "middle";
      // About 7 px a character; a label that would touch the one before is left out.
      const start = x - text.length * { start: 0, middle: 3.5, end: 7 }[anchor];
      if (start < written + 6) continue;
      written = start + text.length * 7;
      parts.push(
        svg("text", {
          class: midnight ? "tick-label strong" : "tick-label",
          x,
          y: this.bottom + 15,
          "text-anchor": anchor,
          text,
        }),
      );
    }
    if (this.axis)
      parts.push(svg("line", { class: "axis", x1: this.left, x2: this.right, y1: this.bottom, y2: this.bottom }));
    return parts;
  }
}

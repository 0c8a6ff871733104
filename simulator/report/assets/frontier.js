/* One chart per trace: cost in multiples of the optimum across, SLO attainment upwards on an axis that stretches towards 100 %. */

const ATTAINMENT_TICKS = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999];
const CHART_HEIGHT = 300;
const PAD = { left: 48, right: 14, top: 10, bottom: 40 };

/* Equal steps for each halving of what is missed. */
const stretched = (attainment) => -Math.log10(1 - Math.min(attainment, 0.99999));

let chartsMade = 0;

class FrontierChart {
  constructor(trace, curves, styles) {
    this.curves = curves;
    this.styles = styles;
    this.hidden = new Set();
    this.clipId = `inside-${(chartsMade += 1)}`;
    this.tip = el("div", { class: "tip-box", hidden: true });
    this.svg = svg("svg", { class: "frame", role: "group", "aria-label": `${trace}: cost against SLO attainment` });
    this.node = el(
      "figure",
      { class: "frontier" },
      el("figcaption", {}, el("h3", { text: trace })),
      this.svg,
      this.tip,
    );
    this.svg.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  draw(width = this.node.clientWidth) {
    if (width < 50) return;
    this.width = width;
    this.scales();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${CHART_HEIGHT}`);
    const names = Object.keys(this.curves).filter((name) => !this.hidden.has(name));
    // Ours last, so that it lies on top.
    names.sort((a, b) => Number(this.styles[a].ours) - Number(this.styles[b].ours));
    const inside = svg("rect", {
      x: PAD.left,
      y: 0,
      width: width - PAD.left - PAD.right,
      height: CHART_HEIGHT - PAD.bottom,
    });
    this.svg.replaceChildren(
      svg("clipPath", { id: this.clipId }, inside),
      ...this.axes(),
      ...names.map((name) => this.curve(name)),
    );
    const first = this.svg.querySelector(".curve.ours .point") ?? this.svg.querySelector(".point");
    first?.setAttribute("tabindex", "0");
  }

  /* One point of a chart is in the tab order; the arrow keys move along its curve and on to the next. */
  key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const points = [...this.svg.querySelectorAll(".point")];
    const here = points.indexOf(document.activeElement);
    const there = points[clamp(here + step, 0, points.length - 1)];
    points[here]?.setAttribute("tabindex", "-1");
    there.setAttribute("tabindex", "0");
    there.focus();
  }

  scales() {
    const points = Object.values(this.curves).flat();
    const costs = points.map((point) => point.cost).sort((a, b) => a - b);
    const levels = points.map((point) => point.slo).sort((a, b) => a - b);
    const at = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 1;
    this.costs = [Math.min(1, costs[0] ?? 1), Math.max(1.6, at(costs, 0.92) * 1.04)];
    const low = ATTAINMENT_TICKS.findLast((tick) => tick <= Math.max(0.5, at(levels, 0.1)) && tick <= 0.95);
    const high = ATTAINMENT_TICKS.find(
      (tick) => tick >= Math.min(0.9999, Math.max(0.99, levels[levels.length - 1] ?? 0.99)),
    );
    this.levels = [low, high];
  }

  x(cost) {
    const [low, high] = this.costs;
    return PAD.left + ((cost - low) / (high - low)) * (this.width - PAD.left - PAD.right);
  }

  y(attainment) {
    const [low, high] = this.levels.map(stretched);
    return (
      CHART_HEIGHT - PAD.bottom - ((stretched(attainment) - low) / (high - low)) * (CHART_HEIGHT - PAD.bottom - PAD.top)
    );
  }

  axes() {
    const bottom = CHART_HEIGHT - PAD.bottom;
    const right = this.width - PAD.right;
    const parts = [];
    for (const tick of ATTAINMENT_TICKS.filter((one) => one >= this.levels[0] && one <= this.levels[1])) {
      const y = this.y(tick);
      parts.push(
        svg("line", {
          class: tick === 0.98 || tick === 0.99 ? "tick level-line" : "tick",
          x1: PAD.left,
          x2: right,
          y1: y,
          y2: y,
        }),
      );
      parts.push(
        svg("text", {
          class: "tick-label",
          x: PAD.left - 6,
          y: y + 4,
          "text-anchor": "end",
          text: `${Number((tick * 100).toFixed(2))}%`,
        }),
      );
    }
    const [low, high] = this.costs;
    const step = roundStep(high - low, Math.max(3, (right - PAD.left) / 70));
    for (let cost = Math.ceil(low / step - 1e-9) * step; cost <= high; cost += step) {
      const x = this.x(cost);
      parts.push(svg("line", { class: "tick", x1: x, x2: x, y1: PAD.top, y2: bottom }));
      parts.push(
        svg("text", {
          class: "tick-label",
          x,
          y: bottom + 15,
          "text-anchor": "middle",
          text: `${Number(cost.toFixed(2))}×`,
        }),
      );
    }
    parts.push(svg("line", { class: "axis", x1: PAD.left, x2: right, y1: bottom, y2: bottom }));
    parts.push(
      svg("text", {
        class: "tick-label",
        x: (PAD.left + right) / 2,
        y: CHART_HEIGHT - 6,
        "text-anchor": "middle",
        text: "cost, multiples of the optimum",
      }),
    );
    return parts;
  }

  curve(name) {
    const style = this.styles[name];
    const points = this.curves[name];
    const front = points.filter((point) => point.front).map((point) => [this.x(point.cost), this.y(point.slo)]);
    const path =
      front.length > 1
        ? svg("path", {
            class: "stroke",
            d: `M${front.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}`,
            "stroke-dasharray": style.dash,
            "clip-path": `url(#${this.clipId})`,
          })
        : null;
    return svg(
      "g",
      { class: `curve ${style.className}`, "data-policy": name },
      path,
      points.map((point) => this.mark(name, point)),
    );
  }

  mark(name, point) {
    const style = this.styles[name];
    const x = clamp(this.x(point.cost), PAD.left, this.width - PAD.right);
    const y = clamp(this.y(point.slo), PAD.top, CHART_HEIGHT - PAD.bottom);
    const outside = point.cost > this.costs[1] || point.slo < this.levels[0];
    const label = `${name}, knob ${point.knob || UNKNOWN}: ${writeAttainment(point.slo)} at ${point.cost.toFixed(2)} × the optimum`;
    const node = svg(
      "g",
      {
        class: `point${point.front ? "" : " beaten"}${outside ? " outside" : ""}`,
        role: "img",
        "aria-label": label,
        tabindex: "-1",
        transform: `translate(${x.toFixed(1)},${y.toFixed(1)})`,
      },
      svg("circle", { class: "hit", r: 9 }),
      svg("path", { class: "shape", d: style.shape }),
    );
    const show = () => this.show(name, point, node, outside);
    for (const event of ["pointerenter", "focus"]) node.addEventListener(event, show);
    for (const event of ["pointerleave", "blur"]) node.addEventListener(event, () => (this.tip.hidden = true));
    return node;
  }

  show(name, point, node, outside) {
    const lines = [
      `${writeAttainment(point.slo)} within the SLO`,
      `${point.cost.toFixed(3)} × the optimum`,
      `knob ${point.knob || UNKNOWN}${point.seeds > 1 ? `, mean of ${point.seeds} seeds` : ""}`,
    ];
    if (outside) lines.push("outside the chart; drawn at its edge");
    this.tip.replaceChildren(el("h4", { text: name }), ...lines.map((text) => el("p", { class: "facts", text })));
    this.tip.hidden = false;
    const around = this.node.getBoundingClientRect();
    const box = node.getBoundingClientRect();
    const tip = this.tip.getBoundingClientRect();
    const x = box.left + box.width / 2 - around.left;
    this.tip.style.left = `${clamp(x + (x > around.width / 2 ? -tip.width - 12 : 12), 0, Math.max(0, around.width - tip.width))}px`;
    this.tip.style.top = `${Math.max(0, box.top - around.top - tip.height / 2)}px`;
  }
}

function writeAttainment(attainment) {
  const percent = attainment * 100;
  for (const digits of [2, 3, 4, 5]) {
    const text = percent.toFixed(digits);
    if (attainment === 1 || Number(text) < 100) return `${Number(text)} %`;
  }
  return "> 99.99999 %";
}

/* A chart of several series over the shared time axis, with a legend whose buttons hide and show them.

   A series is {key, label, look, times, values, write}; look is one of step, line, steparea, area, bar. A value holds from its
   time until the next for stepped looks. null is a gap. `bands` are {key, wanted, had, label}, naming two series each: where
   the first lies above the second, the space between them is coloured. */

class Plot {
  constructor(view, { title, unit, height, series, bands = [], logarithmic = false, wholeNumbers = false, role }) {
    this.view = view;
    this.series = series;
    this.bands = bands.filter((band) =>
      [band.wanted, band.had].every((key) => series.some((one) => one.key === key)),
    );
    this.logarithmic = logarithmic;
    this.wholeNumbers = wholeNumbers;
    this.hiddenKeys = new Set();
    this.frame = new Frame(view, { height, label: `${title}, ${unit}`, role });
    this.dots = svg("g");
    this.frame.above.append(this.dots);
    this.legend = el(
      "div",
      { class: "legend" },
      series.map((one) => this.legendButton(one)),
    );
    this.legend.append(
      ...this.bands.map((band) =>
        el("span", { class: "legend-note" }, swatch({ key: band.key, look: "area" }), band.label),
      ),
    );
    this.node = el(
      "figure",
      { class: "plot" },
      el(
        "figcaption",
        {},
        el("h3", { text: title }),
        el("span", { class: "unit", text: logarithmic ? `${unit}, logarithmic scale` : unit }),
        this.legend,
      ),
      this.frame.node,
    );
  }

  draw(width) {
    this.frame.resize(width);
    this.scale = this.verticalScale();
    this.frame.grid.append(...this.scale.ticks.map((tick) => this.horizontalLine(tick)));
    const bands = this.bands.flatMap((band) => this.between(band));
    this.frame.content.replaceChildren(...this.visible().map((one) => this.shape(one)), ...bands);
    this.onDraw?.();
    this.point(this.view.moment);
  }

  visible() {
    return this.series.filter((one) => !this.hiddenKeys.has(one.key));
  }

  y(value) {
    return this.scale.y(value);
  }

  point(t) {
    this.frame.mark(t);
    this.dots.replaceChildren();
    if (t === null || t < this.view.from || t > this.view.to) return;
    for (const one of this.visible()) {
      const value = valueAt(one, t);
      if (value === null || one.look === "bar") continue;
      this.dots.append(svg("circle", { class: `dot s-${one.key}`, cx: this.frame.x(t), cy: this.y(value), r: 3.5 }));
    }
  }

  readout(t) {
    return this.visible().map((one) => ({ series: one, text: one.write(valueAt(one, t)) }));
  }

  legendButton(one) {
    return el(
      "button",
      {
        type: "button",
        "aria-pressed": "true",
        title: `Hide or show: ${one.label}`,
        onclick: (event) => {
          const hide = !this.hiddenKeys.has(one.key);
          if (hide) this.hiddenKeys.add(one.key);
          else this.hiddenKeys.delete(one.key);
          event.currentTarget.setAttribute("aria-pressed", String(!hide));
          this.draw(this.frame.width);
        },
      },
      swatch(one),
      one.label,
    );
  }

  horizontalLine({ value, text }) {
    const y = this.y(value);
    return svg(
      "g",
      {},
      svg("line", { class: "tick", x1: this.frame.left, x2: this.frame.right, y1: y, y2: y }),
      svg("text", { class: "tick-label", x: this.frame.left - 6, y: y + 4, "text-anchor": "end", text }),
    );
  }

  /* From 0 to a round number above everything visible; logarithmic: from the power of ten below to the one above. */
  verticalScale() {
    let low = Infinity;
    let high = 0;
    for (const one of this.visible()) {
      for (const value of slice(one, this.view.from, this.view.to).values) {
        if (value === null) continue;
        if (value > high) high = value;
        if (value > 0 && value < low) low = value;
      }
    }
    const { top, bottom } = this.frame;
    if (this.logarithmic) {
      const first = Math.floor(Math.log10(Math.min(low, high || 1)));
      const last = Math.max(first + 1, Math.ceil(Math.log10(high || 1)));
      const ticks = [];
      for (let power = first; power <= last; power += 1)
        ticks.push({ value: 10 ** power, text: writeNumber(10 ** power, 3) });
      const y = (value) =>
        bottom - clamp((Math.log10(Math.max(value, 10 ** first)) - first) / (last - first), 0, 1) * (bottom - top);
      return { y, ticks };
    }
    const step = roundStep(high || 1, (bottom - top) / 38, this.wholeNumbers ? 1 : 0);
    const end = Math.max(step, Math.ceil((high * 1.02) / step) * step);
    const ticks = [];
    for (let i = 0; i * step <= end + step / 2; i += 1) ticks.push({ value: i * step, text: writeNumber(i * step, 3) });
    return { y: (value) => bottom - (value / end) * (bottom - top), ticks };
  }

  shape(one) {
    const points = slice(one, this.view.from, this.view.to);
    const group = svg("g", { class: `series s-${one.key}` });
    if (one.look === "bar") {
      points.times.forEach((t, i) => {
        if (!points.values[i]) return;
        const y = this.y(points.values[i]);
        group.append(
          svg("rect", {
            class: "fill solid",
            x: this.frame.x(t) - 1.5,
            width: 3,
            y,
            height: Math.max(1, this.frame.bottom - y),
          }),
        );
      });
      return group;
    }
    const runs = this.runs(points, one.look.startsWith("step"));
    if (one.look.endsWith("area"))
      group.append(svg("path", { class: "fill", d: runs.map((run) => closed(run, this.frame.bottom)).join("") }));
    group.append(svg("path", { class: "stroke", d: runs.map(open).join("") }));
    return group;
  }

  /* Stretches without a gap, as lists of screen points [x, y]; stepped series have their corners put in. */
  runs(points, stepped) {
    const runs = [];
    let run = null;
    const { times, values } = points;
    for (let i = 0; i < times.length; i += 1) {
      if (values[i] === null) {
        if (run && stepped) run.push([this.frame.x(times[i]), run[run.length - 1][1]]);
        run = null;
        continue;
      }
      const at = [this.frame.x(times[i]), this.y(values[i])];
      if (!run) runs.push((run = []));
      else if (stepped) run.push([at[0], run[run.length - 1][1]]);
      run.push(at);
    }
    return runs;
  }

  /* The area under `wanted`, cut to what lies above `had`. */
  between(band) {
    const [wanted, had] = ["wanted", "had"].map((role) => this.visible().find((one) => one.key === band[role]));
    if (!wanted || !had) return [];
    const runsOf = (one) => this.runs(slice(one, this.view.from, this.view.to), one.look.startsWith("step"));
    const id = `${this.frame.clipId}-${band.key}`;
    const above = svg("path", {
      d: runsOf(had)
        .map((run) => closed(run, 0))
        .join(""),
    });
    const area = svg("path", {
      class: `band-between s-${band.key}`,
      "clip-path": `url(#${id})`,
      d: runsOf(wanted)
        .map((run) => closed(run, this.frame.bottom))
        .join(""),
    });
    return [svg("clipPath", { id }, above), area];
  }
}

function swatch(one) {
  const shape = one.look.endsWith("area")
    ? [
        svg("rect", { class: "fill", x: 0, y: 1, width: 22, height: 10 }),
        svg("path", { class: "stroke", d: "M0,1H22" }),
      ]
    : one.look === "bar"
      ? [
          svg("rect", { class: "fill solid", x: 5, y: 1, width: 3, height: 10 }),
          svg("rect", { class: "fill solid", x: 13, y: 5, width: 3, height: 6 }),
        ]
      : [svg("path", { class: "stroke", d: "M0,6H22" })];
  return svg(
    "svg",
    { class: `swatch s-${one.key}`, width: 22, height: 12, viewBox: "0 0 22 12", "aria-hidden": "true" },
    shape,
  );
}

/* The part of a series between two moments, with one point more on either side so that lines run to the edge. */
function slice(one, from, to) {
  const first = Math.max(0, lastAtOrBefore(one.times, from));
  const last = Math.min(one.times.length - 1, lastAtOrBefore(one.times, to) + 1);
  return { times: one.times.slice(first, last + 1), values: one.values.slice(first, last + 1) };
}

/* Stepped: the value that holds at t. Measured: the nearest one. Added up: what was counted in the stretch of t, or 0. */
function valueAt(one, t) {
  const { times, values } = one;
  const before = lastAtOrBefore(times, t);
  if (one.look === "bar") {
    const nearest = nearestIndex(times, before, t);
    return nearest >= 0 && Math.abs(times[nearest] - t) <= one.widthS / 2 ? values[nearest] : 0;
  }
  if (one.look.startsWith("step")) return before < 0 ? null : values[before];
  const nearest = nearestIndex(times, before, t);
  return nearest < 0 ? null : values[nearest];
}

function nearestIndex(times, before, t) {
  const after = before + 1;
  if (before < 0) return times.length ? 0 : -1;
  if (after >= times.length) return before;
  return t - times[before] <= times[after] - t ? before : after;
}

function open(run) {
  if (run.length === 1) return `M${run[0][0].toFixed(1)},${run[0][1].toFixed(1)}h1`;
  return `M${run.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}`;
}

function closed(run, baseline) {
  const first = run[0][0].toFixed(1);
  const last = Math.max(run[run.length - 1][0], run[0][0] + 1).toFixed(1);
  return `M${first},${baseline}L${run.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}L${last},${baseline}Z`;
}

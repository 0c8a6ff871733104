/* Rows under the charts on the same time axis: the state of each alarm as bands, the events of the account as marks. */

const ALARM_STATES = ["OK", "ALARM", "INSUFFICIENT DATA"];
const ROW_HEIGHT = 32;

class Strip {
  constructor(view, { title, rows }) {
    this.view = view;
    this.rows = rows;
    this.frame = new Frame(view, { height: rows * ROW_HEIGHT, top: 2, label: title });
    this.node = el(
      "figure",
      { class: "plot strip" },
      el("figcaption", {}, el("h3", { text: title }), this.legend()),
      this.frame.node,
    );
  }

  legend() {
    return null;
  }

  draw(width) {
    this.frame.resize(width);
    this.frame.content.replaceChildren();
    for (let row = 0; row < this.rows; row += 1) this.drawRow(row, this.frame.top + row * ROW_HEIGHT);
    this.frame.above.replaceChildren(...this.names());
  }

  names() {
    const long = Math.floor((this.frame.right - this.frame.left) / 6.4);
    return this.rowNames().map((name, row) =>
      svg(
        "text",
        { class: "row-name", x: this.frame.left, y: this.frame.top + row * ROW_HEIGHT + 11 },
        svg("title", { text: name }),
        shortened(name, long),
      ),
    );
  }

  point(t) {
    this.frame.mark(t);
  }

  readout() {
    return [];
  }
}

class AlarmStrip extends Strip {
  constructor(view, alarms) {
    super(view, { title: "Alarms", rows: alarms.length });
    this.alarms = alarms;
  }

  legend() {
    return el(
      "div",
      { class: "legend" },
      ALARM_STATES.map((state, index) => el("span", { class: "legend-note" }, stateSwatch(index), state)),
    );
  }

  rowNames() {
    return this.alarms.map((alarm) => alarm.name);
  }

  drawRow(row, y) {
    const alarm = this.alarms[row];
    const edges = [[this.view.whole[0], alarm.first], ...alarm.changes, [this.view.whole[1]]];
    for (let i = 0; i + 1 < edges.length; i += 1) {
      const [from, state] = edges[i];
      const to = edges[i + 1][0];
      if (to <= this.view.from || from >= this.view.to || to <= from) continue;
      const [a, b] = [this.frame.x(Math.max(from, this.view.from)), this.frame.x(Math.min(to, this.view.to))];
      // A state shorter than a pixel must still be seen.
      const width = Math.max(b - a, state === 1 ? 1.5 : 0.5);
      this.frame.content.append(svg("rect", { class: `band state-${state}`, x: a, width, y: y + 15, height: 11 }));
      if (state === 1 && width > 50)
        this.frame.content.append(svg("text", { class: "band-name", x: a + 5, y: y + 24, text: "ALARM" }));
    }
  }

  readout(t) {
    return this.alarms.map((alarm) => {
      const index = lastAtOrBefore(
        alarm.changes.map((change) => change[0]),
        t,
      );
      const state = index < 0 ? alarm.first : alarm.changes[index][1];
      return { label: alarm.name, state, text: ALARM_STATES[state] };
    });
  }
}

class EventStrip extends Strip {
  constructor(view, { kinds, marks }) {
    super(view, { title: "Events", rows: kinds.length });
    this.kinds = kinds;
    this.marks = marks;
  }

  rowNames() {
    return this.kinds;
  }

  drawRow(row, y) {
    this.frame.content.append(
      svg("line", { class: "rail", x1: this.frame.left, x2: this.frame.right, y1: y + 20.5, y2: y + 20.5 }),
    );
    let previous = -Infinity;
    for (const [t, kind] of this.marks) {
      if (kind !== row || t < this.view.from || t > this.view.to) continue;
      const x = this.frame.x(t);
      if (x - previous < 1) continue;
      previous = x;
      this.frame.content.append(svg("rect", { class: "event", x: x - 1.5, width: 3, y: y + 15, height: 11, rx: 1 }));
    }
  }

  /* The few events nearest to t, if they are within some pixels of it. */
  near(t) {
    const reach = (4 * (this.view.to - this.view.from)) / Math.max(1, this.frame.right - this.frame.left);
    const close = this.marks
      .filter(([at]) => Math.abs(at - t) <= reach)
      .sort((a, b) => Math.abs(a[0] - t) - Math.abs(b[0] - t));
    return close.slice(0, 3).map(([, kind, detail]) => ({ what: this.kinds[kind], detail }));
  }
}

function stateSwatch(state) {
  return svg(
    "svg",
    { class: "swatch", width: 22, height: 12, "aria-hidden": "true" },
    svg("rect", { class: `band state-${state}`, y: 1, width: 22, height: 10 }),
  );
}

function shortened(text, length) {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

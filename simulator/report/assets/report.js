/* The page: reads the data, builds the charts of the chosen component, and keeps the address in step with what is shown.

   Address: #t=1200 pins the moment 1200 s, from=…&to=… the stretch, component=… the component, d=7 opens decision 7,
   theme=light|dark overrides the system's. */

const data = JSON.parse(document.getElementById("data").textContent);

function seriesOf(component, key, label, look, write) {
  const stored = component.series[key];
  if (!stored) return null;
  let t = 0;
  const times = data.grids[stored.g].map((difference) => (t += difference));
  return { key, label, look, times, values: stored.v, write, widthS: stored.w };
}

function panelsOf(component, view, rows, stack) {
  const unit = data.unit;
  const capital = unit[0].toUpperCase() + unit.slice(1);
  const of = (...args) => seriesOf(component, ...args);
  const whole = (value) => writeNumber(value, 0);
  const tenth = (value) => writeNumber(value, 1);
  const known = (...series) => series.filter(Boolean);
  const plots = [];
  const add = (spec) => {
    if (!spec.series.length) return null;
    const plot = new Plot(view, spec);
    plots.push(plot);
    return plot;
  };
  const instances =
    unit === "copies"
      ? [
          of("instances", "instances in service", "step", whole),
          of("instances_desired", "instances asked for", "step", whole),
        ]
      : [];
  const copies = add({
    title: `${capital} needed, asked for and in service`,
    unit,
    height: 250,
    wholeNumbers: true,
    role: "group",
    bands: [{ key: "shortage", wanted: "needed", had: "current", label: "too few" }],
    series: known(
      of("needed", "needed", "steparea", tenth),
      ...instances,
      of("desired", "asked for", "step", whole),
      of("current", "in service", "step", whole),
    ),
  });
  if (copies) copies.node.append(markLegend());
  if (copies)
    new DecisionMarks(copies, view, {
      rows,
      unit,
      onPoint: (...args) => stack.showDecisions(...args),
      onOpen: (row) => stack.onOpenDecision(row),
    });
  add({
    title: "Estimated, expected within the lead time, decided and there",
    unit: unit,
    height: 190,
    bands: [
      { key: "headroom", wanted: "expected_copies", had: "copies_worth", label: "headroom" },
      { key: "coming", wanted: "decided", had: "current", label: "not yet there" },
    ],
    series: known(
      of("needed", "needed, known afterwards", "area", tenth),
      of("copies_worth", "demand estimate", "line", tenth),
      of("expected_copies", "expected within the lead time", "line", tenth),
      of("decided", "decided", "step", whole),
      of("current", "in service", "step", whole),
    ),
  });
  add({
    title: "Load and capacity",
    unit: "requests in flight",
    height: 170,
    bands: [{ key: "shortage", wanted: "demand", had: "capacity", label: "over capacity" }],
    series: known(
      of("in_flight", "in flight", "area", tenth),
      of("demand", "demand sized for", "line", tenth),
      of("capacity", `capacity (${unit} × target)`, "step", tenth),
    ),
  });
  const ttft = of("ttft_p95_s", "first token, p95", "line", writeSeconds);
  add({
    title: "Time to first token",
    unit: "seconds",
    height: 110,
    logarithmic: spreadsWidely(ttft),
    series: known(ttft),
  });
  const lost = of("lost", "lost", "bar", whole);
  add({
    title: "Requests lost",
    unit: lost ? `per ${writeDuration(lost.widthS)}` : "",
    height: 46,
    wholeNumbers: true,
    series: known(lost),
  });
  add({
    title: "Cost",
    unit: "$ per hour",
    height: 76,
    series: known(of("cost_per_hour_usd", "cost", "steparea", writeDollars)),
  });
  const alarms = data.alarms.filter((alarm) => !alarm.component || alarm.component === component.name);
  if (alarms.length) plots.push(new AlarmStrip(view, alarms));
  if (data.events.marks.length) plots.push(new EventStrip(view, data.events));
  return plots;
}

/* Waits of a minute beside waits of a third of a second are only both readable on a logarithmic scale. */
function spreadsWidely(series) {
  const known = series ? series.values.filter((value) => value > 0).sort((a, b) => a - b) : [];
  return known.length > 0 && known[known.length - 1] > 20 * known[known.length >> 1];
}

function start() {
  const root = document.getElementById("charts");
  const view = new View(...data.span);
  const components = data.components.length ? data.components : [{ name: "", series: {} }];
  const several = components.length > 1;
  let component = components[0];
  const rowsOf = (one) =>
    several ? data.decisions.rows.filter((row) => (row.component ?? "") === one.name) : data.decisions.rows;
  const stack = new Stack(root, view, {
    words: data.decisions.words,
    unit: data.unit,
    onOpenDecision: (row) => table.open(row),
  });
  const overview = new Overview(document.getElementById("overview"), view);
  const choose = (one) => {
    component = one;
    stack.showsDecision = null;
    overview.show(
      seriesOf(one, "in_flight", "in flight", "area", writeNumber) ??
        seriesOf(one, "needed", "needed", "area", writeNumber),
    );
    stack.fill(panelsOf(one, view, rowsOf(one), stack), rowsOf(one));
    document.getElementById("component").replaceChildren(...(several ? [chooser(components, one, chosen)] : []));
  };
  const chosen = (one) => {
    choose(one);
    rememberInAddress();
  };
  const table = new DecisionTable(document.getElementById("decision-table"), view, {
    decisions: data.decisions,
    unit: data.unit,
    severalComponents: several,
    onShow: (row) => {
      const owner = components.find((one) => one.name === (row.component ?? ""));
      if (several && owner && owner !== component) choose(owner);
      view.pin(row.t);
      root.scrollIntoView({ block: "start" });
      stack.body.focus({ preventScroll: true });
    },
  });
  const rememberInAddress = () => {
    const parts = new URLSearchParams();
    if (view.pinned !== null) parts.set("t", Math.round(view.pinned));
    if (view.zoomed) for (const edge of ["from", "to"]) parts.set(edge, Math.round(view[edge]));
    if (several && component !== components[0]) parts.set("component", component.name);
    if (document.documentElement.dataset.theme) parts.set("theme", document.documentElement.dataset.theme);
    if (String(parts) !== location.hash.slice(1))
      history.replaceState(null, "", String(parts) ? `#${parts}` : location.href.split("#")[0]);
  };
  const followAddress = () => {
    const parts = new URLSearchParams(location.hash.slice(1));
    const number = (name) =>
      parts.has(name) && Number.isFinite(Number(parts.get(name))) ? Number(parts.get(name)) : null;
    if (["light", "dark"].includes(parts.get("theme"))) document.documentElement.dataset.theme = parts.get("theme");
    const named = components.find((one) => one.name === parts.get("component"));
    if (named && named !== component) choose(named);
    if (number("from") !== null && number("to") > number("from")) view.show(number("from"), number("to"));
    if (number("t") !== null) {
      view.pin(number("t"));
      if (root.getBoundingClientRect().top > window.innerHeight / 2)
        document.getElementById("charts-section").scrollIntoView();
    }
    const row = data.decisions.rows[number("d") ?? -1];
    if (row) table.open(row);
  };
  bindToolbar(view, stack);
  keepTipsInSight();
  choose(component);
  followAddress();
  view.on("range", rememberInAddress);
  let remembering = null;
  view.on("moment", () => {
    clearTimeout(remembering);
    remembering = setTimeout(rememberInAddress, 200);
  });
  window.addEventListener("hashchange", followAddress);
  window.addEventListener("beforeprint", () => stack.draw(PRINTED_WIDTH_PX));
  window.addEventListener("afterprint", () => stack.draw());
}

/* An explanation appears under its tile; near the right edge it is moved until it fits. */
function keepTipsInSight() {
  for (const tile of document.querySelectorAll(".tile")) {
    const fit = () => {
      const tip = tile.querySelector(".tip");
      tip.style.left = "0";
      const over = tip.getBoundingClientRect().right - (document.documentElement.clientWidth - 8);
      if (over > 0) tip.style.left = `${-over}px`;
    };
    tile.addEventListener("pointerenter", fit);
    tile.addEventListener("focus", fit);
  }
}

/* What the marks on the first chart mean. */
function markLegend() {
  const key = (kind, label) =>
    el(
      "span",
      { class: "mark-key" },
      svg(
        "svg",
        { class: `mark-${kind} mark`, width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" },
        MARK_SHAPES[kind](),
      ),
      label,
    );
  return el(
    "p",
    { class: "mark-legend" },
    key("out", "scale out"),
    key("in", "scale in"),
    key("mixed", "several"),
    key("refused", "refused"),
    key("held", "held"),
    el("span", { class: "screen-only", text: "Point at a mark for its reasons." }),
  );
}

const PRINTED_WIDTH_PX = 700;

function chooser(components, chosen, choose) {
  return el(
    "label",
    {},
    "Component ",
    el(
      "select",
      { onchange: (event) => choose(components[event.target.selectedIndex]) },
      components.map((one) => el("option", { selected: one === chosen, text: one.name || "(unnamed)" })),
    ),
  );
}

function bindToolbar(view, stack) {
  const bind = (id, action) => document.getElementById(id).addEventListener("click", action);
  bind("zoom-in", () => view.zoom(0.5));
  bind("zoom-out", () => view.zoom(2));
  bind("zoom-reset", () => view.reset());
  bind("theme", () => {
    const dark =
      getComputedStyle(document.documentElement).colorScheme === "dark" ||
      (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
  const reset = document.getElementById("zoom-reset");
  const out = document.getElementById("zoom-out");
  const range = document.getElementById("range");
  const tell = () => {
    reset.disabled = out.disabled = !view.zoomed;
    range.textContent = view.zoomed
      ? `${writeStretch(view.from, view.to, view.length)} (${writeDuration(view.to - view.from)})`
      : `whole run, ${writeDuration(view.length)}`;
  };
  view.on("range", tell);
  tell();
  document.getElementById("thinned").hidden = !data.thinned_s;
  document.getElementById("thinned").textContent = data.thinned_s
    ? `Measured curves show the smallest and largest value of every ${writeDuration(data.thinned_s)}.`
    : "";
}

start();

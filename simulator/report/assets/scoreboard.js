/* The page: a legend that hides and lifts policies in all charts, tabs for the levels, the table of runs. */

const data = JSON.parse(document.getElementById("data").textContent);

const SHAPES = [
  "M-4,-4H4V4H-4Z",
  "M0,-5L5,4H-5Z",
  "M0,-5.5L5.5,0L0,5.5L-5.5,0Z",
  "M0,5L5,-4H-5Z",
  "M-1.6,-5H1.6V-1.6H5V1.6H1.6V5H-1.6V1.6H-5V-1.6H-1.6Z",
  "M-5,-3.2L-3.2,-5L0,-1.8L3.2,-5L5,-3.2L1.8,0L5,3.2L3.2,5L0,1.8L-3.2,5L-5,3.2L-1.8,0Z",
  "M-5,-2.5H5V2.5H-5Z",
  "M-2.5,-5H2.5V5H-2.5Z",
];
const CIRCLE = "M-4.5,0A4.5,4.5 0 1,0 4.5,0A4.5,4.5 0 1,0 -4.5,0Z";
const DASHES = [null, "7 3", "2 3", "9 3 2 3"];
const COLOURS = 6;

/* Policies differ by colour, shape and dashes together, so that each can be told apart without colour. */
function stylesOf(policies) {
  const styles = {};
  let peers = 0;
  for (const { name, ours, bound } of policies) {
    if (ours) styles[name] = { ours, shape: CIRCLE, dash: null, className: "ours" };
    else if (bound) styles[name] = { ours, shape: CIRCLE, dash: "2 3", className: "bound" };
    else {
      styles[name] = {
        ours,
        shape: SHAPES[peers % SHAPES.length],
        dash: DASHES[Math.floor(peers / COLOURS) % DASHES.length],
        className: `peer-${peers % COLOURS}`,
      };
      peers += 1;
    }
  }
  return styles;
}

function start() {
  const styles = stylesOf(data.policies);
  const charts = Object.entries(data.curves).map(([trace, curves]) => new FrontierChart(trace, curves, styles));
  document.getElementById("frontiers").append(...charts.map((chart) => chart.node));
  document
    .getElementById("legend")
    .append(...data.policies.map(({ name }) => legendButton(name, styles[name], charts)));
  new RunTable(document.getElementById("runs"), data.columns, data.runs, (name) =>
    data.policies.some((policy) => policy.ours && policy.name === name),
  );
  bindLevels();
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  const theme = new URLSearchParams(location.hash.slice(1)).get("theme");
  if (["light", "dark"].includes(theme)) document.documentElement.dataset.theme = theme;
  window.addEventListener("beforeprint", () => charts.forEach((chart) => chart.draw(PRINTED_WIDTH_PX)));
  window.addEventListener("afterprint", () => charts.forEach((chart) => chart.draw()));
}

const PRINTED_WIDTH_PX = 340;

function legendButton(name, style, charts) {
  const lift = (on) => {
    document.getElementById("frontiers").classList.toggle("lifting", on);
    for (const curve of document.querySelectorAll(".curve"))
      curve.classList.toggle("lifted", on && curve.dataset.policy === name);
  };
  const press = (event) => {
    const hide = event.currentTarget.getAttribute("aria-pressed") === "true";
    event.currentTarget.setAttribute("aria-pressed", String(!hide));
    for (const chart of charts) {
      if (hide) chart.hidden.add(name);
      else chart.hidden.delete(name);
      chart.draw();
    }
  };
  return el(
    "button",
    {
      type: "button",
      "aria-pressed": "true",
      onclick: press,
      onpointerenter: () => lift(true),
      onpointerleave: () => lift(false),
      onfocus: () => lift(true),
      onblur: () => lift(false),
    },
    svg(
      "svg",
      { class: `swatch ${style.className}`, width: 28, height: 14, viewBox: "-14 -7 28 14", "aria-hidden": "true" },
      svg("path", { class: "stroke", d: "M-14,0H14", "stroke-dasharray": style.dash }),
      svg("path", { class: "shape", d: style.shape }),
    ),
    name,
  );
}

/* One level at a time on the screen; all of them on paper and without this script. */
function bindLevels() {
  const tables = [...document.querySelectorAll(".level")];
  const choose = (level) => {
    for (const table of tables) table.classList.toggle("not-chosen", table.dataset.level !== level);
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.level === level));
  };
  const buttons = tables.map((table) =>
    el(
      "button",
      { type: "button", "data-level": table.dataset.level, onclick: () => choose(table.dataset.level) },
      `${table.dataset.level} %`,
    ),
  );
  document.getElementById("levels").append(...buttons);
  choose(tables.some((table) => table.dataset.level === "98") ? "98" : tables[0]?.dataset.level);
}

start();

/* Building elements and writing numbers. Text only ever enters as text: nothing here parses HTML. */

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

/* An HTML element; attributes `text` and `on…` are content and listeners, null and false attributes are left out. */
function el(tag, attributes = {}, ...children) {
  return dressed(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return dressed(document.createElementNS(SVG_NAMESPACE, tag), attributes, children);
}

function dressed(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const UNKNOWN = "–";

function writeNumber(value, digits = 0) {
  if (value === null || value === undefined) return UNKNOWN;
  return value.toLocaleString("en-US", { minimumFractionDigits: 0, maximumFractionDigits: digits });
}

function writeSeconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (value > 0 && value < 0.1) return `${Math.round(value * 1000)} ms`;
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} s`;
}

function writeDollars(value) {
  return value === null || value === undefined ? UNKNOWN : `$${value.toFixed(2)}`;
}

/* A moment of the run, counted from its start: "2:05:30", and "day 3 02:05:30" when the run is longer than a day. */
function writeMoment(t, runLength, withSeconds = true) {
  const whole = Math.max(0, Math.round(t));
  const days = Math.floor(whole / 86400);
  const pad = (n) => String(n).padStart(2, "0");
  const hours = Math.floor((whole % 86400) / 3600);
  const minutes = pad(Math.floor((whole % 3600) / 60));
  const seconds = withSeconds ? `:${pad(whole % 60)}` : "";
  if (runLength > 86400) return `day ${days + 1} ${pad(hours)}:${minutes}${seconds}`;
  return `${Math.floor(whole / 3600)}:${minutes}${seconds}`;
}

/* "2:05:30 – 2:11:00"; the day is said once if both ends lie in it. */
function writeStretch(from, to, runLength) {
  if (to === undefined) return writeMoment(from, runLength);
  const [start, end] = [from, to].map((t) => writeMoment(t, runLength));
  const day = /^day \d+ /.exec(start)?.[0];
  return `${start} – ${day && end.startsWith(day) ? end.slice(day.length) : end}`;
}

/* The two largest units, rounded to the smaller: "45 s", "3 min 10 s", "2 h", "1 d 4 h". */
function writeDuration(seconds) {
  const sizes = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const first = Math.max(
    0,
    sizes.findIndex(([size]) => seconds >= size),
  );
  const [size, unit] = seconds < 1 ? sizes[3] : sizes[first];
  const [small, smallUnit] = sizes[sizes.findIndex(([one]) => one === size) + 1] ?? [1, null];
  const rounded = Math.round(seconds / small) * small;
  const whole = Math.floor(rounded / size);
  const rest = (rounded - whole * size) / small;
  return smallUnit && rest ? `${whole} ${unit} ${rest} ${smallUnit}` : `${whole} ${unit}`;
}

/* Index of the last element ≤ t in a sorted array, −1 if there is none. */
function lastAtOrBefore(times, t) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/* Round steps for an axis from 0 (or low) to high: about `wanted` of them, 1, 2 or 5 times a power of ten. */
function roundStep(range, wanted, smallest = 0) {
  const raw = Math.max(range / wanted, smallest, 1e-9);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999) * power;
  return Math.max(step, smallest);
}

const TIME_STEPS = [10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

function timeStep(range, wanted) {
  return TIME_STEPS.find((step) => step >= range / wanted) ?? TIME_STEPS[TIME_STEPS.length - 1];
}

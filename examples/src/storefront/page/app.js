// The demo's live page: snapshots come in over SSE, buttons go out as plain requests.
// Everything that came from the server is written as text, and any field of it may be missing.

const SECONDS = 120;
const byId = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const list = (value) => (Array.isArray(value) ? value.filter((one) => one !== null && typeof one === "object") : []);
const number = (value) => (Number.isFinite(value) ? value : 0);
const digits = new Intl.NumberFormat("en");

function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// Writes only what changed, so that a selection and a screen reader's place survive.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

// "cache.hits", or a sum such as "negotiate.json+negotiate.csv". `undefined` when none of it is there.
function pick(snapshot, path) {
  const found = path
    .split("+")
    .map((term) => term.split(".").reduce((value, key) => value?.[key], snapshot))
    .filter(Number.isFinite);
  return found.length ? found.reduce((a, b) => a + b) : undefined;
}

// ---- Time: the server's clock, carried on between snapshots ----

const clock = { server: 0, page: 0, known: false };

function setClock(uptime) {
  if (!Number.isFinite(uptime)) return;
  Object.assign(clock, { server: uptime, page: performance.now(), known: true });
}

const serverNow = () => clock.server + (performance.now() - clock.page);

function ago(at) {
  if (!Number.isFinite(at)) return "";
  const seconds = Math.max(0, Math.floor((serverNow() - at) / 1000));
  if (seconds < 2) return "just now";
  return `${span(seconds)} ago`;
}

function span(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function took(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  return ms < 10000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function stamp(at) {
  const time = el("time", Number.isFinite(at) ? { "data-at": at } : {});
  time.textContent = ago(at);
  return time;
}

// ---- Rendering ----

let latest = null;
let queued = false;

// At most one drawing per frame, however fast snapshots come.
function receive(snapshot) {
  if (!snapshot || typeof snapshot !== "object") return;
  latest = snapshot;
  setClock(snapshot.uptime_ms);
  count(snapshot);
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => {
    queued = false;
    draw(latest);
  });
}

function draw(snapshot) {
  drawNumbers(snapshot);
  drawShares(snapshot);
  drawBreakers(snapshot);
  drawLatencies(list(snapshot.trace?.recent));
  drawTraces(list(snapshot.trace?.recent));
  drawStory(list(snapshot.story));
  drawPlots();
  drawTimes();
}

function drawNumbers(snapshot) {
  for (const node of all("[data-n]")) {
    const value = pick(snapshot, node.dataset.n);
    write(node, value === undefined ? "–" : digits.format(value));
  }
  const hits = number(snapshot.cache?.hits);
  const lookups = hits + number(snapshot.cache?.misses);
  write(byId("hit-rate"), lookups ? `${Math.floor((100 * hits) / lookups)} %` : "–");
}

function drawShares(snapshot) {
  for (const bar of all("[data-share]")) {
    bar.dataset.share.split(" ").forEach((part, at) => {
      const [path, tone] = part.split(":");
      const piece = bar.children[at] ?? bar.appendChild(el("i", { "data-tone": tone }));
      const value = number(pick(snapshot, path));
      piece.style.flexGrow = value;
      piece.toggleAttribute("data-some", value > 0);
    });
  }
}

// ---- Breakers ----

const BREAKER_WORDS = {
  closed: ["closed", "every call goes through"],
  open: ["open", "calls are refused at once"],
  "half-open": ["half-open", "one call may try whether it is back"],
  "forced-open": ["held open", "refuses every call until released"],
  "forced-closed": ["held closed", "lets every call through"],
  "metrics-only": ["only counting", "measures, and refuses nothing"],
};

const breakers = new Map();

function drawBreakers(snapshot) {
  const home = byId("breakers");
  for (const breaker of list(snapshot.breakers)) {
    const name = String(breaker.name ?? "unnamed");
    if (!breakers.has(name)) {
      if (!breakers.size) home.replaceChildren();
      breakers.set(name, newBreaker(name, home));
    }
    const upstream = list(snapshot.upstreams).find((one) => one.name === breaker.name);
    updateBreaker(breakers.get(name), breaker, upstream);
  }
}

function newBreaker(name, home) {
  const row = { state: el("span"), health: el("small"), words: el("p", { class: "quiet" }), tally: el("p", { class: "quiet" }), deadline: null, whole: 0 };
  row.left = el("i");
  row.wait = el("div", { class: "wait", hidden: "" }, row.left);
  row.node = el(
    "div",
    { class: "breaker", "data-state": "unknown" },
    switchDrawing(),
    el("div", { class: "breaker-name" }, el("b", {}, name), row.health, row.state),
    el("div", {}, row.words, row.wait),
    row.tally,
  );
  home.append(row.node);
  return row;
}

function switchDrawing() {
  return svg(
    "svg",
    { viewBox: "0 0 80 40", "aria-hidden": "true" },
    svg("path", { d: "M2 28h20M58 28h20" }),
    svg("path", { class: "arm", d: "M26 28h28" }),
    svg("circle", { class: "knob", cx: 26, cy: 28, r: 3.6 }),
    svg("circle", { class: "knob", cx: 54, cy: 28, r: 3.6 }),
  );
}

function updateBreaker(row, breaker, upstream) {
  const state = BREAKER_WORDS[breaker.state] ? breaker.state : "unknown";
  mark(row.node, "data-state", state);
  write(row.state, state === "unknown" ? String(breaker.state ?? "unknown") : BREAKER_WORDS[state][0]);
  row.plain = BREAKER_WORDS[state]?.[1] ?? "";
  if (state === "open" && Number.isFinite(breaker.remaining_ms)) {
    row.whole = Math.max(row.deadline === null ? 0 : row.whole, breaker.remaining_ms);
    row.deadline = performance.now() + breaker.remaining_ms;
  } else {
    row.deadline = null;
  }
  write(row.health, health(upstream));
  write(row.tally, `${opened(breaker.openings)} of late, refused ${calls(breaker.rejected)}`);
  drawWait(row);
  keepCounting();
}

function health(upstream) {
  if (!upstream) return "";
  const rate = number(upstream.failure_rate);
  if (rate >= 1) return "· broken";
  return rate > 0 ? `· ${Math.round(rate * 100)} % fail` : "· well";
}

const calls = (count) => (number(count) === 1 ? "1 call" : `${number(count) ? digits.format(count) : "no"} calls`);

function opened(count) {
  if (!number(count)) return "not opened";
  return count === 1 ? "opened once" : count === 2 ? "opened twice" : `opened ${digits.format(count)} times`;
}

function drawWait(row) {
  row.wait.hidden = row.deadline === null;
  if (row.deadline === null) return write(row.words, row.plain);
  const left = Math.max(0, row.deadline - performance.now());
  row.left.style.transform = `scaleX(${row.whole ? left / row.whole : 0})`;
  write(row.words, left > 0 ? `refuses calls, tries again in ${(left / 1000).toFixed(1)} s` : "the next call is the probe");
}

let counting = false;

// Counts down ten times a second, and only while a breaker is open.
function keepCounting() {
  const waiting = [...breakers.values()].filter((row) => row.deadline !== null);
  if (counting || !waiting.length) return;
  counting = true;
  setTimeout(() => {
    counting = false;
    waiting.forEach(drawWait);
    keepCounting();
  }, 100);
}

// ---- Traces ----

const statusClass = (status) => String(Math.floor(number(status) / 100));

function drawLatencies(recent) {
  const chart = byId("latencies");
  const shown = recent.slice(0, 30).reverse();
  const longest = Math.max(1, ...shown.map((one) => number(one.ms)));
  chart.replaceChildren(
    ...shown.map((one, at) => {
      const height = 1 + 23 * (Math.log1p(number(one.ms)) / Math.log1p(longest));
      return svg("rect", { x: at + 30 - shown.length, y: 24 - height, width: 0.72, height, "data-class": statusClass(one.status) });
    }),
  );
  if (!shown.length) return;
  const sorted = shown.map((one) => number(one.ms)).sort((a, b) => a - b);
  const words = `The last ${shown.length}: half within ${took(sorted[Math.floor((sorted.length - 1) / 2)])}, the slowest ${took(sorted.at(-1))}.`;
  write(byId("latencies-words"), words);
  mark(chart, "aria-label", words);
}

const traceRows = new Map();

function drawTraces(recent) {
  reconcile(byId("traces"), traceRows, recent, (one) => [one.trace_id, one.kind, one.at_ms, one.method, one.route].join(" "), traceRow);
}

function traceRow(one) {
  const cell = (attributes, ...children) => el("td", { role: "cell", ...attributes }, ...children);
  const client = one.kind === "client" ? [el("span", { class: "kind" }, "to a service")] : [];
  const outcome = String(one.outcome ?? "–");
  const id = String(one.trace_id ?? "–").slice(0, 8);
  return el(
    "tr",
    { role: "row" },
    cell({}, el("span", { class: "method" }, String(one.method ?? ""), el("span", { class: "short" }, ` ${id}`)), String(one.route ?? "–"), ...client),
    cell({}, el("span", { class: "status", "data-class": statusClass(one.status) }, String(one.status ?? "–"))),
    cell({}, took(one.ms)),
    cell({ "data-odd": outcome === "complete" ? null : "" }, outcome),
    cell({ title: one.trace_id ?? null }, id),
    cell({}, stamp(one.at_ms)),
  );
}

// Keeps the rows that stay, adds those that are new, in the order given.
function reconcile(home, known, items, keyOf, build) {
  const seen = new Map();
  let place = home.firstElementChild;
  for (const item of items) {
    let key = keyOf(item);
    while (seen.has(key)) key += "'";
    const node = known.get(key) ?? build(item);
    seen.set(key, node);
    if (node === place) place = place.nextElementSibling;
    else home.insertBefore(node, place);
  }
  for (const [key, node] of known) if (!seen.has(key)) node.remove();
  known.clear();
  for (const [key, node] of seen) known.set(key, node);
}

// ---- The story ----

const storyRows = new Map();
let toldBefore = false;

function drawStory(story) {
  reconcile(byId("story"), storyRows, story, (one) => `${one.id} ${one.at_ms}`, storyRow);
  byId("story-empty").hidden = story.length > 0;
  for (const place of all("[data-said]")) drawSaid(place, story.find((one) => one.pattern === place.dataset.said));
  toldBefore = true;
}

function storyRow(one) {
  return el(
    "li",
    { "data-new": toldBefore ? "" : null },
    el("div", {}, el("code", {}, String(one.pattern ?? "")), stamp(one.at_ms)),
    el("p", {}, String(one.text ?? "")),
  );
}

function drawSaid(place, item) {
  const key = item ? `${item.id} ${item.at_ms}` : "";
  place.toggleAttribute("data-idle", !item);
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren(...(item ? [String(item.text ?? ""), stamp(item.at_ms)] : []));
}

function drawTimes() {
  for (const time of all("time[data-at]")) write(time, ago(Number(time.dataset.at)));
  if (clock.known) write(byId("uptime"), span(Math.floor(serverNow() / 1000)));
}

// ---- The last two minutes ----

const PLOTS = [
  { title: "Requests finished", past: "finished", bars: (s) => pick(s, "trace.finished") },
  { title: "Cache hits", past: "hits", bars: (s) => pick(s, "cache.hits") },
  {
    title: "Refused by a breaker",
    tone: "brick",
    past: "rejected",
    pastMarks: "trips",
    bars: (s) => list(s.breakers).reduce((sum, one) => sum + number(one.rejected), 0),
    marks: (s) => pick(s, "trips"),
  },
  { title: "Orders replayed", past: "replayed", bars: (s) => pick(s, "idempotency.replayed") },
].map((plot) => ({ ...plot, barBins: new Map(), markBins: new Map(), last: {} }));

const second = () => Math.floor(performance.now() / 1000);

// Counters become rates: what was added since the last snapshot is put into the current second.
function count(snapshot) {
  if (snapshot.seconds) recall(list(snapshot.seconds));
  for (const plot of PLOTS) {
    add(plot, "bars", plot.barBins, plot.bars(snapshot));
    if (plot.marks) add(plot, "marks", plot.markBins, plot.marks(snapshot));
  }
}

// What was before the page was opened, or while it was cut off: the last of these seconds is over.
function recall(seconds) {
  const first = second() - seconds.length;
  for (const plot of PLOTS) {
    plot.last = {};
    seconds.forEach((one, at) => {
      plot.barBins.set(first + at, number(one[plot.past]));
      if (plot.pastMarks) plot.markBins.set(first + at, number(one[plot.pastMarks]));
    });
  }
}

function add(plot, series, bins, value) {
  if (value === undefined) return;
  const more = value - (plot.last[series] ?? value);
  plot.last[series] = value;
  if (more > 0) bins.set(second(), (bins.get(second()) ?? 0) + more);
  for (const key of bins.keys()) if (key < second() - SECONDS) bins.delete(key);
}

function window120(bins) {
  const first = second() - SECONDS + 1;
  return Array.from({ length: SECONDS }, (_, at) => bins.get(first + at) ?? 0);
}

function buildPlots() {
  for (const plot of PLOTS) {
    plot.path = svg("path", { class: "bars" });
    plot.lines = svg("path", { class: "marks" });
    plot.image = svg("svg", { role: "img", viewBox: `0 0 ${SECONDS} 60`, preserveAspectRatio: "none" }, svg("path", { class: "grid", d: `M0 6.5h${SECONDS}M0 33h${SECONDS}` }), plot.lines, plot.path);
    plot.total = el("b");
    plot.peak = el("small");
    plot.node = el(
      "figure",
      { class: "plot", "data-tone": plot.tone },
      el("figcaption", {}, el("span", {}, plot.title), plot.peak, plot.total),
      plot.image,
      el("div", { class: "plot-axis", "aria-hidden": "true" }, el("span", {}, "2 min ago"), el("span", {}, "now")),
    );
    byId("plots").append(plot.node);
  }
}

function drawPlots() {
  for (const plot of PLOTS) {
    const bars = window120(plot.barBins);
    const marks = window120(plot.markBins);
    const top = Math.max(4, ...bars);
    const total = sum(bars);
    plot.path.setAttribute("d", bars.map((value, at) => (value ? bar(at, (53 * value) / top) : "")).join(""));
    plot.lines.setAttribute("d", marks.map((value, at) => (value ? `M${at + 0.4} 0V60` : "")).join(""));
    write(plot.total, digits.format(total));
    write(plot.peak, aside(plot, bars, marks));
    mark(plot.image, "aria-label", `${plot.title}: ${total} in the last two minutes. ${aside(plot, bars, marks)}`);
  }
}

const bar = (at, height) => `M${at} 60v${-height.toFixed(2)}h.8V60z`;
const sum = (values) => values.reduce((a, b) => a + b, 0);

function aside(plot, bars, marks) {
  if (plot.marks) return sum(marks) ? opened(sum(marks)) : "no opening";
  const most = Math.max(...bars);
  return most ? `peak ${digits.format(most)}/s` : "quiet";
}

// ---- Asking ----

const REASONS = { 200: "OK", 201: "Created", 204: "No Content", 406: "Not Acceptable", 409: "Conflict", 422: "Unprocessable Content", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout" };

// Asks the server, and never the browser's own cache: `no-store` with a directive that means nothing to a cache in between,
// since the browser would otherwise add `no-cache` and the shop's cache would honour it.
async function ask(method, path, { headers = {}, json } = {}) {
  const started = performance.now();
  const request = { method, cache: "no-store", headers: { "cache-control": "no-transform", ...headers }, signal: AbortSignal.timeout(20000) };
  if (json !== undefined) {
    request.body = JSON.stringify(json);
    request.headers["content-type"] = "application/json";
  }
  try {
    const response = await fetch(path, request);
    const body = await response.text();
    return { method, path, status: response.status, headers: response.headers, body, ms: performance.now() - started };
  } catch {
    return { method, path, status: 0, headers: new Headers(), body: "", ms: performance.now() - started };
  }
}

function parsed(answer) {
  try {
    return JSON.parse(answer.body) ?? {};
  } catch {
    return {};
  }
}

function firstLine(answer) {
  const status = answer.status ? `${answer.status} ${REASONS[answer.status] ?? ""}`.trim() : "no answer";
  return el(
    "p",
    { class: "first" },
    el("span", {}, `${answer.method} ${answer.path}`),
    el("span", { class: "status", "data-class": statusClass(answer.status) }, status),
    el("span", {}, took(answer.ms)),
  );
}

function headerLines(answer, names, marked) {
  const found = names.filter((name) => answer.headers.has(name));
  if (!found.length) return [];
  return [el("dl", {}, ...found.map((name) => el("div", { "data-mark": marked.includes(name) ? "" : null }, el("dt", {}, name), el("dd", {}, answer.headers.get(name)))))];
}

function bodyLines(answer, lines) {
  const json = (answer.headers.get("content-type") ?? "").includes("json");
  const rows = (json ? spaced(answer) : answer.body).trimEnd().split(/\r?\n/);
  const rest = rows.length > lines ? ["…"] : [];
  return answer.body ? [el("pre", {}, [...rows.slice(0, lines), ...rest].join("\n").slice(0, 2000))] : [];
}

// Short JSON on one line, longer JSON a member a line.
function spaced(answer) {
  const lines = JSON.stringify(parsed(answer), null, 1);
  return lines.length > 600 ? lines : lines.replace(/\n\s*/g, " ");
}

function show(card, answer, { gist, choices = [], silence = "The server did not answer. Is it still running?", headers = [], marked = [], lines = 0 } = {}) {
  const words = answer.status ? gist : silence;
  reveal(
    card,
    firstLine(answer),
    ...(words ? [el("p", { class: "gist" }, words)] : []),
    ...choices,
    ...headerLines(answer, headers, marked),
    ...(lines ? bodyLines(answer, lines) : []),
  );
}

function reveal(card, ...children) {
  const place = document.querySelector(`[data-answer="${card}"]`);
  place.replaceChildren(...children);
  place.scrollTop = 0;
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const placeOrder = (key) => ask("POST", "/orders", { headers: { "idempotency-key": key }, json: { product: "lamp", quantity: 1 } });
const orderName = (answer) => (parsed(answer).id === undefined ? "the order" : `order ${parsed(answer).id}`);
const ORDER_HEADERS = { silence: "No answer. Send the same order again: whether this one was taken or not, there will be one.", headers: ["idempotency-replayed", "retry-after", "content-type", "x-trace-id"], marked: ["idempotency-replayed", "retry-after"], lines: 8 };

// A client keeps the key of what it asked for, whatever the answer, and the more so without one.
let order = null;

async function firstOrder() {
  const key = newKey();
  const answer = await placeOrder(key);
  order = { key, body: answer.status ? answer.body : null, placed: answer.status === 201 };
  const gist = answer.status === 201 ? `A new key, so a new order: this is ${orderName(answer)}.` : refusal(answer);
  show("idempotency", answer, { gist, ...ORDER_HEADERS });
}

async function sameOrder() {
  if (!order) return firstOrder();
  const answer = await placeOrder(order.key);
  show("idempotency", answer, { gist: replayWords(answer), ...ORDER_HEADERS });
  if (answer.status) Object.assign(order, { body: answer.body, placed: order.placed || answer.status === 201 });
}

function replayWords(answer) {
  if (answer.headers.get("idempotency-replayed") !== "true") return answer.status === 201 ? `${order.placed ? "The key was no longer kept" : "Nothing was done under this key before"}, so this ran: ${orderName(answer)}.` : refusal(answer);
  const same = answer.body === order.body ? ", byte for byte" : "";
  return `The same key: the first answer again${same}. ${answer.status === 201 ? `Still ${orderName(answer)}.` : "Nothing was done twice."}`;
}

function refusal(answer) {
  const after = answer.headers.get("retry-after");
  const again = after ? ` Ask again in ${after} s.` : "";
  if (isRefused(answer)) return `Refused at once by the breaker.${again}`;
  const { detail, title } = parsed(answer);
  return `${detail ?? title ?? "The order was not taken."}${again}`;
}

// What an answer is a problem of: the last word of its type.
const problem = (answer) => String(parsed(answer).type ?? "").split(":").pop();
const isRefused = (answer) => problem(answer) === "circuit-open";
const done = (answer) => answer.status >= 200 && answer.status < 300;
const NOT_OURS = "This process has no payment service of its own: break it where it runs.";

async function eightOrders() {
  const chips = el("ol", { class: "chips" });
  const words = el("p", { class: "gist" }, "Placing eight orders, one after another.");
  reveal("circuit", words, chips);
  const answers = [];
  for (let at = 1; at <= 8; at += 1) {
    const answer = await placeOrder(newKey());
    answers.push(answer);
    const status = el("span", { class: "status", "data-class": statusClass(answer.status) }, String(answer.status || "–"));
    chips.append(el("li", {}, status, ` ${took(answer.ms)}`));
  }
  words.textContent = eightWords(answers);
}

function eightWords(answers) {
  const taken = answers.filter((one) => one.status === 201).length;
  const refused = answers.filter(isRefused).length;
  const failed = answers.filter((one) => problem(one) === "upstream").length;
  const other = answers.filter((one) => one.status !== 201 && !isRefused(one) && problem(one) !== "upstream");
  if (taken === answers.length) return "All eight were taken: the payment service answers, the breaker lets calls through.";
  const parts = [[taken, "taken"], [failed, "failed at the payment service"], [refused, "refused at once by the breaker"], [other.length, other.length && `not taken: ${refusal(other[0])}`]];
  const said = parts.filter(([n]) => n).map(([n, what]) => `${n} ${what}`).join(", ");
  return `${said}.`;
}

const ACTIONS = {
  async break() {
    const answer = await ask("POST", "/demo/payments/break");
    show("circuit", answer, { gist: done(answer) ? "The payment service fails every call from now on. Place eight orders." : NOT_OURS });
  },
  async heal() {
    const answer = await ask("POST", "/demo/payments/heal");
    show("circuit", answer, { gist: done(answer) ? "The payment service is well. An open breaker learns it from its next probe." : NOT_OURS });
  },
  orders: eightOrders,
  async burst() {
    const answer = await ask("POST", "/demo/burst");
    const { requests, reads, joined } = parsed(answer);
    const gist = Number.isFinite(requests) ? `${digits.format(requests)} requests, ${reads === 1 ? "one read" : `${digits.format(number(reads))} reads`} of the catalogue: ${digits.format(number(joined))} joined.` : undefined;
    show("dedup", answer, { gist, headers: ["content-type"], lines: 8 });
  },
  order: firstOrder,
  again: sameOrder,
  async read() {
    const answer = await ask("GET", "/products/lamp", { headers: { accept: "application/json" } });
    show("cache", answer, { headers: ["cache-status", "x-cache", "age", "content-type"], marked: ["cache-status", "x-cache"], lines: 10 });
  },
  async price() {
    const price = 3900 + 100 * Math.floor(Math.random() * 12);
    const answer = await ask("PUT", "/products/lamp", { json: { price_cents: price } });
    const gist = answer.status === 200 ? `The lamp costs ${(price / 100).toFixed(2)} now. Every page that shows it was dropped: the next read is a miss.` : undefined;
    show("cache", answer, { gist, headers: ["content-type"], lines: 6 });
  },
  csv: () => report("text/csv"),
  xml: () => report("application/xml"),
  image: () => report("image/png"),
  async recommend() {
    const answer = await ask("GET", "/recommendations/lamp");
    const id = answer.headers.get("x-trace-id");
    const shared = id && String(parsed(answer).traceparent ?? "").includes(id);
    show("trace", answer, { gist: shared ? "The service behind saw the same trace id." : undefined, headers: ["x-trace-id", "x-request-id"], marked: ["x-trace-id"], lines: 10 });
  },
};

// What a 406 problem lists: the first list in it, whatever its name.
function offered(answer) {
  if (answer.status !== 406) return [];
  const types = (Object.values(parsed(answer)).find(Array.isArray) ?? []).map((one) => String(one?.type ?? one));
  return types.length ? [el("ul", { class: "types" }, ...types.map((type) => el("li", {}, type)))] : [];
}

async function report(accept) {
  const answer = await ask("GET", "/reports/sales", { headers: { accept } });
  const gist = answer.status === 406 ? `Asked for ${accept}. There is none, and this is the list of what there is:` : `Asked for ${accept}.`;
  show("negotiate", answer, { gist, choices: offered(answer), headers: ["content-type", "vary"], marked: ["content-type"], lines: answer.status === 406 ? 12 : 5 });
}

document.addEventListener("click", async (event) => {
  const button = event.target instanceof Element ? event.target.closest("button[data-do]") : null;
  if (!button || button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    await ACTIONS[button.dataset.do]?.();
  } finally {
    button.removeAttribute("aria-busy");
  }
});

// ---- The stream ----

let retries = 0;
let heard = false;

function setLink(state, words) {
  byId("link").dataset.state = state;
  document.body.dataset.link = state;
  write(byId("link-words"), words);
}

function read(text) {
  try {
    receive(JSON.parse(text));
  } catch {
    // A line cut off mid-way: the next snapshot is whole again.
  }
}

// The browser reconnects by itself after a cut; after an error status it gives up, and then we start anew.
function listen() {
  const stream = new EventSource("/demo/stream");
  stream.addEventListener("snapshot", (event) => {
    heard = true;
    read(event.data);
  });
  stream.addEventListener("open", () => {
    retries = 0;
    heard = false;
    setLink("live", "Live");
    refresh();
  });
  stream.addEventListener("error", () => {
    setLink("lost", "Reconnecting…");
    if (stream.readyState !== EventSource.CLOSED) return;
    retries += 1;
    setTimeout(listen, Math.min(10000, 500 * 2 ** retries));
  });
}

// The stream speaks only of changes, so where things stand is asked for once.
async function refresh() {
  const answer = await ask("GET", "/demo/snapshot");
  if (answer.status === 200 && !heard) read(answer.body);
}

buildPlots();
drawPlots();
listen();
setInterval(() => {
  drawPlots();
  drawTimes();
}, 1000);

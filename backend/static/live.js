// Keeps the live page as the stream has it. The page was rendered whole; here its cells are filled anew, and
// charts.js is told of tables that are others now.
"use strict";

const live = document.getElementById("live");
const skew = Date.now() - Date.parse(live.dataset.now); // of this machine's clock against the server's
const staleSeconds = Number(live.dataset.staleSeconds);
const codes = live.dataset.codes ? live.dataset.codes.split(",") : [];
const words = JSON.parse(live.dataset.words);
const names = JSON.parse(live.dataset.names);
const minimumSample = Number(live.dataset.minimumSample);
const SILENCE_SECONDS = 60; // then the connection is taken for dead
const RETRY_MILLISECONDS = 5000;
const TABLES_MILLISECONDS = 300; // so often something is shown anew at most, however many changes come
const CHARTS_MILLISECONDS = 1000;
const HOURS_MILLISECONDS = 2000; // the stream has the hours of all countries together; those of some are asked for
const DIGITS = 10000; // of a mean as data

const keys = { countries: "country", hours: "hour", sources: "source" };
const shown = { countries: new Map(), hours: new Map(), sources: new Map() };
let totals = []; // [seconds, responses] of the last minute
let shownVersion = null;
let hoursVersion = null; // of the hours that were asked for
let heardAt = 0;
let stream = null;

const seconds = () => performance.now() / 1000;
const written = (number, decimals = 0) => number.toLocaleString(document.documentElement.lang, { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
const count = (number) => written(number);
const mean = (value) => (value === null ? "–" : written(value, 2));
const rounded = (value) => (value === null ? null : Math.round(DIGITS * value) / DIGITS);
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const byId = (id) => document.getElementById(id);

// At once, but not again before so many milliseconds are over; whoever calls in between is served then.
function seldom(run, milliseconds) {
  let isDue = false;
  let ranAt = -Infinity;
  return () => {
    if (isDue) return;
    isDue = true;
    setTimeout(
      () => {
        isDue = false;
        ranAt = performance.now();
        run();
      },
      Math.max(0, ranAt + milliseconds - performance.now()),
    );
  };
}

function say(kind, text) {
  const place = byId("state");
  place.dataset.kind = kind;
  if (place.textContent !== text) place.textContent = text; // or it would be read aloud again
}

function take(content, isWhole) {
  for (const [list, key] of Object.entries(keys)) {
    if (isWhole) shown[list].clear();
    for (const element of content[list] ?? []) shown[list].set(element[key], element);
  }
}

function chosen() {
  const all = [...shown.countries.values()];
  const wanted = codes.length ? all.filter((found) => codes.includes(found.country)) : all;
  return wanted.sort((one, other) => (one.country < other.country ? -1 : 1));
}

// The oldest of the country's own sources, else of those of several countries; null: one was never read.
function readAt(country) {
  const all = [...shown.sources.values()];
  const own = all.filter((source) => source.country === country);
  const times = (own.length ? own : all.filter((source) => source.country === null)).map((source) => source.read_at);
  return times.length && times.every(Boolean) ? times.reduce((one, other) => (Date.parse(one) < Date.parse(other) ? one : other)) : null;
}

function fillRows(table, template, elements, key, fillRow) {
  const body = byId(table).tBodies[0];
  keepRows(body, elements.map((element) => element[key]), () => byId(template).content.querySelector("tr").cloneNode(true));
  elements.forEach((element, place) => {
    const cell = (field) => body.rows[place].querySelector(`[data-field="${field}"]`);
    cell(key).textContent = element[key];
    fillRow(element, cell);
  });
}

// The body has these rows in this order then; a row that stays where it is is not touched.
function keepRows(body, wanted, make) {
  const rows = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  wanted.forEach((name, place) => {
    const row = rows.get(name) ?? make(name);
    rows.delete(name);
    row.dataset.key = name;
    if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] ?? null);
  });
  for (const gone of rows.values()) gone.remove();
}

// The rows of a chart: [key, values]. The chart is drawn again only where what its table says is another.
function fillFigure(id, rows, label) {
  const figure = byId(id);
  const table = figure.querySelector("table");
  const heads = [...table.tHead.rows[0].cells].slice(1);
  const body = table.tBodies[0];
  const before = body.textContent;
  keepRows(body, rows.map(([key]) => key), (key) => newRow(label(key), heads.length));
  rows.forEach(([, values], place) => {
    values.forEach((value, column) => {
      const cell = body.rows[place].cells[column + 1];
      const { unit, decimals } = heads[column].dataset;
      cell.dataset.value = value ?? "";
      cell.textContent = value === null ? "–" : `${written(value, Number(decimals))}${unit}`;
    });
  });
  if (body.textContent !== before) figure.dispatchEvent(new Event("figureschange", { bubbles: true }));
}

function newRow(label, columns) {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = label;
  row.append(head);
  for (let column = 0; column < columns; column += 1) {
    const cell = document.createElement("td");
    cell.className = "number";
    row.append(cell);
  }
  return row;
}

function showAge(cell, moment) {
  cell.dataset.readAt = moment ?? "";
  tellAge(cell);
}

function tellAge(cell) {
  const moment = cell.dataset.readAt;
  const age = Math.max(0, Math.round((Date.now() - skew - Date.parse(moment)) / 1000));
  const isStale = !moment || age > staleSeconds;
  const told =
    age < 120
      ? fill(words.seconds, { n: age })
      : age < 7200
        ? fill(words.minutes, { n: Math.round(age / 60) })
        : fill(words.hours, { n: Math.round(age / 3600) });
  cell.classList.toggle("stale", isStale);
  cell.textContent = !moment ? words.never : isStale ? fill(words.stale, { age: told }) : told;
}

function showRate(total) {
  const now = seconds();
  totals.push([now, total]);
  totals = totals.filter(([at]) => at > now - 60);
  const [since, first] = totals[0];
  if (now - since >= 5) byId("rate").textContent = count(Math.round(((total - first) / (now - since)) * 60));
}

const nameOf = (code) => names[code] ?? code;
const byName = (one, other) => (one.country < other.country ? -1 : 1);
const inOrder = (value) => (value === null ? -Infinity : rounded(value));

function hourLabel(key) {
  const parts = new Intl.DateTimeFormat(document.documentElement.lang, {
    timeZone: live.dataset.timeZone,
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  }).formatToParts(new Date(key));
  const part = (type) => parts.find((found) => found.type === type).value;
  return `${part("day")} ${part("month")} ${part("hour")}:${part("minute")}`;
}

const hourKey = (moment) => `${new Date(moment).toISOString().slice(0, 16)}Z`;

function renderCharts() {
  const countries = chosen();
  const figures = (order, values) => [...countries].sort((one, other) => order(one, other) || byName(one, other)).map((found) => [found.country, values(found)]);
  const hasBoth = (found) => found.both >= minimumSample;
  fillFigure(
    "bubbles",
    figures(
      (one, other) => other.both - one.both,
      (found) => [hasBoth(found) ? rounded(found.durecec) : null, hasBoth(found) ? rounded(found.belong) : null, found.both],
    ),
    nameOf,
  );
  fillFigure(
    "lesson_hours",
    figures(
      (one, other) => (inOrder(one.lesson_hours) === inOrder(other.lesson_hours) ? 0 : inOrder(other.lesson_hours) - inOrder(one.lesson_hours)),
      (found) => [rounded(found.lesson_hours)],
    ),
    nameOf,
  );
  fillFigure("status", figures(byName, (found) => [rounded(found.escs)]), nameOf);
  if (!codes.length) fillHours([...shown.hours.values()].map((each) => [hourKey(each.hour), [each.responses]]));
  else if (shownVersion !== hoursVersion) hoursSoon();
}

// The last 24, in order: an hour that is over falls out.
function fillHours(rows) {
  rows.sort(([one], [other]) => (one < other ? -1 : 1));
  fillFigure("over_time", rows.slice(-24), hourLabel);
}

async function askForHours() {
  hoursVersion = shownVersion;
  const answer = await fetch(live.dataset.hours).catch(() => null);
  if (answer?.ok) fillHours((await answer.json()).datasets[0].data.map(({ x, y }) => [x, [y]]));
}

function render() {
  const countries = chosen();
  const most = Math.max(1, ...countries.map((country) => country.responses));
  const total = countries.reduce((sum, country) => sum + country.responses, 0);
  byId("responses").textContent = count(total);
  byId("empty").hidden = countries.length > 0;
  fillRows("countries", "country-row", countries, "country", (country, cell) => {
    cell("responses").textContent = count(country.responses);
    cell("bar").setAttribute("width", (100 * country.responses) / most);
    cell("lesson_hours").textContent = mean(country.lesson_hours);
    cell("escs").textContent = mean(country.escs);
    showAge(cell("age"), readAt(country.country));
  });
  const sources = [...shown.sources.values()].sort((one, other) => (one.source < other.source ? -1 : 1));
  fillRows("sources", "source-row", sources, "source", (source, cell) => {
    cell("way").textContent = words[source.way];
    cell("lag").textContent = source.lag_seconds === null ? "–" : `${Math.round(1000 * source.lag_seconds)} ms`;
    cell("problem").textContent = source.problem ?? words.followed;
    cell("problem").classList.toggle("stale", source.problem !== null);
    showAge(cell("age"), source.read_at);
  });
  showRate(total);
  chartsSoon();
}

const renderSoon = seldom(render, TABLES_MILLISECONDS);
const chartsSoon = seldom(renderCharts, CHARTS_MILLISECONDS);
const hoursSoon = seldom(askForHours, HOURS_MILLISECONDS);

function hear(event, isWhole) {
  heardAt = seconds();
  const content = JSON.parse(event.data);
  shownVersion = content.version;
  take(content, isWhole);
  say("good", words.connected);
  if (!document.hidden) renderSoon();
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) renderSoon();
});

function connect() {
  if (stream) stream.close();
  heardAt = seconds();
  stream = new EventSource(live.dataset.stream);
  stream.addEventListener("picture", (event) => hear(event, true));
  stream.addEventListener("change", (event) => hear(event, false));
  stream.addEventListener("stale", () => {
    heardAt = seconds();
    say("fault", words.away);
  });
  stream.addEventListener("error", () => {
    say("fault", words.lost);
    if (stream.readyState === EventSource.CLOSED) setTimeout(askWhy, RETRY_MILLISECONDS); // it was refused
  });
}

// An EventSource does not say why it was refused.
async function askWhy() {
  const answer = await fetch(live.dataset.picture).catch(() => null);
  if (answer === null || answer.status !== 401) return connect();
  say("fault", words.signed_out);
  byId("signed-out").hidden = false;
}

setInterval(() => {
  for (const cell of live.querySelectorAll("[data-read-at]")) tellAge(cell);
  if (stream.readyState === EventSource.OPEN && seconds() - heardAt > SILENCE_SECONDS) connect();
}, 1000);

connect();

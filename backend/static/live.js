// Keeps the live page as the stream has it. The page was rendered whole; here its cells are filled anew.
"use strict";

const live = document.getElementById("live");
const skew = Date.now() - Date.parse(live.dataset.now); // of this machine's clock against the server's
const staleSeconds = Number(live.dataset.staleSeconds);
const codes = live.dataset.codes ? live.dataset.codes.split(",") : [];
const SILENCE_SECONDS = 60; // then the connection is taken for dead
const RETRY_MILLISECONDS = 5000;

const keys = { countries: "country", hours: "hour", sources: "source" };
const shown = { countries: new Map(), hours: new Map(), sources: new Map() };
let totals = []; // [seconds, responses] of the last minute
let heardAt = 0;
let stream = null;

const seconds = () => performance.now() / 1000;
const count = (number) => number.toLocaleString("en");
const mean = (value) => (value === null ? "–" : value.toFixed(2));
const byId = (id) => document.getElementById(id);

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

function fillRows(table, template, elements, key, fill) {
  const body = byId(table).tBodies[0];
  const rows = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  for (const element of elements) {
    const name = element[key];
    const row = rows.get(name) ?? byId(template).content.querySelector("tr").cloneNode(true);
    rows.delete(name);
    row.dataset.key = name;
    const cell = (field) => row.querySelector(`[data-field="${field}"]`);
    cell(key).textContent = name;
    fill(element, cell);
    body.append(row); // in order, also where one is new
  }
  for (const gone of rows.values()) gone.remove();
}

function showAge(cell, moment) {
  cell.dataset.readAt = moment ?? "";
  tellAge(cell);
}

function tellAge(cell) {
  const moment = cell.dataset.readAt;
  const age = Math.max(0, Math.round((Date.now() - skew - Date.parse(moment)) / 1000));
  const isStale = !moment || age > staleSeconds;
  const words = age < 120 ? `${age} s ago` : age < 7200 ? `${Math.round(age / 60)} min ago` : `${Math.round(age / 3600)} h ago`;
  cell.classList.toggle("stale", isStale);
  cell.textContent = !moment ? "never read" : isStale ? `stale, ${words}` : words;
}

function showRate(total) {
  const now = seconds();
  totals.push([now, total]);
  totals = totals.filter(([at]) => at > now - 60);
  const [since, first] = totals[0];
  if (now - since >= 5) byId("rate").textContent = count(Math.round(((total - first) / (now - since)) * 60));
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
    cell("way").textContent = source.way === "notify" ? "calls" : "is asked";
    cell("lag").textContent = source.lag_seconds === null ? "–" : `${Math.round(1000 * source.lag_seconds)} ms`;
    cell("problem").textContent = source.problem ?? "followed";
    cell("problem").classList.toggle("stale", source.problem !== null);
    showAge(cell("age"), source.read_at);
  });
  showRate(total);
}

let isDue = false;

function hear(event, isWhole) {
  heardAt = seconds();
  take(JSON.parse(event.data), isWhole);
  say("good", "Connected: changes are shown as they come.");
  if (isDue) return;
  isDue = true; // many changes, one drawing
  requestAnimationFrame(() => {
    isDue = false;
    render();
  });
}

function connect() {
  if (stream) stream.close();
  heardAt = seconds();
  stream = new EventSource(live.dataset.stream);
  stream.addEventListener("picture", (event) => hear(event, true));
  stream.addEventListener("change", (event) => hear(event, false));
  stream.addEventListener("stale", () => {
    heardAt = seconds();
    say("fault", "The figures cannot be read now; these are the last ones.");
  });
  stream.addEventListener("error", () => {
    say("fault", "The connection is lost; trying again.");
    if (stream.readyState === EventSource.CLOSED) setTimeout(askWhy, RETRY_MILLISECONDS); // it was refused
  });
}

// An EventSource does not say why it was refused.
async function askWhy() {
  const answer = await fetch(live.dataset.picture).catch(() => null);
  if (answer === null || answer.status !== 401) return connect();
  say("fault", "No longer up to date.");
  byId("signed-out").hidden = false;
}

setInterval(() => {
  for (const cell of live.querySelectorAll("[data-read-at]")) tellAge(cell);
  if (stream.readyState === EventSource.OPEN && seconds() - heardAt > SILENCE_SECONDS) connect();
}, 1000);

connect();

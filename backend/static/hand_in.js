// Checks each chosen file, shows what was understood, sends it, and follows it until it is in the marts.
"use strict";

const form = document.getElementById("hand-in");
const dataset = document.getElementById("dataset");
const files = document.getElementById("files");
const drop = document.getElementById("drop");
const chosen = document.getElementById("chosen");
const given = chosen.dataset; // not of the form: it has a field of that name
const MOST_BYTES_TO_CHECK = 50e6; // a larger file would be sent twice; it is checked when it is loaded
const LONGEST_NAME = 100;
const MOST_ISSUES = 10;
const LOOK_AGAIN_MILLISECONDS = 1500;
const DONE = new Set(["loaded", "rejected", "held", "failed", "withdrawn"]);
const WORDS = JSON.parse(document.getElementById("words").textContent);

const count = (number) => number.toLocaleString(document.documentElement.lang);
const worded = (name, values = {}) => WORDS[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
const element = (kind, text) => Object.assign(document.createElement(kind), { textContent: text });

function describe() {
  const option = dataset.selectedOptions[0];
  document.getElementById("about").textContent = option?.dataset.about ?? "";
  const template = document.getElementById("template");
  template.hidden = !dataset.value;
  template.querySelector("a").href = `${given.datasets}/${dataset.value}/template.csv`;
}

// Sends a file with what browsers know of its progress; fetch does not tell.
function send(address, file, onProgress, method = "POST") {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.setRequestHeader("X-CSRF-Token", given.csrf);
    request.setRequestHeader("Content-Type", "text/csv");
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    request.addEventListener("load", () => (request.status < 300 ? resolve(request.response) : reject(explain(request))));
    request.addEventListener("error", () => reject(new Error(WORDS.broken)));
    request.send(file);
  });
}

function explain(request) {
  if (request.status === 401) return new Error(WORDS.signed_out);
  return new Error(request.response?.detail ?? worded("refused", { status: request.status }));
}

class Card {
  constructor(file) {
    this.file = file;
    this.checks = 0;
    this.isSent = false;
    this.element = document.getElementById("file").content.firstElementChild.cloneNode(true);
    this.part("name").textContent = file.name;
    this.part("send").addEventListener("click", () => this.handIn());
    chosen.append(this.element);
  }

  part(name) {
    return this.element.querySelector(`[data-${name}]`);
  }

  say(text, isFault = false) {
    const state = this.part("state");
    state.textContent = text;
    state.classList.toggle("error", isFault);
  }

  async check() {
    const number = ++this.checks;
    this.part("send").hidden = true;
    this.part("understood").hidden = true;
    if (!dataset.value) {
      this.say(WORDS.choose_dataset, true);
      dataset.focus();
      return;
    }
    if (this.file.size <= MOST_BYTES_TO_CHECK) {
      this.say(WORDS.checking);
      try {
        const report = await send(this.address(`${given.datasets}/${dataset.value}/check`), this.file, () => {});
        if (number !== this.checks) return; // another dataset was chosen meanwhile
        this.show(report);
      } catch (error) {
        this.say(error.message, true);
        return;
      }
    } else {
      this.say(WORDS.too_large);
    }
    this.part("send").hidden = false;
  }

  address(path, more = {}) {
    return `${path}?${new URLSearchParams({ ...more, filename: this.file.name.slice(-LONGEST_NAME) })}`;
  }

  show(report) {
    const { read, accepted, rejected } = report.counts;
    this.part("understood").hidden = false;
    this.say(
      report.would_load
        ? worded("would_load", { read: count(read), accepted: count(accepted), rejected: count(rejected) })
        : worded("would_not", { reason: report.reason }),
      !report.would_load,
    );
    this.part("read").textContent = report.detected ? understood(report) : "";
    this.issues(report);
    this.rows(report);
  }

  issues({ issues, issue_counts: counts }) {
    const worstFirst = issues.toSorted((one, other) => (one.severity === "warning") - (other.severity === "warning"));
    const shown = worstFirst.slice(0, MOST_ISSUES);
    this.part("issues").hidden = !shown.length;
    this.part("issues").querySelector("tbody").replaceChildren(
      ...shown.map((issue) => {
        const row = document.createElement("tr");
        const where = element("th", issue.line ?? WORDS.whole_file);
        where.scope = "row";
        row.append(where, ...[issue.column, issue.hint, issue.found].map((text) => element("td", text ?? "–")));
        return row;
      }),
    );
    const all = Math.max(issues.length, Object.values(counts).reduce((sum, each) => sum + each, 0));
    this.part("more").textContent = all > shown.length ? worded("more_issues", { number: count(all - shown.length) }) : "";
  }

  // The file's own rows, with a mark at each cell that is wrong.
  rows(report) {
    const table = this.part("rows").querySelector("table");
    const wrong = new Map(report.issues.map((issue) => [`${issue.line} ${issue.column}`, issue.hint]));
    table.tHead.rows[0].replaceChildren(
      element("th", WORDS.line),
      ...report.mapping.map(({ header, column, type }) => {
        const cell = element("th", header);
        const goes = element("span", column === null ? WORDS.nowhere : `${column === header ? "" : `→ ${column}, `}${type}`);
        goes.className = "hint";
        cell.append(document.createElement("br"), goes);
        return cell;
      }),
    );
    table.tBodies[0].replaceChildren(
      ...report.rows.map((row) => {
        const line = document.createElement("tr");
        line.append(element("td", row.line));
        row.cells.forEach((text, place) => {
          const cell = element("td", text);
          const hint = wrong.get(`${row.line} ${report.mapping[place]?.column}`);
          if (hint) {
            const mark = element("strong", hint);
            mark.className = "wrong";
            cell.append(mark);
          }
          line.append(cell);
        });
        return line;
      }),
    );
  }

  async handIn() {
    const bar = this.element.querySelector("progress");
    const school = document.getElementById("school")?.value.trim();
    const more = given.replaces
      ? {}
      : { dataset: dataset.value, ...(given.fixes ? { fixes: given.fixes } : {}), ...(school ? { school_id: school } : {}) };
    const [method, address] = given.replaces ? ["PUT", `${given.uploads}/${given.replaces}`] : ["POST", given.uploads];
    this.isSent = true;
    this.part("send").hidden = true;
    bar.hidden = false;
    this.say(WORDS.sending);
    let upload;
    try {
      const progress = (share) => {
        bar.value = share;
      };
      upload = await send(this.address(address, more), this.file, progress, method);
    } catch (error) {
      bar.hidden = true;
      this.say(error.message, true);
      this.isSent = false;
      this.part("send").hidden = false;
      return;
    }
    bar.hidden = true;
    this.part("look").href = `${given.pages}/${upload.id}`;
    this.part("look").hidden = false;
    await this.follow(upload);
  }

  // From stored to the marts. The file is safe by now, whatever happens to the connection.
  async follow(upload) {
    let now = upload;
    while (!isOver(now)) {
      this.say(told(now));
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MILLISECONDS));
      try {
        const answer = await fetch(`${given.uploads}/${upload.id}`, { headers: { Accept: "application/json" } });
        if (answer.status === 401) return this.say(WORDS.signed_out_after);
        if (answer.ok) now = await answer.json();
      } catch {
        this.say(WORDS.looking);
      }
    }
    this.say(told(now), now.status === "rejected" || now.status === "failed");
  }
}

// A loaded file is followed until its rows are in the marts, for which a run must come.
function isOver(upload) {
  return DONE.has(upload.status) && (upload.status !== "loaded" || upload.in_marts_at !== null);
}

function told(upload) {
  const { accepted, rejected } = upload.counts;
  const isSeen = upload.status === "loaded" && upload.in_marts_at !== null;
  return [
    WORDS[isSeen ? "in_marts" : upload.status],
    accepted === null ? "" : worded("counts", { accepted: count(accepted), rejected: count(rejected ?? 0) }),
    upload.reason ?? "",
  ].filter(Boolean).join(" ");
}

function understood({ detected, mapping }) {
  const ignored = mapping.filter((column) => column.column === null).map((column) => column.header);
  const delimiter = detected.delimiter === "\t" ? WORDS.tabs : `“${detected.delimiter}”`;
  const read = worded("read_as", { encoding: detected.encoding, delimiter, columns: detected.header.length });
  return ignored.length ? `${read} ${worded("ignored", { columns: ignored.join(", ") })}` : read;
}

let cards = [];

function take(list) {
  const added = [...list].map((file) => new Card(file));
  cards = [...cards, ...added];
  added.forEach((card) => card.check());
}

dataset.addEventListener("change", () => {
  describe();
  cards.filter((card) => !card.isSent).forEach((card) => card.check());
});
files.addEventListener("change", () => {
  take(files.files);
  files.value = "";
});
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files);
});
form.addEventListener("submit", (event) => event.preventDefault());
describe();

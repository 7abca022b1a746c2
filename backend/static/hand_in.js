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
const WORDS = {
  stored: "Stored. Waiting to be read.",
  loading: "Being read and checked.",
  loaded: "Loaded. The marts are being built.",
  rejected: "Rejected.",
  held: "Held: it would change so much that a second person must release it.",
  failed: "Not loaded, by a fault that is not yours. It will be tried again.",
};

const count = (number) => number.toLocaleString("en");

function describe() {
  const option = dataset.selectedOptions[0];
  document.getElementById("about").textContent = option?.dataset.about ?? "";
  const template = document.getElementById("template");
  template.hidden = !dataset.value;
  template.querySelector("a").href = `${given.datasets}/${dataset.value}/template.csv`;
}

// Sends a file with what browsers know of its progress; fetch does not tell.
function send(address, file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.setRequestHeader("X-CSRF-Token", given.csrf);
    request.setRequestHeader("Content-Type", "text/csv");
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    request.addEventListener("load", () => (request.status < 300 ? resolve(request.response) : reject(explain(request))));
    request.addEventListener("error", () => reject(new Error("The connection broke. Nothing is lost: hand the file in again.")));
    request.send(file);
  });
}

function explain(request) {
  if (request.status === 401) return new Error("You are signed out. Sign in, then hand the file in again.");
  return new Error(request.response?.detail ?? `The answer was ${request.status}. Hand the file in again.`);
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
      this.say("Choose first what the file holds.", true);
      dataset.focus();
      return;
    }
    if (this.file.size <= MOST_BYTES_TO_CHECK) {
      this.say("Being checked …");
      try {
        const report = await send(this.address(`${given.datasets}/${dataset.value}/check`), this.file, () => {});
        if (number !== this.checks) return; // another dataset was chosen meanwhile
        this.show(report);
      } catch (error) {
        this.say(error.message, true);
        return;
      }
    } else {
      this.say("Too large to be checked beforehand; it is checked when it is loaded.");
    }
    this.part("send").hidden = false;
  }

  address(path, more = {}) {
    return `${path}?${new URLSearchParams({ ...more, filename: this.file.name.slice(-LONGEST_NAME) })}`;
  }

  show(report) {
    const counts = report.counts;
    this.part("understood").hidden = false;
    this.say(
      report.would_load
        ? `${count(counts.accepted)} of ${count(counts.read)} rows would be loaded` +
            (counts.rejected ? `, ${count(counts.rejected)} rejected.` : ".")
        : `It would not be loaded: ${report.reason}`,
      !report.would_load,
    );
    const found = report.detected;
    const ignored = report.mapping.filter((column) => column.column === null).map((column) => column.header);
    this.part("read").textContent = found
      ? `Read as ${found.encoding}, cells separated by ${found.delimiter === "\t" ? "tabs" : `“${found.delimiter}”`}, ${found.header.length} columns.` +
        (ignored.length ? ` Not taken: ${ignored.join(", ")}.` : "")
      : "";
    this.list(report.issues);
    this.rows(report);
  }

  list(issues) {
    const worstFirst = issues.toSorted((one, other) => (one.severity === "warning") - (other.severity === "warning"));
    const items = worstFirst.slice(0, MOST_ISSUES).map((issue) => {
      const item = document.createElement("li");
      const where = [issue.line === null ? null : `line ${issue.line}`, issue.column].filter(Boolean).join(", ");
      item.textContent = `${where ? `${where}: ` : ""}${issue.hint}`;
      return item;
    });
    this.part("issues").replaceChildren(...items);
  }

  rows(report) {
    const table = this.element.querySelector("table");
    const cell = (kind, text) => Object.assign(document.createElement(kind), { textContent: text });
    table.tHead.rows[0].replaceChildren(
      cell("th", "Line"),
      ...report.mapping.map((column) => cell("th", column.column && column.column !== column.header ? `${column.header} → ${column.column}` : column.header)),
    );
    table.tBodies[0].replaceChildren(
      ...report.rows.map((row) => {
        const line = document.createElement("tr");
        line.append(cell("td", row.line), ...row.cells.map((text) => cell("td", text)));
        return line;
      }),
    );
  }

  async handIn() {
    const bar = this.element.querySelector("progress");
    const school = document.getElementById("school")?.value.trim();
    const more = {
      dataset: dataset.value,
      ...(given.fixes ? { fixes: given.fixes } : {}),
      ...(school ? { school_id: school } : {}),
    };
    this.isSent = true;
    this.part("send").hidden = true;
    bar.hidden = false;
    this.say("Being sent …");
    let upload;
    try {
      upload = await send(this.address(given.uploads, more), this.file, (share) => {
        bar.value = share;
      });
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
        if (answer.status === 401) return this.say("It is stored. Sign in again to see what became of it.");
        if (answer.ok) now = await answer.json();
      } catch {
        this.say("It is stored. The connection broke; looking again …");
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
  const counts = upload.counts;
  const rows = counts.accepted === null ? "" : ` ${count(counts.accepted)} rows accepted, ${count(counts.rejected ?? 0)} rejected.`;
  const where = upload.status === "loaded" && upload.in_marts_at !== null ? "In the marts." : (WORDS[upload.status] ?? upload.status);
  return `${where}${rows}${upload.reason ? ` ${upload.reason}` : ""}`;
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

// Ctrl Enter runs the statement; names are put in where the cursor stands; statements are kept in this browser, by person.
// Tab stays the browser's: it leads on to the buttons.
"use strict";

const MOST_KEPT = 30;
const ask = document.getElementById("ask");
const box = document.getElementById("sql");
const past = document.getElementById("history");
const key = `laurel_sql ${ask.dataset.person}`;

function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(key) ?? "[]");
    return Array.isArray(found) ? found.filter((each) => typeof each === "string") : [];
  } catch {
    return []; // kept by another version, or the browser keeps nothing
  }
}

function keep(statement) {
  try {
    localStorage.setItem(key, JSON.stringify([statement, ...kept().filter((each) => each !== statement)].slice(0, MOST_KEPT)));
  } catch {
    // The browser keeps nothing: the statement runs all the same.
  }
}

function button(text, act) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: "plain", textContent: text });
  made.addEventListener("click", act);
  return made;
}

function showPast() {
  const statements = kept();
  past.hidden = statements.length === 0;
  past.querySelector("ol").replaceChildren(
    ...statements.map((statement) => {
      const item = document.createElement("li");
      item.append(
        button(statement, () => {
          box.value = statement;
          box.focus();
        }),
      );
      return item;
    }),
  );
}

function insert(name) {
  const before = box.value.slice(0, box.selectionStart);
  const gap = before && !/[\s(.,]$/.test(before) ? " " : "";
  box.setRangeText(gap + name, box.selectionStart, box.selectionEnd, "end");
  box.focus();
}

function showLine(number) {
  const lines = box.value.split("\n");
  const start = lines.slice(0, number - 1).join("\n").length + (number > 1 ? 1 : 0);
  box.focus({ preventScroll: true });
  box.setSelectionRange(start, start + lines[number - 1].length);
}

for (const place of document.querySelectorAll("[data-insert]")) {
  const made = button(place.textContent, () => insert(place.dataset.insert));
  made.title = place.title;
  place.removeAttribute("title");
  place.replaceChildren(made);
}
box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  ask.requestSubmit(ask.querySelector("button"));
});
ask.addEventListener("submit", () => {
  keep(box.value);
  showPast();
});
document.getElementById("forget").addEventListener("click", () => {
  localStorage.removeItem(key);
  showPast();
  box.focus();
});
showPast();
if (ask.dataset.line) showLine(Number(ask.dataset.line));

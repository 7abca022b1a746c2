// In the list, j and k go from student to student, Enter opens the one (it is a link), n the form of what was done, a
// the one that assigns.
// Only there: keys that act anywhere on a page get in the way of those who speak to their machine.
"use strict";

const links = [...document.querySelectorAll("#worklist tbody th a")];

function go(step) {
  const here = links.indexOf(document.activeElement?.closest("tr")?.querySelector("th a"));
  links[Math.min(Math.max(here + step, 0), links.length - 1)]?.focus();
}

function openForm(kind, field) {
  const form = document.activeElement?.closest("tr")?.querySelector(`details.${kind}`);
  if (!form) return;
  form.open = true;
  form.querySelector(`[name=${field}]`).focus();
}

document.getElementById("worklist")?.addEventListener("keydown", (event) => {
  if (event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = { j: () => go(1), k: () => go(-1), n: () => openForm("act", "action"), a: () => openForm("assign", "user_id") }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

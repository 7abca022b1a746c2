// Loads the page again when something has become of the file, unless somebody is about to do something here.
"use strict";

const moving = document.getElementById("moving");
const LOOK_AGAIN_MILLISECONDS = 2000;

async function look() {
  const answer = await fetch(moving.dataset.address, { headers: { Accept: "application/json" } }).catch(() => null);
  if (answer?.ok) {
    const upload = await answer.json();
    if (`${upload.status} ${upload.in_marts_at ?? ""}` !== moving.dataset.state) {
      if (!document.querySelector("details[open]")) return location.reload();
      const said = moving.querySelector("[data-said]");
      said.textContent = said.dataset.changed;
      return undefined;
    }
  }
  return setTimeout(look, LOOK_AGAIN_MILLISECONDS);
}

if (moving) setTimeout(look, LOOK_AGAIN_MILLISECONDS);

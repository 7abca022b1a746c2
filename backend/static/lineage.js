// Brings the chosen table into view: the picture may be wider than its frame.
"use strict";

for (const here of document.querySelectorAll(".lineage .here")) {
  here.scrollIntoView({ inline: "center", block: "nearest" });
  here.closest("details")?.addEventListener("toggle", () => here.scrollIntoView({ inline: "center", block: "nearest" }));
}

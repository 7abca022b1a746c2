// Light or dark: as the machine has it, until somebody chooses. The choice is a cookie, so that pages come in it.
"use strict";

const theme = document.getElementById("theme");
const darkMachine = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : darkMachine.matches;
}

function name() {
  const words = theme.dataset;
  theme.textContent = isDark() ? words.light : words.dark;
  theme.setAttribute("aria-label", isDark() ? words.useLight : words.useDark);
}

theme.addEventListener("click", () => {
  const chosen = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = chosen;
  document.cookie = `laurel_theme=${chosen}; path=/; max-age=31536000; samesite=lax`;
  name();
  document.dispatchEvent(new Event("themechange"));
});
darkMachine.addEventListener("change", name);
name();
theme.hidden = false;

// Light or dark: as the system has it, unless chosen here.

const KEY = "falcon.theme";
export const THEMES = ["system", "light", "dark"];

export function chosenTheme() {
  const kept = localStorage.getItem(KEY);
  return THEMES.includes(kept) ? kept : "system";
}

export function setTheme(theme) {
  localStorage.setItem(KEY, theme);
  showTheme();
}

export function showTheme() {
  document.documentElement.dataset.theme = chosenTheme();
}

"use strict";
// Theme: the system's, until the reader picks one.
const root = document.documentElement;
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

// Tables sort by the column that is clicked; numbers by their value in data-v.
function key(row, column) {
  const cell = row.cells[column];
  if (!cell) return "";
  const value = cell.dataset.v ?? cell.textContent.trim();
  const number = Number(value);
  return value !== "" && !Number.isNaN(number) ? number : value.toLowerCase();
}
function compare(a, b) {
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? -1 : 1;
}
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compare(key(a, column), key(b, column)) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    });
  });
}

// The model tree opens and closes as a whole.
for (const button of document.querySelectorAll("[data-tree]")) {
  button.addEventListener("click", () => {
    for (const node of document.querySelectorAll("#tree details")) {
      node.open = button.dataset.tree === "open";
    }
  });
}

// What is folded on the screen is printed unfolded.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const node of folded) node.open = true;
});
addEventListener("afterprint", () => {
  for (const node of folded) node.open = false;
});


"use strict";
const valueOf = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
const compare = (a, b) => {
  if (a === "" || b === "") return (a === "") - (b === "");
  const difference = Number(a) - Number(b);
  return Number.isNaN(difference) ? a.localeCompare(b) : difference;
};
const sortBy = (table, column, direction) => {
  const rows = [...table.tBodies[0].rows];
  const empty = (row) => valueOf(row, column) === "";
  rows.sort((a, b) => {
    const order = compare(valueOf(a, column), valueOf(b, column));
    return direction === "descending" && !empty(a) && !empty(b) ? -order : order;
  });
  table.tBodies[0].append(...rows);
  [...table.tHead.rows[0].cells].forEach((cell, index) => {
    if (index === column) cell.setAttribute("aria-sort", direction);
    else cell.removeAttribute("aria-sort");
  });
};
for (const table of document.querySelectorAll("table[data-sortable]")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    button.addEventListener("click", () => {
      sortBy(table, column, cell.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
    });
    cell.append(button);
  });
}
const openTarget = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
  if (target) target.scrollIntoView();
};
addEventListener("hashchange", openTarget);
if (location.hash) openTarget();

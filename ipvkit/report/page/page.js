"use strict";
const form = document.querySelector("form");
const rows = [...document.querySelectorAll("tr.entry")];
const shown = document.getElementById("shown");
let texts = null;
function filter() {
  texts ??= rows.map((row) => row.textContent.toLowerCase());
  const words = form.elements.words.value.toLowerCase().split(/\s+/);
  const bad = form.elements.bad.checked;
  let count = 0;
  rows.forEach((row, at) => {
    const has = words.every((word) => texts[at].includes(word));
    row.hidden = !has || (bad && !row.classList.contains("is-bad"));
    count += row.hidden ? 0 : 1;
  });
  shown.textContent = `${count} of ${rows.length} shown`;
}
if (form) {
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.unfold.addEventListener("click", () => {
    const all = [...document.querySelectorAll("details")];
    const open = all.some((each) => !each.open);
    all.forEach((each) => { each.open = open; });
    form.elements.unfold.textContent = open ? "Fold all" : "Unfold all";
  });
}
for (const choice of document.querySelectorAll("fieldset.choice")) {
  const tables = [...choice.parentElement.querySelectorAll("table.heat")];
  const choose = () => {
    const chosen = choice.querySelector("input:checked").value;
    tables.forEach((table) => { table.hidden = table.dataset.of !== chosen; });
  };
  choice.hidden = false;
  choice.addEventListener("input", choose);
  choose();
}

// A click on a heading sorts its table: numbers by value, words by alphabet, both with absent ones
// last; a second click turns the order round.
const words = new Intl.Collator(undefined, { numeric: true });
for (const head of document.querySelectorAll("th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const table = head.closest("table"), body = table.tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    const numeric = head.classList.contains("number");
    const key = row => {
      const cell = row.cells[head.cellIndex], text = cell.dataset.value ?? cell.textContent;
      return numeric && text !== "" ? Number(text) : text;
    };
    const absent = value => value === "" || Number.isNaN(value);
    const order = ([x], [y]) => {
      if (absent(x) || absent(y)) return absent(x) - absent(y);
      if (x === y) return 0;
      return (numeric ? (x < y ? -1 : 1) : words.compare(x, y)) * (up ? 1 : -1);
    };
    const sorted = [...body.rows].map(row => [key(row), row]).sort(order);
    body.append(...sorted.map(([, row]) => row));
    body.querySelector(".rule")?.classList.remove("rule");
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
  });
}

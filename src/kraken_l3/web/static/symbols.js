// The list of symbols: of 1,400 only the rows in sight are in the document.

const ROW = 26;
const COLUMNS = [["name", "symbol"], ["rate", "msg/s"], ["lag", "lag"], ["verdict", "verdict"], ["gaps", "gaps"]];

function lagText(lag) {
  if (lag === null || lag === undefined) return "";
  return Math.abs(lag) < 10_000 ? `${lag} ms` : `${Math.round(lag / 1000)} s`;
}

function verdictText(row) {
  if (row.state === "gap") return ["in a gap", "gap"];
  if (row.bad) return [`${row.bad.toLocaleString("en")} ✗`, "bad"];
  if (row.state === "mismatch") return ["mismatch", "bad"];
  if (row.unverified) return [`${row.unverified.toLocaleString("en")} ?`, "gap"];
  if (row.state === "waiting") return ["no book", "gap"];
  return row.ok ? ["✓", "good"] : ["", ""];
}

export class SymbolList {
  constructor(box, rows, head, count, choose) {
    Object.assign(this, { box, rows, count, onChoose: choose, all: new Map(), shown: [], filter: "", chosen: "", sort: "name", isDown: false, drawn: [] });
    this.buttons = COLUMNS.map(([key, text]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.addEventListener("click", () => this.sortBy(key));
      return button;
    });
    head.replaceChildren(...this.buttons);
    this.buttons.forEach((button, number) => { button.style.textAlign = number ? "right" : "left"; });
    box.addEventListener("scroll", () => this.show());
    box.addEventListener("keydown", (event) => this.key(event));
    rows.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.onChoose(row.dataset.name);
    });
    new ResizeObserver(() => this.show()).observe(box);
    setInterval(() => this.sort === "name" || this.order(), 2000);
  }

  row(name) {
    let row = this.all.get(name);
    if (!row) {
      row = { name, rate: 0, lag: null, state: "", ok: 0, bad: 0, unverified: 0, gaps: 0 };
      this.all.set(name, row);
    }
    return row;
  }

  setSymbols(names) {
    this.all.clear();
    names.forEach((name) => this.row(name));
    this.order();
  }

  setGaps(counts) {
    for (const [name, gaps] of Object.entries(counts)) this.row(name).gaps = gaps;
    this.order();
  }

  setVerdicts(symbols) {
    for (const [name, [ok, bad, unverified]] of Object.entries(symbols)) Object.assign(this.row(name), { ok, bad, unverified });
    this.order();
  }

  /** Rates of a past moment: who is not in it had no message. */
  setRates(rows) {
    for (const row of this.all.values()) Object.assign(row, { rate: 0, lag: null, state: "" });
    for (const [name, rate, lag] of rows) Object.assign(this.row(name), { rate, lag });
    this.show();
  }

  /** Rows of the live table. */
  setRows(rows) {
    const before = this.all.size;
    for (const [name, rate, lag, state, ok, bad, gaps] of rows) {
      Object.assign(this.row(name), { rate, lag, state, ok, bad, unverified: 0, gaps });
    }
    if (this.all.size !== before) this.order();
    else this.show();
  }

  /** The verdicts of all symbols in words. */
  summary(what) {
    const sums = { ok: 0, bad: 0, unverified: 0 };
    for (const row of this.all.values()) for (const key of Object.keys(sums)) sums[key] += row[key];
    const text = Object.fromEntries(Object.entries(sums).map(([key, sum]) => [key, sum.toLocaleString("en")]));
    const unknown = sums.unverified ? `, ${text.unverified} not verifiable` : "";
    return `${what}: ${text.ok} messages verified, ${text.bad} mismatched${unknown}`;
  }

  setFilter(text) {
    this.filter = text.trim().toUpperCase();
    this.box.scrollTop = 0;
    this.order();
  }

  sortBy(key) {
    this.isDown = this.sort === key ? !this.isDown : key !== "name";
    this.sort = key;
    this.order();
  }

  order() {
    const value = { name: (r) => r.name, rate: (r) => r.rate, lag: (r) => r.lag ?? -Infinity, verdict: (r) => r.bad * 1e6 + r.unverified + (r.state === "gap"), gaps: (r) => r.gaps }[this.sort];
    const sign = this.isDown ? -1 : 1;
    this.shown = [...this.all.values()].filter((row) => row.name.includes(this.filter));
    this.shown.sort((a, b) => (value(a) < value(b) ? -sign : value(a) > value(b) ? sign : a.name < b.name ? -1 : 1));
    this.buttons.forEach((button, number) => {
      const isIt = COLUMNS[number][0] === this.sort;
      button.setAttribute("aria-pressed", String(isIt));
      button.title = `Sort by ${COLUMNS[number][1]}`;
      button.textContent = COLUMNS[number][1] + (isIt ? (this.isDown ? " ▾" : " ▴") : "");
    });
    const total = this.all.size.toLocaleString("en");
    this.count.textContent = this.filter ? `${this.shown.length.toLocaleString("en")} of ${total}` : total;
    this.rows.style.height = `${this.shown.length * ROW}px`;
    this.show();
  }

  /** Bring the rows in sight up to date; their elements are used again. */
  show() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 2);
    const last = Math.min(this.shown.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW) + 2);
    while (this.drawn.length < last - first) {
      const element = document.createElement("div");
      element.className = "row";
      element.setAttribute("role", "option");
      element.append(...COLUMNS.map(() => document.createElement("span")));
      this.rows.append(element);
      this.drawn.push(element);
    }
    this.drawn.forEach((element, number) => {
      const row = this.shown[first + number];
      element.hidden = element.ariaHidden = !row || first + number >= last;
      element.style.display = element.hidden ? "none" : "";
      if (element.hidden) return;
      const [verdict, kind] = verdictText(row);
      const texts = [row.name, row.rate ? row.rate.toFixed(1) : "", lagText(row.lag), verdict, row.gaps ? String(row.gaps) : ""];
      texts.forEach((text, at) => {
        const cell = element.children[at];
        if (cell.textContent !== text) cell.textContent = text;
      });
      element.children[3].className = kind;
      element.title = `${row.name}: ${row.ok.toLocaleString("en")} verified, ${row.bad} mismatched, ${row.unverified} not verifiable`;
      element.style.top = `${(first + number) * ROW}px`;
      element.dataset.name = row.name;
      element.id = `symbol-${first + number}`;
      element.setAttribute("aria-selected", String(row.name === this.chosen));
      if (row.name === this.chosen) this.box.setAttribute("aria-activedescendant", element.id);
    });
  }

  choose(name) {
    this.chosen = name;
    const at = this.shown.findIndex((row) => row.name === name);
    if (at >= 0) {
      const top = at * ROW;
      if (top < this.box.scrollTop) this.box.scrollTop = top;
      if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW - this.box.clientHeight;
    }
    this.show();
  }

  chooseFirst() {
    if (this.shown.length) this.onChoose(this.shown[0].name);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / ROW) - 1);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 }[event.key];
    if (!step || !this.shown.length) return;
    event.preventDefault();
    event.stopPropagation();
    const at = this.shown.findIndex((row) => row.name === this.chosen);
    this.onChoose(this.shown[Math.min(Math.max(at + step, 0), this.shown.length - 1)].name);
  }
}

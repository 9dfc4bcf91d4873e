// The page: what is chosen, what is fetched for it, and what is shown. No library, nothing from elsewhere.

import { drawDepth, drawHeat, drawLadder, drawStrip, ordersIn } from "/draw.js";
import { SymbolList } from "/symbols.js";

const HOUR_MS = 3_600_000, TILE_MS = 900_000, HEAT_STEP_MS = 15_000, SHORTEST_MS = 300_000, HEAT_LEVELS = 20;
const MOST_EVENTS = 60, MOST_TILES = 64;
const byId = (id) => document.getElementById(id);

const state = {
  files: [], file: "", day: null, symbol: "", at: 0, isLive: false, canBeLive: false, playing: 0,
  book: null, known: null, chosen: "", blocks: [], events: [], gaps: [], tiles: new Map(), liveColumns: [], stream: null, lastNews: 0, isCatchingUp: false,
};

const list = new SymbolList(byId("list"), byId("rows"), byId("head"), byId("count"), chooseSymbol);

// -- fetching

async function get(path, parameters = {}) {
  const answer = await fetch(`${path}?${new URLSearchParams(parameters)}`);
  const told = await answer.json().catch(() => ({ error: `${path}: ${answer.status}` }));
  if (!answer.ok) throw new Error(told.error || `${path}: ${answer.status}`);
  return told;
}

/** Runs one at a time; of what is asked for meanwhile only the last is done. */
function latest(work) {
  let running = false, again = null;
  return async function run(...values) {
    if (running) {
      again = values;
      return;
    }
    running = true;
    try {
      await work(...values);
    } catch (error) {
      showStatus(error.message, "bad");
    }
    running = false;
    if (again) {
      const next = again;
      again = null;
      run(...next);
    }
  };
}

// -- the archive and its days

async function loadArchive() {
  const archive = await get("/api/archive");
  byId("archive").textContent = archive.name;
  const isNew = archive.files.join() !== state.files.join();
  const newest = archive.files[archive.files.length - 1] || "";
  const wasNewest = state.file === "" || state.file === state.files[state.files.length - 1];
  state.files = archive.files;
  state.canBeLive = archive.live;
  byId("live").hidden = !archive.live;
  if (isNew) {
    byId("day").replaceChildren(...archive.files.map((file) => new Option(file.replace(/^l3-|\.ndjson.*$/g, ""), file)));
    if (!state.files.includes(state.file) || (wasNewest && state.isLive)) await chooseFile(newest);
    byId("day").value = state.file;
  }
  if (!archive.files.length) showStatus(archive.live ? "waiting for the first message" : "nothing is recorded here", "past");
}

async function chooseFile(file) {
  state.file = file;
  state.tiles.clear();
  if (!file) return;
  await loadDay();
  state.at = state.at >= state.day.start && state.at <= state.day.end ? state.at : state.day.end;
  showMoment();
  list.setSymbols(state.day.symbols);
  list.setGaps(state.day.gap_counts);
  if (!state.isLive) countVerdicts(file);
}

async function loadDay() {
  const file = state.file;
  const day = await get("/api/day", { file });
  if (file !== state.file) return;
  state.day = day;
  const slider = byId("slider");
  slider.max = String(Math.max(1, Math.ceil((day.end - day.start) / 1000)));
  list.setGaps(day.gap_counts);
  byId("start").textContent = clock(day.start);
  byId("end").textContent = `${clock(day.end)} UTC`;
  const lost = day.gaps.length;
  byId("gaps").textContent = lost ? `${lost} ${lost === 1 ? "gap" : "gaps"}` : day.start ? "no gaps" : "";
  drawStrip(byId("strip"), day);
  showMoment();
}

async function countVerdicts(file) {
  for (;;) {
    const told = await get("/api/verdicts", { file }).catch((error) => ({ state: error.message }));
    if (file !== state.file || state.isLive) return;
    if (told.symbols) {
      list.setVerdicts(told.symbols);
      byId("verdicts").textContent = list.summary("This day");
      return;
    }
    const done = told.state === "counting" ? `counting verdicts: ${Math.floor((told.share || 0) * 100)} %` : told.state;
    byId("verdicts").textContent = done;
    if (told.state !== "counting") return;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

// -- a moment

function clock(ms) {
  return ms ? new Date(ms).toISOString().slice(11, 19) : "";
}

function showStatus(text, kind) {
  byId("status").textContent = text;
  byId("status").className = kind;
}

function showMoment() {
  if (!state.day) return;
  byId("slider").value = String(Math.round((state.at - state.day.start) / 1000));
  byId("slider").setAttribute("aria-valuetext", clock(state.at));
  byId("moment").textContent = state.at ? new Date(state.at).toISOString().replace("T", " ").slice(0, 19) : "";
}

function remember() {
  const told = new URLSearchParams({ symbol: state.symbol });
  if (!state.isLive) told.set("at", String(state.at));
  history.replaceState(null, "", `#${told}`);
}

function goTo(ms) {
  setLive(false);
  state.at = Math.min(Math.max(Math.round(ms), state.day.start), state.day.end);
  showMoment();
  loadMoment();
}

const loadMoment = latest(async () => {
  const { file, symbol, at } = state;
  if (!file) return;
  remember();
  loadRates();
  if (!symbol) return;
  const book = await get("/api/book", { file, symbol, at });
  if (symbol !== state.symbol || file !== state.file || (state.isLive && state.book)) return;
  state.gaps = book.gaps;
  state.events = book.events.slice().reverse();
  showBook(book);
  if (!state.isLive) showStatus(`recording of ${new Date(at).toISOString().slice(0, 10)}`, "past");
  await loadHeat();
});

const loadRates = latest(async () => {
  const { file, at } = state;
  if (state.isLive) return;
  const told = await get("/api/rates", { file, at });
  if (!state.isLive && file === state.file) list.setRates(told.rows);
});

const loadHeat = latest(async () => {
  const { file, symbol, at } = state;
  for (let tile = Math.floor(at / TILE_MS) * TILE_MS; tile + TILE_MS > at - HOUR_MS; tile -= TILE_MS) {
    const key = `${symbol} ${tile}`;
    if (state.tiles.has(key) || tile + TILE_MS < state.day.start) continue;
    const told = await get("/api/heat", { file, symbol, at: Math.max(tile, 0) });
    if (symbol !== state.symbol || file !== state.file) return;
    state.tiles.set(key, told.columns);
    if (tile + TILE_MS > state.day.end) setTimeout(() => state.tiles.delete(key), 30_000); // it grows
    while (state.tiles.size > MOST_TILES) state.tiles.delete(state.tiles.keys().next().value);
    showHeat();
  }
  showHeat();
});

function showHeat() {
  if (!state.day) return;
  const columns = new Map();
  for (const [key, tile] of state.tiles) {
    if (key.startsWith(`${state.symbol} `)) tile.forEach((column) => columns.set(column[0], column));
  }
  state.liveColumns.forEach((column) => columns.set(column[0], column));
  const until = Math.floor(state.at / HEAT_STEP_MS) * HEAT_STEP_MS;
  const sorted = [...columns.values()].sort((a, b) => a[0] - b[0]);
  const from = Math.min(Math.max(until - HOUR_MS, Math.floor(state.day.start / HEAT_STEP_MS) * HEAT_STEP_MS), until - SHORTEST_MS);
  drawHeat(byId("heat"), sorted, from, until, HEAT_STEP_MS, state.gaps);
}

// -- one symbol

function chooseSymbol(symbol) {
  if (symbol === state.symbol) return;
  Object.assign(state, { symbol, book: null, known: null, chosen: "", events: [], gaps: [], liveColumns: [] });
  byId("symbol").textContent = symbol || "No symbol";
  list.choose(symbol);
  document.title = symbol ? `${symbol} · Kraken L3` : "Kraken L3";
  showBook(null);
  if (state.isLive) openStream();
  loadMoment();
}

function showBook(book) {
  state.known = state.book ? ordersIn(state.book) : null;
  state.book = book;
  byId("state").textContent = book ? book.state : "";
  byId("state").className = book ? book.state.split(" ")[0].replace("in", "gap") : "";
  const [bid, ask] = book && book.bids ? [book.bids.levels[0], book.asks.levels[0]] : [];
  byId("spread").textContent = bid && ask ? `${bid[0]} | ${ask[0]}` : "";
  redrawBook();
  showEvents();
}

function redrawBook() {
  state.blocks = drawLadder(byId("ladder"), state.book, state.chosen, state.known);
  drawDepth(byId("depth"), state.book);
}

function showEvents() {
  const rows = state.events.map(([recv, , , side, what, price, change, order, level]) => {
    const row = document.createElement("tr");
    const cells = [recv.slice(11, 23), side, what, price, change, level >= 0 ? String(level + 1) : ""];
    cells.forEach((text, number) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      if (number === 1) cell.className = side;
      row.append(cell);
    });
    row.title = order;
    return row;
  });
  byId("events").replaceChildren(...rows);
  byId("silent").hidden = rows.length > 0 || !state.book;
}

function chooseOrder(block) {
  state.chosen = block ? block.order[1] : "";
  if (block) {
    const [qty, id, since] = block.order;
    byId("order").textContent = `${block.side} ${block.level[0]}, level ${block.number + 1}, place ${block.position + 1} of ` +
      `${block.level[2]}: ${qty}, ${id}${since ? `, since ${since.slice(11, 23)}` : ""}; level ${block.level[1]}`;
  }
  state.blocks = drawLadder(byId("ladder"), state.book, state.chosen, state.known);
}

// -- what is recorded now

function setLive(isLive) {
  if (isLive === state.isLive) return;
  state.isLive = isLive;
  byId("live").setAttribute("aria-pressed", String(isLive));
  play(0);
  if (isLive) {
    state.at = Date.now();
    state.book = null;
    openStream();
    loadMoment();
  } else if (state.stream) {
    state.stream.close();
    state.stream = null;
    countVerdicts(state.file);
  }
}

function openStream() {
  if (state.stream) state.stream.close();
  const stream = new EventSource(`/api/live?${new URLSearchParams({ symbol: state.symbol })}`);
  state.stream = stream;
  stream.addEventListener("table", (event) => {
    const told = JSON.parse(event.data);
    state.isCatchingUp = state.lastNews > 0 && told.now > state.lastNews + 5_000;
    state.lastNews = told.now;
    list.setRows(told.rows);
    byId("verdicts").textContent = list.summary("Since this follows the recording");
    showAge();
  });
  stream.addEventListener("book", (event) => takeLiveBook(JSON.parse(event.data)));
  stream.addEventListener("ended", (event) => {
    showStatus(JSON.parse(event.data).why, "bad");
    stream.close();
    setTimeout(() => state.stream === stream && openStream(), 10_000); // a recorder that comes back is followed again
  });
  stream.addEventListener("recorder", (event) => showRecorder(JSON.parse(event.data)));
  stream.onerror = () => showStatus("no connection; trying again", "bad");
}

function showAge() {
  const age = (Date.now() - state.lastNews) / 1000;
  if (!state.lastNews) showStatus("waiting for the first message", "past");
  else if (age < 15) showStatus("live", "good");
  else if (state.isCatchingUp) showStatus(`catching up: ${clock(state.lastNews)}`, "past");
  else showStatus(`no message for ${Math.round(age)} s`, "bad");
}

function showRecorder(told) {
  byId("recorder").textContent = [told.text, ...told.problems.slice(0, 1)].filter(Boolean).join(" · ");
  byId("recorder").title = told.problems.join("\n");
  byId("recorder").className = told.healthy ? "" : "bad";
}

function takeLiveBook(book) {
  if (book.symbol !== state.symbol || !state.isLive) return;
  state.at = Math.max(book.recv, state.at);
  const seen = new Set(state.events.map(([, line, entry]) => `${line} ${entry}`));
  const fresh = book.events.filter(([, line, entry]) => !seen.has(`${line} ${entry}`)).reverse();
  state.events = [...fresh, ...state.events].slice(0, MOST_EVENTS);
  showBook(book);
  showMoment();
  const instant = Math.floor(book.recv / HEAT_STEP_MS) * HEAT_STEP_MS;
  const newest = state.liveColumns[state.liveColumns.length - 1];
  if (book.bids && (!newest || newest[0] < instant)) {
    const flat = (side) => side.levels.slice(0, HEAT_LEVELS).flatMap((level) => [level[0], level[1]]);
    state.liveColumns.push([instant, flat(book.bids), flat(book.asks)]);
    state.liveColumns.splice(0, state.liveColumns.length - HOUR_MS / HEAT_STEP_MS);
    showHeat();
  }
}

// -- the slider, play, keys

function play(on) {
  state.playing = on;
  byId("play").textContent = on ? "❚❚" : "▶";
}

async function playOn() {
  const began = performance.now();
  if (state.playing && state.day) {
    const next = state.at + 500 * Number(byId("speed").value);
    if (next >= state.day.end) play(0);
    state.at = Math.min(next, state.day.end);
    showMoment();
    await loadMoment();
  }
  setTimeout(playOn, Math.max(50, 500 - (performance.now() - began)));
}

byId("slider").addEventListener("input", (event) => goTo(state.day.start + Number(event.target.value) * 1000));
byId("slider").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageUp: -60, PageDown: 60 }[event.key];
  if (step) {
    event.preventDefault();
    goTo(state.at + step * 1000 * (event.shiftKey ? 10 : 1));
  }
});
byId("day").addEventListener("change", async (event) => {
  setLive(false);
  state.at = 0;
  await chooseFile(event.target.value);
  loadMoment();
});
byId("play").addEventListener("click", () => {
  setLive(false);
  play(state.playing ? 0 : 1);
});
byId("live").addEventListener("click", () => setLive(!state.isLive));
byId("filter").addEventListener("input", (event) => list.setFilter(event.target.value));
byId("filter").addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    event.target.value = "";
    list.setFilter("");
  }
  if (["ArrowDown", "Enter"].includes(event.key)) {
    event.preventDefault();
    list.chooseFirst();
    byId("list").focus();
  }
});

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  redrawAll();
}

function redrawAll() {
  drawStrip(byId("strip"), state.day);
  redrawBook();
  showHeat();
  list.show();
}

function toggleTheme() {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", theme);
  setTheme(theme);
}

byId("theme").addEventListener("click", toggleTheme);
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
prefersDark.addEventListener("change", () => localStorage.getItem("theme") || setTheme(prefersDark.matches ? "dark" : "light"));

const ladder = byId("ladder");
ladder.addEventListener("pointermove", (event) => {
  const { offsetX: x, offsetY: y } = event;
  const under = state.blocks.find((block) => x >= block.x && x <= block.x + block.width && y >= block.y && y <= block.y + 17);
  if (under) chooseOrder(under);
});
ladder.addEventListener("keydown", (event) => {
  const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!move || !state.blocks.length) return;
  event.preventDefault();
  event.stopPropagation();
  const height = (block) => (block.side === "ask" ? -block.number - 1 : block.number);
  const now = state.blocks.find((block) => block.order[1] === state.chosen);
  if (!now) {
    chooseOrder(state.blocks.find((block) => height(block) === 0) || state.blocks[0]);
    return;
  }
  const there = state.blocks.filter((block) => height(block) === height(now) + move[0]);
  chooseOrder(there.find((block) => block.position === (move[0] ? 0 : now.position + move[1])) || now);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target !== byId("slider")) return;
  if (event.key === "/") {
    event.preventDefault();
    byId("filter").focus();
  } else if (event.key === " " && event.target.tagName !== "BUTTON") {
    event.preventDefault();
    byId("play").click();
  } else if (event.key.toLowerCase() === "l" && state.canBeLive) {
    byId("live").click();
  } else if (event.key.toLowerCase() === "t") {
    toggleTheme();
  } else if (["ArrowLeft", "ArrowRight", "PageUp", "PageDown"].includes(event.key) && event.target === document.body && state.day) {
    event.preventDefault();
    goTo(state.at + { ArrowLeft: -1000, ArrowRight: 1000, PageUp: -60_000, PageDown: 60_000 }[event.key]);
  }
});
addEventListener("resize", redrawAll);

// -- begin

async function begin() {
  setTheme(localStorage.getItem("theme") || (prefersDark.matches ? "dark" : "light"));
  const told = new URLSearchParams(location.hash.slice(1));
  state.at = Number(told.get("at")) || 0;
  await loadArchive();
  if (state.canBeLive && !told.get("at")) setLive(true);
  const symbols = state.day ? state.day.symbols : [];
  chooseSymbol(symbols.includes(told.get("symbol")) ? told.get("symbol") : symbols[0] || "");
  if (!state.isLive) loadMoment();
  playOn();
  setInterval(async () => {
    await loadArchive().catch((error) => showStatus(error.message, "bad"));
    if (state.isLive) {
      showAge();
      await loadDay().catch(() => {});
    }
  }, 10_000);
}

begin().catch((error) => showStatus(error.message, "bad"));

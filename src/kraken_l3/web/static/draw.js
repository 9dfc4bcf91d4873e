// Drawings on canvases. Prices and quantities come as exact text; they become numbers only for their place on a canvas.

const MONO = "11px ui-monospace, 'DejaVu Sans Mono', monospace";

/** A colour of the theme, as it is now. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Fit a canvas to its place on the screen and clear it; gives its context, its size in CSS pixels. */
function begin(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = MONO;
  context.textBaseline = "middle";
  return { context, width, height };
}

function say(canvas, text) {
  const { context, width, height } = begin(canvas);
  context.fillStyle = colour("dim");
  context.textAlign = "center";
  context.fillText(text, width / 2, height / 2);
}

/** A number without zeros at the end, cut to what can be read at a glance. */
export function short(text) {
  const plain = text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  return plain.length > 11 ? plain.slice(0, 11) + "…" : plain;
}

// -- the book, order by order

const ROW = 17;

/** Every order of the best levels as a block in its queue; gives the places of the blocks, for the pointer and keys. */
export function drawLadder(canvas, book, chosen, known) {
  if (!book || !book.bids) {
    say(canvas, book ? book.state : "");
    return [];
  }
  const { context, width, height } = begin(canvas);
  const rows = Math.max(2, Math.floor((height - ROW) / 2 / ROW));
  const asks = book.asks.levels.slice(0, rows), bids = book.bids.levels.slice(0, rows);
  const totals = [...asks, ...bids].map((level) => Number(level[1])).sort((a, b) => b - a);
  const widest = totals[Math.min(2, totals.length - 1)] || 1; // one or two giants would hide all others
  const texts = [...asks, ...bids];
  const left = Math.max(...texts.map((level) => context.measureText(level[0]).width), 30) + 12;
  const right = Math.max(...texts.map((level) => context.measureText(`${short(level[1])} +999`).width), 30) + 8;
  const room = Math.max(20, width - left - right);
  const middle = Math.floor(height / 2);
  const blocks = [];
  const side = (name, levels, top) => levels.forEach((level, number) => {
    const y = top(number);
    const [price, total, count, orders] = level;
    context.fillStyle = colour("text");
    context.textAlign = "right";
    context.fillText(price, left - 6, y + ROW / 2);
    let x = left;
    let shown = 0;
    context.fillStyle = context.strokeStyle = colour(name);
    orders.forEach((order, position) => {
      const wide = Math.max(1.5, (Number(order[0]) / widest) * room);
      if (x - left > room) return;
      const end = Math.min(x + wide, left + room);
      const block = { side: name, number, position, level, order, x, y, width: end - x };
      blocks.push(block);
      shown += 1;
      context.globalAlpha = known && !known.has(order[1]) ? 1 : 0.55;
      context.fillRect(x, y + 2, Math.max(1, end - x - 1), ROW - 4);
      if (chosen === order[1]) {
        context.globalAlpha = 1;
        context.strokeStyle = colour("text");
        context.lineWidth = 2;
        context.strokeRect(x, y + 1, Math.max(2, end - x - 1), ROW - 2);
      }
      x += wide;
    });
    const rest = shown < count ? (Number(total) / widest) * room - (x - left) : 0; // of orders that were not sent
    context.globalAlpha = 0.2;
    context.fillRect(x, y + 2, Math.max(0, Math.min(rest, left + room - x)), ROW - 4);
    context.globalAlpha = 1;
    context.fillStyle = colour("dim");
    context.textAlign = "right";
    const more = count > shown ? ` +${count - shown}` : "";
    context.fillText(short(total) + more, width - 2, y + ROW / 2);
  });
  side("ask", asks, (number) => middle - ROW * 0.5 - ROW * (number + 1));
  side("bid", bids, (number) => middle + ROW * 0.5 + ROW * number);
  context.strokeStyle = colour("line");
  context.lineWidth = 1;
  context.strokeRect(0, middle + 0.5, width, 0);
  return blocks;
}

/** Names of all orders in a book. */
export function ordersIn(book) {
  const sides = book && book.bids ? [book.bids, book.asks] : [];
  return new Set(sides.flatMap((side) => side.levels.flatMap((level) => level[3].map((order) => order[1]))));
}

// -- depth

export function drawDepth(canvas, book) {
  if (!book || !book.bids || !book.bids.curve.length || !book.asks.curve.length) {
    say(canvas, book ? "a side is empty" : "");
    return;
  }
  const { context, width, height } = begin(canvas);
  const bids = book.bids.curve.map(([p, q]) => [Number(p), Number(q)]);
  const asks = book.asks.curve.map(([p, q]) => [Number(p), Number(q)]);
  const low = bids[bids.length - 1][0], high = asks[asks.length - 1][0];
  const most = Math.max(bids[bids.length - 1][1], asks[asks.length - 1][1]) || 1;
  const bottom = height - 16;
  const place = ([price, qty]) => [((price - low) / (high - low || 1)) * width, bottom - (qty / most) * (bottom - 14)];
  for (const [name, points] of [["bid", bids], ["ask", asks]]) {
    context.beginPath();
    const start = place([points[0][0], 0]);
    context.moveTo(...start);
    let before = start;
    for (const point of points) {
      const next = place(point);
      context.lineTo(next[0], before[1]);
      context.lineTo(...next);
      before = next;
    }
    context.strokeStyle = context.fillStyle = colour(name);
    context.lineWidth = 1.5;
    context.stroke();
    context.lineTo(before[0], bottom);
    context.lineTo(start[0], bottom);
    context.globalAlpha = 0.2;
    context.fill();
    context.globalAlpha = 1;
  }
  context.fillStyle = colour("dim");
  context.textAlign = "left";
  context.fillText(book.bids.curve[book.bids.curve.length - 1][0], 2, height - 7);
  context.fillText(short(String(most)), 2, 7);
  context.textAlign = "right";
  context.fillText(book.asks.curve[book.asks.curve.length - 1][0], width - 2, height - 7);
  context.textAlign = "center";
  const middle = ((bids[0][0] + asks[0][0]) / 2 - low) / (high - low || 1);
  context.fillText(`${book.bids.levels[0][0]} | ${book.asks.levels[0][0]}`, Math.min(Math.max(middle * width, width * 0.4), width * 0.6), height - 7);
}

// -- the last hour

function rgb(name) {
  const hex = colour(name).replace("#", "");
  const long = hex.length === 3 ? [...hex].map((c) => c + c).join("") : hex;
  return [0, 2, 4].map((at) => parseInt(long.slice(at, at + 2), 16));
}

/** Quantity by price and time: darker (or brighter, on dark) where more rests; a line for the middle of the book. */
export function drawHeat(canvas, columns, fromMs, toMs, stepMs, gaps) {
  const there = columns.filter((column) => column[0] >= fromMs && column[0] <= toMs && column[1].length && column[2].length);
  canvas.dataset.columns = there.length;
  if (!there.length) {
    say(canvas, "no book in this hour");
    return;
  }
  const { context, width, height } = begin(canvas);
  const left = 62, bottom = 16;
  const wide = Math.max(10, width - left), high = Math.max(10, height - bottom);
  const inner = there.map(([, bids, asks]) => [Number(bids[Math.min(10, bids.length - 2) & ~1]), Number(asks[Math.min(10, asks.length - 2) & ~1])]);
  let low = Math.min(...inner.map((edge) => edge[0])), top = Math.max(...inner.map((edge) => edge[1]));
  const margin = (top - low) * 0.04 || top * 1e-6;
  low -= margin;
  top += margin;
  const bins = Math.max(20, Math.floor(high / 5));
  const count = Math.round((toMs - fromMs) / stepMs) + 1;
  const sums = [new Float64Array(count * bins), new Float64Array(count * bins)];
  for (const column of there) {
    const x = Math.round((column[0] - fromMs) / stepMs);
    for (const side of [0, 1]) {
      const levels = column[1 + side];
      for (let at = 0; at < levels.length; at += 2) {
        const bin = Math.floor(((top - Number(levels[at])) / (top - low)) * bins);
        if (bin >= 0 && bin < bins) sums[side][bin * count + x] += Number(levels[at + 1]);
      }
    }
  }
  const seen = [...sums[0], ...sums[1]].filter((sum) => sum > 0).sort((a, b) => a - b);
  const least = Math.log(seen[Math.floor(seen.length * 0.05)] || 1), most = Math.log(seen[Math.floor(seen.length * 0.99)] || 2);
  const image = new ImageData(count, bins);
  const shades = [rgb("bid"), rgb("ask")];
  for (let at = 0; at < count * bins; at += 1) {
    const side = sums[1][at] > sums[0][at] ? 1 : 0;
    const sum = sums[side][at];
    if (!sum) continue;
    const share = Math.min(1, Math.max(0, (Math.log(sum) - least) / (most - least || 1)));
    image.data.set([...shades[side], 40 + 215 * share], at * 4);
  }
  const small = new OffscreenCanvas(count, bins);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, left, 0, wide, high);
  drawGaps(context, gaps, fromMs, toMs, left, wide, high);
  context.strokeStyle = colour("text");
  context.lineWidth = 1;
  context.beginPath();
  let last = null;
  for (const [at, bids, asks] of there) {
    const x = left + ((at - fromMs) / (toMs - fromMs)) * wide;
    const y = ((top - (Number(bids[0]) + Number(asks[0])) / 2) / (top - low)) * high;
    if (last === null || at - last > 1.5 * stepMs) context.moveTo(x, y);
    else context.lineTo(x, y);
    last = at;
  }
  context.stroke();
  context.fillStyle = colour("dim");
  context.textAlign = "right";
  const decimals = (there[0][1][0].split(".")[1] || "").length;
  for (const share of [0.08, 0.36, 0.64, 0.92]) {
    context.fillText((top - share * (top - low)).toFixed(decimals), left - 4, share * high);
  }
  context.textAlign = "center";
  for (const share of [0.02, 0.25, 0.5, 0.75, 0.98]) {
    const text = new Date(fromMs + share * (toMs - fromMs)).toISOString().slice(11, 16);
    context.fillText(text, Math.min(left + share * wide, width - 20), height - 7);
  }
}

function drawGaps(context, gaps, fromMs, toMs, left, wide, high) {
  context.fillStyle = colour("gap");
  for (const [start, end] of gaps) {
    if (end < fromMs || start > toMs) continue;
    const x = left + ((Math.max(start, fromMs) - fromMs) / (toMs - fromMs || 1)) * wide;
    const until = left + ((Math.min(end, toMs) - fromMs) / (toMs - fromMs || 1)) * wide;
    context.globalAlpha = 0.35;
    context.fillRect(x, 0, Math.max(2, until - x), high);
    context.globalAlpha = 1;
  }
}

// -- the day

/** Lines of the whole day above the slider, with its gaps. */
export function drawStrip(canvas, day) {
  const { context, width, height } = begin(canvas);
  context.fillStyle = colour("hover");
  context.fillRect(0, 0, width, height);
  if (!day || !day.counts.length) return;
  const sorted = day.counts.slice().sort((a, b) => a - b);
  const most = Math.max(sorted[Math.floor(sorted.length * 0.98)], 1); // a burst of snapshots would hide the rest
  const stepMs = day.step_s * 1000;
  const span = Math.max(day.end - day.start, 1);
  context.fillStyle = colour("bid");
  context.globalAlpha = 0.5;
  day.counts.forEach((count, number) => {
    const x = ((number * stepMs) / span) * width;
    const tall = Math.min(1, count / most) * (height - 6);
    context.fillRect(x, height - tall, Math.max(1, (stepMs / span) * width - 0.5), tall);
  });
  context.globalAlpha = 1;
  drawGaps(context, day.gaps, day.start, day.end, 0, width, height);
}

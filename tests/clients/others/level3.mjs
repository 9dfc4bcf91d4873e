// A client of nothing but Node (22 or later, or 20 with --experimental-websocket): node level3.mjs MESSAGES SYMBOL
import { createHash, createHmac } from "node:crypto";

const { KRAKEN_L3_REST_URL: rest, KRAKEN_L3_WS_URL: url, KRAKEN_API_KEY: key, KRAKEN_API_SECRET: secret } = process.env;
const [wanted, symbol] = [Number(process.argv[2]), process.argv[3]];
const path = "/0/private/GetWebSocketsToken", nonce = String(BigInt(Date.now()) * 1000000n), body = `nonce=${nonce}`;
const digest = createHash("sha256").update(nonce + body).digest();
const sign = createHmac("sha512", Buffer.from(secret, "base64")).update(Buffer.concat([Buffer.from(path), digest])).digest("base64");
const headers = { "API-Key": key, "API-Sign": sign, "Content-Type": "application/x-www-form-urlencoded" };
const { result: { token } } = await (await fetch(rest + path, { method: "POST", headers, body })).json();
const ws = new WebSocket(url), seen = {};
ws.onopen = () => ws.send(JSON.stringify({ method: "subscribe", params: { channel: "level3", symbol: [symbol], token } }));
ws.onmessage = ({ data }) => {
  const { channel, type, error } = JSON.parse(data), name = error ?? (channel === "level3" ? type : channel ?? "ack");
  seen[name] = (seen[name] ?? 0) + 1;
  if (error || seen.update >= wanted) { console.log(JSON.stringify(seen)); process.exit(error ? 1 : 0); }
};

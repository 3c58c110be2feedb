// Two WebSockets to the server of this page: one to /echo (texts, and binary messages for the round-trip time), one to /topics
// (hioload.topics.v1). Data from the network is shown only with textContent.
"use strict";

const byId = (id) => document.getElementById(id);
const base = (location.protocol === "https:" ? "wss://" : "ws://") + location.host;

const ENTRIES = 200; // kept in each log
const PING_EVERY = 500; // ms
const SAMPLES = 60; // pings in the median and the curve
const RETRY_FIRST = 500; // ms
const RETRY_MOST = 15000; // ms

// --- logs --------------------------------------------------------------------------------------------------

function addEntry(log, text, notes) {
  const entry = document.createElement("div");
  entry.textContent = text;
  Object.assign(entry.dataset, notes);
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(entry);
  while (log.childElementCount > ENTRIES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
  return entry;
}

function note(where, text) {
  byId(where + "-note").textContent = text;
}

// --- connection --------------------------------------------------------------------------------------------

const link = { wanted: false, echo: null, topics: null, attempt: 0, timer: 0 };

function show(state, detail) {
  byId("status").textContent = state;
  byId("pill").dataset.state = state;
  byId("detail").textContent = detail || "";
  byId("connect").toggleAttribute("data-idle", link.wanted);
  byId("disconnect").toggleAttribute("data-idle", !link.wanted);
}

const isOpen = (socket) => socket !== null && socket.readyState === WebSocket.OPEN;

function open() {
  clearTimeout(link.timer);
  show("connecting");
  const echo = (link.echo = new WebSocket(base + "/echo"));
  const topics = (link.topics = new WebSocket(base + "/topics", "hioload.topics.v1"));
  echo.binaryType = "arraybuffer";
  echo.onmessage = (event) => echo === link.echo && onEcho(event);
  topics.onmessage = (event) => topics === link.topics && onTopics(event);
  for (const socket of [echo, topics]) {
    socket.onopen = () => {
      if (!isOpen(link.echo) || !isOpen(link.topics)) return;
      link.attempt = 0;
      show("connected");
      for (const topic of subscriptions) command({ sub: topic });
      ping();
    };
    socket.onclose = (event) => {
      if (socket === link.echo || socket === link.topics) lost(event);
    };
  }
}

// If one of the two connections ends, the page closes both and opens both again.
function lost(event) {
  drop();
  if (!link.wanted) return;
  const most = Math.min(RETRY_MOST, RETRY_FIRST * 2 ** link.attempt++);
  const wait = most * (0.5 + Math.random() / 2);
  const why = event.reason || (event.code === 1001 ? "the server is shutting down" : "connection lost");
  const say = (reason) => show("disconnected", `${reason}; next try in ${(wait / 1000).toFixed(1)} s`);
  say(why);
  link.timer = setTimeout(open, wait);
  if (event.code === 1006) explain(say, link.timer);
}

// A browser does not tell a page why an upgrade was refused. A request that carries the page's origin as the upgrade did gets the
// same refusal, with a text that names the setting.
async function explain(say, timer) {
  try {
    const answer = await fetch("/healthz", { method: "OPTIONS", cache: "no-store" });
    const text = answer.ok ? "" : (await answer.text()).trim();
    if (text && timer === link.timer && link.echo === null) say(`refused (${answer.status}): ${text}`);
  } catch {
    // The server cannot be reached, or has ended: "connection lost" is right.
  }
}

function drop() {
  for (const socket of [link.echo, link.topics]) if (socket !== null) socket.close();
  link.echo = link.topics = null;
  echoes.length = 0;
  pings.clear();
  asked.clear();
}

function connect() {
  if (link.echo !== null) return;
  link.wanted = true;
  link.attempt = 0;
  open();
}

function disconnect() {
  link.wanted = false;
  clearTimeout(link.timer);
  drop();
  show("disconnected");
}

// --- echo and round-trip time ------------------------------------------------------------------------------

const echoes = []; // the send times of texts without a reply
const pings = new Map(); // number -> send time
const samples = [];
let pingNumber = 0;

function sendEcho(text) {
  note("echo", isOpen(link.echo) ? "" : "not connected");
  if (!isOpen(link.echo)) return false;
  echoes.push(performance.now());
  link.echo.send(text);
  return true;
}

function onEcho(event) {
  if (typeof event.data !== "string") return onPing(event.data);
  const sent = echoes.shift();
  addEntry(byId("echo-log"), event.data, { note: `${(performance.now() - sent).toFixed(2)} ms` });
}

function ping() {
  if (!isOpen(link.echo) || document.hidden || pings.size > 4) return;
  const payload = new Float64Array([++pingNumber]);
  pings.set(pingNumber, performance.now());
  link.echo.send(payload);
}

function onPing(payload) {
  const number = new Float64Array(payload)[0];
  const sent = pings.get(number);
  if (sent === undefined) return;
  pings.delete(number);
  samples.push(performance.now() - sent);
  if (samples.length > SAMPLES) samples.shift();
  const sorted = [...samples].sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1];
  byId("rtt").textContent = median.toFixed(median < 10 ? 2 : 1);
  byId("rtt-count").textContent = samples.length;
  const most = Math.max(...samples) * 1.1 || 1;
  const points = samples.map((ms, n) => `${(n * 300) / (SAMPLES - 1)},${(78 - (ms / most) * 76).toFixed(1)}`);
  byId("spark-line").setAttribute("points", points.join(" "));
}

// --- topics ------------------------------------------------------------------------------------------------

const subscriptions = new Set();
const asked = new Map(); // id -> the command, until its reply
const name = "guest-" + Math.floor(1000 + Math.random() * 9000);
let commandNumber = 0;

function command(body) {
  if (!isOpen(link.topics)) {
    note("chat", "not connected");
    return false;
  }
  const id = ++commandNumber;
  asked.set(id, body);
  link.topics.send(JSON.stringify({ ...body, id }));
  return true;
}

function subscribe(topic) {
  if (command({ sub: topic })) note("chat", "");
}

function showSubscriptions() {
  const items = [...subscriptions].map((topic) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    button.textContent = topic;
    button.title = "Unsubscribe";
    button.onclick = () => command({ unsub: topic });
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  byId("subscriptions").replaceChildren(...items);
}

// Whether a pattern matches a topic: * is one token, > is one or more at the end.
function covers(pattern, topic) {
  const wanted = pattern.split(".");
  const given = topic.split(".");
  for (let n = 0; n < wanted.length; n++) {
    if (wanted[n] === ">") return given.length > n;
    if (n >= given.length || (wanted[n] !== "*" && wanted[n] !== given[n])) return false;
  }
  return wanted.length === given.length;
}

function publish(topic, text) {
  // A user who publishes to a topic wants to see the message.
  if (![...subscriptions].some((pattern) => covers(pattern, topic))) subscribe(topic);
  return command({ pub: topic, data: { from: name, text } });
}

function onTopics(event) {
  const said = JSON.parse(event.data);
  if ("msg" in said) return onMessage(said.msg, said.data);
  const body = asked.get(said.ok ?? said.id);
  asked.delete(said.ok ?? said.id);
  if ("error" in said) return note("chat", said.error);
  if (body && "sub" in body) subscriptions.add(body.sub);
  if (body && "unsub" in body) subscriptions.delete(body.unsub);
  if (body && !("pub" in body)) showSubscriptions();
}

function onMessage(topic, data) {
  const isChat = data !== null && typeof data === "object" && typeof data.text === "string";
  const text = isChat ? data.text : typeof data === "string" ? data : JSON.stringify(data);
  const from = isChat && typeof data.from === "string" ? (data.from === name ? "you" : data.from.slice(0, 40)) : "";
  addEntry(byId("chat-log"), text, { ...(from && { from }), note: topic });
}

// --- the controls ------------------------------------------------------------------------------------------

byId("connect").onclick = connect;
byId("disconnect").onclick = disconnect;

byId("echo-form").onsubmit = (event) => {
  event.preventDefault();
  const input = byId("echo-input");
  if (input.value !== "" && sendEcho(input.value)) input.value = "";
};

byId("topic-form").onsubmit = (event) => {
  event.preventDefault();
  const topic = byId("topic-input").value.trim();
  if (topic !== "") subscribe(topic);
};

byId("chat-form").onsubmit = (event) => {
  event.preventDefault();
  const input = byId("chat-input");
  const topic = byId("topic-input").value.trim();
  if (input.value !== "" && topic !== "" && publish(topic, input.value)) input.value = "";
};

setInterval(ping, PING_EVERY);
connect();

// npm's client `ws` over TLS against our server: node ws_tls.js wss://HOST:PORT/echo CA
'use strict';

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { WebSocket } = require('ws');

const [url, ca] = process.argv.slice(2);
const sizes = [0, 1, 126, 16384, 65536, 1 << 20];

const socket = new WebSocket(url, { ca: readFileSync(ca), perMessageDeflate: false });
const sent = sizes.map((size) => randomBytes(size));
socket.on('open', () => sent.forEach((message) => socket.send(message)));
let received = 0;
socket.on('message', (message) => {
  assert.deepEqual(message, sent[received]);
  received += 1;
  if (received === sent.length) socket.close(1000);
});
socket.on('close', (code) => {
  assert.equal(code, 1000);
  assert.equal(received, sent.length);
});
socket.on('error', (error) => {
  console.error(error);
  process.exit(1);
});

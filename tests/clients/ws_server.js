// The npm server `ws` as an echo server for our client. Prints one JSON line of its URLs by name; ends when standard input
// does, with code 1 if a connection was not closed by the client with code 1000. With a certificate and a key it speaks TLS:
// node ws_server.js [CERTIFICATE KEY]
'use strict';

const { readFileSync } = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { WebSocketServer } = require('ws');

const files = process.argv.slice(2).map((file) => readFileSync(file));
const listener = () => files.length ? https.createServer({ cert: files[0], key: files[1] }) : http.createServer();

const KINDS = {
  'plain': false,
  'deflate': { threshold: 0 },
  'deflate without contexts': { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
  'deflate with small windows': { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
};

let connections = 0;
const wrong = [];

const started = Object.entries(KINDS).map(([name, perMessageDeflate]) => new Promise((resolve) => {
  const below = listener();
  const server = new WebSocketServer({ server: below, perMessageDeflate });
  below.listen(0, '127.0.0.1', () => {
    resolve([name, `${files.length ? 'wss' : 'ws'}://127.0.0.1:${below.address().port}/`]);
  });
  server.on('connection', (socket) => {
    connections += 1;
    socket.on('error', (error) => wrong.push(`${name}: ${error}`));
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    socket.on('close', (code) => {
      if (code !== 1000) wrong.push(`${name}: closed with ${code}`);
    });
  });
}));

Promise.all(started).then((urls) => console.log(JSON.stringify(Object.fromEntries(urls))));

process.stdin.resume().on('end', () => {
  for (const complaint of wrong) console.error(`  ${complaint}`);
  process.exit(wrong.length || !connections ? 1 : 0);
});

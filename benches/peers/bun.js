// The peer on Bun, whose server is uWebSockets: /echo, and fan-out from /publish to /subscribe.
// Compression is off, and no limit slows the benchmark down. With a certificate and a key it speaks TLS.
// bun bun.js ADDRESS [CERTIFICATE KEY]

const [address, cert, key] = process.argv.slice(2);
const [host, port] = (address ?? "127.0.0.1:9103").split(":");

const server = Bun.serve({
  hostname: host,
  port: Number(port),
  tls: cert && { cert: Bun.file(cert), key: Bun.file(key) },
  fetch(request, server) {
    const path = new URL(request.url).pathname;
    if (server.upgrade(request, { data: { path } })) return;
    return new Response("an upgrade to WebSocket is required", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    sendPings: false,
    backpressureLimit: 64 * 1024 * 1024,
    maxPayloadLength: 16 * 1024 * 1024,
    open(ws) {
      // The cheapest form of a binary message in Bun.
      ws.binaryType = "uint8array";
      if (ws.data.path === "/subscribe") {
        ws.subscribe("bench");
        ws.send(Buffer.from("subscribed"));
      }
    },
    message(ws, message) {
      if (ws.data.path === "/publish") server.publish("bench", message);
      else ws.send(message);
    },
  },
});

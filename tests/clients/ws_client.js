// The npm client `ws` against our server: node ws_client.js ws://HOST:PORT MAX_MESSAGE
'use strict';

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { WebSocket } = require('ws');

const SERVER = process.argv[2];
const LIMIT = Number(process.argv[3]);
const PATIENCE_MS = 20000;

const MIB = 1 << 20;
const LARGE = randomBytes(MIB + 1);
const PROSE = 'The quick brown fox jumps over the lazy dog, λ and 🦊 too. '.repeat(50);

// Offers of permessage-deflate (RFC 7692 section 7.1), and the parameters that the answer must have.
const DEFLATE = {
  'no parameters': [{}, []],
  'server_no_context_takeover': [{ serverNoContextTakeover: true }, ['server_no_context_takeover']],
  'client_no_context_takeover': [{ clientNoContextTakeover: true }, []],
  'both no_context_takeover': [
    { serverNoContextTakeover: true, clientNoContextTakeover: true },
    ['server_no_context_takeover'],
  ],
  'server_max_window_bits=9': [{ serverMaxWindowBits: 9 }, ['server_max_window_bits=9']],
  'server_max_window_bits=12': [{ serverMaxWindowBits: 12 }, ['server_max_window_bits=12']],
  'client_max_window_bits=9': [{ clientMaxWindowBits: 9 }, []],
  'everything': [
    { serverNoContextTakeover: true, clientNoContextTakeover: true, serverMaxWindowBits: 10, clientMaxWindowBits: 10 },
    ['server_no_context_takeover', 'server_max_window_bits=10'],
  ],
};

// A connection whose messages, pongs and end can be awaited in order.
class Client {
  static async open(path, protocols = [], options = {}) {
    const client = new Client();
    client.arrived = [];
    client.waiting = [];
    client.socket = new WebSocket(SERVER + path, protocols, { perMessageDeflate: false, ...options });
    const note = (event) => {
      const next = client.waiting.shift();
      if (next) next(event);
      else client.arrived.push(event);
    };
    client.socket.on('message', (data, isBinary) => note({ data: isBinary ? data : data.toString() }));
    client.socket.on('pong', (data) => note({ pong: data.toString() }));
    client.socket.on('close', (code, reason) => note({ code, reason: reason.toString() }));
    client.refused = new Promise((resolve) => {
      client.socket.on('unexpected-response', (_, answer) => resolve(answer.statusCode));
    });
    client.socket.on('error', (error) => note({ error }));
    client.socket.on('upgrade', (answer) => {
      client.extensions = answer.headers['sec-websocket-extensions'] ?? '';
    });
    client.opened = new Promise((resolve) => client.socket.on('open', resolve));
    if (!options.expectRefusal) await patiently(client.opened, 'the handshake');
    return client;
  }

  next() {
    if (this.arrived.length) return Promise.resolve(this.arrived.shift());
    return patiently(new Promise((resolve) => this.waiting.push(resolve)), 'the next event');
  }

  async echoes(data) {
    this.socket.send(data);
    const event = await this.next();
    assert.deepEqual(event, { data }, 'the echo differs');
  }

  async close(code = 1000, reason = '') {
    this.socket.close(code, reason);
    const event = await this.next();
    assert.equal(event.code, code, `closed with ${JSON.stringify(event)}`);
  }
}

function patiently(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const tests = {
  async 'text and binary of all sizes'() {
    const client = await Client.open('/echo');
    for (const size of [0, 1, 125, 126, 4095, 4096, 4097, 65535, 65536, 65537]) {
      await client.echoes('x'.repeat(size));
      await client.echoes(randomBytes(size));
    }
    await client.echoes(PROSE);
    await client.echoes(LARGE);
    await client.close();
  },

  async 'many in flight come back in order'() {
    const client = await Client.open('/echo');
    for (let i = 0; i < 5000; i++) client.socket.send(`message ${i}`);
    for (let i = 0; i < 5000; i++) assert.deepEqual(await client.next(), { data: `message ${i}` });
    await client.close();
  },

  async 'fragments, with a ping between them'() {
    const client = await Client.open('/echo');
    client.socket.send('first, ', { fin: false });
    client.socket.send('', { fin: false });
    client.socket.ping('between');
    client.socket.send('second, ', { fin: false });
    client.socket.send('third', { fin: true });
    assert.deepEqual(await client.next(), { pong: 'between' });
    assert.deepEqual(await client.next(), { data: 'first, second, third' });
    for (let at = 0; at < LARGE.length; at += 50000) {
      client.socket.send(LARGE.subarray(at, at + 50000), { fin: at + 50000 >= LARGE.length });
    }
    assert.deepEqual(await client.next(), { data: LARGE });
    await client.close();
  },

  async 'ping is answered and is not data'() {
    const client = await Client.open('/echo');
    client.socket.ping('are you there');
    assert.deepEqual(await client.next(), { pong: 'are you there' });
    client.socket.pong('nobody asked');
    await client.echoes('still only this');
    await client.close();
  },

  async 'close codes and reasons are answered in kind'() {
    for (const code of [1000, 1001, 1008, 1011, 3000, 4999]) {
      const client = await Client.open('/echo');
      await client.close(code, `reason ${code}`);
    }
    const client = await Client.open('/echo');
    client.socket.close();
    assert.equal((await client.next()).code, 1005); // what `ws` reports for a Close without a code
  },

  async 'a message over the limit is closed with 1009'() {
    const client = await Client.open('/echo');
    client.socket.send(Buffer.alloc(LIMIT + 1));
    assert.equal((await client.next()).code, 1009);
  },

  async 'an upgrade on / echoes too'() {
    const client = await Client.open('/');
    await client.echoes('front door');
    await client.close();
  },

  async 'an unknown path is refused with 404'() {
    const client = await Client.open('/nope', [], { expectRefusal: true });
    assert.equal(await patiently(client.refused, 'a refusal'), 404);
    client.socket.terminate();
  },

  async 'topics'() {
    const open = () => Client.open('/topics', ['hioload.topics.v1']);
    const [alice, bob] = [await open(), await open()];
    assert.equal(alice.socket.protocol, 'hioload.topics.v1');
    const say = (client, what) => client.socket.send(JSON.stringify(what));
    const hear = async (client) => JSON.parse((await client.next()).data);

    say(alice, { sub: 'chat.*', id: 1 });
    assert.deepEqual(await hear(alice), { ok: 1 });
    say(alice, { sub: 'news.>', id: 'two' });
    assert.deepEqual(await hear(alice), { ok: 'two' });

    const data = { text: 'hi "there" ✓', list: [1, 2.5, null, true] };
    say(bob, { pub: 'chat.room1', data, id: 3 });
    assert.deepEqual(await hear(bob), { ok: 3 });
    assert.deepEqual(await hear(alice), { msg: 'chat.room1', data });

    // `*` matches neither a deeper topic nor another one; `>` matches any depth.
    say(bob, { pub: 'chat.room1.deep', data: 'not for alice' });
    say(bob, { pub: 'weather.today', data: 'nor this' });
    say(bob, { pub: 'news.world.today', data: 42 });
    assert.deepEqual(await hear(alice), { msg: 'news.world.today', data: 42 });

    say(alice, { unsub: 'chat.*', id: 4 });
    assert.deepEqual(await hear(alice), { ok: 4 });
    say(bob, { pub: 'chat.room1', data: 'unheard', id: 5 });
    assert.deepEqual(await hear(bob), { ok: 5 });
    say(bob, { pub: 'news.late', data: 'heard' });
    assert.deepEqual(await hear(alice), { msg: 'news.late', data: 'heard' });

    bob.socket.send('this is not JSON');
    assert.equal(typeof (await hear(bob)).error, 'string');
    say(bob, { dance: 'chat.room1', id: 6 });
    const error = await hear(bob);
    assert.equal(typeof error.error, 'string');
    assert.equal(error.id, 6);
    await alice.close();
    await bob.close();
  },
};

for (const [name, [parameters, answer]] of Object.entries(DEFLATE)) {
  tests[`permessage-deflate: ${name}`] = async () => {
    const client = await Client.open('/echo', [], { perMessageDeflate: { threshold: 0, ...parameters } });
    const agreed = client.extensions;
    assert.match(agreed, /^permessage-deflate/);
    const terms = agreed.split(';').map((part) => part.trim());
    for (const wanted of answer) assert(terms.includes(wanted), `answered '${agreed}', which lacks ${wanted}`);
    // The same text three times: with context takeover, the second and third refer to the first.
    for (let i = 0; i < 3; i++) await client.echoes(PROSE);
    await client.echoes('');
    await client.echoes(randomBytes(100));
    await client.echoes(LARGE);
    await client.echoes('a'.repeat(MIB));
    client.socket.send(PROSE, { fin: false });
    client.socket.send(PROSE, { fin: true, compress: true });
    assert.deepEqual(await client.next(), { data: PROSE + PROSE });
    client.socket.send('not compressed', { compress: false });
    assert.deepEqual(await client.next(), { data: 'not compressed' });
    await client.close();
  };
}

(async () => {
  let failed = 0;
  for (const [name, run] of Object.entries(tests)) {
    try {
      await run();
      console.log(`  ok    ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`  FAIL  ${name}: ${error.stack}`);
    }
  }
  process.exit(failed ? 1 : 0);
})();

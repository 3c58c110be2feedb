// Headless Chromium uses the server's page: node page.js URL CHROMIUM OUTPUT_FOLDER [FOLDER_OF_THE_CERTIFICATE]
'use strict';

const assert = require('node:assert/strict');
const { createHash, X509Certificate } = require('node:crypto');
const { mkdtempSync, readFileSync, rmSync } = require('node:fs');
const net = require('node:net');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const tls = require('node:tls');
const { chromium } = require('playwright-core');

const [url, executablePath, output, certificate] = process.argv.slice(2);
const { protocol } = new URL(url);
const [ca, cert, key] = ['ca', 'cert', 'key'].map((name) => certificate && readFileSync(join(certificate, `${name}.pem`)));
const PATIENCE_MS = 20000;
// Only the page: no updates, no telemetry, no QUIC.
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP evil.example 127.0.0.1',
];
if (certificate) {
  // Chromium accepts this key alone, for any name.
  const spki = new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' });
  FLAGS.push(`--ignore-certificate-errors-spki-list=${createHash('sha256').update(spki).digest('base64')}`);
}

const complaints = [];

async function openTab(browser) {
  const tab = await browser.newPage();
  tab.setDefaultTimeout(PATIENCE_MS);
  tab.on('pageerror', (error) => complaints.push(`error in the page: ${error}`));
  tab.on('console', (message) => {
    if (message.type() === 'error') complaints.push(`console: ${message.text()}`);
  });
  await tab.goto(url);
  return tab;
}

// A tab in which requests fail on purpose, which the browser logs as errors.
async function openForeignTab(browser, address) {
  const tab = await browser.newPage();
  tab.setDefaultTimeout(PATIENCE_MS);
  const answer = await tab.goto(address);
  return { tab, status: answer?.status() };
}

// A proxy that replaces the Host of each connection's request, as nginx does by default. The page then has another origin than the
// server knows.
function proxyThatReplacesHost() {
  const server = new URL(url);
  const listen = (serve) => (certificate ? tls.createServer({ cert, key }, serve) : net.createServer(serve));
  const connect = (to) => (certificate ? tls.connect({ ...to, ca }) : net.connect(to));
  const proxy = listen((client) => {
    const upstream = connect({ port: Number(server.port), host: server.hostname });
    client.once('data', (request) => {
      upstream.write(request.toString('latin1').replace(/^Host: .*$/mi, `Host: ${server.host}`), 'latin1');
      client.pipe(upstream).pipe(client);
    });
    for (const [from, to] of [[client, upstream], [upstream, client]]) from.on('error', () => to.destroy());
    client.on('close', () => upstream.destroy());
  });
  if (certificate) proxy.on('tlsClientError', () => {}); // a browser tries a connection and abandons it
  return new Promise((resolve) => proxy.listen(0, '127.0.0.1', () => resolve(proxy)));
}

// What a page of another origin achieves: whether its WebSocket opens, and whether it can read an answer.
function attack(tab, target) {
  return tab.evaluate(async (base) => {
    const opens = new Promise((resolve) => {
      const socket = new WebSocket(base.replace('http', 'ws') + '/echo');
      socket.onopen = () => resolve(true);
      socket.onerror = () => resolve(false);
    });
    const reads = (path) => fetch(base + path).then((answer) => answer.ok, () => false);
    return { opens: await opens, reads: await reads('/stats') };
  }, target);
}

async function foreignPages(browser) {
  const server = new URL(url);
  await step('a page of another origin can neither connect nor read', async () => {
    const proxy = await proxyThatReplacesHost();
    const address = `${protocol}//localhost:${proxy.address().port}/app.css`;
    const { tab } = await openForeignTab(browser, address);
    assert.deepEqual(await attack(tab, server.origin), { opens: false, reads: false });
    await tab.close();
    proxy.close();
  });
  await step('a name that resolves to this machine is not served', async () => {
    const { tab, status } = await openForeignTab(browser, `${protocol}//evil.example:${server.port}/`);
    assert.equal(status, 403);
    assert.match(await tab.textContent('body'), /allow_host/);
    assert.deepEqual(await attack(tab, `${protocol}//evil.example:${server.port}`), { opens: false, reads: false });
    await tab.close();
  });
  await step('the page says why it is refused', async () => {
    const proxy = await proxyThatReplacesHost();
    const { tab, status } = await openForeignTab(browser, `${protocol}//127.0.0.1:${proxy.address().port}/`);
    assert.equal(status, 200);
    await reads(tab, '#detail', /refused \(403\).*allow_origin/);
    await tab.screenshot({ path: join(output, 'refused.png') });
    await tab.close();
    proxy.close();
  });
}

// Waits until the text of an element matches.
async function reads(tab, selector, pattern, timeout = PATIENCE_MS) {
  const found = ([query, source, flags]) => {
    return new RegExp(source, flags).test(document.querySelector(query)?.textContent ?? '');
  };
  try {
    await tab.waitForFunction(found, [selector, pattern.source, pattern.flags], { timeout });
  } catch {
    const text = await tab.textContent(selector, { timeout: 1000 }).catch(() => '(no such element)');
    throw new Error(`${selector} never matched ${pattern}; it reads: ${text}`);
  }
}

// A page may connect by itself when it loads. If it does not, the test clicks.
async function connected(tab) {
  await reads(tab, '#status', /^\s*connected/, 2000).catch(() => tab.click('#connect'));
  await reads(tab, '#status', /^\s*connected/);
}

async function echo(tab, text) {
  await tab.fill('#echo-input', text);
  await tab.click('#echo-send');
  await reads(tab, '#echo-log', new RegExp(text));
}

async function chat(tab, text) {
  await tab.fill('#chat-input', text);
  await tab.click('#chat-send');
}

async function step(name, run) {
  await run();
  console.log(`  ok    ${name}`);
}

async function clickThrough(browser) {
  const first = await openTab(browser);
  await step('the page connects', () => connected(first));
  await step('what is typed comes back', () => echo(first, 'hello from a browser'));
  await step('the round-trip time is a number', () => reads(first, '#rtt', /\d/));

  const second = await openTab(browser);
  await connected(second);
  await step('two tabs chat over a topic', async () => {
    for (const tab of [first, second]) {
      await tab.fill('#topic-input', 'chat.lobby');
      await tab.click('#topic-subscribe');
    }
    // A subscription shows nothing on the page, so the message is repeated until it arrives.
    const heard = reads(second, '#chat-log', /first says hi/);
    let waiting = true;
    heard.finally(() => { waiting = false; }).catch(() => {});
    while (waiting) {
      await chat(first, 'first says hi');
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    await heard;
    await chat(second, 'second answers');
    await reads(first, '#chat-log', /second answers/);
  });
  await first.screenshot({ path: join(output, 'page.png'), fullPage: true });

  await step('disconnect, then connect again', async () => {
    await first.click('#disconnect');
    await reads(first, '#status', /^\s*disconnected/);
    await first.click('#connect');
    await reads(first, '#status', /^\s*connected/);
    await echo(first, 'back again');
  });
  await step('a reload starts afresh', async () => {
    await first.reload();
    await connected(first);
    await echo(first, 'after the reload');
  });
  await step('the other tab was not disturbed', () => echo(second, 'still here'));
}

(async () => {
  const profile = mkdtempSync(join(tmpdir(), 'hioload-chromium-'));
  const browser = await chromium.launchPersistentContext(profile, { executablePath, args: FLAGS, chromiumSandbox: false });
  try {
    await clickThrough(browser);
    await foreignPages(browser);
    assert.deepEqual(complaints, [], 'the page logged errors');
  } catch (error) {
    console.log(`  FAIL  ${error.stack}`);
    process.exitCode = 1;
    await browser.pages().at(-1)?.screenshot({ path: join(output, 'failure.png') }).catch(() => {});
  } finally {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  }
})();

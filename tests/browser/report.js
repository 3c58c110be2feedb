// Checks the page of a load report in headless Chromium: node report.js PAGE JSON CHROMIUM OUTPUT_FOLDER NAME
'use strict';

const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { join, resolve } = require('node:path');
const { pathToFileURL } = require('node:url');
const { chromium } = require('playwright-core');

const [page, json, executablePath, output, name] = process.argv.slice(2);
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];
const report = JSON.parse(readFileSync(json, 'utf8'));
const complaints = [];

function median(values) {
  const sorted = values.filter((value) => value !== undefined && value !== null).sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const sum = (values) => Object.values(values).reduce((all, value) => all + value, 0);

// The expected contents of the table, computed from the JSON by code that the page does not share.
const FIGURES = {
  rate: (run) => run.rate,
  bytes: (run) => run.bytes_rate,
  sent: (run) => run.sent,
  done: (run) => run.done,
  errors: (run) => sum(run.errors),
  p50: (run) => run.latency.p50,
  p75: (run) => run.latency.p75,
  p90: (run) => run.latency.p90,
  p99: (run) => run.latency.p99,
  'p99.9': (run) => run.latency.p999,
  'p99.99': (run) => run.latency.p9999,
  max: (run) => run.latency.max,
  mean: (run) => run.latency.mean,
  'handshake.p99': (run) => run.handshake?.p99,
  'generator.cores': (run) => run.generator.cores,
  'generator.cpu_per_message': (run) => run.generator.cpu_per_done,
  'generator.headroom': (run) => run.generator.headroom,
  'server.cores': (run) => run.server?.cores,
};

async function open(browser, colorScheme, width) {
  const tab = await browser.newPage({ colorScheme, viewport: { width, height: 900 } });
  tab.setDefaultTimeout(20000);
  tab.on('pageerror', (error) => complaints.push(`error in the page: ${error}`));
  tab.on('console', (message) => complaints.push(`console: ${message.text()}`));
  tab.on('request', (request) => {
    if (!request.url().startsWith('file:')) complaints.push(`the page asks for ${request.url()}`);
  });
  await tab.goto(pathToFileURL(resolve(page)).href);
  return tab;
}

// The boxes and colours of all drawn lines of all plots.
const drawn = () => [...document.querySelectorAll('svg.plot')].map((plot) => ({
  id: plot.id,
  width: plot.getBoundingClientRect().width,
  paper: getComputedStyle(plot.querySelector('.paper')).fill,
  lines: [...plot.querySelectorAll('path.line')].map((line) => {
    const box = line.getBBox();
    const style = getComputedStyle(line);
    return { label: line.dataset.label, width: box.width, height: box.height, length: line.getTotalLength(), stroke: style.stroke };
  }),
  words: [...plot.querySelectorAll('text')].map((text) => {
    const [word, all] = [text.getBoundingClientRect(), plot.getBoundingClientRect()];
    return { text: text.textContent, inside: word.left >= all.left - 1 && word.right <= all.right + 1 };
  }),
}));

async function plots(tab) {
  const found = await tab.evaluate(drawn);
  const ids = found.map((plot) => plot.id);
  for (const kind of ['percentiles', 'histogram', 'throughput', 'latency', 'cpu']) assert.ok(ids.includes(`plot-${kind}`), `no plot of ${kind}`);
  for (const plot of found) {
    assert.ok(plot.width > 200, `${plot.id} is ${plot.width} wide`);
    assert.ok(plot.lines.length >= report.runs.length, `${plot.id} has ${plot.lines.length} lines for ${report.runs.length} runs`);
    for (const line of plot.lines) {
      assert.ok(line.width > 50 && line.length > 50, `${plot.id}: ${line.label} is not visible: ${JSON.stringify(line)}`);
      assert.match(line.stroke, /^rgb/, `${plot.id}: ${line.label} has no colour`);
      assert.notEqual(line.stroke, plot.paper, `${plot.id}: ${line.label} has the colour of the background`);
    }
    for (const word of plot.words) assert.ok(word.inside, `${plot.id}: "${word.text}" is cut off`);
  }
  const tall = found.filter((plot) => ['plot-percentiles', 'plot-histogram'].includes(plot.id));
  for (const plot of tall) for (const line of plot.lines) assert.ok(line.height > 10, `${plot.id}: ${line.label} is flat`);
  return found;
}

async function table(tab) {
  const rows = await tab.evaluate(() => [...document.querySelectorAll('#figures tr[data-figure]')].map((row) => ({
    name: row.dataset.figure,
    values: [...row.querySelectorAll('td[data-value]')].map((cell) => Number(cell.dataset.value)),
    text: row.innerText,
  })));
  const parts = [...new Set(report.runs.map((run) => run.part))];
  for (const [figure, read] of Object.entries(FIGURES)) {
    const wanted = parts.map((part) => median(report.runs.filter((run) => run.part === part).map(read))).filter((value) => !Number.isNaN(value));
    const row = rows.find((one) => one.name === figure);
    if (wanted.length === 0) {
      assert.equal(row, undefined, `${figure} is shown without having been measured`);
      continue;
    }
    assert.ok(row, `no row of ${figure}`);
    assert.deepEqual(row.values, wanted, figure);
  }
  const p99 = rows.find((one) => one.name === 'p99');
  assert.match(p99.text, /\d (ns|µs|ms|s)\b/);
}

async function cursor(tab) {
  const plot = tab.locator('#plot-percentiles');
  await plot.hover();
  const words = await plot.locator('.tip text').allTextContents();
  assert.ok(words.length > report.runs.length, `the tooltip reads ${words}`);
  await tab.mouse.move(1, 1);
  assert.equal(await plot.locator('.tip').count(), 0);
}

async function step(about, run) {
  await run();
  console.log(`  ok    ${name}: ${about}`);
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: FLAGS, chromiumSandbox: false });
  try {
    const tab = await open(browser, 'light', 1200);
    let light;
    await step('its plots are to be seen', async () => { light = await plots(tab); });
    await step('its table says what the JSON says', () => table(tab));
    await step('a cursor reads the lines', () => cursor(tab));
    await step('the data can be saved', async () => {
      const [saved] = await Promise.all([tab.waitForEvent('download'), tab.click('#save')]);
      assert.deepEqual(JSON.parse(readFileSync(await saved.path(), 'utf8')), report);
    });
    await tab.screenshot({ path: join(output, `${name}-light.png`), fullPage: true });
    await step('it is dark where that is wished for', async () => {
      const dark = await open(browser, 'dark', 1200);
      const found = await plots(dark);
      assert.notEqual(found[0].paper, light[0].paper);
      await dark.screenshot({ path: join(output, `${name}-dark.png`), fullPage: true });
    });
    await step('a narrow window has no sideways scrolling', async () => {
      const narrow = await open(browser, 'light', 400);
      await plots(narrow);
      const [width, room] = await narrow.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
      assert.ok(width <= room, `${width} in ${room}`);
      await narrow.screenshot({ path: join(output, `${name}-narrow.png`), fullPage: true });
    });
    assert.deepEqual(complaints, [], 'the page logged errors');
  } catch (error) {
    console.log(`  FAIL  ${name}: ${error.stack}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
})();

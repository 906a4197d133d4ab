// What the pages cost, and how soon they are there. Argument: { binary, rounds }. Prints JSON; tests/measure-pages makes lines of it.

import { readFileSync } from "node:fs";
import { Agent, get } from "node:http";

import { DESK, script, withBrowser } from "./chromium.mjs";
import { follow } from "./follow.mjs";
import { fiveHundred, sleep, until, withWorld } from "./world.mjs";

const PAGES = 200;
const STREAMS = 200;
/** How long 500 routes are watched first, a run every ten seconds each: strips are full after that. */
const HISTORY_MS = 240_000;
/** As the kernel counts for /proc: a hundredth of a second. */
const TICK_MS = 10;

script(1_500, async ({ binary, rounds = 5, history = HISTORY_MS }) => ({
  live: await live(binary, rounds),
  five_hundred: await costs(binary, history),
}));

/** How long after the agent's word an open page shows it. */
function live(binary, rounds) {
  return withWorld(binary, (probes) => probes, (world) =>
    withBrowser(async (browser) => {
      const [cells, opened, over] = [[], [], []];
      let reloaded = 0;
      await world.landed();
      for (let round = 0; round < rounds; round += 1) {
        const page = await browser.newPage({ viewport: DESK });
        const broken = await follow(page, world.agent, world.breaking({ kind: "drop-output", where: { worker: "v5" } }), "open", 90);
        const mended = await follow(page, world.agent, await world.mending(), "over", 120);
        cells.push(...broken.cells.map(({ ms }) => ms));
        opened.push(...broken.incidents.map(({ ms }) => ms));
        over.push(...mended.incidents.map(({ ms }) => ms));
        reloaded += broken.reloaded + mended.reloaded;
        await page.close();
        await world.over();
      }
      return { cells: spread(cells), opened: spread(opened), over: spread(over), reloaded };
    }),
  );
}

/** What pages of 500 routes cost. */
function costs(binary, history) {
  return withWorld(binary, fiveHundred("10s"), async (world) => {
    const [routes] = [await world.landed(300_000)];
    await world.inject({ kind: "drop-output", rate: 0.1, where: { worker: "v6" } });
    await sleep(history);
    // Nothing flies while it is measured: what the agent spends is spent on pages.
    await world.order("/api/v1/pauses", { all: true, for: "1h" });
    await until("nothing flies", 120_000, async () => {
      const metrics = await (await fetch(`${world.agent}/metrics`)).text();
      return /^landfall_runs_pending 0$/m.test(metrics);
    });
    await sleep(5_000);
    const home = `${world.agent}/`;
    const bytes = await load(home);
    const idle = { cpu: cpu(world.pid), at: Date.now() };
    await sleep(5_000);
    // What it spends anyway, each millisecond.
    const rate = (cpu(world.pid) - idle.cpu) / (Date.now() - idle.at);
    const before = { cpu: cpu(world.pid), at: Date.now() };
    for (let nth = 0; nth < PAGES; nth += 1) await load(home);
    const took = Date.now() - before.at;
    const per_page = (cpu(world.pid) - before.cpu - rate * took) / PAGES;
    const paint = await paints(home);
    return { routes: routes.length, bytes, cpu_ms_per_page: round(per_page), wall_ms_per_page: round(took / PAGES), paint, streams: await streams(world) };
  });
}

/** A page by one connection that stays, as it is before anybody packs it. */
const connection = new Agent({ keepAlive: true, maxSockets: 1 });
function load(url) {
  return new Promise((done, failed) => {
    const asked = get(url, { agent: connection, headers: { "accept-encoding": "identity" } }, (answer) => {
      let bytes = 0;
      answer.on("data", (part) => (bytes += part.length));
      answer.on("end", () => (answer.statusCode === 200 ? done(bytes) : failed(new Error(`${url}: ${answer.statusCode}`))));
    });
    asked.on("error", failed);
  });
}

/** Milliseconds until something is seen, each time in a context that has loaded nothing before. */
function paints(url) {
  return withBrowser(async (browser) => {
    const times = { first: [], first_content: [], loaded: [] };
    for (let nth = 0; nth < 7; nth += 1) {
      const context = await browser.newContext({ viewport: DESK });
      const page = await context.newPage();
      await page.goto(url, { waitUntil: "load" });
      await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
      const seen = await page.evaluate(() => {
        const at = (name) => performance.getEntriesByName(name)[0].startTime;
        const loaded = performance.getEntriesByType("navigation")[0].loadEventEnd;
        return { first: at("first-paint"), first_content: at("first-contentful-paint"), loaded };
      });
      for (const [name, at] of Object.entries(seen)) times[name].push(at);
      await context.close();
    }
    return Object.fromEntries(Object.entries(times).map(([name, all]) => [name, spread(all)]));
  });
}

/** Memory of the agent without and with pages that are open. */
async function streams(world) {
  const none = rss(world.pid);
  const open = [];
  let refused = 0;
  const one = () =>
    new Promise((done) => {
      const asked = get(`${world.agent}/events`, { agent: false, headers: { accept: "text/event-stream" } }, (answer) => {
        if (answer.statusCode !== 200) refused += 1;
        answer.on("error", () => {});
        answer.resume();
        done();
      });
      asked.on("error", () => {
        refused += 1;
        done();
      });
      open.push(asked);
    });
  for (let nth = 0; nth < STREAMS; nth += 1) await one();
  // All of them are told something.
  await world.order("/api/v1/resume", { all: true });
  await sleep(20_000);
  const busy = rss(world.pid);
  for (const asked of open) asked.destroy();
  return { none_mb: round(none), open_mb: round(busy), open: STREAMS - refused, refused };
}

/** Processor time of a process, in milliseconds. */
function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(")").pop().trim().split(/\s+/);
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** What a process holds, in megabytes. */
function rss(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return (Number(status.match(/^VmRSS:\s+(\d+) kB$/m)[1]) * 1024) / 1e6;
}

function spread(all) {
  const known = all.filter((ms) => ms !== null).sort((a, b) => a - b);
  if (known.length === 0) return { times: 0, never: all.length };
  return { times: known.length, never: all.length - known.length, median: round(known[Math.floor(known.length / 2)]), worst: round(known.at(-1)) };
}

function round(number) {
  return Math.round(number * 10) / 10;
}

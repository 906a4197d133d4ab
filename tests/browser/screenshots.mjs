// Pictures of the pages as they are: everything lands, 2015 in progress, over, 500 routes, phone, dark.
// Argument: { binary, folder }; prints the pictures that it wrote.

import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { DESK, PHONE, script, withBrowser } from "./chromium.mjs";
import { fiveHundred, sleep, withWorld } from "./world.mjs";

/** As in 2015: a release, and then nothing is written by worker v5. */
const DEPLOY = { service: "worker", version: "v6.20150824" };
const FAULT = { kind: "drop-output", where: { worker: "v5" } };
/** A strip of runs, not one. */
const HISTORY_MS = 60_000;

script(540, ({ binary, folder }) =>
  withBrowser(async (browser) => {
    mkdirSync(folder, { recursive: true });
    const pictures = [];
    /** `whole`: all of the page, not what is seen first. */
    const shoot = async (name, url, { viewport = DESK, colorScheme = "light", whole = true } = {}) => {
      // Twice as sharp, but for pictures that are long anyway.
      const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: viewport === PHONE ? 2 : 1 });
      const page = await context.newPage();
      await page.goto(url, { waitUntil: "load" });
      await page.waitForTimeout(300);
      const path = join(folder, `${name}.png`);
      await page.screenshot({ path, fullPage: whole });
      pictures.push(path);
      await context.close();
    };
    const phone = { viewport: PHONE };
    const dark = { colorScheme: "dark" };

    await withWorld(binary, (probes) => probes, async (world) => {
      const home = `${world.agent}/`;
      await world.landed();
      await sleep(HISTORY_MS);
      await shoot("overview-green", home);
      await world.order("/api/v1/deploys", DEPLOY);
      await world.inject(FAULT);
      const { id } = await world.incident();
      // Long enough that it is final, and that greens stand beside it.
      await sleep(20_000);
      const run = (await world.list("runs")).find(({ outcome }) => outcome === "lost");
      const incident = `${world.agent}/incidents/${id}`;
      await shoot("in-progress", home);
      await shoot("in-progress-dark", home, dark);
      await shoot("in-progress-phone", home, phone);
      await shoot("incident", incident);
      await shoot("incident-dark", incident, dark);
      await shoot("incident-phone", incident, phone);
      await shoot("run", `${world.agent}/runs/${run.run_id}`);
      await shoot("run-phone", `${world.agent}/runs/${run.run_id}`, phone);
      await world.mend();
      await world.over();
      await shoot("resolved", home);
      await shoot("incident-over", incident);
    });

    await withWorld(binary, fiveHundred("10s"), async (world) => {
      const home = `${world.agent}/`;
      await world.landed();
      await shoot("500-routes", home, { whole: false });
      await world.inject({ kind: "drop-output", where: { worker: "v6", target: "web" } });
      await world.incident();
      await sleep(10_000);
      await shoot("500-routes-in-progress", home, { whole: false });
      await shoot("500-routes-phone", home, { ...phone, whole: false });
    });
    return { pictures };
  }),
);

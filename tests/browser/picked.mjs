// Keeps pages open of which a reader picked a part, while something breaks and is mended; a run that is not judged yet; and
// a report that is being copied. Argument: { agent, platform, pid: of the agent, fault, run, within: seconds }.
// Prints what each page showed when, and what became of what the reader did.

import { DESK, script, withBrowser } from "./chromium.mjs";

script(280, ({ agent, platform, pid, fault, run, within }) =>
  withBrowser(async (browser) => {
    const context = await browser.newContext({ viewport: DESK });
    const open = async (path) => {
      const page = await context.newPage();
      await page.goto(`${agent}${path}`, { waitUntil: "load" });
      await page.evaluate(() => { window.kept = true; });
      return page;
    };
    const until = async (page, shows) => {
      await page.waitForFunction(shows, null, { timeout: within * 1000, polling: 200 }).catch(() => null);
      return page.evaluate(shows).then(Boolean);
    };
    const ask = async (method, path, body) => {
      const headers = { "content-type": "application/json" };
      const answer = await fetch(`${platform}${path}`, { method, headers, body: body && JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
      return answer.json().catch(() => null);
    };
    const wall = await open("/?only=wrong");
    const groups = await open("/?by=worker");
    const young = await open(run);
    const seen = { quiet: await until(wall, () => document.querySelector("#matrix").textContent.includes("Nothing here is wrong")) };

    // A form in use keeps what was chosen; a group that was shut by hand stays shut.
    await wall.selectOption("#pick [name=by]", "engine");
    await groups.click("[id='by-worker=v6'] > summary");
    const { id } = await ask("POST", "/sandbox/faults", fault);
    seen.wall = await until(wall, () => document.querySelectorAll("[data-outcome=lost]").length === 4);
    seen.chosen = await wall.evaluate(() => document.querySelector("#pick [name=by]").value);
    seen.groups = await until(groups, () => document.querySelector("[id='by-worker=v5'] > summary").textContent.includes("4 lost"));
    seen.first = await groups.evaluate(() => document.querySelector("#matrix details").id);
    seen.shut = await groups.evaluate(() => !document.getElementById("by-worker=v6").open);

    // The report of an incident that goes on is opened, and its text selected.
    await until(wall, () => document.querySelector("#incidents a") !== null);
    const incident = await open(await wall.evaluate(() => document.querySelector("#incidents a").getAttribute("href")));
    await incident.evaluate(() => document.getElementById("markdown").closest("details").querySelector("summary").click());
    await incident.evaluate(() => document.getSelection().selectAllChildren(document.getElementById("markdown")));
    const held = await incident.evaluate(() => document.getSelection().toString().length);
    await incident.waitForTimeout(7000);
    seen.copied = held > 100 && (await incident.evaluate(() => document.getSelection().toString().length)) === held;
    seen.still_open = await incident.evaluate(() => document.getElementById("markdown").closest("details").open);
    seen.button = await incident.evaluate(() => document.getElementById("copy")?.textContent ?? null);

    await ask("DELETE", `/sandbox/faults/${id}`);
    seen.mended = await until(wall, () => document.querySelector("#matrix").textContent.includes("Nothing here is wrong"));
    seen.over = await until(incident, () => document.querySelector(".headline").textContent.includes("Over"));

    // A page that hears nothing says so, for how long, and is well again when the agent is heard.
    process.kill(pid, "SIGSTOP");
    const age = () => Number(/for (?:(\d+)m)?(\d+)s/.exec(document.getElementById("link").textContent)?.slice(1).reduce((m, s) => Number(m ?? 0) * 60 + Number(s ?? 0)) ?? 0);
    await groups.waitForTimeout(42_000);
    seen.silent_for = await groups.evaluate(age);
    process.kill(pid, "SIGCONT");
    seen.heard_again = await until(groups, () => document.getElementById("link").hidden && !document.body.classList.contains("old"));
    // A run that is judged for good hears nothing more, and is not old for that.
    seen.judged = await young.evaluate(() => !document.body.classList.contains("old") && document.getElementById("link").hidden);
    const pages = [wall, groups, young, incident];
    seen.kept = (await Promise.all(pages.map((page) => page.evaluate(() => window.kept === true)))).every(Boolean);
    return seen;
  }),
);

// Debian's Chromium, driven by playwright-core: how it is started, and what every page is watched for.

import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = process.env.LANDFALL_TEST_BROWSER;
if (!folder) throw new Error("LANDFALL_TEST_BROWSER names the folder that tests/browser/install prints");
const require = createRequire(join(folder, "node_modules/"));
const { chromium } = require("playwright-core");

/** The text of axe-core, to be run in a page. */
export const axe = require("axe-core").source;

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
];

/** Wide enough for a desk. */
export const DESK = { width: 1280, height: 900 };
/** A phone held upright. */
export const PHONE = { width: 390, height: 844 };

/** Does something with a browser that nobody used before, and ends it, whatever becomes of that. */
export async function withBrowser(work) {
  const profile = mkdtempSync(join(tmpdir(), "landfall-chromium-"));
  let browser;
  try {
    // A folder of its own for whatever it writes; contexts are empty each.
    const env = { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile };
    browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true, args: FLAGS, env });
    return await work(browser);
  } finally {
    await browser?.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A script that reads one JSON argument, prints one JSON answer, and is over within a time. */
export async function script(seconds, work) {
  const late = setTimeout(() => {
    console.error(`not done within ${seconds} s`);
    process.exit(124);
  }, seconds * 1000);
  try {
    const answer = await work(JSON.parse(process.argv[2] ?? "{}"));
    await new Promise((written) => process.stdout.write(`${JSON.stringify(answer)}\n`, written));
    process.exitCode = 0;
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    clearTimeout(late);
  }
}

/** A page, and a list of what it does that it must not. */
export async function watched(context, origin) {
  const page = await context.newPage();
  const wrong = { left: [], console: [], policy: [], dialogs: [] };
  const inside = (url) => url.startsWith(`${origin}/`) || url.startsWith("data:") || url.startsWith("blob:");
  // What the policy forbids never becomes a request: both are looked at.
  page.on("request", (request) => inside(request.url()) || wrong.left.push(request.url()));
  page.on("websocket", (socket) => wrong.left.push(socket.url()));
  page.on("console", (said) => {
    if (said.type() !== "error" && said.type() !== "warning") return;
    const list = said.text().includes("Content Security Policy") ? wrong.policy : wrong.console;
    list.push(`${said.type()}: ${said.text()} (${said.location().url})`);
  });
  page.on("pageerror", (error) => wrong.console.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    wrong.dialogs.push(dialog.message());
    dialog.dismiss().catch(() => {});
  });
  return { page, wrong };
}

// Looks at pages as those see them who read them by eye, by keyboard, by screen reader, on a phone, without JavaScript.
// Argument: { origin, paths: ["/", …], words: ["…"], refreshes: true }.
// Prints { pages: { path: { … } } }. `words`: text that is looked for on each; `refreshes`: it is waited for that pages
// without JavaScript ask for themselves again.

import { axe, DESK, PHONE, script, watched, withBrowser } from "./chromium.mjs";

/** What a person can do something with, as far as it can be seen. */
const INTERACTIVE = "a[href], area[href], button, input, select, textarea, summary, [contenteditable], [tabindex]";
/** Between two looks whether a page without JavaScript has asked for itself again. */
const BEAT_MS = 250;
/** It says every how many seconds; nobody wants to wait longer. */
const REFRESH_WITHIN_MS = 20_000;
/** What is shown may change between two looks, so that they differ once; not again and again. */
const LOOKS = 6;

script(240, ({ origin, paths, words = [], refreshes = false }) =>
  withBrowser(async (browser) => {
    const plain = refreshes ? await withoutScript(browser, origin, paths) : {};
    const pages = {};
    for (const path of paths) {
      pages[path] = { ...(await itself(browser, origin, path, words)), ...(await used(browser, origin, path)) };
    }
    for (const path of paths) {
      pages[path].plain = (await plain[path]?.()) ?? null;
      pages[path].same = await same(browser, origin, path);
    }
    return { pages };
  }),
);

/** What the page does by itself, with everything that it loads. */
async function itself(browser, origin, path, words) {
  const context = await browser.newContext({ viewport: DESK });
  const { page, wrong } = await watched(context, origin);
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
      window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  const answer = await page.goto(origin + path, { waitUntil: "load" });
  // What a script does a moment later.
  await page.waitForTimeout(300);
  const found = await page.evaluate((words) => {
    // Whoever reads does not see controls and marks of direction; what is cut off begins as it is.
    const shown = (text) => text.replace(/[\p{Cc}\p{Cf}\s\ufffd]/gu, "");
    const text = shown(document.body.textContent);
    const handlers = [...document.querySelectorAll("*")].flatMap((element) =>
      [...element.attributes].filter(({ name }) => name.startsWith("on")).map(({ name }) => `${element.tagName} ${name}`),
    );
    const links = [...document.querySelectorAll("[href], [src], [action], [formaction]")].flatMap((element) =>
      ["href", "src", "action", "formaction"].map((name) => element.getAttribute(name)).filter((url) => url !== null),
    );
    return {
      summary: document.querySelector("#summary")?.textContent.trim() ?? null,
      summary_role: document.querySelector("#summary")?.getAttribute("role") ?? null,
      main: document.querySelector("main#live") !== null,
      incidents: incidents(),
      routes: Object.fromEntries(
        [...document.querySelectorAll("a[data-route]")].map((cell) => [cell.dataset.route, cell.dataset.outcome]),
      ),
      scripts: [...document.scripts].map((script) => script.getAttribute("src") ?? `inline: ${script.textContent}`),
      styles: [...document.querySelectorAll("style, [style]")].map((element) => element.outerHTML.slice(0, 80)),
      embedded: [...document.querySelectorAll("iframe, object, embed, base, form[action^='http']")].map((e) => e.outerHTML.slice(0, 80)),
      handlers,
      links,
      missing: words.filter((word) => !text.includes(shown(word).slice(0, 60))),
      violations: window.violations,
    };

    function incidents() {
      const links = document.querySelectorAll('section#incidents a[href^="/incidents/"]');
      return [...new Set([...links].map((link) => link.getAttribute("href")))];
    }
  }, words);
  wrong.policy.push(...found.violations);
  delete found.violations;
  const bytes = (await answer.body()).length;
  await context.close();
  return { status: answer.status(), bytes, ...wrong, ...found };
}

/** How the page can be used. It stands still meanwhile: no news reaches it. */
async function used(browser, origin, path) {
  const context = await browser.newContext({ viewport: DESK, colorScheme: "light" });
  const page = await context.newPage();
  // What a script asks for is neither answered nor refused: one that is refused may do something else instead.
  const is_news = (request) => ["eventsource", "fetch", "xhr"].includes(request.resourceType());
  await page.route("**/*", (route) => (is_news(route.request()) ? undefined : route.continue()));
  let times = 0;
  page.on("request", (request) => request.isNavigationRequest() && (times += 1));
  try {
    await page.goto(origin + path, { waitUntil: "load" });
    await page.evaluate(axe);
    const judged = { light: await judge(page) };
    await page.emulateMedia({ colorScheme: "dark" });
    judged.dark = await judge(page);
    const keyboard = await walk(page);
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize(PHONE);
    judged.phone = await judge(page);
    return { axe: judged, keyboard, phone: await width(page) };
  } catch (error) {
    if (times < 2) throw error;
    // Whoever was in the midst of it begins again.
    return { loaded_itself_again: true };
  } finally {
    await context.close();
  }
}

/** How wide it is, and what makes it wider than the screen. */
function width(page) {
  return page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    // What may be wider than the page scrolls by itself.
    const scrolls = (element) =>
      element !== null &&
      element !== document.documentElement &&
      (/auto|scroll|hidden|clip/.test(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
    const over = [...document.body.querySelectorAll("*")].filter(
      (element) => element.getBoundingClientRect().right > clientWidth + 1 && !scrolls(element),
    );
    const name = (element) =>
      `${element.tagName.toLowerCase()}${element.id && `#${element.id}`}: ${element.textContent.trim().slice(0, 40)}`;
    return { scrollWidth, clientWidth, over: over.slice(0, 3).map(name) };
  });
}

/** What axe-core finds that keeps people out. */
async function judge(page) {
  const violations = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, impact, help, nodes }) => ({
      id,
      impact,
      help,
      times: nodes.length,
      first: `${nodes[0].html.slice(0, 160)} ${nodes[0].any.map((check) => check.message).join("; ")}`,
    }));
  });
  return violations.filter(({ impact }) => impact === "serious" || impact === "critical");
}

/** Presses Tab until it comes round: what is reached, and what of all there is is not. */
async function walk(page) {
  const all = await page.evaluate((interactive) => {
    document.querySelectorAll("details").forEach((details) => (details.open = true));
    const seen = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.disabled && element.type !== "hidden";
    // Of a group of radio buttons Tab reaches one; arrows do the rest.
    const groups = new Set();
    const first = (element) => {
      if (element.type !== "radio") return true;
      const is_first = !groups.has(element.name);
      groups.add(element.name);
      return is_first;
    };
    window.stops = [...document.querySelectorAll(interactive)].filter((element) => {
      const native = element.matches("a[href], area[href], button, input, select, textarea, summary, [contenteditable]");
      return seen(element) && (native || element.tabIndex >= 0) && first(element);
    });
    document.activeElement?.blur();
    const text = (element) => (element.getAttribute("aria-label") ?? element.textContent).trim().slice(0, 40);
    const name = (element) => `${element.tagName.toLowerCase()} ${element.getAttribute("href") ?? element.id}: ${text(element)}`;
    return window.stops.map(name);
  }, INTERACTIVE);
  const order = [];
  const unseen = [];
  for (let step = 0; step < all.length + 2; step += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
      const visible = (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
      return { nth: window.stops.indexOf(element), visible, html: element.outerHTML.slice(0, 100) };
    });
    if (at === null) break;
    order.push(at.nth);
    if (!at.visible) unseen.push(at.html);
  }
  const reached = new Set(order);
  return {
    all: all.length,
    unreached: all.filter((_, nth) => !reached.has(nth)),
    unknown: order.filter((nth) => nth < 0).length,
    in_order: order.every((nth, step) => step === 0 || nth > order[step - 1]),
    unseen,
  };
}

/** Opens pages without JavaScript; each says later whether it asked for itself again. */
async function withoutScript(browser, origin, paths) {
  const opened = {};
  for (const path of paths) {
    const context = await browser.newContext({ viewport: DESK, javaScriptEnabled: false });
    const page = await context.newPage();
    let times = 0;
    page.on("request", (request) => request.isNavigationRequest() && request.url() === origin + path && (times += 1));
    await page.goto(origin + path, { waitUntil: "load" });
    const refresh = await page.locator('meta[http-equiv="refresh"]').count();
    opened[path] = async () => {
      for (let waited = 0; refresh > 0 && times < 2 && waited < REFRESH_WITHIN_MS; waited += BEAT_MS) {
        await new Promise((later) => setTimeout(later, BEAT_MS));
      }
      await context.close();
      return { refresh, refreshed: times > 1 };
    };
  }
  return opened;
}

/** What is said with and without JavaScript, side by side, until it is the same. */
async function same(browser, origin, path) {
  let both = [];
  for (let look = 0; look < LOOKS; look += 1) {
    both = await Promise.all([true, false].map((javaScriptEnabled) => said(browser, origin + path, javaScriptEnabled)));
    if (JSON.stringify(both[0]) === JSON.stringify(both[1])) break;
  }
  const [with_script, without] = both;
  return { with_script, without };
}

async function said(browser, url, javaScriptEnabled) {
  const context = await browser.newContext({ viewport: DESK, javaScriptEnabled });
  const page = await context.newPage();
  await page.goto(url, { waitUntil: "load" });
  const summary = await page.locator("#summary").allTextContents();
  const links = await page.locator('section#incidents a[href^="/incidents/"]').all();
  const incidents = [...new Set(await Promise.all(links.map((link) => link.getAttribute("href"))))];
  await context.close();
  return { summary: summary[0]?.trim() ?? null, incidents };
}

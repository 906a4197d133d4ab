// A page that is open while something changes: when it shows that, beside when the agent says it.

/** Between two questions to the API: what it says first is what is waited for. */
const BEAT_MS = 50;

/** Opens the page, gives the order, and waits until the page shows what came of it. */
export async function follow(page, agent, order, until, within) {
  await page.goto(`${agent}/`, { waitUntil: "load" });
  const held = await page.evaluate(watch);
  const since = Date.now();
  await fetch(order.url, {
    method: order.method,
    headers: { "content-type": "application/json" },
    body: order.body && JSON.stringify(order.body),
  }).then((answer) => answer.ok || Promise.reject(new Error(`${order.url}: ${answer.status}`)));
  const said = { since, cells: {}, incidents: {} };
  const end = Date.now() + within * 1000;
  let shows = false;
  while (!shows && Date.now() < end) {
    await hear(agent, until, said);
    const now = await page.evaluate(() => window.noted && { ...window.noted, open: window.open_incidents() }).catch(() => null);
    const opened = now !== null && now !== undefined && Object.keys(now.incidents).length > 0;
    shows = until === "open" ? opened : now?.open.length === 0 && Object.keys(said.incidents).length > 0;
    if (!shows) await new Promise((later) => setTimeout(later, BEAT_MS));
  }
  await hear(agent, until, said);
  // Verdicts of the same moment are shown a moment later.
  await page.waitForTimeout(500);
  const end_state = await page.evaluate(() => ({
    kept: window.kept === true,
    noted: window.noted ?? { cells: {}, incidents: {}, gone: {} },
    focus: document.activeElement?.dataset?.route ?? null,
    details: document.querySelector("details")?.open ?? null,
    summary: document.querySelector("#summary")?.textContent.trim() ?? null,
  }));
  const seen = until === "open" ? end_state.noted.incidents : end_state.noted.gone;
  return {
    shows,
    reloaded: !end_state.kept,
    summary: end_state.summary,
    // What a person was at stays: the focus, what was unfolded.
    focus_kept: held.focus === null ? null : end_state.focus === held.focus,
    details_kept: end_state.details,
    cells: delays(said.cells, end_state.noted.cells),
    incidents: delays(said.incidents, seen),
  };
}

/** Milliseconds from each word to when it was seen; none for what was not. */
function delays(said, seen) {
  return Object.entries(said).map(([what, at]) => ({ what, ms: what in seen ? seen[what] - at : null }));
}

/** What the agent says for the first time. */
async function hear(agent, until, said) {
  const ask = async (path) => (await fetch(agent + path, { signal: AbortSignal.timeout(5_000) })).json();
  const { routes } = await ask("/api/v1/routes");
  for (const route of routes) {
    const name = ["canary", "platform", "target", "mode"].map((part) => route[part]).join("/");
    const is_news = until === "open" && route.up === false;
    if (is_news && !(name in said.cells)) said.cells[name] = Date.parse(route.last_verdict_at);
  }
  const { incidents } = await ask("/api/v1/incidents");
  for (const incident of incidents) {
    const at = until === "open" ? incident.detected_at : incident.resolved_at;
    const name = `/incidents/${incident.id}`;
    // One that is open again was told long ago: the API does not say when it was told anew.
    if (at && Date.parse(at) >= said.since && !(name in said.incidents)) said.incidents[name] = Date.parse(at);
  }
}

/** In the page: a mark that no reload survives, and the times at which things are first shown. */
function watch() {
  window.kept = true;
  window.noted = { cells: {}, incidents: {}, gone: {} };
  const links = () => [...document.querySelectorAll('section#incidents a[href^="/incidents/"]')].map((link) => link.getAttribute("href"));
  window.open_incidents = links;
  const cells = () => [...document.querySelectorAll("a[data-route]")];
  let open = links();
  const were = Object.fromEntries(cells().map((cell) => [cell.dataset.route, cell.dataset.outcome]));
  const before = new Set(open);
  const look = () => {
    const now = Date.now();
    for (const { dataset } of cells()) {
      const news = dataset.outcome !== were[dataset.route] && dataset.outcome !== "landed";
      if (news && !(dataset.route in window.noted.cells)) window.noted.cells[dataset.route] = now;
    }
    const there = links();
    for (const link of there) if (!before.has(link)) window.noted.incidents[link] ??= now;
    for (const link of open) if (!there.includes(link)) window.noted.gone[link] ??= now;
    open = there;
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  const details = document.querySelector("details");
  if (details) details.open = true;
  const cell = document.querySelector("a[data-route]");
  cell?.focus();
  return { focus: cell?.dataset.route ?? null };
}

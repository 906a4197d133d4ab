// Keeps the status page open while something breaks or is mended, and notes when it shows that, without a reload.
// Argument: { agent, order: { method, url, body }, until: "open" | "over", within: seconds }.
// Prints how many milliseconds after the agent's own word (API) the page had it.

import { DESK, script, watched, withBrowser } from "./chromium.mjs";
import { follow } from "./follow.mjs";

script(170, ({ agent, order, until, within }) =>
  withBrowser(async (browser) => {
    const context = await browser.newContext({ viewport: DESK });
    const { page, wrong } = await watched(context, agent);
    return { ...(await follow(page, agent, order, until, within)), ...wrong };
  }),
);

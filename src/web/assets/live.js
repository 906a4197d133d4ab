// Keeps a page up to date without loading it again: parts that change are sent (`/events`), ages count on. Without this
// script the page is whole and refreshes by itself.
"use strict";
(() => {
  const body = document.body;
  const how = body.dataset.live;
  // The agent's clock, not the reader's.
  let skew = Date.parse(body.dataset.now) - Date.now();
  let version = body.dataset.version;
  let heard = Date.now();
  let stream = null;
  let fetching = false;

  const brief = (ms) => {
    const secs = Math.max(0, Math.floor(ms / 1000));
    const parts = [[Math.floor(secs / 86400), "d"], [Math.floor(secs / 3600) % 24, "h"], [Math.floor(secs / 60) % 60, "m"], [secs % 60, "s"]];
    const first = parts.findIndex(([n]) => n > 0);
    if (first < 0) return "0s";
    return parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => n + unit).join("");
  };

  const tick = () => {
    const now = Date.now() + skew;
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const text = brief(now - Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
    const quiet = Date.now() - heard;
    if (how !== "not" && quiet > 25000) {
      lost(quiet);
      if (stream) open();
    }
  };

  const lost = (quiet) => {
    const link = document.getElementById("link");
    link.hidden = false;
    link.textContent = " · no word from the agent for " + brief(quiet) + ": this page is old";
    body.classList.add("old");
  };

  const listen = (now) => {
    heard = Date.now();
    if (now) {
      skew = Date.parse(now) - heard;
      const time = document.querySelector("#clock time");
      time.dateTime = now;
      time.textContent = now.slice(0, 10) + " " + now.slice(11, 19) + " UTC";
    }
    document.getElementById("link").hidden = true;
    body.classList.remove("old");
  };

  // Puts new markup in the place of an element; what was open, and where the reader was, stays so.
  const put = (old, markup) => {
    const template = document.createElement("template");
    template.innerHTML = markup;
    const fresh = template.content.firstElementChild;
    if (!fresh) return;
    const isOpen = new Map([...old.querySelectorAll("details[id]")].map((part) => [part.id, part.open]));
    for (const part of fresh.querySelectorAll("details[id]")) {
      if (isOpen.has(part.id)) part.open = isOpen.get(part.id);
    }
    const focus = old.contains(document.activeElement) ? document.activeElement : null;
    const key = focus && (focus.id ? "#" + CSS.escape(focus.id) : focus.dataset.route ? null : focus.getAttribute("href"));
    // What is read aloud when it changes must stay the same element.
    const said = fresh.querySelector("#summary");
    const before = document.getElementById("summary");
    if (old.id === "state" && said && before) {
      if (before.className !== said.className) before.className = said.className;
      if (before.innerHTML !== said.innerHTML) before.replaceChildren(...said.childNodes);
      return;
    }
    old.replaceWith(fresh);
    if (!focus) return;
    const again = key === null ? fresh : key.startsWith("#") ? fresh.querySelector(key) : [...fresh.querySelectorAll("a")].find((a) => a.getAttribute("href") === key);
    if (again) again.focus({ preventScroll: true });
  };

  const rank = (route) => {
    switch (route.dataset.outcome) {
      case "landed": return 4;
      case "none": return 3;
      case "unknown": return 2;
      case "late": case "unclaimed": return 1;
      default: return 0;
    }
  };

  // The worst stays first in its place.
  const sort = (cell) => {
    const routes = [...cell.children];
    const sorted = routes.map((route, at) => [rank(route), at, route]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((entry) => entry[2]);
    if (sorted.every((route, at) => route === routes[at])) return;
    const focus = document.activeElement;
    cell.append(...sorted);
    if (focus !== document.activeElement && cell.contains(focus)) focus.focus({ preventScroll: true });
  };

  const parts = (data) => {
    for (const [id, markup] of Object.entries(data.parts)) {
      const old = document.getElementById(id);
      if (old) put(old, markup);
    }
    const names = Object.keys(data.routes);
    if (names.length === 0) return;
    const places = new Map([...document.querySelectorAll("[data-route]")].map((route) => [route.dataset.route, route]));
    const cells = new Set();
    for (const name of names) {
      const old = places.get(name);
      if (!old) continue;
      cells.add(old.parentElement);
      put(old, data.routes[name]);
    }
    cells.forEach(sort);
  };

  // Fetches the page again and takes what it shows.
  const again = async () => {
    if (fetching) return;
    fetching = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("live");
      if (!fresh) return;
      version = page.body.dataset.version;
      listen(page.body.dataset.now);
      const main = document.getElementById("live");
      if (main.innerHTML !== fresh.innerHTML) put(main, fresh.outerHTML);
      if (page.body.dataset.live === "not" && stream) {
        stream.close();
        stream = null;
        body.dataset.live = "not";
      }
    } catch {
      // The agent is away; the next try is not far.
    } finally {
      fetching = false;
      tick();
    }
  };

  let due = 0;
  // A page that is fetched whole is so once in two seconds at most.
  const soon = () => {
    if (due) return;
    due = setTimeout(() => { due = 0; again(); }, 2000);
  };

  const open = () => {
    if (stream) stream.close();
    heard = Date.now();
    stream = new EventSource("/events?since=" + encodeURIComponent(version));
    stream.addEventListener("open", () => listen(null));
    stream.addEventListener("beat", (event) => listen(event.data));
    stream.addEventListener("again", () => again());
    stream.addEventListener("parts", (event) => {
      const data = JSON.parse(event.data);
      if (event.lastEventId) version = event.lastEventId;
      listen(data.now);
      if (how === "parts") parts(data);
      else soon();
      tick();
    });
    stream.addEventListener("error", () => {
      // Refused for good, as when too many look: the page is fetched instead, and the stream tried again.
      if (stream && stream.readyState === EventSource.CLOSED) {
        again();
        setTimeout(open, 10000);
      }
    });
  };

  const copy = document.getElementById("copy");
  if (copy) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      const text = document.getElementById("markdown");
      await navigator.clipboard.writeText(text.value ?? text.textContent);
      copy.textContent = "Copied";
    });
  }

  if (how === "parts" || how === "whole") open();
  if (how === "polled") setInterval(again, 10000);
  setInterval(tick, 1000);
  tick();
})();

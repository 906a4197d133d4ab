// Keeps a page up to date without loading it again: parts that change are sent (`/events`), ages count on. Without this
// script the page is whole and refreshes by itself.
"use strict";
(() => {
  const body = document.body;
  // "parts": what changes is sent. "whole": fetched again when something changed. "polled": now and then. "not": never.
  let how = null;
  // The agent's clock, not the reader's.
  let skew = Date.parse(body.dataset.now) - Date.now();
  let version = body.dataset.version;
  // When the agent was heard last, and when it was last tried.
  let heard = Date.now();
  let tried = Date.now();
  let stream = null;
  let poll = null;
  // What the reader opened or shut.
  const chosen = new Map();

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
    if (how === "not" || quiet <= 25000) return;
    const link = document.getElementById("link");
    link.hidden = false;
    link.textContent = " · no word from the agent for " + brief(quiet) + ": this page is old";
    body.classList.add("old");
    if (Date.now() - tried > 10000) {
      if (stream) open();
      else again();
    }
  };

  const isHeard = (now) => {
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

  // What an element is called, so that it is found again in new markup.
  const nameOf = (element) => {
    if (element.id) return "#" + CSS.escape(element.id);
    if (element.dataset.route) return "[data-route=\"" + CSS.escape(element.dataset.route) + "\"]";
    for (const name of ["href", "aria-label", "name"]) {
      if (element.hasAttribute(name)) return element.tagName.toLowerCase() + "[" + name + "=\"" + CSS.escape(element.getAttribute(name)) + "\"]";
    }
    return null;
  };

  // Details are called by their id, or by their place in their section.
  const detailsOf = (part) => [...part.querySelectorAll("details")].map((details, nth) => [details.id || (part.getAttribute("aria-labelledby") || part.id) + nth, details]);

  const timeless = (element) => element.outerHTML.replace(/( data-ago="[^"]*">)[^<]*/g, "$1").replace(/ open=""/g, "");

  const isRead = (element) => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && selection.containsNode(element, true);
  };

  // Puts a new element in the place of an old one; what was opened, and where the reader was, stays so. What somebody
  // is selecting text in is left for later.
  const put = (old, fresh) => {
    if (!fresh || isRead(old)) return;
    for (const [name, details] of detailsOf(fresh)) {
      if (chosen.has(name)) details.open = chosen.get(name);
    }
    const focus = old.contains(document.activeElement) ? document.activeElement : null;
    let find = () => null;
    if (focus === old) {
      find = () => fresh;
    } else if (focus && focus.tagName === "SUMMARY") {
      const nth = detailsOf(old).findIndex(([, details]) => details === focus.parentElement);
      find = () => detailsOf(fresh)[nth]?.[1].querySelector("summary");
    } else if (focus) {
      const name = nameOf(focus);
      find = () => name && fresh.querySelector(name);
    }
    old.replaceWith(fresh);
    find()?.focus({ preventScroll: true });
    dress();
  };

  const parsed = (markup) => {
    const template = document.createElement("template");
    template.innerHTML = markup;
    return template.content.firstElementChild;
  };

  // What is read aloud when it changes must stay the same element.
  const putState = (old, fresh) => {
    const [before, said] = [old.querySelector("#summary"), fresh.querySelector("#summary")];
    if (!before || !said) return put(old, fresh);
    if (before.className !== said.className) before.className = said.className;
    if (before.innerHTML !== said.innerHTML) before.replaceChildren(...said.childNodes);
  };

  const isUntouched = (form) =>
    !form.contains(document.activeElement) &&
    [...form.querySelectorAll("select")].every((select) => [...select.options].every((option) => option.selected === (option.defaultSelected || (option.index === 0 && ![...select.options].some((other) => other.defaultSelected))))) &&
    [...form.querySelectorAll("input[type=checkbox]")].every((box) => box.checked === box.defaultChecked);

  // Takes over what a page fetched anew shows, part by part.
  const take = (page) => {
    const [main, fresh] = [document.getElementById("live"), page.getElementById("live")];
    if (!fresh) return;
    const [olds, news] = [[...main.children], [...fresh.children]];
    if (olds.length !== news.length || olds.some((old, at) => old.id !== news[at].id || old.tagName !== news[at].tagName)) {
      put(main, fresh);
      return;
    }
    olds.forEach((old, at) => {
      if (timeless(old) === timeless(news[at])) return;
      if (old.id === "state") return putState(old, news[at]);
      const form = old.querySelector("#pick");
      if (!form) return put(old, news[at]);
      // Whoever is choosing keeps what was chosen.
      if (isUntouched(form)) put(form, news[at].querySelector("#pick"));
      put(old.querySelector("#matrix"), news[at].querySelector("#matrix"));
    });
  };

  let fetching = false;
  const again = async () => {
    if (fetching) return;
    fetching = true;
    tried = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!page.getElementById("live")) return;
      version = page.body.dataset.version;
      isHeard(page.body.dataset.now);
      take(page);
      goes(page.body.dataset.live);
    } catch {
      // The agent is away; the next try is not far.
    } finally {
      fetching = false;
      tick();
    }
  };

  let due = 0;
  // A page is fetched once in two seconds at most.
  const soon = () => {
    if (due) return;
    due = setTimeout(() => { due = 0; again(); }, 2000);
  };

  const parts = (data) => {
    for (const [id, markup] of Object.entries(data.parts)) {
      const [old, fresh] = [document.getElementById(id), parsed(markup)];
      if (!old || !fresh || timeless(old) === timeless(fresh)) continue;
      if (id === "state") putState(old, fresh);
      else put(old, fresh);
    }
    const names = Object.keys(data.routes);
    if (names.length === 0) return;
    const places = new Map([...document.querySelectorAll("[data-route]")].map((route) => [route.dataset.route, route]));
    const isPicked = new URLSearchParams(location.search).has("only");
    let isOther = false;
    for (const name of names) {
      const [old, fresh] = [places.get(name), parsed(data.routes[name])];
      if (!old) {
        // It may be one that is to be shown now.
        isOther ||= isPicked;
        continue;
      }
      isOther ||= old.dataset.outcome !== fresh.dataset.outcome;
      put(old, fresh);
    }
    // Order, counts of groups, and what is picked are the agent's to say.
    if (isOther) soon();
  };

  const open = () => {
    if (stream) stream.close();
    tried = Date.now();
    stream = new EventSource("/events?since=" + encodeURIComponent(version));
    stream.addEventListener("open", () => isHeard(null));
    stream.addEventListener("beat", (event) => isHeard(event.data));
    stream.addEventListener("again", () => { isHeard(null); again(); });
    stream.addEventListener("parts", (event) => {
      const data = JSON.parse(event.data);
      if (event.lastEventId) version = event.lastEventId;
      isHeard(data.now);
      if (how === "parts") parts(data);
      else soon();
      tick();
    });
    stream.addEventListener("error", () => {
      // Refused for good, as when too many look: the page is fetched instead, and the stream tried again.
      if (stream && stream.readyState === EventSource.CLOSED) {
        again();
        setTimeout(() => { if (stream && stream.readyState === EventSource.CLOSED) open(); }, 10000);
      }
    });
  };

  // From now on the page is kept up to date this way.
  const goes = (now) => {
    if (now === how) return;
    how = now;
    if (stream) stream.close();
    stream = null;
    clearInterval(poll);
    if (how === "parts" || how === "whole") open();
    if (how === "polled") poll = setInterval(again, 10000);
    if (how === "not") isHeard(null);
  };

  // A button beside what is there to be copied. Where a page may not write to the clipboard, it selects the text.
  const dress = () => {
    const text = document.getElementById("markdown");
    if (!text || document.getElementById("copy")) return;
    const button = document.createElement("button");
    button.id = "copy";
    button.type = "button";
    button.textContent = navigator.clipboard ? "Copy" : "Select";
    button.addEventListener("click", async () => {
      if (navigator.clipboard) {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } else {
        document.getSelection().selectAllChildren(text);
      }
    });
    text.before(button);
  };

  document.addEventListener("click", (event) => {
    const details = event.target.closest?.("summary")?.parentElement;
    const part = details?.closest("main > *");
    if (!part) return;
    const [name] = detailsOf(part).find(([, other]) => other === details) ?? [];
    // It is told before it is done.
    if (name) chosen.set(name, !details.open);
  });

  dress();
  goes(body.dataset.live);
  setInterval(tick, 1000);
  tick();
})();

// A sandbox and an agent that watches it, as anybody would start them, in a folder and on ports of their own.

import { spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const STARTS_WITHIN_MS = 60_000;
const BEAT_MS = 250;

export const sleep = (ms) => new Promise((later) => setTimeout(later, ms));

/** Asks until there is an answer. */
export async function until(what, within_ms, ask) {
  const end = Date.now() + within_ms;
  for (;;) {
    const answer = await Promise.resolve(ask()).catch(() => null);
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${within_ms / 1000} s in vain until ${what}`);
    await sleep(BEAT_MS);
  }
}

/** A world that ends when the work on it has. `adapt` changes the probes that the sandbox wrote. */
export async function withWorld(binary, adapt, work) {
  const folder = mkdtempSync(join(tmpdir(), "landfall-pages-"));
  const started = [];
  const start = (name, ...args) => {
    const log = openSync(join(folder, `${name}.log`), "a");
    const child = spawn(binary, args, { stdio: ["ignore", log, log] });
    started.push(child);
    return child;
  };
  try {
    const [listen, agent] = await Promise.all([free(), free()]);
    start("sandbox", "sandbox", "--listen", listen, "--agent-listen", agent, "--write-config", folder);
    const greeted = () => readFileSync(join(folder, "sandbox.log"), "utf8").includes("Ctrl-C ends it");
    await until("the sandbox greets", STARTS_WITHIN_MS, greeted);
    const probes = join(folder, "probes/sandbox.toml");
    writeFileSync(probes, adapt(readFileSync(probes, "utf8")));
    const daemon = start("daemon", "run", "-c", join(folder, "landfall.toml"));
    const world = new World(`http://${listen}`, `http://${agent}`, daemon.pid, folder);
    await until("the agent is ready", STARTS_WITHIN_MS, async () => (await fetch(`${world.agent}/readyz`)).ok);
    return await work(world);
  } catch (error) {
    for (const name of ["sandbox", "daemon"]) {
      console.error(`--- ${name}\n${tail(join(folder, `${name}.log`))}`);
    }
    throw error;
  } finally {
    for (const child of started) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

class World {
  constructor(platform, agent, pid, folder) {
    Object.assign(this, { platform, agent, pid, folder });
  }

  async list(name) {
    const answer = await fetch(`${this.agent}/api/v1/${name}?limit=1000`);
    return (await answer.json())[name];
  }

  /** The order that breaks something, for whoever gives it. */
  breaking(fault) {
    return { method: "POST", url: `${this.platform}/sandbox/faults`, body: fault };
  }

  async inject(fault) {
    const { method, url, body } = this.breaking(fault);
    const answer = await fetch(url, { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  }

  /** The order that mends the newest fault. */
  async mending() {
    const { faults } = await (await fetch(`${this.platform}/sandbox/faults`)).json();
    return { method: "DELETE", url: `${this.platform}/sandbox/faults/${faults.at(-1).id}` };
  }

  async mend() {
    const { method, url } = await this.mending();
    await fetch(url, { method });
  }

  /** Something that takes the token. */
  async order(path, body) {
    const token = readFileSync(join(this.folder, "secrets/token"), "utf8").trim();
    const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
    const answer = await fetch(this.agent + path, { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  }

  /** Waits until every route has landed. */
  landed(within_ms = 120_000) {
    return until("every route has landed", within_ms, async () => {
      const routes = await this.list("routes");
      return routes.length > 0 && routes.every((route) => route.last_landed_at) && routes;
    });
  }

  /** Waits for an incident that was told. */
  incident(within_ms = 120_000) {
    return until("an incident is open", within_ms, async () => (await this.list("incidents")).find((i) => !i.resolved_at));
  }

  /** Waits until no incident is open. */
  over(within_ms = 180_000) {
    return until("the incident is over", within_ms, async () => {
      const incidents = await this.list("incidents");
      return incidents.length > 0 && incidents.every((incident) => incident.resolved_at) && incidents;
    });
  }
}

/** Probes of 500 routes: ten clusters, two targets, twenty-five canaries. */
export function fiveHundred(every) {
  return (text) => {
    const platform = (name) => text.match(new RegExp(`\\[platform\\.${name}\\.treasure-data\\][^[]*`))[0];
    const regions = ["us", "jp", "eu", "ap"];
    const clusters = Array.from({ length: 10 }, (_, nth) => {
      const [like, engine, worker] = [["presto", "presto", "v5"], ["hadoop1", "hive", "v5"], ["hadoop2", "hive", "v6"]][nth % 3];
      const name = `${engine}-${regions[nth % 4]}-${nth}`;
      const labels = `engine = "${engine}", cluster = "${name}", worker = "${worker}", region = "${regions[nth % 4]}"`;
      const head = `[platform.${name}]\nin_flight = 100\nper_hour = 1000000\nlabels = { ${labels} }\n`;
      return [name, head + platform(like).replace(`platform.${like}.`, `platform.${name}.`)];
    });
    const targets = text.slice(text.indexOf("[target."), text.indexOf("[canary."));
    const names = JSON.stringify(clusters.map(([name]) => name));
    const canaries = Array.from({ length: 25 }, (_, nth) => {
      const what = ["orders", "users", "events", "payments", "sessions"][nth % 5];
      return (
        `[canary.${what}-${nth}]\nplatforms = ${names}\ntargets = ["web", "bucket"]\nmodes = ["append"]\n` +
        `every = "${every}"\nobjective = "30s"\ndeadline = "60s"\nsample = { rows = 5 }\n`
      );
    });
    return [...clusters.map(([, table]) => table), targets, ...canaries].join("\n");
  };
}

function tail(file) {
  try {
    return readFileSync(file, "utf8").split("\n").slice(-20).join("\n");
  } catch {
    return "";
  }
}

/** An address that is free. */
function free() {
  return new Promise((found, failed) => {
    const server = createServer().on("error", failed);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => found(`127.0.0.1:${port}`));
    });
  });
}

//! Landfall proves that query results land. It sends canary queries with Result Output through every
//! cluster type at short intervals, reads the external target *itself*, compares what the platform
//! claims with what the target holds, and pages with what broke, since when, after which deploy.
//!
//! # The flow
//!
//! ```text
//!  config ─► Plan
//!              │
//!  schedule ─► submit ─► follow ─► verify ─► judge ─► VERDICT ─► detect ─► Changes ─► store · metrics · notify · web
//!    due       Platform  Platform   Target    pure     the waist   pure      one task, one order
//! ```
//!
//! Left of the waist many runs fly at once and only *look* ([`agent::run`]). At the waist one pure,
//! total function judges ([`canary::judge`]). Right of it one task takes verdicts in one order
//! ([`agent::desk`]), and another tells people until they were told ([`agent::outbox`]). Nothing right
//! of the waist asks the network what happened. Time is always an argument in pure code, and comes from
//! [`agent::clock`] elsewhere.
//!
//! # The floors
//!
//! Imports go strictly down; neighbours on a floor never import each other. `tests/house.rs` keeps it.
//!
//! | floor | module | what lives there |
//! |---|---|---|
//! | 0 | [`canary`] | the words: routes, samples, evidence, outcomes, the judge, when waiting ends |
//! | 1 | [`detect`] | pure thought: scopes, suspects, cases, incidents, the fold over verdicts; causes in a table; the board |
//! | 1 | [`http`] | how every HTTP client is built; below the seams, since drivers of all kinds need it |
//! | 1 | [`veil`] | takes secrets out of what servers answer, for drivers of all kinds |
//! | 2 | [`config`] | files → [`config::Plan`], every problem with its place |
//! | 2 | [`treasure_data_api`] | Treasure Data's REST API: a platform and a target speak it |
//! | 3 | [`platform`] | trait `Platform` and a file a kind |
//! | 3 | [`target`] | trait `Target` and a file a kind |
//! | 3 | [`store`] | the ledger: SQLite, or memory for replay |
//! | 3 | [`metrics`] | every metric once |
//! | 3 | [`notify`] | trait `Notifier` and a file a kind; the words of a page |
//! | 4 | [`agent`] | clock, scheduler, runs in flight, desk, outbox |
//! | 4 | [`web`] | pages, API, `/metrics`, the webhook intake |
//! | 4 | `sandbox` | the pretend platform, met only through the traits or its HTTP address |
//! | 5 | [`cli`] | commands: the only place that names concrete choices |
//!
//! # Invariants
//!
//! * A run is recorded before it is submitted, and never submitted twice blindly.
//! * Verdict, journal, incidents and notices are one transaction; people are told after it.
//! * A page is opened once per opening and severity, and never again after it was closed: what a
//!   receiver took is on disk before it is told that the same is over.
//! * `judge` is total. No silent outcome without a control that began after the claim; no green
//!   without reading every row.
//! * Detection never learns what the sandbox breaks: it sees verdicts, labels, deploys, controls, time.
//! * Secrets live in [`canary::Secret`], which cannot be printed.
//!
//! # Where this differs from the design it was built from
//!
//! * `http`, `veil` and `treasure_data_api` are modules of their own below the seams; `config` stands
//!   above `http`, below the seams.
//! * A platform that knows targets by names of its own has them in its table's `outputs`; an address also
//!   says what the target itself calls the place. A canary's sample may leave columns out that a pair of
//!   platform and target cannot carry.
//! * `[dogfood]` is a canary whose rows are the agent's own report ([`canary::report`]): what it must hold is noted with
//!   its run before it is sent ([`agent::dogfood`]), and drivers that can hold a diary make it ([`platform::diary`]). It
//!   is sent by the agent's schedule. Where it went wrong is a verdict's phase and reason, not an outcome of its own.
//! * Targets have caps too: `rows_per_hour` for runs that are begun, `reads_per_hour` for looks, which are
//!   then spaced evenly and shared.
//! * A table of Treasure Data is read by jobs of its cluster: looks at it may take a minute, and its runs
//!   be judged that much later than thirty seconds after their deadline. So may runs at a target whose
//!   `reads_per_hour` are few and whose replaced tables are many.
//! * Truncating keeps a table's columns: `mysql` and `postgresql` count a row of the run that changed them
//!   as changed, which makes it `corrupted`. Names and types are compared, with what they were when the run
//!   before was seen, since the driver was opened: a table whose columns somebody else changes between two
//!   runs looks the same, and the run after next is held to the new ones.
//! * A read for many runs that fails for what one of them left (a file that cannot be read, a table that is
//!   somebody else's) is parted until that one is found: the others are seen. Not where access is refused,
//!   looks are capped, or a look is a job.
//! * While a table is displaced the agent looks at it at every poll: how long readers found it half empty
//!   is counted, and judged by nobody.
//! * Landing is never called overdue earlier than the longest known landing after the platform's
//!   last word, even past the objective: a slow job's rows get the time that rows take.
//! * An overdue run that nobody answers for, or whose target nobody can read, gets a provisional
//!   `unknown`, so that a silent platform is noticed before the deadline.
//! * A control convicts only if it began after the time that rows take, and what it convicts of is
//!   looked for once more if it was slow: a target may be slow in every write.
//! * A control that may only read, and finds no row that is young enough, has neither passed nor failed: it
//!   convicts nobody, and the target has been seen all the same.
//! * A run that had been seen whole is not spoiled by a later look that cannot see, nor by rows that
//!   are gone again; only copies and changed values correct it.
//! * Amber and grey runs on the routes of an open incident are side effects of it, whatever its family.
//! * Jobs that end with an error at a target that nobody can see belong to "cannot see". That takes
//!   three runs, or three controls over a minute.
//! * A red that a case holds only because it is not final leaves it if it turns out to be another
//!   family's. Faults of one family that two sets explain far better are told apart later too, a case
//!   narrows when part of what it hit has landed again, and what was told apart never becomes one again.
//! * Amber and grey runs that an incident took for side effects leave it when they stand, final and again
//!   and again, on routes where its own fault has never shown. Of names as long, the one is chosen that
//!   leaves out routes where another incident goes on and nothing is seen of this one.
//! * Targets that cannot be seen are an incident each while another can. Runs that no platform answered
//!   for do not open or widen the incident of a target that cannot be seen, nor the other way round, once
//!   it has a name.
//! * In fields of more than 500 routes suspects are looked for anew every five seconds at most, and what
//!   waits is considered every second when there is news of it, every five seconds when there is none.
//! * Provisional silent reds have a base rate, learned: how often a run of the route that was called
//!   overdue has landed after all. Final silent ones have none.
//! * One lost run alone stays open for ten minutes. A pause of up to ten minutes that was taken for the
//!   end of an incident is waited out the next time, and a bit longer.
//! * An incident is opened again only by runs of its kind, where it was; if they turn out to be another
//!   fault's, it is over as it was and they open their own. Silent losses of the last thirty days are
//!   known as one fault when another comes, under a new id after a day.
//! * Where no notifier is configured every told incident counts as undelivered. An incident that no
//!   notifier's rules want counts as delivered: somebody decided so.
//! * What a receiver refuses goes to the second channel at once, and is tried again every five minutes:
//!   a key may be mended. A ledger that is down delays no page, only the word that it is over.
//! * An incident is silenced while every route that it hits is. Deploys are told as news, a few tries
//!   and no ledger: they wake nobody.
//! * A resolve is told only of an opening that was told.
//! * Suspects are searched by [`detect::suspects`] while an incident has few runs, each known to be good
//!   or bad; [`detect::causes`] searches tables of many, whose ordinary rates must be guessed first. They
//!   share the field and the words, not the score.
//! * A confirming run that had to wait past its own deadline is skipped, not judged.
//! * A verification counts the runs that it has named itself. Rows that are missing at the objective may be late, which
//!   is no regression: a run is bad when it is judged for good or, if several routes miss theirs, after ten times the
//!   slowest landing known at that target. A failed one is repeated. Its runs wait for a slot as long as it waits for
//!   them; when it is gone, nobody flies them on: they are settled as `unknown`, also by whoever finds them later.
//! * Two agents that displace each other's rows at one place prove nothing of the platform: what stands in the place
//!   of ours and is not in our ledger, sent meanwhile, makes a run `unknown`.
//! * In process a verification learns from the ledger that the config names and writes to it; beside a daemon it is
//!   asked for, and its end asked for again (`GET /api/v1/verify/ID`), since no connection lives longer than five
//!   minutes. One that nobody has asked about for as long ends.
//! * A verification repeats a job that ended badly ten seconds after the platform said so, before it is judged. Rows
//!   may land though the job failed (`unclaimed`, no regression), so where nothing is known of how long they take it
//!   is judged at its objective and no earlier: a sibling's times, or a constant, would be a guess that stops
//!   releases. The two wait together, in about the time of one. Of a route that displaces rows only one run flies
//!   at once: there the second still waits for the first.
//! * A verification holds routes against how they were before the release: before its marker, or an incident that
//!   began lately, by the last three runs that no verification sent. Its own runs are no history: the ledger keeps beside
//!   them what verifications found, and what of that was accepted (docs/verify.md).
//! * A deploy that is also verified sends each route once: `verify` in `POST /api/v1/deploys` holds what is posted
//!   to `/api/v1/verify`, and of the routes that it selects the marker's runs are the verification's, sent at once.
//!   Runs that were due before the marker say nothing of it, and are what it is compared with. Where too much is
//!   verified already the marker is noted all the same, and its answer says why nothing is verified.
//! * While an incident is open, pages and API tell it with every run that proves it by now; the ledger has it as it was
//!   told last. That its runs are judged for good is told as a change.
//! * Pages are sent what changes (`/events`), while somebody looks; `/public`, or a listener of its own, is for people who have
//!   no business with what is inside (`[web]`). `[agent] dashboard` is linked like `runbook`. A target says in words how its
//!   own look is repeated by hand.
//! * Scenarios also say what happens to the agent itself (`[[agent]]`: restarted, stalled, its clock
//!   stepped), and a target may be slow in every write, the agent's own as well (`slow-target`).

pub mod agent;
pub mod canary;
pub mod cli;
pub mod config;
pub mod detect;
pub mod http;
pub mod metrics;
pub mod notify;
pub mod platform;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod store;
pub mod target;
pub mod treasure_data_api;
pub mod veil;
pub mod web;

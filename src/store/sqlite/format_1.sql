-- Times are microseconds since 1970 in UTC; markers are their 16 bytes, which sort by time.

-- Route, objective, deadline and sample of runs: the same for thousands of them, so kept once.
CREATE TABLE shapes (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    route    INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    body     TEXT NOT NULL UNIQUE
);
CREATE INDEX shapes_by_route ON shapes (route);

CREATE TABLE runs (
    marker      BLOB PRIMARY KEY,
    shape       INTEGER NOT NULL,
    due         INTEGER NOT NULL,
    why         TEXT NOT NULL,
    pending     INTEGER NOT NULL,   -- 1 until the final verdict
    outcome     TEXT,               -- of the newest verdict
    judged_at   INTEGER,
    watch_until INTEGER,
    handle      TEXT,
    more        TEXT,               -- what else a verdict says, JSON, where it says anything
    judged      BLOB,               -- evidence of a provisional verdict
    evidence    BLOB NOT NULL       -- newest evidence; of a settled run, that of its verdict
) WITHOUT ROWID;
-- The marker is part of every index, so this one is by shape and time.
CREATE INDEX runs_by_shape ON runs (shape);
CREATE INDEX runs_pending ON runs (due) WHERE pending = 1;

CREATE TABLE counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('started', 0), ('settled', 0), ('corrections', 0);
CREATE TABLE outcomes (
    route   INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (route, outcome)
) WITHOUT ROWID;

CREATE TABLE journal (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, input TEXT NOT NULL, evidence BLOB);
CREATE TABLE snapshot (only INTEGER PRIMARY KEY CHECK (only = 1), seq INTEGER NOT NULL, state BLOB NOT NULL);

CREATE TABLE incidents (id TEXT PRIMARY KEY, opened_at INTEGER NOT NULL, body TEXT NOT NULL);
CREATE INDEX incidents_by_time ON incidents (opened_at, id);

CREATE TABLE notices (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    key     TEXT NOT NULL UNIQUE,
    told_at INTEGER,
    body    TEXT NOT NULL
);
CREATE INDEX notices_untold ON notices (id) WHERE told_at IS NULL;

CREATE TABLE deploys (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    service TEXT NOT NULL,
    version TEXT NOT NULL,
    UNIQUE (at, service, version)
);

CREATE TABLE deliveries (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    target TEXT NOT NULL,
    marker BLOB NOT NULL,
    at     INTEGER NOT NULL,
    body   BLOB NOT NULL
);
CREATE INDEX deliveries_by_run ON deliveries (marker);
CREATE INDEX deliveries_by_time ON deliveries (at);

CREATE TABLE ups (id INTEGER PRIMARY KEY AUTOINCREMENT, since INTEGER NOT NULL, until INTEGER NOT NULL);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- Up to which run greens are thinned.
CREATE TABLE thinned (only INTEGER PRIMARY KEY CHECK (only = 1), marker BLOB NOT NULL);

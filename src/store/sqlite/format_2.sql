-- Who was told of each opening of an incident, JSON; done: there is nothing more to tell.
CREATE TABLE openings (
    key  TEXT PRIMARY KEY,
    at   INTEGER NOT NULL,
    done INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX openings_by_time ON openings (at);
CREATE INDEX openings_undone ON openings (at) WHERE done = 0;

-- Nobody could be told by the versions before: what they noted is no news.
UPDATE notices SET told_at = 0 WHERE told_at IS NULL;

-- The rows that a report must bring, JSON: those of a sample are computed, these are not.
CREATE TABLE reports (
    marker BLOB PRIMARY KEY,
    body   TEXT NOT NULL
) WITHOUT ROWID;

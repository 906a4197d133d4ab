//! Flavors: the two families that grew from one engine, and what they call the same things.

/// Which of the two families a server is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// Trino, once PrestoSQL.
    Trino,
    /// Presto, also known as PrestoDB.
    Presto,
}

impl Flavor {
    pub(super) const ALL: [Flavor; 2] = [Flavor::Trino, Flavor::Presto];

    /// Its name in the config, and the type of its queries.
    pub(super) fn name(self) -> &'static str {
        match self {
            Flavor::Trino => "trino",
            Flavor::Presto => "presto",
        }
    }

    /// Kind and name of an error in `system.runtime.queries`. Presto's list has neither.
    pub(super) fn reasons(self) -> &'static str {
        match self {
            Flavor::Trino => "error_type, error_code",
            Flavor::Presto => "'' AS error_type, '' AS error_code",
        }
    }

    /// What its headers are called.
    pub(super) fn headers(self) -> &'static Headers {
        match self {
            Flavor::Trino => &Headers {
                user: "x-trino-user",
                source: "x-trino-source",
                tags: "x-trino-client-tags",
                catalog: "x-trino-catalog",
                schema: "x-trino-schema",
                zone: "x-trino-time-zone",
                session: "x-trino-session",
            },
            Flavor::Presto => &Headers {
                user: "x-presto-user",
                source: "x-presto-source",
                tags: "x-presto-client-tags",
                catalog: "x-presto-catalog",
                schema: "x-presto-schema",
                zone: "x-presto-time-zone",
                session: "x-presto-session",
            },
        }
    }
}

/// What the headers of a family are called.
pub(super) struct Headers {
    pub(super) user: &'static str,
    pub(super) source: &'static str,
    pub(super) tags: &'static str,
    pub(super) catalog: &'static str,
    pub(super) schema: &'static str,
    pub(super) zone: &'static str,
    pub(super) session: &'static str,
}

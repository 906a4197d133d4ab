//! Retention, a few rows at a time: each step is one write among others, so that the commits of runs
//! pass between.

use rusqlite::{Result, params};

use super::{
    apply::{Page, key, marker_of},
    write::Answer,
};
use crate::{
    canary::{Marker, Timestamp},
    store::retention,
};

/// Rows that one step looks at: a few milliseconds.
pub(super) const STEP: u32 = 500;

impl Page<'_> {
    pub(super) fn thin_greens(&self, from: Marker, now: Timestamp) -> Result<Answer> {
        let end = retention::first_marker_at(now.minus(retention::GREENS_WHOLE));
        let mut looked = self.on.prepare_cached(
            "SELECT marker, pending, watch_until, route FROM runs JOIN shapes ON shapes.id = shape
             WHERE marker >= ?1 AND marker < ?2 AND (pending = 1 OR outcome = 'landed') ORDER BY marker LIMIT ?3",
        )?;
        let rows = looked.query_map(params![key(from), key(end), STEP], |row| {
            Ok((
                row.get::<_, [u8; 16]>(0)?,
                row.get::<_, bool>(1)?,
                row.get::<_, Option<i64>>(2)?,
                row.get::<_, i64>(3)?,
            ))
        })?;
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let (mut skipped, mut last) = (None, None);
        for (marker, pending, watch_until, route) in &rows {
            last = Some(*marker);
            let run = marker_of(*marker);
            let hour = retention::first_marker_at(retention::start_of_hour(retention::hour_of(run)));
            if *pending || watch_until.is_some_and(|until| until >= now.as_micros()) {
                // The whole hour is looked at again: this one may be an earlier green of it.
                skipped = skipped.or(Some(hour));
                continue;
            }
            let kept = self
                .on
                .prepare_cached(
                    "SELECT 1 FROM shapes JOIN runs ON shape = shapes.id WHERE route = ?1 AND marker >= ?2
                       AND marker < ?3 AND pending = 0 AND outcome = 'landed' LIMIT 1",
                )?
                .exists(params![route, key(hour), marker])?;
            if kept {
                self.run("DELETE FROM runs WHERE marker = ?1", params![marker])?;
            }
        }
        let full = rows.len() == STEP as usize;
        let next = last.filter(|_| full).map(|last| marker_of((u128::from_be_bytes(last) + 1).to_be_bytes()));
        Ok(Answer::Thinned { next, skipped })
    }

    pub(super) fn thin_old(&self, now: Timestamp) -> Result<Answer> {
        let old = retention::first_marker_at(now.minus(retention::REDS));
        let removed = self.run(
            "DELETE FROM runs WHERE marker IN (SELECT marker FROM runs WHERE marker < ?1 AND pending = 0
               AND (watch_until IS NULL OR watch_until < ?2) LIMIT ?3)",
            params![key(old), now.as_micros(), STEP],
        )?;
        Ok(Answer::Removed(removed as u64))
    }

    pub(super) fn thin_deliveries(&self, from: i64, now: Timestamp) -> Result<Answer> {
        let (hour, day) = (now.minus(retention::LANDED_DELIVERIES), now.minus(retention::DELIVERIES));
        let mut looked = self.on.prepare_cached(
            "SELECT id, at, pending, outcome, watch_until FROM deliveries
               LEFT JOIN runs ON runs.marker = deliveries.marker
             WHERE id > ?1 AND at < ?2 ORDER BY id LIMIT ?3",
        )?;
        let rows = looked.query_map(params![from, hour.as_micros(), STEP], |row| {
            let (pending, outcome): (Option<bool>, Option<String>) = (row.get(2)?, row.get(3)?);
            let watched = row.get::<_, Option<i64>>(4)?.is_some_and(|until| until >= now.as_micros());
            let needed = pending == Some(true) || watched;
            let landed = pending == Some(false) && outcome.as_deref() == Some("landed");
            let gone = !needed && (landed || row.get::<_, i64>(1)? < day.as_micros());
            Ok((row.get::<_, i64>(0)?, gone))
        })?;
        let rows = rows.collect::<Result<Vec<_>>>()?;
        for (id, _) in rows.iter().filter(|(_, gone)| *gone) {
            self.run("DELETE FROM deliveries WHERE id = ?1", params![id])?;
        }
        let full = rows.len() == STEP as usize;
        Ok(Answer::ThinnedDeliveries { next: rows.last().filter(|_| full).map(|(id, _)| *id) })
    }

    pub(super) fn thin_rest(&mut self, now: Timestamp) -> Result<()> {
        let old = now.minus(retention::REDS).as_micros();
        self.run("DELETE FROM notices WHERE told_at < ?1", params![old])?;
        self.run("DELETE FROM openings WHERE done = 1 AND at < ?1", params![old])?;
        self.run("DELETE FROM ups WHERE until < ?1 AND id < (SELECT max(id) FROM ups)", params![old])?;
        let old = retention::first_marker_at(now.minus(retention::REPORTS));
        self.run(
            "DELETE FROM reports WHERE marker < ?1
               AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.marker = reports.marker AND (pending = 1 OR watch_until >= ?2))",
            params![key(old), now.as_micros()],
        )?;
        let unused = "DELETE FROM shapes WHERE NOT EXISTS (SELECT 1 FROM runs WHERE shape = shapes.id)";
        if self.run(unused, [])? > 0 {
            self.shapes.clear();
        }
        Ok(())
    }
}

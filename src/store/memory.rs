//! The ledger in memory, for replay: nothing outlives the process, and nothing waits.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{Counts, Delivery, JournalEntry, Notice, Opening, RunRecord, Settlement, Store, StoreError, retention};
use crate::{
    canary::{Away, Evidence, Marker, Outcome, RouteId, Run, TargetName, Timestamp, Verdict},
    detect::{Deploy, Incident, IncidentId},
};

/// A ledger that forgets everything when it is dropped. It answers as the file does.
#[derive(Debug, Default)]
pub struct Memory {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    runs: BTreeMap<Marker, RunRecord>,
    pending: BTreeSet<Marker>,
    started: u64,
    settled: u64,
    corrections: u64,
    outcomes: BTreeMap<(RouteId, Outcome), u64>,
    journal: BTreeMap<u64, JournalEntry>,
    incidents: HashMap<IncidentId, Incident>,
    notices: Vec<(Notice, Option<Timestamp>)>,
    openings: Vec<Opening>,
    deploys: Vec<Deploy>,
    deliveries: HashMap<TargetName, Vec<Delivery>>,
    ups: Vec<(Timestamp, Timestamp)>,
    snapshot: Option<(u64, Vec<u8>)>,
    settings: HashMap<String, String>,
}

impl Memory {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Never held over an await. What a panic left behind is still a whole book: every change is
    /// plain assignments.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn take(&mut self, verdict: Verdict) {
        let Some(record) = self.runs.get_mut(&verdict.run) else { return };
        let earlier = record.verdict.as_ref().filter(|known| !known.provisional).map(|known| known.outcome);
        if verdict.provisional {
            if earlier.is_none() {
                record.verdict = Some(verdict);
            }
            return;
        }
        match earlier {
            None => {
                self.pending.remove(&verdict.run);
                self.settled += 1;
            }
            Some(outcome) if outcome != verdict.outcome => self.corrections += 1,
            Some(_) => {}
        }
        if earlier != Some(verdict.outcome) {
            *self.outcomes.entry((verdict.route, verdict.outcome)).or_default() += 1;
        }
        record.evidence = Evidence::clone(&verdict.evidence);
        record.verdict = Some(verdict);
    }

    fn tell(&mut self, notice: Notice) {
        match self.notices.iter().position(|(known, _)| known.key == notice.key) {
            Some(at) if self.notices[at].0 == notice => {}
            Some(at) => {
                self.notices.remove(at);
                self.notices.push((notice, None));
            }
            None => self.notices.push((notice, None)),
        }
    }

    fn watched(&self, record: &RunRecord, now: Timestamp) -> bool {
        let until = record.verdict.as_ref().and_then(|verdict| retention::watch_until(&record.run.terms, verdict));
        until.is_some_and(|until| until >= now)
    }

    fn thin(&mut self, now: Timestamp) {
        let old = retention::first_marker_at(now.minus(retention::REDS));
        let whole = retention::first_marker_at(now.minus(retention::GREENS_WHOLE));
        let mut kept = HashSet::new();
        let gone: Vec<Marker> = (self.runs.range(..whole))
            .filter(|(marker, record)| {
                let Some(verdict) = record.verdict.as_ref().filter(|verdict| !verdict.provisional) else {
                    return false;
                };
                let green = verdict.outcome == Outcome::Landed;
                let again = green && !kept.insert((record.run.route.id, retention::hour_of(**marker)));
                !self.watched(record, now) && (again || **marker < old)
            })
            .map(|(marker, _)| *marker)
            .collect();
        for marker in gone {
            self.runs.remove(&marker);
        }
        let runs = &self.runs;
        for deliveries in self.deliveries.values_mut() {
            deliveries.retain(|delivery| match runs.get(&delivery.marker) {
                _ if delivery.at >= now.minus(retention::LANDED_DELIVERIES) => true,
                Some(record) => match record.verdict.as_ref().filter(|verdict| !verdict.provisional) {
                    None => true,
                    Some(verdict) => match retention::watch_until(&record.run.terms, verdict) {
                        Some(until) if until >= now => true,
                        _ if verdict.outcome == Outcome::Landed => false,
                        _ => delivery.at >= now.minus(retention::DELIVERIES),
                    },
                },
                None => delivery.at >= now.minus(retention::DELIVERIES),
            });
        }
        let old = now.minus(retention::REDS);
        self.notices.retain(|(_, told)| told.is_none_or(|told| told >= old));
        self.openings.retain(|opening| !opening.done || opening.at >= old);
        let last = self.ups.last().copied();
        self.ups.retain(|up| up.1 >= old || Some(*up) == last);
    }
}

#[async_trait]
impl Store for Memory {
    async fn begin(&self, run: &Run) -> Result<(), StoreError> {
        let mut book = self.book();
        if let Entry::Vacant(place) = book.runs.entry(run.marker) {
            place.insert(RunRecord { run: run.clone(), handle: None, evidence: Evidence::default(), verdict: None });
            book.pending.insert(run.marker);
            book.started += 1;
        }
        Ok(())
    }

    async fn progress(&self, run: Marker, handle: Option<&str>, evidence: &Evidence) -> Result<(), StoreError> {
        let mut book = self.book();
        if book.pending.contains(&run)
            && let Some(record) = book.runs.get_mut(&run)
        {
            if record.handle.as_deref() != handle {
                record.handle = handle.map(str::to_owned);
            }
            record.evidence.clone_from(evidence);
        }
        Ok(())
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), StoreError> {
        let mut book = self.book();
        settlement.verdicts.into_iter().for_each(|verdict| book.take(verdict));
        book.journal.extend(settlement.journal.into_iter().map(|entry| (entry.seq, entry)));
        for incident in settlement.incidents {
            book.incidents.insert(incident.id.clone(), incident);
        }
        settlement.notices.into_iter().for_each(|notice| book.tell(notice));
        for deploy in settlement.deploys {
            if !book.deploys.contains(&deploy) {
                book.deploys.push(deploy);
            }
        }
        Ok(())
    }

    async fn pending(&self) -> Result<Vec<RunRecord>, StoreError> {
        let book = self.book();
        let mut found: Vec<RunRecord> = book.pending.iter().filter_map(|run| book.runs.get(run)).cloned().collect();
        found.sort_by_key(|record| (record.run.terms.due, record.run.marker));
        Ok(found)
    }

    async fn watched(&self, now: Timestamp) -> Result<Vec<RunRecord>, StoreError> {
        let book = self.book();
        Ok(book.runs.values().filter(|record| book.watched(record, now)).cloned().collect())
    }

    async fn run(&self, run: Marker) -> Result<Option<RunRecord>, StoreError> {
        Ok(self.book().runs.get(&run).cloned())
    }

    async fn runs(&self, route: Option<RouteId>, limit: u32) -> Result<Vec<RunRecord>, StoreError> {
        let book = self.book();
        let of_route = |record: &&RunRecord| route.is_none_or(|route| record.run.route.id == route);
        Ok(book.runs.values().rev().filter(of_route).take(limit as usize).cloned().collect())
    }

    async fn runs_before(&self, route: RouteId, until: Marker, limit: u32) -> Result<Vec<RunRecord>, StoreError> {
        let book = self.book();
        let earlier = book.runs.range(..until).rev().map(|(_, record)| record);
        Ok(earlier.filter(|record| record.run.route.id == route).take(limit as usize).cloned().collect())
    }

    async fn judged(&self, routes: &[RouteId], from: Marker, limit: u32) -> Result<Vec<RunRecord>, StoreError> {
        let book = self.book();
        let is_judged = |record: &&RunRecord| {
            let is_final = record.verdict.as_ref().is_some_and(|verdict| !verdict.provisional);
            is_final && routes.contains(&record.run.route.id)
        };
        Ok(book
            .runs
            .range(from..)
            .rev()
            .map(|(_, record)| record)
            .filter(is_judged)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn incidents(&self, limit: u32) -> Result<Vec<Incident>, StoreError> {
        let mut found: Vec<Incident> = self.book().incidents.values().cloned().collect();
        found.sort_by(|a, b| (b.opened_at, &b.id).cmp(&(a.opened_at, &a.id)));
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn incident(&self, id: &IncidentId) -> Result<Option<Incident>, StoreError> {
        Ok(self.book().incidents.get(id).cloned())
    }

    async fn deploys(&self, limit: u32) -> Result<Vec<Deploy>, StoreError> {
        let mut found: Vec<Deploy> = self.book().deploys.iter().rev().cloned().collect();
        found.sort_by_key(|deploy| std::cmp::Reverse(deploy.at));
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn keep_delivery(&self, target: &TargetName, delivery: Delivery) -> Result<(), StoreError> {
        self.book().deliveries.entry(target.clone()).or_default().push(delivery);
        Ok(())
    }

    async fn deliveries(&self, target: &TargetName, runs: &[Marker]) -> Result<Vec<Delivery>, StoreError> {
        let runs: HashSet<&Marker> = runs.iter().collect();
        let book = self.book();
        let all = book.deliveries.get(target).map_or(&[][..], Vec::as_slice);
        Ok(all.iter().filter(|delivery| runs.contains(&delivery.marker)).cloned().collect())
    }

    async fn sweep_deliveries(&self, target: &TargetName, older_than: Timestamp) -> Result<u64, StoreError> {
        let mut book = self.book();
        let Some(all) = book.deliveries.get_mut(target) else { return Ok(0) };
        let before = all.len();
        all.retain(|delivery| delivery.at >= older_than);
        Ok((before - all.len()) as u64)
    }

    async fn beat(&self, since: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let ups = &mut self.book().ups;
        match ups.last_mut() {
            Some(up) if up.0 == since => up.1 = now,
            _ => ups.push((since, now)),
        }
        Ok(())
    }

    async fn away(&self, since: Timestamp) -> Result<Vec<Away>, StoreError> {
        let book = self.book();
        let gaps = book.ups.windows(2).map(|two| Away { from: two[0].1, until: two[1].0 });
        Ok(gaps.filter(|gap| gap.until > gap.from && gap.until > since).collect())
    }

    async fn last_beat(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.book().ups.last().map(|up| up.1))
    }

    async fn snapshot(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        Ok(self.book().snapshot.clone())
    }

    async fn keep_snapshot(&self, seq: u64, state: Vec<u8>) -> Result<(), StoreError> {
        let mut book = self.book();
        book.journal = book.journal.split_off(&seq.saturating_add(1));
        book.snapshot = Some((seq, state));
        Ok(())
    }

    async fn journal(&self, after: u64) -> Result<Vec<JournalEntry>, StoreError> {
        Ok(self.book().journal.range(after.saturating_add(1)..).map(|(_, entry)| entry.clone()).collect())
    }

    async fn untold(&self) -> Result<Vec<Notice>, StoreError> {
        let book = self.book();
        Ok(book.notices.iter().filter(|(_, told)| told.is_none()).map(|(notice, _)| notice.clone()).collect())
    }

    async fn keep_openings(&self, openings: Vec<Opening>, taken: Vec<String>, at: Timestamp) -> Result<(), StoreError> {
        let mut book = self.book();
        for opening in openings {
            match book.openings.iter_mut().find(|known| known.key() == opening.key()) {
                Some(known) => *known = opening,
                None => book.openings.push(opening),
            }
        }
        for (notice, told) in &mut book.notices {
            if taken.contains(&notice.key) {
                *told = Some(at);
            }
        }
        Ok(())
    }

    async fn open_letters(&self) -> Result<Vec<Opening>, StoreError> {
        let mut found: Vec<Opening> = self.book().openings.iter().filter(|opening| !opening.done).cloned().collect();
        found.sort_by_key(|opening| opening.at);
        Ok(found)
    }

    async fn openings(&self, limit: u32) -> Result<Vec<Opening>, StoreError> {
        let mut found = self.book().openings.clone();
        found.sort_by_key(|opening| std::cmp::Reverse((opening.at, opening.key())));
        found.truncate(limit as usize);
        Ok(found)
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        let book = self.book();
        let due = |run: &Marker| book.runs.get(run).map(|record| record.run.terms.due);
        Ok(Counts {
            started: book.started,
            settled: book.settled,
            corrections: book.corrections,
            pending: book.pending.len() as u64,
            oldest_pending: book.pending.iter().filter_map(due).min(),
            outcomes: book.outcomes.iter().map(|((route, outcome), n)| (*route, *outcome, *n)).collect(),
        })
    }

    async fn thin(&self, now: Timestamp) -> Result<(), StoreError> {
        self.book().thin(now);
        Ok(())
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.book().settings.get(name).cloned())
    }

    async fn keep_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.book().settings.insert(name.to_owned(), value.to_owned());
        Ok(())
    }
}

//! What is told to people, and whether it reaches them: notifiers, drills, silences, the heartbeat.

use std::{collections::BTreeMap, time::Duration};

use super::{
    DRILL_ACCEPTED, DRILL_CONFIRMED, DRILL_SENT, Family, HEARTBEAT, HEARTBEAT_INTERVAL, LAST_ACCEPTED, Metrics,
    NOTIFICATIONS, NOTIFICATIONS_PENDING, OLDEST_NOTIFICATION, SILENCES_ACTIVE,
    text::{Page, label},
};
use crate::canary::Timestamp;

/// How an attempt to notify ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The receiver took it.
    Accepted,
    /// It did not, or was not there; it will be tried again.
    Failed,
    /// It will never take it.
    Refused,
}

impl Told {
    const ALL: [Told; 3] = [Told::Accepted, Told::Failed, Told::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Told::Accepted => "accepted",
            Told::Failed => "failed",
            Told::Refused => "refused",
        }
    }
}

/// All that is known of it.
#[derive(Clone, Default)]
pub(super) struct Telling {
    notifiers: BTreeMap<String, Notifier>,
    pending: usize,
    oldest: Option<Timestamp>,
    drill_sent: Option<Timestamp>,
    drill_confirmed: Option<Timestamp>,
    silences: usize,
    /// How often it is sent, and when it was last taken. None: there is none.
    heartbeat: Option<(Duration, Timestamp)>,
}

#[derive(Clone, Default)]
struct Notifier {
    results: [u64; Told::ALL.len()],
    accepted_at: Option<Timestamp>,
    took_drill: Option<bool>,
}

impl Metrics {
    /// The notifiers there are, so that their first failure is visible. Series of others go.
    pub fn set_notifiers<'a>(&self, notifiers: impl IntoIterator<Item = &'a str>) {
        let mut packed = self.packed();
        let known = std::mem::take(&mut packed.telling.notifiers);
        let kept = |name: &str| (name.to_owned(), known.get(name).cloned().unwrap_or_default());
        packed.telling.notifiers = notifiers.into_iter().map(kept).collect();
    }

    /// One attempt to notify ended. One of a notifier that there is none of changes nothing: it was
    /// taken out of the config meanwhile.
    pub fn notified(&self, notifier: &str, told: Told) {
        if let Some(notifier) = self.packed().telling.notifiers.get_mut(notifier) {
            notifier.results[told as usize] += 1;
        }
    }

    /// A notifier took a message at this time.
    pub fn accepted(&self, notifier: &str, at: Timestamp) {
        if let Some(notifier) = self.packed().telling.notifiers.get_mut(notifier) {
            notifier.accepted_at = notifier.accepted_at.max(Some(at));
        }
    }

    /// So many notifications wait.
    pub fn notifications_pending(&self, n: usize) {
        self.packed().telling.pending = n;
    }

    /// The oldest notification that waits does so since then. Its age goes on at every scrape, also
    /// if whoever should send it hangs.
    pub fn notifications_wait_since(&self, oldest: Option<Timestamp>) {
        self.packed().telling.oldest = oldest;
    }

    /// A fire drill was sent at this time: which notifiers took it.
    pub fn drilled<'a>(&self, at: Timestamp, took: impl IntoIterator<Item = (&'a str, bool)>) {
        let telling = &mut self.packed().telling;
        telling.drill_sent = telling.drill_sent.max(Some(at));
        telling.notifiers.values_mut().for_each(|notifier| notifier.took_drill = None);
        for (name, took) in took {
            if let Some(notifier) = telling.notifiers.get_mut(name) {
                notifier.took_drill = Some(took);
            }
        }
    }

    /// A person confirmed the page of a fire drill at this time.
    pub fn drill_confirmed(&self, at: Timestamp) {
        let telling = &mut self.packed().telling;
        telling.drill_confirmed = telling.drill_confirmed.max(Some(at));
    }

    /// So many silences are in force.
    pub fn silences(&self, active: usize) {
        self.packed().telling.silences = active;
    }

    /// How often a heartbeat is to be sent, if there is one.
    pub fn set_heartbeat(&self, every: Option<Duration>) {
        let telling = &mut self.packed().telling;
        let last = telling.heartbeat.map_or(Timestamp::EPOCH, |(_, last)| last);
        telling.heartbeat = every.map(|every| (every, last));
    }

    /// The heartbeat was taken at this time.
    pub fn heartbeat(&self, at: Timestamp) {
        if let Some((_, last)) = &mut self.packed().telling.heartbeat {
            *last = at;
        }
    }
}

impl Telling {
    /// `now`: ages are told as of then.
    pub(super) fn write(&self, page: &mut Page, now: Option<Timestamp>) {
        page.family(NOTIFICATIONS);
        for (name, notifier) in &self.notifiers {
            for (told, n) in Told::ALL.into_iter().zip(notifier.results) {
                let labels = [label("notifier", name), label("result", told.as_str())].join(",");
                page.line(NOTIFICATIONS.name, &[&labels], n);
            }
        }
        page.single(NOTIFICATIONS_PENDING, self.pending);
        let waits = self.oldest.zip(now).map(|(since, now)| now.since(since)).unwrap_or_default();
        page.single(OLDEST_NOTIFICATION, waits.as_secs_f64());
        self.each(page, LAST_ACCEPTED, |notifier| notifier.accepted_at.map(Timestamp::as_secs_f64));
        self.each(page, DRILL_ACCEPTED, |notifier| notifier.took_drill.map(|took| f64::from(u8::from(took))));
        // Without anybody to tell there is nothing to drill, and nothing to be overdue.
        if !self.notifiers.is_empty() {
            page.single(DRILL_SENT, self.drill_sent.unwrap_or(Timestamp::EPOCH).as_secs_f64());
            page.single(DRILL_CONFIRMED, self.drill_confirmed.unwrap_or(Timestamp::EPOCH).as_secs_f64());
        }
        page.single(SILENCES_ACTIVE, self.silences);
        if let Some((every, at)) = self.heartbeat {
            page.single(HEARTBEAT, at.as_secs_f64());
            page.single(HEARTBEAT_INTERVAL, every.as_secs_f64());
        }
    }

    fn each(&self, page: &mut Page, family: Family, of: impl Fn(&Notifier) -> Option<f64>) {
        page.family(family);
        for (name, notifier) in &self.notifiers {
            if let Some(value) = of(notifier) {
                page.line(family.name, &[&label("notifier", name)], value);
            }
        }
    }
}

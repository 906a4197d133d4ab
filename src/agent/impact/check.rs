//! Looks at targets: whether outputs that may have been hit are there, as far as that proves anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream};

use crate::{
    agent::craft::Craft,
    canary::{TargetName, Timestamp},
    detect::impact::Hit,
    target::{Stands, Target, TargetError},
};

/// Looks, each a listing of one file, at most.
const MOST_LOOKS: usize = 2_000;
/// Longest wait for one.
const LOOK: Duration = Duration::from_secs(20);
/// Longest time for all of them: whoever asked still wants the list.
const ALL: Duration = Duration::from_secs(600);
/// Looks at once.
const AT_ONCE: usize = 8;
/// A target that so many looks in a row could not reach is looked at no more.
const FAILS: usize = 5;
/// A store's clock may say that a file came so long after its job was over.
const SETTLES: Duration = Duration::from_secs(60);

/// Looks where outputs were to go. `show`: so many of so many have been looked for.
pub(super) async fn look_at_targets(jobs: &mut [Hit], craft: &Craft, show: impl Fn(usize, usize) + Sync) {
    let targets = craft.targets.iter().map(|(name, (target, _))| Place::of(name.clone(), Arc::clone(target)));
    let eyes = Eyes { targets: targets.collect(), looks: AtomicUsize::new(0), ends_at: craft.clock.now().plus(ALL) };
    let (looked, of) = (AtomicUsize::new(0), jobs.len());
    show(0, of);
    let looks = jobs.iter_mut().map(|hit| {
        let (eyes, looked, show) = (&eyes, &looked, &show);
        async move {
            let seen = eyes.look(&hit.address, craft.clock.now()).await;
            hit.check = Some(match seen {
                Seen::Stands(stands) => told(hit.query_start, hit.end, stands),
                Seen::Not(why) => why,
                Seen::Nowhere => format!("cannot be checked: {}", unchecked(&hit.scheme)),
            });
            show(looked.fetch_add(1, Relaxed) + 1, of);
        }
        .boxed()
    });
    let looks: Vec<_> = looks.collect();
    stream::iter(looks).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// What looks.
struct Eyes {
    targets: Vec<Place>,
    looks: AtomicUsize,
    ends_at: Timestamp,
}

/// A target, and how many looks in a row could not reach it.
struct Place {
    name: TargetName,
    target: Arc<dyn Target>,
    failures: AtomicUsize,
}

impl Place {
    fn of(name: TargetName, target: Arc<dyn Target>) -> Self {
        Self { name, target, failures: AtomicUsize::new(0) }
    }
}

/// What a look came to.
enum Seen {
    /// That.
    Stands(Stands),
    /// Nothing, and why.
    Not(String),
    /// It is in no target of ours.
    Nowhere,
}

impl Eyes {
    async fn look(&self, address: &str, now: Timestamp) -> Seen {
        for place in &self.targets {
            if !place.target.has(address) {
                continue;
            }
            if let Some(why) = self.is_enough(place, now) {
                return Seen::Not(format!("not looked at: {why}"));
            }
            let late = || Some(Err(TargetError::Unreachable { detail: "no answer in time".to_owned() }));
            let look = tokio::time::timeout(LOOK, place.target.stands(address)).await;
            if let Some(seen) = look.unwrap_or_else(|_| late()) {
                return place.came_to(seen);
            }
        }
        Seen::Nowhere
    }

    fn is_enough(&self, place: &Place, now: Timestamp) -> Option<String> {
        if place.failures.load(Relaxed) >= FAILS {
            return Some(format!("target `{}` could not be reached {FAILS} times in a row", place.name));
        }
        if now >= self.ends_at {
            return Some(format!("{} minutes of looks are the most", ALL.as_secs() / 60));
        }
        (self.looks.fetch_add(1, Relaxed) >= MOST_LOOKS).then(|| format!("{MOST_LOOKS} looks are the most"))
    }
}

impl Place {
    fn came_to(&self, seen: Result<Stands, TargetError>) -> Seen {
        match seen {
            Ok(stands) => {
                self.failures.store(0, Relaxed);
                Seen::Stands(stands)
            }
            Err(error) => {
                let is_away = matches!(error, TargetError::Unreachable { .. });
                let failures = if is_away { self.failures.load(Relaxed) + 1 } else { 0 };
                self.failures.store(failures, Relaxed);
                Seen::Not(format!("cannot be seen: {error}"))
            }
        }
    }
}

/// What stands at a target, beside when the job was at work.
fn told(began: Option<Timestamp>, ended: Option<Timestamp>, stands: Stands) -> String {
    let Stands::File { bytes, written_at } = stands else {
        return "nothing is there: it was not written, or taken away since".to_owned();
    };
    match (written_at, began, ended) {
        (Some(at), Some(start), _) if at < start => {
            format!("{bytes} bytes are there, written at {at}, before this job began: not by it")
        }
        (Some(at), _, Some(end)) if at > end.plus(SETTLES) => {
            format!("{bytes} bytes are there, written at {at}, after this job was over: by another")
        }
        (Some(at), ..) => format!("{bytes} bytes are there, written at {at}, while this job was at work"),
        (None, ..) => format!("{bytes} bytes are there; when they were written, the target does not say"),
    }
}

/// Why nothing that the agent may read would prove anything.
fn unchecked(scheme: &str) -> &'static str {
    match scheme {
        "web" | "webs" | "http" | "https" => "a receiver cannot be asked what it was sent",
        "name" | "json" => "the platform does not say where it went",
        "s3" | "s3_v2" | "gcs" | "gs" | "azblob" | "sftp" | "sftp_v2" | "ftp" | "file" => "no target of ours is there",
        _ => "in a table nothing tells one job's rows from others', and the agent reads no rows but its own",
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{
        canary::{Address, Run, Sighting},
        target::Swept,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn what_stands_at_a_target_is_told_beside_when_the_job_was_at_work() {
        let file = |seconds: i64| Stands::File { bytes: 5, written_at: Some(at(seconds)) };
        for (stands, says) in [
            (Stands::Nothing, "nothing is there"),
            (file(5), "not by it"),
            (file(15), "while this job was at work"),
            (file(40), "while this job was at work"),
            (file(900), "by another"),
            (Stands::File { bytes: 5, written_at: None }, "does not say"),
        ] {
            assert!(told(Some(at(10)), Some(at(20)), stands).contains(says), "{says}");
        }
        assert!(unchecked("mysql").contains("table") && unchecked("web").contains("receiver"));
    }

    /// A target that owns what begins with its name, and never answers.
    #[derive(Debug)]
    struct Hangs;

    #[async_trait]
    impl Target for Hangs {
        fn address(&self, _: &Run) -> Address {
            unreachable!("nothing is sent there")
        }
        async fn look(&self, _: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError> {
            Ok(Vec::new())
        }
        async fn control(&self) -> Result<(), TargetError> {
            Ok(())
        }
        fn has(&self, address: &str) -> bool {
            address.starts_with("hangs")
        }
        async fn stands(&self, _: &str) -> Option<Result<Stands, TargetError>> {
            std::future::pending().await
        }
        async fn sweep(&self, _: Timestamp) -> Result<Swept, TargetError> {
            Ok(Swept::default())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_hangs_is_given_up_after_a_few_looks() {
        let targets = vec![Place::of(TargetName::new("bucket").expect("a name"), Arc::new(Hangs))];
        let eyes = Eyes { targets, looks: AtomicUsize::new(0), ends_at: at(600) };
        let mut waited = 0;
        for n in 0..500 {
            match eyes.look("hangs/there", at(0)).await {
                Seen::Not(why) if why.starts_with("not looked at") => assert!(n >= FAILS, "{n}: {why}"),
                Seen::Not(why) => waited += usize::from(why.contains("no answer in time")),
                _ => panic!("nothing answers"),
            }
        }
        assert_eq!(waited, FAILS);
        assert!(matches!(eyes.look("elsewhere", at(0)).await, Seen::Nowhere));
    }

    #[tokio::test(start_paused = true)]
    async fn looks_end_when_their_time_is_over() {
        let targets = vec![Place::of(TargetName::new("bucket").expect("a name"), Arc::new(Hangs))];
        let eyes = Eyes { targets, looks: AtomicUsize::new(0), ends_at: at(600) };
        let Seen::Not(why) = eyes.look("hangs/there", at(600)).await else { panic!("it does not answer") };
        assert!(why.contains("10 minutes"), "{why}");
    }
}

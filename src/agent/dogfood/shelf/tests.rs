//! What a shelf tells and has written, run after run.

use super::*;
use crate::canary::report::hour_of;

const NOON: Timestamp = Timestamp::from_secs(1_440_417_600);

struct Scene {
    shelf: Shelf,
    dice: Dice,
    plan: ReportPlan,
    now: Timestamp,
}

impl Scene {
    fn new() -> Self {
        let plan = ReportPlan { table: "verdicts".to_owned(), hours: 1, settles: None };
        Self { shelf: Shelf::default(), dice: Dice::seeded(1), plan, now: NOON }
    }

    fn compose(&mut self, runs: &[(u32, bool)], settles: u64) -> (Arc<Report>, Chore) {
        let entry = |(n, landed): &(u32, bool)| Entry {
            run: Marker::mint(Timestamp::from_secs(i64::from(*n)), 1),
            hour: hour_of(self.now),
            route: ["c", "p", "t", "append"].map(str::to_owned),
            landed: *landed,
            silent: !landed,
            latency_ms: landed.then_some(5),
        };
        let (entries, since) = (runs.iter().map(entry).collect(), hour_of(self.now));
        self.shelf.compose(&self.plan, since, entries, Duration::from_secs(settles), self.now, &self.dice)
    }

    fn take(&mut self, chore: &Chore) {
        self.shelf.written(chore.batch.as_ref().expect("a batch"), self.now);
    }
}

fn runs(report: &Report) -> i64 {
    report.entered.runs
}

fn written(chore: &Chore) -> Option<usize> {
    chore.batch.as_ref().map(|batch| batch.entries.len())
}

#[test]
fn what_was_taken_is_not_written_again_unless_it_changed() {
    let mut scene = Scene::new();
    let (report, chore) = scene.compose(&[(1, true), (2, false)], 0);
    assert_eq!((runs(&report), written(&chore)), (2, Some(2)));
    // Nobody heard that it was taken: the same is written again, before anything that came since.
    let (report, chore) = scene.compose(&[(1, true), (2, false), (3, true)], 0);
    assert_eq!((report.source.batch, written(&chore), runs(&report)), (1, Some(2), 2));
    scene.take(&chore);
    let (report, chore) = scene.compose(&[(1, true), (2, false)], 0);
    assert_eq!((report.source.batch, written(&chore)), (1, None));
    let (_, chore) = scene.compose(&[(1, true), (2, true), (3, true)], 0);
    assert_eq!(written(&chore), Some(2), "the one that was corrected and the new one");
}

#[test]
fn where_imports_take_time_reports_are_of_what_has_settled() {
    let mut scene = Scene::new();
    let (report, chore) = scene.compose(&[(1, true)], 180);
    assert_eq!((runs(&report), report.source.batch, written(&chore)), (0, 0, Some(1)));
    scene.take(&chore);
    scene.now = NOON.plus(Duration::from_secs(100));
    let (report, chore) = scene.compose(&[(1, true), (2, true)], 180);
    assert_eq!(runs(&report), 0, "not yet");
    scene.take(&chore);
    scene.now = NOON.plus(Duration::from_secs(200));
    let (report, chore) = scene.compose(&[(1, true), (2, true), (3, true)], 180);
    assert_eq!((runs(&report), report.source.batch, written(&chore)), (1, 1, Some(1)));
    // The third was not taken: the second is told of as soon as it has settled.
    scene.now = NOON.plus(Duration::from_secs(300));
    assert_eq!(runs(&scene.compose(&[(1, true), (2, true), (3, true)], 180).0), 2);
}

#[test]
fn reports_that_come_in_a_row_settle_as_well_and_fill_no_memory() {
    let mut scene = Scene::new();
    let mut told = 0;
    for second in 0..2_000 {
        scene.now = NOON.plus(Duration::from_secs(second));
        let all: Vec<(u32, bool)> = (0..second as u32 + 1).map(|n| (n, true)).collect();
        let (report, chore) = scene.compose(&all, 180);
        // For a while nothing is taken.
        if !(1_000..1_600).contains(&second) && chore.batch.is_some() {
            scene.take(&chore);
        }
        assert!(scene.shelf.marks.len() < 40, "{}", scene.shelf.marks.len());
        assert!(runs(&report) >= told, "what was told of is told of again");
        told = runs(&report);
        if second == 900 {
            assert!(told > 600, "{told}");
        }
    }
    assert!(told > 1_700, "{told}");
}

#[test]
fn after_a_wrong_report_all_is_written_into_another_book_and_the_old_one_is_told_of_until_then() {
    let mut scene = Scene::new();
    let (_, chore) = scene.compose(&[(1, true)], 180);
    scene.take(&chore);
    scene.now = NOON.plus(Duration::from_secs(300));
    let (old, _) = scene.compose(&[(1, true)], 180);
    assert_eq!(runs(&old), 1);
    assert!(scene.shelf.doubt(old.source.book) && !scene.shelf.doubt(old.source.book));
    let (report, chore) = scene.compose(&[(1, true), (2, true)], 180);
    assert_eq!(report.source.book, old.source.book, "what has settled is the old one");
    assert_eq!(written(&chore), Some(2));
    scene.take(&chore);
    assert!(!scene.shelf.doubt(old.source.book), "it is no longer the present one");
    scene.now = NOON.plus(Duration::from_secs(500));
    let (report, _) = scene.compose(&[(1, true), (2, true)], 180);
    assert_ne!(report.source.book, old.source.book);
    assert_eq!(runs(&report), 2);
}

#[test]
fn each_day_has_a_table_and_old_ones_are_removed() {
    let mut scene = Scene::new();
    let (report, chore) = scene.compose(&[], 0);
    assert_eq!(report.source.table, "verdicts_20150824");
    assert_eq!(written(&chore), Some(0), "the table is made all the same");
    assert_eq!((chore.removes.first().map(String::as_str), chore.removes.len()), (Some("verdicts_20150822"), 7));
    scene.take(&chore);
    assert!(scene.compose(&[], 0).1.removes.is_empty());
    scene.now = NOON.plus(DAY);
    let (report, chore) = scene.compose(&[(1, true)], 0);
    assert_eq!((&*report.source.table, &*chore.removes[0]), ("verdicts_20150825", "verdicts_20150823"));
    assert_eq!(written(&chore), Some(1), "a book does not go on in another table");
}

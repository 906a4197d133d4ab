//! What is made of jobs as a platform remembers them.

use super::*;
use crate::platform::past::Output as Shown;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

/// A query with an output; what else it is, the test says.
fn query(id: &str, from: i64, until: i64) -> PastJob {
    PastJob {
        id: id.to_owned(),
        owner: Some("Owner".to_owned()),
        fields: vec![("type", "hive".to_owned())],
        ended: Ended::Success,
        created_at: Some(at(from - 1)),
        started_at: Some(at(from)),
        ended_at: Some(at(until)),
        rows: Some(7),
        output: Shown::read("postgresql://u:p@db/d/t"),
        hides_output: false,
        is_canary: false,
    }
}

/// The job that exports a query's result.
fn export(id: &str, of: &str, from: i64, until: i64) -> PastJob {
    let fields = vec![("type", "result_export".to_owned()), ("result_export_target_job_id", of.to_owned())];
    PastJob { fields, ..query(id, from, until) }
}

fn linked(query: PastJob, to: &str) -> PastJob {
    let fields = [query.fields.clone(), vec![("linked_result_export_job_id", to.to_owned())]].concat();
    PastJob { fields, ..query }
}

/// Id, when it was written, whether it is over, and its type.
fn told(read: &[PastJob]) -> Vec<(String, Option<Span>, bool, Option<String>)> {
    let kind = |job: &impact::Job| job.fields.iter().find(|(name, _)| name == "type").map(|(_, kind)| kind.clone());
    outputs(0, read).into_iter().map(|one| (one.job.id.clone(), one.job.wrote, one.is_over, kind(&one.job))).collect()
}

fn span_of(from: i64, until: i64) -> Option<Span> {
    Some(Span { from: at(from), until: at(until) })
}

fn hive() -> Option<String> {
    Some("hive".to_owned())
}

#[test]
fn an_output_was_written_while_its_export_ran_or_else_while_the_job_did() {
    let alone = query("1", 10, 20);
    assert_eq!(told(&[alone]), [("1".into(), span_of(10, 21), true, hive())]);
    let with_export = [export("3", "2", 17, 20), linked(query("2", 10, 20), "3")];
    assert_eq!(told(&with_export), [("2".into(), span_of(17, 21), true, hive())]);
    // The link is told, the export is not.
    assert_eq!(told(&[linked(query("2", 10, 20), "3")]), [("2".into(), None, true, hive())]);
}

#[test]
fn an_export_that_somebody_asked_for_later_is_an_output_of_its_own() {
    let read = [export("9", "2", 500, 510), export("3", "2", 17, 20), linked(query("2", 10, 20), "3")];
    assert_eq!(
        told(&read),
        [("9".into(), span_of(500, 511), true, hive()), ("2".into(), span_of(17, 21), true, hive())]
    );
    // Of which query, nothing is known any more: nor where it ran.
    assert_eq!(told(&[export("9", "2", 500, 510)]), [("9".into(), span_of(500, 511), true, None)]);
}

#[test]
fn only_what_says_that_it_ended_well_can_have_lost_its_output_silently() {
    for ended in [Ended::Error, Ended::Killed] {
        assert_eq!(told(&[PastJob { ended, ..query("1", 10, 20) }]), []);
        let failed = PastJob { ended, ..export("3", "2", 17, 20) };
        assert_eq!(told(&[failed, linked(query("2", 10, 20), "3")]), []);
    }
    let at_work = PastJob { ended: Ended::AtWork, ended_at: None, ..query("1", 10, 20) };
    assert_eq!(told(&[at_work]).into_iter().map(|(.., is_over, _)| is_over).collect::<Vec<_>>(), [false]);
    assert_eq!(told(&[PastJob { output: None, ..query("1", 10, 20) }]), []);
    let ours = PastJob { is_canary: true, ..linked(query("2", 10, 20), "3") };
    assert_eq!(told(&[export("3", "2", 17, 20), ours]), []);
}

#[test]
fn a_query_that_writes_itself_wrote_while_it_was_at_work() {
    let statement = PastJob { fields: vec![("type", "trino".to_owned())], ..query("1", 10, 20) };
    let wrote = Span { from: at(10), until: at(21) };
    assert_eq!(told(&[statement]), [("1".to_owned(), Some(wrote), true, Some("trino".to_owned()))]);
}

#[test]
fn a_job_may_hide_an_output_only_if_it_is_a_customers_and_ended_well() {
    let prepared = PastJob { output: None, hides_output: true, ..query("1", 10, 20) };
    assert_eq!(told(std::slice::from_ref(&prepared)), []);
    let wrote = hidden(0, &prepared).expect("it may").wrote;
    assert_eq!(wrote, Some(Span { from: at(10), until: at(21) }));
    for other in [
        PastJob { hides_output: false, ..prepared.clone() },
        PastJob { is_canary: true, ..prepared.clone() },
        PastJob { ended: Ended::Error, ..prepared.clone() },
    ] {
        assert_eq!(hidden(0, &other), None);
    }
}

/// An incident that was opened again.
fn reopened() -> Incident {
    Incident {
        id: crate::detect::IncidentId::typed("inc-1"),
        severity: crate::detect::Severity::Critical,
        outcome: Outcome::Lost,
        family: crate::canary::Family::Missing,
        provisional: false,
        suspects: Vec::new(),
        also: Vec::new(),
        routes: Vec::new(),
        unaffected: Vec::new(),
        onset: crate::detect::Onset { last_good: Some(at(0)), first_bad: at(10) },
        deploy: None,
        opened_at: at(12),
        detected_at: Some(at(12)),
        reopened_at: Some(at(90)),
        resolved_at: Some(at(150)),
        resolved_because: None,
        runs: Vec::new(),
        history: Vec::new(),
    }
}

#[test]
fn where_the_ledger_no_longer_tells_when_the_fault_was_gone_nothing_is_certain() {
    let bad = |from| Flown { route: RouteId(1), wrote: Span { from: at(from), until: at(from + 1) }, is_bad: true };
    let runs: Vec<Flown> = [10, 20, 30, 90, 100, 110].map(bad).into();
    let told = |incident: &Incident| lasted(incident, &runs, at(500)).iter().map(|one| one.is_intermittent).collect();
    let found: Vec<bool> = told(&reopened());
    assert_eq!(found, [true]);
    let found: Vec<bool> = told(&Incident { reopened_at: None, ..reopened() });
    assert_eq!(found, [false], "it was never over in between");
}

#[test]
fn a_job_that_is_still_at_work_may_have_been_hit_if_it_began_before_the_end() {
    let brackets = lasted(&Incident { reopened_at: None, ..reopened() }, &[], at(500));
    for (began, may_be) in [(Some(5), true), (Some(149), true), (Some(151), false), (None, false)] {
        let at_work = PastJob { ended: Ended::AtWork, ended_at: None, ..query("1", 5, 0) };
        let at_work = PastJob { started_at: began.map(at), ..at_work };
        let read = [at_work];
        let job = outputs(0, &read).remove(0).job;
        let found = may_be_hit_yet(job, at(500), &brackets, &[Vec::new()], &Scene::default());
        assert_eq!(found, may_be, "{began:?}");
    }
}

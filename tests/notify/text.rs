//! The words, as people read them.

use landfall::{
    detect::Severity,
    notify::{
        Message,
        text::{plain, sections, subject},
    },
};

use crate::fixtures::page::{again, at, deploy, nasty, over, page, resolve, told_as_over, trigger};

fn whole(message: &Message) -> String {
    format!("{}\n\n{}\n", subject(message), plain(&sections(message)))
}

/// As it stands in the file, which `LANDFALL_TEST_REWRITE=1` writes.
fn as_it_stands(file: &str, found: &str) {
    let path = std::path::Path::new("tests/notify").join(file);
    if std::env::var_os("LANDFALL_TEST_REWRITE").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap_or_default(), "{file}");
}

#[test]
fn a_trigger_answers_in_the_order_in_which_somebody_asks() {
    as_it_stands("trigger.txt", &whole(&trigger(page())));
}

#[test]
fn a_resolve_says_how_long_it_was() {
    as_it_stands("resolve.txt", &whole(&resolve(over())));
}

#[test]
fn each_kind_of_message_is_told_apart_by_its_first_word() {
    let mut drill = page();
    drill.drill = Some("7KQ2M9".to_owned());
    let mut quieter = page();
    quieter.severity = Severity::Warning;
    let subjects: Vec<String> = [
        trigger(page()),
        again(page()),
        told_as_over(over()),
        resolve(over()),
        resolve(quieter),
        trigger(drill),
        deploy(),
    ]
    .iter()
    .map(subject)
    .collect();
    as_it_stands("subjects.txt", &(subjects.join("\n") + "\n"));
    assert!(subjects.iter().all(|subject| subject.chars().count() <= 200));
}

#[test]
fn what_was_hit_on_another_day_is_said_with_the_day() {
    let mut old = page();
    old.incident.onset.last_good = None;
    old.incident.onset.first_bad = at("21:44:30").minus(std::time::Duration::from_secs(86_400));
    old.incident.deploy = None;
    old.incident.suspects = Vec::new();
    old.incident.routes.truncate(1);
    old.watched = 1;
    assert_eq!(
        subject(&again(old)),
        "STILL critical lost: everything · 1 route · since 2015-08-23 21:44 UTC · for 1d1h"
    );
}

#[test]
fn an_incident_of_no_route_counts_none() {
    let mut blind = page();
    blind.incident.routes.clear();
    blind.routes.clear();
    assert!(!subject(&trigger(blind.clone())).contains("route"));
    assert!(whole(&trigger(blind)).contains("no route is known to be hit"));
}

#[test]
fn a_drill_says_so_first_and_how_to_confirm_it() {
    let mut drill = page();
    drill.drill = Some("7KQ2M9".to_owned());
    let text = plain(&sections(&trigger(drill)));
    assert!(text.starts_with("DRILL\n  Nothing is broken"), "{text}");
    assert!(text.contains("landfall drill --confirm 7KQ2M9"), "{text}");
}

#[test]
fn nothing_from_outside_is_long_or_moves_the_cursor() {
    for message in [trigger(nasty()), resolve(nasty()), told_as_over(nasty())] {
        let subject = subject(&message);
        assert!(subject.chars().count() <= 200 && !subject.chars().any(char::is_control), "{subject}");
        for section in sections(&message) {
            assert!(section.lines.len() <= MOST_LINES);
            for line in section.lines {
                assert!(line.chars().count() <= 2100 && !line.chars().any(|c| c.is_control() || c == '\u{202e}'));
            }
        }
    }
}

/// Twenty routes, how many more, how many in all, and what was fine.
const MOST_LINES: usize = 23;

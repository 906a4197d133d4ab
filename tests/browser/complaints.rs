//! What is wrong with what a browser saw, in sentences. Nothing is wrong if there are none.

use serde_json::Value as Json;

/// A page that is open has news this long after the agent has, at most. The issue's own bound is two seconds, which
/// `tests/measure-pages` measures: here the machine is busy with other tests.
const NEWS_WITHIN_MS: i64 = 10_000;

/// What a status page must tell.
pub(super) struct Told<'a> {
    /// Words of the sentence on top.
    pub(super) says: &'a [&'a str],
    /// Routes that have a cell.
    pub(super) routes: &'a [String],
    /// Links of open incidents.
    pub(super) incidents: &'a [String],
}

fn strings(list: &Json) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Json::as_str).collect()
}

/// All that is wrong with a page. `told`: it is a status page.
pub(super) fn of_page(state: &str, path: &str, seen: &Json, told: Option<&Told<'_>>) -> Vec<String> {
    let page = &seen["pages"][path];
    let mut wrong = itself(page);
    wrong.extend(told.into_iter().flat_map(|told| status(page, told)));
    wrong.extend(used(page));
    let (with_script, without) = (&page["same"]["with_script"], &page["same"]["without"]);
    if with_script != without {
        wrong.push(format!("says something else without JavaScript: {without}, not {with_script}"));
    }
    // Not everybody waits for it.
    if told.is_some() && page["plain"].is_object() && page["plain"]["refreshed"] != true {
        wrong.push("does not refresh without JavaScript".to_owned());
    }
    wrong.into_iter().map(|line| format!("{state}: {path} {line}")).collect()
}

/// What it does by itself, that no page of ours does.
fn itself(page: &Json) -> Vec<String> {
    let mut wrong = Vec::new();
    if page["status"] != 200 {
        wrong.push(format!("was answered with {}", page["status"]));
    }
    for (list, what) in [
        ("left", "asked somebody else"),
        ("console", "told the console"),
        ("policy", "broke the policy"),
        ("dialogs", "opened a dialog"),
        ("handlers", "runs something of its own"),
        ("embedded", "embeds"),
        ("styles", "has a style of its own"),
    ] {
        wrong.extend(strings(&page[list]).iter().map(|found| format!("{what}: {found}")));
    }
    let strange = strings(&page["scripts"]).into_iter().filter(|script| *script != "/live.js");
    wrong.extend(strange.map(|script| format!("runs something of its own: {script}")));
    let is_safe = |url: &&str| {
        let url = url.trim_start().to_ascii_lowercase();
        url.starts_with(['/', '#', '?']) && !url.starts_with("//") || url.starts_with("https://")
    };
    wrong.extend(strings(&page["links"]).into_iter().filter(|url| !is_safe(url)).map(|url| format!("leads to {url}")));
    wrong
}

/// Whether it tells what it must.
fn status(page: &Json, told: &Told<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if page["main"] != true {
        wrong.push("has no <main id=\"live\">".to_owned());
    }
    let summary = page["summary"].as_str().unwrap_or_default();
    let lacks = told.says.iter().filter(|words| !summary.contains(**words));
    wrong.extend(lacks.map(|words| format!("does not say `{words}` in its #summary: {summary:?}")));
    if page["summary_role"] != "status" {
        wrong.push("has a #summary that is no status to a screen reader".to_owned());
    }
    let no_cell = |route: &&String| page["routes"][route.as_str()].as_str().is_none();
    let missing: Vec<&String> = told.routes.iter().filter(no_cell).collect();
    if let Some(first) = missing.first() {
        wrong.push(format!("shows no cell of {first}, nor of {} more of {}", missing.len() - 1, told.routes.len()));
    }
    let mut linked = strings(&page["incidents"]);
    linked.sort_unstable();
    let mut expected: Vec<&str> = told.incidents.iter().map(String::as_str).collect();
    expected.sort_unstable();
    if linked != expected {
        wrong.push(format!("links incidents {linked:?}, not {expected:?}"));
    }
    wrong
}

/// Whether everybody can use it.
fn used(page: &Json) -> Vec<String> {
    if page["loaded_itself_again"] == true {
        return vec!["loads itself again under the hands of whoever uses it, with JavaScript".to_owned()];
    }
    let mut wrong = Vec::new();
    for view in ["light", "dark", "phone"] {
        let Some(found) = page["axe"][view].as_array() else {
            wrong.push(format!("axe, {view}: did not run"));
            continue;
        };
        for violation in found {
            let text = |key: &str| violation[key].as_str().unwrap_or_default().to_owned();
            let (id, impact, help, first) = (text("id"), text("impact"), text("help"), text("first"));
            wrong.push(format!("axe, {view}: {id} ({impact}), {} times: {help}: {first}", violation["times"]));
        }
    }
    let keyboard = &page["keyboard"];
    if keyboard["all"].as_u64().unwrap_or(0) == 0 {
        wrong.push("has nothing that can be reached".to_owned());
    }
    wrong.extend(strings(&keyboard["unreached"]).iter().map(|what| format!("Tab does not reach {what}")));
    wrong.extend(strings(&keyboard["unseen"]).iter().map(|what| format!("the focus is not seen on {what}")));
    if keyboard["in_order"] != true || keyboard["unknown"] != 0 {
        wrong.push("Tab goes round in another order than the page is read".to_owned());
    }
    let phone = &page["phone"];
    if phone["scrollWidth"].as_u64() > phone["clientWidth"].as_u64() {
        wrong.push(format!("scrolls sideways on a phone: {} px, {}", phone["scrollWidth"], phone["over"]));
    }
    wrong
}

/// What strangers' words did to a page.
pub(super) fn of_words(path: &str, page: &Json) -> Vec<String> {
    let lacks = strings(&page["missing"]).into_iter().map(|word| format!("lacks the word `{word}`"));
    itself(page).into_iter().chain(lacks).map(|line| format!("{path} {line}")).collect()
}

/// What was wrong with a page that was open while something happened.
pub(super) fn of_watching(what: &str, seen: &Json) -> Vec<String> {
    let mut wrong = Vec::new();
    if seen["shows"] != true {
        wrong.push("an open page never showed it".to_owned());
    }
    if seen["reloaded"] != false {
        wrong.push("the page was loaded again".to_owned());
    }
    for (name, is_kept) in [("the focus", &seen["focus_kept"]), ("what was unfolded", &seen["details_kept"])] {
        if *is_kept == false {
            wrong.push(format!("{name} was lost when news came"));
        }
    }
    for list in ["cells", "incidents"] {
        let all = seen[list].as_array().map(Vec::as_slice).unwrap_or_default();
        for one in all {
            let name = one["what"].as_str().unwrap_or_default();
            match one["ms"].as_i64() {
                None => wrong.push(format!("{name} was never shown as it is")),
                Some(ms) if ms > NEWS_WITHIN_MS => wrong.push(format!("{name} was shown after {ms} ms")),
                Some(ms) => println!("{what}: {name} was shown after {ms} ms"),
            }
        }
    }
    wrong.extend(itself(&with_status(seen)));
    wrong.into_iter().map(|line| format!("{what}: {line}")).collect()
}

/// It was answered, or it could not have been watched.
fn with_status(seen: &Json) -> Json {
    let mut page = seen.clone();
    page["status"] = 200.into();
    page
}

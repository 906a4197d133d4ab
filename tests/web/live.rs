//! What is sent to pages while somebody looks.

use super::*;

/// A stream of events, as it is read.
struct Events {
    answer: reqwest::Response,
    text: String,
}

/// One event: its name, its id, its data.
type Event = (String, String, String);

impl Events {
    async fn of(house: &House, since: &str, last: Option<&str>) -> Self {
        let mut request = house.client.get(house.url(&format!("/events?since={since}")));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { answer, text: String::new() }
    }

    /// The next event; none when the stream has ended as it should.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| {
                    let found = event.lines().find_map(|line| line.strip_prefix(name));
                    found.map(|text| text.trim_start().to_owned()).unwrap_or_default()
                };
                let event = (line("event:"), line("id:"), line("data:"));
                self.text = rest.to_owned();
                return Some(event);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.answer.chunk()).await;
            self.text.push_str(std::str::from_utf8(&chunk.expect("an event").unwrap()?).unwrap());
        }
    }

    /// The next in which this route is.
    async fn of_route(&mut self, route: &str) -> (String, String) {
        loop {
            let (name, id, data) = self.next().await.expect("the stream goes on");
            assert!(name == "parts" || name == "beat", "{name}");
            let data: Value = serde_json::from_str(&data).unwrap_or_default();
            if let Some(markup) = data["routes"][route].as_str() {
                return (id, markup.to_owned());
            }
        }
    }
}

/// The version that a page was written of.
async fn version(house: &House) -> String {
    let (_, page) = house.get("/").await;
    page.split_once("data-version=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

/// A new board, on which the green route is late.
fn worsen(house: &House) {
    let mut board = Board::clone(&house.show.borrow());
    let mut late = verdict(&house.runs[1], Outcome::Landed);
    (late.outcome, late.due) = (Outcome::Late, at(-10));
    board.learn(&late, Duration::from_secs(120));
    house.show.send_replace(Arc::new(board));
}

const GREEN: &str = "result-output/hadoop2/web/append";

#[tokio::test]
async fn what_changes_is_sent_to_whoever_looks_and_nothing_else() {
    let house = House::new().await;
    let since = version(&house).await;
    let mut events = Events::of(&house, &since, None).await;
    let (name, id, first) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &id), ("parts", &since), "nothing has changed since");
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["routes"], json!({}));
    assert!(first["parts"]["state"].as_str().unwrap().contains("id=\"summary\""));
    worsen(&house);
    let (id, markup) = events.of_route(GREEN).await;
    assert!(id != since && id == version(&house).await, "{id}");
    assert!(markup.contains("data-outcome=\"late\""), "{markup}");
    let (_, page) = house.get("/").await;
    assert!(page.contains(&markup), "what is sent is what the page shows: {markup}");
}

#[tokio::test]
async fn whoever_comes_back_is_told_what_happened_meanwhile() {
    let house = House::new().await;
    let since = version(&house).await;
    worsen(&house);
    for (asked, last) in [(since.as_str(), None), ("1.1", Some(since.as_str()))] {
        let (_, markup) = Events::of(&house, asked, last).await.of_route(GREEN).await;
        assert!(markup.contains("late"), "{markup}");
    }
    for lost in ["1.1", "", "x", "0.99999999999999999999", "0.18446744073709551615", "-1.-1", "1"] {
        let (name, ..) = Events::of(&house, lost, None).await.next().await.unwrap();
        assert_eq!(name, "again", "{lost}");
    }
    // Other routes: the page has no place for them.
    let mut board = Board::clone(&house.show.borrow());
    board.watch(&[route("presto", "v5")]);
    house.show.send_replace(Arc::new(board));
    let (name, ..) = Events::of(&house, &since, None).await.next().await.unwrap();
    assert_eq!(name, "again");
}

#[tokio::test]
async fn whoever_looks_is_told_when_nothing_is_new_by_the_one_who_would_know() {
    let house = House::new().await;
    let mut events = Events::of(&house, &version(&house).await, None).await;
    let (name, _, now) = loop {
        let event = events.next().await.unwrap();
        if event.0 != "parts" {
            break event;
        }
    };
    assert_eq!((name.as_str(), now), ("beat", NOW.to_string()));
}

#[tokio::test]
async fn strangers_words_are_text_in_what_is_sent_too() {
    let house = House::new().await;
    let mut events = Events::of(&house, &version(&house).await, None).await;
    let (_, _, data) = events.next().await.unwrap();
    assert!(!data.contains("<script") && data.contains("&lt;script&gt;alert(&quot;x&quot;)"), "{data}");
}

#[tokio::test]
async fn a_server_that_is_stopped_ends_the_streams_in_good_order() {
    let mut house = House::new().await;
    let mut events = Events::of(&house, &version(&house).await, None).await;
    events.next().await.unwrap();
    house.stop.take().unwrap().send(()).unwrap();
    // An end that is cut off is an error of the reader's.
    while events.next().await.is_some() {}
}

#[tokio::test]
async fn more_than_can_be_told_are_turned_away_and_the_page_is_still_there() {
    let house = House::new().await;
    let since = version(&house).await;
    let mut looking = Vec::new();
    let refused = loop {
        let answer = house.client.get(house.url(&format!("/events?since={since}"))).send().await.unwrap();
        if answer.status() != StatusCode::OK || looking.len() > 1_000 {
            break answer;
        }
        looking.push(answer);
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(looking.len() >= 200, "{}", looking.len());
    assert_eq!(house.get("/").await.0, StatusCode::OK);
    looking.clear();
    let freed = async {
        while house.client.get(house.url("/events")).send().await.unwrap().status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), freed).await.expect("who leaves makes room");
}

//! The status page: what it shows, what of it can be picked, and the public one.

use super::*;

/// A board of so many routes, each with all the runs that are kept.
fn many(board: &mut Board, routes: usize) {
    let named = |nth: usize| {
        let labels =
            [("engine", "hive".to_owned()), ("worker", format!("v{}", nth % 7)), ("region", format!("r{}", nth % 3))];
        let labels = labels.map(|(name, value)| (LabelName::new(name).unwrap(), value.as_str().into()));
        Arc::new(Route::new(
            CanaryName::new(&format!("result-output-{}", nth / 50)).unwrap(),
            PlatformName::new(&format!("hadoop{}", nth % 10)).unwrap(),
            TargetName::new(["warehouse", "bucket", "web", "sftp", "reports"][nth / 10 % 5]).unwrap(),
            Mode::Append,
            Labels::new(labels),
        ))
    };
    let all: Vec<Arc<Route>> = (0..routes).map(named).collect();
    board.watch(&all);
    for (nth, route) in all.iter().enumerate() {
        for minute in 0..30 {
            let outcome = if nth % 40 == 3 && minute > 25 { Outcome::Lost } else { Outcome::Landed };
            let mut verdict = verdict(&run(route), outcome);
            verdict.due = at(minute * 60 - 3_600);
            board.learn(&verdict, Duration::from_secs(120));
        }
    }
}

#[tokio::test]
async fn five_hundred_routes_are_a_page_of_less_than_200_kilobytes_with_the_worst_first() {
    let house = House::showing(None, |board| many(board, 500)).await;
    let (status, page) = house.get("/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.len() < 200_000, "{}", page.len());
    assert_eq!(page.matches("data-route=").count(), 500);
    assert_eq!(page.matches("data-outcome=\"lost\"").count(), 13);
    let (_, form) = house.get("/?where=&by=").await;
    assert_eq!(form.matches("<details id=\"by-").count(), 7);
    let (_, flat) = house.get("/?by=-").await;
    assert_eq!(flat.matches("<details id=\"by-").count(), 0);
    let groups: Vec<&str> =
        page.split("<details id=\"by-").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(groups.len(), 7, "{groups:?}");
    // Of groups, of rows in a group, and of routes in a cell.
    let wrong = |text: &&str| !text.contains("data-outcome=\"lost\"");
    for table in page.split("<table class=\"matrix\">").skip(1) {
        assert!(table.split("<tr>").skip(2).is_sorted_by_key(|row| wrong(&row)), "{table}");
        for cell in table.split("<td ").skip(1) {
            assert!(cell.split("data-route=").skip(1).is_sorted_by_key(|route| wrong(&route)), "{cell}");
        }
    }
    assert!(page.split("<details id=\"by-").skip(1).is_sorted_by_key(|group| wrong(&group)));
}

#[tokio::test]
async fn routes_are_picked_by_label_and_grouped_and_what_means_nothing_is_answered_with_what_could_be_meant() {
    let house = House::showing(None, |board| many(board, 60)).await;
    let shown = async |query: &str| {
        let (status, page) = house.get(&format!("/?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {page}");
        (page.matches("data-route=").count(), page.matches("<details id=\"by-").count())
    };
    assert_eq!(shown("").await, (60, 0));
    assert_eq!(shown("where=region%3Dr1").await, (20, 0));
    assert_eq!(shown("where=region%3Dr1&where=worker%3Dv1").await.0, 3);
    assert_eq!(shown("where=&by=worker").await, (60, 7));
    assert_eq!(shown("where=&by=").await, shown("").await, "a form that was sent as it is changes nothing");
    assert_eq!(shown("only=wrong").await, (2, 0));
    assert_eq!(shown("only=wrong&where=worker%3Dv1").await, (1, 0));
    assert_eq!(shown("by=-&only=wrong&where=worker%3Dv0&where=region%3Dr0").await, (0, 0));
    for (query, said) in [
        ("where=wroker%3Dv1", "did you mean `worker`?"),
        ("where=worker%3Dv77", "no route has worker=v77"),
        ("where=worker", "label=value"),
        ("by=nothing", "labels are"),
        ("only=all", "`wrong`"),
        ("whree=worker%3Dv1", "did you mean `where`?"),
        (&"where=worker%3Dv1&".repeat(9), "more than 8"),
    ] {
        let (status, answer) = house.get(&format!("/?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {answer}");
        assert!(answer.contains(said), "{query}: {answer}");
    }
}

#[tokio::test]
async fn the_line_of_time_has_incidents_deploys_and_silences() {
    let house = House::new().await;
    let (_, page) = house.get("/").await;
    let events = page.split_once("<section id=\"events\">").unwrap().1.split_once("</section>").unwrap().0;
    for words in
        ["class=\"critical\"", "class=\"deploy\"", "deploy of <bdi>worker v6</bdi>", "still open", "/incidents/"]
    {
        assert!(events.contains(words), "no `{words}` in {events}");
    }
    assert!(!events.contains("inc-untold"), "what nobody was told is not shown");
}

#[tokio::test]
async fn what_is_wrong_with_the_agent_itself_is_on_its_page() {
    let house = House::new().await;
    let agent = async || {
        let (_, page) = house.get("/").await;
        page.split_once("<section id=\"agent\">").unwrap().1.split_once("</section>").unwrap().0.to_owned()
    };
    house.doors.metrics.reloaded(Some(NOW));
    let well = agent().await;
    assert!(well.contains("✓ written") && !well.contains("refused") && !well.contains("Skipped"), "{well}");
    assert!(well.contains("✗ 1 that nobody has taken"), "{well}");
    house.doors.metrics.reloaded(None);
    house.doors.metrics.skipped(3);
    let mut board = Board::clone(&house.show.borrow());
    board.agent.store_up = false;
    house.show.send_replace(Arc::new(board));
    let ill = agent().await;
    for words in ["cannot be used", "refused: the one before stays", "3 runs that were due"] {
        assert!(ill.contains(words), "no `{words}` in {ill}");
    }
}

#[tokio::test]
async fn the_public_page_says_how_platforms_stand_and_nothing_of_what_is_inside() {
    let house = House::new().await;
    let (status, page) = house.get("/public").await;
    assert_eq!(status, StatusCode::OK);
    for words in ["Exports", "hadoop1: results do not land", "hadoop2: results land", "on 1 of 2 platforms"] {
        assert!(page.contains(words), "no `{words}` in {page}");
    }
    let incident = house.incident.id.as_str();
    let run = house.runs[0].marker.to_string();
    for inside in ["worker", "v5", "result-output", "append", "alert(", "engine", "oncall", incident, &run] {
        assert!(!page.contains(inside), "`{inside}` in {page}");
    }
    assert!(!page.contains("inc-"));
    assert_eq!(page.replace(OUR_SCRIPT, "").matches("<script").count(), 0);
}

#[tokio::test]
async fn on_a_listener_of_its_own_the_public_page_is_all_there_is() {
    let house = House::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = landfall::web::public_router(house.doors.clone()).unwrap();
    tokio::spawn(async move { serve(listener, router, std::future::pending()).await });
    let get = async |path: &str| {
        // Everybody may come, by whatever name a proxy has for it.
        let request = house.client.get(format!("http://{address}{path}")).header(header::HOST, "status.example");
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    assert!(get("/").await.1.contains("hadoop2: results land"));
    for there in ["/style.css", "/live.js", "/icon.svg"] {
        assert_eq!(get(there).await.0, StatusCode::OK, "{there}");
    }
    let incident = format!("/incidents/{}", house.incident.id);
    for inside in ["/metrics", "/api/v1/routes", "/events", "/runs/x", &incident, "/healthz", "/-/reload", "/public"] {
        assert_eq!(get(inside).await.0, StatusCode::NOT_FOUND, "{inside}");
    }
    let posted = house.client.post(format!("http://{address}/")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
}

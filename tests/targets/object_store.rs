//! An object store as a target, on a real S3 server.

use std::{io::Write, sync::Arc, time::Duration};

use landfall::{
    canary::{Mode, Rows, Run, Secret, Sighting, Timestamp},
    http::Wire,
    target::{
        ControlBy, Target, TargetError,
        decode::Format,
        dialect::{Compression, Dialect},
        files::Prefix,
        object_store::{Place, S3 as Bucket, Settings, target},
    },
};

use crate::fixtures::{
    rows::{NOON, csv, delimited, jsonl, run, run_at, values},
    s3::{AGENT, Answer, BUCKET, PLATFORM, S3},
};

fn bucket(server: &S3) -> Bucket {
    Bucket {
        endpoint: Some(server.endpoint.parse().unwrap()),
        result_endpoint: None,
        region: "us-east-1".to_owned(),
        bucket: BUCKET.to_owned(),
        access_key: Secret::new(AGENT[0]),
        secret_key: Secret::new(AGENT[1]),
        result_access_key: Secret::new(PLATFORM[0]),
        result_secret_key: Secret::new(PLATFORM[1]),
        path_style: true,
    }
}

fn store(bucket: Bucket, dialect: Dialect) -> Arc<dyn Target> {
    let prefix = Prefix::new("in/canary").unwrap();
    let settings = Settings { place: Place::S3(bucket), prefix, dialect, control: ControlBy::Write };
    target(settings, &Wire::default()).unwrap()
}

async fn start() -> (S3, Arc<dyn Target>) {
    let server = S3::start().await;
    let store = store(bucket(&server), Dialect::of(Format::Csv));
    (server, store)
}

async fn look(store: &Arc<dyn Target>, run: &Arc<Run>) -> Sighting {
    store.look(std::slice::from_ref(run)).await.unwrap().remove(0)
}

fn key(run: &Run, rest: &str) -> String {
    format!("in/canary/{}{rest}", run.marker)
}

fn counts(seen: &Sighting) -> (u32, u32, u32, u32) {
    (seen.rows.right, seen.rows.missing, seen.rows.copies, seen.rows.changed)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[tokio::test]
async fn rows_land_in_every_format_packed_or_not() {
    let server = S3::start().await;
    for format in [Format::Csv, Format::Tsv, Format::Jsonl] {
        for null_text in [None, Some("\\N".to_owned())] {
            for packed in [false, true] {
                let run = run(Mode::Append);
                let null = null_text.clone().unwrap_or_default();
                let rows = match format {
                    Format::Csv => delimited(&values(&run), b',', true, &null),
                    Format::Tsv => delimited(&values(&run), b'\t', false, &null),
                    Format::Jsonl => jsonl(&values(&run)),
                };
                let layout = Dialect {
                    compression: if packed { Compression::Gz } else { Compression::None },
                    null_text: null_text.clone(),
                    ..Dialect::of(format)
                };
                let store = store(bucket(&server), layout);
                let url = store.address(&run).url.reveal().to_owned();
                let path = url.split_once("@/landings/").unwrap().1.split_once('?').unwrap().0.to_owned();
                assert!(look(&store, &run).await.rows.nothing());
                server.put(&path, &if packed { gzip(&rows) } else { rows });
                let seen = look(&store, &run).await;
                assert_eq!(seen.rows, Rows::all_right(20), "{path}");
                assert!(seen.complete() && seen.landed_at.is_none());
            }
        }
    }
}

#[tokio::test]
async fn null_is_told_from_the_empty_string_only_where_the_format_can() {
    let (server, run) = (S3::start().await, run(Mode::Append));
    server.put(&key(&run, ".csv"), &delimited(&values(&run), b',', true, "NULL"));
    let with = |null_text: Option<&str>| {
        let layout = Dialect { null_text: null_text.map(str::to_owned), ..Dialect::of(Format::Csv) };
        store(bucket(&server), layout)
    };
    assert!(look(&with(Some("NULL")), &run).await.complete());
    assert_eq!(look(&with(None), &run).await.rows.changed, 20);
    assert_eq!(look(&with(Some("\\N")), &run).await.rows.changed, 20);
}

#[tokio::test]
async fn a_run_may_have_any_number_of_objects() {
    let (server, store) = start().await;
    let (run, neighbour) = (run(Mode::Append), run(Mode::Append));
    let rows = values(&run);
    let parts = [".csv", "-2.csv", ".001.csv", "/part-00000.csv.gz", "_x"];
    for (part, rows) in parts.iter().zip(rows.chunks(4)) {
        let bytes = csv(rows);
        server.put(&key(&run, part), &if part.ends_with("gz") { gzip(&bytes) } else { bytes });
    }
    server.put(&key(&run, "/_SUCCESS"), b"");
    assert!(look(&store, &neighbour).await.rows.nothing());
    assert!(look(&store, &run).await.complete());
    server.put(&key(&run, "/part-00001.csv"), &csv(&rows[..7]));
    assert_eq!(counts(&look(&store, &run).await), (20, 0, 7, 0));
    for part in &parts[..2] {
        server.remove(&key(&run, part));
    }
    server.remove(&key(&run, "/part-00001.csv"));
    assert_eq!(counts(&look(&store, &run).await), (12, 8, 0, 0));
}

#[tokio::test]
async fn what_happens_to_rows_is_seen() {
    let (server, store) = start().await;
    let run = run(Mode::Append);
    let rows = values(&run);
    let object = key(&run, ".csv");
    let mut edited = rows.clone();
    edited[3][2] = landfall::canary::Value::Int(5);
    let doubled = [rows.clone(), rows.clone()].concat();
    let other = values(&run_at(Mode::Append, NOON.plus(Duration::from_secs(1))));
    for (rows, expected) in [
        (rows[..19].to_vec(), (19, 1, 0, 0)),
        (Vec::new(), (0, 20, 0, 0)),
        (doubled, (20, 0, 20, 0)),
        (edited, (19, 0, 0, 1)),
        (other, (0, 0, 0, 20)),
    ] {
        server.put(&object, &csv(&rows));
        assert_eq!(counts(&look(&store, &run).await), expected);
    }
    server.put(&object, b"");
    assert!(look(&store, &run).await.rows.nothing(), "an empty object");
    server.put(&object, &gzip(&csv(&rows))[..40]);
    assert_eq!(counts(&look(&store, &run).await), (0, 0, 0, 20), "an object that cannot be unpacked");
}

#[tokio::test]
async fn one_bad_object_hides_no_other_run() {
    let (server, store) = start().await;
    let (bomb, large, good) = (run(Mode::Append), run(Mode::Append), run(Mode::Append));
    server.put(&key(&bomb, ".csv.gz"), &gzip(&vec![b'7'; 200_000_000]));
    server.put(&key(&large, ".csv"), &[csv(&values(&large)), vec![b'\n'; 30_000_000]].concat());
    server.put(&key(&good, ".csv"), &csv(&values(&good)));
    for n in 0..1200 {
        server.put(&key(&large, &format!(".{n}.csv")), b"x");
    }
    let seen = store.look(&[bomb, large, good]).await.unwrap();
    assert!(!seen[0].complete() && !seen[1].complete());
    assert!(seen[2].complete());
}

#[tokio::test]
async fn a_hundred_runs_are_one_listing_and_a_read_each() {
    let (server, store) = start().await;
    let runs: Vec<_> = (0..100).map(|n| run_at(Mode::Append, NOON.plus(Duration::from_secs(n)))).collect();
    for run in &runs[1..] {
        server.put(&key(run, ".csv"), &csv(&values(run)));
    }
    let seen = store.look(&runs).await.unwrap();
    assert!(seen[0].rows.nothing() && seen[1..].iter().all(Sighting::complete));
    let requests = server.requests();
    // The first listing asks whether the prefix is a canary's; no object is asked about beforehand.
    assert_eq!(requests.iter().filter(|(_, path)| path.contains("list-type=2")).count(), 2, "{requests:?}");
    assert_eq!(requests.len(), 2 + 99);
}

#[tokio::test]
async fn runs_far_apart_are_found_without_listing_all_that_lies_between() {
    let (server, store) = start().await;
    let at = |n: u64| run_at(Mode::Append, NOON.plus(Duration::from_secs(n)));
    let runs: Vec<_> = (0..3500).map(at).collect();
    for run in &runs {
        server.put(&key(run, ".csv"), b"");
    }
    let asked = [&runs[3499], &runs[0], &runs[1700], &runs[999], &runs[1000]].map(Arc::clone);
    for run in &asked {
        server.put(&key(run, ".csv"), &csv(&values(run)));
        server.put(&key(run, ".2.csv"), &csv(&values(run)));
    }
    let seen = store.look(&asked).await.unwrap();
    assert!(seen.iter().all(|seen| counts(seen) == (20, 0, 20, 0)));
    let lists = server.requests().into_iter().filter(|(_, path)| path.contains("list-type=2")).count();
    assert!(lists <= 6, "{lists}");
}

#[tokio::test]
async fn rows_of_an_earlier_run_are_strangers_where_only_ours_may_stand() {
    let (server, store) = start().await;
    let (old, new) = (run_at(Mode::Replace, NOON), run_at(Mode::Replace, NOON.plus(Duration::from_secs(60))));
    let path = format!("in/canary__{}/data.csv", old.route.id);
    assert!(store.address(&old).shown.contains(&format!("/landings/{path}?")));
    assert!(look(&store, &old).await.rows.nothing());
    server.put(&path, &csv(&values(&old)));
    let seen = store.look(&[old.clone(), new.clone()]).await.unwrap();
    assert!(seen[0].complete());
    assert_eq!((seen[1].rows.missing, &seen[1].strangers), (20, &vec![old.marker]));
    server.put(&path, &csv(&[values(&new), values(&old)].concat()));
    let seen = look(&store, &new).await;
    assert!(seen.rows.complete() && !seen.complete());
    server.put(&path, &csv(&values(&new)));
    let seen = store.look(&[old, new]).await.unwrap();
    assert!(seen[0].rows.nothing() && seen[0].strangers.is_empty() && seen[1].complete());
}

#[tokio::test]
async fn a_prefix_that_is_not_a_canarys_is_refused_and_left_alone() {
    let (server, store) = start().await;
    let run = run_at(Mode::Append, NOON);
    server.put(&key(&run, ".csv"), &csv(&values(&run)));
    server.put("in/canary/customers.csv", b"id\r\n1\r\n");
    let error = store.look(std::slice::from_ref(&run)).await.unwrap_err();
    assert!(matches!(&error, TargetError::Foreign { detail } if detail.contains("customers.csv")), "{error}");
    store.sweep(NOON.plus(Duration::from_secs(1))).await.unwrap();
    assert!(server.has("in/canary/customers.csv"));
    server.remove("in/canary/customers.csv");
    assert!(look(&store, &run).await.rows.nothing(), "the old run was swept");
}

#[tokio::test]
async fn what_is_wrong_with_the_store_is_told_apart_and_holds_no_key() {
    let (server, good) = start().await;
    let run = run(Mode::Append);
    let with = |change: fn(&mut Bucket)| {
        let mut bucket = bucket(&server);
        change(&mut bucket);
        store(bucket, Dialect::of(Format::Csv))
    };
    let denied = with(|bucket| bucket.secret_key = Secret::new("hunter2hunter2"));
    let nobody = with(|bucket| bucket.access_key = Secret::new("HUNTER2HUNTER2"));
    let missing = with(|bucket| bucket.bucket = "nosuch".to_owned());
    let away = with(|bucket| bucket.endpoint = Some("http://127.0.0.1:1".parse().unwrap()));
    for (store, kind) in [
        (denied, "access denied"),
        (nobody, ""),
        (missing, "nonsense: is there a bucket `nosuch`?"),
        (away, "unreachable"),
    ] {
        let mut errors = vec![store.look(std::slice::from_ref(&run)).await.unwrap_err()];
        // This server makes a bucket when something is written to it.
        if !kind.contains("bucket") {
            errors.push(store.control().await.unwrap_err());
        }
        for error in errors {
            let text = format!("{error} {error:?} {store:?}");
            assert!(text.starts_with(kind), "{text}");
            assert!(!text.to_lowercase().contains("hunter2"), "{text}");
        }
    }
    server.answer(Some(Answer::Status(503)));
    assert!(matches!(good.look(std::slice::from_ref(&run)).await, Err(TargetError::Unreachable { .. })));
    for status in [401, 403] {
        server.answer(Some(Answer::Status(status)));
        assert!(matches!(good.look(std::slice::from_ref(&run)).await, Err(TargetError::Denied { .. })));
    }
    server.answer(Some(Answer::Status(301)));
    assert!(good.look(std::slice::from_ref(&run)).await.is_err());
    server.answer(None);
    assert!(look(&good, &run).await.rows.nothing());
}

#[tokio::test]
async fn a_store_that_says_nothing_is_given_up() {
    let (server, store) = start().await;
    server.answer(Some(Answer::Silence));
    let runs = [run(Mode::Append)];
    let (looked, control) = tokio::join!(store.look(&runs), store.control());
    assert!(matches!(looked, Err(TargetError::Unreachable { .. })));
    assert!(matches!(control, Err(TargetError::Unreachable { .. })));
}

#[tokio::test]
async fn a_control_writes_reads_and_removes_an_object_of_its_own() {
    let (server, store) = start().await;
    store.control().await.unwrap();
    let requests = server.requests();
    assert!(requests.iter().all(|(_, path)| path.contains("canary__control")), "{requests:?}");
    let written = requests.iter().find(|(method, _)| method == "PUT").unwrap().1.clone();
    assert!(requests.iter().any(|(method, path)| method == "DELETE" && *path == written), "{requests:?}");
    assert_eq!(server.count("in/canary__control"), 0);
}

#[tokio::test]
async fn a_sweep_removes_old_canary_objects_and_nothing_else() {
    let (server, store) = start().await;
    let at = |n: u64| run_at(Mode::Append, NOON.plus(Duration::from_secs(n)));
    let (old, new): (Vec<_>, Vec<_>) = ((0..1500).map(at).collect(), (3600..3605).map(at).collect());
    for run in old.iter().chain(&new) {
        server.put(&key(run, ".csv"), b"");
    }
    server.put(&key(&old[0], "/more.csv"), b"");
    let replaced = format!("in/canary__{}/data.csv", run(Mode::Replace).route.id);
    let left = format!("in/canary__control/{}", landfall::canary::Marker::mint(Timestamp::EPOCH, 7));
    let others = [
        "in/canary/0-first",
        "in/canary/lf.csv",
        "in/canary/zz.csv",
        "in/canary2/x.csv",
        "in/canary__control/other",
        &format!("in/canary/{}0.csv", old[0].marker),
        &format!("in/{}.csv", old[0].marker),
        &left,
        &replaced,
    ];
    for other in others {
        server.put(other, b"x");
    }
    let swept = store.sweep(NOON.plus(Duration::from_secs(3600))).await.unwrap();
    assert_eq!(swept.removed, 1501);
    assert!(new.iter().all(|run| server.has(&key(run, ".csv"))));
    for other in others {
        assert!(server.has(other), "{other}");
    }
    // A control that a killed agent left goes when it is old by the store's own clock.
    let swept = store.sweep(Timestamp::from_secs(4_000_000_000)).await.unwrap();
    assert_eq!(swept.removed, 6);
    assert!(!server.has(&left) && server.has("in/canary__control/other") && server.has(&replaced));
}

#[tokio::test]
async fn platforms_get_a_url_with_keys_and_layout_and_people_one_without_the_secret() {
    let server = S3::start().await;
    let run = run(Mode::Append);
    let layout = Dialect {
        compression: Compression::Gz,
        delimiter: '|',
        null_text: Some("\\N".to_owned()),
        header: false,
        ..Dialect::of(Format::Csv)
    };
    let mut bucket = bucket(&server);
    bucket.result_endpoint = Some("https://s3.example.com".parse().unwrap());
    let address = store(bucket, layout).address(&run);
    let rest = format!(
        "@/landings/in/canary/{}.csv.gz?format=csv&compression=gz&header=false&delimiter=%7C&null=%5CN\
         &region=us-east-1&endpoint=https%3A%2F%2Fs3.example.com&mode=append",
        run.marker
    );
    assert_eq!(address.url.reveal(), format!("s3://PLATFORMKEY:platform%2Fsecret%2Bkey{rest}"));
    assert_eq!(address.shown, format!("s3://PLATFORMKEY:…{rest}"));
    assert!(!format!("{address:?}").contains("secret"));
}

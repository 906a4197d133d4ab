//! `landfall blame` as a user runs it: tables that have an answer, tables that have none, and files
//! that are no table.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

fn blame(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_landfall"))
        .arg("blame")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // A file that is refused early may leave the rest unread.
    let _ = child.stdin.take().expect("piped").write_all(stdin);
    child.wait_with_output().expect("it ends")
}

fn answer(table: &str) -> Value {
    let output = blame(&["-", "--format", "json"], table.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn refused(table: &[u8]) -> String {
    let output = blame(&["-"], table);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn suspects(answer: &Value) -> Vec<&Value> {
    answer["suspects"].as_array().expect("a list").iter().map(|suspect| &suspect["labels"]).collect()
}

/// A history of jobs: four regions, three versions (each on its own pool), five accounts.
fn history(red: impl Fn(&str, &str, &str) -> u32) -> String {
    let mut table = "region,version,pool,account,green,red\n".to_owned();
    for region in ["us", "eu", "jp", "au"] {
        for (version, pool) in [("v5", "a"), ("v6", "b"), ("v7", "c")] {
            for account in ["1", "2", "3", "4", "5"] {
                let red = red(region, version, account);
                table += &format!("{region},{version},{pool},{account},{},{red}\n", 40 - red);
            }
        }
    }
    table
}

#[test]
fn the_labels_behind_the_reds_are_named_with_their_numbers_and_other_names() {
    let table =
        history(|region, version, _| if version == "v6" && region != "au" { 16 } else { u32::from(region == "eu") });
    let table = table.replace("us,v6,b,1,24,16", "us,v6,b,1,39,1");
    let all = history(|_, version, account| if version == "v6" { 20 } else { u32::from(account == "2") });
    let answer_of_all = answer(&all);
    assert_eq!(suspects(&answer_of_all), [&json!({ "version": "v6" })]);
    let suspect = &answer_of_all["suspects"][0];
    assert_eq!((&suspect["red"], &suspect["green"]), (&json!(400), &json!(400)));
    assert_eq!(suspect["also"], json!([{ "labels": { "pool": "b" } }]));
    assert!(suspect["effect"].as_f64().expect("a number") > 0.45);
    assert_eq!(suspects(&answer(&table))[0]["version"], "v6");
}

#[test]
fn a_combination_is_named_when_neither_of_its_labels_alone_is_to_blame() {
    let table = history(|region, version, _| if (region, version) == ("jp", "v5") { 18 } else { 1 });
    let answer = answer(&table);
    assert_eq!(suspects(&answer), [&json!({ "region": "jp", "version": "v5" })]);
    assert_eq!(answer["suspects"][0]["also"], json!([{ "labels": { "region": "jp", "pool": "a" } }]));
}

#[test]
fn nothing_is_named_where_nothing_stands_out() {
    let table = history(|region, _, account| u32::from(region == "eu") + u32::from(account == "3"));
    assert_eq!(answer(&table)["suspects"], json!([]));
    let text = blame(&["-"], table.as_bytes());
    assert_eq!(text.status.code(), Some(0), "an empty list is an answer");
    assert_eq!(String::from_utf8_lossy(&text.stdout), "nothing stands out: 27 of 2400 runs are red (1.1 %)\n");
    assert_eq!(answer("region,green,red\n")["suspects"], json!([]), "a table without rows");
    assert_eq!(answer(&history(|_, _, _| 0))["suspects"], json!([]));
}

#[test]
fn what_was_like_that_before_is_not_blamed() {
    let with = |times: u32| {
        let mut table = "region,version,green,red,before_green,before_red\n".to_owned();
        for region in 0..6 {
            for version in 0..6 {
                let usual = if region == 2 { 30 } else { 2 };
                let red = if (region, version) == (4, 1) { 40 } else { usual };
                table += &format!(
                    "{region},{version},{},{red},{},{}\n",
                    100 - red,
                    100 * times - usual * times,
                    usual * times
                );
            }
        }
        table
    };
    let answer = answer(&with(3));
    assert_eq!(suspects(&answer), [&json!({ "region": "4", "version": "1" })]);
}

#[test]
fn people_read_a_table() {
    let table = history(|_, version, _| if version == "v6" { 20 } else { 1 });
    let output = blame(&["-"], table.as_bytes());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let expected = "\
440 of 2400 runs are red (18.3 %)

suspect     red inside  rate    ordinary  outside  hits
version=v6  400 of 800  50.0 %";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.ends_with("\n  also pool=b\n"), "{text}");
}

#[test]
fn the_same_rows_in_another_order_split_quoted_and_from_another_system_give_the_same_answer() {
    let plain = history(|region, version, _| if (region, version) == ("jp", "v5") { 18 } else { 1 });
    let lines: Vec<&str> = plain.lines().collect();
    let turned: Vec<String> = (lines[1..].iter().rev())
        .flat_map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let quoted = |green: &str, red: &str| {
                format!("\"{}\",{},{},{},{green},{red}", fields[0], fields[1], fields[2], fields[3])
            };
            [quoted(fields[4], "0"), quoted("0", fields[5])]
        })
        .collect();
    let other = format!("\u{feff}{}\r\n\r\n{}\r\n", lines[0], turned.join("\r\n"));
    assert_eq!(answer(&plain), answer(&other));
}

#[test]
fn a_file_is_read_and_named_in_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jobs.csv");
    std::fs::write(&path, history(|_, version, _| if version == "v7" { 9 } else { 0 })).expect("written");
    let path = path.to_str().expect("UTF-8");
    let output = blame(&[path, "--format", "json"], b"");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(suspects(&answer), [&json!({ "version": "v7" })]);
    std::fs::write(path, "region,green,red\nus,1,x\n").expect("written");
    let output = blame(&[path], b"");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("{path}:2: `red` is not a whole number: \"x\"\n  hint: ")), "{said}");
    let missing = blame(&["no/such/file.csv"], b"");
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no/such/file.csv: cannot be read"));
}

#[test]
fn what_is_no_table_is_refused_with_its_line_and_what_would_be_right() {
    let wrong: [(&str, &str); 17] = [
        ("", "standard input:1: is empty\n  hint: begin with a line of column names"),
        ("region;green;red\nus;1;2\n", ":1: there is no column `green`\n  hint: columns are separated by commas"),
        ("region,Green,red\nus,1,2\n", ":1: there is no column `green`\n  hint: rename column `Green`"),
        ("region,green\nus,1\n", ":1: there is no column `red`"),
        ("green,red\n1,2\n", ":1: there is no label column"),
        ("region,region,green,red\nus,us,1,2\n", ":1: column `region` is there twice"),
        ("region,,green,red\nus,us,1,2\n", ":1: column 2 has no name"),
        ("region,green,red,before_red\nus,1,2,3\n", ":1: there is no column `before_green`"),
        ("region,green,red\nus,1,2\neu,1\n", ":3: has 2 fields, and the first line 3"),
        ("region,green,red\nus,1,2,3\n", ":2: has 4 fields, and the first line 3\n  hint: fields that contain a comma"),
        ("region,green,red\nus,-1,2\n", ":2: `green` is negative: -1"),
        ("region,green,red\nus,1.5,2\n", ":2: `green` is not a whole number: \"1.5\"\n  hint: write how many runs"),
        ("region,green,red\nus,,2\n", ":2: `green` is empty"),
        ("region,green,red\nus,1,NaN\n", ":2: `red` is not a whole number: \"NaN\""),
        ("region,green,red\nus,99999999999,2\n", ":2: `green` is larger than 4294967295: 99999999999"),
        ("region,green,red\nus,4294967295,0\nus,0,1\n", ":3: the runs with these labels come to more than 4294967295"),
        ("region,green,red\n\"a\nb\",1,2\nus,1,\u{1b}[31m\n", ":4: `red` is not a whole number: \"\\u{1b}[31m\""),
    ];
    for (table, expected) in wrong {
        let said = refused(table.as_bytes());
        assert!(said.contains(expected), "{table:?}: {said}");
    }
    assert!(refused(b"region,green,red\n\xff\xfe,1,2\n").contains(":2: is not UTF-8"));
    let wide: Vec<String> = (0..65).map(|at| format!("l{at}")).collect();
    assert!(refused(format!("{},green,red\n", wide.join(",")).as_bytes()).contains(":1: there are 65 label columns"));
    let long = format!("region,green,red\n{}", "us,1,0\n".repeat(1_000_001));
    assert!(refused(long.as_bytes()).contains(":1000002: has more than 1000000 rows"));
    let large = vec![b'x'; (64 << 20) + 1];
    assert!(refused(&large).contains("standard input: is larger than 64 MB"));
}

#[test]
fn a_column_that_names_every_row_and_values_that_speak_to_terminals_do_no_harm() {
    let mut table = "job,\"ver\u{1b}[31msion\",green,red\n".to_owned();
    for job in 0..3_000 {
        let bad = job % 3 == 0;
        table += &format!("job-{job},{},{},{}\n", ["\"v\u{7}5\"", "v6", "v7"][job % 3], u8::from(!bad), u8::from(bad));
    }
    assert_eq!(suspects(&answer(&table)).len(), 1);
    let text = blame(&["-"], table.as_bytes());
    assert!(!text.stdout.contains(&0x1b) && !text.stdout.contains(&0x07));
}

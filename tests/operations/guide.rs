//! The README's guide, followed literally on a machine that has nothing but Landfall, with the sandbox in the place of
//! the real account: every ```` ```sh ```` block is run, every ```` ```toml NAME ```` or
//! ```` ```sh NAME ```` block is written. In the end each
//! route must have landed.

use super::{
    reader::{Reader, server_of},
    shell::{Line, commands, section},
    stack::shipped,
};
use crate::fixtures::{machine::Machine, without};

/// Where the guide begins.
pub(super) const HEADLINE: &str = "## Monitor your own platform in ten minutes";
/// What a person fills in, or has: as it stands in the guide, and what it is on the test's machine.
const INSTEAD: [(&str, &str); 4] = [
    ("https://api.treasuredata.com", "http://127.0.0.1:8440"),
    ("YOUR_API_KEY", "1/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ("postgresql://USER:PASSWORD@HOST/DATABASE", "postgresql://postgres@127.0.0.1/postgres"),
    ("target/release/landfall", "landfall"),
];
/// A database for guides that name one.
const POSTGRES: &str = "
    programs=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    install -d -o postgres /tmp/pg
    cd /tmp/pg
    runuser -u postgres -- $programs/initdb -D data -A trust --no-sync --locale=C -E UTF8 >/dev/null
    setsid runuser -u postgres -- $programs/postgres -D /tmp/pg/data -c fsync=off -c listen_addresses=127.0.0.1 \\
        -c unix_socket_directories=/tmp/pg >/tmp/pg.log 2>&1 </dev/null &
    for _ in $(seq 300); do ! $programs/pg_isready -q -h 127.0.0.1 || exit 0; sleep 0.1; done
    cat /tmp/pg.log; exit 1";

/// Does what the guide of a README says; what became of the routes.
fn follow(name: &str, readme: &str) -> String {
    let guide = section(readme, HEADLINE).unwrap_or_else(|| panic!("{name} has no section `{HEADLINE}`"));
    assert!(!guide.contains("```toml\n"), "{name}: each file of the guide has its name: ```toml landfall.toml");
    let lines = commands(guide).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
    let runs = |server: &str| {
        lines.iter().any(|line| matches!(line, Line::Run { command, .. } if server_of(command) == Some(server)))
    };
    assert!(runs("landfall run"), "{name}: the guide never starts the agent");
    let machine = Machine::start();
    if guide.contains("postgresql") {
        machine.run(POSTGRES);
    }
    let reader =
        INSTEAD.iter().fold(Reader::new(&machine, "/root/guide"), |reader, (page, here)| reader.fill(page, here));
    if !runs("landfall sandbox") {
        let (code, said) = reader.run("landfall sandbox");
        assert_eq!(code, 0, "{said}");
    }
    reader.follow(name, &lines);
    reader.landed()
}

#[test]
fn the_readmes_guide_leads_to_results_that_land() {
    if without("dpkg") {
        return;
    }
    follow("README.md", &shipped("README.md"));
}

#[test]
fn a_guide_is_followed_literally() {
    if without("dpkg") {
        return;
    }
    let readme = shipped("tests/operations/guide.md");
    let routes = follow("guide.md", &readme);
    assert!(routes.contains("\"platform\":\"presto\"") && routes.contains("\"target\":\"warehouse\""), "{routes}");
}

#[test]
#[should_panic(expected = "`landfall check -c landfall.toml` ended with 2")]
fn a_guide_whose_config_is_wrong_is_no_guide() {
    if without("dpkg") {
        panic!("`landfall check -c landfall.toml` ended with 2: so it would");
    }
    let readme = shipped("tests/operations/guide.md");
    follow("guide.md", &readme.replace("engine   = \"presto\"", "engin    = \"presto\""));
}

#[test]
#[should_panic(expected = "`landfall run -c landfall.toml` ended with 1")]
fn a_guide_that_forgets_what_a_new_terminal_does_not_know_is_no_guide() {
    if without("dpkg") {
        panic!("`landfall run -c landfall.toml` ended with 1: so it would");
    }
    let readme = shipped("tests/operations/guide.md");
    follow("guide.md", &readme.replace("landfall run -c landfall.toml &", "landfall run -c landfall.toml"));
}

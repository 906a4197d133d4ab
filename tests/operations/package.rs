//! The Debian package: built, installed, run as the unit would run it, upgraded, removed and purged, on a machine of
//! the test's own.

use std::{collections::BTreeSet, fs, path::Path};

use tempfile::TempDir;

use super::{
    service,
    stack::{python, root, run},
};
use crate::fixtures::{machine::Machine, without};

/// Something to watch that answers nobody: the agent starts all the same, and says what it cannot see.
const PROBE: &str = r#"
[platform.presto.treasure-data]
endpoint = "http://127.0.0.1:9"
api_key  = { file = "/run/credentials/landfall.service/token" }
database = "landfall"
engine   = "presto"

[target.web.webhook]

[canary.nobody]
platforms = ["presto"]
targets   = ["web"]
modes     = ["append"]
every     = "1m"
"#;

/// Where the package puts the unit.
const UNIT: &str = "/usr/lib/systemd/system/landfall.service";

/// What any installation changes: dpkg's own books. A file that is called as we are is left all the same.
const BOOKS: [&str; 4] = ["/var/lib/dpkg/", "/var/log/", "/var/cache/", "/etc/dpkg/dpkg.cfg.d/"];

/// Builds the package from the binary that the tests have, uncompressed: a second build would take minutes.
pub(super) fn built(folder: &Path) -> String {
    let binary = env!("CARGO_BIN_EXE_landfall");
    let into = folder.to_str().expect("UTF-8");
    run(&python(), &["packaging/deb", binary, "--into", into, "-Z", "none"], &root())
        .expect("a package")
        .trim()
        .to_owned()
}

/// Adds something to watch.
pub(super) fn configured(machine: &Machine) {
    fs::write(machine.file("/etc/landfall/probes/nobody.toml"), PROBE).expect("written");
}

/// Who there is. Of passwords only whose they are: this is shown when it differs.
fn accounts(machine: &Machine) -> String {
    machine.run(
        "cat /etc/passwd /etc/group; cut -d: -f1 /etc/shadow /etc/gshadow
         for file in /etc/subuid /etc/subgid; do test ! -e $file || cat $file; done",
    )
}

#[test]
fn the_package_installs_runs_and_leaves_nothing_when_it_is_purged() {
    if without("dpkg") {
        return;
    }
    let (folder, machine) = (TempDir::new().expect("a folder"), Machine::start());
    let (before, people) = (BTreeSet::from_iter(machine.changed()), accounts(&machine));
    fs::copy(built(folder.path()), machine.file("/tmp/landfall.deb")).expect("copied");

    machine.run("dpkg -i /tmp/landfall.deb");
    let listed = |files: &str| machine.run(&format!("stat -c '%A %U:%G %n' {files}"));
    assert_eq!(
        listed(
            "/usr/bin/landfall /etc/landfall/landfall.toml /etc/landfall/probes /etc/landfall/secrets /etc/landfall/secrets/token /usr/lib/systemd/system/landfall.service"
        ),
        "-rwxr-xr-x root:root /usr/bin/landfall\n\
         -rw-r--r-- root:root /etc/landfall/landfall.toml\n\
         drwxr-xr-x root:root /etc/landfall/probes\n\
         drwx------ root:root /etc/landfall/secrets\n\
         -rw------- root:root /etc/landfall/secrets/token\n\
         -rw-r--r-- root:root /usr/lib/systemd/system/landfall.service\n"
    );
    let user = machine.run("getent passwd landfall");
    assert!(user.contains(":/var/lib/landfall:") && user.trim().ends_with("/nologin"), "{user}");
    let token = machine.run("cat /etc/landfall/secrets/token");
    assert!(token.len() == 64 && token.chars().all(|c| c.is_ascii_hexdigit()), "{token}");
    assert_eq!(machine.run("systemctl is-enabled landfall.service").trim(), "enabled");
    machine.run(&format!("systemd-analyze verify --man=no --recursive-errors=no {UNIT}"));
    let (code, said) = machine.try_run_in("/", "landfall check --no-secrets -c /etc/landfall/landfall.toml");
    assert!(code == 2 && said.contains("no canary is declared"), "why the unit skips the start: {said}");

    service::stand_in(&machine, UNIT);
    machine.run("systemctl start landfall; test ! -e /run/landfall.pid");
    configured(&machine);
    assert_eq!(machine.run("ls /etc/landfall/probes/*.toml").trim(), "/etc/landfall/probes/nobody.toml");
    machine.run("landfall check --no-secrets -c /etc/landfall/landfall.toml");
    machine.run("systemctl start landfall");
    assert!(machine.run("ps -o user= -p $(cat /run/landfall.pid)").starts_with("landfall"));
    assert_eq!(listed("/var/lib/landfall /var/lib/landfall/landfall.db").matches(" landfall:landfall ").count(), 2);
    machine.run("landfall silence add --all --for 5m --because test --token-file /etc/landfall/secrets/token");
    machine.run("zcat /usr/share/man/man1/landfall.1.gz | grep -qF 'landfall\\-status'");
    machine.run("bash -c '. /usr/share/bash-completion/completions/landfall; complete -p landfall'");

    // The same version again is an upgrade to dpkg: nothing that is somebody's is touched.
    machine.run("echo '# mine' >>/etc/landfall/landfall.toml; dpkg -i /tmp/landfall.deb");
    assert_eq!(machine.run("tail -n 1 /etc/landfall/landfall.toml"), "# mine\n");
    assert_eq!(machine.run("cat /etc/landfall/secrets/token"), token);

    machine.run("systemctl stop landfall; rm /usr/local/bin/systemctl");
    machine.run("dpkg -r landfall; test ! -e /usr/bin/landfall; test -e /var/lib/landfall/landfall.db; test -e /etc/landfall/landfall.toml");
    machine.run("dpkg -P landfall");
    machine.run("rm -rf /run/credentials");
    assert_eq!(accounts(&machine), people);
    // The files of accounts were written again, with the same in them, under their lock.
    let is_left = |path: &&String| {
        let accounts = [
            "/etc/passwd",
            "/etc/group",
            "/etc/shadow",
            "/etc/gshadow",
            "/etc/subuid",
            "/etc/subgid",
            "/etc/.pwd.lock",
        ];
        let is_account = accounts.iter().any(|file| path.trim_end_matches('-') == *file);
        path.contains("landfall") || !is_account && !BOOKS.iter().any(|book| path.starts_with(book))
    };
    let after = BTreeSet::from_iter(machine.changed());
    let left: Vec<&String> = after.difference(&before).filter(is_left).collect();
    assert!(left.is_empty(), "{left:?}");
    machine.run("! dpkg -s landfall");

    // Where there is no systemd, adduser makes the same user.
    machine.run("rm /usr/bin/systemd-sysusers; dpkg -i /tmp/landfall.deb");
    let made = machine.run("getent passwd landfall");
    assert!(made.contains(":/var/lib/landfall:") && made.trim().ends_with("/nologin"), "{made}");
    machine.run("dpkg -P landfall");
    assert_eq!(accounts(&machine), people);
}

/// What `dpkg-deb` says is in a package, without the dot before each.
fn contents(package: &str) -> BTreeSet<String> {
    let listed = run("dpkg-deb", &["--contents", package], &root()).expect("a list");
    let path = |line: &str| Some(line.split_whitespace().nth(5)?.trim_start_matches('.').to_owned());
    listed.lines().filter_map(path).collect()
}

#[test]
fn every_command_has_a_page_in_the_package_and_every_shell_its_completions() {
    if without("dpkg") {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let package = built(folder.path());
    let (there, man) = (contents(&package), folder.path().join("man"));
    run(env!("CARGO_BIN_EXE_landfall"), &["man", "--dir", man.to_str().expect("UTF-8")], &root()).expect("pages");
    let pages: Vec<String> = (fs::read_dir(&man).expect("pages"))
        .map(|page| page.expect("a page").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(pages.len() > 20, "{pages:?}");
    let completions = [
        "/usr/share/bash-completion/completions/landfall".to_owned(),
        "/usr/share/zsh/vendor-completions/_landfall".to_owned(),
        "/usr/share/fish/vendor_completions.d/landfall.fish".to_owned(),
    ];
    let wanted = pages.iter().map(|page| format!("/usr/share/man/man1/{page}.gz")).chain(completions);
    let missing: Vec<String> = wanted.filter(|file| !there.contains(file)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // They are what this binary says, readable by everybody, and the same when it is built again.
    let out = folder.path().join("out");
    run("dpkg-deb", &["-x", &package, out.to_str().expect("UTF-8")], &root()).expect("unpacked");
    let page = out.join("usr/share/man/man1/landfall-status.1.gz");
    let unzipped = run("gzip", &["-dc", page.to_str().expect("UTF-8")], &root()).expect("gzip");
    assert_eq!(unzipped, fs::read_to_string(man.join("landfall-status.1")).expect("the page"));
    let script = out.join("usr/share/bash-completion/completions/landfall");
    let loaded = format!("source '{}'; complete -p landfall", script.display());
    let registered = run("bash", &["--noprofile", "--norc", "-c", &loaded], &root()).expect("bash reads it");
    assert!(registered.contains("landfall"), "{registered}");
}

//! Completions and manual pages, as shells and `man` read them.

use std::{collections::BTreeSet, fs, process::Command};

use super::{landfall, run, text};

/// Commands, as the help lists them.
async fn commands() -> BTreeSet<String> {
    let help = text(&run(landfall(&["--help"])).await.stdout);
    let (_, list) = help.split_once("Commands:\n").expect("commands");
    let (list, _) = list.split_once("\n\n").expect("options");
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).filter(|name| name != "help").collect()
}

async fn bash(script: &str) -> String {
    let mut command = Command::new("bash");
    let line = format!("source <('{}' completions bash) && {script}", env!("CARGO_BIN_EXE_landfall"));
    command.args(["--noprofile", "--norc", "-c", &line]);
    let output = run(command).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test]
async fn bash_completes_commands_and_their_flags() {
    let registered = bash("complete -p landfall").await;
    assert!(registered.starts_with("complete ") && registered.contains("-F _landfall landfall"), "{registered}");
    // As bash calls it: the command, the word, the word before.
    let complete = async |words: &str, at: usize| {
        let script = format!(
            "COMP_WORDS=({words}) COMP_CWORD={at}
             _landfall landfall \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{at}-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        bash(&script).await.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(complete("landfall sta", 1).await, BTreeSet::from(["status".to_owned()]));
    assert!(complete("landfall status --wa", 2).await.contains("--watch"));
    assert_eq!(complete("landfall status --format j", 3).await, BTreeSet::from(["json".to_owned()]));
    assert!(complete("landfall ''", 1).await.is_superset(&commands().await));
}

#[tokio::test]
async fn every_shell_knows_every_command() {
    let commands = commands().await;
    assert!(commands.contains("init") && commands.contains("status"), "{commands:?}");
    for (shell, begins) in [("zsh", "#compdef landfall"), ("fish", ""), ("bash", "")] {
        let output = run(landfall(&["completions", shell])).await;
        let script = text(&output.stdout);
        assert!(output.status.success() && script.starts_with(begins), "{shell}");
        for name in &commands {
            assert!(script.contains(name.as_str()), "{shell} does not know {name}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("script");
        fs::write(&file, script).expect("written");
        // Where the shell is there, it reads it.
        let mut command = Command::new(shell);
        command.arg("-n").arg(&file);
        match command.output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {}", text(&output.stderr)),
            Err(_) => println!("not run: there is no {shell}"),
        }
    }
    assert_eq!(run(landfall(&["completions", "tcsh"])).await.status.code(), Some(2));
}

#[tokio::test]
async fn every_command_has_a_page_that_man_understands() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("man/man1");
    let output = run(landfall(&["man", "--dir", dir.to_str().expect("UTF-8")])).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let main = fs::read_to_string(dir.join("landfall.1")).expect("the page");
    assert_eq!(text(&run(landfall(&["man"])).await.stdout), main, "the same page");
    for name in commands().await {
        let page = fs::read_to_string(dir.join(format!("landfall-{name}.1"))).expect("a page for each");
        for part in [".TH landfall", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS"] {
            assert!(page.contains(part), "{name} has no {part}");
        }
        assert!(main.contains(&format!("landfall\\-{name}(1)")), "landfall.1 does not name {name}");
    }
    for entry in fs::read_dir(&dir).expect("pages") {
        let path = entry.expect("a page").path();
        let mut command = Command::new("groff");
        command.args(["-Kutf8", "-man", "-Tutf8", "-ww", "-z"]).arg(&path);
        match command.output() {
            Ok(output) => {
                let said = text(&output.stderr);
                assert!(output.status.success() && !said.contains("warning"), "{}: {said}", path.display());
            }
            Err(_) => println!("not run: there is no groff"),
        }
    }
    let taken = folder.path().join("file");
    fs::write(&taken, "").expect("written");
    let output = run(landfall(&["man", "--dir", taken.to_str().expect("UTF-8")])).await;
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("cannot be written"), "{output:?}");
}

//! Links between pages lead somewhere, in the source and in the Debian package.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{
    package::built,
    stack::{root, run},
};
use crate::fixtures::without;

/// Folders of the source that no package has.
const OF_THE_SOURCE: [&str; 2] = ["../src", "../tests"];

/// Places beside a page that it links to, pictures too.
fn links(page: &str) -> Vec<String> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let here = targets.map(|target| target.split('#').next().unwrap_or_default());
    here.filter(|target| !target.is_empty() && !target.contains("://")).map(str::to_owned).collect()
}

/// All pages below a folder, but not below what is made or hidden.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        match path.is_dir() {
            true if name != "target" && name != "node_modules" && !name.starts_with('.') => pages(&path, found),
            false if name.ends_with(".md") => found.push(path),
            _ => {}
        }
    }
}

/// Links of the pages below a folder that lead nowhere, and how many there are.
fn broken(folder: &Path) -> (Vec<String>, usize) {
    let (mut found, mut broken, mut all) = (Vec::new(), Vec::new(), 0);
    pages(folder, &mut found);
    for page in found {
        for link in links(&fs::read_to_string(&page).expect("text")) {
            all += 1;
            if !page.with_file_name(&link).exists() {
                broken.push(format!("{}: {link}", page.strip_prefix(folder).expect("below it").display()));
            }
        }
    }
    (broken, all)
}

#[test]
fn links_of_the_source_lead_somewhere() {
    let (broken, all) = broken(&root());
    assert!(broken.is_empty() && all > 30, "of {all}: {broken:#?}");
}

#[test]
fn links_of_the_package_lead_somewhere_and_pictures_are_there() {
    if without("dpkg") {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let out = folder.path().join("out");
    let package = built(folder.path());
    run("dpkg-deb", &["-x", &package, out.to_str().expect("UTF-8")], &root()).expect("unpacked");
    let (mut broken, all) = broken(&out.join("usr/share/doc/landfall"));
    broken.retain(|link| !OF_THE_SOURCE.iter().any(|folder| link.contains(&format!(": {folder}"))));
    assert!(broken.is_empty() && all > 30, "of {all}: {broken:#?}");
    let unit = fs::read_to_string(out.join("usr/lib/systemd/system/landfall.service")).expect("the unit");
    let named = unit.lines().find_map(|line| line.strip_prefix("Documentation=file:///")).expect("a page");
    assert!(out.join(named).exists(), "{named}");
}

//! The files for containers, Kubernetes and Grafana. There is no Docker daemon and no cluster: what is shown is that
//! they are YAML, that they agree with each other, and that the binary serves and accepts what they say of it.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value as Json;
use tempfile::TempDir;

use super::stack::{python, root, run, shipped, yaml};
use crate::fixtures::daemon::Watched;

/// The documents of the manifest.
fn manifest() -> Vec<Json> {
    let read = "import sys, json, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let said = run(&python(), &["-c", read, "packaging/kubernetes.yaml"], &root()).expect("YAML");
    serde_json::from_str(&said).expect("JSON")
}

fn of_kind(kind: &str) -> Json {
    let mut found = manifest().into_iter().filter(|document| document["kind"] == kind);
    found.next().unwrap_or_else(|| panic!("no {kind}"))
}

fn texts(list: &Json, key: &str) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().filter_map(|item| Some(item[key].as_str()?.to_owned())).collect()
}

#[test]
fn the_config_of_the_manifest_is_one_that_the_binary_takes() {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("probes")).expect("made");
    let maps: Vec<Json> = manifest().into_iter().filter(|document| document["kind"] == "ConfigMap").collect();
    let text = |nth: usize, name: &str| maps[nth]["data"][name].as_str().expect("a file").to_owned();
    fs::write(at("landfall.toml"), text(0, "landfall.toml")).expect("written");
    fs::write(at("probes/presto.toml"), text(1, "presto.toml")).expect("written");
    run(env!("CARGO_BIN_EXE_landfall"), &["check", "--no-secrets"], folder.path()).unwrap();
}

#[tokio::test]
async fn what_kubernetes_asks_the_agent_answers() {
    let watched = Watched::start(|probes| probes).await;
    let pod = &of_kind("StatefulSet")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let mut paths: Vec<String> = ["startupProbe", "livenessProbe", "readinessProbe"]
        .map(|probe| container[probe]["httpGet"]["path"].as_str().expect("a path").to_owned())
        .to_vec();
    paths.push(of_kind("ServiceMonitor")["spec"]["endpoints"][0]["path"].as_str().expect("a path").to_owned());
    assert_eq!(paths, ["/healthz", "/healthz", "/readyz", "/metrics"]);
    for path in paths {
        let url = format!("{}{path}", watched.agent);
        let (status, text) = watched.ask(reqwest::Method::GET, &url, None, None).await;
        assert_eq!(status, 200, "{path}: {text}");
    }
}

#[test]
fn the_parts_of_the_manifest_speak_of_each_other() {
    let set = of_kind("StatefulSet");
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let volumes: BTreeSet<String> = &texts(&pod["volumes"], "name") | &BTreeSet::from(["ledger".to_owned()]);
    assert_eq!(texts(&container["volumeMounts"], "name"), volumes);
    let ports = texts(&container["ports"], "name");
    let service = of_kind("Service");
    assert_eq!(texts(&service["spec"]["ports"], "targetPort"), ports);
    assert_eq!(set["spec"]["serviceName"], service["metadata"]["name"]);
    let monitor = of_kind("ServiceMonitor");
    assert!(ports.contains(monitor["spec"]["endpoints"][0]["port"].as_str().expect("a port")));
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"]);
    assert_eq!(service["spec"]["selector"], set["spec"]["template"]["metadata"]["labels"]);
    // The job that the rules select.
    let label = monitor["spec"]["jobLabel"].as_str().expect("a label");
    assert_eq!(service["metadata"]["labels"][label], "landfall");
    // One ledger, one agent.
    assert_eq!(set["spec"]["replicas"], 1);
}

#[test]
fn the_pod_may_do_nothing_that_the_agent_does_not_need() {
    let pod = of_kind("StatefulSet")["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["capabilities"]["drop"], serde_json::json!(["ALL"]));
    // Who it is, is said in both files.
    let user = format!("{}:{}", pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]);
    assert!(shipped("packaging/Dockerfile").lines().any(|line| line == format!("USER {user}")), "{user}");
}

#[test]
fn the_image_is_built_from_files_that_are_enough_for_cargo() {
    let folder = TempDir::new().expect("a folder");
    let file = shipped("packaging/Dockerfile");
    let copied = file.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"));
    for line in copied {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (to, from) = words.split_last().expect("from and to");
        let into = folder.path().join(to.trim_start_matches("./"));
        fs::create_dir_all(into.parent().expect("a folder")).expect("made");
        for from in from {
            run("cp", &["-r", from, into.to_str().expect("UTF-8")], &root()).unwrap();
        }
    }
    let cargo = env!("CARGO");
    let said = run(cargo, &["metadata", "--no-deps", "--offline", "--format-version=1"], folder.path()).unwrap();
    let said: Json = serde_json::from_str(&said).expect("JSON");
    let named = texts(&said["packages"][0]["targets"], "src_path");
    let missing: Vec<&String> = named.iter().filter(|path| !Path::new(path).exists()).collect();
    assert!(named.len() > 3 && missing.is_empty(), "{missing:?}");
    assert!(folder.path().join("probes/incidents/2015-08-24.toml").exists(), "it is part of the binary");
}

#[test]
fn grafana_is_told_of_prometheus_and_of_the_dashboards() {
    let source = &yaml("packaging/grafana-datasource.yml")["datasources"][0];
    assert_eq!(source["type"], "prometheus");
    let scraped = &yaml("alerts/prometheus.example.yml")["scrape_configs"][0]["scrape_interval"];
    assert_eq!(&source["jsonData"]["timeInterval"], scraped, "as often as it is scraped");
    let place = &yaml("dashboards/provisioning/landfall.yml")["providers"][0]["options"]["path"];
    let page = shipped("packaging/README.md");
    assert!(page.contains(&format!("-t {} dashboards/*.json", place.as_str().expect("a path"))), "{place}");
    assert!(page.contains("datasources/landfall.yml"));
}

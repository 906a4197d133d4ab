//! What a config of this kind may say; what it may not has its messages in `bad/`.

use super::scene::alone;

#[test]
fn every_transport_and_dialect_opens_without_a_network() {
    for endpoint in ["tcp://h", "tls://h:10443", "http://h:10001/cliservice", "https://knox/gateway/hive"] {
        for dialect in ["spark", "hive", "impala"] {
            let mut scene = alone(endpoint, "user = \"canary\"", "t = { table = \"a.b_{place}\" }\n");
            scene.config = scene.config.replace("dialect = \"spark\"", &format!("dialect = \"{dialect}\""));
            let shown = format!("{:?}", scene.driver());
            assert!(shown.starts_with("HiveServer2("), "{shown}");
        }
    }
}

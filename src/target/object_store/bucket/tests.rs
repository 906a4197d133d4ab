//! Google's and Azure's services cannot be had here. What can be held: that requests have the form their
//! documents ask for, and are signed as they ask, checked by code of our own.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use opendal::{Buffer, HttpBody, HttpTransport, Result};
use ring::{hmac, signature};

use super::*;
use crate::target::object_store::{Azblob, Gcs};

/// A request as it was sent.
struct Sent {
    method: String,
    url: reqwest::Url,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Sent {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn option(&self, name: &str) -> Option<String> {
        self.url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }
}

/// Answers as a service would, and keeps what was asked.
#[derive(Clone)]
struct StandIn {
    sent: Arc<Mutex<Vec<Sent>>>,
    answer: fn(&Sent) -> (u16, &'static str),
}

impl StandIn {
    fn new(answer: fn(&Sent) -> (u16, &'static str)) -> Self {
        Self { sent: Arc::default(), answer }
    }

    fn bucket(&self, place: Place) -> Bucket {
        Bucket::over(place, HttpTransporter::new(self.clone())).unwrap()
    }
}

impl HttpTransport for StandIn {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse().unwrap();
        let sent = Sent { method: parts.method.to_string(), url, headers: parts.headers, body: body.to_vec() };
        let (status, text) = (self.answer)(&sent);
        self.sent.lock().unwrap().push(sent);
        let chunk = futures_util::stream::once(std::future::ready(Ok(Buffer::from(text.as_bytes().to_vec()))));
        let answer = Response::builder().status(status).header("content-length", text.len());
        Ok(answer.body(HttpBody::new(chunk, Some(text.len() as u64))).unwrap())
    }
}

/// Of an account that only tests have.
fn key() -> &'static str {
    let text = include_str!("../../../../tests/fixtures/service-account.key");
    &text[text.find("-----BEGIN").unwrap()..]
}

fn google() -> Place {
    let credential = serde_json::json!({
        "type": "service_account",
        "client_email": "landfall@example.iam.gserviceaccount.com",
        "private_key": key(),
        "private_key_id": "1",
    });
    Place::Gcs(Gcs { endpoint: None, bucket: "landings".to_owned(), credential: Secret::new(credential.to_string()) })
}

fn as_google(sent: &Sent) -> (u16, &'static str) {
    match (sent.url.host_str().unwrap(), sent.option("alt")) {
        ("oauth2.googleapis.com", _) => (200, r#"{"access_token":"t0ken","expires_in":3600,"token_type":"Bearer"}"#),
        (_, Some(_)) => (206, "rows"),
        _ if sent.method == "GET" => (
            200,
            r#"{"items":[{"name":"in/canary/a.csv","size":"4","etag":"e1","updated":"2015-08-24T21:44:00.000Z"}]}"#,
        ),
        _ if sent.method == "DELETE" => (204, ""),
        // What was written has one byte.
        _ => (200, r#"{"name":"in/canary__control/x","size":"1","etag":"e2"}"#),
    }
}

#[tokio::test]
async fn google_is_asked_with_a_token_that_the_service_accounts_key_was_signed_for() {
    let stand_in = StandIn::new(as_google);
    let bucket = stand_in.bucket(google());
    let page = bucket.list("in/canary/", Some("in/canary/9"), 100, &|_| true).await.unwrap();
    assert_eq!((page.objects.len(), page.more), (1, false));
    let object = &page.objects[0];
    assert_eq!((object.key.as_str(), object.size, object.tag.as_deref()), ("in/canary/a.csv", 4, Some("e1")));
    assert_eq!(bucket.read(object, 4).await.unwrap().unwrap(), b"rows");
    bucket.write("in/canary__control/x", "x").await.unwrap();
    bucket.remove(vec!["in/canary__control/x".to_owned()]).await.unwrap();

    let sent = stand_in.sent.lock().unwrap();
    assert_eq!((sent[0].method.as_str(), sent[0].url.as_str()), ("POST", "https://oauth2.googleapis.com/token"));
    let form: Vec<(String, String)> = reqwest::Url::parse(&format!("x:?{}", String::from_utf8_lossy(&sent[0].body)))
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect();
    let value = |name: &str| form.iter().find(|(known, _)| known == name).unwrap().1.clone();
    assert_eq!(value("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let jwt = value("assertion");
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let plain = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&plain(signed.split_once('.').unwrap().1)).unwrap();
    assert_eq!(claims["iss"], "landfall@example.iam.gserviceaccount.com");
    assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
    let der: String = key().lines().filter(|line| !line.starts_with("--")).collect();
    let pair = signature::RsaKeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, pair.public())
        .verify(signed.as_bytes(), &plain(signature))
        .unwrap();
    // Besides the tokens, no other place is asked.
    for sent in sent.iter().filter(|sent| sent.url.host_str() != Some("oauth2.googleapis.com")) {
        assert_eq!(sent.url.host_str(), Some("storage.googleapis.com"));
        assert_eq!(sent.header("authorization"), "Bearer t0ken");
    }
    let asked: Vec<_> = sent.iter().filter(|sent| sent.url.host_str() == Some("storage.googleapis.com")).collect();
    let list = asked[0];
    assert_eq!(list.url.path(), "/storage/v1/b/landings/o");
    assert_eq!(
        (list.option("prefix"), list.option("startOffset")),
        (Some("in/canary/".to_owned()), Some("in/canary/9".to_owned()))
    );
    let read = asked[1];
    assert_eq!(read.url.path(), "/storage/v1/b/landings/o/in%2Fcanary%2Fa.csv");
    assert_eq!((read.header("range"), read.header("if-match")), ("bytes=0-3", "e1"));
    assert!(sent.iter().any(|sent| sent.method == "DELETE" && sent.url.path().ends_with("in%2Fcanary__control%2Fx")));
}

#[tokio::test]
async fn what_google_answers_badly_is_told_apart_without_the_key() {
    for (status, kind) in [(403, "access denied"), (404, "nonsense"), (503, "unreachable")] {
        let answer = match status {
            403 => |sent: &Sent| if sent.method == "POST" { as_google(sent) } else { (403, "no") },
            404 => |sent: &Sent| if sent.method == "POST" { as_google(sent) } else { (404, "no") },
            _ => |sent: &Sent| if sent.method == "POST" { as_google(sent) } else { (503, "no") },
        };
        let bucket = StandIn::new(answer).bucket(google());
        let error = bucket.list("in/canary/", None, 100, &|_| true).await.unwrap_err().to_string();
        assert!(error.starts_with(kind) && !error.contains("PRIVATE KEY"), "{status}: {error}");
    }
}

const ACCOUNT_KEY: &str = "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==";

fn azure(access: Access) -> Place {
    let (account, container) = ("landfall".to_owned(), "landings".to_owned());
    Place::Azblob(Azblob { endpoint: None, account, container, access })
}

fn as_azure(sent: &Sent) -> (u16, &'static str) {
    match (sent.method.as_str(), sent.option("comp").as_deref()) {
        ("GET", Some("list")) => (
            200,
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs>\
             <Blob><Name>in/canary/1.csv</Name><Properties><Content-Length>4</Content-Length><Etag>0x1</Etag>\
             <Last-Modified>Mon, 24 Aug 2015 21:44:00 GMT</Last-Modified></Properties></Blob>\
             <Blob><Name>in/canary/a.csv</Name><Properties><Content-Length>4</Content-Length><Etag>0x2</Etag>\
             <Last-Modified>Mon, 24 Aug 2015 21:44:00 GMT</Last-Modified></Properties></Blob>\
             </Blobs><NextMarker/></EnumerationResults>",
        ),
        ("GET", _) => (206, "rows"),
        ("PUT", _) => (201, ""),
        _ => (202, ""),
    }
}

/// The string that Azure's documents say is signed with the account's key.
fn signature_of(sent: &Sent) -> String {
    let length = Some(sent.header("content-length")).filter(|length| *length != "0").unwrap_or_default();
    let first = [
        sent.method.as_str(),
        sent.header("content-encoding"),
        sent.header("content-language"),
        length,
        sent.header("content-md5"),
        sent.header("content-type"),
        sent.header("date"),
        sent.header("if-modified-since"),
        sent.header("if-match"),
        sent.header("if-none-match"),
        sent.header("if-unmodified-since"),
        sent.header("range"),
    ];
    let mut own: Vec<String> = sent
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
        .map(|(name, value)| format!("{name}:{}", value.to_str().unwrap()))
        .collect();
    own.sort();
    let mut options: Vec<String> = sent.url.query_pairs().map(|(name, value)| format!("\n{name}:{value}")).collect();
    options.sort();
    let text = format!("{}\n{}\n/landfall{}{}", first.join("\n"), own.join("\n"), sent.url.path(), options.concat());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(ACCOUNT_KEY).unwrap());
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

#[tokio::test]
async fn azure_is_asked_with_requests_signed_by_the_accounts_key() {
    let stand_in = StandIn::new(as_azure);
    let bucket = stand_in.bucket(azure(Access::Key(Secret::new(ACCOUNT_KEY))));
    // It cannot begin in the middle: what comes before is left out here.
    let page = bucket.list("in/canary/", Some("in/canary/9"), 100, &|_| true).await.unwrap();
    let keys: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!((keys, page.more), (vec!["in/canary/a.csv"], false));
    assert_eq!(bucket.read(&page.objects[0], 4).await.unwrap().unwrap(), b"rows");
    bucket.write("in/canary__control/x", "x").await.unwrap();
    bucket.remove(vec!["in/canary__control/x".to_owned()]).await.unwrap();
    let sent = stand_in.sent.lock().unwrap();
    assert_eq!(sent.len(), 4);
    for sent in sent.iter() {
        assert_eq!(sent.url.host_str(), Some("landfall.blob.core.windows.net"));
        let expected = format!("SharedKey landfall:{}", signature_of(sent));
        assert_eq!(sent.header("authorization"), expected, "{} {}", sent.method, sent.url);
    }
    assert_eq!((sent[0].url.path(), sent[0].option("prefix").as_deref()), ("/landings", Some("in/canary/")));
    assert_eq!(
        (sent[0].option("restype").as_deref(), sent[0].option("comp").as_deref()),
        (Some("container"), Some("list"))
    );
    assert_eq!(sent[1].url.path(), "/landings/in/canary/a.csv");
    assert_eq!(sent[2].header("x-ms-blob-type"), "BlockBlob");
    assert_eq!((sent[3].method.as_str(), sent[3].url.path()), ("DELETE", "/landings/in/canary__control/x"));
}

#[tokio::test]
async fn azure_is_asked_with_a_shared_access_signature_and_nothing_else() {
    let stand_in = StandIn::new(as_azure);
    let bucket = stand_in.bucket(azure(Access::Sas(Secret::new("sv=2022-11-02&ss=b&sig=hunter2"))));
    bucket.list("in/canary/", None, 100, &|_| true).await.unwrap();
    let refusing = StandIn::new(|_| (403, "no: sv=2022-11-02&ss=b&sig=hunter2"));
    let bucket = refusing.bucket(azure(Access::Sas(Secret::new("sv=2022-11-02&ss=b&sig=hunter2"))));
    let error = bucket.list("in/canary/", None, 100, &|_| true).await.unwrap_err().to_string();
    assert!(error.starts_with("access denied") && !error.contains("hunter2"), "{error}");
    let sent = stand_in.sent.lock().unwrap();
    assert_eq!(
        (sent[0].option("sig").as_deref(), sent[0].option("sv").as_deref()),
        (Some("hunter2"), Some("2022-11-02"))
    );
    assert_eq!(sent[0].header("authorization"), "");
}

#[test]
fn what_a_service_answers_is_told_in_words() {
    for (said, words) in [
        (
            r#"S3Error { code: "ServiceUnavailable", message: "Reduce your \"rate\".", resource: "", request_id: "" }"#,
            "ServiceUnavailable: Reduce your \"rate\".",
        ),
        (r#"S3Error { code: "ServiceUnavailable", message: "", request_id: "" }"#, "ServiceUnavailable"),
        (r#"S3Error { code: "", message: "", request_id: "" }"#, "it answered with an error, and said no more"),
        (r#"GcsErrorResponse { error: GcsError { code: 403, message: "no access", errors: [] } }"#, "no access"),
        ("<html>503 { code: \"x\" }</html>", "<html>503 { code: \"x\" }</html>"),
        ("connection refused", "connection refused"),
    ] {
        assert_eq!(in_words(said), words);
    }
}

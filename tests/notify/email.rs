//! Mail, taken by a real server.

use std::{sync::Arc, time::Duration};

use landfall::notify::{Keeps, Message, Notifier, NotifyError};
use serde_json::{Value as Json, json};

use crate::fixtures::{
    page::{again, at, deploy, nasty, opened_with, over, page, resolve, told_as_over, trigger},
    smtp::{Smtp, file},
    stand_in::nobody,
};

const PASSWORD: &str = "hunter2 of the mail";

/// A notifier that writes to a server on this host.
fn email(host: &str, port: u16, tls: &str, more: &str) -> Arc<dyn Notifier> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
    let table = format!(
        "[notify.team.email]\nserver = \"{host}\"\nport = {port}\ntls = \"{tls}\"\n\
         from = \"Landfall <landfall@mon-1.example.com>\"\nto = [\"a@example.com\", \"Bé <b@example.com>\"]\n{more}\n"
    );
    opened_with(folder.path(), &format!("ca_bundle = {:?}", file("ca.pem")), &table)
}

fn header<'a>(mail: &'a Json, name: &str) -> &'a str {
    mail["headers"][name].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_mail_says_it_all_in_its_subject_and_in_two_parts() {
    let mut server = Smtp::start(json!({})).await;
    let email = email("127.0.0.1", server.port, "none", "remind = \"4h\"");
    email.tell(&trigger(page())).await.unwrap();
    let mail = server.mail().await;
    assert_eq!(
        (&mail["from"], &mail["to"]),
        (&json!("landfall@mon-1.example.com"), &json!(["a@example.com", "b@example.com"]))
    );
    assert_eq!(
        header(&mail, "Subject"),
        "CRITICAL lost: worker=v5 · 4 of 6 routes · since 21:43–21:44 UTC · after worker v6.20150824"
    );
    assert_eq!(
        (header(&mail, "Auto-Submitted"), header(&mail, "Date")),
        ("auto-generated", "Mon, 24 Aug 2015 21:44:56 +0000")
    );
    assert_eq!((&mail["kind"], &mail["ascii"]), (&json!("multipart/alternative"), &json!(true)));
    let (text, html) = (mail["parts"]["text/plain"].as_str().unwrap(), mail["parts"]["text/html"].as_str().unwrap());
    let expected = std::fs::read_to_string("tests/notify/trigger.txt").unwrap();
    assert_eq!(text.replace("\r\n", "\n").trim(), expected.split_once("\n\n").unwrap().1.trim());
    assert!(html.contains("<a href=\"https://runbooks.example.com/landfall\">"), "{html}");
    let manner = email.manner();
    assert_eq!((manner.keeps, manner.again), (Keeps::Messages, Some(Duration::from_secs(4 * 3600))));
}

#[tokio::test]
async fn what_belongs_together_is_one_thread_and_a_repeated_mail_is_the_same_mail() {
    let mut server = Smtp::start(json!({})).await;
    let email = email("localhost", server.port, "none", "");
    let mut later = again(page());
    later.at = at("23:00:00");
    let mut retried = trigger(page());
    retried.at = at("21:50:00");
    let mut mails = Vec::new();
    for message in [trigger(page()), retried, again(page()), later, resolve(over()), told_as_over(over())] {
        email.tell(&message).await.unwrap();
        mails.push(server.mail().await);
    }
    let id = |nth: usize| header(&mails[nth], "Message-ID");
    assert!(id(0).ends_with("@mon-1.example.com>"), "{}", id(0));
    assert_eq!(id(0), id(1));
    for nth in [2, 3, 4] {
        assert_eq!((header(&mails[nth], "In-Reply-To"), header(&mails[nth], "References")), (id(0), id(0)), "{nth}");
    }
    let mut ids = vec![id(0), id(2), id(3), id(4), id(5)];
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5, "{ids:?}");
    assert!(header(&mails[4], "Subject").starts_with("RESOLVED lost: worker=v5"));
    assert!(email.tell(&deploy()).await.is_err(), "deploys are not for people's mail");
    assert!(server.is_quiet());
}

#[tokio::test]
async fn with_starttls_and_with_tls_it_logs_in_and_nothing_goes_in_the_clear() {
    let login = "user = \"landfall\"\npassword = { file = \"password\" }";
    for tls in ["starttls", "tls"] {
        let mut server = Smtp::start(json!({"tls": tls, "user": "landfall", "password": PASSWORD})).await;
        email("localhost", server.port, tls, login).tell(&trigger(page())).await.unwrap();
        let mail = server.mail().await;
        assert_eq!((&mail["tls"], &mail["user"]), (&json!(true), &json!("landfall")), "{tls}");
        let mut strangers = Smtp::start(json!({"tls": tls, "user": "landfall", "password": "another"})).await;
        let email = email("localhost", strangers.port, tls, login);
        let error = email.tell(&trigger(page())).await.expect_err("a wrong password");
        assert!(matches!(&error, NotifyError::Refused { detail } if detail.contains("535")), "{error}");
        assert!(!format!("{error:?} {email:?}").contains("hunter2"), "{error:?} {email:?}");
        assert!(strangers.is_quiet());
    }
}

#[tokio::test]
async fn a_server_without_starttls_or_with_a_strangers_certificate_gets_no_mail() {
    let mut plain = Smtp::start(json!({})).await;
    let error = email("localhost", plain.port, "starttls", "").tell(&trigger(page())).await.expect_err("no TLS");
    assert!(matches!(&error, NotifyError::Refused { detail } if detail.contains("STARTTLS")), "{error}");
    assert!(plain.is_quiet());
    let mut server = Smtp::start(json!({"tls": "starttls"})).await;
    // Its certificate is for `localhost` and 127.0.0.1 alone.
    let mut other = Smtp::start(json!({"tls": "starttls", "host": "127.0.0.2"})).await;
    let error = email("127.0.0.2", other.port, "starttls", "").tell(&trigger(page())).await.expect_err("another's");
    assert!(matches!(&error, NotifyError::Unreachable { detail } if detail.contains("certificate")), "{error}");
    assert!(other.is_quiet());
    let folder = tempfile::tempdir().unwrap();
    let table = format!(
        "[notify.team.email]\nserver = \"localhost\"\nport = {}\nfrom = \"a@b.example\"\nto = [\"c@d.example\"]\n",
        server.port
    );
    let without_the_ca = opened_with(folder.path(), "", &table);
    let error = without_the_ca.tell(&trigger(page())).await.expect_err("nobody vouches for it");
    assert!(matches!(&error, NotifyError::Unreachable { detail } if detail.contains("certificate")), "{error}");
    assert!(server.is_quiet());
}

async fn failing(options: Json) -> (NotifyError, Smtp) {
    let server = Smtp::start(options).await;
    let error = email("127.0.0.1", server.port, "none", "").tell(&trigger(page())).await.expect_err("not taken");
    (error, server)
}

#[tokio::test]
async fn later_is_busy_and_never_is_refused() {
    let (error, _server) = failing(json!({"data": "451 try again later"})).await;
    assert!(
        matches!(&error, NotifyError::Busy { detail, .. } if detail.contains("451") && detail.contains("try again")),
        "{error}"
    );
    let (error, _server) = failing(json!({"data": "554 we do not want it"})).await;
    assert!(matches!(&error, NotifyError::Refused { detail } if detail.contains("we do not want it")), "{error}");
    let all = json!({"refuse": {"a@example.com": "550 no such user", "b@example.com": "550 no such user"}});
    let (error, _server) = failing(all).await;
    assert!(matches!(&error, NotifyError::Refused { detail } if detail.contains("550")), "{error}");
    // Nobody got it, and one may get it later.
    let mixed = json!({"refuse": {"a@example.com": "550 no such user", "b@example.com": "450 greylisted"}});
    let (error, mut server) = failing(mixed).await;
    assert!(matches!(&error, NotifyError::Busy { detail, .. } if detail.contains("450")), "{error}");
    assert!(server.is_quiet());
}

#[tokio::test]
async fn one_wrong_address_does_not_keep_it_from_the_others() {
    let mut server = Smtp::start(json!({"refuse": {"a@example.com": "550 no such user"}})).await;
    email("127.0.0.1", server.port, "none", "").tell(&trigger(page())).await.unwrap();
    assert_eq!(server.mail().await["to"], json!(["b@example.com"]));
    assert!(server.is_quiet());
}

#[tokio::test]
async fn one_full_mailbox_does_not_keep_it_from_the_others_who_get_it_once() {
    for full in ["452 mailbox full", "450 greylisted", "421 come again"] {
        let mut server = Smtp::start(json!({"refuse": {"a@example.com": full}})).await;
        email("127.0.0.1", server.port, "none", "").tell(&trigger(page())).await.unwrap_or_else(|error| {
            panic!("`{full}` to one of two: {error}");
        });
        assert_eq!(server.mail().await["to"], json!(["b@example.com"]), "{full}");
        assert!(server.is_quiet(), "{full}");
    }
}

#[tokio::test]
async fn an_address_that_is_refused_with_the_mail_does_not_keep_it_from_the_others() {
    let mut server = Smtp::start(json!({"refuse_data": {"a@example.com": "554 no such user"}})).await;
    email("127.0.0.1", server.port, "none", "").tell(&trigger(page())).await.unwrap();
    assert_eq!(server.mail().await["to"], json!(["b@example.com"]));
    assert!(server.is_quiet());
}

#[tokio::test]
async fn nothing_from_outside_adds_a_header_or_markup() {
    let mut server = Smtp::start(json!({})).await;
    let mut drill = nasty();
    drill.drill = Some("7KQ2M9\r\nBcc: everybody@example.com".to_owned());
    let message = Message { key: "k\r\nBcc: x@example.com".to_owned(), ..trigger(drill) };
    email("127.0.0.1", server.port, "none", "").tell(&message).await.unwrap();
    let mail = server.mail().await;
    let mut names: Vec<&String> = mail["headers"].as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "Auto-Submitted",
            "Content-Type",
            "Date",
            "From",
            "MIME-Version",
            "Message-ID",
            "Subject",
            "To",
            "X-Landfall-Key"
        ]
    );
    assert_eq!(mail["to"], json!(["a@example.com", "b@example.com"]));
    assert!(header(&mail, "Subject").starts_with("DRILL 7KQ2M9 Bcc: every"));
    assert!(!mail["parts"]["text/html"].as_str().unwrap().contains("<script"));
}

#[tokio::test]
async fn who_is_not_there_hangs_up_or_talks_nonsense_is_unreachable_and_a_silent_one_can_be_left() {
    let port = |url: String| url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    for url in [nobody().await, crate::fixtures::stand_in::hangs_up().await] {
        let email = email("127.0.0.1", port(url), "none", "");
        let told = tokio::time::timeout(Duration::from_secs(5), email.tell(&trigger(page()))).await;
        // A server that waits for us to speak first is left by the caller.
        assert!(told.as_ref().is_err() || matches!(told, Ok(Err(NotifyError::Unreachable { .. }))), "{told:?}");
    }
    let silent = Smtp::start(json!({"hang": true})).await;
    let email_to = email("127.0.0.1", silent.port, "none", "");
    assert!(tokio::time::timeout(Duration::from_millis(500), email_to.tell(&trigger(page()))).await.is_err());
    let endless = Smtp::start(json!({"long": 3_000_000})).await;
    let email = email("127.0.0.1", endless.port, "none", "");
    let told = tokio::time::timeout(Duration::from_secs(30), email.tell(&trigger(page()))).await.expect("bounded");
    assert!(matches!(&told, Err(NotifyError::Unreachable { .. })), "{told:?}");
}

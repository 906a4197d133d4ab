//! The letter: one mail, as text and as HTML, in the thread of its incident.

use std::time::{Duration, SystemTime};

use lettre::{
    Message as Mail,
    error::Error,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};

use crate::{
    canary::Timestamp,
    notify::{Message, What, digest, text},
};

/// Writes a message as mail. The same message is the same mail whenever it is written, so that one
/// that came twice is known to be the same.
pub(super) fn write(message: &Message, from: &Mailbox, to: &[Mailbox]) -> Result<Vec<u8>, Error> {
    let subject = text::subject(message);
    let sections = text::sections(message);
    let id = |kind: &str| format!("<{}@{}>", &digest(&[&message.key, kind])[..32], from.email.domain());
    let kind = match &message.what {
        What::Trigger(_) => "trigger",
        What::Over(_) => "over",
        What::Resolve(_) => "resolve",
        What::Deploy(_) => "deploy",
        // Each reminder is a mail of its own.
        What::Again(_) => &message.at.to_string(),
    };
    let mut mail = Mail::builder()
        .from(from.clone())
        .date(date(message.at))
        .message_id(Some(id(kind)))
        .subject(subject.clone())
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Landfall-Key", &text::cut(&message.key, 200)));
    for one in to {
        mail = mail.to(one.clone());
    }
    if matches!(message.what, What::Again(_) | What::Resolve(_)) {
        mail = mail.in_reply_to(id("trigger")).references(id("trigger"));
    }
    let parts = MultiPart::alternative_plain_html(text::plain(&sections), text::html(&subject, &sections));
    Ok(mail.multipart(parts)?.formatted())
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// Seconds since 1970 as the standard library has them.
fn date(at: Timestamp) -> SystemTime {
    let seconds = u64::try_from(at.as_millis().div_euclid(1000)).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

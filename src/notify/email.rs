//! Mail, over SMTP.
//!
//! ```toml
//! [notify.team.email]
//! server   = "smtp.example.com"
//! from     = "Landfall <landfall@example.com>"
//! to       = ["data-oncall@example.com"]
//! user     = "landfall"                       # optional, with password
//! password = { file = "smtp.password" }
//! tls      = "starttls"                       # or "tls", or "none": only to this host
//! port     = 587                              # absent: 587, 465, 25
//! remind   = "4h"                             # optional: says again what still goes on
//! ```
//!
//! Further CAs are those of `agent.ca_bundle`; a proxy is for HTTP and not used here.

mod bounded;
mod letter;
mod settings;
mod transaction;

use std::{slice, sync::Arc, time::Duration};

use async_trait::async_trait;
use lettre::{
    Address,
    message::Mailbox,
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::AsyncSmtpConnection,
        extension::ClientId,
    },
};
use tokio::{net::TcpStream, time::Instant};

pub use self::settings::Keys;
use self::{
    bounded::Bounded,
    settings::{Settings, Tls},
    transaction::{Cause, Left, NotSent},
};
use super::{Keeps, Manner, Message, Notifier, NotifyError, digest, reading::Reading, text::cut};
use crate::config::{Opening, Problems};

/// A host that takes longer to answer is not there.
const CONNECT: Duration = Duration::from_secs(8);
/// Once the mail was taken nothing is waited for: a lost goodbye must not look like a lost mail.
const GOODBYE: Duration = Duration::from_secs(1);
/// From the beginning, for all: the outbox waits for ten seconds, and what was taken by one of them
/// by then must be known as taken, or it would be sent to that one again.
const SINGLY_WITHIN: Duration = Duration::from_secs(8);
/// Mails in any minute: servers for people stop more.
const PER_MINUTE: usize = 20;

/// Opens `[notify.NAME.email]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Notifier>, Problems> {
    let keys = opening.section.decode()?;
    let mut reading = Reading::new(opening);
    let settings = settings::read(keys, &mut reading);
    reading.finish(settings).map(|settings| Arc::new(Email { settings }) as Arc<dyn Notifier>)
}

/// People with addresses.
#[derive(Debug)]
struct Email {
    settings: Settings,
}

impl Email {
    async fn connect(&self) -> Result<AsyncSmtpConnection, NotifyError> {
        let Settings { server, port, tls, login, .. } = &self.settings;
        let (at, hello) = ((server.as_str(), *port), ClientId::default());
        let said = |error: SmtpError| self.meaning(&error);
        let mut connection = match tls {
            // Who shows the right certificate is believed not to flood us.
            Tls::Wrapped(parameters) => {
                AsyncSmtpConnection::connect_tokio1(at, Some(CONNECT), &hello, Some(parameters.clone()), None).await
            }
            Tls::Upgraded(_) | Tls::None => {
                let stream = Box::new(Bounded::new(reach(at).await?));
                AsyncSmtpConnection::connect_with_transport(stream, &hello).await
            }
        }
        .map_err(said)?;
        if let Tls::Upgraded(parameters) = tls {
            // Refused if the server does not offer it: nothing is ever sent in the clear instead.
            connection.starttls(parameters.clone(), &hello).await.map_err(said)?;
        }
        if let Some((user, password)) = login {
            let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(said)?;
        }
        Ok(connection)
    }

    /// One mail to some of the addresses: taken if one took it.
    async fn send(&self, to: &[Mailbox], mail: &[u8]) -> Result<(), NotTaken> {
        let whole = |error| NotTaken { error, perhaps_one: false };
        let mut connection = self.connect().await.map_err(whole)?;
        let sent = transaction::send(&mut connection, &self.settings.from, to, mail).await;
        let _ = tokio::time::timeout(GOODBYE, connection.quit()).await;
        let errors = |left: Left| left.into_iter().map(|(address, cause)| (address, self.cause(&cause)));
        match sent {
            Ok(left) => {
                errors(left).for_each(|(address, error)| warn(&address, &error));
                Ok(())
            }
            Err(NotSent::Whole(error)) => Err(whole(self.meaning(&error))),
            Err(NotSent::PerhapsOne(error)) => Err(NotTaken { error: self.meaning(&error), perhaps_one: to.len() > 1 }),
            Err(NotSent::Nobody(left)) => Err(whole(hopeful(errors(left).map(|(_, error)| error)))),
            Err(NotSent::Lacks(what)) => Err(whole(NotifyError::Refused { detail: what.to_owned() })),
        }
    }

    /// One mail to each, on connections of their own.
    async fn send_singly(&self, to: &[Mailbox], mail: &[u8], until: Instant) -> Result<(), NotifyError> {
        let (mut taken, mut errors) = (false, Vec::new());
        for one in to {
            match tokio::time::timeout_at(until, self.send(slice::from_ref(one), mail)).await {
                Ok(Ok(())) => taken = true,
                Ok(Err(NotTaken { error, .. })) => {
                    warn(&one.email, &error);
                    errors.push(error);
                }
                Err(_) => {
                    let detail = "it takes too long to answer".to_owned();
                    errors.push(NotifyError::Unreachable { detail });
                    break;
                }
            }
        }
        if taken { Ok(()) } else { Err(hopeful(errors)) }
    }

    fn cause(&self, cause: &Cause) -> NotifyError {
        match cause {
            Cause::Said(error) => self.meaning(error),
            Cause::Lacks(what) => NotifyError::Refused { detail: (*what).to_owned() },
        }
    }

    /// What a server's answer means. Servers quote addresses, and seldom passwords.
    fn meaning(&self, error: &SmtpError) -> NotifyError {
        let mut text = error.to_string();
        if let Some((_, password)) = &self.settings.login {
            text = text.replace(password.reveal(), "…");
        }
        let detail = cut(&text, 500);
        if error.is_transient() {
            NotifyError::Busy { detail, retry_after: None }
        } else if error.is_permanent() || error.is_client() {
            NotifyError::Refused { detail }
        } else {
            NotifyError::Unreachable { detail }
        }
    }
}

/// Nobody took it.
struct NotTaken {
    error: NotifyError,
    /// Perhaps it is one of several addresses.
    perhaps_one: bool,
}

/// Somebody did not get what others got.
fn warn(address: &Address, error: &NotifyError) {
    tracing::warn!(%address, %error, "mail to `{address}` was not taken");
}

/// Of why nobody took it: what promises most, and of that what was said first.
fn hopeful(errors: impl IntoIterator<Item = NotifyError>) -> NotifyError {
    let hope = |error: &NotifyError| match error {
        NotifyError::Busy { .. } => 0,
        NotifyError::Unreachable { .. } => 1,
        NotifyError::Refused { .. } => 2,
    };
    let nobody = || NotifyError::Refused { detail: "there is nobody to write to".to_owned() };
    errors.into_iter().min_by_key(hope).unwrap_or_else(nobody)
}

/// A connection, in whatever time the host has for it.
async fn reach(at: (&str, u16)) -> Result<TcpStream, NotifyError> {
    let unreachable = |detail: String| NotifyError::Unreachable { detail: cut(&detail, 500) };
    match tokio::time::timeout(CONNECT, TcpStream::connect(at)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable("it does not answer".to_owned())),
    }
}

#[async_trait]
impl Notifier for Email {
    async fn tell(&self, message: &Message) -> Result<(), NotifyError> {
        let Settings { from, to, .. } = &self.settings;
        if message.what.page().is_none() {
            return Err(NotifyError::Refused { detail: "deploys are not mailed".to_owned() });
        }
        let until = Instant::now() + SINGLY_WITHIN;
        let unsent = |error: lettre::error::Error| NotifyError::Refused { detail: format!("no mail: {error}") };
        let mail = letter::write(message, from, to).map_err(unsent)?;
        match self.send(to, &mail).await {
            Ok(()) => Ok(()),
            Err(NotTaken { perhaps_one: true, .. }) => self.send_singly(to, &mail, until).await,
            Err(NotTaken { error, .. }) => Err(error),
        }
    }

    fn manner(&self) -> Manner {
        let again = self.settings.remind;
        Manner { keeps: Keeps::Messages, again, takes_deploys: false, per_minute: PER_MINUTE }
    }

    fn identity(&self) -> String {
        let Settings { server, port, tls, login, from, to, remind: _ } = &self.settings;
        let (port, tls) = (port.to_string(), format!("{tls:?}"));
        let (user, password) = login.as_ref().map_or(("", ""), |(user, password)| (user, password.reveal()));
        let mut addresses: Vec<&str> = to.iter().map(|one| one.email.as_ref()).collect();
        addresses.sort_unstable();
        let way = ["email", server, &port, &tls, user, password, from.email.as_ref()];
        digest(&[way.as_slice(), &addresses].concat())
    }
}

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

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lettre::{
    address::Envelope,
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::AsyncSmtpConnection,
        extension::ClientId,
    },
};
use tokio::net::TcpStream;

use self::{
    bounded::Bounded,
    settings::{Settings, Tls},
};
use super::{Keeps, Manner, Message, Notifier, NotifyError, digest, reading::Reading, text::cut};
use crate::config::{Opening, Problems};

/// A host that takes longer to answer is not there.
const CONNECT: Duration = Duration::from_secs(8);
/// Once the mail was taken nothing is waited for: a lost goodbye must not look like a lost mail.
const GOODBYE: Duration = Duration::from_secs(1);
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

    /// One mail to some of the addresses.
    async fn send(&self, envelope: &Envelope, mail: &[u8]) -> Result<(), NotifyError> {
        let mut connection = self.connect().await?;
        let sent = connection.send(envelope, mail).await;
        let _ = tokio::time::timeout(GOODBYE, connection.quit()).await;
        sent.map(|_| ()).map_err(|error| self.meaning(&error))
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
        let unsent = |error: lettre::error::Error| NotifyError::Refused { detail: format!("no mail: {error}") };
        let mail = letter::write(message, from, to).map_err(unsent)?;
        let all = Envelope::new(Some(from.email.clone()), to.iter().map(|one| one.email.clone()).collect());
        let Err(error) = self.send(&all.map_err(unsent)?, &mail).await else { return Ok(()) };
        if !matches!(error, NotifyError::Refused { .. }) || to.len() < 2 {
            return Err(error);
        }
        // Perhaps it is one of the addresses: the others must not go without for it.
        let mut taken = 0;
        for one in to {
            let alone = Envelope::new(Some(from.email.clone()), vec![one.email.clone()]).map_err(unsent)?;
            match self.send(&alone, &mail).await {
                Ok(()) => taken += 1,
                Err(error) => {
                    tracing::warn!(address = %one.email, %error, "mail to `{}` was not taken", one.email);
                }
            }
        }
        if taken > 0 { Ok(()) } else { Err(error) }
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

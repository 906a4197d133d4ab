//! A transaction: one mail on one connection, to all who are there to take it. An address that
//! takes nothing is left out, whether for now or for good: the others must not go without for it.

use lettre::{
    Address,
    message::Mailbox,
    transport::smtp::{
        Error,
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Rcpt},
        extension::{Extension, MailBodyParameter, MailParameter},
    },
};

/// By this answer a server says that it hangs up.
const HANGS_UP: u16 = 421;

/// What became of a mail that the server took.
pub(super) type Left = Vec<(Address, Cause)>;

/// Why an address, or everybody, did not get it.
#[derive(Debug)]
pub(super) enum Cause {
    /// The server's answer, or none.
    Said(Error),
    /// What the server would have to know for it.
    Lacks(&'static str),
}

/// Why nobody got it.
#[derive(Debug)]
pub(super) enum NotSent {
    /// That is it.
    Whole(Error),
    /// Perhaps it is one of the addresses, and the others would get it alone.
    PerhapsOne(Error),
    /// Every address was turned down, for these causes.
    Nobody(Left),
    /// It cannot be sent by this server.
    Lacks(&'static str),
}

/// Hands a mail over once: who of `to` was left out, if the others got it.
pub(super) async fn send(
    connection: &mut AsyncSmtpConnection,
    from: &Mailbox,
    to: &[Mailbox],
    mail: &[u8],
) -> Result<Left, NotSent> {
    let speaks_unicode = connection.server_info().supports_feature(Extension::SmtpUtfEight);
    let is_plain = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    let mut parameters = Vec::new();
    if speaks_unicode && !(is_plain(&from.email) && to.iter().all(|one| is_plain(&one.email))) {
        parameters.push(MailParameter::SmtpUtfEight);
    } else if !is_plain(&from.email) {
        return Err(NotSent::Lacks("the sender's address is not ASCII, and the server has no SMTPUTF8"));
    }
    if !mail.is_ascii() {
        if !connection.server_info().supports_feature(Extension::EightBitMime) {
            return Err(NotSent::Lacks("the mail is not ASCII, and the server has no 8BITMIME"));
        }
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    connection.command(Mail::new(Some(from.email.clone()), parameters)).await.map_err(NotSent::Whole)?;
    let mut left = Left::new();
    for Mailbox { email, .. } in to {
        if !speaks_unicode && !is_plain(email) {
            left.push((email.clone(), Cause::Lacks("the address is not ASCII, and the server has no SMTPUTF8")));
            continue;
        }
        match connection.command(Rcpt::new(email.clone(), Vec::new())).await {
            Ok(_) => {}
            Err(error) if error.status().is_some_and(|code| u16::from(code) == HANGS_UP) => {
                return Err(NotSent::PerhapsOne(error));
            }
            Err(error) if error.status().is_some() => left.push((email.clone(), Cause::Said(error))),
            Err(error) => return Err(NotSent::Whole(error)),
        }
    }
    if left.len() == to.len() {
        return Err(NotSent::Nobody(left));
    }
    let refused = |error: Error| match error.is_permanent() {
        // Some servers look at addresses only now.
        true => NotSent::PerhapsOne(error),
        false => NotSent::Whole(error),
    };
    connection.command(Data).await.map_err(refused)?;
    connection.message(mail).await.map_err(refused)?;
    Ok(left)
}

//! A login: who the agent is on a server, and how it proves that.

use std::{fmt, sync::Arc};

use russh::{
    client::{AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse},
    keys::{PrivateKey, PrivateKeyWithHashAlg, decode_secret_key},
};

use crate::{canary::Secret, target::TargetError};

/// Questions answered with the password in one dialogue: servers ask once.
const MOST_QUESTIONS: usize = 3;

/// Who the agent is.
#[derive(Clone, Debug)]
pub struct Login {
    /// User.
    pub user: String,
    /// What proves it, in the order in which it is tried.
    pub proofs: Vec<Proof>,
}

/// What proves who somebody is.
#[derive(Clone)]
pub enum Proof {
    /// A private key.
    Key(Arc<PrivateKey>),
    /// A password.
    Password(Secret),
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Proof::Key(_) => "Key(…)",
            Proof::Password(_) => "Password(…)",
        })
    }
}

impl Proof {
    /// A key in OpenSSH's or PEM's format. The error says no word of the key.
    pub fn key(text: &Secret, passphrase: Option<&Secret>) -> Result<Self, String> {
        decode_secret_key(text.reveal(), passphrase.map(Secret::reveal)).map(|key| Proof::Key(Arc::new(key))).map_err(
            |error| match error {
                russh::keys::Error::KeyIsEncrypted => "needs a passphrase".to_owned(),
                _ if passphrase.is_some() => "cannot be opened with that passphrase, or is no private key".to_owned(),
                _ => "is no private key that can be read".to_owned(),
            },
        )
    }
}

impl Login {
    /// Logs in with the first proof that the server takes.
    pub(super) async fn enter<H: Handler>(&self, on: &mut Handle<H>) -> Result<(), TargetError> {
        let mut taken = String::new();
        for proof in &self.proofs {
            let done = match proof {
                Proof::Key(key) => {
                    let hash = match key.algorithm().is_rsa() {
                        true => on.best_supported_rsa_hash().await.map_err(|error| broken(&error))?.flatten(),
                        false => None,
                    };
                    // Servers that do not say what they take still take the hash of today.
                    let hash = hash.or_else(|| key.algorithm().is_rsa().then_some(russh::keys::HashAlg::Sha256));
                    let key = PrivateKeyWithHashAlg::new(key.clone(), hash);
                    on.authenticate_publickey(&self.user, key).await
                }
                Proof::Password(password) => on.authenticate_password(&self.user, password.reveal()).await,
            };
            match done.map_err(|error| broken(&error))? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => {
                    let methods: Vec<&str> = remaining_methods.iter().map(Into::into).collect();
                    taken = methods.join(", ");
                    if let Proof::Password(password) = proof
                        && methods.contains(&"keyboard-interactive")
                        && self.answer(on, password).await?
                    {
                        return Ok(());
                    }
                }
            }
        }
        let detail = format!("the server refused the login of `{}`; it takes: {taken}", self.user);
        Err(TargetError::Denied { detail: crate::target::cut(&detail) })
    }

    /// Answers questions with the password: many servers ask for it so, and in no other way.
    async fn answer<H: Handler>(&self, on: &mut Handle<H>, password: &Secret) -> Result<bool, TargetError> {
        let mut answer = on
            .authenticate_keyboard_interactive_start(&self.user, None::<String>)
            .await
            .map_err(|error| broken(&error))?;
        for _ in 0..MOST_QUESTIONS {
            let prompts = match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
            };
            // What is shown while it is typed is no password.
            let answers = prompts
                .iter()
                .map(|prompt| if prompt.echo { String::new() } else { password.reveal().to_owned() })
                .collect();
            answer = on.authenticate_keyboard_interactive_respond(answers).await.map_err(|error| broken(&error))?;
        }
        Ok(matches!(answer, KeyboardInteractiveAuthResponse::Success))
    }
}

pub(super) fn broken(error: &russh::Error) -> TargetError {
    TargetError::Unreachable { detail: crate::target::cut(&error.to_string()) }
}

//! Outlets: the hosts that results may leave to. Loopback, unless the user named more.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::DeliveryError;

/// The hosts that results may leave to, beside loopback.
#[derive(Clone, Debug, Default)]
pub struct Outlets {
    hosts: Vec<String>,
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

impl Outlets {
    /// Loopback and these hosts, names or addresses.
    pub fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        Self { hosts: hosts.into_iter().map(|host| host.trim_matches(['[', ']']).to_ascii_lowercase()).collect() }
    }

    fn named(&self, host: &str) -> bool {
        self.hosts.iter().any(|named| named.eq_ignore_ascii_case(host))
    }

    /// Refuses an address that is certainly not allowed. A name is decided when it is resolved.
    pub(super) fn name(&self, host: &str) -> Result<(), DeliveryError> {
        let host = host.trim_matches(['[', ']']);
        match host.parse::<IpAddr>() {
            Ok(address) if !is_loopback(address) && !self.named(host) => Err(DeliveryError::Forbidden(host.to_owned())),
            Ok(_) => Ok(()),
            Err(_) if self.named(host) || is_local_name(host) => Ok(()),
            Err(_) => Err(DeliveryError::Forbidden(host.chars().take(100).collect())),
        }
    }

    /// The addresses of a host that rows may go to.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DeliveryError> {
        let found = tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| DeliveryError::Unreachable(format!("{host}: {error}")))?;
        let named = self.named(host);
        let allowed: Vec<SocketAddr> = found.filter(|at| named || is_loopback(at.ip())).collect();
        if allowed.is_empty() { Err(DeliveryError::Forbidden(host.to_owned())) } else { Ok(allowed) }
    }
}

/// Names that stand for this machine by standard; what they resolve to is checked all the same.
fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

impl Resolve for Outlets {
    /// So that the address that is checked is the address that is used.
    fn resolve(&self, name: Name) -> Resolving {
        let outlets = self.clone();
        Box::pin(async move {
            let found = Outlets::resolve(&outlets, name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_leave_to_loopback_and_to_named_hosts_only() {
        let outlets = Outlets::new(["db.example.com".to_owned(), "192.0.2.7".to_owned()]);
        for host in ["127.0.0.1", "127.8.8.8", "[::1]", "::ffff:127.0.0.1", "localhost", "DB.example.com", "192.0.2.7"]
        {
            assert_eq!(outlets.name(host), Ok(()), "{host}");
        }
        for host in
            ["192.0.2.8", "0.0.0.0", "example.com", "localhost.example.com", "[2001:db8::1]", "169.254.169.254", ""]
        {
            assert!(matches!(outlets.name(host), Err(DeliveryError::Forbidden(_))), "{host}");
        }
    }
}

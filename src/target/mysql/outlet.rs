//! Outlets: the address by which a platform writes to a target's tables.

use super::place::{PlaceError, Tables, parsed};
use crate::{
    canary::{Address, Mode, Run, Secret},
    target::encoded,
};

/// The server as the platform reaches it, and how it gets in.
#[derive(Clone, Debug)]
pub struct Outlet {
    user: String,
    password: Option<Secret>,
    /// Host, port and database, encoded as they were written.
    place: String,
    options: Vec<String>,
}

impl Outlet {
    /// From `mysql://user:password@host:port/database`; options are passed on.
    pub fn new(url: &Secret) -> Result<Self, PlaceError> {
        let url = parsed(url)?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port().unwrap_or(3306);
        let mut options = Vec::new();
        for pair in url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                (name @ ("mode" | "unique" | "table"), _) => return Err(PlaceError::Option(name.to_owned())),
                // The platform's own word for it.
                ("ssl-mode" | "sslmode", mode) => {
                    let lax = ["disabled", "preferred"].contains(&&*mode.to_ascii_lowercase());
                    options.push(format!("ssl={}", !lax));
                }
                // Files of this machine.
                ("ssl-ca" | "socket", _) => {}
                _ => options.push(pair.to_owned()),
            }
        }
        Ok(Self {
            user: url.username().to_owned(),
            password: url.password().map(Secret::new),
            place: format!("{host}:{port}{}", url.path()),
            options,
        })
    }

    /// Where a platform delivers a run.
    pub(super) fn address(&self, tables: &Tables, run: &Run) -> Address {
        let (mode, place) = (run.route.mode, tables.of(run));
        let mut options = vec![format!("mode={mode}")];
        if mode == Mode::Update {
            // Rows keep their number from run to run, so each run updates the rows of the last.
            options.push("unique=row_no".to_owned());
        }
        options.extend(self.options.iter().cloned());
        let rest = format!("@{}/{}?{}", self.place, encoded(&place), options.join("&"));
        let login = |password: Option<&str>| match password {
            Some(password) => format!("mysql://{}:{password}", self.user),
            None => format!("mysql://{}", self.user),
        };
        Address {
            place,
            url: Secret::new(format!("{}{rest}", login(self.password.as_ref().map(Secret::reveal)))),
            shown: format!("{}{rest}", login(self.password.as_ref().map(|_| "…"))),
            mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::canary::{
        CanaryName, Labels, Marker, PlatformName, Route, Sample, TargetName, Terms, Timestamp, run::Why,
    };

    fn run(mode: Mode, why: Why) -> Run {
        let route = Route::new(
            CanaryName::new("c").expect("valid"),
            PlatformName::new("p").expect("valid"),
            TargetName::new("t").expect("valid"),
            mode,
            Labels::default(),
        );
        let terms = Terms { due: Timestamp::EPOCH, objective: Duration::ZERO, deadline: Duration::ZERO };
        let marker = Marker::mint(Timestamp::EPOCH, 1);
        Run { marker, route: Arc::new(route), terms, sample: Sample::default(), why, report: None }
    }

    fn address(url: &str, table: &str, run: &Run) -> Address {
        let outlet = Outlet::new(&Secret::new(url)).expect("valid");
        outlet.address(&Tables::new(table).expect("valid"), run)
    }

    #[test]
    fn platforms_get_a_url_with_table_and_mode_and_people_one_without_the_password() {
        let url = "mysql://wr%40iter:p%2Fw%3F@db.example.com/ware%20house?ssl-mode=REQUIRED&use_compression=true";
        let append = address(url, "can ary", &run(Mode::Append, Why::Scheduled));
        let rest = "@db.example.com:3306/ware%20house/can%20ary?mode=append&ssl=true&use_compression=true";
        assert_eq!(append.url.reveal(), format!("mysql://wr%40iter:p%2Fw%3F{rest}"));
        assert_eq!(append.shown, format!("mysql://wr%40iter:…{rest}"));
        assert!(!format!("{append:?}").contains("p%2Fw"));
        assert_eq!(append.place, "can ary");
    }

    #[test]
    fn modes_that_displace_have_a_table_for_each_route() {
        let replace = run(Mode::Replace, Why::Scheduled);
        let shown = address("mysql://u:p@h:1/d?socket=/x", "canary", &replace).shown;
        assert_eq!(shown, format!("mysql://u:…@h:1/d/canary__{}?mode=replace", replace.route.id));
        let shown = address("mysql://u@h:1/d", "canary", &run(Mode::Replace, Why::Verify)).shown;
        assert!(shown.starts_with("mysql://u@h:1/") && shown.contains("__verify?mode=replace"), "{shown}");
        let shown = address("mysql://u:p@h:1/d", "canary", &run(Mode::Update, Why::Scheduled)).shown;
        assert!(shown.ends_with("?mode=update&unique=row_no"), "{shown}");
        assert!(Outlet::new(&Secret::new("mysql://u:p@h/d?mode=append")).is_err());
    }
}

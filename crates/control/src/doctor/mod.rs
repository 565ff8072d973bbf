//! What does this machine offer, and what stands in the way?
//!
//! `checks` looks, `programs` asks programs for their versions, this file holds the answers and
//! shows them. Invariants: looking changes nothing; every failure names a remedy; nothing shown is
//! a secret.

mod checks;
mod programs;

use std::fmt;

use serde_json::{Value, json};

use crate::error::Error;
use crate::load::Loaded;
use crate::surroundings::Surroundings;
use crate::table::table;

/// What the event loop says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverProbe {
    /// Whether io_uring works here, or why not.
    pub uring: Result<(), String>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Examined<'a> {
    /// The world outside.
    pub surroundings: &'a Surroundings,
    /// What the event loop says of itself.
    pub driver: &'a DriverProbe,
    /// The configuration, or why there is none.
    pub loaded: Result<&'a Loaded, &'a Error>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works, with a drawback.
    Warn,
    /// Does not work.
    Fail,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What, in a word or two.
    pub name: String,
    /// How it came out.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What to do about it, unless it is as it should be.
    pub remedy: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, detail: detail.into(), remedy: None }
    }

    fn warn(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { name: name.into(), status: Status::Warn, detail: detail.into(), remedy }
    }

    fn fail(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Fail, ..Self::warn(name, detail, remedy) }
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In a fixed order.
    pub checks: Vec<Check>,
}

/// Looks at everything. Takes up to about 3 s, as long as a program may take to tell its version.
pub fn examine(examined: &Examined<'_>) -> Report {
    Report { checks: checks::all(examined) }
}

impl Report {
    /// The worst status.
    pub fn status(&self) -> Status {
        self.checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok)
    }

    /// For eyes.
    pub fn render(&self) -> String {
        let mut rows = Vec::new();
        for check in &self.checks {
            let status = check.status.to_string();
            rows.push(vec![status, check.name.clone(), check.detail.clone()]);
            if let Some(remedy) = &check.remedy {
                rows.push(vec![String::new(), String::new(), format!("-> {remedy}")]);
            }
        }
        let count = |status| self.checks.iter().filter(|check| check.status == status).count();
        let (warn, fail) = (count(Status::Warn), count(Status::Fail));
        format!("{}\nwarnings: {warn}, failures: {fail}\n", table(&rows))
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let checks: Vec<Value> = self
            .checks
            .iter()
            .map(|check| {
                json!({
                    "name": check.name,
                    "status": check.status.to_string(),
                    "detail": check.detail,
                    "remedy": check.remedy,
                })
            })
            .collect();
        json!({ "status": self.status().to_string(), "checks": checks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_to_do() {
        let report = Report {
            checks: vec![
                Check::ok("system", "Linux 6.1"),
                Check::fail("port", "127.0.0.1:1 is taken", "choose another"),
            ],
        };
        assert_eq!(report.status(), Status::Fail);
        assert_eq!(
            report.render(),
            "ok    system  Linux 6.1\nfail  port    127.0.0.1:1 is taken\n              \
             -> choose another\n\nwarnings: 0, failures: 1\n"
        );
        let json = report.to_json();
        assert_eq!(json["status"], "fail");
        assert_eq!(json["checks"][0]["remedy"], Value::Null);
    }
}

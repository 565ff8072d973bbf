//! The single things a doctor looks at.

use std::collections::BTreeSet;
use std::net::TcpListener;

use super::programs::{Found, versions};
use super::{Check, Examined};
use crate::error::Error;
use crate::load::Loaded;
use crate::plan::{Driver, Kind, Plan};
use crate::show::printable;
use crate::surroundings::Surroundings;

/// Programs that are looked for whether or not a server needs them.
const PROGRAMS: &[&str] = &["node", "npm", "npx", "python3", "uv", "uvx"];
/// Fewest open files that let a few dozen servers and clients be served.
#[cfg(unix)]
const FILES_MIN: u64 = 4096;

pub(super) fn all(examined: &Examined<'_>) -> Vec<Check> {
    let around = examined.surroundings;
    let mut checks = vec![system(), driver(examined)];
    #[cfg(unix)]
    checks.push(open_files(examined.loaded.ok().map(|loaded| &loaded.plan)));
    checks.push(state(around));
    match examined.loaded {
        Err(error) => checks.push(Check::fail(
            "configuration",
            first_line(error),
            "run `kern serve` to see every problem with its place",
        )),
        Ok(loaded) => {
            checks.push(configuration(loaded));
            checks.push(clients(loaded));
            checks.extend(consent(loaded));
            checks.push(port(&loaded.plan));
            checks.extend(upstreams(loaded, around));
        }
    }
    let needed = examined.loaded.ok().map(|loaded| needed_programs(&loaded.plan));
    checks.extend(programs(around, &needed.unwrap_or_default()));
    checks
}

fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(unix)]
fn system() -> Check {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| printable(&part.to_string_lossy());
    let (system, release, machine) =
        (text(name.sysname()), text(name.release()), text(name.machine()));
    Check::ok("system", format!("{system} {release} on {machine}, {} CPUs", cpus()))
}

#[cfg(not(unix))]
fn system() -> Check {
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    Check::ok("system", format!("{system} on {machine}, {} CPUs", cpus()))
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn driver(examined: &Examined<'_>) -> Check {
    let chosen = examined.loaded.ok().map(|loaded| loaded.plan.serve.driver).unwrap_or_default();
    match (&examined.driver.uring, chosen) {
        (_, Driver::Portable) => Check::ok("event loop", "portable, as configured"),
        (Ok(()), _) => Check::ok("event loop", "io_uring"),
        (Err(why), Driver::Auto) => Check::warn(
            "event loop",
            format!("portable; io_uring does not work here: {}", printable(why)),
            "nothing needs it; for more speed use Linux 6.1 or later, and in a container allow \
             the io_uring system calls",
        ),
        (Err(why), Driver::Uring) => Check::fail(
            "event loop",
            format!("io_uring does not work here: {}", printable(why)),
            "set `driver = \"auto\"`",
        ),
    }
}

#[cfg(unix)]
fn open_files(plan: Option<&Plan>) -> Check {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |n| n.to_string());
    let detail = format!("{} (at most {})", shown(limit.current), shown(limit.maximum));
    // A client takes one, a child process three (two pipes, one handle), besides a few dozen.
    let upstreams = plan.map_or(0, |plan| plan.upstreams.len() as u64);
    let needed = FILES_MIN.max(1024 + 3 * upstreams);
    if limit.current.is_none_or(|soft| soft >= needed) {
        return Check::ok("open files", detail);
    }
    let remedy = if limit.maximum.is_none_or(|hard| hard >= needed) {
        format!("run `ulimit -n {needed}` before kern")
    } else {
        format!("raise the hard limit to {needed} (LimitNOFILE= in a systemd unit)")
    };
    Check::warn("open files", detail, remedy)
}

fn state(around: &Surroundings) -> Check {
    match around.state_folder() {
        Some(folder) => Check::ok("state folder", printable(&folder.display().to_string())),
        None => Check::warn(
            "state folder",
            "unknown, so answers about project files are forgotten",
            "set HOME",
        ),
    }
}

fn configuration(loaded: &Loaded) -> Check {
    let count = loaded.plan.upstreams.len();
    match &loaded.config {
        Some(path) => {
            let detail = format!("{}, {count} upstreams", printable(&path.display().to_string()));
            match loaded.warnings.first() {
                None => Check::ok("configuration", detail),
                Some(warning) => Check::warn(
                    "configuration",
                    format!("{detail}; line {}: {}", warning.line, warning.message),
                    warning.help.clone().unwrap_or_default(),
                ),
            }
        }
        None => Check::ok(
            "configuration",
            format!("no kern.toml; {count} upstreams from the clients' own files"),
        ),
    }
}

fn clients(loaded: &Loaded) -> Check {
    let names: BTreeSet<&str> =
        loaded.discovery.read_files().map(|file| file.client.title()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    if loaded.plan.upstreams.is_empty() {
        return Check::warn(
            "clients",
            match names.as_slice() {
                [] => "no client's files were found, and no server is configured".to_owned(),
                _ => format!("files of {}, but no server to use", names.join(", ")),
            },
            "add a server: docs/configuration.md; `kern discover` shows what was found",
        );
    }
    Check::ok("clients", if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}

fn consent(loaded: &Loaded) -> Vec<Check> {
    let mut checks = Vec::new();
    for path in loaded.discovery.awaiting_consent() {
        let path = printable(&path.display().to_string());
        let detail = format!("{path} came with the project and waits for your consent");
        checks.push(Check::warn("consent", detail, format!("kern serve --trust {path}")));
    }
    if let Some(error) = &loaded.consent_unsaved {
        let detail = format!("answers cannot be kept: {error}");
        checks.push(Check::warn("consent", detail, "make the state folder writable"));
    }
    checks
}

fn port(plan: &Plan) -> Check {
    let Some(listen) = plan.serve.listen else { return Check::ok("port", "none is configured") };
    match TcpListener::bind(listen) {
        Ok(_) => Check::ok("port", format!("{listen} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Check::warn(
            "port",
            format!("{listen} is taken, by kern if it is running"),
            "if it is not: kern serve --listen 127.0.0.1:PORT",
        ),
        Err(error) => Check::fail(
            "port",
            format!("{listen} cannot be used: {error}"),
            "kern serve --listen 127.0.0.1:7331",
        ),
    }
}

/// Every upstream that could not be started or called now, and why.
fn upstreams(loaded: &Loaded, around: &Surroundings) -> Vec<Check> {
    let mut checks = Vec::new();
    for upstream in &loaded.plan.upstreams {
        for error in upstream.resolve(around).err().unwrap_or_default() {
            let detail = format!("`{}`: {}", printable(&error.key), printable(&error.cause));
            let name = format!("upstream {}", upstream.name);
            checks.push(Check::fail(name, detail, printable(&error.remedy)));
        }
    }
    checks
}

/// The bare names that the plan's commands begin with.
fn needed_programs(plan: &Plan) -> BTreeSet<String> {
    let program = |kind: &Kind| match kind {
        Kind::Command(command) => command.program.as_literal().map(str::to_owned),
        Kind::Url(_) | Kind::Builtin(_) => None,
    };
    let names = plan.upstreams.iter().filter_map(|upstream| program(&upstream.kind));
    names.filter(|name| !name.contains(['/', '\\'])).collect()
}

fn programs(around: &Surroundings, needed: &BTreeSet<String>) -> Vec<Check> {
    let found = versions(PROGRAMS, around);
    let check = |(name, found): (&&str, Found)| {
        let wanted = needed.contains(*name);
        match found {
            Found::Version(version) => Check::ok(*name, version),
            Found::Mute(why) => Check::warn(*name, printable(&why), "run it by hand to see why"),
            // That it is missing is told once, at the upstream.
            Found::Absent if wanted => Check::warn(*name, "not on PATH, but needed", "install it"),
            Found::Absent => Check::ok(*name, "not on PATH; no server needs it"),
        }
    };
    PROGRAMS.iter().zip(found).map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{DriverProbe, Status, examine};
    use super::*;
    use crate::consent::Answer;
    use crate::load::{Overrides, load};

    #[test]
    fn a_machine_with_problems_is_told_each_with_a_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().to_owned();
        let text = "[upstream.a]\ncommand = \"no-such-program\"\nenv = { K = \"${env:NOPE}\" }\n\
                    [upstream.b]\nbuiltin = \"echo\"\n[discover]\nclients = true\nproject = true\n";
        std::fs::write(root.join("k.toml"), text).expect("written");
        std::fs::write(root.join("mcp.json"), r#"{"mcpServers":{"p":{"command":"p"}}}"#)
            .expect("written");
        let around = Surroundings {
            home: Some(root.join("home")),
            cwd: root.clone(),
            system_root: root,
            ..Surroundings::fixture()
        }
        .with_variable("PATH", "/nowhere");
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("bound").to_string();
        let overrides = Overrides {
            config: Some("k.toml".into()),
            listen: port.parse().ok(),
            ..Overrides::default()
        };
        let loaded = load(&around, &overrides, &mut |_| Answer::Later).expect("loads");
        let driver = DriverProbe { uring: Err("EPERM".to_owned()) };
        let examined = Examined { surroundings: &around, driver: &driver, loaded: Ok(&loaded) };
        let report = examine(&examined);
        let find = |name: &str| {
            let mut found = report.checks.iter().filter(|check| check.name == name);
            found.next().unwrap_or_else(|| panic!("{name} in {report:#?}"))
        };
        assert_eq!(find("event loop").status, Status::Warn);
        assert_eq!(find("port").status, Status::Warn);
        assert_eq!(find("consent").status, Status::Warn);
        assert_eq!(find("upstream a").status, Status::Fail);
        assert!(find("upstream a").detail.contains("NOPE is not set"));
        assert_eq!(find("uvx").detail, "not on PATH; no server needs it");
        assert_eq!(report.status(), Status::Fail);
        for check in &report.checks {
            assert_eq!(check.remedy.is_none(), check.status == Status::Ok, "{check:?}");
        }
        let error = Error::NoHome;
        let examined = Examined { loaded: Err(&error), ..examined };
        assert_eq!(examine(&examined).status(), Status::Fail);
    }
}

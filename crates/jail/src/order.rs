//! What is the keeper told to start, and for whom?
//!
//! Invariant: everything after `--` is the server's and is passed on byte for byte.

use std::ffi::OsString;

use crate::error::Error;

/// The hidden subcommand of `kern` under which [`keep`](crate::keep) is called.
pub const SUBCOMMAND: &str = "__keep";

/// The arguments with which `kern` starts itself as the keeper of `program`, from
/// [`SUBCOMMAND`] on. `parent` is the process id of the `kern` that starts it.
pub fn arguments(parent: u32, program: &str, args: &[String]) -> Vec<String> {
    let own = [SUBCOMMAND, "--parent", &parent.to_string(), "--", program].map(str::to_owned);
    own.into_iter().chain(args.iter().cloned()).collect()
}

/// A parsed command line: `--parent PID [--argv0 NAME] [--by-group] -- PROGRAM ARGS…`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The process that must live for the server to live.
    pub(crate) parent: i32,
    /// The server's `argv[0]`, where it is not the program as typed.
    pub(crate) argv0: Option<OsString>,
    /// Reach the process group only, as on systems without subreapers.
    pub(crate) by_group: bool,
    /// A path, or a name to be looked up on `PATH`.
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
}

impl Order {
    pub(crate) fn parse(args: Vec<OsString>) -> Result<Self, Error> {
        let mut args = args.into_iter();
        let (mut parent, mut argv0, mut by_group) = (None, None, false);
        loop {
            let option = args.next().ok_or(Error::Usage("no -- before the program"))?;
            match option.to_str() {
                Some("--") => break,
                Some("--by-group") => by_group = true,
                Some("--parent") => parent = args.next().and_then(process_id),
                Some("--argv0") => argv0 = args.next(),
                _ => return Err(Error::Usage("an unknown option")),
            }
        }
        let parent = parent.ok_or(Error::Usage("--parent is not a process id"))?;
        let program = args.next().ok_or(Error::Usage("no program after --"))?;
        Ok(Self { parent, argv0, by_group, program, args: args.collect() })
    }
}

fn process_id(text: OsString) -> Option<i32> {
    text.to_str()?.parse().ok().filter(|&id| id > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Order, Error> {
        Order::parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn what_kern_writes_the_keeper_reads() {
        let mut line = arguments(7, "npx", &["-y".into(), "--".into(), "--parent".into()]);
        assert_eq!(line.remove(0), SUBCOMMAND);
        let order = parse(&line.join(" ")).unwrap();
        assert_eq!((order.parent, order.argv0, order.by_group), (7, None, false));
        assert_eq!(order.program, "npx");
        assert_eq!(order.args, ["-y", "--", "--parent"]);
    }

    #[test]
    fn options_are_read_and_wrong_lines_name_their_fault() {
        let order = parse("--argv0 x --by-group --parent 1 -- y").unwrap();
        assert_eq!((order.argv0, order.by_group, order.args), (Some("x".into()), true, vec![]));
        let check = |line: &str, fault: &str| {
            assert!(matches!(parse(line), Err(Error::Usage(text)) if text == fault), "{line}");
        };
        check("", "no -- before the program");
        check("--parent 3 cat", "an unknown option");
        check("--parent 3 --", "no program after --");
        check("--parent 3 --argv0", "no -- before the program");
        for parent in ["", "--parent 0", "--parent -4", "--parent x", "--parent 4294967297"] {
            check(&format!("{parent} -- cat"), "--parent is not a process id");
        }
    }
}

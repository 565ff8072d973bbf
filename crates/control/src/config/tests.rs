//! What a user reads when a `kern.toml` is right, and when it is wrong.

use std::path::Path;

use proptest::prelude::*;

use super::{Clients, Config, DiscoverPlan, parse_config, parse_plan};
use crate::discover::ClientId;
use crate::plan::{
    Builtin, Cores, Driver, Instances, Kind, Limits, LogFormat, ServePlan, Transport,
};

/// Parses `text` and compares the problems, one `line:column message | help` each.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let found: Vec<String> = match parse_plan(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .iter()
            .map(|problem| {
                let help = problem.help.as_ref().map(|help| format!(" | {help}"));
                let Some(help) = help else {
                    return format!("{}:{} {}", problem.line, problem.column, problem.message);
                };
                format!("{}:{} {}{help}", problem.line, problem.column, problem.message)
            })
            .collect(),
    };
    assert_eq!(found, expected, "{text}");
}

fn accepted(text: &str) -> Config {
    parse_config(text, Path::new("/conf/kern.toml"), Some(Path::new("/home/u")))
        .unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[test]
fn as_many_upstreams_as_the_limit_are_read_and_one_more_is_refused() {
    let most = crate::limits::UPSTREAMS_MAX;
    let one = |at: usize| format!("[upstream.e{at}]\nbuiltin = \"echo\"\n");
    let mut text: String = (0..most).map(one).collect();
    assert_eq!(accepted(&text).plan.upstreams.len(), most);
    text.push_str(&one(most));
    check(&text, &[&format!("1:2 there are more than {most} upstreams")]);
}

const FULL: &str = r#"
[serve]
listen = "localhost:8000"
unix = "run/kern.sock"
ring = "run/kern.ring"
cores = 4
driver = "portable"
allowed_hosts = ["Kern.example.com", "other:80"]
allowed_origins = ["https://App.example.com"]

[limits]
message_bytes = "1MiB"
sessions = 7
timeout = "2m"
grace = "0s"

[log]
level = "info,kern=debug"
format = "json"

[discover]
clients = ["zed", "cursor"]
project = true
skip = ["old"]

[upstream.files]
command = "npx"
args = ["-y", "server-filesystem", "${env:DATA:-/tmp}"]
env = { B = "2", A = "${env:A}" }
env_file = ".env"
cwd = "~/data"
instances = "per-session"

[upstream.web]
url = "https://mcp.example.com/mcp"
headers = { X-Key = "${file:key.txt}" }
transport = "sse"
timeout = "500ms"
exclude_tools = ["z", "b"]

[upstream.echo]
builtin = "echo"

[upstream.off]
command = "x"
enabled = false
"#;

#[test]
#[cfg_attr(not(unix), ignore = "expects paths as Unix writes them")]
fn every_setting_reaches_the_plan() {
    let Config { plan, discover, disabled, warnings } = accepted(FULL);
    let serve = ServePlan {
        listen: Some(([127, 0, 0, 1], 8000).into()),
        unix: Some("/conf/run/kern.sock".into()),
        ring: Some("/conf/run/kern.ring".into()),
        stdio: false,
        cores: Cores::Exactly(4.try_into().expect("not zero")),
        driver: Driver::Portable,
        allowed_hosts: vec!["kern.example.com".into(), "other".into()],
        allowed_origins: vec!["https://app.example.com".into()],
    };
    assert_eq!(plan.serve, serve);
    let limits = Limits {
        message_bytes: 1 << 20,
        sessions: 7,
        timeout_ms: 120_000,
        grace_ms: 0,
        ..Limits::default()
    };
    assert_eq!(plan.limits, limits);
    assert_eq!((plan.log.level.as_str(), plan.log.format), ("info,kern=debug", LogFormat::Json));
    assert_eq!(
        discover,
        DiscoverPlan {
            clients: Clients::Only(vec![ClientId::Cursor, ClientId::Zed]),
            project: true,
            skip: vec!["old".into()],
        }
    );
    assert_eq!(disabled.len(), 1);
    assert!(warnings.is_empty());
    let names: Vec<_> = plan.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    assert_eq!(names, ["echo", "files", "web"]);
    assert_eq!(plan.upstreams[0].kind, Kind::Builtin(Builtin::Echo));
    let files = plan.upstream("files").expect("declared");
    assert_eq!((files.instances, files.timeout_ms), (Instances::PerSession, 120_000));
    let Kind::Command(command) = &files.kind else { panic!("a command") };
    assert_eq!(command.program.as_literal(), Some("npx"));
    assert_eq!(command.args[2].source_in_clear(), "${env:DATA}");
    assert_eq!(command.env[0].0, "A");
    assert_eq!(command.env_file.as_ref().and_then(|path| path.as_literal()), Some("/conf/.env"));
    assert_eq!(command.cwd.as_ref().and_then(|path| path.as_literal()), Some("/home/u/data"));
    let web = plan.upstream("web").expect("declared");
    assert!(!web.tools.allows("b") && web.tools.allows("c"));
    let Kind::Url(url) = &web.kind else { panic!("a url") };
    assert_eq!((url.transport, web.timeout_ms), (Transport::Sse, 500));
    assert_eq!(url.headers[0].0, "x-key");
    assert_eq!(url.headers[0].1.source_in_clear(), "${file:/conf/key.txt}");
}

#[test]
fn an_empty_file_is_a_plan_without_upstreams() {
    assert_eq!(accepted(""), Config::default());
}

#[test]
fn a_wrong_key_is_named_with_its_place_and_the_nearest_right_one() {
    check(
        "[upstream.gh]\ncomand = \"npx\"\n",
        &[
            "1:11 `upstream.gh` says neither `command` nor `url` nor `builtin` | add `command = \
             \"…\"` to start a server, or `url = \"https://…\"` to call one",
            "2:1 `upstream.gh.comand` is no setting | did you mean `command`?",
        ],
    );
    check("[upstreams.gh]\n", &["1:2 `upstreams` is no setting | did you mean `upstream`?"]);
    check("[serve]\nlisen = 1", &["2:1 `serve.lisen` is no setting | did you mean `listen`?"]);
    check(
        "[log]\ncolour = 1",
        &["2:1 `log.colour` is no setting | the settings here are: level, format"],
    );
    let problems =
        parse_plan("[upstream.gh]\ncomand = \"npx\"\nurl = 'http://h'").expect_err("bad");
    assert_eq!(
        problems[0].to_string(),
        "error: `upstream.gh.comand` is no setting\n --> /kern.toml:2:1\n  |\n\
         2 | comand = \"npx\"\n  | ^^^^^^\n  = help: did you mean `command`?"
    );
}

#[test]
fn wrong_values_are_all_reported_at_once() {
    check(
        "[serve]\nlisten = \"nowhere\"\ncores = 0\ndriver = \"urin\"\nallowed_hosts = [\"*\"]\n\
         allowed_origins = \"x\"\n[limits]\nsessions = \"many\"\ntimeout = 30\ngrace = \"1 week\"\n\
         body_bytes = \"1TB\"\nqueue = -1\n[log]\nlevel = \"inof\"\n[discover]\nclients = [\"zedd\"]",
        &[
            "2:10 `serve.listen` has no valid port: `nowhere` | write an address and a port: \
             \"127.0.0.1:7331\"; or false for none",
            "3:9 `serve.cores` is from 1 to 128",
            "4:10 `serve.driver` cannot be `urin` | did you mean `uring`?",
            "5:18 `*` is no host | write names as in \"kern.example.com\"; there are no wildcards",
            "6:19 `serve.allowed_origins` is a list of texts, not text",
            "8:12 `limits.sessions` is a number, not text",
            "9:11 `limits.timeout` has no unit | write \"30s\" for seconds",
            "10:9 `limits.grace` is no time | write a whole number and a unit: \"500ms\", \"30s\", \
             \"5m\" or \"1h\"",
            "11:14 `limits.body_bytes` is no size | write a number of bytes, or a number and a \
             unit: \"64KiB\", \"16MiB\"",
            "12:9 `limits.queue` is from 0 to 1048576",
            "14:9 `inof` is no log level | did you mean `info`?",
            "16:12 `zedd` is no known client | did you mean `zed`?",
        ],
    );
}

#[test]
fn an_upstream_is_one_thing_and_says_how_to_mend_it() {
    check(
        "[upstream.a]\ncommand = \"x\"\nurl = \"http://h\"\nheaders = {}",
        &[
            "3:1 `upstream.a` has both `command` and `url` | keep one of them",
            "4:1 `upstream.a.headers` has no meaning beside `command`",
        ],
    );
    check(
        "[upstream.a]\nurl = \"http://h\"\nargs = []\ncommand = \"x\"",
        &[
            "3:1 `upstream.a.args` has no meaning beside `url`",
            "4:1 `upstream.a` has both `url` and `command` | keep one of them",
        ],
    );
    check(
        "[upstream.\"my server\"]\nbuiltin = \"ehco\"",
        &[
            "1:11 `my server` cannot name an upstream: it is a prefix of tool names | use letters, \
             digits, `-` and `_`: `my-server`",
            "2:11 `upstream.my server.builtin` cannot be `ehco` | did you mean `echo`?",
        ],
    );
    check(
        "[upstream.a]\ncommand = \"npx -y thing\"\nargs = []\nenv = { P = 1, \"A=B\" = \"x\" }",
        &[
            "2:11 `upstream.a.command` holds arguments | command = \"npx\", args = [\"-y\", \
             \"thing\"]",
            "4:13 `upstream.a.env.P` is text, not a number | put it in quotes",
            "4:16 `A=B` is no name of an environment variable",
        ],
    );
    check(
        "[upstream.a]\nurl = \"ftp://h\"\nheaders = { \"a b\" = \"\", Host = \"x\", A = \"${X}\" }",
        &[
            "2:7 `upstream.a.url`: a URL starts with `http://` or `https://`",
            "3:13 `a b` is no name of a header",
            "3:25 kern writes the header `Host` itself",
            "3:41 `upstream.a.headers.A`: `${X}` is no reference; write `${env:X}`",
        ],
    );
    check("upstream = 3", &["1:12 `upstream` is a table, not a number | write `[upstream.NAME]`"]);
    check(
        "[upstream]\na = 3",
        &["2:5 `upstream.a` is a table, not a number | write `[upstream.a]`"],
    );
}

#[test]
fn a_command_of_several_words_is_recognised_also_without_args() {
    check(
        "[upstream.a]\ncommand = \"uvx thing\"",
        &["2:11 `upstream.a.command` holds arguments | command = \"uvx\", args = [\"thing\"]"],
    );
    let text = "[upstream.a]\ncommand = '/opt/My Tools/server'\n";
    assert_eq!(accepted(text).plan.upstreams.len(), 1);
}

#[test]
fn text_that_is_no_toml_is_reported_with_its_place() {
    let problems = parse_plan("[serve]\nlisten = \n[limits\n").expect_err("bad");
    assert!(problems[0].message.starts_with("not valid TOML: "), "{problems:?}");
    assert_eq!(problems[0].line, 2);
    let problems = parse_plan("[a]\nx = 1\n[a]\n").expect_err("bad");
    assert_eq!(problems[0].line, 3);
}

#[test]
fn a_large_wrong_file_is_refused_at_once() {
    let text: String = (0..60_000).map(|n| format!("wrong{n} = 1\n")).collect();
    let start = std::time::Instant::now();
    let problems = parse_plan(&text).expect_err("bad");
    assert_eq!(problems.len(), crate::limits::PROBLEMS_MAX);
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn what_is_unwise_is_a_warning() {
    let text = "[serve]\nlisten = \"0.0.0.0:80\"\n[upstream.a]\nurl = \"https://h\"\n\
                headers = { Authorization = \"Bearer s3cret\", X = \"y\" }\n";
    let warnings: Vec<_> = accepted(text).warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().all(|warning| !warning.contains("s3cret")), "{warnings:?}");
    assert!(warnings[1].contains("`upstream.a.headers.Authorization` seems to hold a secret"));
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "\\PC*") {
        drop(parse_plan(&text));
    }

    #[test]
    fn no_damage_to_a_right_file_breaks_the_reader(
        at in 0..FULL.len(), length in 0_usize..40, insert in "[\\[\\]{}\"'=.,#a1\n-]{0,6}"
    ) {
        let mut text = FULL.to_owned();
        let end = (at + length).min(FULL.len());
        if text.is_char_boundary(at) && text.is_char_boundary(end) {
            text.replace_range(at..end, &insert);
        }
        if let Err(problems) = parse_plan(&text) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                drop(problem.to_string());
            }
        }
    }
}

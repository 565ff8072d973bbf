//! Does a person at a shell get what the servers say: from a running `kern`, from a URL, from a
//! command, over a Unix socket; and does a script get the exit status it can act on?
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

mod harness;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::{Kern, Remote, Setup, eventually, fixture, fixture_child, process};
use rustix::process::Signal;

const ECHO: &str = "[upstream.echo]\nbuiltin = \"echo\"\n";

fn kern(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kern"));
    command.args(words).env_remove("KERN_LOG").env_remove("KERN_URL").stdin(Stdio::null());
    command
}

fn said(words: &[&str]) -> (i32, String, String) {
    told(kern(words).output().unwrap())
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn served(config: &str) -> (Kern, String) {
    let kern = Setup::new("portable", config).start();
    let url = format!("http://{}", kern.address());
    (kern, url)
}

/// Each case: the words, the exit status, what stdout and stderr must hold.
fn check(url: &str, cases: &[(&[&str], i32, &str, &str)]) {
    for (words, code, out, errors) in cases {
        let words: Vec<&str> = words.iter().copied().chain(["--url", url]).collect();
        let (status, stdout, stderr) = said(&words);
        assert_eq!(status, *code, "{words:?}: {stdout}{stderr}");
        assert!(stdout.contains(out), "{words:?}: {stdout}");
        assert!(stderr.contains(errors), "{words:?}: {stderr}");
        assert_eq!(errors.is_empty(), stderr.is_empty(), "{words:?}: {stderr}");
    }
}

#[test]
fn a_person_gets_answers_and_learns_what_was_wrong_with_the_question() {
    let config = format!("{ECHO}{}", fixture_child("fix", "both", ""));
    let (_kern, url) = served(&config);
    let cases: &[(&[&str], i32, &str, &str)] = &[
        (&["ls"], 0, "echo__echo", ""),
        (&["ls", "tools", "echo"], 0, "echo      Answers with the message", ""),
        (&["ls", "echo", "--long"], 0, "message (string, required): What to say back.", ""),
        (&["ls", "prompts", "fix"], 0, "test_prompt_with_arguments", ""),
        (&["ls", "resources"], 0, "test://static-text", ""),
        (&["ls", "prompts", "echo"], 0, "", "offers no prompts"),
        (&["ls", "tols", "fix"], 2, "", "did you mean `tools`?"),
        (&["call", "echo", "echo", "message=hi"], 0, "hi\n", ""),
        (&["call", "echo__echo", "message=hi"], 0, "hi\n", ""),
        (&["call", "echo", "echo", "message=hi", "--json"], 0, r#""text":"hi""#, ""),
        (&["call", "echo", "sleep", "ms=soon"], 2, "", "`ms` wants integer, and `soon` is none"),
        (&["call", "echo", "echo"], 2, "", "`message` is missing"),
        (&["call", "echo", "ecko"], 2, "", "did you mean `echo`?"),
        (&["call", "eco", "echo"], 2, "", "there is no upstream `eco`; did you mean `echo`?"),
        (&["call", "fix", "test_simple_text"], 0, "simple text", ""),
        (&["call", "fix", "test_image_content"], 0, "[image: image/png,", ""),
        (&["call", "fix", "test_error_handling"], 1, "", "error"),
        (&["read", "test://static-text"], 0, "static text", ""),
        (&["read", "fix", "test://static-text", "--json"], 0, r#"{"contents":"#, ""),
        (&["read", "test://nothing"], 2, "", "(error -32602)"),
        (&["prompt", "fix", "test_prompt_with_arguments", "arg1=a", "arg2=b"], 0, "user: ", ""),
        (&["prompt", "fix", "test_prompt_with_arguments"], 2, "", "an argument is missing: arg1"),
        (&["prompt", "fix", "test_simple_promt"], 2, "", "did you mean `test_simple_prompt`?"),
    ];
    check(&url, cases);
    let (code, table, _) = said(&["ls", "upstreams", "--url", &url]);
    assert_eq!(code, 0);
    assert!(table.starts_with("kern ") && table.contains("\necho      builtin  4 "), "{table}");
    let (_, raw, _) = said(&["ls", "upstreams", "--json", "--url", &url]);
    let status: serde_json::Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(status["upstreams"][1]["revision"], "2026-07-28", "{raw}");
}

#[test]
fn one_command_reaches_any_server_whatever_carries_it() {
    let (kern_, url) = served(ECHO);
    let remote = Remote::fixture(&["--era", "legacy"]);
    let (direct, socket) = (remote.url("/mcp"), kern_.unix.display().to_string());
    let program = fixture().display().to_string();
    for (words, expected) in [
        (vec!["call", "echo", "echo", "message=x", "--unix", &socket], "x\n"),
        (vec!["ls", "upstreams", "--unix", &socket], "builtin"),
        (vec!["call", &direct, "test_simple_text"], "simple text"),
        (vec!["ls", "resources", &direct], "test://static-text"),
        (vec!["call", "test_simple_text", "--", &program, "--stdio"], "simple text"),
        (vec!["read", "test://static-text", "--", &program, "--stdio"], "static text"),
    ] {
        let (code, stdout, stderr) = said(&words);
        assert_eq!(code, 0, "{words:?}: {stderr}");
        assert!(stdout.contains(expected), "{words:?}: {stdout}");
    }
    let output = kern(&["call", "echo", "echo", "message=x"]).env("KERN_URL", &url).output();
    assert_eq!(told(output.unwrap()).1, "x\n", "$KERN_URL is not used");
}

#[test]
fn a_host_says_by_its_cards_what_it_offers() {
    let (_kern, url) = served(&(ECHO.to_owned() + &fixture_child("fix", "both", "")));
    let card = |path: &str| said(&["discover", &format!("{url}{path}"), "--json"]);
    let names = |(code, stdout, stderr): (i32, String, String)| {
        assert_eq!(code, 0, "{stderr}");
        let found: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let servers = found["servers"].as_array().unwrap().clone();
        let url = |server: &serde_json::Value| server["remotes"][0]["url"].to_string();
        servers.iter().map(url).collect::<Vec<_>>()
    };
    let all: Vec<String> =
        ["/mcp", "/mcp/echo", "/mcp/fix"].iter().map(|path| format!("\"{url}{path}\"")).collect();
    assert_eq!(names(card("")), all);
    let (_, shown, _) = said(&["discover", &url]);
    assert!(shown.contains("streamable-http") && shown.contains("2026-07-28"), "{shown}");
    let (code, _, stderr) = said(&["discover", "http://127.0.0.1:9"]);
    assert!(code == 1 && stderr.contains("nothing answers"), "{stderr}");
}

#[test]
fn a_list_asked_for_right_after_the_start_is_whole() {
    let (_kern, url) = served(&(ECHO.to_owned() + &fixture_child("fix", "both", "")));
    let (code, stdout, stderr) = said(&["ls", "--url", &url]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("fix__test_simple_text"), "{stdout}");
}

#[test]
fn arguments_come_from_a_pipe_too() {
    let (_kern, url) = served(ECHO);
    for words in [&["-"][..], &["--args", "-"]] {
        let mut command = kern(&["call", "echo", "echo", "--url", &url]);
        let mut child = command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(br#"{"message": "from a pipe"}"#).unwrap();
        assert_eq!(told(child.wait_with_output().unwrap()).1, "from a pipe\n", "{words:?}");
    }
}

#[test]
fn a_person_reaches_a_kern_through_its_ring_too() {
    let config =
        format!("[serve]\nring = \"kern.ring\"\n{ECHO}{}", fixture_child("fix", "both", ""));
    let kern_ = Setup::new("portable", &config).start();
    let ring = kern_.home().join("kern.ring").display().to_string();
    let with_ring = |words: &[&str]| said(&[words, &["--ring", &ring]].concat());
    eventually("all upstreams are there", || {
        let (code, stdout, _) = with_ring(&["ls"]);
        code == 0 && stdout.contains("echo__echo") && stdout.contains("fix__test_simple_text")
    });
    let cases: &[(&[&str], i32, &str, &str)] = &[
        (&["call", "echo__echo", "message=hi"], 0, "hi\n", ""),
        (&["call", "echo__echo", "message=hi", "--json"], 0, r#""text":"hi""#, ""),
        (&["call", "fix__test_error_handling"], 1, "", "error"),
        (&["call", "fix__test_image_content"], 0, "[image: image/png,", ""),
        (&["call", "echo__ecko"], 2, "", "did you mean `echo__echo`?"),
        (&["call", "echo__echo"], 2, "", "usage: kern call echo__echo KEY=VALUE… --ring"),
        (&["call", "echo", "echo", "message=hi"], 2, "", "a ring serves all upstreams"),
        (&["read", "test://static-text"], 0, "static text", ""),
        (&["prompt", "fix__test_simple_prompt"], 0, "user: ", ""),
        (&["ls", "upstreams"], 2, "", "does not tell of upstreams"),
    ];
    for (words, code, out, errors) in cases {
        let (status, stdout, stderr) = with_ring(words);
        assert_eq!(status, *code, "{words:?}: {stdout}{stderr}");
        assert!(stdout.contains(out), "{words:?}: {stdout}");
        assert!(stderr.contains(errors), "{words:?}: {stderr}");
    }
    // Longer each time: a busy machine may take its time until the server has the call.
    let stopped = [1, 4, 16].into_iter().any(|seconds| {
        let words = ["call", "fix__test_delay", "ms=60000", "label=stopped", "--ring", &ring];
        let child = kern(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(seconds));
        process::signal(child.id(), Signal::INT);
        assert!(!child.wait_with_output().unwrap().status.success());
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            if with_ring(&["call", "fix__test_cancellations"]).1.contains("stopped") {
                return true;
            }
        }
        false
    });
    assert!(stopped, "the server is told that nobody waits");
}

#[test]
fn no_server_means_a_reason_and_a_remedy_at_once() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config =
        harness::child("bad", harness::python(), &["-c", "raise SystemExit('no TOKEN')"], "");
    let (_kern, url) = served(&config);
    eventually("the server is down", || {
        said(&["ls", "upstreams", "--url", &url]).1.contains("down")
    });
    let closed = format!("http://{closed}");
    for (words, expected) in [
        (vec!["ls", "--url", &closed], "start it with `kern serve`"),
        (vec!["ls", "--unix", "/nowhere/kern.sock"], "kern serve --unix /nowhere/kern.sock"),
        (vec!["ls", "--ring", "/nowhere/kern.ring"], "kern serve --ring /nowhere/kern.ring"),
        (vec!["ls", &closed], "cannot connect"),
        (vec!["ls", "--url", "ftp://x"], "a URL starts with"),
        (vec!["call", "bad", "tool", "--url", &url], "exited with status 1: no TOKEN"),
        (vec!["ls", "--", "no-such-program"], "there is no program `no-such-program`"),
        (vec!["ls", "--", harness::python(), "-c", "import nothing_here"], "nothing_here"),
        (vec!["call", "--url", &url, "a=b"], "which tool?"),
    ] {
        let since = Instant::now();
        let (code, stdout, stderr) = said(&words);
        assert_eq!((code, stdout.as_str()), (2, ""), "{words:?}: {stderr}");
        assert!(stderr.contains(expected), "{words:?}: {stderr}");
        assert!(since.elapsed() < Duration::from_secs(10), "{words:?} took {:?}", since.elapsed());
    }
}

#[test]
fn ctrl_c_cancels_the_call_at_its_server() {
    let config = fixture_child("old", "legacy", "") + &fixture_child("new", "modern", "");
    let (_kern, url) = served(&config);
    for server in ["old", "new"] {
        let words = ["call", server, "test_delay", "ms=30000", "label=stopped", "--url", &url];
        let mut command = kern(&words);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(1));
        process::signal(child.id(), Signal::INT);
        let (code, _, stderr) = told(child.wait_with_output().unwrap());
        assert_eq!((code, stderr.as_str()), (130, "kern: cancelled\n"), "{server}");
        eventually("the server knows", || {
            said(&["call", server, "test_cancellations", "--url", &url]).1 == "stopped\n"
        });
    }
}

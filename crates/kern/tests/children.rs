//! Does a server that dies, lies or hangs cost anybody but its own callers anything?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::time::{Duration, Instant};

use harness::client::Client;
use harness::{Remote, Setup, both, child, eventually, fixture_child, odd, process, remote};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

fn pid(client: &mut Client) -> u32 {
    client.text("pid", json!({})).parse().unwrap()
}

#[test]
fn a_killed_server_fails_its_calls_at_once_and_comes_back_by_itself() {
    both(|driver| {
        let config = odd("victim", "plain", "") + &fixture_child("other", "both", "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut other = Client::modern(&kern, "/mcp/other");
        let mut victim = Client::modern(&kern, "/mcp/victim");
        let first = pid(&mut victim);
        let mut listen = victim.begin(
            "subscriptions/listen",
            json!({
                "notifications": { "toolsListChanged": true }
            }),
        );
        listen.wait_for("notifications/subscriptions/acknowledged");
        let mut hanging: Vec<_> = (0..8)
            .map(|_| victim.begin("tools/call", json!({ "name": "hang", "arguments": {} })))
            .collect();
        let mut slow = other.begin(
            "tools/call",
            json!({
                "name": "test_delay", "arguments": { "ms": 1500 }
            }),
        );
        std::thread::sleep(SECOND / 4);
        process::kill(first);
        let killed = Instant::now();
        for call in &mut hanging {
            let answer = call.answer();
            let message = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains("victim"), "which upstream? {answer}");
            assert!(message.contains("137") || message.contains("killed"), "why? {answer}");
        }
        assert!(killed.elapsed() < SECOND, "callers waited {:?}", killed.elapsed());
        assert!(!other.text("test_simple_text", json!({})).is_empty());
        let second = || {
            let answer = victim.clone().request("tools/call", json!({ "name": "pid" }));
            answer["result"]["content"][0]["text"].as_str().map(str::to_owned)
        };
        eventually("calls work again", || second().is_some());
        assert_ne!(second().unwrap(), first.to_string());
        assert!(slow.answer()["result"].is_object(), "the other's call was harmed");
    });
}

#[test]
fn a_server_that_is_down_keeps_others_from_the_uris_it_claimed() {
    both(|driver| {
        let (a, b) = (Remote::fixture(&[]), Remote::fixture(&[]));
        let config = "[limits]\ngrace = \"100ms\"\n".to_owned()
            + &remote("a", &a.url("/mcp"), "")
            + &remote("b", &b.url("/mcp"), "");
        let kern = Setup::new(driver, config).cores(2).start();
        let mut clients =
            [Client::modern(&kern, "/mcp"), Client::legacy(&kern, "/mcp", json!({ "roots": {} }))];
        let of = |client: &mut Client, name: &str| -> Vec<String> {
            let listed = client.request("resources/list", json!({}));
            let all = listed["result"]["resources"].as_array().unwrap().iter();
            let all = all.map(|one| one["uri"].as_str().unwrap().to_owned());
            all.filter(|uri| !uri.contains(if name == "a" { "/b/" } else { "/a/" })).collect()
        };
        let before = clients.each_mut().map(|client| {
            eventually("both are there", || {
                !of(client, "b").is_empty() && !of(client, "a").is_empty()
            });
            of(client, "a")
        });
        assert!(before[0].iter().any(|uri| uri.starts_with("kern://a/")), "{before:?}");
        drop(b);
        eventually("b is gone", || of(&mut clients[0], "b").iter().all(|uri| !uri.contains("/b/")));
        let after = clients.each_mut().map(|client| of(client, "a"));
        assert_eq!(before, after, "what a client knows has another name now");
        let uri = before[0].iter().find(|uri| uri.starts_with("kern://a/")).unwrap();
        let read = clients[0].request("resources/read", json!({ "uri": uri }));
        assert_eq!(read["result"]["contents"][0]["uri"], **uri, "{read}");
    });
}

#[test]
fn tools_vanish_after_the_grace_period_and_return_with_the_server() {
    both(|driver| {
        // Alive until the file is there; then it fails until the file is gone.
        let body = "if [ -e \"$HOME/broken\" ]; then exit 1; fi; exec \"$@\"";
        let server = harness::script("server.py");
        let args = ["-c", body, "sh", harness::python(), &server, "plain"];
        let config = "[limits]\ngrace = \"700ms\"\n".to_owned()
            + &child("victim", "/bin/sh", &args, "")
            + &fixture_child("other", "both", "");
        let kern = Setup::new(driver, config).start();
        let mut all = Client::legacy(&kern, "/mcp", json!({}));
        let mine = |tools: &[String]| tools.iter().any(|tool| tool.starts_with("victim"));
        assert!(mine(&all.tools()), "{:?}", all.tools());
        let mut stream = all.stream();
        std::fs::write(kern.home().join("broken"), "").unwrap();
        let victim = pid(&mut Client::modern(&kern, "/mcp/victim"));
        process::kill(victim);
        let killed = Instant::now();
        assert!(mine(&all.tools()), "its tools flicker at once");
        stream.wait_for("notifications/tools/list_changed");
        assert!(killed.elapsed() > SECOND * 6 / 10, "no grace: {:?}", killed.elapsed());
        assert!(!mine(&all.tools()), "a dead server's tools are still listed");
        assert!(all.tools().iter().any(|tool| tool.starts_with("other")));
        std::fs::remove_file(kern.home().join("broken")).unwrap();
        stream.wait_for("notifications/tools/list_changed");
        assert!(mine(&all.tools()), "its tools did not return");
        assert!(pid(&mut Client::modern(&kern, "/mcp/victim")) != victim);
    });
}

#[test]
fn a_server_that_cannot_start_says_why_and_is_retried_ever_more_rarely() {
    both(|driver| {
        let config = odd("broken", "crash-loop", "")
            + &child("absent", "/nowhere/at-all", &[], "")
            + &fixture_child("other", "both", "");
        let kern = Setup::new(driver, config).start();
        let mut all = Client::legacy(&kern, "/mcp", json!({}));
        let started = Instant::now();
        assert!(all.tools().iter().all(|tool| tool.starts_with("other")), "{:?}", all.tools());
        assert!(started.elapsed() < SECOND * 5, "a broken server kept everybody waiting");
        let mut broken = Client::modern(&kern, "/mcp/broken");
        let message = broken.error("pid", json!({}));
        assert!(message.contains("broken") && message.contains("status 3"), "{message}");
        kern.logs("cannot find my database");
        let absent = Client::modern(&kern, "/mcp/absent").error("pid", json!({}));
        assert!(absent.contains("/nowhere/at-all"), "{absent}");
        std::thread::sleep(SECOND * 4);
        let starts = kern.log.count("INFO cannot find my database");
        assert!((2..=6).contains(&starts), "started {starts} times in 4 s");
        assert!(kern.servers("crash-loop").len() <= 1);
    });
}

#[test]
fn a_server_that_never_answers_is_given_up_with_its_name_and_limit() {
    both(|driver| {
        let config =
            odd("mute", "mute", "start_timeout = \"800ms\"") + &fixture_child("other", "both", "");
        let kern = Setup::new(driver, config).start();
        let mut all = Client::modern(&kern, "/mcp");
        assert!(!all.tools().is_empty(), "a mute server kept everybody waiting");
        let message = Client::modern(&kern, "/mcp/mute").error("pid", json!({}));
        assert!(message.contains("mute") && message.contains("0.8 s"), "{message}");
        // It is stopped before it is started again: never two at once.
        for _ in 0..20 {
            assert!(kern.servers("server.py mute").len() <= 1);
            std::thread::sleep(SECOND / 10);
        }
    });
}

#[test]
fn garbage_on_stdout_costs_log_lines_and_nothing_else() {
    both(|driver| {
        let config = odd("noisy", "garbage", "") + &fixture_child("other", "both", "");
        let kern = Setup::new(driver, config).start();
        let mut noisy = Client::modern(&kern, "/mcp/noisy");
        for at in 0..20 {
            assert_eq!(noisy.text("echo", json!({ "at": at })), format!("{{\"at\": {at}}}"));
        }
        let mut other = Client::modern(&kern, "/mcp/other");
        other.text("test_simple_text", json!({}));
        assert!(kern.log.has("no message"), "nobody is told of the garbage");
    });
}

#[test]
fn a_line_without_end_is_not_kept() {
    both(|driver| {
        let config = "[limits]\nmessage_bytes = \"1MiB\"\n".to_owned()
            + &odd("flood", "plain", "")
            + &fixture_child("other", "both", "");
        let kern = Setup::new(driver, config).start();
        let mut flood = Client::modern(&kern, "/mcp/flood");
        pid(&mut flood);
        let before = process::resident_kib(kern.pid());
        for _ in 0..5 {
            assert_eq!(flood.text("flood", json!({})), "flooded");
        }
        let after = process::resident_kib(kern.pid());
        assert!(after < before + (12 << 10), "grew from {before} to {after} KiB");
        Client::modern(&kern, "/mcp/other").text("test_simple_text", json!({}));
    });
}

#[test]
fn a_flood_on_stderr_does_not_starve_others() {
    both(|driver| {
        let config = odd("chatter", "chatter", "") + &fixture_child("other", "both", "");
        let kern = Setup::new(driver, config).start();
        let mut chatter = Client::modern(&kern, "/mcp/chatter");
        let mut other = Client::modern(&kern, "/mcp/other");
        pid(&mut chatter);
        let before = process::resident_kib(kern.pid());
        for _ in 0..10 {
            let started = Instant::now();
            other.text("test_simple_text", json!({}));
            chatter.text("echo", json!({}));
            assert!(started.elapsed() < SECOND * 3, "took {:?}", started.elapsed());
            std::thread::sleep(SECOND / 10);
        }
        let after = process::resident_kib(kern.pid());
        assert!(after < before + (16 << 10), "grew from {before} to {after} KiB");
    });
}

#[test]
fn a_server_that_reads_no_more_is_refused_more_in_bounded_memory() {
    both(|driver| {
        let config = odd("deaf", "deaf", "timeout = \"20s\"") + &fixture_child("other", "both", "");
        let kern = Setup::new(driver, config).start();
        let mut deaf = Client::modern(&kern, "/mcp/deaf");
        assert!(!deaf.tools().is_empty());
        let filler = "x".repeat(1 << 20);
        let mut waiting = Vec::new();
        let mut refused = None;
        for _ in 0..60 {
            let params = json!({ "name": "echo", "arguments": { "filler": filler } });
            let mut call = deaf.begin("tools/call", params);
            if let Some(answer) = call.next(SECOND / 5) {
                refused = Some(answer);
                break;
            }
            waiting.push(call);
        }
        let refused = refused.expect("it takes messages without end");
        let message = refused["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("deaf") && message.contains("read"), "{refused}");
        let kib = process::resident_kib(kern.pid());
        assert!(kib < 120 << 10, "{kib} KiB are kept for a server that does not read");
        Client::modern(&kern, "/mcp/other").text("test_simple_text", json!({}));
    });
}

#[test]
fn a_server_that_ends_in_mid_call_says_how() {
    both(|driver| {
        let kern = Setup::new(driver, odd("frail", "plain", "")).start();
        let mut frail = Client::modern(&kern, "/mcp/frail");
        let message = frail.error("die", json!({ "status": 9 }));
        assert!(message.contains("frail") && message.contains("status 9"), "{message}");
        eventually("it works again", || {
            frail.request("tools/call", json!({ "name": "pid" }))["result"].is_object()
        });
        let message = frail.error("die", json!({ "status": 0 }));
        assert!(message.contains("frail") && message.contains("ended"), "{message}");
    });
}

#[test]
fn a_server_that_closes_its_output_is_replaced() {
    both(|driver| {
        let kern = Setup::new(driver, odd("half", "half", "")).start();
        let mut half = Client::modern(&kern, "/mcp/half");
        assert!(!half.tools().is_empty());
        let started = Instant::now();
        let message = half.error("pid", json!({}));
        assert!(message.contains("half"), "{message}");
        assert!(started.elapsed() < SECOND * 12, "took {:?}", started.elapsed());
        kern.logs("down: ");
        assert!(kern.servers("server.py half").len() <= 1);
    });
}

#[test]
fn nobody_outlives_an_orderly_end_however_stubborn() {
    both(|driver| {
        let config = odd("stubborn", "stubborn", "") + &odd("family", "family", "");
        let mut kern = Setup::new(driver, config).start();
        for path in ["/mcp/stubborn", "/mcp/family"] {
            pid(&mut Client::modern(&kern, path));
        }
        assert!(kern.processes().len() >= 6, "{:?}", kern.processes());
        kern.terminate();
        let status = kern.ends_within(SECOND * 15);
        assert!(status.success(), "{status}");
        kern.leaves_nobody(SECOND);
    });
}

#[test]
fn nobody_outlives_a_killed_kern_however_stubborn() {
    both(|driver| {
        let config = odd("stubborn", "stubborn", "")
            + &odd("family", "family", "")
            + &odd("mute", "mute", "")
            + &fixture_child("other", "both", "");
        let kern = Setup::new(driver, config).start();
        for path in ["/mcp/stubborn", "/mcp/family"] {
            pid(&mut Client::modern(&kern, path));
        }
        let mut plain = Client::legacy(&kern, "/mcp/other", json!({ "sampling": {} }));
        plain.text("test_simple_text", json!({}));
        assert!(kern.processes().len() >= 10, "{:?}", kern.processes());
        process::kill(kern.pid());
        kern.leaves_nobody(SECOND * 3);
    });
}

#[test]
fn crash_after_crash_leaks_nothing() {
    both(|driver| {
        // A changed upstream starts at once, whatever happened to its predecessor.
        let config = |round: usize| -> String {
            let more = format!("env = {{ ROUND = \"{round}\" }}");
            (0..10).map(|at| odd(&format!("frail{at}"), "plain", &more)).collect()
        };
        let kern = Setup::new(driver, config(0)).start();
        let round = |number: usize| {
            for at in 0..10 {
                let mut frail = Client::modern(&kern, &format!("/mcp/frail{at}"));
                eventually("it works again", || {
                    let answer = frail.request("tools/call", json!({ "name": "env" }));
                    let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
                    text.contains(&format!("\"ROUND\": \"{number}\""))
                });
                frail.error("die", json!({}));
            }
            kern.configure(&config(number + 1));
        };
        let kinds = || process::descriptor_kinds(kern.pid());
        (0..3).for_each(round);
        kern.logs("unchanged=");
        let at_rest = |processes: usize| {
            eventually("all ten run", || kern.servers("server.py").len() == 10);
            eventually("nothing else runs", || kern.processes().len() == processes);
        };
        at_rest(20);
        let (threads, before_kib) =
            (process::threads(kern.pid()), process::resident_kib(kern.pid()));
        let before = kinds();
        (3..8).for_each(round);
        at_rest(20);
        eventually(&format!("no more than {before:?} is open"), || kinds().len() <= before.len());
        // The pool for errands grows to its size when it is first busy.
        assert!(process::threads(kern.pid()) <= threads + 3);
        let after_kib = process::resident_kib(kern.pid());
        assert!(after_kib < before_kib + 4096, "grew from {before_kib} to {after_kib} KiB");
    });
}

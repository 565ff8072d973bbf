//! Does everything that is not an identifier pass byte for byte, in both directions?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use std::path::Path;

use harness::client::Client;
use harness::http::{Conn, post};
use harness::{Kern, Remote, Setup, both, fixture_child, odd, remote};
use serde_json::json;

/// Members no revision knows, numbers in odd spellings, escapes and raw characters, white space.
const ODD: &str = concat!(
    r#"{ "z":1.0e+2,"a":-0.0,"big":123456789012345678901234567890,"tiny":1E-400,"#,
    r#""text":"\u00e9é\/\ud83d\ude00😀\u0000\u001f\"\\","":"empty key","a":"again","#,
    r#""list":[ ],"deep":{"x":[[[{"y":null}]]]}, "true":true,"id":"no id","method":"no method","#,
    r#""jsonrpc":"1.0","progressToken":"no token","name":"no name"}"#
);

fn got(home: &Path) -> String {
    std::fs::read_to_string(home.join("got")).unwrap()
}

fn script(home: &Path, answer: &str) {
    std::fs::write(home.join("answer"), answer).unwrap();
}

/// Sends `body` as it is in a session; the raw body of the response.
#[track_caller]
fn ask(kern: &Kern, path: &str, body: &str) -> String {
    let client = Client::legacy(kern, path, json!({}));
    let response = client.post(body, &[]);
    assert_eq!(response.status(), 200, "{response:?}");
    String::from_utf8(response.body).unwrap()
}

/// `text` with the one number the gateway put at each of `marks` in `pattern` taken out.
#[track_caller]
fn is_with_numbers(text: &str, pattern: &str) {
    let mut rest = text;
    let mut numbers = Vec::new();
    for (at, part) in pattern.split("@N@").enumerate() {
        if at > 0 {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            assert!(end > 0, "no number at {rest:?}\nin {text}\nby {pattern}");
            numbers.push(&rest[..end]);
            rest = &rest[end..];
        }
        let stripped = rest.strip_prefix(part);
        rest = stripped.unwrap_or_else(|| panic!("not {part:?}\n but {rest:?}\nin {text}"));
    }
    assert!(rest.is_empty(), "{rest:?} is left over");
    numbers.dedup();
    assert_eq!(numbers.len(), 1, "one id, one number: {numbers:?}");
}

/// The upstream `raw` over stdio or HTTP, beside another so that names are rewritten.
fn world(driver: &str, over: &str) -> (Kern, Option<Remote>, tempfile::TempDir) {
    let files = tempfile::tempdir().unwrap();
    let home = files.path().canonicalize().unwrap();
    let other = fixture_child("other", "both", "");
    if over == "http" {
        let server = Remote::odd(&home);
        let config = remote("raw", &server.url("/mcp"), "") + &other;
        return (Setup::new(driver, config).start(), Some(server), files);
    }
    let more = format!("env = {{ HOME = {:?} }}", home.display().to_string());
    (Setup::new(driver, odd("raw", "raw", &more) + &other).start(), None, files)
}

#[test]
fn a_call_arrives_as_it_was_sent() {
    both(|driver| {
        for over in ["stdio", "http"] {
            let (kern, _server, files) = world(driver, over);
            let home = files.path();
            script(home, "{\"jsonrpc\":\"2.0\",\"id\":@ID@,\"result\":{\"content\":[]}}\n");
            let end = if over == "stdio" { "\n" } else { "" };
            let meta = r#""_meta":{"x/y":[1.50], "progressToken" : "t\u0041" ,"trace":"\/"}"#;
            let told = |id: &str, name: &str, token: &str| {
                format!(
                    "{{\"later\":{ODD} , \"params\":{{\"more\":{ODD},\"arguments\":{ODD},\
                     {meta},\"name\":{name}}},\"id\": {id} ,\"method\":\"tools\\u002fcall\",\
                     \"jsonrpc\":\"2.0\"}}",
                    meta = meta.replace(r#""t\u0041""#, token),
                )
            };
            let id = r#""\u0061-ü""#;
            let sent = told(id, r#""odd""#, r#""t\u0041""#);
            let answer = ask(&kern, "/mcp/raw", &sent);
            assert_eq!(
                answer.trim_end(),
                format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[]}}}}")
            );
            is_with_numbers(&got(home), &(told("@N@", r#""odd""#, "@N@") + end));
            // On the endpoint of all, the name is the server's own again.
            ask(&kern, "/mcp", &told("-0", r#""raw__o\u0064d""#, "7.50"));
            is_with_numbers(&got(home), &(told("@N@", r#""odd""#, "@N@") + end));
        }
    });
}

#[test]
fn line_breaks_between_tokens_become_spaces_where_lines_frame_and_stay_elsewhere() {
    both(|driver| {
        for over in ["stdio", "http"] {
            let (kern, _server, files) = world(driver, over);
            script(files.path(), "{\"jsonrpc\":\"2.0\",\"id\":@ID@,\"result\":{}}\n");
            let told = |id: &str| {
                format!(
                    "{{\r\n\t\"jsonrpc\": \"2.0\",\n\"id\": {id},\r\n\"method\": \"tools/call\",\n\
                     \"params\": {{\n  \"name\": \"odd\",\n  \"arguments\": {{\n}}}}}}"
                )
            };
            ask(&kern, "/mcp/raw", &told("1"));
            let expected = match over {
                "stdio" => told("@N@").replace(['\r', '\n'], " ") + "\n",
                _ => told("@N@"),
            };
            is_with_numbers(&got(files.path()), &expected);
        }
    });
}

#[test]
fn an_answer_arrives_as_it_was_given() {
    both(|driver| {
        for over in ["stdio", "http"] {
            let (kern, _server, files) = world(driver, over);
            let call =
                r#"{"jsonrpc":"2.0","id":"\u0041","method":"tools/call","params":{"name":"odd"}}"#;
            let results = [
                format!(r#"{{"extra":{ODD}, "result":{ODD} ,"jsonrpc":"2.0","id":@ID@}}"#),
                format!(
                    r#"{{"id":@ID@,"jsonrpc":"2.0","result":{{"content":[{{"type":"vendor/new","annotations":{{"audience":["system"]}},"x":{ODD}}}],"structuredContent":{ODD},"_meta":{ODD},"isError":false}}}}"#
                ),
                r#"{"jsonrpc":"2.0","id":@ID@,"error":{"data":[1.0e+2,{"a":1,"a":2}],"code":-40.0e0,"message":"\u0041\/","more":{}}}"#.replace("-40.0e0", "-40"),
            ];
            for result in &results {
                script(files.path(), &format!("{result}\n"));
                let answer = ask(&kern, "/mcp/raw", call);
                assert_eq!(answer.trim_end(), result.replace("@ID@", r#""\u0041""#), "over {over}");
            }
        }
    });
}

#[test]
fn progress_keeps_all_but_its_token() {
    both(|driver| {
        let (kern, _server, files) = world(driver, "stdio");
        let progress = r#"{"params":{"message":"\u0041", "progress":1.0e+2,"progressToken":@TOKEN@ ,"x":[ ]},"y":1.50,"method":"notifications/progress","jsonrpc":"2.0"}"#;
        let result = r#"{"jsonrpc":"2.0","id":@ID@,"result":{"content":[]}}"#;
        script(files.path(), &format!("{progress}\n{result}\n"));
        let client = Client::legacy(&kern, "/mcp/raw", json!({}));
        let token = r#""t\u0041-ü""#;
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"odd","_meta":{{"progressToken":{token}}}}}}}"#
        );
        let mut conn = Conn::tcp(kern.address());
        let headers = client.headers(&call);
        let headers: Vec<_> = headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        conn.send(post("/mcp/raw", &headers, &call));
        conn.head(harness::PATIENCE).unwrap();
        // The stream opens with the place from which it could be resumed.
        assert_eq!(conn.event(harness::PATIENCE).unwrap().data, "");
        let first = conn.event(harness::PATIENCE).unwrap();
        assert_eq!(first.data, progress.replace("@TOKEN@", token));
        let second = conn.event(harness::PATIENCE).unwrap();
        assert_eq!(second.data, result.replace("@ID@", "1"));
    });
}

#[test]
fn across_the_eras_only_the_eras_own_members_come_and_go() {
    both(|driver| {
        for over in ["stdio", "http"] {
            let (kern, _server, files) = world(driver, over);
            let answered = format!(
                r#"{{"jsonrpc":"2.0","id":@ID@,"result":{{"content":[],"structuredContent":{ODD},"x":{ODD}}}}}"#
            );
            script(files.path(), &format!("{answered}\n"));
            let own = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}"#;
            let told = |id: &str, meta: &str| {
                format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"arguments":{ODD},"_meta":{{{meta}"vendor/x":[1.50]}},"name":"odd"}}}}"#
                )
            };
            let sent = told("1", &format!("{own},"));
            let client = Client::modern(&kern, "/mcp/raw");
            let response = client.post(&sent, &[]);
            assert_eq!(response.status(), 200, "{response:?}");
            let end = if over == "stdio" { "\n" } else { "" };
            is_with_numbers(&got(files.path()), &(told("@N@", "") + end));
            let body = String::from_utf8(response.body.clone()).unwrap();
            let wanted = answered.replace("@ID@", "1");
            let wanted = wanted.replacen("{\"content", "{\"resultType\":\"complete\",\"content", 1);
            assert_eq!(body.trim_end(), wanted, "over {over}");
        }
    });
}

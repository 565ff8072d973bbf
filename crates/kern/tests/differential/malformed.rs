//! Messages that break a rule: where the specification names the code, it is the same with the
//! gateway and without, over HTTP and lines.

use super::fixture::code;
use super::json::Random;
use super::wire::{Mirrored, Wire};
use super::{Era, World};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

/// The method a header names, the message, and what it must be answered with: the HTTP status from
/// 2026-07-28 on and the code.
type Row = (&'static str, String, u16, i64);

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#)
}

fn common(meta: &str) -> Vec<Row> {
    let with = |method: &'static str, params: &str, code| {
        let comma = if params.is_empty() || meta.is_empty() { "" } else { "," };
        (method, request(method, &format!("{params}{comma}{meta}")), 200, code)
    };
    vec![
        ("", "[]".into(), 400, -32600),
        ("", format!("[{}]", request("tools/list", meta)), 400, -32600),
        ("", "7".into(), 400, -32600),
        ("", "null".into(), 400, -32600),
        ("tools/list", request("tools/list", meta).replace(r#""jsonrpc":"2.0","#, ""), 400, -32600),
        ("tools/list", request("tools/list", meta).replace("2.0", "1.0"), 400, -32600),
        ("tools/list", request("tools/list", meta).replace("2.0", "2"), 400, -32600),
        with("tools/list", r#""cursor":"nonsense""#, -32602),
        with("resources/list", r#""cursor":7"#, -32602),
        with("completion/complete", r#""argument":{"name":"x","value":"y"}"#, -32602),
        with(
            "completion/complete",
            r#""ref":{"type":"ref/prompt","name":"nobody"},"argument":{"name":"x","value":"y"}"#,
            -32602,
        ),
    ]
}

/// Without a name; in the new era its header is missing too, which is another mistake.
fn legacy() -> Vec<Row> {
    [
        ("tools/call", ""),
        ("tools/call", r#""name":7"#),
        ("prompts/get", ""),
        ("resources/read", ""),
        ("resources/read", r#""uri":{}"#),
    ]
    .map(|(method, params)| (method, request(method, params), 200, -32602))
    .to_vec()
}

fn modern() -> Vec<Row> {
    let list = |from: &str, to: &str| request("tools/list", META).replace(from, to);
    vec![
        (
            "tools/list",
            list(r#","io.modelcontextprotocol/clientCapabilities":{}"#, ""),
            400,
            -32602,
        ),
        ("tools/list", list(r#"Capabilities":{}"#, r#"Capabilities":[]"#), 400, -32602),
        (
            "tools/list",
            list(
                r#"Capabilities":{}"#,
                r#"Capabilities":{},"io.modelcontextprotocol/logLevel":"loud""#,
            ),
            400,
            -32602,
        ),
        ("ping", request("ping", META), 404, -32601),
        ("initialize", request("initialize", META), 404, -32601),
        ("logging/setLevel", request("logging/setLevel", META), 404, -32601),
        ("resources/subscribe", request("resources/subscribe", META), 404, -32601),
        ("vendor/none", request("vendor/none", META), 404, -32601),
        (
            "tools/call",
            request("tools/call", &format!(r#""name":"test_echo","inputResponses":7,{META}"#)),
            200,
            -32602,
        ),
    ]
}

/// What needs headers: over lines such a message is of no era, or right.
fn headers() -> Vec<(Mirrored<'static>, String, i64)> {
    let named = |method, name, version| Mirrored { method, name, version };
    let call = request("tools/call", &format!(r#""name":"test_echo",{META}"#));
    let future = call.replace("2026-07-28", "2099-01-01");
    vec![
        (named("tools/list", None, None), request("tools/list", ""), -32602),
        (named("tools/list", Some("test_echo"), None), call.clone(), -32020),
        (named("TOOLS/CALL", Some("test_echo"), None), call.clone(), -32020),
        (named("tools/call", Some("test_Echo"), None), call.clone(), -32020),
        (named("tools/call", Some("=?base64?!?="), None), call.clone(), -32020),
        (named("tools/call", None, None), call.clone(), -32020),
        (named("tools/call", Some("test_echo"), Some("2099-01-01")), call, -32020),
        (named("tools/call", Some("test_echo"), Some("2099-01-01")), future, -32022),
    ]
}

/// One message to every wire: code and, from 2026-07-28 on, HTTP status.
fn check(
    wires: &mut [Wire],
    era: Era,
    mirrored: Mirrored<'_>,
    text: &str,
    status: u16,
    wanted: i64,
) {
    for (at, wire) in wires.iter_mut().enumerate() {
        let said = wire.say(text, mirrored);
        let got = code(said.messages.last().unwrap());
        assert_eq!(got, wanted, "wire {at} of {era:?}: {text}\n{said:?}");
        if let Some(got) = said.status.filter(|_| era == Era::Modern || status == 400) {
            assert_eq!(got, status, "wire {at} of {era:?}: {text}\n{said:?}");
        }
    }
}

/// The server itself and through the gateway, over HTTP, then the same over lines.
fn wires(world: &World, era: Era) -> [Wire; 4] {
    let address = world.kern.address();
    [
        world.far(era),
        Wire::http(address, &format!("/mcp/f-{}-http", era.word()), era),
        world.fixture_itself(era, "lines"),
        Wire::unix(&world.kern, era),
    ]
}

/// All rows; how many messages that were.
pub fn run_table(world: &World) -> usize {
    let mut done = 0;
    for era in [Era::Legacy, Era::Modern] {
        let mut wires = wires(world, era);
        let rows = match era {
            Era::Legacy => [common(""), legacy()].concat(),
            Era::Modern => [common(META), modern()].concat(),
        };
        for (method, text, status, code) in rows {
            let name = text.contains("test_echo").then_some("test_echo");
            check(&mut wires, era, Mirrored { method, name, version: None }, &text, status, code);
            done += wires.len();
        }
        if era == Era::Modern {
            for (mirrored, text, code) in headers() {
                check(&mut wires[..2], era, mirrored, &text, 400, code);
                done += 2;
            }
        }
    }
    done
}

/// One character more, less or other, or an end too early.
fn spoil(random: &mut Random, text: &str) -> String {
    let mut all: Vec<char> = text.chars().collect();
    let at = random.below(all.len());
    let other = random.pick(&[
        '{', '}', '[', ']', ',', ':', '"', '\\', '0', '-', '+', '.', 'e', 'n', ' ', '\0', '/',
        '\'', '\t', 'é',
    ]);
    match random.below(4) {
        0 => all[at] = other,
        1 => all.insert(at, other),
        2 => drop(all.remove(at)),
        _ => all.truncate(at + 1),
    }
    all.into_iter().collect()
}

/// `count` spoiled messages a wire that are no JSON any more; how many there were.
pub fn run_spoiled(world: &World, seed: u64, count: usize) -> usize {
    let mut done = 0;
    for era in [Era::Legacy, Era::Modern] {
        let mut wires = wires(world, era);
        let meta = if era == Era::Modern { META } else { "" };
        let comma = if meta.is_empty() { "" } else { "," };
        let params = format!(
            r#""name":"test_echo","arguments":{{"a":[1.5e+3,-0,true,null,"\u00e9\\"],"b":{{}}}}{comma}{meta}"#
        );
        let whole = request("tools/call", &params);
        let mut random = Random(seed ^ era as u64);
        let mut left = count;
        while left > 0 {
            let text = spoil(&mut random, &whole);
            let Err(error) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
            // The grammar allows these; this reader does not.
            let picky =
                ["surrogate", "out of range"].iter().any(|it| error.to_string().contains(it));
            if !picky && !text.trim().is_empty() {
                let mirrored =
                    Mirrored { method: "tools/call", name: Some("test_echo"), version: None };
                check(&mut wires, era, mirrored, &text, 400, -32700);
                left -= 1;
                done += wires.len();
            }
        }
    }
    done
}

//! Single rooms: the scan of a message, the tables of sessions and of tools.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use kern_mcp::{ScanLimits, scan};
use kern_route::{ListKind, Lists, View};
use kern_session::{Session, Sessions, Token};
use kern_terms::{CoreId, Instant, Revision};

use crate::{Case, measured};

/// Sessions and tools among which one is looked for.
const MANY: usize = 10_000;
const UPSTREAMS: usize = 20;

/// A `tools/call` of about so many bytes, most of them one long text.
pub fn call_of(bytes: usize) -> String {
    let call = |text: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{{"name":"echo","arguments":{{"message":"{text}"}},"_meta":{{"progressToken":"tok","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
        )
    };
    let line = "The quick brown fox jumps over the lazy dog while the sentence goes on;\\n ";
    let room = bytes.saturating_sub(call("").len());
    let mut text = line.repeat(room / line.len());
    text.push_str(&"x".repeat(room - text.len()));
    call(&text)
}

/// The scan of a call.
pub fn scan_of(bytes: usize) -> Box<dyn Case> {
    let message = call_of(bytes);
    let limits = ScanLimits::default();
    Box::new(move |counts: bool| {
        let once = || black_box(scan(black_box(message.as_bytes()), &limits).is_ok());
        assert!(if counts { measured(once) } else { once() });
    })
}

/// A session, by its token.
pub fn session() -> Box<dyn Case> {
    let mut sessions = Sessions::new(MANY);
    let empty = Bytes::from_static(b"{}");
    let texts: Vec<String> = (0..MANY as u64)
        .map(|number| {
            let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let token = Token::new(CoreId(0), random, !random);
            let (empty, info) = (empty.clone(), empty.clone());
            let revision = Revision::LEGACY_LATEST;
            let session = Session::new(token, revision, None, empty, info, Instant::ZERO);
            sessions.open(session).expect("room");
            token.to_string()
        })
        .collect();
    let mut at = 0;
    Box::new(move |counts: bool| {
        at = (at + 7_919) % MANY;
        let text = &texts[at];
        let once = || {
            let token = Token::parse(black_box(text.as_bytes())).expect("a token");
            let key = sessions.find(&token).expect("open");
            black_box(sessions.get(key).expect("open").revision);
        };
        if counts { measured(once) } else { once() }
    })
}

fn view() -> View {
    let lists: Vec<_> = (0..UPSTREAMS)
        .map(|upstream| {
            let mut lists = Lists::new(format!("upstream{upstream}"), Revision::LATEST);
            let tools: Vec<_> = (0..MANY / UPSTREAMS)
                .map(|tool| format!(r#"{{"name":"do_thing_number_{tool}","inputSchema":{{}}}}"#))
                .collect();
            let page = format!(r#"{{"tools":[{}]}}"#, tools.join(","));
            lists.parse_page(ListKind::Tools, page.as_bytes()).expect("a good page");
            Arc::new(lists)
        })
        .collect();
    View::merged(&lists)
}

/// A tool, by its name.
pub fn tool() -> Box<dyn Case> {
    let view = view();
    let names: Vec<_> = view.targets(ListKind::Tools).map(|tool| tool.exposed.to_owned()).collect();
    let mut at = 0;
    Box::new(move |counts: bool| {
        at = (at + 7_919) % MANY;
        let name = &*names[at];
        let once = || {
            black_box(view.tool(black_box(name)).expect("served").source);
        };
        if counts { measured(once) } else { once() }
    })
}

/// A tool that nobody has.
pub fn missing() -> Box<dyn Case> {
    let view = view();
    // Many names: where the table puts one of them is chance.
    let names: Vec<_> = (0..MANY).map(|at| format!("upstream7__no_such_thing_{at}")).collect();
    let mut at = 0;
    Box::new(move |counts: bool| {
        at = (at + 7_919) % MANY;
        let name = &*names[at];
        let once = || {
            black_box(view.tool(black_box(name)).is_none());
        };
        if counts { measured(once) } else { once() }
    })
}

//! What of an upstream's list is kept, and what is left out and why.

use super::*;

fn lists() -> Lists {
    Lists::new("up", Revision::LATEST)
}

/// Reads `items` as one page of `kind`; returns the keys kept and the reasons for what was not.
fn check(kind: ListKind, items: &str, kept: &[&str], left_out: &[Reason]) {
    let mut lists = lists();
    let page = format!(r#" {{ "{}" : [ {items} ] }} "#, kind.member());
    assert_eq!(lists.parse_page(kind, page.as_bytes()), Ok(None), "{items}");
    let keys: Vec<&str> = lists.items(kind).iter().map(|item| &*item.key).collect();
    let reasons: Vec<Reason> = lists.warnings.iter().map(|warning| warning.reason).collect();
    assert_eq!((&keys[..], &reasons[..]), (kept, left_out), "{items}");
    assert_eq!(lists.left_out, left_out.len());
}

#[test]
fn one_bad_definition_costs_only_itself() {
    use ListKind::{Prompts, Resources, Templates, Tools};
    check(Tools, "", &[], &[]);
    check(Tools, r#"{"name":"a","inputSchema":{}}, 7"#, &["a"], &[Reason::NotAnObject]);
    check(Tools, r#"{"inputSchema":{}}"#, &[], &[Reason::NoKey]);
    check(Tools, r#"{"name":7,"inputSchema":{}}"#, &[], &[Reason::NoKey]);
    check(Tools, r#"{"name":"\ud800","inputSchema":{}}"#, &[], &[Reason::NoKey]);
    check(Tools, r#"{"name":"","inputSchema":{}}"#, &[], &[Reason::EmptyKey]);
    check(Tools, r#"{"name":"a\u0000","inputSchema":{}}"#, &[], &[Reason::ControlCharacter]);
    check(Tools, r#"{"name":"a","name":"b","inputSchema":{}}"#, &[], &[Reason::TwoKeys]);
    check(Tools, r#"{"name":"a"}"#, &[], &[Reason::NoInputSchema]);
    check(Tools, r#"{"name":"a","inputSchema":null}"#, &[], &[Reason::NoInputSchema]);
    check(
        Tools,
        r#"{"name":"a","inputSchema":{}},{"inputSchema":{"x":1},"name":"\u0061"}"#,
        &["a"],
        &[Reason::Duplicate],
    );
    let long = "x".repeat(limits::NAME_BYTES_MAX + 1);
    check(Prompts, &format!(r#"{{"name":"{long}"}}"#), &[], &[Reason::LongKey]);
    check(Resources, &format!(r#"{{"uri":"{long}"}}"#), &[&long], &[]);
    check(Templates, r#"{"uriTemplate":"x:{a}"}"#, &["x:{a}"], &[]);
    check(Prompts, r#"{"name":"Größe 1"}"#, &["Größe 1"], &[]);
    let fat = format!(r#"{{"name":"a","x":"{}"}}"#, "x".repeat(limits::ITEM_BYTES_MAX));
    check(Prompts, &fat, &[], &[Reason::LongItem]);
}

#[test]
fn a_definition_is_kept_byte_for_byte() {
    let raw = "{ \"inputSchema\" : {\"n\": 1.0e+2},\n \"na\\u006de\":\"\\u0061\", \"x\": null }";
    let page =
        format!(r#"{{"nextCursor":"a\"b","tools":[{raw}],"ttlMs":5,"cacheScope":"public"}}"#);
    let mut lists = lists();
    let next = lists.parse_page(ListKind::Tools, page.as_bytes()).expect("a good page");
    assert_eq!(next.as_deref(), Some(&br#""a\"b""#[..]));
    let item = &lists.items(ListKind::Tools)[0];
    assert_eq!((&item.raw[..], &*item.key), (raw.as_bytes(), "a"));
    assert_eq!(item.key_json(), br#""\u0061""#);
    assert_eq!(lists.hint(ListKind::Tools), Some(Hint { ttl_ms: Some(5), private: false }));
    assert_eq!(lists.bytes(), raw.len());
}

#[test]
fn a_page_without_a_list_is_refused() {
    for (page, fault) in [
        ("7", ListError::NotAnObject),
        ("", ListError::NotAnObject),
        ("{}", ListError::NoItems(ListKind::Tools)),
        (r#"{"tools":{}}"#, ListError::NoItems(ListKind::Tools)),
        (r#"{"tools":[],"nextCursor":7}"#, ListError::BadCursor),
    ] {
        assert_eq!(lists().parse_page(ListKind::Tools, page.as_bytes()), Err(fault), "{page}");
    }
    let long = format!(r#"{{"tools":[],"nextCursor":"{}"}}"#, "x".repeat(20_000));
    let fault = lists().parse_page(ListKind::Tools, long.as_bytes());
    assert_eq!(fault, Err(ListError::LongCursor(20_002)));
    let null = lists().parse_page(ListKind::Tools, br#"{"tools":[],"nextCursor":null}"#);
    assert_eq!(null, Ok(None));
}

#[test]
fn the_narrowest_hint_of_all_pages_holds() {
    let mut lists = lists();
    assert_eq!(lists.hint(ListKind::Prompts), None);
    for (page, ttl_ms, private) in [
        (r#"{"prompts":[],"ttlMs":9,"cacheScope":"public"}"#, Some(9), false),
        (r#"{"prompts":[],"ttlMs":-4,"cacheScope":"public"}"#, Some(0), false),
        (r#"{"prompts":[],"ttlMs":1.5e3,"cacheScope":"private"}"#, Some(0), true),
        (r#"{"prompts":[]}"#, None, true),
    ] {
        lists.parse_page(ListKind::Prompts, page.as_bytes()).expect("a good page");
        assert_eq!(lists.hint(ListKind::Prompts), Some(Hint { ttl_ms, private }), "{page}");
    }
}

#[test]
fn an_upstream_that_never_stops_listing_is_stopped() {
    let mut lists = lists();
    let mut pages = 0;
    loop {
        let page = format!(r#"{{"prompts":[{{"name":"p{pages}"}}],"nextCursor":"more"}}"#);
        pages += 1;
        if lists.parse_page(ListKind::Prompts, page.as_bytes()).expect("a good page").is_none() {
            break;
        }
    }
    assert_eq!(pages, limits::PAGES_MAX);
    let items: Vec<_> = (0..=limits::ITEMS_MAX).map(|n| format!(r#"{{"uri":"x:{n}"}}"#)).collect();
    let page = format!(r#"{{"resources":[{}],"nextCursor":"more"}}"#, items.join(","));
    assert_eq!(lists.parse_page(ListKind::Resources, page.as_bytes()), Ok(None));
    assert_eq!(lists.items(ListKind::Resources).len(), limits::ITEMS_MAX);
    let noise = vec!["7"; 1_000].join(",");
    let page = format!(r#"{{"tools":[{noise}]}}"#);
    lists.parse_page(ListKind::Tools, page.as_bytes()).expect("a good page");
    assert_eq!((lists.warnings.len(), lists.left_out), (limits::WARNINGS_MAX, 1_002));
    lists.clear(ListKind::Resources);
    assert!(lists.items(ListKind::Resources).is_empty());
}

#[test]
fn every_place_that_names_a_tools_user_interface_is_found() {
    let tool = r#"{"name":"a","inputSchema":{},"_meta":{"ui/resourceUri":"ui://1","ui":{"x":1,
        "resourceUri":"ui://2"},"openai/outputTemplate":"ui://3","other":"ui://4"}}"#;
    let mut lists = lists();
    let page = format!(r#"{{"tools":[{tool}]}}"#);
    lists.parse_page(ListKind::Tools, page.as_bytes()).expect("a good page");
    let item = &lists.items(ListKind::Tools)[0];
    let links: Vec<_> = item.links.iter().map(|(span, uri)| (span.of(&item.raw), &**uri)).collect();
    let quoted = [r#""ui://1""#, r#""ui://2""#, r#""ui://3""#];
    let expected: Vec<_> =
        quoted.iter().map(|text| (text.as_bytes(), text.trim_matches('"'))).collect();
    assert_eq!(links, expected);
}

#[test]
fn only_objects_are_capabilities() {
    let mut lists = lists();
    assert!(!lists.can("resources"));
    lists.capabilities = Bytes::from_static(br#"{"resources":{},"tools":null}"#);
    assert!(lists.can("resources") && !lists.can("tools") && !lists.can("prompts"));
}

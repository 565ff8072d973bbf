//! What holds for every set of upstreams, however they name their things.

use std::collections::HashMap;
use std::sync::Arc;

use kern_mcp::names::is_upstream_name;
use kern_route::{CURSOR_BYTES_MAX, ListKind, Lists, PageLimits, View, limits};
use kern_terms::{Era, Revision};
use proptest::prelude::*;
use serde_json::{Value, json};

/// An upstream's name and its keys by kind.
type Given = (String, [Vec<String>; 4]);

fn definition(kind: ListKind, key: &str) -> Value {
    match kind {
        ListKind::Tools => json!({"title": key, "name": key, "inputSchema": {"type": "object"},
            "_meta": {"ui": {"resourceUri": format!("ui://{key}")}}}),
        kind => json!({"x": [1.5e3, key], kind.key_member(): key}),
    }
}

fn lists((name, keys): &Given) -> Arc<Lists> {
    let mut lists = Lists::new(name.as_str(), Revision::LATEST);
    lists.capabilities = bytes::Bytes::from_static(br#"{"resources":{}}"#);
    for kind in ListKind::ALL {
        let items: Vec<_> = keys[kind.index()].iter().map(|key| definition(kind, key)).collect();
        let page = json!({kind.member(): items}).to_string();
        assert_eq!(lists.parse_page(kind, page.as_bytes()), Ok(None));
    }
    Arc::new(lists)
}

fn merged(given: &[Given]) -> View {
    View::merged(&given.iter().map(lists).collect::<Vec<_>>())
}

/// Names that are near one another: pieces of the separator, of hashes, long ones.
fn name() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("a"), 4 => Just("b"), 6 => Just("__"), 3 => Just("_"), 1 => Just("."),
        1 => Just("é"), 1 => Just("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        1 => Just("\\\"/ {x}"), 1 => Just("kern://"), 1 => Just("0123abcd"),
    ];
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

fn uri() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![
        Just("x:"),
        Just("file:///"),
        Just("ui://"),
        Just("kern://"),
        Just("ui://kern/"),
        Just("kern://a/"),
        Just("ui://kern/a/"),
        Just(""),
    ];
    let rest = prop_oneof![
        Just("a"),
        Just("a/b"),
        Just("{x}"),
        Just("{+x}"),
        Just("a{?q}"),
        Just("ui://a"),
        Just("")
    ];
    (scheme, rest).prop_map(|(scheme, rest)| format!("{scheme}{rest}"))
}

fn upstreams() -> impl Strategy<Value = Vec<Given>> {
    let names = || prop::collection::vec(name(), 0..6);
    let uris = || prop::collection::vec(uri(), 0..6);
    let keys = (names(), names(), uris(), uris()).prop_map(|(a, b, c, d)| [a, b, c, d]);
    let upstream = "[ab]|a_b|a-_b|kern|a{30}".prop_filter("a name", |name| is_upstream_name(name));
    prop::collection::vec((upstream, keys), 0..5).prop_map(|mut given| {
        let mut seen = std::collections::HashSet::new();
        given.retain(|(name, _)| seen.insert(name.clone()));
        given
    })
}

fn served(view: &View, kind: ListKind) -> Vec<(String, usize, String, bytes::Bytes)> {
    let all = view.targets(kind);
    all.map(|t| (t.exposed.to_owned(), t.source, t.name().to_owned(), t.rendered.clone())).collect()
}

/// 64 cases a property, or as many as `PROPTEST_CASES` says.
fn config() -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(64),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_served_name_leads_to_one_upstream_and_its_own_name(given in upstreams()) {
        let view = merged(&given);
        let again = merged(&given);
        for kind in ListKind::ALL {
            let all = served(&view, kind);
            prop_assert_eq!(&all, &served(&again, kind), "the same lists, the same view");
            prop_assert_eq!(view.digest(kind), again.digest(kind));
            let declared: usize = view.upstreams().map(|one| one.items(kind).len()).sum();
            prop_assert_eq!(all.len(), declared, "nothing is lost");
            let mut names = std::collections::HashSet::new();
            for (exposed, source, original, rendered) in &all {
                prop_assert!(names.insert(exposed.clone()), "{} twice", exposed);
                let (to, name) = match kind {
                    ListKind::Tools => view.tool(exposed).map(|t| (t.source, t.name().to_owned())),
                    ListKind::Prompts => view.prompt(exposed).map(|t| (t.source, t.name().to_owned())),
                    ListKind::Resources => view.resource(exposed).map(|r| (r.source, r.uri.into())),
                    ListKind::Templates => view.template(exposed).map(|t| (t.source, t.name().to_owned())),
                }.expect("what is served is found");
                prop_assert_eq!((to, &name), (*source, original));
                if view.renames() && matches!(kind, ListKind::Tools | ListKind::Prompts) {
                    prop_assert!(exposed.len() <= limits::EXPOSED_BYTES_MAX);
                }
                let mut expected = definition(kind, original);
                expected[kind.key_member()] = json!(exposed);
                let rendered: Value = serde_json::from_slice(rendered).expect("valid JSON");
                if kind == ListKind::Tools {
                    let link = rendered["_meta"]["ui"]["resourceUri"].as_str().expect("a link");
                    prop_assert!(link.starts_with("ui://"));
                    if view.renames() {
                        let found = view.resource(link).expect("a link leads somewhere");
                        prop_assert_eq!(found.source, *source);
                        prop_assert_eq!(&*found.uri, format!("ui://{original}"));
                    }
                    expected["_meta"]["ui"]["resourceUri"] = json!(link);
                }
                prop_assert_eq!(rendered, expected);
            }
        }
    }

    #[test]
    fn what_an_upstream_calls_a_resource_can_be_read_from_it(given in upstreams(), uri in uri()) {
        let view = merged(&given);
        for source in 0..given.len() {
            let back = view.resource_back(source, &uri).into_owned();
            let found = view.resource(&back).expect("every upstream here has resources");
            prop_assert_eq!((found.source, &*found.uri), (source, uri.as_str()), "{}", back);
        }
    }

    #[test]
    fn pages_show_everything_once(
        given in upstreams(), items in 0usize..7, bytes in 0usize..400,
    ) {
        let view = merged(&given);
        for kind in ListKind::ALL {
            let mut shown = Vec::new();
            let mut cursor = None;
            loop {
                let page = view.page(kind, cursor.as_deref(), PageLimits { items, bytes })
                    .expect("own cursors are good");
                let mut array = Vec::new();
                page.write_array(Era::Modern, &mut array);
                let array: Vec<Value> = serde_json::from_slice(&array).expect("an array");
                prop_assert!(!array.is_empty() || page.next.is_none());
                prop_assert!(array.len() <= items.max(1));
                shown.extend(array.iter().map(|item| item[kind.key_member()].clone()));
                cursor = page.next;
                let Some(text) = &cursor else { break };
                prop_assert!(text.len() <= CURSOR_BYTES_MAX);
                for other in ListKind::ALL.into_iter().filter(|other| *other != kind) {
                    prop_assert!(view.page(other, Some(text), PageLimits::default()).is_err());
                }
                let one = View::single(&lists(&given[0]));
                prop_assert!(one.page(kind, Some(text), PageLimits::default()).is_err());
            }
            let all: Vec<Value> =
                view.targets(kind).map(|target| json!(target.exposed)).collect();
            prop_assert_eq!(shown, all);
        }
    }

    #[test]
    fn a_damaged_cursor_is_refused_or_harmless(text in "[A-Za-z0-9_-]{0,260}|.*") {
        let view = merged(&[("a".into(), [vec!["x".into()], vec![], vec![], vec![]])]);
        let page = view.page(ListKind::Tools, Some(&text), PageLimits::default());
        prop_assert!(page.is_err());
    }

    #[test]
    fn changes_between_pages_neither_hide_nor_repeat_what_stays(
        sizes in prop::collection::vec(0usize..30, 1..5),
        changes in prop::collection::vec(change(), 0..40),
        items in 1usize..9,
        changes_per_page in 0usize..12,
    ) {
        let mut world: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut fresh = 0..;
        for (upstream, size) in sizes.iter().enumerate() {
            world.push((upstream, fresh.by_ref().take(*size).collect()));
        }
        let mut changes = changes.into_iter();
        // Tools that were there all the time, and how often each tool was shown.
        let mut stayed: Vec<u32> = world.iter().flat_map(|(_, tools)| tools.clone()).collect();
        let mut shown: HashMap<u32, u32> = HashMap::new();
        let mut cursor: Option<String> = None;
        loop {
            let given: Vec<Given> = world.iter().map(|(upstream, tools)| {
                let names = tools.iter().map(|tool| format!("t{tool}")).collect();
                (format!("u{upstream}"), [names, vec![], vec![], vec![]])
            }).collect();
            let view = merged(&given);
            let page = view.page(ListKind::Tools, cursor.as_deref(), PageLimits { items, bytes: 1 << 20 })
                .expect("own cursors are good");
            for item in page.items(Era::Modern) {
                let item: Value = serde_json::from_slice(item).expect("JSON");
                let tool = item["title"].as_str().expect("a title")[1..].parse().expect("a number");
                *shown.entry(tool).or_default() += 1;
            }
            cursor = page.next;
            if cursor.is_none() { break }
            for change in changes.by_ref().take(changes_per_page) {
                apply(&mut world, &mut fresh, change);
            }
            stayed.retain(|tool| world.iter().any(|(_, tools)| tools.contains(tool)));
        }
        for tool in stayed {
            prop_assert_eq!(shown.get(&tool), Some(&1), "tool {}", tool);
        }
        prop_assert!(shown.values().all(|&times| times == 1), "{:?}", shown);
    }
}

#[derive(Debug, Clone)]
enum Change {
    Add { upstream: usize, at: usize },
    Remove { upstream: usize, at: usize },
    Leave { upstream: usize },
}

fn change() -> impl Strategy<Value = Change> {
    let any = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 16));
    prop_oneof![
        4 => (any(), any()).prop_map(|(upstream, at)| Change::Add { upstream, at }),
        4 => (any(), any()).prop_map(|(upstream, at)| Change::Remove { upstream, at }),
        1 => any().prop_map(|upstream| Change::Leave { upstream }),
    ]
}

fn apply(
    world: &mut Vec<(usize, Vec<u32>)>,
    fresh: &mut impl Iterator<Item = u32>,
    change: Change,
) {
    if world.is_empty() {
        return;
    }
    let count = world.len();
    match change {
        Change::Add { upstream, at } => {
            let tools = &mut world[upstream % count].1;
            let at = at % (tools.len() + 1);
            tools.insert(at, fresh.next().expect("endless"));
        }
        Change::Remove { upstream, at } => {
            let tools = &mut world[upstream % count].1;
            if !tools.is_empty() {
                tools.remove(at % tools.len());
            }
        }
        Change::Leave { upstream } => {
            world.remove(upstream % count);
        }
    }
}

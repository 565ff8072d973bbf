//! Who gets which name and URI, and where each leads.

use super::*;
use crate::limits;
use kern_terms::Revision;

/// An upstream from arrays of names, URIs, templates, and tools with a link.
struct Given<'a> {
    name: &'a str,
    tools: &'a [(&'a str, &'a str)],
    resources: &'a [&'a str],
    templates: &'a [&'a str],
}

const EMPTY: Given<'_> = Given { name: "", tools: &[], resources: &[], templates: &[] };

impl Given<'_> {
    fn lists(&self) -> Arc<Lists> {
        let mut lists = Lists::new(self.name, Revision::LATEST);
        if !self.resources.is_empty() || !self.templates.is_empty() {
            lists.capabilities = Bytes::from_static(br#"{"resources":{}}"#);
        }
        let tools = self.tools.iter().map(|(name, link)| match *link {
            "" => format!(r#"{{"name":"{name}","inputSchema":{{}}}}"#),
            link => format!(
                r#"{{"_meta":{{"ui":{{"resourceUri":"{link}"}}}},"name":"{name}","inputSchema":{{}}}}"#
            ),
        });
        let resources = self.resources.iter().map(|uri| format!(r#"{{"uri":"{uri}","name":"r"}}"#));
        let templates =
            self.templates.iter().map(|uri| format!(r#"{{"name":"t","uriTemplate":"{uri}"}}"#));
        add(&mut lists, ListKind::Tools, tools.collect());
        add(&mut lists, ListKind::Resources, resources.collect());
        add(&mut lists, ListKind::Templates, templates.collect());
        Arc::new(lists)
    }
}

fn add(lists: &mut Lists, kind: ListKind, items: Vec<String>) {
    let page = format!(r#"{{"{}":[{}]}}"#, kind.member(), items.join(","));
    assert_eq!(lists.parse_page(kind, page.as_bytes()), Ok(None));
    assert_eq!(lists.warnings, []);
}

fn merged(given: &[Given<'_>]) -> View {
    View::merged(&given.iter().map(Given::lists).collect::<Vec<_>>())
}

fn exposed(view: &View, kind: ListKind) -> Vec<&str> {
    view.targets(kind).map(|target| target.exposed).collect()
}

/// Where `uri` leads: upstream, URI there, rule.
fn check(view: &View, uri: &str, expected: Option<(&str, &str, Rule)>) {
    let found = view.resource(uri);
    let found = found.as_ref().map(|it| (&*it.lists(view).upstream, &*it.uri, it.rule));
    assert_eq!(found, expected, "{uri}");
}

#[test]
fn one_upstream_keeps_its_names() {
    let given = Given { name: "a", tools: &[("x", ""), ("b__y", "")], ..EMPTY };
    for view in [View::single(&given.lists()), merged(&[given])] {
        assert_eq!(exposed(&view, ListKind::Tools), ["x", "b__y"]);
        let target = view.tool("x").expect("served");
        assert_eq!((target.name(), target.name_json()), ("x", &br#""x""#[..]));
        assert_eq!(target.rendered.as_ptr(), target.item.raw.as_ptr(), "nothing was copied");
        assert!(view.tool("a__x").is_none());
    }
}

#[test]
fn several_upstreams_get_their_names_before_their_tools() {
    // The changed name of `a.b` is no secret: a hostile upstream may declare it as a tool of its own.
    let changed = kern_mcp::names::exposed("a", "x.y", limits::EXPOSED_BYTES_MAX);
    let own = changed.strip_prefix("a__").expect("a's");
    let view = merged(&[
        Given { name: "a", tools: &[("x", ""), (own, ""), ("x.y", "")], ..EMPTY },
        Given { name: "b", tools: &[("a__x", "")], ..EMPTY },
        Given { name: "mute", ..EMPTY },
    ]);
    let names = exposed(&view, ListKind::Tools);
    assert_eq!(names[..2], ["a__x", &changed]);
    assert_ne!(names[2], changed);
    assert_eq!(names[3], "b__a__x");
    let target = view.tool(names[2]).expect("served");
    assert_eq!((&**target.upstream(), target.name()), ("a", "x.y"));
    let rendered = format!(r#"{{"name":"{}","inputSchema":{{}}}}"#, names[2]);
    assert_eq!(target.rendered, rendered.as_bytes());
    assert!(view.tool("x").is_none() && view.tool("mute__x").is_none());
}

#[test]
fn a_definition_is_served_on_one_line() {
    let mut lists = Lists::new("a", Revision::LATEST);
    let page = b"{\"prompts\":[{\r\n \"name\":\t\"x\\n\" }, {\"name\":\n\"y\"}]}";
    lists.parse_page(ListKind::Prompts, page).expect("a good page");
    let view = View::single(&Arc::new(lists));
    let prompt = view.prompt("y").expect("served");
    assert_eq!(prompt.rendered, &b"{\"name\": \"y\"}"[..]);
    assert_eq!(prompt.item.raw, &b"{\"name\":\n\"y\"}"[..]);
}

#[test]
fn uris_are_changed_only_where_two_upstreams_have_them() {
    let view = merged(&[
        Given { name: "a", resources: &["x:1", "x:2"], templates: &["t:{q}"], ..EMPTY },
        Given { name: "b-c", resources: &["x:2", "x:3"], templates: &["t:{q}", "u:{q}"], ..EMPTY },
    ]);
    assert_eq!(
        exposed(&view, ListKind::Resources),
        ["x:1", "kern://a/x:2", "kern://b-c/x:2", "x:3"]
    );
    assert_eq!(
        exposed(&view, ListKind::Templates),
        ["kern://a/t:{q}", "kern://b-c/t:{q}", "u:{q}"]
    );
    check(&view, "x:1", Some(("a", "x:1", Rule::Listed)));
    check(&view, "kern://b-c/x:2", Some(("b-c", "x:2", Rule::Listed)));
    check(&view, "x:2", None);
    check(&view, "kern://a/x:99", Some(("a", "x:99", Rule::Explicit)));
    check(&view, "kern://nobody/x:1", None);
    check(&view, "kern://a", None);
    check(&view, "u:7", Some(("b-c", "u:7", Rule::Template)));
    check(&view, "kern://a/t:7", Some(("a", "t:7", Rule::Explicit)));
    check(&view, "y:1", None);
    assert_eq!(view.resource_back(0, "x:1"), "x:1");
    assert_eq!(view.resource_back(1, "x:1"), "kern://b-c/x:1");
    assert_eq!(view.resource_back(1, "u:7"), "u:7");
    assert_eq!(view.resource_back(0, "y:1"), "kern://a/y:1");
    assert_eq!(view.template("kern://a/t:{q}").expect("served").name(), "t:{q}");
}

#[test]
fn no_upstream_can_answer_for_another() {
    let view = merged(&[
        Given { name: "good", resources: &["file:///secret"], ..EMPTY },
        Given {
            name: "evil",
            resources: &["kern://good/file:///other", "ui://kern/good/w"],
            templates: &["{+everything}", "kern://good/{+x}", "f{+x}"],
            ..EMPTY
        },
    ]);
    check(&view, "kern://good/file:///other", Some(("good", "file:///other", Rule::Explicit)));
    check(&view, "ui://kern/good/w", Some(("good", "ui://w", Rule::Explicit)));
    check(&view, "kern://good/any", Some(("good", "any", Rule::Explicit)));
    check(&view, "file:///unlisted", None);
    check(&view, "file:///secret", Some(("good", "file:///secret", Rule::Listed)));
    let wrapped = "kern://evil/kern://good/file:///other";
    check(&view, wrapped, Some(("evil", "kern://good/file:///other", Rule::Listed)));
}

#[test]
fn the_most_literal_template_answers_then_the_first_upstream() {
    let view = merged(&[
        Given { name: "a", templates: &["x:{+any}", "y:{one}"], ..EMPTY },
        Given { name: "b", templates: &["x:deep/{+any}", "y:{two}"], ..EMPTY },
    ]);
    check(&view, "x:deep/1", Some(("b", "x:deep/1", Rule::Template)));
    check(&view, "x:other", Some(("a", "x:other", Rule::Template)));
    check(&view, "y:1", Some(("a", "y:1", Rule::Template)));
    assert_eq!(view.resource_back(1, "y:1"), "kern://b/y:1");
}

#[test]
fn the_only_upstream_with_resources_is_asked_for_what_nobody_listed() {
    let tools = Given { name: "tools", tools: &[("x", "")], ..EMPTY };
    let files = Given { name: "files", resources: &["file:///a"], ..EMPTY };
    check(&merged(&[tools, files]), "any:thing", Some(("files", "any:thing", Rule::Sole)));
    let alone = Given { name: "files", resources: &["kern://up/x"], ..EMPTY };
    let single = View::single(&alone.lists());
    check(&single, "kern://up/x", Some(("files", "kern://up/x", Rule::Listed)));
    check(&single, "kern://up/y", Some(("files", "kern://up/y", Rule::Sole)));
    check(&merged(&[]), "any:thing", None);
}

#[test]
fn a_tools_user_interface_is_found_under_the_uri_it_is_served_with() {
    let view = merged(&[
        Given {
            name: "a",
            tools: &[("t", "ui://w"), ("u", "ui://mine")],
            resources: &["ui://w"],
            ..EMPTY
        },
        Given { name: "b", tools: &[("t", "ui://w")], resources: &["x:1"], ..EMPTY },
    ]);
    let served = |name: &str| {
        let tool = view.tool(name).expect("served");
        let json: serde_json::Value = serde_json::from_slice(tool.rendered).expect("JSON");
        assert_eq!(json["name"], name);
        json["_meta"]["ui"]["resourceUri"].as_str().expect("a link").to_owned()
    };
    assert_eq!(served("a__t"), "ui://kern/a/w");
    assert_eq!(served("b__t"), "ui://kern/b/w");
    assert_eq!(served("a__u"), "ui://mine");
    check(&view, "ui://kern/a/w", Some(("a", "ui://w", Rule::Listed)));
    check(&view, "ui://kern/b/w", Some(("b", "ui://w", Rule::Linked)));
    check(&view, "ui://mine", Some(("a", "ui://mine", Rule::Linked)));
}

#[test]
fn what_a_server_that_is_down_claimed_nobody_else_gets() {
    let a = Given { name: "a", resources: &["x:1", "x:2"], templates: &["y:{q}"], ..EMPTY }.lists();
    let b = Given {
        name: "b",
        tools: &[("t", "x:1")],
        resources: &["x:2"],
        templates: &["y:deep/{q}", "z:{q}"],
    };
    let b = b.lists();
    let both = View::merged(&[Arc::clone(&a), Arc::clone(&b)]);
    let alone = View::merged_among(&[a], 2, &[b]);
    let listed = |view: &View| -> Vec<String> {
        let mut all: Vec<_> =
            exposed(view, ListKind::Resources).into_iter().map(str::to_owned).collect();
        all.retain(|uri| uri.contains("/a/") || uri == "x:1");
        all
    };
    assert_eq!(listed(&alone), ["kern://a/x:1", "kern://a/x:2"]);
    assert_eq!(listed(&both), listed(&alone), "names change as a server comes and goes");
    for uri in ["x:1", "x:2", "y:deep/1", "z:1", "any:thing", "kern://b/x:2"] {
        check(&alone, uri, None);
    }
    check(&alone, "y:1", Some(("a", "y:1", Rule::Template)));
    assert_eq!(alone.resource_back(0, "z:1"), both.resource_back(0, "z:1"));
}

#[test]
fn a_user_interface_calls_its_servers_tools_by_the_names_its_server_gave_them() {
    let lists = |name: &str, tools: &[&str]| {
        let mut lists = Lists::new(name, Revision::LATEST);
        let tool = |tool: &&str| {
            let (name, ui) = tool.split_once(' ').unwrap_or((tool, "{}"));
            format!(r#"{{"name":"{name}","inputSchema":{{}},"_meta":{{"ui":{ui}}}}}"#)
        };
        add(&mut lists, ListKind::Tools, tools.iter().map(tool).collect());
        Arc::new(lists)
    };
    let app = lists(
        "app",
        &[
            r#"show {"resourceUri":"ui://w"}"#,
            r#"refresh {"visibility":["app"]}"#,
            r#"secret {"visibility":["model"]}"#,
            r#"none {"visibility":[]}"#,
            "delete",
            "plain__run",
        ],
    );
    let (plain, gone) = (lists("plain", &["delete", "run"]), lists("gone", &["show"]));
    let leads = |view: &View, name: &str| {
        view.tool(name).map(|found| format!("{} {}", found.upstream(), found.name()))
    };
    let view = View::merged(&[Arc::clone(&app), Arc::clone(&plain)]);
    for (name, expected) in [
        ("refresh", Some("app refresh")),
        ("show", Some("app show")),
        ("app__refresh", Some("app refresh")),
        // Not for user interfaces, of a server without any, of two, or the name of another's.
        ("secret", None),
        ("none", None),
        ("run", None),
        ("delete", None),
        ("plain__run", Some("plain run")),
    ] {
        assert_eq!(leads(&view, name).as_deref(), expected, "{name}");
    }
    assert_eq!(view.targets(ListKind::Tools).count(), 8, "what is listed stays the same");
    let without = View::merged_among(&[app, plain], 3, &[gone]);
    assert_eq!(leads(&without, "show"), None, "another that is down has one, too");
}

//! What real clients and servers said to each other, said again through `kern`.
//!
//! A recorded client is played over the transport it used, the server answers what it answered then
//! (`harness/tape.py`, which compares what arrives). Invariant: both get the bytes that the other
//! sent, but for ids, progress tokens, and names where several servers share an endpoint. Greetings,
//! lists and `ping` are answered by `kern`: there the revision, the items and the result are the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::value::RawValue;

use super::channel::Channel;
use super::corpus::{self, Conversation, Deed, Headers, Said, member};
use super::harness::{self, Kern, Remote, Setup, child, python, remote, script};

/// The lists of the protocol and the members that hold their items.
const LISTS: &[(&str, &str)] = &[
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
];
/// What `kern` answers by itself.
const OWN: &[&str] = &["initialize", "server/discover", "ping", "logging/setLevel"];

/// One `kern` before the servers of some conversations.
struct Stage {
    kern: Kern,
    /// Holds the number of the line that is played.
    now: PathBuf,
    servers: usize,
    /// The lists that its servers have, by tag and method: the first that was recorded. The Inspector
    /// got a longer one, since it can be asked, which its server would now have to be started for.
    lists: BTreeMap<(String, String), String>,
    _folder: tempfile::TempDir,
    _remotes: Vec<Remote>,
}

fn tag(conversation: &Conversation) -> String {
    let Conversation { server, carry, modern, .. } = conversation;
    format!("{server}-{carry}-{}", if *modern { "new" } else { "old" })
}

impl Stage {
    fn new(driver: &str, conversations: &[&Conversation]) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let now = folder.path().join("now");
        std::fs::write(&now, "0").unwrap();
        let (corpus, place) = (corpus::folder().display().to_string(), now.display().to_string());
        let mut servers: BTreeMap<String, &Conversation> = BTreeMap::new();
        for conversation in conversations {
            servers.entry(tag(conversation)).or_insert(conversation);
        }
        let (mut config, mut remotes) = (String::new(), Vec::new());
        for (tag, of) in &servers {
            let era = if of.modern { "modern" } else { "legacy" };
            let asked = if of.asked { "asked" } else { "free" };
            let name = format!("{} {} {asked}", of.server, of.carry);
            let tape = script("tape.py");
            let words = ["-SEB", &tape, &of.carry, era, &name, &corpus, &place];
            // What asks its client is started for each; all others are for everybody.
            let more = if of.asked { "" } else { "instances = \"shared\"" };
            if of.carry == "lines" {
                config += &child(tag, python(), &words, more);
                continue;
            }
            let mut command = Command::new(python());
            command.args(words);
            let server = Remote::start(command);
            let sse = of.carry == "sse";
            let more = format!("{more}\n{}", if sse { "transport = \"sse\"" } else { "" });
            config += &remote(tag, &server.url(if sse { "/sse" } else { "/mcp" }), &more);
            remotes.push(server);
        }
        let kern = Setup::new(driver, config).cores(2).start();
        let all = servers.len();
        harness::eventually("all are ready", || kern.log.count(" ready upstream=") == all);
        let lists = lists(conversations);
        Stage { kern, now, lists, servers: all, _folder: folder, _remotes: remotes }
    }

    /// A new connection, to the endpoint of all servers or to that of the one.
    fn channel(&self, conversation: &Conversation, every: bool) -> Channel {
        let place = |base: &str| match every {
            true => base.to_owned(),
            false => format!("{base}/{}", tag(conversation)),
        };
        match conversation.carry.as_str() {
            "http" => Channel::http(&self.kern, &place("/mcp")),
            "sse" => Channel::sse(&self.kern, &place("/sse")),
            _ => Channel::lines(&self.kern),
        }
    }
}

fn lists(conversations: &[&Conversation]) -> BTreeMap<(String, String), String> {
    let mut lists = BTreeMap::new();
    for conversation in conversations {
        for deed in &conversation.deeds {
            let Deed::Exchange(_, asked, then) = deed else { continue };
            let (method, answer) = (asked.method(), then.last().unwrap());
            if LISTS.iter().any(|(known, _)| *known == method) {
                lists.entry((tag(conversation), method)).or_insert_with(|| answer.whole());
            }
        }
    }
    lists
}

/// Plays every conversation over one transport in which clients answer what servers ask, or do not.
/// How many exchanges were compared.
pub fn run(driver: &str, all: &[Conversation], carry: &str, asked: bool) -> usize {
    let chosen: Vec<&Conversation> =
        all.iter().filter(|one| one.carry == carry && one.asked == asked).collect();
    let stage = Stage::new(driver, &chosen);
    let mut done = 0;
    for conversation in chosen {
        let tag = tag(conversation);
        let prefixes = if carry == "lines" { &[true][..] } else { &[false, true] };
        for &every in prefixes {
            // One server alone keeps its names.
            let prefixed = every && stage.servers > 1;
            let prefix = if prefixed { format!("{tag}__") } else { String::new() };
            let channel = stage.channel(conversation, every);
            let greeted = false;
            let mut play = Play { stage: &stage, conversation, every, prefix, channel, greeted };
            done += conversation.deeds.iter().map(|deed| play.deed(deed)).sum::<usize>();
        }
    }
    done
}

/// One conversation under way.
struct Play<'a> {
    stage: &'a Stage,
    conversation: &'a Conversation,
    /// Whether the endpoint is that of all servers.
    every: bool,
    /// Stands before names at this endpoint.
    prefix: String,
    channel: Channel,
    greeted: bool,
}

impl Play<'_> {
    fn deed(&mut self, deed: &Deed) -> usize {
        match deed {
            Deed::Exchange(line, asked, then) => {
                return usize::from(self.exchange(*line, asked, then));
            }
            Deed::Note(said) => {
                let status = self.channel.tell(&said.headers, &said.whole());
                assert_eq!(status, status.and(said.status), "{}", self.where_at(&said.text));
            }
            // What servers ask by themselves should come where a call is under way.
            Deed::Bare(method, ..) if method == "GET" && self.conversation.asked => {}
            // Its stream stands from the start.
            Deed::Bare(..) if self.conversation.carry == "sse" => {}
            // Events have other ids here.
            Deed::Bare(_, headers, _)
                if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("last-event-id")) => {}
            Deed::Bare(method, headers, status) => {
                let got = self.channel.bare(method, headers);
                // A server need not have a stream of its own, or may answer DELETE with 200 or 204.
                let same = got / 100 == status / 100 || *status == 405;
                assert!(same, "{method}: {got}, not {status}: {}", self.where_at(""));
            }
        }
        0
    }

    fn where_at(&self, text: &str) -> String {
        let Conversation { client, server, carry, modern, .. } = self.conversation;
        format!("{client} to {server} over {carry} (modern: {modern}, {:?}): {text}", self.prefix)
    }

    /// Whether it was one that could be compared.
    fn exchange(&mut self, line: usize, asked: &Said, then: &[Said]) -> bool {
        let method = asked.method();
        let answer = then.last().unwrap();
        if method == "initialize" && member(&answer.text.replace("@ID@", "0"), "error").is_some() {
            // A server that was slow to say in which era it speaks; `kern` speaks both.
            return false;
        }
        if method == "initialize" && std::mem::replace(&mut self.greeted, true) {
            // A client that is started for each request.
            self.channel = self.stage.channel(self.conversation, self.every);
        }
        let (headers, body) = self.shown(asked);
        std::fs::write(&self.stage.now, line.to_string()).unwrap();
        self.channel.say(&headers, &body);
        if OWN.contains(&method.as_str()) || LISTS.iter().any(|(list, _)| *list == method) {
            let (_, got) = self.channel.next();
            self.by_kern(&method, answer, &got);
        } else {
            // What the server asks, as it calls it and as it is called here.
            let mut theirs = BTreeMap::new();
            for said in then.chunk_by(|one, next| one.by_server == next.by_server) {
                if said[0].by_server {
                    self.server_says(said, then.len() == 1, &mut theirs);
                    continue;
                }
                for said in said {
                    let answer = said.with_id(&theirs[&said.id]);
                    let status = self.channel.tell(&said.headers, &answer);
                    assert_eq!(status, status.and(said.status), "{}", self.where_at(&said.text));
                }
            }
        }
        self.channel.done();
        true
    }

    /// Compares what the server says until somebody else speaks: each stream in its order.
    fn server_says(
        &mut self,
        said: &[Said],
        alone: bool,
        theirs: &mut BTreeMap<Option<String>, String>,
    ) {
        let mut left: Vec<&Said> = said.iter().collect();
        while !left.is_empty() {
            let (status, got) = self.channel.next();
            let first = |own: bool| left.iter().position(|said| said.own == own);
            let heads = [first(false), first(true)].into_iter().flatten();
            let method = member(&got, "method");
            let same = |at: &usize| member(&left[*at].whole(), "method") == method;
            let at = heads.clone().find(same).or(heads.clone().next()).unwrap();
            let said = left.remove(at);
            let id = self.same(said, status.filter(|_| alone), &got);
            theirs.insert(said.id.clone(), id);
        }
    }

    /// Compares a message of the server's; the id it has here.
    fn same(&self, said: &Said, status: Option<u64>, got: &str) -> String {
        let asks = said.id.is_some() && !said.method().is_empty();
        let id = match asks {
            true => member(got, "id").unwrap_or_default().to_owned(),
            false => said.id.clone().unwrap_or_default(),
        };
        let wanted = said.with_id(&id);
        assert_eq!(got.trim_end(), wanted, "{}", self.where_at("not what the server said"));
        let known = said.status.or(status);
        assert_eq!(status, status.and(known), "{}", self.where_at(got));
        id
    }

    /// A request as it is sent at this endpoint.
    fn shown(&self, asked: &Said) -> (Headers, String) {
        let whole = asked.whole();
        let name = ["tools/call", "prompts/get"].contains(&asked.method().as_str());
        let raw = member(&whole, "params").and_then(|params| member(params, "name"));
        let Some(raw) = raw.filter(|_| name && !self.prefix.is_empty()) else {
            return (asked.headers.clone(), whole);
        };
        let at = raw.as_ptr() as usize - whole.as_ptr() as usize + 1;
        let shown = format!("{}{}{}", &whole[..at], self.prefix, &whole[at..]);
        let headers = asked.headers.iter().map(|(name, value)| match name.to_ascii_lowercase() {
            of if of == "mcp-name" => (name.clone(), format!("{}{value}", self.prefix)),
            _ => (name.clone(), value.clone()),
        });
        (headers.collect(), shown)
    }

    /// What `kern` answers by itself.
    fn by_kern(&self, method: &str, answer: &Said, got: &str) {
        let whole = answer.whole();
        let at = || self.where_at(&format!("{method}\ngot {got}\nnot {whole}"));
        let id = member(got, "id").map(str::to_owned);
        assert_eq!(id, answer.id, "{}", at());
        let [got, wanted] = [got, &whole].map(|it| member(it, "result").unwrap_or_default());
        if let Some((_, list)) = LISTS.iter().find(|(known, _)| *known == method) {
            let known = &self.stage.lists[&(tag(self.conversation), method.to_owned())];
            let wanted = member(known, "result").unwrap_or_default();
            // The URIs of servers that share an endpoint may be others there.
            if self.prefix.is_empty() || *list == "tools" || *list == "prompts" {
                assert_eq!(items(got, list, &self.prefix), items(wanted, list, ""), "{}", at());
            }
            return;
        }
        let parts: &[&str] = match method {
            "initialize" => &["protocolVersion"],
            "server/discover" => &["supportedVersions", "resultType"],
            _ => return assert_eq!(got, wanted, "{}", at()),
        };
        for part in parts {
            assert!(member(got, part).is_some(), "{}", at());
            if *part != "supportedVersions" {
                assert_eq!(member(got, part), member(wanted, part), "{}", at());
            }
        }
    }
}

/// The items of a list, raw, without what `kern` puts before names.
fn items(result: &str, list: &str, prefix: &str) -> Vec<String> {
    let Some(page) = member(result, list) else { return Vec::new() };
    let page: Vec<&RawValue> = serde_json::from_str(page).unwrap();
    let wanted = format!("\"name\":\"{prefix}");
    let own = page.iter().map(|raw| raw.get()).filter(|raw| raw.contains(&wanted));
    own.map(|raw| raw.replacen(&wanted, "\"name\":\"", 1)).collect()
}

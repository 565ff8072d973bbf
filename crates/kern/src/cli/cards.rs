//! `kern discover URL`: which MCP servers a host offers, by their server cards.
//!
//! Source: the `io.modelcontextprotocol/server-card` extension (SEP-2127): the host's catalog at
//! `/.well-known/ai-catalog.json`, else the card beside the endpoint the URL names. What a card
//! says is a claim, not a fact; it is shown, never acted upon.

use kern_control::Endpoint;
use serde_json::{Value, json};

use super::fetch;

const CARD_TYPE: &str = crate::core::CARD_TYPE;
/// Cards of one catalog that are looked at.
const CARDS_MAX: usize = 100;
/// Longest text shown of a card, characters.
const TEXT_CHARS_MAX: usize = 200;

/// One server that a host offers.
#[derive(Debug)]
pub(super) struct Offer {
    name: String,
    title: String,
    about: String,
    /// Transport, URL and revisions of each way to it.
    remotes: Vec<(String, String, Vec<String>)>,
    /// Why its card can't be used.
    fault: Option<String>,
}

/// Looks for cards at `url`.
pub(super) fn find(url: &str) -> Result<Vec<Offer>, String> {
    let endpoint = Endpoint::parse(url).map_err(|error| error.to_string())?;
    let mut tried = Vec::new();
    for path in ["/.well-known/ai-catalog.json", "/.well-known/mcp/catalog.json"] {
        match document(&endpoint, path, "application/ai-catalog+json, application/json") {
            Ok(catalog) => match catalog["entries"].as_array() {
                Some(entries) => return Ok(offers(entries)),
                None => tried.push(format!("{path}: no catalog of cards")),
            },
            Err(fault @ fetch::Fault::Connect(_)) => {
                return Err(format!("nothing answers at {url}: {fault}"));
            }
            Err(fault) => tried.push(format!("{path}: {fault}")),
        }
    }
    let path = format!("{}/server-card", endpoint.path.trim_end_matches('/'));
    match document(&endpoint, &path, CARD_TYPE) {
        Ok(card) => Ok(vec![offer(&card)]),
        Err(fault) => {
            tried.push(format!("{path}: {fault}"));
            Err(format!("no server cards at {url}:\n      {}", tried.join("\n      ")))
        }
    }
}

fn document(endpoint: &Endpoint, path: &str, accept: &str) -> Result<Value, fetch::Fault> {
    let document = fetch::get(endpoint, path, accept)?;
    if document.status != 200 {
        return Err(fetch::Fault::Answer(format!("HTTP {}", document.status)));
    }
    serde_json::from_slice(&document.body)
        .map_err(|error| fetch::Fault::Answer(format!("not JSON: {error}")))
}

fn offers(entries: &[Value]) -> Vec<Offer> {
    let cards = entries.iter().filter(|entry| entry["type"] == CARD_TYPE);
    cards.take(CARDS_MAX).map(follow).collect()
}

/// The card of a catalog's entry: inline, or where its `url` says.
fn follow(entry: &Value) -> Offer {
    if entry["data"].is_object() {
        return offer(&entry["data"]);
    }
    let name = shorten(entry["identifier"].as_str().unwrap_or("(no identifier)"));
    let broken = |why: String| Offer {
        name: name.clone(),
        title: String::new(),
        about: String::new(),
        remotes: Vec::new(),
        fault: Some(why),
    };
    let Some(url) = entry["url"].as_str() else {
        return broken("its entry has neither url nor data".to_owned());
    };
    let endpoint = match Endpoint::parse(url) {
        Ok(endpoint) => endpoint,
        Err(error) => return broken(format!("{}: {error}", shorten(url))),
    };
    match document(&endpoint, &endpoint.path, CARD_TYPE) {
        Ok(card) => offer(&card),
        Err(fault) => broken(format!("{}: {fault}", shorten(url))),
    }
}

fn offer(card: &Value) -> Offer {
    let text = |key: &str| shorten(card[key].as_str().unwrap_or_default());
    let remotes = card["remotes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let remote = |remote: &Value| {
        let versions = remote["supportedProtocolVersions"].as_array().cloned().unwrap_or_default();
        let versions = versions.iter().filter_map(Value::as_str).map(shorten).collect();
        let kind = shorten(remote["type"].as_str().unwrap_or("?"));
        (kind, shorten(remote["url"].as_str().unwrap_or_default()), versions)
    };
    let named = card["name"].as_str().is_some_and(|name| name.matches('/').count() == 1);
    Offer {
        name: text("name"),
        title: text("title"),
        about: text("description"),
        remotes: remotes.iter().take(16).map(remote).collect(),
        fault: (!named).then(|| "its name is not of the form NAMESPACE/NAME".to_owned()),
    }
}

/// A stranger's text as a terminal may show it.
fn shorten(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(TEXT_CHARS_MAX).map(clean).collect()
}

/// For people.
pub(super) fn render(offers: &[Offer]) -> String {
    let mut out = String::new();
    for offer in offers {
        let title = if offer.title.is_empty() { &offer.name } else { &offer.title };
        out += &format!("{}  {title}\n", offer.name);
        if !offer.about.is_empty() {
            out += &format!("    {}\n", offer.about);
        }
        if let Some(fault) = &offer.fault {
            out += &format!("    not usable: {fault}\n");
        }
        for (kind, url, versions) in &offer.remotes {
            out += &format!("    {kind}  {url}  {}\n", versions.join(" "));
        }
    }
    if offers.is_empty() {
        out += "the catalog names no MCP servers\n";
    } else {
        out += "\nuse one: [upstream.NAME] with url = \"…\" in kern.toml, or `kern ls tools URL`\n";
    }
    out
}

/// For programs.
pub(super) fn to_json(offers: &[Offer]) -> Value {
    let remote = |(kind, url, versions): &(String, String, Vec<String>)| json!({ "type": kind, "url": url, "supportedProtocolVersions": versions });
    let offer = |offer: &Offer| {
        json!({
            "name": offer.name,
            "title": offer.title,
            "description": offer.about,
            "remotes": offer.remotes.iter().map(remote).collect::<Vec<_>>(),
            "fault": offer.fault,
        })
    };
    json!({ "servers": offers.iter().map(offer).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_of_strangers_is_shown_without_being_believed() {
        let entries = json!([
            { "type": CARD_TYPE, "data": { "name": "com.a/b", "title": "B\u{1b}[31m",
              "description": "d", "remotes": [{ "type": "streamable-http", "url": "https://a/mcp" }] } },
            { "type": CARD_TYPE, "data": { "name": "no slash" } },
            { "type": CARD_TYPE, "identifier": "urn:air:x:mcp:y" },
            { "type": CARD_TYPE, "identifier": "urn:z", "url": "file:///etc/passwd" },
            { "type": "application/a2a-agent-card+json", "url": "https://elsewhere" },
        ]);
        let offers = offers(entries.as_array().expect("an array"));
        let faults: Vec<bool> = offers.iter().map(|offer| offer.fault.is_some()).collect();
        assert_eq!(faults, [false, true, true, true]);
        let shown = render(&offers);
        assert!(!shown.contains('\u{1b}') && shown.contains("https://a/mcp"), "{shown}");
    }
}

//! Where a message names its parties: the bytes of its id and of its progress token.
//!
//! Invariant: all other bytes stay as they are.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// What stands for an id and for a progress token.
const MARKS: [&str; 2] = ["@ID@", "@TOKEN@"];

/// A message with marks where it names its parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) text: String,
    /// Both as they were spelled.
    pub(super) id: Option<String>,
    pub(super) token: Option<String>,
    pub(super) method: Option<String>,
}

/// A member of an object, raw.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let members: BTreeMap<String, &'a RawValue> = serde_json::from_str(object).ok()?;
    members.get(name).map(|value| value.get())
}

impl Message {
    /// Takes a message apart.
    ///
    /// # Errors
    /// When it is no object in one line, and when it holds a mark by itself.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{why}: {}", text.get(..200).unwrap_or(text)));
        if serde_json::from_str::<BTreeMap<String, &RawValue>>(text).is_err() {
            return wrong("no object");
        }
        if text.contains(['\r', '\n']) || MARKS.iter().any(|mark| text.contains(mark)) {
            return wrong("a line break or a mark");
        }
        let method = member(text, "method").and_then(|raw| serde_json::from_str(raw).ok());
        let id = member(text, "id");
        let params = member(text, "params");
        let token = match method.as_deref() {
            Some("notifications/progress") => params.and_then(|it| member(it, "progressToken")),
            _ => {
                params.and_then(|it| member(it, "_meta")).and_then(|it| member(it, "progressToken"))
            }
        };
        // The last first, or the places of the others would move.
        let mut spans: Vec<(usize, &str, &str)> = [(id, MARKS[0]), (token, MARKS[1])]
            .into_iter()
            .filter_map(|(raw, mark)| {
                raw.map(|raw| (raw.as_ptr() as usize - text.as_ptr() as usize, raw, mark))
            })
            .collect();
        spans.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
        let mut marked = text.to_owned();
        for (at, raw, mark) in spans {
            marked.replace_range(at..at + raw.len(), mark);
        }
        let owned = |raw: Option<&str>| raw.map(str::to_owned);
        Ok(Self { text: marked, id: owned(id), token: owned(token), method })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parties_are_marked() {
        let text = r#"{"params":{"_meta":{"progressToken": "t"},"id":7},"id": -0 ,"method":"a"}"#;
        let message = Message::read(text).expect("it is an object");
        let marked =
            r#"{"params":{"_meta":{"progressToken": @TOKEN@},"id":7},"id": @ID@ ,"method":"a"}"#;
        assert_eq!(message.text, marked);
        assert_eq!((message.id.as_deref(), message.token.as_deref()), (Some("-0"), Some("\"t\"")));
        assert!(Message::read("{\"a\":\n1}").is_err());
        assert!(Message::read("[1]").is_err());
    }
}

//! Could this URI have come from this URI template (RFC 6570, levels 1 to 3 and `*`)?
//!
//! The question runs backwards through a format made for writing, so it has more than one answer;
//! this one is generous with values and exact with everything else. Invariants: the time is at
//! most (parts × bytes of the URI), whatever the template; no template makes it fail.
//!
//! | expression | stands for |
//! |---|---|
//! | `{x}` `{x,y}` | one or more bytes without `/` |
//! | `{+x}` | anything |
//! | `{#x}` | nothing, or `#` and anything |
//! | `{.x}` | nothing, or `.` and bytes without `/` |
//! | `{/x}` | nothing, or `/` and anything up to `?` or `#` |
//! | `{;x}` | nothing, or `;` and bytes without `/`, `?`, `#` |
//! | `{?x}` `{&x}` | nothing, or `?` or `&` and members of these names in any order |

use crate::limits::{EXPRESSIONS_MAX, URI_BYTES_MAX};

/// A parsed URI template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
    literals: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<[u8]>),
    /// At least one byte, none of them `/`.
    Simple,
    /// Any bytes.
    Reserved,
    /// Nothing, or the lead and then bytes that are not in the stop set.
    Led {
        lead: u8,
        stops: &'static [u8],
    },
    /// Nothing, or the lead and then form members up to `#`.
    Query {
        lead: u8,
        names: Option<Vec<Box<str>>>,
    },
}

/// A set of positions in a URI.
struct Places([u64; URI_BYTES_MAX / 64 + 1]);

impl Places {
    const NONE: Self = Self([0; URI_BYTES_MAX / 64 + 1]);

    fn add(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] & (1 << (at % 64)) != 0
    }
}

impl Template {
    /// Parses a template; `None` where it is not one (unclosed or unknown expression) or has more
    /// than [`EXPRESSIONS_MAX`] expressions.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut literals = 0;
        let mut expressions = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            if !literal.is_empty() {
                literals += literal.len();
                parts.push(Part::Literal(literal.as_bytes().into()));
            }
            let Some(after) = after.strip_prefix('{') else { break };
            let (expression, after) = after.split_once('}')?;
            expressions += 1;
            if expressions > EXPRESSIONS_MAX {
                return None;
            }
            push_expression(&mut parts, expression)?;
            rest = after;
        }
        Some(Self { parts, literals })
    }

    /// How many bytes of the template stand for themselves: the measure of how precise it is.
    pub(crate) fn literals(&self) -> usize {
        self.literals
    }

    /// The bytes every URI of this template starts with.
    pub(crate) fn prefix(&self) -> &[u8] {
        match self.parts.first() {
            Some(Part::Literal(literal)) => literal,
            _ => b"",
        }
    }

    /// Whether `uri` can be an expansion of the template.
    pub(crate) fn matches(&self, uri: &str) -> bool {
        let uri = uri.as_bytes();
        if uri.len() > URI_BYTES_MAX || !uri.starts_with(self.prefix()) {
            return false;
        }
        let mut from = Places::NONE;
        from.add(0);
        for part in &self.parts {
            let mut to = Places::NONE;
            if !part.step(uri, &from, &mut to) {
                return false;
            }
            from = to;
        }
        from.has(uri.len())
    }
}

impl Part {
    /// Marks in `to` where the part can end when it starts at a place in `from`; false if nowhere.
    fn step(&self, uri: &[u8], from: &Places, to: &mut Places) -> bool {
        let mut any = false;
        let mut add = |at: usize| {
            any = true;
            to.add(at);
        };
        match self {
            Self::Literal(literal) => {
                for at in (0..=uri.len()).filter(|&at| from.has(at)) {
                    if uri[at..].starts_with(literal) {
                        add(at + literal.len());
                    }
                }
            }
            Self::Simple => run(uri, |at| from.has(at), b"/", &mut add),
            Self::Reserved => {
                (0..=uri.len()).filter(|&at| from.has(at)).for_each(&mut add);
                run(uri, |at| from.has(at), b"", &mut add);
            }
            Self::Led { lead, stops } => {
                (0..=uri.len()).filter(|&at| from.has(at)).for_each(&mut add);
                let led = |at: usize| at > 0 && uri[at - 1] == *lead && from.has(at - 1);
                (0..=uri.len()).filter(|&at| led(at)).for_each(&mut add);
                run(uri, led, stops, &mut add);
            }
            Self::Query { lead, names } => {
                for at in (0..=uri.len()).filter(|&at| from.has(at)) {
                    add(at);
                    if uri.get(at) != Some(lead) {
                        continue;
                    }
                    let end =
                        uri[at..].iter().position(|&b| b == b'#').map_or(uri.len(), |n| at + n);
                    if form_members_are(&uri[at + 1..end], names.as_deref()) {
                        add(end);
                    }
                }
            }
        }
        any
    }
}

/// Marks every end of a run of one or more bytes outside `stops` that begins at a `start`.
fn run(uri: &[u8], start: impl Fn(usize) -> bool, stops: &[u8], add: &mut impl FnMut(usize)) {
    let mut inside = false;
    for (at, byte) in uri.iter().enumerate() {
        inside = (inside || start(at)) && !stops.contains(byte);
        if inside {
            add(at + 1);
        }
    }
}

fn form_members_are(form: &[u8], names: Option<&[Box<str>]>) -> bool {
    let Some(names) = names else { return true };
    form.split(|&b| b == b'&').all(|member| {
        let name = member.split(|&b| b == b'=').next().unwrap_or_default();
        names.iter().any(|known| known.as_bytes() == name)
    })
}

fn push_expression(parts: &mut Vec<Part>, expression: &str) -> Option<()> {
    let operator = expression.bytes().next()?;
    let variables = if operator.is_ascii_alphanumeric() || matches!(operator, b'_' | b'%') {
        expression
    } else {
        expression.get(1..)?
    };
    if variables.is_empty() || variables.bytes().any(|b| b == b'{' || b <= b' ') {
        return None;
    }
    let part = match operator {
        b'+' => Part::Reserved,
        b'#' => Part::Led { lead: b'#', stops: b"" },
        b'.' => Part::Led { lead: b'.', stops: b"/" },
        b'/' => Part::Led { lead: b'/', stops: b"?#" },
        b';' => Part::Led { lead: b';', stops: b"/?#" },
        b'?' | b'&' => {
            let names = names_of(variables);
            // `{?a}{&b}` writes one query, so it is read as one.
            if let (b'&', Some(Part::Query { names: known, .. })) = (operator, parts.last_mut()) {
                *known = known.take().zip(names).map(|(mut one, two)| {
                    one.extend(two);
                    one
                });
                return Some(());
            }
            Part::Query { lead: operator, names }
        }
        _ if variables.len() == expression.len() => Part::Simple,
        _ => return None,
    };
    parts.push(part);
    Some(())
}

/// The member names of a query expression; `None` where `*` lets any name in.
fn names_of(variables: &str) -> Option<Vec<Box<str>>> {
    let names = variables.split(',').map(|variable| {
        let name = variable.split(':').next().unwrap_or_default();
        (!variable.ends_with('*')).then(|| name.into())
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, uris: &[&str], others: &[&str]) {
        let parsed = Template::parse(template).expect(template);
        for uri in uris {
            assert!(parsed.matches(uri), "{template} should match {uri}");
        }
        for uri in others {
            assert!(!parsed.matches(uri), "{template} should not match {uri}");
        }
    }

    #[test]
    fn a_template_matches_what_it_could_have_written() {
        check("a:b", &["a:b"], &["a:", "a:bc", ""]);
        check(
            "test://template/{id}/data",
            &["test://template/123/data", "test://template/a%20b/data"],
            &["test://template//data", "test://template/a/b/data", "test://template/1/data/"],
        );
        check("file:///{+path}", &["file:///", "file:///a/b?c#d"], &["file://", "http:///a"]);
        check("x:{a,b}", &["x:1,2", "x:1"], &["x:", "x:1/2"]);
        check("x:{a}-{b}", &["x:1-2", "x:1-2-3"], &["x:1-", "x:-2", "x:12"]);
        check("x:a{/p*}", &["x:a", "x:a/b/c"], &["x:ab", "x:a?b"]);
        check("x:f{.ext}", &["x:f", "x:f.tar.gz"], &["x:f.a/b", "x:fg"]);
        check("x:f{#frag}", &["x:f", "x:f#a/b?c"], &["x:f?a"]);
        check("x:f{;p}", &["x:f", "x:f;p=1"], &["x:f;p/1"]);
        check("x:s{?q,lang}", &["x:s", "x:s?q=1", "x:s?lang=de&q=2"], &["x:s?z=1", "x:s&q=1"]);
        check("x:s{?q}{&r}", &["x:s?q=1&r=2", "x:s?r=2"], &["x:s?q=1&z=2"]);
        check("x:s?fix=1{&q}", &["x:s?fix=1", "x:s?fix=1&q=2"], &["x:s?fix=1&z=2"]);
        check("x:s{?all*}", &["x:s?anything=1&more=2"], &["x:t"]);
        check("x:s{?q}{#f}", &["x:s?q=1#top", "x:s#top"], &["x:s?z=1#top"]);
        check("x:{name:3}", &["x:abc"], &["x:"]);
    }

    #[test]
    fn what_is_not_a_template_is_refused() {
        for text in ["x:{", "x:{a", "x:{}", "x:{+}", "x:{{a}}", "x:{=a}", "x:{a b}", "x:{é}"] {
            assert_eq!(Template::parse(text), None, "{text}");
        }
        assert_eq!(Template::parse(&"{a}".repeat(EXPRESSIONS_MAX + 1)), None);
        assert!(Template::parse(&"{a}".repeat(EXPRESSIONS_MAX)).is_some());
    }

    #[test]
    fn a_hostile_template_cannot_make_matching_slow() {
        let template = Template::parse(&"{+a}x".repeat(EXPRESSIONS_MAX)).expect("valid");
        let uri = format!("{}y", "x".repeat(URI_BYTES_MAX - 1));
        let start = std::time::Instant::now();
        assert!(!template.matches(&uri));
        assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
    }
}

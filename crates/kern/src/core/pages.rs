//! Which tools of a page of `tools/list` may be offered?
//!
//! Not those the configuration leaves out. And of a modern server over Streamable HTTP not those
//! whose `x-mcp-header` annotations are invalid: nobody could call them as the revision demands
//! (2026-07-28 server/tools, "x-mcp-header").

use kern_control::ToolFilter;
use kern_mcp::headers::{AnnotationFault, ParamHeaders};
use kern_mcp::{Span, Splice, json};
use kern_route::ListKind;

/// What sifts the tools of one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sieve<'a> {
    /// The server's name.
    pub(super) upstream: &'a str,
    /// What the configuration says.
    pub(super) filter: &'a ToolFilter,
    /// Calls carry arguments in headers.
    pub(super) mirrors: bool,
}

impl Sieve<'_> {
    /// The page without the tools that may not be offered; `None` if all stay.
    pub(super) fn sift(self, kind: ListKind, result: &[u8]) -> Option<Vec<u8>> {
        let filters = self.filter.include.is_some() || !self.filter.exclude.is_empty();
        if kind != ListKind::Tools || !(filters || self.mirrors) {
            return None;
        }
        let tools = json::get(result, Span::all(result), "tools")?;
        let all = json::elements(result, tools).map(|span| span.of(result));
        let (kept, left): (Vec<&[u8]>, Vec<&[u8]>) = all.partition(|tool| self.keeps(tool));
        if left.is_empty() {
            return None;
        }
        let mut array = b"[".to_vec();
        array.extend_from_slice(&kept.join(&b","[..]));
        array.push(b']');
        let mut splice = Splice::new(result);
        splice.replace(tools, array);
        let mut out = Vec::with_capacity(result.len());
        splice.write_into(&mut out);
        Some(out)
    }

    fn keeps(self, tool: &[u8]) -> bool {
        let name = json::text_field(tool, "name");
        if name.as_deref().is_some_and(|name| !self.filter.allows(name)) {
            return false;
        }
        let Some(fault) = fault(tool).filter(|_| self.mirrors) else { return true };
        let tool = name.unwrap_or_default();
        tracing::warn!(upstream = self.upstream, tool, "not offered: {fault}");
        false
    }
}

/// What is wrong with the annotations of a tool.
fn fault(tool: &[u8]) -> Option<AnnotationFault> {
    // Nearly all tools have none.
    memchr::memmem::find(tool, b"x-mcp-header")?;
    let schema = json::get(tool, Span::all(tool), "inputSchema")?;
    ParamHeaders::from_schema(tool, schema).err()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &[u8] = br#"{"tools": [
        {"name":"plain","inputSchema":{"type":"object"}},
        {"name":"good","inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}},
        {"name":"bad","inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":""}}}}
    ], "nextCursor":"x"}"#;

    fn check(exclude: &[&str], mirrors: bool, expected: Option<&[&str]>) {
        let exclude = exclude.iter().map(|name| (*name).to_owned()).collect();
        let filter = ToolFilter { include: None, exclude };
        let sieve = Sieve { upstream: "u", filter: &filter, mirrors };
        let page = sieve.sift(ListKind::Tools, PAGE);
        let names = page.as_deref().map(|page| {
            assert_eq!(json::text_field(page, "nextCursor").as_deref(), Some("x"));
            let tools = json::field(page, "tools").expect("still there");
            json::items(tools).filter_map(|tool| json::text_field(tool, "name")).collect::<Vec<_>>()
        });
        let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(names, expected);
    }

    #[test]
    fn a_tool_nobody_could_call_is_not_offered_and_the_others_are() {
        check(&[], false, None);
        check(&[], true, Some(&["plain", "good"]));
        check(&["plain"], false, Some(&["good", "bad"]));
        check(&["good", "plain"], true, Some(&[]));
        check(&["other"], false, None);
    }
}

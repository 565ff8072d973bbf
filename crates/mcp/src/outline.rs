//! Whose message is this, when it is too long to be kept?
//!
//! Reads a JSON text piece by piece and keeps only the value of its top member `id` and whether it
//! has a member `method`. Invariants: a few hundred bytes are held however long the text is; the
//! result is the same however the text is cut; a text that is not one object, or names `id`
//! twice, gives none. Strings and nesting are followed, the text is not validated beyond that.

use memchr::memchr2;

/// Longest `id` that is kept, bytes.
const ID_BYTES_MAX: usize = 128;
/// Longest member name that is compared, bytes: `"method"`.
const KEY_BYTES_MAX: usize = 8;

/// What is known of a message that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The raw value of `id`: a string or a number.
    pub id: Box<[u8]>,
    /// It has a member `method`: a request, not an answer.
    pub request: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before the object.
    #[default]
    Start,
    /// Before a member's name, or the object's end.
    Key,
    /// In a member's name.
    Name,
    /// After it.
    Colon,
    /// Before or in a member's value.
    Value,
    /// After the object.
    End,
    /// This is no object.
    Broken,
}

/// Reads one text.
#[derive(Debug, Default)]
pub struct Scan {
    place: Place,
    /// Open brackets within a member's value.
    depth: u64,
    string: bool,
    escaped: bool,
    key: Vec<u8>,
    id: Vec<u8>,
    ids: u32,
    request: bool,
}

impl Scan {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(byte) = rest.first() {
            if self.place == Place::Broken {
                return;
            }
            // What a value's strings hold is of no interest: skip to what may end one.
            if self.string && !self.escaped && self.place == Place::Value && !self.keeps() {
                match memchr2(b'"', b'\\', rest) {
                    Some(at) => rest = &rest[at..],
                    None => return,
                }
                self.step(rest[0]);
            } else {
                self.step(*byte);
            }
            rest = &rest[1..];
        }
    }

    /// What the text said, now that it is over.
    pub fn finish(self) -> Option<Outline> {
        let id = self.id.trim_ascii();
        let kind = id.first().is_some_and(|byte| matches!(byte, b'"' | b'-' | b'0'..=b'9'));
        let whole = self.place == Place::End && self.ids == 1 && id.len() <= ID_BYTES_MAX;
        (whole && kind).then(|| Outline { id: id.into(), request: self.request })
    }

    /// Whether the value at hand is the `id`.
    fn keeps(&self) -> bool {
        self.key == b"\"id\"" && self.id.len() <= ID_BYTES_MAX
    }

    fn step(&mut self, byte: u8) {
        match self.place {
            Place::Start => match byte {
                b'{' => self.place = Place::Key,
                byte if byte.is_ascii_whitespace() => {}
                _ => self.place = Place::Broken,
            },
            Place::Key => match byte {
                b'"' => {
                    self.place = Place::Name;
                    self.key.clear();
                    self.key.push(byte);
                }
                b'}' => self.place = Place::End,
                b',' => {}
                byte if byte.is_ascii_whitespace() => {}
                _ => self.place = Place::Broken,
            },
            Place::Name => self.name(byte),
            Place::Colon => match byte {
                b':' => self.begin_value(),
                byte if byte.is_ascii_whitespace() => {}
                _ => self.place = Place::Broken,
            },
            Place::Value => self.value(byte),
            Place::End if byte.is_ascii_whitespace() => {}
            Place::End | Place::Broken => self.place = Place::Broken,
        }
    }

    fn name(&mut self, byte: u8) {
        if self.key.len() <= KEY_BYTES_MAX {
            self.key.push(byte);
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.place = Place::Colon,
            _ => {}
        }
    }

    fn begin_value(&mut self) {
        self.place = Place::Value;
        match &*self.key {
            b"\"id\"" => self.ids += 1,
            b"\"method\"" => self.request = true,
            _ => {}
        }
    }

    fn value(&mut self, byte: u8) {
        if !self.string && self.depth == 0 && matches!(byte, b',' | b'}') {
            self.place = if byte == b',' { Place::Key } else { Place::End };
            return;
        }
        if self.keeps() {
            self.id.push(byte);
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.string => self.escaped = true,
            b'"' => self.string = !self.string,
            b'{' | b'[' if !self.string => self.depth += 1,
            b'}' | b']' if !self.string => match self.depth.checked_sub(1) {
                Some(depth) => self.depth = depth,
                None => self.place = Place::Broken,
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &[u8], step: usize) -> Option<Outline> {
        let mut scan = Scan::default();
        text.chunks(step).for_each(|piece| scan.push(piece));
        scan.finish()
    }

    #[test]
    fn the_answer_a_flight_waits_for_is_found_wherever_its_id_stands() {
        let found = |id: &str, request| Some(Outline { id: id.as_bytes().into(), request });
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{"id":8,"a":["}"]}}"#, found("7", false)),
            (r#" { "result" : {"x":"\"id\":9,\\"} , "id" : "a\"b" } "#, found(r#""a\"b""#, false)),
            (r#"{"id":1,"method":"tools/call","params":{}}"#, found("1", true)),
            (r#"{"method":"x","id":-1}"#, found("-1", true)),
            (r#"{"result":{"method":1},"id":1}"#, found("1", false)),
            (r#"{"result":{}}"#, None),
            (r#"{"id":1,"id":2}"#, None),
            (r#"{"id":null}"#, None),
            (r#"{"id":{"a":1}}"#, None),
            (r#"{"\u0069d":1}"#, None),
            (r#"[{"id":1}]"#, None),
            (r#"{"id":1"#, None),
            (r#"{"id":1}}"#, None),
            (r#"{"id":1]}"#, None),
            ("", None),
        ] {
            for step in 1..=text.len().max(1) {
                assert_eq!(outline(text.as_bytes(), step), expected, "{text} by {step}");
            }
        }
        let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(ID_BYTES_MAX));
        assert_eq!(outline(long.as_bytes(), 7), None);
    }
}

//! JSON as no serializer writes it: every number, escape, key and white space the grammar allows.
//!
//! Invariant: the same seed makes the same texts; every text is one JSON value by RFC 8259.

/// SplitMix64: small, seeded, good enough to choose by.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `most`.
    pub fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap()
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at + 1));
        }
    }
}

/// Numbers as they may be spelled.
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-0.0",
    "1",
    "1.0",
    "1.50e+0",
    "1E400",
    "-1e-400",
    "0.1000",
    "1E+2",
    "1e00002",
    "123456789012345678901234567890",
    "-9007199254740993",
    "18446744073709551616",
    "5e-324",
    "0.30000000000000004",
    "3.0000000000000000000000000000000000001",
];
/// Pieces of strings, raw JSON.
const PIECES: &[&str] = &[
    "a",
    " ",
    "text",
    "/",
    r"\/",
    r"\u002f",
    "é",
    r"\u00e9",
    r"\u00E9",
    "😀",
    r"\ud83d\ude00",
    r"\uD83D\uDE00",
    r"\u0000",
    r"\u001f",
    r#"\""#,
    r"\\",
    r"\b\f\n\r\t",
    r"\u000a",
    "\u{2028}",
    "\u{7f}",
    "\u{feff}",
    "\u{ffff}",
    r"\ud800",
    r"\uDfff",
    "<b>&amp;",
    "{\\\"id\\\":1}",
    "[",
    "}",
    "data: x",
    "null",
    ":",
    ",",
];
/// Keys of unknown members, raw JSON without quotes; none is a known one in any case or spelling.
const UNKNOWN: &[&str] = &[
    "",
    "z",
    "a",
    "vendor/x",
    "com.example/y",
    "é",
    r"\u0041bc",
    "  ",
    "0",
    "-1",
    "__proto__",
    "constructor",
    "trace",
    r"\ud800",
    "jsonrpc2",
    "ids",
    "_metadata",
    r"x\u0000y",
];
/// Keys that mean something elsewhere.
const MISPLACED: &[&str] = &[
    "id",
    "jsonrpc",
    "method",
    "params",
    "result",
    "error",
    "name",
    "uri",
    "_meta",
    "arguments",
    "progressToken",
    "cursor",
    "resultType",
    "tools",
    "nextCursor",
    r"i\u0064",
    "ID",
    "Method",
    "requestState",
    "io.modelcontextprotocol/protocolVersion",
];

/// What a text may hold.
#[derive(Clone, Copy, Debug)]
pub struct Taste {
    /// Line breaks between tokens.
    pub breaks: bool,
    /// Only what a reader into trees gives back as it was.
    pub tame: bool,
}

/// Writes texts.
pub struct Writer<'a> {
    pub random: &'a mut Random,
    pub taste: Taste,
}

impl Writer<'_> {
    fn space(&mut self) -> &'static str {
        if self.taste.tame {
            return "";
        }
        let last = if self.taste.breaks { 10 } else { 8 };
        ["", "", "", "", "", " ", "\t", "   ", "\n", "\r\n "][self.random.below(last)]
    }

    pub fn string(&mut self) -> String {
        let mut text = String::from("\"");
        if self.random.one_in(60) {
            text.extend(std::iter::repeat_n('x', self.random.below(40_000)));
        }
        for _ in 0..self.random.below(5) {
            match self.taste.tame {
                true => {
                    text.push_str(self.random.pick(&["a", " ", "é", "😀", "<b>", r"\n", r"\\"]))
                }
                false => text.push_str(self.random.pick(PIECES)),
            }
        }
        text + "\""
    }

    fn number(&mut self) -> String {
        match self.random.below(4) {
            _ if self.taste.tame => self.random.below(100_000).to_string(),
            0 => self.random.next().to_string(),
            1 if self.random.one_in(10) => "9".repeat(400),
            _ => self.random.pick(NUMBERS).to_owned(),
        }
    }

    /// A value at most `depth` containers deep.
    pub fn value(&mut self, depth: usize) -> String {
        match self.random.below(if depth == 0 { 5 } else { 8 }) {
            0 => self.random.pick(&["null", "true", "false"]).to_owned(),
            1 | 2 => self.string(),
            3 | 4 => self.number(),
            5 => {
                let count = self.random.below(4);
                let items: Vec<String> = (0..count).map(|_| self.value(depth - 1)).collect();
                let space = self.space();
                format!("[{space}{}{}]", items.join(&format!("{},{space}", self.space())), space)
            }
            6 if self.random.one_in(8) && !self.taste.tame => {
                let deep = self.random.below(60);
                format!("{}{}{}", "[".repeat(deep), self.number(), "]".repeat(deep))
            }
            _ => {
                let members = self.members(depth - 1);
                self.object(members)
            }
        }
    }

    /// Any object.
    pub fn any_object(&mut self) -> String {
        let members = self.members(4);
        self.object(members)
    }

    fn members(&mut self, depth: usize) -> Vec<(String, String)> {
        let count = self.random.below(5);
        let mut members = Vec::new();
        for at in 0..count {
            let key = match self.random.below(3) {
                _ if self.taste.tame => format!("k{at}"),
                0 => self.random.pick(MISPLACED).to_owned(),
                _ => self.random.pick(UNKNOWN).to_owned(),
            };
            members.push((format!("\"{key}\""), self.value(depth)));
        }
        members
    }

    /// Members no revision knows, wherever they stand.
    pub fn unknown(&mut self) -> Vec<(String, String)> {
        let count = [0, 0, 1, 3][self.random.below(4)];
        let mut members = Vec::new();
        for at in 0..count {
            let key = match self.taste.tame {
                true => format!("vendor{at}"),
                false => self.random.pick(UNKNOWN).to_owned(),
            };
            members.push((format!("\"{key}\""), self.value(3)));
        }
        members
    }

    /// An object of these members, in any order.
    pub fn object(&mut self, mut members: Vec<(String, String)>) -> String {
        self.random.shuffle(&mut members);
        let mut text = String::from("{");
        for (at, (key, value)) in members.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let spaces = [self.space(), self.space(), self.space(), self.space()];
            let [a, b, c, d] = spaces;
            text.push_str(&format!("{comma}{a}{key}{b}:{c}{value}{d}"));
        }
        text.push_str(if members.is_empty() { self.space() } else { "" });
        text + "}"
    }
}

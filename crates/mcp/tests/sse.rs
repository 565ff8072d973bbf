//! Are events read the same way however they arrive, and does what we write read back?

use kern_mcp::sse::{Decoder, Part, Parts, encode};
use proptest::prelude::*;

/// What a decoder that hands out large events in pieces gives, joined; and how many pieces that were.
fn joined<'a>(pieces: impl Iterator<Item = &'a [u8]>, from_bytes: usize) -> (Vec<String>, usize) {
    let mut decoder = Decoder::new(1000);
    decoder.hand_parts(Some(Parts { from_bytes, event_bytes_max: 1000 }));
    let (mut out, mut begun, mut count) = (Vec::new(), Vec::new(), 0);
    let mut most = 0;
    for piece in pieces {
        most = most.max(piece.len());
        let result = decoder.push(piece, |event| {
            begun.extend_from_slice(event.data);
            count += usize::from(event.part == Part::Piece);
            assert!(event.part != Part::Whole || begun == event.data, "pieces of another event");
            assert!(event.part != Part::Last || event.data.is_empty());
            if event.part != Part::Piece {
                let data = String::from_utf8_lossy(&std::mem::take(&mut begun)).into_owned();
                let id = event.id.map_or(String::new(), |id| format!("|id={id}"));
                let retry = event.retry.map_or(String::new(), |ms| format!("|retry={ms}"));
                out.push(format!("{}|{data}{id}{retry}", event.event));
            }
        });
        assert!(result.is_ok());
    }
    (out, count)
}

/// Events as `event|data|id|retry`; `!` for one that was too large.
fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>, bytes_max: usize) -> Vec<String> {
    let mut decoder = Decoder::new(bytes_max);
    let mut out = Vec::new();
    for piece in pieces {
        let result = decoder.push(piece, |event| {
            let data = String::from_utf8_lossy(event.data).into_owned();
            let mut shown = format!("{}|{data}", event.event);
            if let Some(id) = event.id {
                shown += &format!("|id={id}");
            }
            if let Some(ms) = event.retry {
                shown += &format!("|retry={ms}");
            }
            out.push(shown);
        });
        if result.is_err() {
            out.push("!".to_owned());
        }
        assert!(decoder.pending_bytes() <= bytes_max);
    }
    out
}

#[track_caller]
fn check(input: &str, expected: &[&str]) {
    for line_end in ["\n", "\r\n", "\r"] {
        let input = input.replace('\n', line_end);
        for step in 1..=input.len() {
            let pieces = input.as_bytes().chunks(step);
            assert_eq!(run(pieces, 1000), expected, "{input:?} by {step}");
        }
    }
}

#[test]
fn every_form_of_an_event_is_understood() {
    check("data: a\n\n", &["message|a"]);
    check("data:a\n\ndata:  b\n\n", &["message|a", "message| b"]);
    check("data: a\ndata: b\ndata\ndata:\n\n", &["message|a\nb\n\n"]);
    check("event: endpoint\ndata: /x\n\ndata: y\n\n", &["endpoint|/x", "message|y"]);
    check("event: x\nevent:\ndata: y\n\n", &["message|y"]);
    check("id: 7\ndata: a\n\ndata: b\n\n", &["message|a|id=7", "message|b"]);
    check("id\ndata: a\n\n", &["message|a|id="]);
    check("id: a\0b\ndata: a\n\n", &["message|a"]);
    check("id: 1\ndata:\n\n", &["message||id=1"]);
    check("id: 1\n\n", &["message||id=1"]);
    check("retry: 500\n\n", &["message||retry=500"]);
    check("retry: x\n\nretry: +5\n\nretry:\n\nretry: 99999999999999999999\n\n", &[]);
    check(": comment\n\n:\n\ndata: a\n: comment\n\n", &["message|a"]);
    check("event: x\n\n", &[]);
    check("unknown: x\nDATA: y\n data: z\n\n", &[]);
    check("data: unfinished\n", &[]);
    check("\n\n\ndata: a\n\n\n\ndata: b\n\n", &["message|a", "message|b"]);
    check("data: {\"a\": \"b:c\"}\n\n", &["message|{\"a\": \"b:c\"}"]);
}

#[test]
fn a_byte_order_mark_belongs_to_no_field() {
    check("\u{feff}data: a\n\n", &["message|a"]);
    check("\u{feff}\ndata: a\n\n", &["message|a"]);
    check("data: \u{feff}a\n\n", &["message|\u{feff}a"]);
    check("\n\u{feff}data: a\n\n", &[]);
}

#[test]
fn line_ends_may_be_mixed() {
    let input = b"data: a\rdata: b\r\ndata: c\n\r\ndata: d\n\r";
    for step in 1..=input.len() {
        assert_eq!(run(input.chunks(step), 1000), ["message|a\nb\nc", "message|d"]);
    }
}

#[test]
fn an_oversized_event_costs_itself_and_nothing_else() {
    for (input, expected) in [
        ("data: a\n\ndata: 12345678901234567\n\ndata: b\n\n", "a!b"),
        ("data: 123456789\ndata: 1234567890\n\ndata: b\n\n", "!b"),
        ("event: 12345678901234567890\ndata: x\n\ndata: b\n\n", "!b"),
        (": 1234567890123456789012345\n\ndata: b\n\n", "!b"),
        ("data: 12345678901234567890\nid: 3\n\ndata: b\n\n", "!b"),
        ("data: 12345678901234\n\n", "12345678901234"),
    ] {
        for step in 1..=input.len() {
            let mut seen = run(input.as_bytes().chunks(step), 20);
            // Within one push the error is told after the events.
            let errors = seen.iter().filter(|item| *item == "!").count();
            seen.retain(|item| item != "!");
            let events: String = seen.iter().map(|item| &item["message|".len()..]).collect();
            assert_eq!(events, expected.replace('!', ""), "{input:?} by {step}");
            assert_eq!(errors, expected.matches('!').count(), "{input:?} by {step}");
        }
    }
}

#[test]
fn an_event_in_one_piece_is_not_copied() {
    let input = b"event: message\ndata: {\"a\":1}\n\n";
    let mut place = None;
    Decoder::new(100).push(input, |event| place = Some(event.data.as_ptr())).unwrap();
    assert_eq!(place, Some(input[21..].as_ptr()));
}

#[test]
fn nothing_written_into_an_event_can_end_it() {
    let mut out = Vec::new();
    encode::event(&mut out, Some("a\nb"), Some("1\r\n2\0"), &[b"{\r", b"\n}\r", b"x\n", b"\ny\n"]);
    assert_eq!(
        out,
        b"event: a b\nid: 1  2 \ndata: {\ndata: }\ndata: x\ndata: \ndata: y\ndata: \n\n"
    );
    out.clear();
    encode::event(&mut out, None, None, &[]);
    encode::prime(&mut out, "s-1", Some(250));
    encode::retry(&mut out, 9);
    encode::comment(&mut out);
    assert_eq!(
        run(std::iter::once(out.as_slice()), 100),
        ["message|", "message||id=s-1|retry=250", "message||retry=9"]
    );
}

#[test]
fn of_a_large_event_no_more_is_held_than_was_wished() {
    let mut decoder = Decoder::new(100);
    decoder.hand_parts(Some(Parts { from_bytes: 50, event_bytes_max: 10_000 }));
    let (mut got, mut held) = (0, 0);
    for piece in ["event: message\nid: 1\ndata: "].into_iter().chain(["0123456789"; 900]) {
        let result = decoder.push(piece.as_bytes(), |event| got += event.data.len());
        assert!(result.is_ok());
        held = held.max(decoder.pending_bytes());
    }
    assert!(got == 9000 && held <= 60, "{got} {held}");
    // Beyond the limit the event is lost and the next one is read.
    let result = decoder.push(&[b'x'; 1100], |_| {});
    assert_eq!(result.map_err(|error| error.bytes_max), Err(10_000));
    let mut next = Vec::new();
    assert!(
        decoder
            .push(b"x\n\ndata: a\n\n", |event| next.push((event.part, event.data.len())))
            .is_ok()
    );
    assert_eq!(next, [(Part::Whole, 1)]);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        events in proptest::collection::vec((
            proptest::option::of("[a-z]{1,8}"),
            proptest::option::of("[^\0\r\n]{0,8}"),
            proptest::collection::vec("[a-z: \r\n]{0,12}", 0..4),
        ), 1..5),
        step in 1..50_usize,
    ) {
        let mut out = Vec::new();
        let mut expected = Vec::new();
        for (event, id, parts) in &events {
            let bytes: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
            encode::event(&mut out, event.as_deref(), id.as_deref(), &bytes);
            let data = parts.concat().replace("\r\n", "\n").replace('\r', "\n");
            let id = id.as_ref().map_or(String::new(), |id| format!("|id={id}"));
            expected.push(format!("{}|{data}{id}", event.as_deref().unwrap_or("message")));
        }
        prop_assert_eq!(&run(out.chunks(step), 10_000), &expected);
        prop_assert_eq!(joined(out.chunks(step), 9).0, expected);
        // Data written in pieces is the same data.
        let mut again = Vec::new();
        for (event, id, parts) in &events {
            let mut data = encode::open_event(&mut again, event.as_deref(), id.as_deref());
            for piece in parts.concat().as_bytes().chunks(step) {
                data.piece(&mut again, piece);
            }
            data.end(&mut again);
        }
        prop_assert_eq!(again, out);
    }

    #[test]
    fn hostile_streams_do_not_depend_on_their_split(
        input in "(data|id|event|retry|:| |x|\r|\n|\r\n|\n\n|\u{feff}|1){0,40}",
        step in 1..20_usize,
    ) {
        let whole = run(std::iter::once(input.as_bytes()), 1000);
        prop_assert_eq!(&run(input.as_bytes().chunks(step), 1000), &whole);
        prop_assert_eq!(joined(input.as_bytes().chunks(step), 9).0, whole);
    }

    #[test]
    fn large_events_come_in_pieces_and_are_the_same(
        lines in proptest::collection::vec("(data: ?[a-z]{0,60}|: [a-z]{0,60}|id: [a-z]{0,60}|retry: 5|)", 1..9),
        step in 1..80_usize,
    ) {
        let input = lines.join("\n") + "\n\n";
        let whole = run(std::iter::once(input.as_bytes()), 1000);
        prop_assert_eq!(joined(input.as_bytes().chunks(step), 9).0, whole);
    }
}

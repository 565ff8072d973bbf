//! Does a link keep its promises when nothing comes in the order it should?

use std::time::Duration;

use proptest::prelude::*;

use crate::rig::{ACCEPTED, JSON, LIMITS, Rig, STREAM, answered};

proptest! {
    #[test]
    fn any_split_of_the_server_s_bytes_gives_the_same_happenings(
        stream in any::<bool>(),
        harm in proptest::collection::vec((any::<usize>(), 0..128_u8), 0..3),
        step in 1..60_usize,
    ) {
        let mut answer = if stream {
            format!("{STREAM}8\r\ndata: {{}}\r\n2\r\n\n\n\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n")
        } else {
            format!("HTTP/1.1 100 Continue\r\n\r\n{JSON}")
        }
        .into_bytes();
        for (place, byte) in harm {
            let place = place % answer.len();
            answer[place] = byte;
        }
        let answer = String::from_utf8(answer).expect("ASCII");
        prop_assert_eq!(answered(&answer, step), answered(&answer, answer.len()));
    }

    #[test]
    fn no_order_of_events_loses_an_exchange_or_breaks_the_bounds(
        steps in proptest::collection::vec((0..9_u8, 1..12_u32), 1..80),
    ) {
        let mut rig = Rig::new();
        let mut open: std::collections::BTreeSet<u64> = Default::default();
        let mut keys = Vec::new();
        for (tag, (step, number)) in steps.into_iter().enumerate() {
            let tag = tag as u64;
            match step {
                0 | 1 => if let Ok(key) = rig.post(tag, step == 0) {
                    open.insert(tag);
                    keys.push((key, tag));
                },
                2 | 3 => rig.connected(number),
                4 => rig.received(number, ACCEPTED),
                5 => rig.received(number, STREAM),
                6 => rig.finished(number),
                7 => rig.closed(number),
                _ => if let Some((key, tag)) = keys.pop() {
                    rig.link.abort(&mut rig.wire, key);
                    open.remove(&tag);
                },
            }
            rig.tick(Duration::from_millis(u64::from(number) * 100));
            for told in rig.told() {
                let mut words = told.split(' ');
                let tag: u64 = words.next().and_then(|word| word.parse().ok()).expect("a tag");
                prop_assert!(open.contains(&tag), "told of what ended: {}", told);
                if matches!(words.next(), Some("complete" | "refused" | "failed")) {
                    open.remove(&tag);
                }
            }
            prop_assert_eq!(rig.link.open_exchanges(), open.len());
            prop_assert!(rig.link.open_connections() <= LIMITS.connections_max);
        }
        let mut out = Vec::new();
        rig.link.close_all(&mut rig.wire, &mut out);
        prop_assert_eq!(out.len(), open.len());
    }
}

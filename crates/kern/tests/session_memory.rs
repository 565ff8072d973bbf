//! Does a session that has servers of its own cost more than what is its own of them?
#![allow(missing_docs, clippy::unwrap_used)]
#![cfg(target_os = "linux")]

mod harness;

use harness::client::Client;
use harness::{Remote, Setup, both, process, remote};
use serde_json::json;

const MANY: usize = 100;
/// Copies of the lists of these two servers, and of what a client sees of them, are 100 KiB more.
const EACH_KIB_MAX: u64 = 60;

#[test]
fn sessions_share_the_lists_of_their_own_servers() {
    both(|driver| {
        let far = [Remote::fixture(&["--era", "legacy"]), Remote::fixture(&["--era", "legacy"])];
        let config =
            remote("one", &far[0].url("/mcp"), "") + &remote("two", &far[1].url("/mcp"), "");
        let kern = Setup::new(driver, config).start();
        let open = |count: usize| -> Vec<Client> {
            let open = |_| {
                let mut client = Client::legacy(&kern, "/mcp", json!({ "roots": {} }));
                assert!(client.tools().len() > 20);
                client
            };
            (0..count).map(open).collect()
        };
        let _warm = open(20);
        let before = process::resident_kib(kern.pid());
        let _many = open(MANY);
        let each = process::resident_kib(kern.pid()).saturating_sub(before) / MANY as u64;
        assert!(each <= EACH_KIB_MAX, "{each} KiB a session");
    });
}

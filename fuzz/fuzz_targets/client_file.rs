//! Can the text of a client's file (JSON with comments, TOML, YAML) make a reader panic?
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    kern_control::read_as_every_client(text);
});

//! Can the text of a `kern.toml` make the reader panic, or be refused without a reason?
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(problems) = kern_control::parse_plan(text) {
        assert!(!problems.is_empty());
        for problem in problems {
            assert!(problem.line >= 1 && problem.column >= 1);
            let _ = problem.to_string();
        }
    }
});

//! Which of the known words did a user mean?

/// Longest word that is compared; longer ones are no slips of a finger.
const WORD_MAX: usize = 40;

/// The word of `known` that is so near to `word` that a slip explains the difference.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wanted = plain(word);
    if wanted.chars().count() > WORD_MAX {
        return None;
    }
    let scored = known.iter().map(|candidate| (distance(&wanted, &plain(candidate)), *candidate));
    let (steps, found) = scored.min_by_key(|(steps, _)| *steps)?;
    let shorter = wanted.chars().count().min(found.len());
    (steps <= shorter.div_ceil(3)).then_some(found)
}

/// Insertions, deletions, replacements and swaps of neighbours between `a` and `b` (optimal string
/// alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut older = vec![0; b.len() + 1];
    let mut old: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut new = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (old[j] + 1).min(new[j - 1] + 1).min(old[j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(older[j - 2] + 1);
            }
            new[j] = best;
        }
        older = std::mem::replace(&mut old, new);
    }
    old[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["command", "args", "env", "env_file", "cwd", "timeout"];
        for (word, expected) in [
            ("comand", Some("command")),
            ("cmomand", Some("command")),
            ("Command", Some("command")),
            ("envFile", Some("env_file")),
            ("env-file", Some("env_file")),
            ("arg", Some("args")),
            ("timout", Some("timeout")),
            ("colour", None),
            ("", None),
            ("ü", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), &known), None);
    }
}

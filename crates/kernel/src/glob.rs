//! Wildcards in probe names: `*` any text, `?` any character, `[…]` one of
//! these (`[a-z]` a range, `[!…]` or `[^…]` none of these). Everything else stands for itself.

/// A pattern that names are matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glob<'p> {
    pattern: &'p [u8],
    shape: Shape,
}

/// Patterns that need no general matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// No wildcard: equality.
    Literal,
    /// One `*` at the end: a prefix of this many bytes.
    Prefix(usize),
    General,
}

impl<'p> Glob<'p> {
    pub fn new(pattern: &'p str) -> Glob<'p> {
        let bytes = pattern.as_bytes();
        let shape = match bytes.iter().position(|byte| is_wildcard(*byte)) {
            None => Shape::Literal,
            Some(at) if bytes[at] == b'*' && at + 1 == bytes.len() => Shape::Prefix(at),
            Some(_) => Shape::General,
        };
        Glob { pattern: bytes, shape }
    }

    /// Whether the pattern has no wildcard and matches only itself.
    pub fn is_literal(&self) -> bool {
        self.shape == Shape::Literal
    }

    /// Whether the pattern is `*`.
    pub fn is_any(&self) -> bool {
        self.shape == Shape::Prefix(0)
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.as_bytes();
        match self.shape {
            Shape::Literal => text == self.pattern,
            Shape::Prefix(len) => text.starts_with(&self.pattern[..len]),
            Shape::General => matches(self.pattern, text),
        }
    }
}

/// Whether text has a wildcard at all.
pub fn has_wildcard(text: &str) -> bool {
    text.bytes().any(is_wildcard)
}

fn is_wildcard(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[')
}

/// Greedy matching that on a mismatch lets the last `*` take one byte more: at
/// most pattern length times text length steps.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after a mismatch: after the last `*`, and the text position it was tried at.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
            continue;
        }
        if let Some(next) = pattern.get(p).and_then(|_| match_one(pattern, p, text[t])) {
            p = next;
            t += 1;
            continue;
        }
        let Some((after_star, tried)) = retry else { return false };
        retry = Some((after_star, tried + 1));
        p = after_star;
        t = tried + 1;
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Where the pattern goes on if its element at `p` matches the byte.
fn match_one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match pattern[p] {
        b'?' => Some(p + 1),
        b'[' => match class_end(pattern, p) {
            Some(end) => class_matches(&pattern[p + 1..end], byte).then_some(end + 1),
            // Never closed: an ordinary bracket.
            None => (byte == b'[').then_some(p + 1),
        },
        literal => (literal == byte).then_some(p + 1),
    }
}

/// Place of the bracket that closes the class at `start`. A `]` that comes first belongs to the class.
fn class_end(pattern: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    if matches!(pattern.get(at), Some(b'!' | b'^')) {
        at += 1;
    }
    if pattern.get(at) == Some(&b']') {
        at += 1;
    }
    pattern.get(at..)?.iter().position(|byte| *byte == b']').map(|found| at + found)
}

fn class_matches(class: &[u8], byte: u8) -> bool {
    let (negated, mut class) = match class {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    loop {
        class = match class {
            [low, b'-', high, rest @ ..] => {
                found |= (*low..=*high).contains(&byte);
                rest
            }
            [one, rest @ ..] => {
                found |= *one == byte;
                rest
            }
            [] => return found != negated,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One case a line: pattern, text, `yes` or `no`.
    #[test]
    fn patterns_match_as_the_table_says() {
        for line in include_str!("../tests/data/glob.txt").lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [pattern, text, want] = words[..] else { panic!("not three words: {line:?}") };
            assert_eq!(Glob::new(pattern).matches(text), want == "yes", "{line}");
        }
    }

    #[test]
    fn empty_patterns_match_empty_text_only() {
        assert!(Glob::new("").matches(""));
        assert!(!Glob::new("").matches("a"));
        assert!(Glob::new("*").matches(""));
        assert!(Glob::new("**").matches(""));
        assert!(!Glob::new("?").matches(""));
        assert!(!Glob::new("[").matches(""));
    }

    #[test]
    fn many_stars_end_soon() {
        let pattern = "*a".repeat(40) + "b";
        assert!(!Glob::new(&pattern).matches(&"a".repeat(2000)));
    }
}

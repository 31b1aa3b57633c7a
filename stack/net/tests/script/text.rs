//! Words of a line: numbers, spans of time, `key=value`.

/// What was expected and what came instead.
#[derive(Debug)]
pub struct Wrong {
    pub expected: String,
    pub got: String,
}

pub fn wrong<T>(expected: impl Into<String>, got: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { expected: expected.into(), got: got.into() })
}

/// `12`, `-1`, `0x7f`, `2*1000+1`.
pub fn number(s: &str) -> Result<i64, Wrong> {
    let mut sum = 0;
    let mut from = 0;
    let ends = s.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-')).map(|(i, _)| i);
    for end in ends.chain([s.len()]) {
        let term = &s[from..end];
        let (sign, digits) = match term.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, term.strip_prefix('+').unwrap_or(term)),
        };
        let mut product = sign;
        for factor in digits.split('*') {
            let n = match factor.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16).ok(),
                None => factor.parse().ok(),
            };
            let Some(n) = n else { return wrong("a number", s) };
            product *= n;
        }
        sum += product;
        from = end;
    }
    Ok(sum)
}

/// `10ms`, `1.5s`, `250us`, `3m`, `2h`, in ns.
pub fn span(s: &str) -> Result<u64, Wrong> {
    let unit_at = s.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(s.len());
    let (n, unit) = s.split_at(unit_at);
    let unit = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        "d" => 86_400e9,
        _ => return wrong("a span of time (ns, us, ms, s, m, h, d)", s),
    };
    match n.parse::<f64>() {
        Ok(n) if n >= 0.0 => Ok((n * unit).round() as u64),
        _ => wrong("a span of time", s),
    }
}

/// A span as a script would write it.
pub fn show_span(ns: u64) -> String {
    match ns {
        n if n >= 10_000_000_000 => format!("{}s", n as f64 / 1e9),
        n if n >= 1_000_000 => format!("{}ms", n as f64 / 1e6),
        n => format!("{}us", n as f64 / 1e3),
    }
}

pub fn hex(s: &str) -> Result<Vec<u8>, Wrong> {
    let digits: Vec<u8> = s.bytes().filter(|b| *b != b'.').collect();
    let byte = |p: &[u8]| u8::from_str_radix(core::str::from_utf8(p).ok()?, 16).ok();
    match digits.chunks(2).map(byte).collect() {
        Some(bytes) if digits.len().is_multiple_of(2) => Ok(bytes),
        _ => wrong("an even number of hexadecimal digits", s),
    }
}

/// The words behind a statement's verb; each must be asked for, or the line is wrong.
pub struct Args<'a> {
    words: Vec<&'a str>,
}

impl<'a> Args<'a> {
    pub fn new(words: &[&'a str]) -> Self {
        Self { words: words.to_vec() }
    }

    /// The value of `key=value`.
    pub fn value(&mut self, key: &str) -> Option<&'a str> {
        let i = self.words.iter().position(|w| w.split_once('=').is_some_and(|(k, _)| k == key))?;
        self.words.remove(i).split_once('=').map(|(_, v)| v)
    }

    pub fn number(&mut self, key: &str) -> Result<Option<i64>, Wrong> {
        self.value(key).map(number).transpose()
    }

    /// Is this word there?
    pub fn word(&mut self, word: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|w| *w != word);
        self.words.len() < before
    }

    /// The first word left.
    pub fn next(&mut self) -> Option<&'a str> {
        (!self.words.is_empty()).then(|| self.words.remove(0))
    }

    pub fn need(&mut self, what: &str) -> Result<&'a str, Wrong> {
        match self.next() {
            Some(w) => Ok(w),
            None => wrong(what, "the end of the line"),
        }
    }

    pub fn done(self) -> Result<(), Wrong> {
        if self.words.is_empty() {
            return Ok(());
        }
        wrong("words that the README lists", self.words.join(" "))
    }
}

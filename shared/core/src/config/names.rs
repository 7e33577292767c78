//! Checks the names of sources and event types.

use ring::digest::{SHA256, digest};

/// The longest name, in bytes: that of a PostgreSQL identifier, because models and tables are named after them.
pub const MAX_NAME_BYTES: usize = 63;

/// Why `name` cannot name a source or an event type, or `Ok`.
///
/// Allowed are 1 to 63 ASCII letters, digits, `_`, `-` and `.`, the first a letter or a digit. Names are
/// case-sensitive. The message follows the name: "`a b` contains ' ': …".
pub fn check_name(name: &str) -> Result<(), String> {
    const ALLOWED: &str = "only ASCII letters, digits, `_`, `-` and `.` are allowed";
    if name.is_empty() {
        return Err("is empty".into());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("has {} bytes, more than {MAX_NAME_BYTES}", name.len()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
        return Err(format!("contains {bad:?}: {ALLOWED}"));
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("must start with an ASCII letter or a digit".into());
    }
    Ok(())
}

/// Converts a sender's event type to a name: `orders/create` becomes `orders.create`. `None` without an ASCII letter or
/// digit. `docs/configuration.md` has the rule.
pub fn to_name(text: &str) -> Option<String> {
    if check_name(text).is_ok() {
        return Some(text.to_owned());
    }
    let name: String = text
        .trim_start_matches(|c: char| !c.is_ascii_alphanumeric())
        .chars()
        .map(|c| match c {
            '/' => '.',
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') => c,
            _ => '_',
        })
        .collect();
    match name.len() {
        0 => None,
        len if len <= MAX_NAME_BYTES => Some(name),
        // Two long types that differ only at their ends stay distinct.
        _ => {
            let hash = hex::encode(digest(&SHA256, text.as_bytes()));
            Some(format!("{}-{}", &name[..MAX_NAME_BYTES - 9], &hash[..8]))
        }
    }
}

/// `text` in back quotes, cut to 80 characters, with control characters escaped: safe to put in a message.
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in ["shop", "Shop", "invoice.paid", "a", "7", "page_view", "x-1", &"n".repeat(63)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_could_be_mistaken_for_something_else_are_refused() {
        let long = "n".repeat(64);
        for name in
            ["", "a b", "a'b", "a\"b", "a;b", "a\0b", "a/b", "..", "-x", "_x", "ü", "a\nb", "a--b;", &long]
        {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_quoted_name_is_short_and_on_one_line() {
        assert_eq!(quoted("a\nb\0"), "`a\\nb\\0`");
        assert!(quoted(&"x".repeat(5000)).chars().count() < 100);
    }

    #[test]
    fn a_senders_word_becomes_a_name() {
        for (word, name) in [
            ("orders/create", Some("orders.create")),
            ("/weather", Some("weather")),
            ("v2.core.account[configuration].updated", Some("v2.core.account_configuration_.updated")),
            ("Über", Some("ber")),
            ("a b", Some("a_b")),
            ("ok", Some("ok")),
            ("…", None),
        ] {
            assert_eq!(to_name(word).as_deref(), name, "{word}");
        }
        let long = |end: &str| to_name(&format!("{}{end}", "a".repeat(70))).unwrap();
        assert_eq!(long("b").len(), 63);
        assert_ne!(long("b"), long("c"));
    }
}

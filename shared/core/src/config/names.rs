//! Names of sources and event types: what they may look like, everywhere they come from.

/// The longest name, in bytes: that of a PostgreSQL identifier, because models and tables are named after them.
pub const MAX_NAME_BYTES: usize = 63;

/// Why `name` cannot name a source or an event type, or `Ok`.
///
/// Allowed are 1 to 63 ASCII letters, digits, `_`, `-` and `.`, the first a letter or a digit. Names are
/// case-sensitive. The message reads on after the name: "`a b` has a space, …".
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
        return Err(format!("holds {bad:?}: {ALLOWED}"));
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("must start with an ASCII letter or a digit".into());
    }
    Ok(())
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
}

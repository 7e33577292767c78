//! Names and values written into generated SQL.

use ring::digest::{SHA256, digest};

/// What PostgreSQL keeps of a name, in bytes.
const LONGEST_NAME: usize = 63;

/// A name, quoted.
pub fn identifier(name: &str) -> String {
    postgres_protocol::escape::escape_identifier(name)
}

/// A text constant, quoted.
pub fn literal(text: &str) -> String {
    postgres_protocol::escape::escape_literal(text)
}

/// A text constant, or `null`.
pub fn optional_literal(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), literal)
}

/// A relation of schema `facts`, qualified and quoted.
pub fn fact(name: &str) -> String {
    format!("facts.{}", identifier(name))
}

/// Columns, quoted, with commas between.
pub fn columns<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|name| identifier(name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `name`, cut where PostgreSQL would cut it, and then with a hash of the whole, so that two long names stay two.
pub fn bounded(name: &str) -> String {
    if name.len() <= LONGEST_NAME {
        return name.to_owned();
    }
    let hash = fingerprint(&[name]);
    let end = name.floor_char_boundary(LONGEST_NAME - 9);
    format!("{}_{}", &name[..end], &hash[..8])
}

/// Hex of a hash of `parts`; where one ends and the next begins counts.
pub fn fingerprint<S: AsRef<str>>(parts: &[S]) -> String {
    let mut whole = Vec::new();
    for part in parts {
        whole.extend((part.as_ref().len() as u64).to_be_bytes());
        whole.extend(part.as_ref().as_bytes());
    }
    hex::encode(digest(&SHA256, &whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_end_nothing() {
        assert_eq!(identifier(r#"a"; drop table b"#), r#""a""; drop table b""#);
        assert_eq!(literal("o'clock"), "'o''clock'");
        assert_eq!(literal(r"\'"), r" E'\\'''");
        assert_eq!(optional_literal(None), "null");
        assert_eq!(fact("orders"), r#"facts."orders""#);
        assert_eq!(columns(&["a", "B"]), r#""a", "B""#);
    }

    #[test]
    fn long_names_stay_apart_and_short_ones_as_they_are() {
        assert_eq!(bounded("touch_orders"), "touch_orders");
        let (one, other) = ("ü".repeat(40), "ü".repeat(41));
        assert!(bounded(&one).len() <= LONGEST_NAME);
        assert_ne!(bounded(&one), bounded(&other));
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
    }
}

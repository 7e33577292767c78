//! Quotes names and values in generated SQL. Values are bound where a statement accepts parameters.

use postgres_protocol::escape::{escape_identifier, escape_literal};

/// A name, quoted.
pub fn identifier(name: &str) -> String {
    escape_identifier(name)
}

/// A text value, quoted.
pub fn literal(text: &str) -> String {
    // The driver adds a space before a literal with a backslash.
    escape_literal(text).trim_start().to_owned()
}

/// Names, quoted, with commas between.
pub fn identifiers<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(identifier).collect::<Vec<_>>().join(", ")
}

/// The relation of a model: `facts."orders"`.
pub fn relation(model: &str) -> String {
    format!("facts.{}", identifier(model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_names_and_values_are_doubled() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b"), "E'a\\\\b'");
        assert_eq!(identifiers(["a", "B"]), "\"a\", \"B\"");
        assert_eq!(relation("orders"), "facts.\"orders\"");
    }
}

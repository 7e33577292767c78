//! Finds the value that a JSON pointer names.

use std::ops::Range;

use crate::scan::{Scanner, SyntaxError};

/// Finds the value at `steps`, which are names of members or indexes of elements. The whole text is validated. The last of several
/// members with one name counts, as in jsonb.
///
/// # Errors
/// When `text` is not JSON.
pub fn find(text: &[u8], steps: &[impl AsRef<str>]) -> Result<Option<Range<usize>>, SyntaxError> {
    let mut scanner = Scanner::new(text);
    let found = descend(&mut scanner, steps)?;
    scanner.end()?;
    Ok(found)
}

/// Reads one value. Recurses once per step.
fn descend(
    scanner: &mut Scanner<'_>,
    steps: &[impl AsRef<str>],
) -> Result<Option<Range<usize>>, SyntaxError> {
    let Some((step, rest)) = steps.split_first() else {
        return Ok(Some(scanner.value()?.range));
    };
    let step = step.as_ref();
    let mut found = None;
    if scanner.enter_object() {
        let mut first = true;
        while let Some(key) = scanner.key(first)? {
            first = false;
            if is_key(key, step) {
                found = descend(scanner, rest)?;
            } else {
                scanner.value()?;
            }
        }
    } else if scanner.enter_array() {
        let wanted = element_number(step);
        let mut index = 0;
        while scanner.has_element(index == 0)? {
            if wanted == Some(index) {
                found = descend(scanner, rest)?;
            } else {
                scanner.value()?;
            }
            index += 1;
        }
    } else {
        scanner.value()?;
    }
    Ok(found)
}

/// Whether `key`, as written between its quotes, equals `name`.
fn is_key(key: &[u8], name: &str) -> bool {
    if !key.contains(&b'\\') {
        return key == name.as_bytes();
    }
    let mut quoted = Vec::with_capacity(key.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(key);
    quoted.push(b'"');
    // A pointer cannot name a key that contains an unpaired surrogate.
    serde_json::from_slice::<String>(&quoted).is_ok_and(|key| key == name)
}

/// By RFC 6901: digits without leading zeros.
fn element_number(step: &str) -> Option<usize> {
    let plain = step == "0" || !step.starts_with('0');
    let digits = step.bytes().all(|byte| byte.is_ascii_digit());
    if plain && digits { step.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'t>(text: &'t str, steps: &[&str]) -> Option<&'t str> {
        find(text.as_bytes(), steps).expect(text).map(|range| &text[range])
    }

    #[test]
    fn values_are_found_by_name_and_number() {
        let text = r#" {"a": {"b": [10, {"c": "x"}, []]}, "é": 1, "": {"0": 2}, "a/b": 3} "#;
        for (steps, expected) in [
            (&["a", "b", "1", "c"][..], Some(r#""x""#)),
            (&["a", "b", "2"], Some("[]")),
            (&["a", "b"], Some(r#"[10, {"c": "x"}, []]"#)),
            (&["é"], Some("1")),
            (&["", "0"], Some("2")),
            (&["a/b"], Some("3")),
            (&["b"], None),
            (&["a", "b", "3"], None),
            (&["a", "b", "01"], None),
            (&["a", "b", "-"], None),
            (&["a", "b", ""], None),
            (&["a", "b", "0", "c"], None),
            (&["é", "x"], None),
        ] {
            assert_eq!(found(text, steps), expected, "{steps:?}");
        }
        assert_eq!(found(text, &[]), Some(text.trim()));
    }

    #[test]
    fn escaped_keys_are_the_names_they_mean() {
        assert_eq!(found(r#"{"\u0061":1}"#, &["a"]), Some("1"));
        assert_eq!(found(r#"{"\ud800":1}"#, &["\u{fffd}"]), None);
        assert_eq!(found(r#"{"a\"":1}"#, &["a\""]), Some("1"));
    }

    #[test]
    fn the_last_of_several_members_counts() {
        assert_eq!(found(r#"{"a":{"b":1},"a":{"b":2}}"#, &["a", "b"]), Some("2"));
        assert_eq!(found(r#"{"a":{"b":1},"a":3}"#, &["a", "b"]), None);
    }

    #[test]
    fn the_whole_text_must_be_json() {
        for text in [r#"{"a":1"#, r#"{"a":1} x"#, r#"{"a":1,"b":tru}"#, ""] {
            assert!(find(text.as_bytes(), &["a"]).is_err(), "{text}");
        }
    }
}

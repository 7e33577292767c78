//! Looks up the value at a JSON pointer, as an id or a name.

use millrace_jsonb as jsonb;
use millrace_jsonb::JsonPointer;

/// Returns the string or whole number at `pointer` as text. `None` for any other value, for a missing value, and when
/// the text is not JSON. Of several members with the same name the last one counts, as in jsonb.
pub(crate) fn text_at(json: &[u8], pointer: &JsonPointer) -> Option<String> {
    let range = jsonb::find(json, pointer.steps()).ok().flatten()?;
    let value = json.get(range)?;
    match value.first()? {
        b'"' => serde_json::from_slice::<String>(value).ok().filter(|text| !text.is_empty()),
        // The original digits are kept: two ids could be equal after rounding.
        b'-' | b'0'..=b'9' if value[1..].iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(value).ok().map(str::to_owned)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(json: &str, pointer: &str) -> Option<String> {
        text_at(json.as_bytes(), &JsonPointer::parse(pointer).unwrap())
    }

    #[test]
    fn strings_and_whole_numbers_are_found_wherever_they_stand() {
        let json = r#"{"id": 7, "event": {"type": "message", "a/b": [{"x": -1}, "two"]}, "n": null, "": "nameless"}"#;
        for (pointer, found) in [
            ("/id", Some("7")),
            ("/event/type", Some("message")),
            ("/event/a~1b/0/x", Some("-1")),
            ("/event/a~1b/1", Some("two")),
            ("/", Some("nameless")),
            ("/event/a~1b/01", None),
            ("/event/a~1b/2", None),
            ("/event", None),
            ("/event/a~1b", None),
            ("/n", None),
            ("/id/x", None),
            ("/missing", None),
        ] {
            assert_eq!(at(json, pointer).as_deref(), found, "{pointer}");
        }
        assert_eq!(at(r#"[{"id": "a"}]"#, "/0/id").as_deref(), Some("a"));
    }

    #[test]
    fn the_last_of_several_counts_as_for_jsonb() {
        assert_eq!(at(r#"{"id": "a", "id": "b"}"#, "/id").as_deref(), Some("b"));
        assert_eq!(at(r#"{"id": "a", "id": {}}"#, "/id"), None);
    }

    #[test]
    fn what_would_be_ambiguous_is_not_taken() {
        for json in [r#"{"id": 1.5}"#, r#"{"id": 1e3}"#, r#"{"id": true}"#, r#"{"id": ""}"#] {
            assert_eq!(at(json, "/id"), None, "{json}");
        }
        let long = "123456789012345678901234";
        assert_eq!(at(&format!("{{\"id\": {long}}}"), "/id").as_deref(), Some(long));
    }

    #[test]
    fn depth_does_not_matter() {
        let deep = format!("{{\"a\": {}{}, \"id\": \"x\"}}", "[".repeat(50_000), "]".repeat(50_000));
        assert_eq!(at(&deep, "/id").as_deref(), Some("x"));
    }

    proptest! {
        #[test]
        fn it_finds_what_the_whole_document_holds(
            names in prop::collection::vec("[a-c~/0]{0,2}", 1..4), value in "[a-z\u{0}-\u{1f}\"é]{1,5}",
        ) {
            let document = names.iter().rev().fold(serde_json::json!(value), |inner, name| {
                serde_json::json!({ name: inner, "other": [1, {"x": 2}] })
            });
            let pointer: String =
                names.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect();
            let text = document.to_string();
            prop_assert_eq!(at(&text, &pointer), Some(value.clone()));
            prop_assert_eq!(document.pointer(&pointer).and_then(|found| found.as_str()), Some(&*value));
        }

        #[test]
        fn any_bytes_are_looked_through_without_a_panic(json in any::<Vec<u8>>(), text in "(/[a-z0-9]{0,2}){1,3}") {
            let _ = text_at(&json, &JsonPointer::parse(&text).unwrap());
        }
    }
}

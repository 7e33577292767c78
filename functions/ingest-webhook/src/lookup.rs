//! What stands at a JSON pointer, found without building the document.

use std::fmt;

use millrace::config::Pointer;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The string or whole number at `pointer`, as text; `None` for anything else, for nothing, and for what is not JSON.
///
/// Of several members with one name the last counts, as it does for jsonb.
pub(crate) fn text_at(json: &[u8], pointer: &Pointer) -> Option<String> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Seek(pointer.steps()).deserialize(&mut deserializer).ok().flatten()
}

/// The steps that are left.
struct Seek<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_next) = map.next_key_seed(IsStep(self.0.first()))? {
            match self.0 {
                [_, rest @ ..] if is_next => found = map.next_value_seed(Seek(rest))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        // No leading zeros and no signs, by RFC 6901.
        let wanted = self
            .0
            .first()
            .and_then(|step| step.parse::<usize>().ok().filter(|index| index.to_string() == *step));
        let mut found = None;
        for index in 0_usize.. {
            let more = match self.0 {
                [_, rest @ ..] if wanted == Some(index) => match sequence.next_element_seed(Seek(rest))? {
                    Some(value) => {
                        found = value;
                        true
                    }
                    None => false,
                },
                _ => sequence.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(found)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok((self.0.is_empty() && !text.is_empty()).then(|| text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| number.to_string()))
    }

    // A number past 64 bits is rounded by now, and two of them might look like one.
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a member's name is the step to take.
struct IsStep<'p>(Option<&'p String>);

impl<'de> DeserializeSeed<'de> for IsStep<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for IsStep<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(self.0.is_some_and(|step| step == name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(json: &str, pointer: &str) -> Option<String> {
        text_at(json.as_bytes(), &Pointer::parse(pointer).unwrap())
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
        for json in
            [r#"{"id": 123456789012345678901234}"#, r#"{"id": 1.5}"#, r#"{"id": true}"#, r#"{"id": ""}"#]
        {
            assert_eq!(at(json, "/id"), None, "{json}");
        }
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
            let _ = text_at(&json, &Pointer::parse(&text).unwrap());
        }
    }
}

//! Replaces the characters that jsonb refuses by U+FFFD.

use crate::scan::code_unit;

/// Overwrites every `\u0000` and every unpaired surrogate with `\ufffd`. `text` is JSON. Its length does not change, so positions
/// in it stay valid.
pub fn replace_characters(text: &mut [u8]) {
    let mut at = 0;
    while let Some(next) = text[at..].iter().position(|byte| *byte == b'\\') {
        at += next;
        let length = match code_unit(text, at) {
            // Another escape, whose second character may be a backslash.
            None => 2,
            Some(0xd800..0xdc00) if matches!(code_unit(text, at + 6), Some(0xdc00..0xe000)) => 12,
            Some(0 | 0xd800..0xe000) => {
                text[at..at + 6].copy_from_slice(b"\\ufffd");
                6
            }
            Some(_) => 6,
        };
        at = (at + length).min(text.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Scanner, is_json};

    fn replaced(text: &str) -> String {
        let mut text = text.as_bytes().to_vec();
        replace_characters(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn only_what_jsonb_refuses_is_replaced() {
        for (text, expected) in [
            (r#"{"a\u0000":"\u0000\u0000"}"#, r#"{"a\ufffd":"\ufffd\ufffd"}"#),
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""\uD83D\uDE00""#, r#""\uD83D\uDE00""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\\u0000""#, r#""\\u0000""#),
            (r#""\\\u0000""#, r#""\\\ufffd""#),
            (r#""\"\u0041é""#, r#""\"\u0041é""#),
        ] {
            assert_eq!(replaced(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn after_it_jsonb_takes_the_text_and_nothing_else_changed(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "\\\\", "\\n", "\\u0000", "\\u0041", "\\ud800", "\\udbff", "\\udc00", "\\uDFFF", "u0000",
                ]),
                0..12,
            ),
        ) {
            let text = format!("\"{}\"", pieces.concat());
            let after = replaced(&text);
            prop_assert!(is_json(after.as_bytes()), "{} became {}", text, after);
            prop_assert_eq!(text.len(), after.len());
            let flawless = Scanner::new(text.as_bytes()).value().unwrap().defect.is_none();
            prop_assert_eq!(flawless, text == after);
        }
    }
}

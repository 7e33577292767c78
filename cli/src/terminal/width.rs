//! The columns that text takes up on a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Chinese characters and emoji take up two columns, combining characters none.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// Text that stays on one line: line breaks and other control characters are replaced by visible ones.
pub fn visible(text: &str) -> String {
    let replaced = |character| match character {
        '\n' => '⏎',
        character if char::is_control(character) => '·',
        character => character,
    };
    text.chars().map(replaced).collect()
}

/// `text` in at most `width` columns. Text that is too long ends with an ellipsis.
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let mut used = 0;
    let fits = |character: &char| {
        used += character.width().unwrap_or(0);
        used <= room
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_columns_and_not_to_characters() {
        for (text, width, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("e\u{301}ab", 3, "e\u{301}ab"),
            ("ab", 1, "…"),
            ("ab", 0, ""),
        ] {
            assert_eq!(cut(text, width), expected, "{text} in {width}");
            assert!(columns(&cut(text, width)) <= width, "{text} in {width}");
        }
    }

    #[test]
    fn text_of_a_file_cannot_control_the_terminal() {
        assert_eq!(visible("a\x1b[31mb\nc\u{9b}"), "a·[31mb⏎c·");
    }
}

//! Delimiters that are control characters or blanks, and record separators.

use super::*;

fn table(bytes: &[u8]) -> (String, Vec<String>, Vec<Vec<String>>) {
    let (plan, kept) = read(bytes);
    (plan.dialect.delimiter, plan.dialect.columns, briefs(&kept))
}

#[test]
fn control_characters_delimit_whatever_the_values_hold() {
    for delimiter in ["\u{1}", "\u{1f}"] {
        for end in ["\n", "\r\n", "\r"] {
            let mut text = String::new();
            for row in [
                ["id", "name", "note"],
                ["1", "Smith, Ann", "a; b; c"],
                ["2", "Jones, Bob", "x|y \"quoted\""],
                ["3", "", ""],
                ["4", "It's", "1,2,3"],
            ] {
                text.push_str(&row.join(delimiter));
                text.push_str(end);
            }
            let (found, columns, rows) = table(text.as_bytes());
            assert_eq!(
                (found.as_str(), columns.len(), rows.len()),
                (delimiter, 3, 4),
                "{delimiter:?} {end:?}"
            );
            assert_eq!(rows[0], ["1", "Smith, Ann", "a; b; c"]);
            assert_eq!(rows[1], ["2", "Jones, Bob", "x|y \"quoted\""]);
            assert_eq!(rows[2], ["3", "", ""]);
        }
    }
}

#[test]
fn a_hive_file_without_header_and_with_many_empty_columns_is_text() {
    let line = format!("{}{}{}\n", "7", "\u{1}".repeat(20), "x");
    let (delimiter, columns, rows) = table(line.repeat(50).as_bytes());
    assert_eq!((delimiter.as_str(), columns.len(), rows.len()), ("\u{1}", 21, 50));
}

#[test]
fn record_separators_end_records() {
    for delimiter in ["\u{1f}", "\u{1}", ","] {
        for end in ["\u{1e}", "\u{1e}\n", "\u{1e}\r\n"] {
            for last in [end, ""] {
                let lines: Vec<String> = [["id", "name"], ["1", "Ann"], ["2", "Bob"], ["3", "Cy"]]
                    .iter()
                    .map(|row| row.join(delimiter))
                    .collect();
                let text = format!("{}{last}", lines.join(end));
                let (found, columns, rows) = table(text.as_bytes());
                assert_eq!(
                    (found.as_str(), columns),
                    (delimiter, vec!["id".into(), "name".into()]),
                    "{text:?}"
                );
                assert_eq!(rows, [["1", "Ann"], ["2", "Bob"], ["3", "Cy"]], "{text:?}");
            }
        }
    }
}

#[test]
fn newlines_belong_to_the_values_between_record_separators() {
    let text = "id\u{1f}note\u{1e}1\u{1f}a\nb\nc\u{1e}2\u{1f}d\r\ne\u{1e}3\u{1f}\u{1e}";
    let (_, columns, rows) = table(text.as_bytes());
    assert_eq!(columns, ["id", "note"]);
    assert_eq!(rows, [["1", "a\nb\nc"], ["2", "d\r\ne"], ["3", ""]]);
    assert_eq!(read(text.as_bytes()).0.dialect.terminator, Terminator::Rs);
}

#[test]
fn a_stray_record_separator_in_an_ordinary_file_is_a_character() {
    let text = "id,note\n1,a\u{1e}b\n2,c\n3,d\n";
    assert_eq!(table(text.as_bytes()).2, [["1", "a\u{1e}b"], ["2", "c"], ["3", "d"]]);
    let text = "id\u{1f}note\n1\u{1f}a\u{1e}b\n2\u{1f}c\n3\u{1f}d\n";
    assert_eq!(table(text.as_bytes()).2, [["1", "a\u{1e}b"], ["2", "c"], ["3", "d"]]);
}

#[test]
fn a_file_with_record_separators_is_resumed_at_any_record() {
    let text = "id\u{1f}note\u{1e}\n1\u{1f}a\nb\u{1e}\n2\u{1f}\"c\u{1e}d\"\u{1e}\r\n\u{1e}\n3\u{1f}x\u{1f}y\u{1e}4\u{1f}e";
    let limits = CsvLimits::default();
    let (plan, kept) = read(text.as_bytes());
    let stored: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    assert_eq!(kept.len(), 4);
    for (index, record) in kept.iter().enumerate() {
        let position = match record {
            Kept::Row { position, .. } => *position,
            Kept::Reject(reject) => reject.position,
        };
        for step in [1, 2, 1000] {
            let bytes = &text.as_bytes()[resume_offset(&stored, position) as usize..];
            let reader = Dribble { bytes, step };
            let mut records =
                reopen(reader, &stored, &limits, Ragged::Reject, InvalidCharacters::Reject, position)
                    .unwrap();
            assert_eq!(drain(&mut records).unwrap(), kept[index..]);
        }
    }
}

#[test]
fn single_blanks_delimit_where_quoted_fields_hold_blanks() {
    let text = "host user time request agent\n\
        10.0.0.1 ann 12:00:01 \"GET /a HTTP/1.1\" \"Mozilla/5.0 (X11; Linux)\"\n\
        10.0.0.2 bob 12:00:02 \"GET /b, c HTTP/1.1\" \"curl/8: the tool\"\n\
        10.0.0.3 - 12:00:03 \"POST /d HTTP/1.1\" \"Mozilla/5.0 (Mac; Intel)\"\n";
    let (delimiter, columns, rows) = table(text.as_bytes());
    assert_eq!((delimiter.as_str(), columns.len()), (" ", 5));
    assert_eq!(columns, ["host", "user", "time", "request", "agent"]);
    assert_eq!(rows[1], ["10.0.0.2", "bob", "12:00:02", "GET /b, c HTTP/1.1", "curl/8: the tool"]);
}

#[test]
fn blanks_in_quoted_fields_do_not_win_over_the_delimiter() {
    let text = "\"first name\",\"full address\",\"n\"\n\"Ann Lee\",\"1 Main St\",\"3\"\n\"Bob Ray\",\"2 High St\",\"4\"\n";
    assert_eq!(table(text.as_bytes()).0, ",");
    let text = "\"first name\"; \"full address\"\n\"Ann Lee\"; \"1 Main St\"\n\"Bob Ray\"; \"2 High St\"\n";
    assert_eq!(table(text.as_bytes()).0, "; ");
}

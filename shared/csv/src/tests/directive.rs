//! Excel's `sep=` line.

use super::*;

fn table(bytes: &[u8]) -> (String, Vec<String>, Vec<Vec<String>>) {
    let (plan, kept) = read(bytes);
    (plan.dialect.delimiter, plan.dialect.columns, briefs(&kept))
}

#[test]
fn a_directive_is_never_a_row_and_the_header_after_it_is_kept() {
    let cases: &[(&str, &str)] = &[
        ("sep=,", ","),
        ("sep=;", ";"),
        ("SEP=;", ";"),
        ("sep=\t", "\t"),
        ("sep=\\t", "\t"),
        ("sep=|", "|"),
        ("sep=^", "^"),
        ("sep=~", "~"),
        ("sep=:", ":"),
        ("sep=!", "!"),
        ("sep= ", " "),
        ("sep=||", "||"),
        ("sep=::", "::"),
        ("sep=\u{1f}", "\u{1f}"),
        ("sep=¦", "¦"),
        ("\"sep=;\"", ";"),
        ("\"sep=,\"", ","),
        ("\"Sep=\t\"", "\t"),
        // Saved again with the cells of a table.
        ("\"sep=,\",,", ","),
        ("sep=;;;", ";"),
    ];
    for (line, delimiter) in cases {
        for end in ["\n", "\r\n", "\r"] {
            let mut text = format!("{line}{end}");
            for row in [["id", "name", "n"], ["1", "Ann", "3"], ["2", "Bob", "4"]] {
                text.push_str(&row.join(delimiter));
                text.push_str(end);
            }
            let utf16 = |unit: fn(u16) -> [u8; 2]| {
                [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(unit).collect::<Vec<u8>>()
            };
            let files = [
                ("plain", text.as_bytes().to_vec()),
                ("UTF-8 mark", format!("\u{feff}{text}").into_bytes()),
                ("UTF-16LE mark", utf16(u16::to_le_bytes)),
                ("UTF-16BE mark", utf16(u16::to_be_bytes)),
            ];
            for (name, bytes) in files {
                let (found, columns, rows) = table(&bytes);
                assert_eq!(found, *delimiter, "{line:?} {end:?} {name}");
                assert_eq!(columns, ["id", "name", "n"], "{line:?} {end:?} {name}");
                assert_eq!(rows, [["1", "Ann", "3"], ["2", "Bob", "4"]], "{line:?} {end:?} {name}");
            }
        }
    }
}

#[test]
fn a_directive_decides_where_detection_would_choose_otherwise() {
    let (delimiter, columns, rows) = table(b"sep=;\nprice;note\n1,5;a,b\n2,5;c,d\n");
    assert_eq!((delimiter.as_str(), columns), (";", vec!["price".to_owned(), "note".to_owned()]));
    assert_eq!(rows, [["1,5", "a,b"], ["2,5", "c,d"]]);
    // It names a character that the file does not hold.
    let (delimiter, _, rows) = table(b"sep=;\nid,name\n1,Ann\n2,Bob\n");
    assert_eq!((delimiter.as_str(), rows.len()), (",", 2));
}

#[test]
fn a_directive_beside_declared_settings_is_no_row_either() {
    let text = b"sep=;\nid;name\n1;Ann\n";
    for (skip_lines, delimiter) in [(Some(0), None), (Some(1), None), (None, Some(";")), (Some(0), Some(";"))]
    {
        let declared =
            Declared { skip_lines, delimiter: delimiter.map(str::to_owned), ..Declared::default() };
        let (plan, kept) =
            read_as(text, &declared, &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject);
        assert_eq!(plan.dialect.columns, ["id", "name"], "{declared:?}");
        assert_eq!(briefs(&kept), [["1", "Ann"]], "{declared:?}");
        assert_eq!(plan.dialect.data_line, 3, "{declared:?}");
    }
}

#[test]
fn a_line_that_only_looks_like_a_directive_is_a_row() {
    for line in ["sep=1", "sep=x", "sep=", "separator;x", "a sep=;", "\"sep=;\";x", "sep=\""] {
        let text = format!("{line}\nx;y\nz;w\n");
        let declared = Declared { header: Some(DeclaredHeader::Rows(0)), ..Declared::default() };
        let declared = Declared { skip_lines: Some(0), delimiter: Some(";".into()), ..declared };
        let (_, kept) = read_as(
            text.as_bytes(),
            &declared,
            &CsvLimits::default(),
            Ragged::Fill,
            InvalidCharacters::Reject,
        );
        assert_eq!(kept.len(), 3, "{line:?}");
    }
}

#[test]
fn a_file_of_a_directive_alone_has_no_records() {
    for text in ["sep=;", "sep=;\n", "\u{feff}\"sep=,\"\r\n"] {
        assert_eq!(table(text.as_bytes()).2, Vec::<Vec<String>>::new(), "{text:?}");
    }
}

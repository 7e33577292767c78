use super::*;

/// Declared as it is in every case below: three columns, comma, double quotes.
fn declared() -> Declared {
    Declared {
        delimiter: Some(",".into()),
        quote: Some(Mark::Byte(b'"')),
        header: Some(DeclaredHeader::Rows(1)),
        skip_lines: Some(0),
        ..Declared::default()
    }
}

fn body(text: &str, ragged: Ragged, invalid: InvalidCharacters) -> Vec<Kept> {
    let text = format!("a,b,c\n{text}");
    read_as(text.as_bytes(), &declared(), &CsvLimits::default(), ragged, invalid).1
}

#[test]
fn each_rule_gives_the_rows_that_its_table_says() {
    let cases: &[(&str, &[&[&str]])] = &[
        ("1,2,3\n4,5,6", &[&["1", "2", "3"], &["4", "5", "6"]]),
        ("1,2,3\r4,5,6\r\n7,8,9\n", &[&["1", "2", "3"], &["4", "5", "6"], &["7", "8", "9"]]),
        ("\n1,2,3\n\n   \n4,5,6\n\n", &[&["1", "2", "3"], &["4", "5", "6"]]),
        ("1,\"x\ny\",3\n", &[&["1", "x\ny", "3"]]),
        ("1,\"x\"\"y\",\"\"\n", &[&["1", "x\"y", ""]]),
        ("1,2,3,\n4,5,6\n", &[&["1", "2", "3"], &["4", "5", "6"]]),
        ("1,2\n1,2,3,4\n4,5,6\n", &[&["!wrong_column_count"], &["!wrong_column_count"], &["4", "5", "6"]]),
        (",,\n", &[&["", "", ""]]),
        // Repairs.
        ("1,5\" pipe,3\n4,5,6\n", &[&["1", "5\" pipe", "3"], &["4", "5", "6"]]),
        ("1,\"a \"b\" c\",3\n4,5,6\n", &[&["1", "a \"b\" c", "3"], &["4", "5", "6"]]),
        ("1,\"a \"b, c\" d\",3\n4,5,6\n", &[&["1", "a \"b, c\" d", "3"], &["4", "5", "6"]]),
        ("1,\"open,3\n4,5,6\n7,8,9\n", &[&["1", "\"open", "3"], &["4", "5", "6"], &["7", "8", "9"]]),
        ("1, \"x, y\" ,3\n", &[&["1", "x, y", "3"]]),
        // No repair has the width: that line alone is rejected.
        ("1,\"open\n4,5,6\n7,8,9\n", &[&["!unclosed_quote"], &["4", "5", "6"], &["7", "8", "9"]]),
        ("1,x\"y\n4,5,6\n", &[&["!malformed_quotes"], &["4", "5", "6"]]),
        // A legal record over lines of the wrong width is one reject unless it would swallow rows.
        ("\"x\ny\",2\n4,5,6\n", &[&["!wrong_column_count"], &["4", "5", "6"]]),
        (
            "\"x\n4,5,6\ny\",2\n7,8,9\n",
            &[&["!unclosed_quote"], &["4", "5", "6"], &["!malformed_quotes"], &["7", "8", "9"]],
        ),
        ("1,\0,3\n4,5,6\n", &[&["!nul_character"], &["4", "5", "6"]]),
    ];
    for (text, expected) in cases {
        assert_eq!(briefs(&body(text, Ragged::Reject, InvalidCharacters::Reject)), *expected, "{text:?}");
    }
}

#[test]
fn a_legal_row_is_not_marked_and_a_repaired_one_names_its_rule() {
    let cases = [
        ("1,\"x\ny\",3\n", None),
        ("1,2,3,\n", None),
        ("1,5\" pipe,3\n", Some("stray_quote")),
        ("1,\"a \"b\" c\",3\n", Some("lone_quote")),
        ("1,\"open,3\n", Some("unclosed_quote")),
        ("1, \"x\",3\n", Some("blanks_around_quotes")),
    ];
    for (text, rule) in cases {
        let kept = body(text, Ragged::Reject, InvalidCharacters::Reject);
        assert!(matches!(&kept[0], Kept::Row { repaired, .. } if *repaired == rule), "{text:?}: {kept:?}");
    }
}

#[test]
fn ragged_records_are_rows_with_their_own_fields_when_filling() {
    let kept = body("1,2\n1,2,3,4\n\"x\ny\",2\n", Ragged::Fill, InvalidCharacters::Reject);
    let expected: [&[&str]; 3] = [&["1", "2"], &["1", "2", "3", "4"], &["x\ny", "2"]];
    assert_eq!(briefs(&kept), expected);
}

#[test]
fn a_reject_says_where_it_is_and_keeps_its_bytes() {
    let bytes = b"a,b,c\n1,2,3\n\n4,\xff\xfe,6\n7,8,9\n";
    let (_, kept) =
        read_as(bytes, &declared(), &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject);
    let Kept::Reject(reject) = &kept[1] else { panic!("{kept:?}") };
    assert_eq!(reject.position, CsvPosition { record: 1, line: 4, offset: 13 });
    assert_eq!((reject.code, reject.column.as_deref()), (CsvCode::InvalidUtf8, Some("b")));
    assert_eq!((reject.raw.as_slice(), reject.raw_len), (&b"4,\xff\xfe,6"[..], 6));
    assert_eq!(kept[2].brief(), ["7", "8", "9"]);
}

#[test]
fn what_postgres_refuses_is_replaced_when_asked_for() {
    let kept = body("1,x\0y,3\n", Ragged::Reject, InvalidCharacters::Replace);
    assert!(
        matches!(&kept[0], Kept::Row { fields, repaired: Some("nul_replaced"), .. } if fields[1] == "x\u{fffd}y")
    );
    let bytes = b"a,b,c\n4,\xff,6\n";
    let (_, kept) =
        read_as(bytes, &declared(), &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Replace);
    assert!(
        matches!(&kept[0], Kept::Row { fields, repaired: Some("invalid_utf8_replaced"), .. } if fields[1] == "\u{fffd}")
    );
}

#[test]
fn a_line_over_the_cap_is_rejected_and_reading_goes_on_after_it() {
    let limits = CsvLimits { max_record_bytes: 20, max_reject_bytes: 10, ..CsvLimits::default() };
    let long = "x".repeat(500_000);
    for end in ["\n", "\r\n", "\r"] {
        let text = format!("a,b,c{end}1,2,3{end}{long}{end}4,5,6{end}{long}");
        let (_, kept) =
            read_as(text.as_bytes(), &declared(), &limits, Ragged::Reject, InvalidCharacters::Reject);
        assert_eq!(kept.len(), 4);
        let Kept::Reject(reject) = &kept[1] else { panic!("{kept:?}") };
        assert_eq!((reject.code, reject.raw.len(), reject.raw_len), (CsvCode::RecordTooLong, 10, 500_000));
        assert!(
            matches!(&kept[2], Kept::Row { position, fields, .. } if position.line == 4 && fields[0] == "4")
        );
    }
}

#[test]
fn fields_and_columns_over_their_caps_are_rejected() {
    let limits = CsvLimits { max_field_bytes: 5, max_columns: 4, ..CsvLimits::default() };
    let text = b"a,b,c\n1,123456,3\n1,2,3,4,5,6\n1,2,3\n";
    let (_, kept) = read_as(text, &declared(), &limits, Ragged::Fill, InvalidCharacters::Reject);
    assert!(
        matches!(&kept[0], Kept::Reject(r) if r.code == CsvCode::FieldTooLong && r.column.as_deref() == Some("b"))
    );
    assert!(matches!(&kept[1], Kept::Reject(r) if r.code == CsvCode::TooManyColumns));
    assert_eq!(kept[2].brief(), ["1", "2", "3"]);
}

#[test]
fn a_second_table_is_reported_and_its_rows_are_rejects() {
    let text = b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n\nx,y\n1,2\n3,4\n";
    let opened =
        open(&text[..], &declared(), &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject);
    let mut records = opened.unwrap().records;
    let kept = drain(&mut records).unwrap();
    assert_eq!(kept.iter().filter(|kept| matches!(kept, Kept::Reject(_))).count(), 3);
    assert_eq!(records.notes().iter().map(|note| note.line).collect::<Vec<_>>(), [6]);
}

#[test]
fn comments_are_left_out_where_the_dialect_has_them() {
    let declared = Declared { comment: Some(Mark::Byte(b'#')), ..declared() };
    let text = b"a,b,c\n# note\n1,2,3\n#4,5,6\n";
    let (_, kept) =
        read_as(text, &declared, &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject);
    assert_eq!(briefs(&kept), [["1", "2", "3"]]);
}

#[test]
fn delimiters_of_several_characters_work_inside_and_outside_quotes() {
    let declared = Declared { delimiter: Some("||".into()), ..declared() };
    let text = b"a||b||c\n1||\"x||y\"||3\n\"p|q\"||r|s||\n";
    let (_, kept) =
        read_as(text, &declared, &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject);
    assert_eq!(briefs(&kept), [["1", "x||y", "3"], ["p|q", "r|s", ""]]);
}

#[test]
fn an_escape_character_stands_before_quotes_inside_quotes() {
    let declared = Declared { escape: Some(Mark::Byte(b'\\')), ..declared() };
    let text = b"a,b,c\n1,\"x\\\"y, z\\\\\",3\n";
    let (_, kept) =
        read_as(text, &declared, &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject);
    assert_eq!(briefs(&kept), [["1", "x\"y, z\\", "3"]]);
}

#[test]
fn skipping_moves_over_records_as_reading_does() {
    let text = b"a,b,c\n1,\"x\ny\",3\n\n4,5\n7,8,9\n";
    let mut records =
        open(&text[..], &declared(), &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject)
            .unwrap()
            .records;
    assert_eq!(records.skip(2).unwrap(), 2);
    assert_eq!(records.position(), CsvPosition { record: 2, line: 6, offset: 21 });
    assert_eq!(briefs(&drain(&mut records).unwrap()), [["7", "8", "9"]]);
    assert_eq!(records.skip(5).unwrap(), 0);
}

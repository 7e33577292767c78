use super::*;

fn columns(text: &str) -> (String, Vec<String>, usize) {
    let (plan, kept) = read(text.as_bytes());
    (
        plan.dialect.delimiter,
        plan.dialect.columns,
        kept.iter().filter(|k| matches!(k, Kept::Row { .. })).count(),
    )
}

#[test]
fn the_dialect_is_found_from_the_text() {
    let cases: &[(&str, &str, &[&str], usize)] = &[
        ("id,name\n1,Ann\n2,Bob\n", ",", &["id", "name"], 2),
        ("id;price\n1;1,5\n2;2,5\n3;7,25\n", ";", &["id", "price"], 3),
        ("id\tname\n1\tAnn, B\n2\tBob, C\n", "\t", &["id", "name"], 2),
        ("id|when\n1|2024-01-02 03:04:05\n2|2024-01-03 03:04:05\n", "|", &["id", "when"], 2),
        ("id, name\n1, Ann\n2, Bob\n", ", ", &["id", "name"], 2),
        ("id||name\n1||Ann\n2||Bob\n", "||", &["id", "name"], 2),
        ("id::name\n1::Ann\n2::Bob\n", "::", &["id", "name"], 2),
        ("id\u{1f}name\n1\u{1f}Ann\n2\u{1f}Bob\n", "\u{1f}", &["id", "name"], 2),
        ("x y\n1 2\n3 4\n5 6\n7 8\n", " ", &["x", "y"], 4),
        // No header: the first row is like the others.
        ("1,2.5\n2,3.5\n3,4.5\n", ",", &["column_1", "column_2"], 3),
        // A single column.
        ("name\nAnn\nBob\n", "", &["name"], 2),
        // A title, a blank row of delimiters, then the table.
        ("Report,,\n,,\nid,name,n\n1,Ann,3\n2,Bob,4\n3,Cy,5\n", ",", &["id", "name", "n"], 3),
        ("Sales report\n\nid,name,n\n1,Ann,3\n2,Bob,4\n", ",", &["id", "name", "n"], 2),
        // Two stacked header rows.
        ("height,weight\ncm,kg\n170,60\n180,80\n175,70\n", ",", &["height cm", "weight kg"], 3),
        // Names: blanks, absent and repeated ones.
        (
            "\u{feff} a ,,a,a_2,\n1,2,3,4,5\n6,7,8,9,10\n",
            ",",
            &["a", "column_2", "a_3", "a_2", "column_5"],
            2,
        ),
        // A header without the delimiter that every row ends with.
        ("a,b\n1,2,\n3,4,\n", ",", &["a", "b"], 2),
        ("a,b\n", ",", &["a", "b"], 0),
        ("# note\na,b\n1,2\n3,4\n# end\n", ",", &["a", "b"], 2),
        ("", "", &[], 0),
        ("\n\n", "", &[], 0),
    ];
    for (text, delimiter, names, rows) in cases {
        let found = columns(text);
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        assert_eq!(found, (delimiter.to_string(), names, *rows), "{text:?}");
    }
}

#[test]
fn an_escape_is_found_only_where_it_makes_more_lines_legal() {
    let escaped = "a,b,c\n1,\"x \\\"y\\\", z\",3\n2,\"p \\\"q\\\", r\",4\n";
    assert_eq!(read(escaped.as_bytes()).0.dialect.escape, Some(b'\\'));
    let path = "a,b,c\n1,\"C:\\dir\\\",3\n2,\"D:\\\",4\n";
    assert_eq!(read(path.as_bytes()).0.dialect.escape, None);
}

#[test]
fn single_quotes_are_found_where_they_enclose_fields() {
    let (plan, kept) = read(b"a,b\n'1, 2','x'\n'3, 4','y'\n'5, 6','z'\n");
    assert_eq!(plan.dialect.quote, Some(b'\''));
    assert_eq!(briefs(&kept)[0], ["1, 2", "x"]);
}

#[test]
fn what_is_declared_is_not_detected() {
    let declared = Declared {
        delimiter: Some(";".into()),
        header: Some(DeclaredHeader::Names(vec!["x".into(), "x".into()])),
        skip_lines: Some(1),
        ..Declared::default()
    };
    let limits = CsvLimits::default();
    let (plan, kept) =
        read_as(b"a,b\n1;2\n3;4\n", &declared, &limits, Ragged::Reject, InvalidCharacters::Reject);
    assert_eq!(plan.dialect.columns, ["x", "x_2"]);
    assert_eq!(briefs(&kept), [["1", "2"], ["3", "4"]]);
}

#[test]
fn a_plan_survives_being_stored() {
    let (plan, _) = read(b"a\tb\n1\t2\n");
    let stored = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), plan);
}

#[test]
fn a_table_of_too_many_columns_is_refused() {
    let error = failure("a,".repeat(2_000).as_bytes(), &CsvLimits::default());
    assert_eq!((error.kind(), error.code()), (ErrorKind::File, CsvCode::TooManyColumns));
}

#[test]
fn more_lines_to_skip_than_the_sample_holds_are_refused() {
    let declared = Declared { skip_lines: Some(1_000_000), ..Declared::default() };
    let text = "line\n".repeat(1_000_000);
    let opened =
        open(text.as_bytes(), &declared, &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject);
    assert_eq!(opened.err().unwrap().code(), CsvCode::PreambleTooLong);
    let (_, kept) =
        read_as(b"a\nb\n", &declared, &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject);
    assert_eq!(kept, []);
}

#[test]
fn a_header_may_begin_with_a_comment_character() {
    let (plan, kept) = read(b"#id;name\n1;x\n2;y\n");
    assert_eq!((plan.dialect.columns, kept.len()), (vec!["#id".to_owned(), "name".to_owned()], 2));
}

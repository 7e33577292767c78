//! Headers that are written differently from the rows below them.

use super::*;

fn table(text: &str) -> (String, Vec<String>, Vec<Vec<String>>, u64) {
    let (plan, kept) = read(text.as_bytes());
    let dialect = plan.dialect;
    (dialect.delimiter, dialect.columns, briefs(&kept), dialect.data_line)
}

const ROWS: &str = "1,Ann,2.5\n2,Bob,3.5\n3,Cy,4.5\n";

#[test]
fn a_header_with_another_delimiter_than_its_rows_names_the_columns() {
    let headers = [
        "id;name;price",
        "id\tname\tprice",
        "id|name|price",
        "id||name||price",
        "id^name^price",
        "id\u{1f}name\u{1f}price",
        "id; name; price",
        "\"id\";\"name\";\"price\"",
        "id name \"price\"",
    ];
    for header in headers {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("{header}\n{ROWS}").replace('\n', end);
            let (delimiter, columns, rows, line) = table(&text);
            assert_eq!((delimiter.as_str(), line), (",", 2), "{text:?}");
            assert_eq!(columns, ["id", "name", "price"], "{text:?}");
            assert_eq!(rows, [["1", "Ann", "2.5"], ["2", "Bob", "3.5"], ["3", "Cy", "4.5"]], "{text:?}");
        }
    }
    // Rows with decimal commas below a header with commas.
    let (delimiter, columns, rows, _) = table("id,name,price\n1;Ann;2,5\n2;Bob;3,5\n3;Cy;4,5\n");
    assert_eq!((delimiter.as_str(), rows.len()), (";", 3));
    assert_eq!(columns, ["id", "name", "price"]);
}

#[test]
fn a_header_with_another_delimiter_is_found_below_a_title() {
    let (plan, kept) = read(format!("Prices\n\nid;name;price\n{ROWS}").as_bytes());
    assert_eq!(plan.dialect.columns, ["id", "name", "price"]);
    assert_eq!((plan.dialect.skip_lines, plan.dialect.header_rows, kept.len()), (2, 1, 3));
}

#[test]
fn a_title_is_no_header_whatever_it_holds() {
    let titles = [
        // A table that has a header keeps it.
        ("Units; prices; dates\nid,name,price\n", "id"),
        // As many words as columns.
        ("Daily price list\n", "column_1"),
        // Another width than the table's.
        ("Prices; preliminary\n", "column_1"),
        ("a;b;c;d\n", "column_1"),
        // Apart from the table.
        ("Units; prices; dates\n\n", "column_1"),
        // Not names alone, or not one for each column.
        ("Prices; Bonn; 2024\n", "column_1"),
        ("Prices;;\n", "column_1"),
        ("Prices; Bonn; Bonn\n", "column_1"),
        ("Prices: Bonn: list\n", "column_1"),
    ];
    for (title, first) in titles {
        let (delimiter, columns, rows, _) = table(&format!("{title}{ROWS}"));
        assert_eq!((delimiter.as_str(), columns[0].as_str(), rows.len()), (",", first, 3), "{title:?}");
    }
    // Two columns are too few to tell a title with a comma from names.
    let (_, columns, rows, _) = table("Bonn, Germany\n1;2,5\n2;3,5\n3;4,5\n");
    assert_eq!((columns[0].as_str(), rows.len()), ("column_1", 3));
}

#[test]
fn what_is_declared_about_the_header_is_kept() {
    let text = format!("id;name;price\n{ROWS}");
    let declared = Declared { header: Some(DeclaredHeader::Rows(0)), ..Declared::default() };
    let limits = CsvLimits::default();
    let (plan, kept) =
        read_as(text.as_bytes(), &declared, &limits, Ragged::Reject, InvalidCharacters::Reject);
    assert_eq!((plan.dialect.header_rows, plan.dialect.columns[0].as_str()), (0, "column_1"));
    assert_eq!(kept.len(), 3);
}

#[test]
fn surplus_empty_cells_of_a_header_do_not_shift_the_names() {
    for header in [",id,name,price", "id,,name,price", "id,name,,price", "id,name,price,", "id,,name, ,price"]
    {
        let (_, columns, rows, _) = table(&format!("{header}\n{ROWS}"));
        assert_eq!((columns, rows.len()), (vec!["id".into(), "name".into(), "price".into()], 3), "{header}");
    }
}

#[test]
fn an_empty_cell_of_a_header_that_fits_its_rows_is_a_column() {
    let (_, columns, rows, _) = table("id,,price\n1,Ann,2.5\n2,Bob,3.5\n3,Cy,4.5\n");
    assert_eq!((columns, rows.len()), (vec!["id".into(), "column_2".into(), "price".into()], 3));
    // Rows whose empty cells at the end were left out: some have the header's width.
    let text = "id,,name,price\n1,x,Ann\n2,y,Bob\n3,z,Cy\n4,x,Di,2.5\n5,y,Ed,3.5\n";
    assert_eq!(table(text).1, ["id", "column_2", "name", "price"]);
    // More cells too many than empty ones.
    assert_eq!(table(&format!("id,,name,price,unit\n{ROWS}")).1, ["id", "column_2", "name"]);
}

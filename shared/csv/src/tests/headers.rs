//! Header or not: the expected decision for tables with names of numbers, and for tables without a header.

use super::*;

/// Rows of one label and values that nothing could take for names.
fn rows(first: &str, count: usize, value: impl Fn(usize, usize) -> String, width: usize) -> String {
    let mut text = format!("{first}\n");
    for row in 0..count {
        let cells: Vec<String> = (0..width).map(|column| value(row, column)).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

/// A name in the first column, amounts of one to three digits in the others.
fn amounts(row: usize, column: usize) -> String {
    if column == 0 {
        format!("Item {row}")
    } else {
        ((row * 37 + column * column * 53) % 900 + 7).to_string()
    }
}

fn fractions(row: usize, column: usize) -> String {
    if column == 0 { format!("Item {row}") } else { format!("{}.{}5", (row * 7 + column * 3) % 10, row % 10) }
}

fn fractions_only(row: usize, column: usize) -> String {
    format!("{}.{}5", (row * 7 + column * 3) % 10, (row + column) % 10)
}

#[test]
fn a_header_is_told_from_a_row() {
    let list = |from: usize, to: usize, step: usize| {
        (from..=to).step_by(step).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
    };
    let cases: Vec<(&str, String, u32)> = vec![
        // Names that are numbers.
        (
            "years",
            "country,2019,2020,2021\nFrance,100,200,300\nSpain,110,190,320\nItaly,90,95,99\n".into(),
            1,
        ),
        ("years over one row", "country,2019,2020,2021\nFrance,100,200,300\n".into(), 1),
        ("two years", "country,2019,2020\nFrance,100,200\nSpain,110,190\nItaly,90,95\n".into(), 1),
        (
            "two columns of text",
            "country,code,2019,2020\nFrance,FR,1,2\nSpain,ES,11,19\nItaly,IT,9,9\n".into(),
            1,
        ),
        (
            "a typed column beside them",
            "name,id,2019,2020\nFrance,1,10,20\nSpain,2,11,19\nItaly,3,9,5\n".into(),
            1,
        ),
        (
            "years downwards",
            "country,2021,2020,2019\nFrance,1.5,2.5,3\nSpain,1,2,3.5\nItaly,4,5,6.5\n".into(),
            1,
        ),
        ("every fifth year", rows(&format!("region,{}", list(1990, 2020, 5)), 9, amounts, 8), 1),
        (
            "years above thousands",
            rows(
                &format!("region,{}", list(2000, 2012, 1)),
                9,
                |row, column| {
                    if column == 0 {
                        format!("R{row}")
                    } else {
                        (row * 911 + column * 377 + 1200).to_string()
                    }
                },
                14,
            ),
            1,
        ),
        ("years alone", "2019,2020,2021\n100,200,300\n110,190,320\n90,95,99\n".into(), 1),
        ("months", "product,2024-01,2024-02,2024-03\nA,10,20,30\nB,11,19,32\nC,9,5,7\n".into(), 1),
        ("months as words", "product,Jan,Feb,Mar\nA,10,20,30\nB,11,19,32\n".into(), 1),
        ("days", "product,2024-01-01,2024-01-02\nA,10,20\nB,11,19\nC,9,5\n".into(), 1),
        ("months as numbers", rows(&format!("product,{}", list(1, 12, 1)), 9, amounts, 13), 1),
        ("months as yyyymm", "product,202401,202402,202403\nA,10,20,30\nB,11,19,32\nC,9,5,7\n".into(), 1),
        ("bins as ranges", "age,0-10,10-20,20-30\nmen,10,20,30\nwomen,11,19,32\nall,21,39,62\n".into(), 1),
        ("even bins", "city,0,10,20,30,40\nBonn,5,3,8,1,9\nKiel,6,2,2,7,1\nUlm,1,1,4,3,3\n".into(), 1),
        ("fractional bins", "run,0.0,0.1,0.2,0.3\nx,5,3,8,1\ny,6,2,2,7\nz,1,1,4,3\n".into(), 1),
        ("growing bins", "host,1,5,10,50,100,500\nx,5,3,8,1,9,2\ny,6,2,2,7,1,4\nz,1,1,4,3,3,9\n".into(), 1),
        ("an empty corner", ",1,2,3\nAnn,4,7,1\nBob,9,2,5\nCy,3,3,8\n".into(), 1),
        (
            "an empty corner above an index",
            ",0,1,2,3\n0,0.5,0.1,0.9,0.2\n1,0.4,0.3,0.3,0.1\n2,0.2,0.8,0.1,0.6\n".into(),
            1,
        ),
        (
            "identifiers",
            "sample,10023,10477,11002\nheight,1.5,2.25,3.5\nwidth,2.5,1.25,0.5\ndepth,0.5,9.75,1\n".into(),
            1,
        ),
        ("identifiers above small numbers", rows("gene,48213,77120,50911,61234", 9, amounts, 5), 1),
        ("positions above fractions", rows("0,1,2,3,4", 9, fractions_only, 5), 1),
        ("positions", rows(&format!("name,{}", list(1, 40, 1)), 9, fractions, 41), 1),
        (
            "two rows of names",
            "country,2019,2020\n,EUR,USD\nFrance,100,200\nSpain,110,190\nItaly,90,95\n".into(),
            2,
        ),
        // Tables without a header.
        ("numbers only", "1,2,3\n4,5,6\n7,8,9\n10,11,12\n".into(), 0),
        ("numbers only, two columns", "1,2.5\n2,3.5\n3,4.5\n".into(), 0),
        ("amounts only", "100,200,300\n110,190,320\n90,95,99\n47,12,8\n".into(), 0),
        ("a name and amounts", rows("Item 99,120,240,361", 9, amounts, 4), 0),
        ("a name and even amounts", "Ann,1,2,3\nBob,2,3,4\nCy,5,6,7\nDi,1,2,3\n".into(), 0),
        ("names and years", "Ann,1990,2020\nBob,1985,2019\nCy,1970,2021\nDi,2001,2022\n".into(), 0),
        ("a year among the values", "2019,5,7\n2020,6,1\n2021,9,3\n".into(), 0),
        ("dates and values", "2024-01-01,5,7\n2024-01-02,6,1\n2024-01-03,9,3\n".into(), 0),
        ("dates only", "2024-01-01,2024-02-01\n2024-01-02,2024-02-02\n2024-01-03,2024-02-03\n".into(), 0),
        ("identifiers and values", "10023,1.5\n10477,2.25\n11002,3.5\n11003,4.5\n".into(), 0),
        ("identifiers and names", "10023,Ann\n10477,Bob\n11002,Cy\n11003,Di\n".into(), 0),
        ("years in every row", "Ann,2019,2020,2021\nBob,2018,2019,2020\nCy,2017,2018,2019\n".into(), 0),
        ("text whose first row is repeated", "red,big\nblue,big\nred,small\nblue,small\n".into(), 0),
        ("timestamps and values", "1700000000,1\n1700000060,2\n1700000120,3\n1700000180,4\n".into(), 0),
        // Headers as they were decided before.
        ("names above numbers", "id,amount\n1,2.5\n2,3.5\n".into(), 1),
        ("names above text", "name,city\nAnn,Bonn\nBob,Kiel\n".into(), 1),
        ("names above dates", "id,day\n1,2024-01-01\n2,2024-01-02\n".into(), 1),
    ];
    assert!(cases.len() >= 25);
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(name, text, expected)| {
            let found = read(text.as_bytes()).0.dialect;
            let is_wrong = found.header_rows != *expected || found.delimiter != ",";
            is_wrong.then(|| format!("{name}: {} rows, {:?}", found.header_rows, found.delimiter))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_that_are_numbers_are_the_column_names() {
    let (plan, kept) = read(b"country,2019,2020\nFrance,100,200\nSpain,110,190\n");
    assert_eq!(plan.dialect.columns, ["country", "2019", "2020"]);
    assert_eq!(briefs(&kept), [["France", "100", "200"], ["Spain", "110", "190"]]);
}

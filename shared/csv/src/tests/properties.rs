use proptest::prelude::*;

use super::*;

fn declared(delimiter: u8, quote: u8) -> Declared {
    Declared {
        encoding: Some("utf-8".into()),
        delimiter: Some((delimiter as char).into()),
        quote: Some(Mark::Byte(quote)),
        escape: Some(Mark::None),
        comment: Some(Mark::None),
        header: Some(DeclaredHeader::Rows(1)),
        skip_lines: Some(0),
    }
}

/// Cells with every character that has a meaning somewhere.
fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
    (1usize..6).prop_flat_map(|width| {
        proptest::collection::vec(proptest::collection::vec("[a-c0-2 ,;|\t\"'\n\r\\\\ë]{0,6}", width), 0..12)
    })
}

fn write(rows: &[Vec<String>], delimiter: u8, quote: u8, style: csv::QuoteStyle, crlf: bool) -> Vec<u8> {
    let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
    let mut builder = csv::WriterBuilder::new();
    builder.delimiter(delimiter).quote(quote).quote_style(style).terminator(terminator).has_headers(false);
    let mut writer = builder.from_writer(Vec::new());
    if let Some(first) = rows.first() {
        writer.write_record((1..=first.len()).map(|n| format!("c{n}"))).unwrap();
    }
    for row in rows {
        writer.write_record(row).unwrap();
    }
    writer.into_inner().unwrap()
}

/// Damaged CSV: the characters with a meaning, in any order.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(
        prop_oneof![
            4 => proptest::sample::select(&b"ab,,\"\"\n\r"[..]),
            1 => any::<u8>(),
        ],
        0..200,
    )
}

/// Reads what comes in steps of `step` bytes, and where each record begins.
fn read_in_steps(
    bytes: &[u8],
    step: usize,
    declared: &Declared,
    limits: &CsvLimits,
) -> Result<(Plan, Vec<Kept>, Vec<CsvPosition>)> {
    let mut opened =
        open(Dribble { bytes, step }, declared, limits, Ragged::Reject, InvalidCharacters::Reject)?;
    let (mut kept, mut positions) = (Vec::new(), Vec::new());
    loop {
        positions.push(opened.records.position());
        match opened.records.next()? {
            Some(record) => kept.push(keep(record)),
            None => return Ok((opened.plan, kept, positions)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_csv_writer_wrote_comes_back(
        rows in table(),
        delimiter in proptest::sample::select(&b",;\t|"[..]),
        quote in proptest::sample::select(&b"\"'"[..]),
        always in any::<bool>(),
        crlf in any::<bool>(),
    ) {
        let style = if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
        // The writer leaves the other line end bare when it writes only one of them.
        let bytes = write(&rows, delimiter, quote, style, crlf);
        let (_, kept) = read_as(&bytes, &declared(delimiter, quote), &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject);
        prop_assert_eq!(briefs(&kept), rows);
    }

    #[test]
    fn the_size_of_reads_changes_nothing(bytes in damaged(), step in 1usize..40) {
        let limits = CsvLimits { max_record_bytes: 40, ..CsvLimits::default() };
        let whole = read_in_steps(&bytes, usize::MAX, &declared(b',', b'"'), &limits).unwrap();
        let pieces = read_in_steps(&bytes, step, &declared(b',', b'"'), &limits).unwrap();
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn a_restart_at_any_record_gives_the_rest(bytes in damaged()) {
        let limits = CsvLimits { max_record_bytes: 40, ..CsvLimits::default() };
        let (plan, kept, positions) = read_in_steps(&bytes, usize::MAX, &declared(b',', b'"'), &limits).unwrap();
        for (index, position) in positions.iter().enumerate() {
            let from = resume_offset(&plan, *position) as usize;
            let mut records =
                reopen(&bytes[from..], &plan, &limits, Ragged::Reject, InvalidCharacters::Reject, *position).unwrap();
            prop_assert_eq!(&drain(&mut records).unwrap()[..], &kept[index.min(kept.len())..]);
        }
    }

    #[test]
    fn any_bytes_are_read_to_the_end_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok((_, kept, positions)) = read_in_steps(&bytes, 7, &Declared::default(), &CsvLimits::default()) {
            prop_assert!(positions.windows(2).all(|pair| pair[0].offset < pair[1].offset || kept.is_empty() || pair[1] == positions[positions.len() - 1]));
        }
    }

    #[test]
    fn every_line_that_is_not_blank_is_accounted_for(bytes in damaged()) {
        let (plan, kept, _) = read_in_steps(&bytes, usize::MAX, &declared(b',', b'"'), &CsvLimits::default()).unwrap();
        let seen: usize = kept
            .iter()
            .map(|kept| match kept {
                Kept::Row { raw, .. } => raw.replace(['\n', '\r', ' ', '\t'], "").chars().count(),
                Kept::Reject(reject) => {
                    String::from_utf8_lossy(&reject.raw).replace(['\n', '\r', ' ', '\t'], "").chars().count()
                }
            })
            .sum();
        let data = &bytes[plan.dialect.data_offset as usize..];
        let there = String::from_utf8_lossy(data).replace(['\n', '\r', ' ', '\t'], "").chars().count();
        prop_assert_eq!(seen, there);
    }

    #[test]
    fn a_generated_table_is_detected(
        rows in proptest::collection::vec(("[a-z]{3,8}", 0u32..100_000, "[a-z]{2,6}( [a-z]{2,6}){0,3}"), 6..40),
        delimiter in proptest::sample::select(&[",", ";", "\t", "|", ", ", "||", "::", "^", "~", "\u{1f}"][..]),
        end in proptest::sample::select(&["\n", "\r\n", "\r"][..]),
        header in any::<bool>(),
    ) {
        let mut text = String::new();
        if header {
            text.push_str(&["code", "count", "note"].join(delimiter));
            text.push_str(end);
        }
        for (code, count, note) in &rows {
            text.push_str(&[code.as_str(), &count.to_string(), note].join(delimiter));
            text.push_str(end);
        }
        let (plan, kept) = read(text.as_bytes());
        prop_assert_eq!(plan.dialect.delimiter.as_str(), delimiter);
        prop_assert_eq!(plan.dialect.header_rows, u32::from(header));
        prop_assert_eq!(kept.len(), rows.len());
    }

    #[test]
    fn a_compressed_file_is_resumed_at_any_record(rows in table()) {
        let bytes = write(&rows, b',', b'"', csv::QuoteStyle::Necessary, false);
        let packed = zstd::stream::encode_all(&bytes[..], 1).unwrap();
        let (plan, kept, positions) =
            read_in_steps(&packed, 5, &declared(b',', b'"'), &CsvLimits::default()).unwrap();
        for (index, position) in positions.iter().enumerate() {
            let mut records =
                reopen(&packed[..], &plan, &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject, *position).unwrap();
            prop_assert_eq!(&drain(&mut records).unwrap()[..], &kept[index.min(kept.len())..]);
        }
    }
}

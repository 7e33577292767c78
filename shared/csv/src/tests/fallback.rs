//! Records that are not UTF-8 below a sample that is ASCII.

use super::*;

/// A file that is ASCII in its first MiB, with records of every kind below.
fn file() -> Vec<u8> {
    let mut bytes = b"id,name,note\n".to_vec();
    while bytes.len() < (1 << 20) + 100 {
        bytes.extend_from_slice(b"1,Ann,an ordinary line of the sample that is repeated\n");
    }
    bytes.extend_from_slice(b"2,Zo\xeb,caf\xe9 \x80\n");
    bytes.extend_from_slice("3,Zoë,valid UTF-8\n".as_bytes());
    bytes.extend_from_slice(b"4,\x93quoted\x94,x\n");
    bytes.extend_from_slice(b"5,broken \x81\x9d,x\n");
    bytes.extend_from_slice(b"6,\xe9,too,many\n");
    bytes.extend_from_slice(b"7,\"5\" \xe9\",x\n");
    bytes.extend_from_slice(b"8,a\0\xe9,x\n");
    bytes.extend_from_slice(b"9,Bob,end\n");
    bytes
}

fn last(kept: &[Kept]) -> Vec<Vec<String>> {
    briefs(&kept[kept.len() - 8..])
}

#[test]
fn a_record_that_is_not_utf8_is_read_as_windows_1252_and_counted_by_its_rule() {
    let (plan, kept) = read(&file());
    assert_eq!((plan.encoding.as_str(), plan.fallback_encoding.as_deref()), ("UTF-8", Some("windows-1252")));
    assert_eq!(
        last(&kept),
        [
            vec!["2", "Zoë", "café €"],
            vec!["3", "Zoë", "valid UTF-8"],
            vec!["4", "“quoted”", "x"],
            vec!["!invalid_utf8"],
            vec!["!wrong_column_count"],
            vec!["7", "5\" é", "x"],
            vec!["!nul_character"],
            vec!["9", "Bob", "end"],
        ]
    );
    let rules: Vec<Option<&str>> = kept[kept.len() - 8..]
        .iter()
        .map(|kept| match kept {
            Kept::Row { repaired, .. } => *repaired,
            Kept::Reject(_) => None,
        })
        .collect();
    let fallback = Some("windows_1252");
    assert_eq!(rules, [fallback, None, fallback, None, None, fallback, None, None]);
}

#[test]
fn a_row_read_as_windows_1252_keeps_its_raw_bytes() {
    let bytes = file();
    let mut opened = open(
        &bytes[..],
        &Declared::default(),
        &CsvLimits::default(),
        Ragged::Reject,
        InvalidCharacters::Reject,
    )
    .unwrap();
    let mut raw = Vec::new();
    while let Some(record) = opened.records.next().unwrap() {
        if let CsvRecord::Row(row) = record
            && row.repaired == Some("windows_1252")
        {
            raw.push(row.raw.to_vec());
        }
    }
    assert_eq!(raw, [&b"2,Zo\xeb,caf\xe9 \x80"[..], b"4,\x93quoted\x94,x", b"7,\"5\" \xe9\",x"]);
}

#[test]
fn a_load_resumed_at_any_record_reads_it_the_same() {
    let bytes = file();
    for (bytes, name) in
        [(bytes.clone(), "plain"), (zstd::stream::encode_all(&bytes[..], 1).unwrap(), "zstd")]
    {
        let (plan, kept) = read(&bytes);
        let stored: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        for index in kept.len() - 9..kept.len() {
            let position = match &kept[index] {
                Kept::Row { position, .. } => *position,
                Kept::Reject(reject) => reject.position,
            };
            let from = resume_offset(&stored, position) as usize;
            let mut records = reopen(
                &bytes[from..],
                &stored,
                &CsvLimits::default(),
                Ragged::Reject,
                InvalidCharacters::Reject,
                position,
            )
            .unwrap();
            assert_eq!(drain(&mut records).unwrap(), kept[index..], "{name}");
        }
    }
}

#[test]
fn other_files_reject_such_records_as_before() {
    let ascii = file();
    let utf8 = Declared { encoding: Some("utf-8".into()), ..Declared::default() };
    let (plan, kept) =
        read_as(&ascii, &utf8, &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject);
    assert_eq!(plan.fallback_encoding, None);
    assert_eq!(last(&kept)[0], ["!invalid_utf8"]);
    // The sample shows UTF-8.
    let mut marked = "\u{feff}".as_bytes().to_vec();
    marked.extend_from_slice(&ascii);
    assert_eq!(last(&read(&marked).1)[0], ["!invalid_utf8"]);
    let accented = [&b"id,name,note\n0,Zo\xc3\xab,x\n"[..], &ascii[13..]].concat();
    assert_eq!(last(&read(&accented).1)[0], ["!invalid_utf8"]);
}

#[test]
fn a_declared_encoding_reads_all_records_in_it() {
    let declared = Declared { encoding: Some("windows-1252".into()), ..Declared::default() };
    let (_, kept) =
        read_as(&file(), &declared, &CsvLimits::default(), Ragged::Reject, InvalidCharacters::Reject);
    assert_eq!(last(&kept)[0], ["2", "Zoë", "café €"]);
    assert!(matches!(&kept[kept.len() - 8], Kept::Row { repaired: None, .. }));
}

#[test]
fn bytes_that_no_encoding_explains_are_replaced_when_asked_for() {
    let (_, kept) = read_as(
        &file(),
        &Declared::default(),
        &CsvLimits::default(),
        Ragged::Reject,
        InvalidCharacters::Replace,
    );
    assert_eq!(last(&kept)[3], ["5", "broken \u{fffd}\u{fffd}", "x"]);
    assert_eq!(last(&kept)[6], ["8", "a\u{fffd}é", "x"]);
}

#[test]
fn a_plan_stored_before_the_fallback_existed_is_read_and_rejects() {
    let stored = r#"{"compression":"none","encoding":"UTF-8","dialect":{"delimiter":",","quote":34,"escape":null,
        "terminator":"lf","comment":null,"skip_lines":0,"header_rows":1,"columns":["id","name","note"],
        "data_offset":13,"data_line":2}}"#;
    let plan: Plan = serde_json::from_str(stored).unwrap();
    assert_eq!(plan.fallback_encoding, None);
    let bytes = file();
    let position = plan.dialect.start();
    let from = resume_offset(&plan, position) as usize;
    let mut records = reopen(
        &bytes[from..],
        &plan,
        &CsvLimits::default(),
        Ragged::Reject,
        InvalidCharacters::Reject,
        position,
    )
    .unwrap();
    assert_eq!(last(&drain(&mut records).unwrap())[0], ["!invalid_utf8"]);
}

//! Files that are hostile to the reader: endless lines, decompression bombs, line ends at chunk ends.

use std::collections::BTreeSet;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use millrace::dead_letter::{DeadLetter, DeadLetterKind, Payload};
use millrace_tests::postgres::number;
use millrace_tests::runtime_api::Function;
use serde_json::Value;

use crate::stack::{LONG, Stack, accepted, orders};

/// The additional memory that a load may use, compared with a small file.
const MEMORY: u64 = 64 << 20;

/// The function after loading a file of ordinary records, and its peak memory.
async fn warmed(stack: &Stack, settings: &[(&str, &str)]) -> (Function, u64) {
    let function = stack.function(settings).await;
    let event = stack.aws.put("incoming/shop/warm/a.csv", orders(10_000)).await;
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted());
    let memory = function.peak_memory();
    (function, memory)
}

async fn load(stack: &Stack, function: &Function, key: &str, body: impl Into<Vec<u8>>) {
    let event = stack.aws.put(key, body).await;
    assert_eq!(function.invoke(&event, LONG).await.response(), accepted(), "{key}");
    // On a busy machine a load may use up its time. It then sends a continuation to the upload queue.
    loop {
        let continuations = stack.aws.continuations().await;
        if continuations.is_empty() {
            return;
        }
        for event in continuations {
            assert_eq!(function.invoke(&event, LONG).await.response(), accepted(), "{key}");
        }
    }
}

/// The dead letters of one object.
async fn dead_letters(stack: &Stack, key: &str) -> Vec<DeadLetter> {
    let all = stack.aws.dead_letters().await;
    all.into_iter().filter(|dead_letter| dead_letter.origin.key.as_deref() == Some(key)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_200_megabytes_is_a_dead_letter_and_costs_no_memory() {
    const LENGTH: usize = 200 << 20;
    let stack = Stack::new().await;
    let (function, before) = warmed(&stack, &[]).await;
    // As the only line, it leaves the columns unknown.
    let only = "incoming/shop/only/a.csv";
    load(&stack, &function, only, vec![b'x'; LENGTH]).await;
    let found = dead_letters(&stack, only).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind, found[0].reason.code.as_str()), (DeadLetterKind::Upload, "header_too_long"));
    // Between other lines it is one bad record, and the others are rows.
    let between = "incoming/shop/between/a.csv";
    let mut file = b"id,name\n1,first\n2,".to_vec();
    let offset = file.len() as u64 - 2;
    file.resize(file.len() + LENGTH, b'x');
    file.extend_from_slice(b"\n3,last\n");
    load(&stack, &function, between, file).await;
    let found = dead_letters(&stack, between).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind, found[0].reason.code.as_str()), (DeadLetterKind::Rows, "record_too_long"));
    assert_eq!((found[0].origin.line, found[0].origin.offset), (Some(3), Some(offset)));
    assert!(matches!(found[0].payload, Payload::Pointer { .. }), "over the queue's limit");
    let rows = "select count(*) from raw_events where event_type = 'between'";
    assert_eq!(number(&stack.owner, rows).await, 2);
    let grown = function.peak_memory() - before;
    assert!(grown < MEMORY, "{grown} bytes more");
}

/// Returns `head` and `member` repeated. gzip members may be concatenated.
fn bomb(head: &str, member: &[u8], times: usize) -> Vec<u8> {
    let compress = |bytes: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(bytes).expect("compress");
        gzip.finish().expect("compress")
    };
    let mut file = compress(head.as_bytes());
    file.extend(compress(member).repeat(times));
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_bomb_stops_at_the_cap() {
    let stack = Stack::new().await;
    let (function, before) = warmed(&stack, &[]).await;
    let zeros = bomb("", &vec![0; 10 << 20], 1_024);
    assert!((5 << 20..20 << 20).contains(&zeros.len()), "{} bytes", zeros.len());
    let row = format!("{},0\n", "0".repeat(16_381));
    let rows = bomb("a,b\n", row.repeat(640).as_bytes(), 1_024);
    for (key, body, code) in [
        // Zeros are not text, in any number.
        ("incoming/shop/zeros/a.csv.gz", zeros, "not_text"),
        ("incoming/shop/rows/a.csv.gz", rows.clone(), "decompression_bomb"),
        // One record without an end.
        ("incoming/shop/line/a.csv.gz", bomb("a,b\n1,2\n3,", &[b'0'; 10 << 20], 1_024), "decompression_bomb"),
    ] {
        load(&stack, &function, key, body).await;
        let found = dead_letters(&stack, key).await;
        assert_eq!(found.len(), 1, "{key}");
        assert_eq!((found[0].kind, found[0].reason.code.as_str()), (DeadLetterKind::Upload, code), "{key}");
    }
    let grown = function.peak_memory() - before;
    assert!(grown < MEMORY, "{grown} bytes more");
    // The cap and the ratio are settings.
    let settings = [
        ("MILLRACE_MAX_COMPRESSION_RATIO", "100000"),
        ("MILLRACE_MAX_DECOMPRESSED_BYTES", "2MiB"),
        ("MILLRACE_CHUNK_ROWS", "10"),
    ];
    let function = stack.function(&settings).await;
    load(&stack, &function, "incoming/shop/capped/a.csv.gz", rows).await;
    let found = dead_letters(&stack, "incoming/shop/capped/a.csv.gz").await;
    assert_eq!(
        found.iter().map(|dead_letter| dead_letter.reason.code.as_str()).collect::<Vec<_>>(),
        ["decompression_bomb"]
    );
    // Staged rows stay and are counted. No more bytes are read than the cap allows.
    let staged = number(&stack.owner, "select count(*) from raw_events where event_type = 'capped'").await;
    assert!((1..=128).contains(&staged), "{staged} rows");
    let differing = "select count(*) from staging.loads join staging.load_results using (load_id)
         where record_count <> (select coalesce(sum(read_count), 0) from staging.batches where load_id = loads.load_id)";
    assert_eq!(number(&stack.owner, differing).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn line_ends_within_quotes_give_the_same_rows_at_every_chunk_size() {
    let stack = Stack::new().await;
    let mut file = "id,text,more\r\n".to_owned();
    for row in 0..11 {
        file.push_str(&match row % 4 {
            0 => format!("{row},\"one\n\ntwo\r\n\",\"\n\"\r\n"),
            1 => format!("{row},\"a \"\"quote\"\"\n{row},not,a record\",x\n"),
            2 => format!("{row},plain,\"\"\r\n"),
            _ => format!("\"{row}\",\"{}\",\n", "line\n".repeat(row)),
        });
    }
    let mut expected: Option<Vec<Value>> = None;
    for size in 1..=12 {
        let function = stack.function(&[("MILLRACE_CHUNK_ROWS", &size.to_string())]).await;
        let event_type = format!("chunks_of_{size}");
        load(&stack, &function, &format!("incoming/shop/{event_type}/a.csv"), file.clone()).await;
        let rows = stack
            .owner
            .query(
                "select payload from raw_events where event_type = $1 order by (payload->>'id')::int",
                &[&event_type],
            )
            .await
            .expect("read raw_events");
        let rows: Vec<Value> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(rows.len(), 11);
        assert_eq!(rows[1]["text"], "a \"quote\"\n1,not,a record");
        assert_eq!(&rows, expected.get_or_insert_with(|| rows.clone()), "chunks of {size}");
        let batches = stack
            .owner
            .query_one("select count(*) from staging.batches where event_type = $1", &[&event_type])
            .await
            .expect("count batches");
        assert_eq!(batches.get::<_, i64>(0), (11 + size - 1) / size, "chunks of {size}");
    }
    assert!(stack.aws.dead_letters().await.is_empty());
    let starts =
        stack.owner.query("select first_record from staging.batches where event_type = 'chunks_of_1'", &[]);
    let starts = starts.await.expect("read the ledger");
    assert_eq!(starts.iter().map(|row| row.get::<_, i64>(0)).collect::<BTreeSet<_>>().len(), 11);
}

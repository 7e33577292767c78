//! Peak memory of ingest-csv: it does not grow with the size of the file.

use std::time::Duration;

use crate::flights;
use crate::stack::Stack;
use crate::table::{mebibytes, print, thousands};

const SIZES: [(&str, u64); 3] = [("10 MB", 10_000_000), ("100 MB", 100_000_000), ("1 GB", 1_000_000_000)];

pub async fn run() {
    let stack = Stack::start().await;
    let mut rows = Vec::new();
    for (name, bytes) in SIZES {
        let file = stack.directory.path().join("flights.csv");
        let count = flights::write(&file, bytes);
        let event = stack.put(&file, "incoming/nyc/flights/flights.csv").await;
        stack.reset().await;
        // Each file has its own process, because the peak never decreases.
        let function = stack.function(&[]).await;
        let took: Duration = stack.load(&function, &event, count).await;
        eprintln!("{name}: {:.1} s", took.as_secs_f64());
        rows.push(vec![
            name.to_owned(),
            thousands(count as f64),
            thousands(count as f64 / took.as_secs_f64()),
            mebibytes(function.peak_memory()),
        ]);
    }
    print(
        &format!("Peak resident memory of ingest-csv, defaults, two connections\n{}", stack.describe().await),
        &["file", "rows", "rows/s", "peak memory"],
        &rows,
    );
}

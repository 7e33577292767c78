//! Compares the defaults that the documents state with the defaults of the code.
//!
//! A stated default is correct if setting it changes nothing: the settings that the code reads are the same with the stated
//! value and without any value.

mod environment;
mod models;
mod sources;
mod table;
mod template;

use std::path::Path;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

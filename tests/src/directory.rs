//! The directories of the servers that the tests of a process share.

use std::path::Path;

use tempfile::{Builder, TempDir};

const PREFIX: &str = "millrace-tests-";

/// A directory for a server. A process cannot remove the directories of its shared servers when it ends, so each process
/// first removes those of processes that have ended.
pub fn server_directory() -> TempDir {
    let (parent, processes) = (std::env::temp_dir(), Path::new("/proc"));
    for entry in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if processes.is_dir() && process.is_some_and(|process| !processes.join(process).exists()) {
            // Another process may be removing it too.
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
    let prefix = format!("{PREFIX}{}-", std::process::id());
    Builder::new().prefix(&prefix).tempdir_in(parent).expect("a directory for a server")
}

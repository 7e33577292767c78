//! Signals to processes.

use std::process::Command;

/// Sends a signal by its name: `INT`, `STOP`. The shell's own `kill` is used, because some machines have no other.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {pid}")]).status().expect("a shell");
    assert!(sent.success(), "kill -s {name} {pid}: {sent}");
}

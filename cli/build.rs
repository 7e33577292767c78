//! Sets `MILLRACE_VERSION`: the version of the package, and the commit if the sources are a git checkout.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let version = env!("CARGO_PKG_VERSION");
    match commit() {
        Some(commit) => println!("cargo::rustc-env=MILLRACE_VERSION={version} ({commit})"),
        None => println!("cargo::rustc-env=MILLRACE_VERSION={version}"),
    }
}

/// The short hash of the commit, and a Cargo directive for each file that changes with it.
fn commit() -> Option<String> {
    // A source archive may be extracted inside another repository, whose commit is not that of the sources.
    if git(&["rev-parse", "--show-prefix"])? != "cli/" {
        return None;
    }
    // A detached HEAD has no ref, and a packed ref has no file. Then only the log of HEAD changes.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD"].into_iter().chain(branch.as_deref()) {
        // If a listed file does not exist, Cargo runs this script at every build.
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short", "HEAD"])
}

/// The output of git in this folder; `None` if git or the repository is missing.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

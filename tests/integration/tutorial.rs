//! Runs docs/tutorial.md from top to bottom: starts the local stack in a checkout of its own, runs each command and
//! compares each output with the page.
//!
//! `<!-- Ctrl-C -->` stops the stack.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use millrace_cli::checkout::Checkout;
use millrace_tests::page::{Page, Terminal};
use millrace_tests::process::signal;
use millrace_tests::runtime_api::binary;
use tempfile::TempDir;

const CTRL_C: &str = "<!-- Ctrl-C -->";

/// A folder with everything that the page uses of a checkout: copies of what it changes, links to what is built.
fn checkout() -> TempDir {
    let found = Checkout::find().expect("the checkout");
    let folder = TempDir::new().expect("a folder");
    let (from, to) = (found.root(), folder.path());
    // PostgreSQL runs as another user when the tests run as root.
    fs::set_permissions(to, Permissions::from_mode(0o755)).expect("open the folder");
    for name in ["bin", "infra", "target/debug"] {
        fs::create_dir_all(to.join(name)).expect("a folder");
    }
    for name in [".tools", "target/lambda"] {
        symlink(from.join(name), to.join(name)).expect("a link");
    }
    symlink(binary("millrace"), to.join("target/debug/millrace")).expect("a link");
    for name in ["Cargo.lock", "infra/samconfig.toml"] {
        fs::copy(from.join(name), to.join(name)).expect(name);
    }
    copy(&found.pipeline(), &to.join("pipeline"));
    copy(&found.pipeline(), &to.join("target/layer/pipeline"));

    // A scheduled transform between two commands would change the output of the second.
    let template = fs::read_to_string(found.infra().join("template.yaml")).expect("the template");
    let schedule = |state| format!("  TransformScheduleState:\n    Type: String\n    Default: {state}\n");
    let disabled = template.replace(&schedule("ENABLED"), &schedule("DISABLED"));
    assert_ne!(disabled, template, "the schedule of transform");
    fs::write(to.join("infra/template.yaml"), disabled).expect("write the template");

    // The test run has built everything, so `make dev` only starts the stack. The folder is no clone: git has nothing to
    // restore from.
    for (name, script) in [("make", "exec target/debug/millrace \"$@\""), ("git", "")] {
        let path = to.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect(name);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect(name);
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let (path, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).expect("a copy");
        }
    }
}

/// Kills the server of the stack with SIGKILL, as the kernel does when memory runs out.
fn kill_database(folder: &Path) {
    let file = fs::read_to_string(folder.join(".millrace/postgres/data/postmaster.pid")).expect("a server");
    signal(file.lines().next().and_then(|pid| pid.parse().ok()).expect("its pid"), "KILL");
}

#[tokio::test]
async fn the_tutorial_shows_what_happens_and_the_stack_survives_its_database() {
    let folder = checkout();
    let programs = folder.path().join("bin");
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let mut terminal = Terminal::new(folder.path(), vec![("PATH".to_owned(), path)]);
    let count = Page::read("docs/tutorial.md")
        .run(&[CTRL_C], async |block| match block.info.as_str() {
            CTRL_C => {
                kill_database(folder.path());
                terminal.wait_for("database   unavailable, waiting for it").await?;
                terminal.wait_for("database   available again").await?;
                terminal.interrupt().await
            }
            _ => terminal.follow(block).await,
        })
        .await;
    assert!(count > 40, "{count} blocks");
}

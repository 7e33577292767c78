//! The arguments of the program.
//!
//! The doc comments are the text of `--help`, whose paragraphs clap wraps. Examples are in `after_help`, in lines of at most
//! 80 columns.

pub mod dead_letters;
pub mod models;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use http::{HeaderName, HeaderValue};

use dead_letters::DeadLetters;
use models::Models;
use values::{duration, header, key_part, key_suffix};

/// Wider lines are hard to read, and the examples are written for this width.
const HELP_WIDTH: usize = 80;

/// Load CSV files from S3 and webhooks into PostgreSQL, exactly once
#[derive(Debug, Parser)]
#[command(name = "millrace", version = env!("MILLRACE_VERSION"))]
#[command(max_term_width = HELP_WIDTH, disable_help_subcommand = true)]
#[command(after_help = "\
Start with `make demo`. Variables that are not set come from .millrace/env.
Exit codes: 0 done, 1 done with a bad result, 2 failed, 3 stopped or timed out.")]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the local stack until Ctrl-C
    ///
    /// The local stack is a PostgreSQL server, an emulator of AWS (MiniStack) and the deployed functions. The server is that
    /// of DATABASE_URL if it is set, else one that is started with the binaries that `make` installs. The command prints a
    /// line for each load that ends.
    ///
    /// While it runs, .millrace/env contains its variables for AWS clients, curl and psql. The data stays in .millrace/ when
    /// the stack stops: remove that folder to start with an empty one.
    #[command(after_help = "\
Examples, in another terminal:
    set -a; . .millrace/env; set +a
    psql \"$DATABASE_URL\" -c 'select * from raw_events limit 5'
    aws s3 cp orders.csv \"s3://$MILLRACE_BUCKET/incoming/shop/orders/\"")]
    Dev,

    /// Load sample files and webhooks, and show the result
    ///
    /// Two CSV files and signed webhooks go through the local stack into PostgreSQL; SQL models make facts of them. Uses the
    /// stack of a running `millrace dev`, else starts one and stops it at the end.
    Demo,

    /// Apply the migrations to the database
    ///
    /// The database is that of DATABASE_URL, else that of the local stack. An applied migration is never applied again, also
    /// when several commands run concurrently.
    #[command(after_help = "\
Examples:
    millrace migrate --dry-run
    millrace migrate --check && echo up to date")]
    Migrate(Migrate),

    /// Upload a CSV file and follow it until its rows are stored
    ///
    /// The file is stored in the bucket at incoming/SOURCE/EVENT_TYPE/NAME. A file whose name ends with .gz or .zst is
    /// decompressed when it is loaded.
    ///
    /// Exits with 1 if the load failed or was stopped, and with 3 if it has not ended after --timeout. The load continues
    /// then.
    #[command(after_help = "\
Examples:
    millrace put orders.csv --source shop --event-type orders
    millrace put big.csv.gz --source shop --event-type orders --no-wait
    millrace put a.csv --source shop --event-type orders --key-suffix 2026/a.csv")]
    Put(Put),

    /// Show what is loaded, and whether the counts reconcile
    ///
    /// The first table has a line for each source and event type: rows staged, records rejected, files failed, events
    /// that wait for transform with the age of the oldest, and events in quarantine. The second table has a line for each
    /// model. --wide adds the other counts.
    ///
    /// The counts reconcile when read = staged + rejected, when staging.events has as many rows as the ledger says were
    /// staged, and when a finished load has read as many records as its batches.
    ///
    /// Exits with 1 if the counts do not reconcile.
    #[command(after_help = "\
Examples:
    millrace status
    millrace status --json | jq '.event_types[] | select(.unprocessed > 0)'")]
    Status(Status),

    /// Check the whole stack, and show how to fix each problem
    ///
    /// Checks the files of pipeline/, the secrets of sources, the database (version, migrations, roles, partitions), the
    /// bucket and its queues, the clocks, files that were not loaded, work that does not progress, and whether the counts
    /// reconcile. It changes nothing without --load-missing.
    ///
    /// Each check is `ok`, a `warning`, a `problem`, or `unknown` if it could not be made. The command that fixes a
    /// problem is below it, after an arrow.
    ///
    /// Exits with 1 if there is a problem, and with 2 if there is none but a check could not be made.
    #[command(after_help = "\
Examples:
    millrace doctor
    millrace doctor --load-missing
    millrace doctor --json | jq '.findings[] | select(.level == \"problem\")'")]
    Doctor(Doctor),

    /// Sign a file as a sender of webhooks does, and post it
    ///
    /// SOURCE is a source with a webhook in pipeline/sources.toml. The sample has one for each preset, with the name of the
    /// preset. The delivery is posted to $MILLRACE_WEBHOOK_URL/SOURCE, with the header `Host: $MILLRACE_WEBHOOK_HOST` if
    /// that is set. The secret is the one that sources.toml names; `env:` variables are also read from .millrace/env.
    ///
    /// Prints the status and the body of the response. Exits with 1 if the status is not 2xx, and with 3 if there is no
    /// response.
    #[command(after_help = "\
Examples:
    millrace send github push.json --event-type push
    millrace send github push.json --event-type push --id 7
    millrace send stripe invoice.json
    echo '{\"type\": \"user.created\"}' | millrace send standard -")]
    Send(SendWebhook),

    /// Show whether a webhook delivery is accepted, and if not, why
    ///
    /// Give each header and the body exactly as the sender sent them. Prints the expected signature header, how far the
    /// timestamp is off, and whether the body was changed in transit. Never prints a secret.
    ///
    /// Exits with 1 if the delivery is refused.
    #[command(after_help = "\
Examples:
    millrace verify github --body body.json \\
        --header 'X-Hub-Signature-256: sha256=7571…'
    millrace verify stripe --body body.json --at 1614265330 \\
        --header 'Stripe-Signature: t=1614265330,v1=ab12…'")]
    Verify(VerifyWebhook),

    /// Check, deploy, run and test the SQL models
    ///
    /// The files pipeline/models/*.sql turn events into tables of facts, rollups and views.
    #[command(after_help = "\
Examples:
    millrace models check
    millrace models plan
    millrace models run")]
    Models(Models),

    /// List, explain, redrive and drop dead letters
    ///
    /// A dead letter is a file, record, delivery or event that could not be processed, with the reason. Fix the cause, then
    /// redrive it. docs/dead-letters.md explains each reason.
    #[command(after_help = "\
Examples:
    millrace dead-letters list
    millrace dead-letters show 3f0c8a56
    millrace dead-letters redrive --code wrong_type")]
    DeadLetters(DeadLetters),

    /// Print a line for each commit of facts, as it happens
    ///
    /// The lines are the notifications of the channel `millrace` in PostgreSQL. Ctrl-C ends the command.
    Tail,

    /// Print the completion script of a shell
    #[command(after_help = "\
Examples:
    source <(millrace completions bash)         # in ~/.bashrc
    millrace completions zsh > \"${fpath[1]}/_millrace\"
    millrace completions fish > ~/.config/fish/completions/millrace.fish")]
    Completions {
        /// Name of the shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub struct Migrate {
    /// Print the migrations that would be applied, and apply none
    #[arg(long)]
    pub dry_run: bool,
    /// Like --dry-run, and exit with 1 if there is a migration to apply
    #[arg(long, conflicts_with = "dry_run")]
    pub check: bool,
}

#[derive(Debug, Args)]
pub struct Put {
    /// CSV file
    pub file: PathBuf,
    /// Where the data comes from: shop, nyc, …
    #[arg(long, value_parser = key_part)]
    pub source: String,
    /// What the rows are: orders, flights, …
    #[arg(long, value_parser = key_part)]
    pub event_type: String,
    /// End of the key, instead of the name of the file
    #[arg(long, value_name = "KEY", value_parser = key_suffix)]
    pub key_suffix: Option<String>,
    /// Return when the file is in the bucket
    #[arg(long)]
    pub no_wait: bool,
    /// How long to follow the load: 90s, 15m, 2h
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct Status {
    /// Print a JSON object, for programs
    #[arg(long)]
    pub json: bool,
    /// Do not count the rows of staging.events, which is slow in a large database
    #[arg(long)]
    pub quick: bool,
    /// Print every column, whatever the width of the terminal
    #[arg(long, conflicts_with = "json")]
    pub wide: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Print a JSON object, for programs
    #[arg(long)]
    pub json: bool,
    /// Do not count the rows of staging.events, which is slow in a large database
    #[arg(long)]
    pub quick: bool,
    /// Send notifications of files that were not loaded, and of loads without progress, to the upload queue
    #[arg(long)]
    pub load_missing: bool,
    /// Report a batch that is not transformed after this time: 90s, 15m, 2h
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub unprocessed_for: Duration,
    /// Report a file that is not loaded after this time: 90s, 15m, 2h
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub unloaded_for: Duration,
}

#[derive(Debug, Args)]
pub struct SendWebhook {
    /// Source that receives the delivery
    #[arg(value_parser = key_part)]
    pub source: String,
    /// File with the body, which is sent byte for byte; - is standard input
    pub file: PathBuf,
    /// Event type, if the sender puts it in a header: push, orders/create
    #[arg(long, value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Delivery id, if the sender puts it in a header; a new one if not given
    #[arg(long)]
    pub id: Option<String>,
    /// Post to URL/SOURCE instead of $MILLRACE_WEBHOOK_URL/SOURCE
    #[arg(long)]
    pub url: Option<String>,
}

#[derive(Debug, Args)]
pub struct VerifyWebhook {
    /// Source that received the delivery
    #[arg(value_parser = key_part)]
    pub source: String,
    /// Header as it was sent; repeat the option for each header
    #[arg(long = "header", short = 'H', value_name = "'NAME: VALUE'", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// File with the body, byte for byte as it was sent; - is standard input
    #[arg(long, value_name = "FILE")]
    pub body: PathBuf,
    /// When the delivery arrived, in seconds since 1970; now if not given
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub at: Option<u32>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_version_names_the_commit_of_a_checkout() {
        let version = Arguments::command().render_version();
        let version = version.trim_end().strip_prefix("millrace ").unwrap();
        let number = env!("CARGO_PKG_VERSION");
        let git = |arguments: &[&str]| {
            let output = std::process::Command::new("git").args(arguments).output().unwrap();
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
        };
        if git(&["rev-parse", "--show-prefix"]).as_deref() != Some("cli/") {
            assert_eq!(version, number, "the sources are no checkout");
            return;
        }
        let commit = version.strip_prefix(&format!("{number} (")).unwrap().strip_suffix(')').unwrap();
        assert!(commit.len() >= 4 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
        assert!(git(&["rev-parse", "--verify", &format!("{commit}^{{commit}}")]).is_some(), "{commit}");
    }
}

//! What can be typed. The help is written for somebody who has never seen the program.

// The doc comments are the text of --help: their indented lines are shell commands, and <KEY> is a placeholder.
#![allow(rustdoc::invalid_rust_codeblocks, rustdoc::invalid_html_tags)]

pub mod dead_letters;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use http::{HeaderName, HeaderValue};
use millrace::config::names::check_name;

use dead_letters::DeadLetters;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  done, and the answer is bad: the load failed or was stopped, counts do not reconcile, a delivery was refused
  2  could not be done: wrong arguments, something missing, a connection refused
  3  a time limit ran out, or you stopped it; models can go on where they were

Without a variable in the environment, the commands use those of the local stack, in .millrace/env.";

const EXAMPLES: &str = "\
Start here:
  make demo                                                     see it work, once
  make dev                                                      the local stack, until Ctrl-C
  millrace put orders.csv --source shop --event-type orders     load a file and follow it
  millrace send github push.json --event-type push              sign a webhook as GitHub would, and post it
  millrace status                                               what is there, and whether it adds up
  millrace doctor                                               whether anything is wrong, and what to do";

/// CSV files dropped in S3, and webhooks, become rows of raw_events in PostgreSQL, exactly once.
#[derive(Debug, Parser)]
#[command(name = "millrace", version = env!("MILLRACE_VERSION"))]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the local stack and stay up: PostgreSQL, a local AWS, the deployed functions.
    ///
    /// Uses the PostgreSQL server of DATABASE_URL if that is set, else starts one with the binaries that `make` installs.
    /// Prints one line for every load that ends. The variables of the running stack are in .millrace/env, for any AWS
    /// client, curl and psql:
    ///
    ///     set -a; . .millrace/env; set +a
    ///     psql "$DATABASE_URL" -c 'select * from raw_events limit 5'
    ///     aws s3 cp orders.csv "s3://$MILLRACE_BUCKET/incoming/shop/orders/"
    ///
    /// State is kept under .millrace/ between runs; remove that folder to begin anew. Ctrl-C stops everything.
    #[command(verbatim_doc_comment)]
    Dev,

    /// Load a real CSV file through S3, SQS, the function and PostgreSQL, and show what landed.
    ///
    /// Uses the stack of a running `millrace dev`, else starts one and stops it again.
    Demo,

    /// Apply the migrations to the database of DATABASE_URL.
    ///
    /// Safe to run twice at once and again: what is applied stays as it is.
    ///
    ///     millrace migrate --check && echo up to date
    #[command(verbatim_doc_comment)]
    Migrate(Migrate),

    /// Upload a CSV file and follow it until its rows are in raw_events.
    ///
    /// The file goes to incoming/<SOURCE>/<EVENT_TYPE>/<its name> in the bucket. Plain, .gz and .zst files are read alike.
    ///
    ///     millrace put orders.csv --source shop --event-type orders
    ///     millrace put orders.csv --source shop --event-type orders --key-suffix 2026/01/orders.csv
    ///     millrace put big.csv.gz --source shop --event-type orders --no-wait
    #[command(verbatim_doc_comment)]
    Put(Put),

    /// What is loaded, what waits, what was rejected, how the models stand, and whether the counts reconcile.
    ///
    /// It reads the views pipeline.batch_counts, pipeline.lag and pipeline.model_runs, as alarms and dashboards do.
    ///
    /// Exits with 1 when they do not, and with 2 when it cannot tell. Checked are: read = staged + rejected; the rows in
    /// staging.events are those that the ledger says were staged; a finished load's record count is what its batches read.
    ///
    ///     millrace status --json | jq '.event_types[] | select(.unprocessed > 0)'
    #[command(verbatim_doc_comment)]
    Status(Status),

    /// Whether everything is as it should be, and what to do where it is not.
    ///
    /// Looks at the files of pipeline/, the sources' secrets, the database (version, migrations, roles, partitions), the bucket
    /// and its queues, the clocks, files that never arrived, work that is left lying, and whether the counts reconcile. Changes
    /// nothing, unless told to with --load-missing. A check that cannot be made is said, and the others go on.
    ///
    /// Each finding has a level (ok, warning, problem; unknown for what could not be looked at), the name of its check, what
    /// was found and what to do. Exits with 0 when nothing is wrong (a warning is nothing wrong yet), with 1 when something
    /// is, and with 2 when nothing was found wrong and something could not be looked at.
    ///
    ///     millrace doctor
    ///     millrace doctor --json | jq '.findings[] | select(.level == "problem")'
    ///     millrace doctor --load-missing                  files that never arrived, put on the upload queue
    #[command(verbatim_doc_comment)]
    Doctor(Doctor),

    /// Sign a file as its sender would, and post it to a source's webhook.
    ///
    /// SOURCE is a source with a webhook in pipeline/sources.toml; the sample has one for each preset, named after it. Prints
    /// the status and the answer, and exits with 1 unless the status is 2xx. The address is $MILLRACE_WEBHOOK_URL/<SOURCE>,
    /// with the Host header $MILLRACE_WEBHOOK_HOST if that is set; the secret is where the source says, `env:` variables being
    /// looked up in .millrace/env too.
    ///
    ///     millrace send github push.json --event-type push
    ///     millrace send github push.json --event-type push --id 7     # twice: the second is a duplicate
    ///     millrace send stripe invoice.json                           # id and type are in the body
    ///     echo '{"type": "user.created"}' | millrace send standard -
    #[command(verbatim_doc_comment)]
    Send(SendWebhook),

    /// Whether a webhook delivery would be accepted, and if not, why.
    ///
    /// For when a sender's signatures are refused: give what it sent, header by header, and the body byte for byte. Says what
    /// was expected, how far a timestamp is off, and whether the body was changed on the way; never shows a secret. Exits
    /// with 0 when the delivery would be accepted, with 1 when it would not, with 2 when that cannot be told.
    ///
    ///     millrace verify github --body body.json --header 'X-Hub-Signature-256: sha256=7571…'
    ///     millrace verify stripe --body body.json --header 'Stripe-Signature: t=1614265330,v1=ab12…' --at 1614265330
    #[command(verbatim_doc_comment)]
    Verify(VerifyWebhook),

    /// Models: the SQL files of pipeline/models/ that turn events into facts.
    ///
    /// Write a file, look at the plan, run it:
    ///
    ///     millrace models check
    ///     millrace models plan
    ///     millrace models run
    #[command(verbatim_doc_comment)]
    Models(Models),

    /// Dead letters: what could not become an event or a fact, and why.
    ///
    /// Look, fix the cause, put them back:
    ///
    ///     millrace dead-letters list
    ///     millrace dead-letters show 3f0c8a56-6a8e-5b7c-9f0e-1d2c3b4a5968
    ///     millrace dead-letters redrive --code wrong_type
    ///
    /// docs/dead-letters.md tells what each reason means.
    #[command(verbatim_doc_comment)]
    DeadLetters(DeadLetters),

    /// Print a line whenever events become facts, as it happens: what is notified on channel `millrace`.
    Tail,

    /// Print the script that completes the arguments of `millrace` in a shell.
    ///
    ///     source <(millrace completions bash)                                          in ~/.bashrc
    ///     millrace completions zsh > "${fpath[1]}/_millrace"                           once, before compinit runs
    ///     millrace completions fish > ~/.config/fish/completions/millrace.fish         once
    #[command(verbatim_doc_comment)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub struct Models {
    /// The folder with models/; $MILLRACE_PIPELINE or pipeline/ unless given
    #[arg(long, global = true, value_name = "FOLDER")]
    pub pipeline: Option<PathBuf>,
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// What there is: each model, whether it is deployed, and what it did last.
    ///
    /// States are: not deployed; deployed, as the file says; changed, which `plan` explains; broken, which `check` explains.
    List {
        /// Every column, in lines of any width
        #[arg(long)]
        wide: bool,
    },

    /// What is wrong with the files, at file:line:column; needs no database.
    ///
    /// Exits with 1 when anything is.
    Check,

    /// What `run` would do, without doing it: tables, columns, queries, history, locks.
    ///
    /// Everything is tried in a transaction that is rolled back, so what PostgreSQL would refuse is said too. A model begins
    /// with + when it is new, ~ when it changes, = when it has history to see, ! when it needs you: then the exit code is 1.
    Plan,

    /// Bring the database up to the files: tables, events that wait, history
    ///
    /// Every file that is new or changed is deployed. Events that wait go through all models that
    /// take them. Then a fact sees the history that it has not seen: a new one beside live traffic,
    /// one with another query built anew beside its table, which it then replaces. A file that is
    /// broken holds up its own events; the other models run.
    ///
    /// With names, history and the answer are about these models alone. The rest is as without:
    /// an event is processed by all its models at once, so none of them can be left out.
    ///
    /// It can be stopped at any time and run again. Exits with 1 when a model failed or was skipped,
    /// or its events wait, and with 3 when it was stopped.
    ///
    ///     millrace models run                            after writing pipeline/models/refunds.sql
    ///     millrace models run orders --full-refresh      after changing a column's type
    ///     millrace models run --no-backfill              now, and history later with `backfill`
    #[command(verbatim_doc_comment)]
    Run(RunModels),

    /// Run every test over everything that is there.
    ///
    /// Exits with 1 when one of severity error fails; one of severity warn is only said.
    Test {
        /// These models alone
        #[arg(value_name = "MODEL")]
        models: Vec<String>,
    },

    /// Run a model over history that it has not seen, or over all of it
    ///
    /// History is what was processed already; events that wait are for `run`, or for the function
    /// transform. It can be stopped at any time: run again, it goes on where it was. Exits with 1
    /// when the model cannot be deployed, and with 3 when it was stopped.
    ///
    ///     millrace models backfill orders --rate 5000
    #[command(verbatim_doc_comment)]
    Backfill(Backfill),

    /// What reads what
    ///
    ///     millrace models graph --format dot | dot -Tsvg > models.svg
    #[command(verbatim_doc_comment)]
    Graph {
        /// How to draw it
        #[arg(long, value_enum, default_value = "text")]
        format: GraphFormat,
    },
}

#[derive(Debug, Args)]
pub struct RunModels {
    /// History and the answer for these models alone
    #[arg(value_name = "MODEL")]
    pub models: Vec<String>,
    /// Build these models anew from every event, beside what is there, and swap
    #[arg(long, requires = "models")]
    pub full_refresh: bool,
    /// Leave history for later
    #[arg(long)]
    pub no_backfill: bool,
}

#[derive(Debug, Args)]
pub struct Backfill {
    /// The model
    pub model: String,
    /// Build it anew from every event, beside what is there, and swap
    #[arg(long)]
    pub full_refresh: bool,
    /// At most so many events a second, to leave the database to others
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GraphFormat {
    Text,
    Mermaid,
    Dot,
}

#[derive(Debug, Args)]
pub struct Migrate {
    /// Show what would be applied, and apply nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Like --dry-run, and exit with 1 when anything is to be applied
    #[arg(long, conflicts_with = "dry_run")]
    pub check: bool,
}

#[derive(Debug, Args)]
pub struct Put {
    /// The CSV file; .gz and .zst are read as such
    pub file: PathBuf,
    /// Where the data comes from: shop, nyc, …
    #[arg(long, value_parser = key_part)]
    pub source: String,
    /// What its rows are: orders, flights, …
    #[arg(long, value_parser = key_part)]
    pub event_type: String,
    /// What follows incoming/<SOURCE>/<EVENT_TYPE>/ in the key, instead of the file's name
    #[arg(long, value_name = "KEY", value_parser = key_suffix)]
    pub key_suffix: Option<String>,
    /// Return once the file is in the bucket
    #[arg(long)]
    pub no_wait: bool,
    /// How long to follow the load: 90s, 15m, 2h
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct Status {
    /// One JSON object, for programs
    #[arg(long)]
    pub json: bool,
    /// Do not count the rows of staging.events, which takes time on a large database
    #[arg(long)]
    pub quick: bool,
    /// Every column, in lines of any width
    #[arg(long, conflicts_with = "json")]
    pub wide: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// One JSON object, for programs
    #[arg(long)]
    pub json: bool,
    /// Do not count the rows of staging.events, which takes time on a large database
    #[arg(long)]
    pub quick: bool,
    /// Put the notifications of files that never arrived, and of loads that got stuck, on the upload queue
    #[arg(long)]
    pub load_missing: bool,
    /// A batch may wait so long for its transform: 90s, 15m, 2h
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub unprocessed_for: Duration,
    /// A file is only missed when it has lain so long in the bucket
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub unloaded_for: Duration,
}

#[derive(Debug, Args)]
pub struct SendWebhook {
    /// The source that receives it
    #[arg(value_parser = key_part)]
    pub source: String,
    /// The body, sent byte for byte; - is standard input
    pub file: PathBuf,
    /// The event type, where the sender says it in a header: push, orders/create
    #[arg(long, value_name = "TYPE")]
    pub event_type: Option<String>,
    /// The delivery's id, where the sender says it in a header; a new one unless given
    #[arg(long)]
    pub id: Option<String>,
    /// Post to URL/<SOURCE>, instead of $MILLRACE_WEBHOOK_URL/<SOURCE>
    #[arg(long)]
    pub url: Option<String>,
}

#[derive(Debug, Args)]
pub struct VerifyWebhook {
    /// The source that received it
    #[arg(value_parser = key_part)]
    pub source: String,
    /// A header as it was sent, once for each
    #[arg(long = "header", short = 'H', value_name = "'NAME: VALUE'", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body, byte for byte as it was sent; - is standard input
    #[arg(long, value_name = "FILE")]
    pub body: PathBuf,
    /// When it arrived, in seconds since 1970; now unless given
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub at: Option<u32>,
}

fn key_part(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

fn key_suffix(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('/') || text.ends_with('/') || text.chars().any(char::is_control) {
        return Err("it is the end of a key: 2026/01/orders.csv".to_owned());
    }
    Ok(text.to_owned())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| "write 'NAME: VALUE'".to_owned())?;
    let name = name.trim().parse().map_err(|_| "that is no name of a header".to_owned())?;
    let value = value.trim().parse().map_err(|_| "that is no value of a header".to_owned())?;
    Ok((name, value))
}

fn duration(text: &str) -> Result<Duration, String> {
    let (figure, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err("write 90s, 15m or 2h".to_owned()),
    };
    let figure: u64 = figure.parse().map_err(|_| "write 90s, 15m or 2h".to_owned())?;
    figure.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
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

    #[test]
    fn durations_have_a_unit() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7_200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "m", "1d", "-1s", "1.5h", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_has_a_name_and_a_value() {
        let (name, value) = header("X-Signature:  t=1,v1=a:b ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-signature", "t=1,v1=a:b"));
        for text in ["", "X-Signature", ": a", "a b: c", "a: b\nc"] {
            assert!(header(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_source_is_one_part_of_a_key() {
        assert!(key_part("nyc").is_ok());
        assert!(key_part("a/b").is_err());
        assert!(key_part("air ports").is_err());
        assert!(key_part("").is_err());
        assert!(key_suffix("2026/01/a b.csv").is_ok());
        assert!(key_suffix("/a").is_err());
    }
}

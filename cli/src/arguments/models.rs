//! The arguments of `millrace models`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub struct Models {
    /// Folder that contains models/; $MILLRACE_PIPELINE or pipeline/ if not given
    #[arg(long, global = true, value_name = "FOLDER")]
    pub pipeline: Option<PathBuf>,
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models with their state and their last run
    ///
    /// The state is `deployed`, `not deployed`, `changed` (the file is newer than the deployed model; `plan` shows the
    /// changes) or `broken` (`check` shows the errors). The other columns describe the last run of the model.
    ///
    /// Exits with 1 if a file is broken.
    List {
        /// Print every column, whatever the width of the terminal
        #[arg(long)]
        wide: bool,
    },

    /// Check the files, without a database
    ///
    /// Prints each error with its file, line and column. Exits with 1 if there is an error.
    Check,

    /// Show what `run` would change
    ///
    /// Tries the changes in a transaction that is rolled back, so that errors of PostgreSQL are shown too. Prints the
    /// changed columns and queries, the history to backfill and the locks of each model. The sign in front of a model is +
    /// for a new one, ~ for a changed one, = for one with history to backfill, and ! for one that cannot be deployed.
    ///
    /// Exits with 1 if a model cannot be deployed.
    Plan,

    /// Deploy the files, then transform, backfill and refresh
    ///
    /// Deploys each new or changed file. Transforms the waiting events with all models that take them. Then backfills: a
    /// new fact runs over the events that were processed before it existed; a fact with a changed query is rebuilt beside
    /// its table, which it then replaces. At the end it refreshes rollups and materialized views. A broken file delays only
    /// the events of its own model.
    ///
    /// With names, only these models are backfilled and counted. The waiting events are still transformed with all models,
    /// because the facts of an event commit together.
    ///
    /// The command can be stopped at any time: run it again to continue. A view that another run is refreshing is left to
    /// that run. Exits with 1 if a model failed, was skipped, or has waiting events, and with 3 if it was stopped.
    #[command(after_help = "\
Examples:
    millrace models run                         after adding a file
    millrace models run orders --full-refresh   after changing a column's type
    millrace models run --no-backfill           and later `models backfill`")]
    Run(RunModels),

    /// Run the tests of the models over all rows
    ///
    /// Exits with 1 if a test fails whose severity is `error`. A failed test of severity `warn` is only reported.
    Test {
        /// Only these models
        #[arg(value_name = "MODEL")]
        models: Vec<String>,
    },

    /// Run a model over events that were processed before it existed
    ///
    /// Waiting events are not part of a backfill: `run` or the function transform processes them. The command can be
    /// stopped at any time: run it again to continue.
    ///
    /// Exits with 1 if the model cannot be deployed, and with 3 if it was stopped.
    #[command(after_help = "\
Examples:
    millrace models backfill orders
    millrace models backfill orders --rate 5000")]
    Backfill(Backfill),

    /// Print which model reads which events and relations
    #[command(after_help = "\
Examples:
    millrace models graph
    millrace models graph --format dot | dot -Tsvg > models.svg")]
    Graph {
        /// Output format
        #[arg(long, value_enum, default_value = "text")]
        format: GraphFormat,
    },
}

#[derive(Debug, Args)]
pub struct RunModels {
    /// Backfill and count only these models
    #[arg(value_name = "MODEL")]
    pub models: Vec<String>,
    /// Rebuild these models from every event beside their tables, then replace them
    #[arg(long, requires = "models")]
    pub full_refresh: bool,
    /// Do not backfill
    #[arg(long)]
    pub no_backfill: bool,
}

#[derive(Debug, Args)]
pub struct Backfill {
    /// Name of the model
    pub model: String,
    /// Rebuild the model from every event beside its table, then replace it
    #[arg(long)]
    pub full_refresh: bool,
    /// Process at most this many events per second
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GraphFormat {
    Text,
    Mermaid,
    Dot,
}

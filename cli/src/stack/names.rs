//! The names in the template that the local stack uses.

/// The name of the stack: `stack_name` in infra/samconfig.toml, section `local`.
pub(super) const STACK: &str = "millrace";
/// The functions, as `make` builds them and the template names them.
pub(super) const FUNCTIONS: [&str; 5] = ["ingest-csv", "ingest-webhook", "transform", "refresh", "redrive"];

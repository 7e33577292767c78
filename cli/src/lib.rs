//! `millrace`: the local stack, the demo, migrations, uploads and status from one command.

pub mod stack;

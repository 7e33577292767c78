//! Dead letters from the failure to the fact, with the compiled functions, a real database and a real queue.

mod archive;
mod commands;
mod deliveries;
mod events;
mod files;
pub mod fixture;
pub mod killed;
mod many;
mod records;

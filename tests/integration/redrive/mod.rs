//! Dead letters, from the real failure back into the facts: the compiled functions, a real database, a real queue.

mod archive;
mod commands;
mod deliveries;
mod events;
mod files;
mod fixture;
mod killed;
mod many;
mod records;

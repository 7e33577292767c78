//! Relations derived from facts: deployed, invalidated and refreshed.

mod refresh;
mod rollups;
pub mod shop;
mod views;

//! Relations derived from facts: deployed, invalidated and refreshed.

mod refresh;
mod rollups;
mod shop;
mod views;

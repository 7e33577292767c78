//! What is derived from facts: deployed, touched and refreshed.

mod refresh;
mod rollups;
mod shop;
mod views;

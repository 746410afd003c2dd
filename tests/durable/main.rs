//! The log in a file: what it stores, what it survives, how it fails.

mod contract;
mod damage;
mod full;
mod keep;
mod kill;
mod support;

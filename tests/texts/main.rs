//! The project's own texts: each block of code in them is compiled, run or looked through,
//! what they say of bytes and defaults is what the code does, and no link leads nowhere.

mod connection;
mod defaults;
mod fences;
mod guide;
mod links;
mod pages;
mod settings;
mod shell;
mod wire;

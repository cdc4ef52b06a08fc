//! A fleet and its applications as front ends and the acting dispatcher know them: [`fleet`] is what is seen
//! of engines and programs, [`app`] what people want to run and what the dispatcher is asked, [`operations`]
//! what became of orders, [`placing`] an engine as the scheduler knows it, [`typed`] how long and how large
//! something is as people write it.
//!
//! All of it is data and functions of it: no clock, no files, no connection. So the client and the
//! dispatcher's decisions share it, and neither needs the other.
#![forbid(unsafe_code)]

pub mod app;
pub mod fleet;
pub mod module;
pub mod operations;
pub mod placing;
pub mod typed;

//! The fleet's long-running dispatcher, built on the handle of `wayfare-client`.
#![forbid(unsafe_code)]

pub mod service;

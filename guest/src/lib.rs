//! What authors of Wayfare programs link against.
//!
//! Nothing yet: a program is an ordinary WASI preview 1 command, and standard output, standard input, arguments,
//! environment, clocks, sleep and random numbers need no library. This crate is where calls will be that WASI
//! does not have: publish, subscribe, and what a program may ask about where it runs.
#![forbid(unsafe_code)]
#![no_std]

//! Tests of the built binary with real TLS, a real file system, real locks and real clients.
//!
//! Each module tests one part. The name of a test is the fact that it shows.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod processes;
mod servers;
mod spellings;
mod stand_in;
mod world;

mod account;
mod cache;
mod clients;
mod commands;
mod completion;
mod configuration;
mod curl;
mod disks;
mod docker;
mod doctor;
mod doctor_tools;
mod failure;
mod faults;
mod frugal;
mod git;
mod hostile;
mod kubectl;
mod kubernetes_fleet;
mod memory;
mod misplaced;
mod network;
mod night;
mod nss;
mod packages;
mod preempt;
mod promises;
mod protocols;
mod proxies;
mod races;
mod secrets;
mod setup;
mod setup_account;
mod setup_files;
mod status;
mod storm;
mod streams;
mod terraform;
mod tidy;
mod tls;
mod token;
mod tools;
mod waits;
mod ways;

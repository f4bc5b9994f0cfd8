//! The tools: where each has its configuration, and which entries for this program are in it.
//!
//! `setup` adds such entries, and `doctor` checks them. Both find and read a tool's configuration here.
//!
//! Imports, bottom up: `place`, `process` ← `entry` ← one file for each tool ← this file.

pub mod bazel;
pub mod docker;
mod entry;
pub mod git;
pub mod kubectl;
pub mod place;
pub mod process;
pub mod terraform;

use std::time::Duration;

pub use self::entry::{Entry, Hosts};
use crate::settings::Environment;

/// A tool that `setup` can configure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tool {
    /// kubectl, and other programs that read a kubeconfig.
    Kubectl,
    /// git.
    Git,
    /// Bazel.
    Bazel,
    /// Docker's command line.
    Docker,
    /// Terraform.
    Terraform,
}

impl Tool {
    /// All tools, in the order in which `doctor` shows them.
    pub const ALL: [Self; 5] =
        [Self::Kubectl, Self::Git, Self::Bazel, Self::Docker, Self::Terraform];

    /// Its name on the command line and in the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubectl => "kubectl",
            Self::Git => "git",
            Self::Bazel => "bazel",
            Self::Docker => "docker",
            Self::Terraform => "terraform",
        }
    }

    /// The tool of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// The entries for this program. A configuration that cannot be read has none, nor has one that the
    /// tool's own program does not print within `longest`.
    pub fn entries(self, env: &Environment<'_>, longest: Duration) -> Vec<Entry> {
        match self {
            Self::Kubectl => kubectl::entries(env, longest),
            Self::Git => git::entries(longest),
            Self::Bazel => bazel::entries(env),
            Self::Docker => docker::entries(env),
            Self::Terraform => terraform::entries(env),
        }
    }
}

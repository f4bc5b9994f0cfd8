//! `setup`: writes a tool's configuration as the tool itself would, and takes it back.
//!
//! A [`Plan`] is made by reading alone, so that whatever cannot be done is found before anything is;
//! then it is shown or carried out. What was done is kept in a [`Record`], because nothing else tells
//! a value that setup wrote from the same value that was there before.

mod account;
pub mod bazel;
mod docker;
mod file;
mod git;
mod kubectl;
mod lines;
mod link;
mod plan;
mod record;
pub mod terraform;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use self::account::store as store_account;
pub use self::link::as_found;
use self::plan::Plan;
use self::record::Record;
use crate::account::quoted;
use crate::error::{Error, Shown};
use crate::protocol::Host;
use crate::settings::{self, Flags};
use crate::shown;

/// A tool that can be set up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tool {
    /// kubectl, and what else reads a kubeconfig.
    Kubectl,
    /// git.
    Git,
    /// Docker's command line.
    Docker,
    /// Bazel.
    Bazel,
    /// Terraform.
    Terraform,
}

impl Tool {
    /// Its name on the command line and in the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubectl => "kubectl",
            Self::Git => "git",
            Self::Docker => "docker",
            Self::Bazel => "bazel",
            Self::Terraform => "terraform",
        }
    }

    /// The tool of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Kubectl, Self::Git, Self::Docker, Self::Bazel, Self::Terraform]
            .into_iter()
            .find(|tool| tool.name() == name)
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// For which tool.
    pub tool: Tool,
    /// Take back what was done, rather than do it.
    pub undo: bool,
    /// Only show it.
    pub dry_run: bool,
}

/// What `setup` has to know of its surroundings.
pub struct Surroundings<'a> {
    /// Looks a variable up.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Looks a list of paths up.
    pub paths: &'a dyn Fn(&str) -> Vec<PathBuf>,
    /// This program's own file, [`as_found`].
    pub program: PathBuf,
    /// The folder of the record.
    pub config: Option<PathBuf>,
    /// The account file.
    pub account: Option<&'a Path>,
    /// The settings that were typed.
    pub flags: &'a Flags,
    /// The hosts that the token is for, but for the API's own.
    pub hosts: &'a [Host],
}

/// Does what `order` says, and gives the lines that tell what was done.
///
/// # Errors
/// Something cannot be done. Then nothing is, unless it adds to an earlier set-up of that tool and a
/// file or command fails in the doing.
pub fn run(order: Order, around: &Surroundings<'_>) -> Result<Vec<u8>, Error> {
    let tool = order.tool;
    let place = around.config.clone().ok_or_else(|| around.homeless())?.join("setup.json");
    let turn = around.home().ok().and_then(|home| file::turn(&home));
    let mut record = Record::load(&place)?;
    if turn.is_some() && !order.dry_run {
        record.places(tool).chain([&*place]).for_each(file::sweep);
    }
    let plan = if order.undo { record.undo(tool)? } else { around.plan(tool)? };
    let mut said = match plan.is_empty() {
        true => "nothing to do\n".to_owned(),
        false if order.dry_run => plan.shown(),
        false if order.undo => plan.carry_out()?,
        false => {
            let is_first = record.places(tool).next().is_none();
            // First the record, so that a setup that is broken off can be taken back too.
            record.add(tool, &plan, &place);
            let done = record.save(&place).and_then(|()| plan.carry_out());
            if done.is_err() && is_first {
                // As far as that goes: the first failure is the one to tell.
                let _ = record.undo(tool).and_then(|plan| plan.carry_out());
                let _ = record.drop_tool(tool, &place);
            }
            done?
        }
    };
    if order.undo && !order.dry_run {
        record.drop_tool(tool, &place)?;
    }
    said.extend(plan.notes.iter().map(|note| format!("{note}\n")));
    Ok(said.into_bytes())
}

impl Surroundings<'_> {
    fn plan(&self, tool: Tool) -> Result<Plan, Error> {
        if tool != Tool::Kubectl && self.hosts.is_empty() {
            return Err(Error::HostUnnamed { tool: tool.name() });
        }
        let mut plan = Plan::default();
        match tool {
            Tool::Kubectl => kubectl::plan(self, &mut plan),
            Tool::Git => git::plan(self, &mut plan),
            Tool::Docker => docker::plan(self, &mut plan),
            Tool::Bazel => bazel::plan(self, &mut plan),
            Tool::Terraform => terraform::plan(self, &mut plan),
        }?;
        if self.account.is_some_and(|file| !file.exists()) {
            let mut words = vec!["astra-credential".into(), "setup".into(), "account".into()];
            if let Some(file) = &self.flags.service_account {
                words.extend(["--service-account".to_owned(), file.to_string_lossy().into_owned()]);
            }
            plan.notes.push(format!("remains: `{}`", plan::line(&words)));
        }
        Ok(plan)
    }

    /// The user's home.
    fn home(&self) -> Result<PathBuf, Error> {
        self.folder("HOME").ok_or_else(|| self.homeless())
    }

    /// An absolute path in a variable.
    fn folder(&self, variable: &str) -> Option<PathBuf> {
        (self.env)(variable).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// A path in a variable, as the tool that reads the variable takes it.
    fn path_in(&self, variable: &str) -> Option<PathBuf> {
        let value = (self.env)(variable).filter(|value| !value.is_empty())?;
        std::path::absolute(value).ok()
    }

    /// The settings that were typed and that a helper needs later: flag, variable and value.
    fn typed(&self) -> Result<Vec<(&'static str, &'static str, String)>, Error> {
        let value = |name: &'static str, value: &OsString, is_path: bool| {
            let path = || settings::expanded(value, self.env).ok();
            // An account that was given in place of a path must not be written into a configuration.
            if is_path && !path().is_some_and(|path| shown::is_usable_path(&path)) {
                return Err(Error::Setting {
                    name,
                    value: value.to_string_lossy().into_owned(),
                    problem: "is not certainly a path".to_owned(),
                    wanted: "the absolute path of a file or folder",
                });
            }
            let absolute = is_path.then(|| std::path::absolute(path()?).ok()).flatten();
            let value = absolute.map_or_else(|| value.clone(), PathBuf::into_os_string);
            let text = value.to_string_lossy().into_owned();
            // What is shown is what is written, and no tool's quoting is put to the test.
            if value.to_str().is_none() || Shown(&text).to_string() != text {
                return Err(Error::Setting {
                    name,
                    value: text,
                    problem: "cannot be written into every configuration".to_owned(),
                    wanted: "a value in UTF-8 without control characters",
                });
            }
            Ok(text)
        };
        let typed = self.flags.for_helpers();
        let typed = typed.map(|(setting, said, is_path)| {
            Ok((setting.flag, setting.variable, value(setting.flag, said, is_path)?))
        });
        typed.collect()
    }

    /// [`Self::typed`], as arguments.
    fn arguments(&self) -> Result<Vec<String>, Error> {
        let typed = self.typed()?.into_iter().flat_map(|(flag, _, value)| [flag.to_owned(), value]);
        Ok(typed.chain(self.flags.no_cache.then(|| "--no-cache".to_owned())).collect())
    }

    /// The shell's lines for a tool that gives its helper no arguments, as far as the environment
    /// does not say the same already.
    fn note_exports(&self, plan: &mut Plan) -> Result<(), Error> {
        const HOSTS: &str = "ASTRA_CREDENTIAL_HOSTS";
        let said = (self.env)(HOSTS).unwrap_or_default().to_string_lossy().into_owned();
        let mut hosts: Vec<_> =
            said.split(',').map(|host| host.trim().to_owned()).filter(|h| !h.is_empty()).collect();
        let known: Vec<_> = hosts.iter().filter_map(|host| Host::parse(host)).collect();
        let further = self.hosts.iter().filter(|host| !known.contains(host));
        hosts.extend(further.map(Host::to_string));
        let mut exports = vec![(HOSTS, hosts.join(","), known.len() == hosts.len())];
        let no_cache = self.flags.no_cache.then(|| ("", settings::NO_CACHE, "1".to_owned()));
        for (_, variable, value) in self.typed()?.into_iter().chain(no_cache) {
            let is_set = (self.env)(variable).is_some_and(|said| *said == *value);
            exports.push((variable, value, is_set));
        }
        for (variable, value, _) in exports.into_iter().filter(|(_, _, is_set)| !is_set) {
            let line = format!("export {variable}={}", quoted(&value));
            plan.notes.push(format!("remains: put `{line}` into your shell's profile"));
        }
        Ok(())
    }

    fn homeless(&self) -> Error {
        Error::Setting {
            name: "HOME",
            value: (self.env)("HOME").unwrap_or_default().to_string_lossy().into_owned(),
            problem: "is no place to set anything up in".to_owned(),
            wanted: "the absolute path of your home",
        }
    }
}

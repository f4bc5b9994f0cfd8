//! Processes that run beside a test.

use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use crate::world::{Call, World, finish};

/// How long a test waits for an event that has to come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A process that is killed when it is dropped.
pub struct Process(Option<Child>);

impl Process {
    pub fn new(child: Child) -> Self {
        Self(Some(child))
    }

    /// Starts a call, and waits until it has sent its request to Astra. By then it holds the lock.
    pub fn that_asks(world: &World, call: &Call<'_>) -> Self {
        Self::that_asks_as(world, &mut call.command())
    }

    /// The same with a command.
    pub fn that_asks_as(world: &World, command: &mut Command) -> Self {
        let before = world.astra.exchanges();
        let process = Self::new(command.spawn().expect("the binary starts"));
        assert!(world.astra.wait_for_exchanges(before + 1, PATIENCE), "no request came");
        process
    }

    pub fn id(&self) -> u32 {
        self.0.as_ref().expect("a process").id()
    }

    /// The path of a file in `/proc` about the process.
    pub fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.id())
    }

    /// Sends a signal, such as `-CONT`.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().expect("kill").success());
    }

    /// Stops the process, and waits until it is stopped.
    pub fn stop(&self) {
        self.signal("-STOP");
        while !fs::read_to_string(self.file("stat")).expect("a process").contains(") T ") {
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("a process")
    }

    /// Reads the process to its end.
    pub fn finish(mut self) -> (i32, String, String) {
        finish(self.0.take().expect("a process"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts `count` calls at once and reads them to their end.
pub fn at_once(count: usize, call: &Call<'_>) -> Vec<(i32, String, String)> {
    let children: Vec<Child> = (0..count).map(|_| call.start()).collect();
    children.into_iter().map(finish).collect()
}

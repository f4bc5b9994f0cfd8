//! Simulates a fleet of machines that all start at the same time: `cargo run --example fleet`.
//!
//! The simulation compares this program's random leeway (see `Validity::of` in `src/token.rs`) with a leeway
//! that is the same for all machines. `docs/fleet.md` quotes the output, and `tests/cli/packages.rs` checks
//! that.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

const MACHINES: usize = 1000;
const HOUR: i64 = 3600;
/// The life of a token in Astra's only public example.
const LIFE: i64 = 10 * HOUR;
const DAYS: i64 = 30;

fn main() -> io::Result<()> {
    io::stdout().write_all(report().as_bytes())
}

/// The tables for the documentation.
pub fn report() -> String {
    let drawn = |random: &mut Random| 150 + random.below(151);
    let fixed = |_: &mut Random| 300_i64;
    let fleets = [
        ("same second, leeway the same for all", 1, &fixed as &dyn Fn(&mut Random) -> i64),
        ("same second, leeway drawn", 1, &drawn),
        ("within 10 minutes, leeway drawn", 600, &drawn),
        ("within 10 hours, leeway drawn", LIFE, &drawn),
    ];
    let mut report = format!(
        "{MACHINES} machines, a cache each, tokens of {} h, {DAYS} days\n\n\
         started                               exchanges/h   busiest: hour  minute  second\n",
        LIFE / HOUR
    );
    for (name, spread, leeway) in fleets {
        let exchanges = exchanges(spread, leeway);
        // The first exchange of each machine is at the start.
        let renewals: Vec<i64> =
            exchanges.into_iter().filter(|&(nth, _)| nth > 0).map(at).collect();
        report.push_str(&format!(
            "{name:<38} {:>10} {:>15} {:>7} {:>7}\n",
            renewals.len() as i64 / (DAYS * 24),
            busiest(&renewals, HOUR),
            busiest(&renewals, 60),
            busiest(&renewals, 1),
        ));
    }
    report.push_str(
        "\nstarted in the same second, leeway drawn\n\n\
         renewal   from       to         takes    busiest: minute  second\n",
    );
    let exchanges = exchanges(1, &drawn);
    for nth in [1, 2, 4, 8, 16] {
        let renewal: Vec<i64> =
            exchanges.iter().copied().filter(|&(which, _)| which == nth).map(at).collect();
        let (from, to) = renewal
            .iter()
            .fold((i64::MAX, 0), |(from, to), &second| (from.min(second), to.max(second)));
        report.push_str(&format!(
            "{nth:>7}   {}  {}  {:>5} s {:>16} {:>7}\n",
            clock(from),
            clock(to),
            to - from,
            busiest(&renewal, 60),
            busiest(&renewal, 1),
        ));
    }
    report
}

fn at((_, second): (usize, i64)) -> i64 {
    second
}

/// The exchanges of all machines, each as its number on that machine and its time. A machine does one at
/// the start, and another whenever its token is due for renewal. Calls come all the time.
fn exchanges(spread: i64, leeway: &dyn Fn(&mut Random) -> i64) -> Vec<(usize, i64)> {
    let mut random = Random(1);
    let mut exchanges = Vec::new();
    for _ in 0..MACHINES {
        let mut second = random.below(spread);
        for nth in 0.. {
            if second >= DAYS * 24 * HOUR {
                break;
            }
            exchanges.push((nth, second));
            second += LIFE - leeway(&mut random);
        }
    }
    exchanges
}

/// The largest number of exchanges within so many seconds.
fn busiest(exchanges: &[i64], stretch: i64) -> usize {
    let mut counts = BTreeMap::<i64, usize>::new();
    for second in exchanges {
        *counts.entry(second / stretch).or_default() += 1;
    }
    counts.into_values().max().unwrap_or_default()
}

fn clock(second: i64) -> String {
    format!("{:>3}:{:02}:{:02}", second / HOUR, second / 60 % 60, second % 60)
}

/// Marsaglia's xorshift, which gives the same numbers at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as i64 % end
    }
}

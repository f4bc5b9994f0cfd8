//! The proxy for a host, chosen from the environment as curl chooses it.

use super::sourced::{Source, Sourced};
use crate::protocol::Host;

/// The variables that name a proxy, in the order in which they count. Lower case comes first,
/// `ALL_PROXY` last, and `HTTP_PROXY` is not used at all.
pub const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The variables that name the hosts which need no proxy.
pub const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The proxy for `https` to `host`, with the variable that decided. It is `None` if no variable names one, or
/// if `NO_PROXY` exempts the host. `text` looks up a variable.
pub fn proxy_for(host: &Host, text: impl Fn(&str) -> Option<String>) -> Sourced<Option<String>> {
    let found = |names: &[&'static str]| {
        let set = |name: &&'static str| Some(Sourced::new(text(name)?, Source::Variable(name)));
        names.iter().find_map(set)
    };
    let Some(proxy) = found(&PROXIES) else { return Sourced::default_of(None) };
    if let Some(exempt) = found(&NO_PROXY) {
        let is_separator = |c: char| c == ',' || c.is_whitespace();
        let mut entries = exempt.split(is_separator).map(str::to_ascii_lowercase);
        if entries.any(|entry| host.is_exempt_by(&entry)) {
            return exempt.map(|_| None);
        }
    }
    proxy.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_is_chosen_as_curl_chooses_it() {
        let proxy = |variables: &[&str]| {
            let env = |name: &str| {
                let found =
                    variables.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
                found.map(str::to_owned)
            };
            let proxy = proxy_for(&Host::parse("api.example.com").unwrap(), env);
            proxy.value.unwrap_or("direct".to_owned())
        };
        let cases: [&[&str]; 16] = [
            &["HTTPS_PROXY=a", "https_proxy=b"],
            &["ALL_PROXY=a"],
            &["ALL_PROXY=a", "HTTPS_PROXY=b"],
            &["HTTP_PROXY=a", "http_proxy=b"],
            &["HTTPS_PROXY=a", "NO_PROXY=api.example.com"],
            &["HTTPS_PROXY=a", "NO_PROXY=localhost, EXAMPLE.com"],
            &["HTTPS_PROXY=a", "NO_PROXY=.example.com"],
            &["HTTPS_PROXY=a", "NO_PROXY=*.example.com"],
            &["HTTPS_PROXY=a", "no_proxy=*"],
            &["HTTPS_PROXY=a", "NO_PROXY=ample.com,api.example.com.evil"],
            &["HTTPS_PROXY=a", "NO_PROXY=api.example.com:443"],
            &["HTTPS_PROXY=a", "NO_PROXY=api.example.com:444"],
            &["HTTPS_PROXY=a", "NO_PROXY=localhost\texample.com\n"],
            &["HTTPS_PROXY=a", "NO_PROXY=api.example.com."],
            &["HTTPS_PROXY=a", "NO_PROXY=.example.com."],
            &["HTTPS_PROXY=a", "NO_PROXY=.,..,"],
        ];
        let table: Vec<_> = cases
            .map(|case| format!("{} => {}", case.join(" ").escape_debug(), proxy(case)))
            .into();
        insta::assert_snapshot!(table.join("\n"), @r"
        HTTPS_PROXY=a https_proxy=b => b
        ALL_PROXY=a => a
        ALL_PROXY=a HTTPS_PROXY=b => b
        HTTP_PROXY=a http_proxy=b => direct
        HTTPS_PROXY=a NO_PROXY=api.example.com => direct
        HTTPS_PROXY=a NO_PROXY=localhost, EXAMPLE.com => direct
        HTTPS_PROXY=a NO_PROXY=.example.com => direct
        HTTPS_PROXY=a NO_PROXY=*.example.com => direct
        HTTPS_PROXY=a no_proxy=* => direct
        HTTPS_PROXY=a NO_PROXY=ample.com,api.example.com.evil => a
        HTTPS_PROXY=a NO_PROXY=api.example.com:443 => direct
        HTTPS_PROXY=a NO_PROXY=api.example.com:444 => a
        HTTPS_PROXY=a NO_PROXY=localhost\texample.com\n => direct
        HTTPS_PROXY=a NO_PROXY=api.example.com. => direct
        HTTPS_PROXY=a NO_PROXY=.example.com. => direct
        HTTPS_PROXY=a NO_PROXY=.,.., => a
        ");
    }
}

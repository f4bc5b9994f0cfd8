//! Every error with its hint and its exit code, to be read as prose.

use std::collections::BTreeSet;

use super::*;

fn exchange(kind: ExchangeErrorKind, detail: &str, proxy: Option<&str>) -> Error {
    Error::Exchange {
        error: ExchangeError {
            kind,
            api: "https://api.example.com".to_owned(),
            detail: detail.to_owned(),
            proxy: proxy.map(str::to_owned),
            retry_after: None,
        },
        remembered: None,
        account: "/account.json".into(),
        padded: None,
        store: Some("astra-credential setup account --account prod".to_owned()),
    }
}

fn config(defect: Defect) -> Error {
    Error::Config { path: "/config.json".into(), at: None, defect }
}

fn config_at(defect: Defect) -> Error {
    let at = Some(Position { line: 3, column: 5 });
    Error::Config { path: "/config.json".into(), at, defect }
}

/// Every message with its hint and its exit code, to be read as prose.
#[test]
fn the_catalogue() {
    let path = || PathBuf::from("/account.json");
    let mut padded = exchange(ExchangeErrorKind::Rejected(401), "no such client", None);
    if let Error::Exchange { padded, .. } = &mut padded {
        *padded = Some("clientSecret");
    }
    let mut remembered = exchange(ExchangeErrorKind::Rejected(401), "no such client", None);
    if let Error::Exchange { remembered, store, .. } = &mut remembered {
        *store = None;
        *remembered = Some(Remembered { ago: 12, wait: 18 });
    }
    let catalogue = [
        Error::Usage {
            problem: "unexpected argument found: `--hst`".to_owned(),
            help: "astra-credential git --help".to_owned(),
        },
        Error::Setting {
            name: "--timeout",
            value: "soon".to_owned(),
            problem: "is not a number".to_owned(),
            wanted: "seconds, such as `30`",
        },
        config(Defect::Missing),
        config(Defect::DanglingLink),
        config(Defect::Unreadable(io::Error::other("permission denied"))),
        config(Defect::NotRegular),
        config(Defect::Exposed {
            exposure: "may be changed by everybody (mode 0666)".to_owned(),
            fix: "run `chmod go-w /config.json`".to_owned(),
        }),
        config(Defect::TooLarge),
        config(Defect::NotText),
        config(Defect::Empty),
        config_at(Defect::NotJson),
        config_at(Defect::NotObject),
        config_at(Defect::UnknownKey {
            key: Some("host".to_owned()),
            nearest: Some("hosts"),
            known: &["file", "hosts"],
        }),
        config_at(Defect::UnknownKey { key: None, nearest: None, known: &["file", "hosts"] }),
        config_at(Defect::UnknownKey {
            key: Some("clientSecret".to_owned()),
            nearest: None,
            known: &["file", "hosts"],
        }),
        config_at(Defect::KeyTwice { key: Some("hosts".to_owned()) }),
        config_at(Defect::KeyTwice { key: None }),
        config_at(Defect::WrongType {
            key: "`hosts`".to_owned(),
            wanted: "a list of strings: `[\"git.example.com\"]`",
        }),
        config_at(Defect::Value {
            key: "api_url",
            problem: "is not `https`",
            wanted: "the API's base without `/v2`",
        }),
        config_at(Defect::Name { problem: "is not 1 to 64 letters, digits, `-` and `_`" }),
        config_at(Defect::TooManyHosts { most: 1_000 }),
        config_at(Defect::HostTwice {
            host: "git.example.com".to_owned(),
            accounts: ["`default`".to_owned(), "`prod`".to_owned()],
        }),
        Error::AccountUnknown {
            name: "prd".to_owned(),
            source: "--account".to_owned(),
            nearest: Some("prod".to_owned()),
        },
        Error::AccountUnknown {
            name: "test".to_owned(),
            source: "ASTRA_CREDENTIAL_ACCOUNT".to_owned(),
            nearest: None,
        },
        Error::AccountUnknown {
            name: "7d81c5e2-40b9-4f6a-8c3e-91f0a2b7d64e".to_owned(),
            source: "--account".to_owned(),
            nearest: None,
        },
        Error::Bound {
            host: "git.example.com".to_owned(),
            owner: "prod".to_owned(),
            named: "the account `default`".to_owned(),
            path: "/config.json".into(),
        },
        AccountError::Unnamed.into(),
        AccountError::Inline.into(),
        AccountError::Missing {
            path: path(),
            fix: Some("astra-credential setup account --account prod".to_owned()),
        }
        .into(),
        AccountError::Missing { path: path(), fix: None }.into(),
        AccountError::Unreadable { path: path(), why: io::Error::other("permission denied") }
            .into(),
        AccountError::Exposed {
            path: path(),
            exposure: "may be read by everybody (mode 0644)".to_owned(),
            fix: "run `chmod 600 /account.json`".to_owned(),
        }
        .into(),
        AccountError::Malformed {
            path: path(),
            defect: Malformed {
                what: "has no `clientSecret`".to_owned(),
                fix: "copy the service account from Astra's dashboard anew",
            },
        }
        .into(),
        AccountError::Folder { path: path() }.into(),
        padded,
        exchange(ExchangeErrorKind::Rejected(401), "no such client", None),
        remembered,
        exchange(ExchangeErrorKind::Gone(404), "", None),
        exchange(ExchangeErrorKind::Redirected(302), "", None),
        exchange(ExchangeErrorKind::Unavailable(503), "down", None),
        exchange(ExchangeErrorKind::Unexpected(418), "", None),
        exchange(ExchangeErrorKind::Unusable, "", None),
        exchange(
            ExchangeErrorKind::Untrusted,
            "no trusted certificate authority has signed it; it was issued by `Corp CA`",
            None,
        ),
        exchange(
            ExchangeErrorKind::Expired,
            "it expired on 2021-01-01T00:00:00Z; it is for `api`, issued by `Corp CA`",
            None,
        ),
        exchange(ExchangeErrorKind::WrongHost, "it is for `other`, issued by `Corp CA`", None),
        exchange(
            ExchangeErrorKind::UnfitCertificate,
            "it names no host among its subject alternative names",
            None,
        ),
        exchange(ExchangeErrorKind::ClientCertificate, "it requires a client certificate", None),
        exchange(ExchangeErrorKind::OldTls, "it speaks only versions of TLS before 1.2", None),
        exchange(ExchangeErrorKind::Authorities, "`/ca.pem`: it holds no PEM certificate", None),
        exchange(ExchangeErrorKind::Proxy, "the proxy's URL has a port that is not a number", None),
        exchange(
            ExchangeErrorKind::ProxyLogin,
            "the proxy requires a user name and a password (407)",
            Some("proxy:3128"),
        ),
        exchange(ExchangeErrorKind::TimedOut, "", None),
        exchange(ExchangeErrorKind::TimedOut, "", Some("proxy:3128")),
        exchange(ExchangeErrorKind::Unreachable, "connection refused", None),
        exchange(ExchangeErrorKind::Unreachable, "connection refused", Some("proxy:3128")),
        exchange(ExchangeErrorKind::Waited, "", None),
        Error::Refused {
            host: "git.example.com:8443".to_owned(),
            wait: 29,
            forget: "astra-credential forget --account prod".to_owned(),
        },
        Error::Forget { dir: "/cache".into(), why: io::Error::other("permission denied") },
        Error::RequestUnreadable { protocol: "git", why: io::Error::other("input/output error") },
        Error::Request { protocol: "git", problem: "`host` is missing".to_owned() },
        Error::EmptyRequest { protocol: "docker" },
        Error::NotOurs { protocol: "bazel", host: Some("cache.example.com".to_owned()) },
        Error::NotOurs { protocol: "kubernetes", host: None },
        Error::Url { protocol: "bazel", part: "the URI", why: "names a user in front of the host" },
        Error::Unbound {
            server: "https://registry.example.com/v1/".to_owned(),
            host: Some("registry.example.com".to_owned()),
        },
        Error::Command {
            program: "tofu".to_owned(),
            why: io::Error::new(io::ErrorKind::NotFound, "no such file"),
        },
        Error::NotForCmd { defect: "has more than 8000 characters" },
        Error::Output(io::Error::other("no space left on device")),
        SetupError::HostUnnamed { tool: "git" }.into(),
        SetupError::Unreadable {
            path: "/.bazelrc".into(),
            why: io::Error::other("permission denied"),
        }
        .into(),
        SetupError::Unparsable { path: "/config.json".into(), defect: "is not UTF-8".to_owned() }
            .into(),
        SetupError::Taken {
            path: "/config.json".into(),
            problem: "names `other` for `h`".to_owned(),
        }
        .into(),
        SetupError::HostBound {
            host: "git.example.com".to_owned(),
            account: "default".to_owned(),
            named: "prod".to_owned(),
            path: "/config.json".into(),
        }
        .into(),
        SetupError::MachineAccount {
            name: "prod".to_owned(),
            change: "`git.example.com` added to the hosts of `prod`".to_owned(),
            path: "/etc/astra-credential/config.json".into(),
        }
        .into(),
        SetupError::NotKept {
            flag: "--min-valid",
            fix: "keep it with the account: `astra-credential setup account --min-valid …`"
                .to_owned(),
        }
        .into(),
        SetupError::Locked { path: "/setup.lock".into() }.into(),
        SetupError::ForeignHome { home: "/home/me".into(), owner: 1000 }.into(),
        SetupError::ToolNotRun {
            command: "git config --global --list".to_owned(),
            why: io::Error::other("no such file"),
        }
        .into(),
        SetupError::ToolFailed {
            command: "git config --global --list".to_owned(),
            message: "fatal: bad config line 1".to_owned(),
        }
        .into(),
        SetupError::ProgramUnknown { why: io::Error::other("no such file") }.into(),
        SetupError::Unwritable { path: "/usr/\u{7}/astra-credential".into() }.into(),
        SetupError::NotWritten {
            path: "/.bazelrc".into(),
            why: io::Error::other("permission denied"),
        }
        .into(),
        SetupError::Busy { path: "/.bazelrc".into() }.into(),
        AccountError::Kept { path: path(), fix: "mv /account.json /account.json.old".to_owned() }
            .into(),
    ];
    let name = |text: &str| {
        text.trim_start().split([' ', '{', '(', ')', ',']).next().unwrap_or_default().to_owned()
    };
    let listed: BTreeSet<_> = catalogue
        .iter()
        .map(|error| match error {
            Error::Account(error) => format!("AccountError::{}", name(&format!("{error:?}"))),
            Error::Setup(error) => format!("SetupError::{}", name(&format!("{error:?}"))),
            error => format!("Error::{}", name(&format!("{error:?}"))),
        })
        .collect();
    let mut variants = BTreeSet::new();
    for (source, of) in [
        (include_str!("../error.rs"), "Error"),
        (include_str!("account.rs"), "AccountError"),
        (include_str!("setup.rs"), "SetupError"),
    ] {
        let (_, source) = source.split_once(&format!("pub enum {of} {{")).unwrap();
        let (source, _) = source.split_once("\n}\n").unwrap();
        let is_variant = |line: &&str| line.len() > 5 && line[4..].starts_with(char::is_uppercase);
        let found = source.lines().filter(is_variant);
        variants.extend(found.map(|line| format!("{of}::{}", name(line))));
    }
    variants.retain(|name| !["Error::Account", "Error::Setup"].contains(&name.as_str()));
    assert_eq!(listed, variants);
    for error in &catalogue {
        let has_cause = format!("{error:?}").contains("Custom {");
        assert!(!has_cause || std::error::Error::source(error).is_some(), "{error:?}");
    }
    let lines = catalogue.map(|error| {
        format!("{error}\n  hint: {}\n  exit code {}", error.hint(), error.exit_code())
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    the command line cannot be used: unexpected argument found: `--hst`
      hint: compare the command line, or the tool's configuration, with `astra-credential git --help`
      exit code 2
    `--timeout` is `soon`, which is not a number
      hint: set `--timeout` to seconds, such as `30`
      exit code 2
    the configuration file `/config.json` does not exist
      hint: name a file that exists with `--config FILE` or `ASTRA_CREDENTIAL_CONFIG`
      exit code 2
    the configuration file `/config.json` is a link that leads nowhere
      hint: restore the file to which it leads, or remove the link
      exit code 2
    the configuration file `/config.json` cannot be read: permission denied
      hint: put a file in its place that this user may read
      exit code 2
    the configuration file `/config.json` is not a regular file
      hint: put a regular file in its place
      exit code 2
    the configuration file `/config.json` may be changed by everybody (mode 0666)
      hint: run `chmod go-w /config.json`
      exit code 2
    the configuration file `/config.json` is larger than 1 MiB
      hint: remove everything from it that is not configuration
      exit code 2
    the configuration file `/config.json` is not UTF-8
      hint: save it as UTF-8
      exit code 2
    the configuration file `/config.json` is empty
      hint: write `{}` into it, or remove it
      exit code 2
    the configuration file `/config.json` is not JSON at line 3, column 5
      hint: correct it there: JSON, in which comments and trailing commas are allowed
      exit code 2
    the configuration file `/config.json` is not a JSON object at line 3, column 5
      hint: make it an object: `{ "accounts": { … } }`
      exit code 2
    the configuration file `/config.json` has the unknown key `host` at line 3, column 5
      hint: write `hosts`
      exit code 2
    the configuration file `/config.json` has an unknown key at line 3, column 5
      hint: use one of `file`, `hosts`
      exit code 2
    the configuration file `/config.json` has the unknown key `clientSecret` at line 3, column 5
      hint: keep the account in a file of its own, with `astra-credential setup account`
      exit code 2
    the configuration file `/config.json` has the key `hosts` twice at line 3, column 5
      hint: remove one of the two
      exit code 2
    the configuration file `/config.json` has a key twice at line 3, column 5
      hint: remove one of the two
      exit code 2
    the configuration file `/config.json` has a value of the wrong type for `hosts` at line 3, column 5
      hint: make it a list of strings: `["git.example.com"]`
      exit code 2
    the configuration file `/config.json` has a value for `api_url` that is not `https` at line 3, column 5
      hint: set it to the API's base without `/v2`
      exit code 2
    the configuration file `/config.json` has an account whose name is not 1 to 64 letters, digits, `-` and `_` at line 3, column 5
      hint: rename it, and its account file `NAME.json` too
      exit code 2
    the configuration file `/config.json` binds more than 1000 hosts at line 3, column 5
      hint: remove the hosts that no tool asks for; a file may bind 1000
      exit code 2
    the configuration file `/config.json` binds the host `git.example.com` to the accounts `default` and `prod` at line 3, column 5
      hint: leave it with one of the two
      exit code 2
    there is no account `prd`, which `--account` names
      hint: write `prod`
      exit code 2
    there is no account `test`, which `ASTRA_CREDENTIAL_ACCOUNT` names
      hint: run `astra-credential setup account --account test`
      exit code 2
    there is no account (not shown: it may hold a secret), which `--account` names
      hint: set `--account` to the name of an account, such as `prod`; a secret belongs in the account file
      exit code 2
    the host `git.example.com` is bound to the account `prod` and gets no token of the account `default`
      hint: leave the account out, or bind the host to the other account in `/config.json`
      exit code 2
    no account file: none is named, and without an absolute `HOME` there is no default
      hint: name the file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`
      exit code 3
    no account file: the path given for it (not shown: it is not certainly a path) names no file, and may be the account itself
      hint: put the account into a file for this user alone and name that file, or name `/dev/stdin` and pipe it in
      exit code 3
    no account file: `/account.json` does not exist
      hint: run `astra-credential setup account --account prod` and paste the service account copied from Astra's dashboard, or name another file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`
      exit code 3
    no account file: `/account.json` does not exist
      hint: name a file that exists, or leave `--service-account` and `ASTRA_SERVICE_ACCOUNT` out and run `astra-credential setup account`
      exit code 3
    cannot read the account file `/account.json`: permission denied
      hint: make it a file that this user can read, or name another with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`
      exit code 3
    the account file `/account.json` may be read by everybody (mode 0644)
      hint: run `chmod 600 /account.json`, or set `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1` to use it all the same
      exit code 3
    the account file `/account.json` has no `clientSecret`
      hint: copy the service account from Astra's dashboard anew
      exit code 3
    the account file `/account.json` is a folder
      hint: name the file in it with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`; a container engine makes an empty folder where a file to be mounted does not exist
      exit code 3
    `https://api.example.com` rejected the service account (401): no such client
      hint: take the blanks or line ends off the ends of `clientSecret` in `/account.json`, unless they belong to it
      exit code 4
    `https://api.example.com` rejected the service account (401): no such client
      hint: check in Astra's dashboard that the service account in `/account.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, store the new one with `astra-credential setup account --account prod`
      exit code 4
    `https://api.example.com` rejected the service account (401): no such client (12 s ago; not asked again for another 18 s)
      hint: check in Astra's dashboard that the service account in `/account.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, put the new one into that file
      exit code 4
    `https://api.example.com` has no `/v2/authenticateServiceAccount` (404)
      hint: check `--api-url` (the base without `/v2`); if it is right, create an application token in Astra's dashboard and put it into `/account.json`
      exit code 1
    `https://api.example.com` answered with a redirect (302), which is never followed
      hint: check that `--api-url` or `ASTRA_API_URL` is Astra's API, and that no login page or gateway answers in its place
      exit code 1
    `https://api.example.com` cannot answer now (503): down
      hint: try again later
      exit code 5
    `https://api.example.com` gave an unexpected answer (418)
      hint: check that `--api-url` or `ASTRA_API_URL` is Astra's API, and that no login page or gateway answers in its place
      exit code 1
    `https://api.example.com` answered without a usable token
      hint: check that `--api-url` or `ASTRA_API_URL` is Astra's API, and that no login page or gateway answers in its place
      exit code 1
    the certificate of `https://api.example.com` is not trusted: no trusted certificate authority has signed it; it was issued by `Corp CA`
      hint: put the certificate of the authority that issued it into a PEM file and name that with `--ca-file FILE` or `SSL_CERT_FILE`; where a gateway inspects TLS, the authority is your company's
      exit code 5
    the certificate of `https://api.example.com` is not trusted: it expired on 2021-01-01T00:00:00Z; it is for `api`, issued by `Corp CA`
      hint: have it renewed at the server or the gateway in between, unless this machine's clock is wrong
      exit code 5
    the certificate of `https://api.example.com` is not trusted: it is for `other`, issued by `Corp CA`
      hint: check the host in `--api-url` or `ASTRA_API_URL`, and that nothing answers in its place; else have a certificate issued for it
      exit code 5
    the certificate of `https://api.example.com` is not trusted: it names no host among its subject alternative names
      hint: have another one issued for the server or the gateway in between: X.509 version 3, the host among its subject alternative names, a key of ECDSA or of RSA with 2048 bits, signed with SHA-256, by an authority but not for one
      exit code 5
    TLS with `https://api.example.com` is not possible: it requires a client certificate
      hint: this program has none to show: have the server or the gateway in between ask for none, or name another API base with `--api-url`
      exit code 5
    TLS with `https://api.example.com` is not possible: it speaks only versions of TLS before 1.2
      hint: have TLS 1.2 or 1.3 enabled at the server or the gateway in between, with cipher suites that use ECDHE and AES-GCM or ChaCha20
      exit code 5
    the certificate authorities for `https://api.example.com` cannot be used: `/ca.pem`: it holds no PEM certificate
      hint: name a file of PEM certificates with `--ca-file FILE` or `SSL_CERT_FILE`, or unset that and `SSL_CERT_DIR` to trust the system's
      exit code 1
    `https://api.example.com` cannot be asked: the proxy's URL has a port that is not a number
      hint: set `HTTPS_PROXY` or `ALL_PROXY` to a URL such as `http://proxy.example.com:3128`; a user name and password stand before the host as `USER:PASSWORD@`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
      exit code 1
    `https://api.example.com` cannot be reached through the proxy `proxy:3128`: the proxy requires a user name and a password (407)
      hint: write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as `http://USER:PASSWORD@HOST:PORT`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
      exit code 5
    `https://api.example.com` did not answer in time
      hint: try again later, or give it longer with `--timeout SECONDS`
      exit code 5
    `https://api.example.com` did not answer in time through the proxy `proxy:3128`
      hint: check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`
      exit code 5
    `https://api.example.com` cannot be reached: connection refused
      hint: check the network and `--api-url`; behind a proxy, set `HTTPS_PROXY`
      exit code 5
    `https://api.example.com` cannot be reached through the proxy `proxy:3128`: connection refused
      hint: check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`
      exit code 5
    another process is still waiting for `https://api.example.com`
      hint: try again, or give it longer with `--timeout SECONDS`
      exit code 5
    `git.example.com:8443` refuses the tokens that Astra issues (it gets no other for another 29 s)
      hint: check that the account has access there, and that the host takes this kind of login; `astra-credential forget --account prod` makes the next call try at once
      exit code 4
    cannot drop the token cached in `/cache`: permission denied
      hint: try again, or remove what is in `/cache` by hand
      exit code 1
    git: cannot read the request: input/output error
      hint: let the tool call this program itself; `astra-credential git --help` shows how
      exit code 1
    git: `host` is missing
      hint: let the tool call this program itself; `astra-credential git --help` shows how
      exit code 1
    docker: the request is empty
      hint: let the tool call this program itself; `astra-credential docker --help` shows how
      exit code 1
    bazel: no account is configured for the host `cache.example.com`
      hint: if it takes tokens of Astra, run `astra-credential setup bazel --host cache.example.com`, or name it in `ASTRA_CREDENTIAL_HOSTS`
      exit code 1
    kubernetes: no account is configured for the host
      hint: if it takes tokens of Astra, run `astra-credential setup kubectl --host HOST[:PORT]`, with the `--account NAME` of the kubeconfig's user if that has one
      exit code 1
    bazel: the URI names a user in front of the host, and gets no token
      hint: write it as `https://HOST[:PORT]/…` where the tool is configured
      exit code 1
    docker: the configuration names this helper for `https://registry.example.com/v1/`, and no account is configured for that host
      hint: if it takes tokens of Astra, run `astra-credential setup docker --host registry.example.com`, or name it in `ASTRA_CREDENTIAL_HOSTS`
      exit code 1
    cannot run `tofu`: no such file
      hint: check the command's name, its permissions and `PATH`
      exit code 127
    cmd.exe cannot take the token: it has more than 8000 characters
      hint: run `astra-credential exec -- COMMAND`, which needs no shell
      exit code 1
    cannot write the answer to standard output: no space left on device
      hint: free space where the output goes, or keep the reader open
      exit code 1
    no host is named for git
      hint: name the host that takes tokens of Astra with `--host HOST[:PORT]`
      exit code 2
    `/.bazelrc` cannot be read: permission denied, and is left as it is
      hint: correct it or move it away, and try again
      exit code 1
    `/config.json` is not UTF-8, and is left as it is
      hint: correct it or move it away, and try again
      exit code 1
    `/config.json` names `other` for `h`
      hint: `setup` replaces only its own entries: remove this one by hand, and try again
      exit code 1
    `git.example.com` is bound to the account `default`, not to `prod`
      hint: name `--account default`, or take `git.example.com` out of its hosts in `/config.json` first
      exit code 2
    the account `prod` is the whole machine's, from `/etc/astra-credential/config.json`, and an entry of your own would replace it
      hint: have `git.example.com` added to the hosts of `prod` in `/etc/astra-credential/config.json`
      exit code 2
    `--min-valid` is not written into a tool's configuration
      hint: keep it with the account: `astra-credential setup account --min-valid …`
      exit code 2
    another `astra-credential setup` holds `/setup.lock`
      hint: try again when it has ended, or give it longer with `--timeout SECONDS`
      exit code 1
    `/home/me` belongs to another user (uid 1000), not to root
      hint: run it without `sudo`, or with `HOME` set to root's own home
      exit code 1
    `git config --global --list` failed: no such file
      hint: check that the tool is on `PATH`, and try the command by hand
      exit code 1
    `git config --global --list` failed: fatal: bad config line 1
      hint: check that the tool is on `PATH`, and try the command by hand
      exit code 1
    the path of this program is not known: no such file
      hint: run it where `/proc` is mounted, since the tools need this program's path
      exit code 1
    the path `/usr/\u{7}/astra-credential` cannot be written into a tool's configuration
      hint: move this program to a path in UTF-8 without control characters
      exit code 2
    cannot write `/.bazelrc`: permission denied
      hint: check its permissions, those of its folder and the room on its disk, and try again
      exit code 1
    cannot write `/.bazelrc`: another program changes it again and again
      hint: close the program that changes it, and try again
      exit code 1
    `/account.json` is not the file of the same account, and is kept
      hint: move it away first: `mv /account.json /account.json.old`
      exit code 3
    "#);
}

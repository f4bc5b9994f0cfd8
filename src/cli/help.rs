//! The texts of the help. They are at most 80 columns wide.

pub const ABOUT: &str = "\
Provides bearer tokens for the DataStax Astra DevOps API: exchanges a service
account for a token once, caches the token, renews it when it expires, and
passes it to each tool by that tool's own protocol";

/// The heading of the list of exit codes.
pub const EXIT_CODES: &str = "Exit codes:\n";

pub const MORE: &str = "\
First steps:
  astra-credential setup account
  astra-credential token
  astra-credential setup git --host git.example.com

`astra-credential help COMMAND` has examples, and shows how to configure a tool
by hand.

Exit codes:
  0  success; the answer is on standard output
  1  any other failure
  2  a wrong command line, variable or setting
  3  the account file is missing, malformed or open to other users
  4  Astra rejected the service account, or a host refuses its tokens
  5  Astra cannot be reached, or cannot answer now";

/// The end of each tool's help.
macro_rules! revoked {
    () => {
        "

A revoked token is served until it expires, since only its server knows that it
is revoked. If the server refuses the token (401, \"Unauthorized\"), run:
  astra-credential forget"
    };
}

pub const TOKEN: &str = "\
Examples:
  astra-credential token
  astra-credential token --format json    # with the time of renewal";

pub const FORGET: &str = "\
A revoked token is served until it expires, since only its server knows that it
is revoked. If a server refuses the token (kubectl prints \"Unauthorized\", Docker
\"no such manifest\", Terraform 401), run:
  astra-credential forget
The next call gets a new token.";

pub const COMPLETIONS: &str = "\
Examples:
  source <(astra-credential completions bash)       # in ~/.bashrc
  astra-credential completions zsh > \"${fpath[1]}/_astra-credential\"
  astra-credential completions fish \\
    > ~/.config/fish/conf.d/astra-credential.fish
  astra-credential completions powershell | Out-String | Invoke-Expression
  eval (astra-credential completions elvish | slurp)   # in rc.elv

The scripts complete the links too. They call the program by its name or, if
this command was called by a path, by that path.";

pub const PAGES: &str = "\
The program or a link: astra-credential,
bazel-credential-astra, git-credential-astra,
docker-credential-astra or terraform-credentials-astra
[default: astra-credential]";

pub const MAN: &str = "\
Examples:
  astra-credential man | man -l -
  astra-credential man git-credential-astra | man -l -";

pub const HELP: &str = "\
Example:
  astra-credential help status";

pub const HEADER: &str = "\
Example:
  astra-credential header |
    curl -H @- https://api.astra.datastax.com/v2/databases";

pub const ENV: &str = "\
Examples:
  eval \"$(astra-credential env)\"               # sh, bash, zsh, ksh, dash
  astra-credential env --shell fish | source
  eval \"`astra-credential env --shell csh`\"
  eval (astra-credential env --shell elvish | slurp)
  execx($(astra-credential env --shell xonsh))
  astra-credential env --shell powershell | Out-String | Invoke-Expression
  for /f \"delims=\" %i in ('astra-credential env --shell cmd') do @%i

In a batch file, write %%i for %i, and end it if there is no token:
  if not defined ASTRA_API_TOKEN exit /b 1

$SHELL is not used, since another shell may evaluate the output. For nu and
other shells, use `astra-credential exec`.

On failure the output unsets both variables and makes the evaluation fail.";

pub const EXEC: &str = "\
Terraform's provider reads the token once. It must be valid for the whole run:
  astra-credential exec --min-valid 1h -- terraform apply

Exit codes: the command's own; 127 if the command is not found, 126 if it cannot
be started.";

pub const STATUS: &str = "\
Shows the last failure, also when the tool that called this program did not
print it:
  astra-credential status

A revoked token is served until it expires, since only its server knows that it
is revoked. If a server refuses the token that is shown here, run:
  astra-credential forget

Exit codes:
  0  a valid token is cached, or the account has an application token
  1  no valid token is cached
  2  a wrong command line, variable or setting
  3  the account file is missing, malformed or open to other users";

pub const DOCTOR: &str = "\
If a tool does not work, run this in the same environment:
  astra-credential doctor --online

Exit codes: 0 if no check failed, 1 if one failed, 2 for a wrong command line,
variable or setting.";

pub const KUBERNETES: &str = concat!(
    "\
Set-up:
  astra-credential setup kubectl

By hand:
  kubectl config set-credentials astra --exec-command=astra-credential \\
    --exec-arg=kubernetes --exec-interactive-mode=Never \\
    --exec-api-version=client.authentication.k8s.io/v1",
    revoked!()
);

pub const GIT: &str = "\
Set-up:
  astra-credential setup git --host git.example.com

By hand, with the host in config.json:
  git config --global credential.https://git.example.com.helper \\
    '/usr/local/bin/astra-credential git'

If a server refuses the token, git deletes it, and the next call gets a new one.
Other tools do not: they get a revoked token until it expires, since only its
server knows that it is revoked. To delete it for all of them:
  astra-credential forget";

pub const BAZEL: &str = concat!(
    "\
Set-up:
  astra-credential setup bazel --host cache.example.com

By hand, in .bazelrc, with the host in config.json and a link:
  common --credential_helper=cache.example.com=/PATH/bazel-credential-astra",
    revoked!()
);

pub const DOCKER: &str = concat!(
    "\
Set-up:
  astra-credential setup docker --host registry.example.com

By hand, in ~/.docker/config.json, with the host in config.json of this program
and a link named `docker-credential-astra` on PATH:
  { \"credHelpers\": { \"registry.example.com\": \"astra\" } }",
    revoked!()
);

pub const TERRAFORM: &str = concat!(
    "\
Set-up for registries:
  astra-credential setup terraform --host registry.example.com

By hand, in ~/.terraformrc, with the host in config.json and a link named
`terraform-credentials-astra` in ~/.terraform.d/plugins:
  credentials_helper \"astra\" {}

An external data source stores the token in the state, in clear text:
  data \"external\" \"astra\" {
    program = [\"astra-credential\", \"terraform\", \"external\"]
  }
Better let the provider read the token from the environment:
  astra-credential exec --min-valid 1h -- terraform apply",
    revoked!()
);

pub const SETUP: &str = "\
Examples:
  astra-credential setup account
  astra-credential setup git --host git.example.com --dry-run
  astra-credential setup git --host git.example.com
  astra-credential setup git --undo

The hosts are bound to the account in config.json in the configuration folder.
setup.json in the same folder records the changes, for --undo.";

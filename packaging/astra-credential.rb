# Homebrew formula. A release fills it in, see packaging/fill.
class AstraCredential < Formula
  desc "Credential helper for the DataStax Astra DevOps API"
  homepage "https://github.com/@REPOSITORY@"
  version "@VERSION@"
  license any_of: ["MIT", "Apache-2.0"]

  on_macos do
    on_arm do
      url "https://github.com/@REPOSITORY@/releases/download/v@VERSION@/astra-credential-v@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256:astra-credential-v@VERSION@-aarch64-apple-darwin.tar.gz@"
    end
    on_intel do
      url "https://github.com/@REPOSITORY@/releases/download/v@VERSION@/astra-credential-v@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256:astra-credential-v@VERSION@-x86_64-apple-darwin.tar.gz@"
    end
  end

  on_linux do
    on_arm do
      url "https://github.com/@REPOSITORY@/releases/download/v@VERSION@/astra-credential-v@VERSION@-aarch64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:astra-credential-v@VERSION@-aarch64-unknown-linux-musl.tar.gz@"
    end
    on_intel do
      url "https://github.com/@REPOSITORY@/releases/download/v@VERSION@/astra-credential-v@VERSION@-x86_64-unknown-linux-musl.tar.gz"
      sha256 "@SHA256:astra-credential-v@VERSION@-x86_64-unknown-linux-musl.tar.gz@"
    end
  end

  def install
    bin.install "astra-credential"
    %w[
      bazel-credential-astra
      git-credential-astra
      docker-credential-astra
      terraform-credentials-astra
    ].each { |name| bin.install_symlink "astra-credential" => name }
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/bash/astra-credential"
    zsh_completion.install "completions/zsh/_astra-credential"
    fish_completion.install Dir["completions/fish/*.fish"]
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/astra-credential --version")
    assert_match "capability authtype", shell_output("#{bin}/git-credential-astra capability")
  end
end

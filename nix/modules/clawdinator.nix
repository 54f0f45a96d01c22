# services.clawdinator: everything that runs on a CLAWDINATOR.
{
  imports = [
    ./clawdinator/options.nix
    ./clawdinator/users.nix
    ./clawdinator/bootstrap.nix
    ./clawdinator/secrets.nix
    ./clawdinator/repo-seed.nix
    ./clawdinator/switch.nix
    ./clawdinator/memory-efs.nix
    ./clawdinator/memory.nix
    ./clawdinator/workspace.nix
    ./clawdinator/active.nix
    ./clawdinator/gateway.nix
    ./clawdinator/github-app.nix
    ./clawdinator/github-sync.nix
    ./clawdinator/self-update.nix
    ./clawdinator/heartbeat.nix
    ./clawdinator/metadata-guard.nix
  ];
}

# The GitHub monitor: open issues and pull requests of the organisation, and what changed since the last look, written to
# the memory for the agent's triage. Reads only.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  sync = cfg.githubSync;
  inherit (lib) mkOption types;
  hardening = import ../../lib/hardening.nix;
in
{
  options.services.clawdinator.githubSync = {
    enable = lib.mkEnableOption "the GitHub monitor";

    org = mkOption {
      type = types.nullOr (types.strMatching "[A-Za-z0-9][A-Za-z0-9-]*");
      default = null;
      example = "openclaw";
      description = "The organisation whose issues and pull requests are looked at.";
    };

    repos = mkOption {
      type = types.listOf (types.strMatching "[A-Za-z0-9._-]+");
      default = [ ];
      description = "Only these repositories of it. Empty: all that are not archived.";
    };

    interval = mkOption {
      type = types.str;
      default = "15min";
      description = "How often it looks (systemd.time).";
    };

    outputDir = mkOption {
      type = types.path;
      default = "${cfg.memoryDir}/github";
      defaultText = lib.literalExpression ''"''${config.services.clawdinator.memoryDir}/github"'';
      description = "Where it writes open.json, changes.md and what it needs to know next time.";
    };
  };

  config = lib.mkIf (cfg.enable && sync.enable) {
    assertions = [
      {
        assertion = sync.org != null;
        message = "services.clawdinator.githubSync.enable needs githubSync.org.";
      }
      {
        assertion = cfg.githubApp.enable;
        message = "services.clawdinator.githubSync.enable needs githubApp.enable: without a token GitHub allows 60 requests an hour.";
      }
      {
        assertion = lib.hasPrefix "${cfg.memoryDir}/" sync.outputDir;
        message = "services.clawdinator.githubSync.outputDir must lie in the memory, where the agent finds it.";
      }
    ];

    systemd.services.clawdinator-github-sync = {
      description = "Look at open issues and pull requests";
      after = [
        "network-online.target"
        "clawdinator-github-token.service"
        "clawdinator-memory-init.service"
      ];
      wants = [ "network-online.target" ];
      unitConfig = {
        RequiresMountsFor = cfg.memoryDir;
        ConditionPathExists = cfg.githubApp.tokenFile;
      };
      path = [
        pkgs.coreutils
        pkgs.curl
        pkgs.gnugrep
        pkgs.gnused
        pkgs.jq
        pkgs.util-linux
      ];
      environment = {
        GITHUB_TOKEN_FILE = "%d/token";
        GITHUB_SYNC_REPOS = lib.concatStringsSep " " sync.repos;
      };
      serviceConfig = hardening.network // {
        Type = "oneshot";
        ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/github-sync.sh ${toString sync.org} ${sync.outputDir}";
        User = cfg.user;
        Group = cfg.group;
        LoadCredential = [ "token:${cfg.githubApp.tokenFile}" ];
        ReadWritePaths = [ "-${cfg.memoryDir}" ];
        IPAddressDeny = hardening.metadataAddresses;
        TimeoutStartSec = "10min";
        MemoryDenyWriteExecute = true;
        UMask = "0027";
      };
    };

    systemd.timers.clawdinator-github-sync = {
      description = "Look at GitHub";
      wantedBy = [ "clawdinator-active.target" ];
      partOf = [ "clawdinator-active.target" ];
      timerConfig = {
        OnActiveSec = "3min";
        OnUnitInactiveSec = sync.interval;
        RandomizedDelaySec = "1min";
      };
    };
  };
}

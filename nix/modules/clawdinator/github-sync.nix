# The GitHub monitor: writes the organisation's open issues and pull requests, and their changes, to the memory for the agent's
# triage. It only reads from GitHub.
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
      description = "The monitored organisation.";
    };

    repos = mkOption {
      type = types.listOf (types.strMatching "[A-Za-z0-9._-]+");
      default = [ ];
      description = "The monitored repositories of the organisation. Empty: all that are not archived.";
    };

    interval = mkOption {
      type = types.str;
      default = "15min";
      description = "Interval between runs (systemd.time).";
    };

    outputDir = mkOption {
      type = types.path;
      default = "${cfg.memoryDir}/github";
      defaultText = lib.literalExpression ''"''${config.services.clawdinator.memoryDir}/github"'';
      description = "Folder for open.json, changes.md and the cache of answers.";
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
        message = "services.clawdinator.githubSync.enable needs githubApp.enable: without a token, GitHub allows only 60 requests an hour.";
      }
      {
        assertion = lib.hasPrefix "${cfg.memoryDir}/" sync.outputDir;
        message = "services.clawdinator.githubSync.outputDir must be in the memory (${cfg.memoryDir}), where the agent reads it.";
      }
    ];

    systemd.services.clawdinator-github-sync = {
      description = "List open issues and pull requests";
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
      description = "List open issues and pull requests";
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

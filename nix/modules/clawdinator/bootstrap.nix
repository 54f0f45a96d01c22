# Fetches the instance's bundle from S3 and installs it atomically. See docs/bundle-format.md.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  boot = cfg.bootstrap;
  inherit (lib) mkOption types;
  hardening = import ../../lib/hardening.nix;
in
{
  options.services.clawdinator.bootstrap = {
    enable = mkOption {
      type = types.bool;
      default = cfg.enable;
      defaultText = lib.literalExpression "config.services.clawdinator.enable";
      description = "Whether to fetch the instance's bundle at boot.";
    };

    bucket = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "The fleet's bucket. Null: what /etc/clawdinator/bucket says, which user data writes.";
    };

    region = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Region of the bucket. Null: the instance's own, asked of its metadata service.";
    };

    dir = mkOption {
      type = types.path;
      default = "/var/lib/clawdinator/bootstrap";
      readOnly = true;
      description = "Holds `current`, a link to the bundle that is installed: secrets/, repos/, config.json.";
    };

    interval = mkOption {
      type = types.str;
      default = "15min";
      description = "How often to look for a new bundle (systemd.time).";
    };
  };

  config = lib.mkIf boot.enable {
    users.users.clawdinator-bootstrap = {
      isSystemUser = true;
      group = "clawdinator-role";
      description = "Fetches the instance's bundle";
    };

    systemd.services.clawdinator-bootstrap = {
      description = "Fetch and install the instance's bundle";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      wantedBy = [ "multi-user.target" ];
      # User data writes the file on the first boot and starts this unit itself.
      unitConfig.ConditionPathExists = "/etc/clawdinator/bootstrap-prefix";
      path = [
        pkgs.coreutils
        pkgs.curl
        pkgs.gnugrep
        pkgs.gnused
        pkgs.jq
        pkgs.util-linux
      ];
      environment =
        lib.optionalAttrs (boot.bucket != null) { S3_BUCKET = boot.bucket; }
        // lib.optionalAttrs (boot.region != null) { AWS_REGION = boot.region; };
      # A switch must not fetch in the middle of itself.
      restartIfChanged = false;
      serviceConfig = hardening.network // {
        Type = "oneshot";
        ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/bootstrap-runtime.sh";
        User = "clawdinator-bootstrap";
        Group = "clawdinator-role";
        StateDirectory = "clawdinator/bootstrap";
        StateDirectoryMode = "0700";
        TimeoutStartSec = "15min";
        MemoryDenyWriteExecute = true;
      };
    };

    systemd.timers.clawdinator-bootstrap = {
      description = "Look for a new bundle";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "5min";
        OnUnitInactiveSec = boot.interval;
        RandomizedDelaySec = "1min";
      };
    };
  };
}

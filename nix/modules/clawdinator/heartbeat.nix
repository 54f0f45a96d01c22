# Writes the heartbeat every minute and at each stage of a boot. A deploy waits for it.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  beat = cfg.heartbeat;
  inherit (lib) mkOption types;
  hardening = import ../../lib/hardening.nix;
in
{
  options.services.clawdinator.heartbeat = {
    enable = mkOption {
      type = types.bool;
      default = cfg.enable;
      defaultText = lib.literalExpression "config.services.clawdinator.enable";
      description = "Whether to write heartbeats/<id>/<EC2 instance id>.json to the fleet's bucket.";
    };

    interval = mkOption {
      type = types.str;
      default = "1min";
      description = "Interval between heartbeats (systemd.time). After five minutes without one a host is unhealthy.";
    };

    service = mkOption {
      type = types.str;
      default = "clawdinator-gateway.service";
      description = "The gateway's unit. On a standby, the unit with -standby in its name is reported instead.";
    };
  };

  config = lib.mkIf beat.enable {
    systemd.services.clawdinator-heartbeat = {
      description = "Write the heartbeat";
      # Each change of the boot report starts it.
      startLimitIntervalSec = 0;
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      unitConfig.ConditionPathExists = "/etc/clawdinator/instance-name";
      path = [
        pkgs.coreutils
        pkgs.curl
        pkgs.gnugrep
        pkgs.gnused
        pkgs.jq
        "/run/current-system/sw"
      ];
      environment = {
        HEARTBEAT_SERVICE = beat.service;
        HEARTBEAT_REVISION = toString config.system.configurationRevision;
      }
      // lib.optionalAttrs (cfg.bootstrap.bucket != null) { S3_BUCKET = cfg.bootstrap.bucket; }
      // lib.optionalAttrs (cfg.bootstrap.region != null) { AWS_REGION = cfg.bootstrap.region; };
      serviceConfig = hardening.network // {
        Type = "oneshot";
        ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/heartbeat.sh";
        DynamicUser = true;
        Group = "clawdinator-role";
        TimeoutStartSec = "45s";
        MemoryDenyWriteExecute = true;
        # Keeps systemd's "Starting" and "Finished" of each run out of the journal. The script's lines stay.
        SyslogLevel = "warning";
        LogLevelMax = "warning";
      };
    };

    systemd.timers.clawdinator-heartbeat = {
      description = "Heartbeat";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "30s";
        OnUnitInactiveSec = beat.interval;
        AccuracySec = "5s";
      };
    };
  };
}

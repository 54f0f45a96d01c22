# Only the machine that active/<id>.json names is active: see ADR 41. The gateway, the GitHub monitor and the self-update belong
# to clawdinator-active.target. A standby runs a gateway without channels, which shows that the gateway starts.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  hardening = import ../../lib/hardening.nix;
  # Without a bundle there is no bucket with active/<id>.json, and no second machine.
  alone = !cfg.bootstrap.enable;
in
{
  config = lib.mkIf cfg.enable {
    systemd.targets.clawdinator-active = {
      description = "This machine is active";
      wantedBy = lib.optional alone "multi-user.target";
      conflicts = [ "clawdinator-standby.target" ];
      unitConfig.DefaultDependencies = false;
    };
    systemd.targets.clawdinator-standby = lib.mkIf (!alone) {
      description = "This machine is standby";
      unitConfig.DefaultDependencies = false;
    };

    systemd.services.clawdinator-active-watch = lib.mkIf (!alone) {
      description = "Follow which machine of the instance is active";
      wantedBy = [
        "multi-user.target"
        # User data starts this target after it has written instance-name.
        "clawdinator.target"
      ];
      wants = [ "network-online.target" ];
      # The gateway fails without secrets. Not after the switch, which waits for this unit.
      after = [
        "network-online.target"
        "clawdinator-bootstrap.service"
        "clawdinator-secrets.service"
      ];
      unitConfig.ConditionPathExists = "/etc/clawdinator/instance-name";
      startLimitIntervalSec = 0;
      path = [
        pkgs.coreutils
        pkgs.curl
        pkgs.gnugrep
        pkgs.gnused
        pkgs.jq
        pkgs.util-linux
        "/run/current-system/sw"
      ];
      environment = {
        WATCH_UNITS = "clawdinator-gateway.service clawdinator-github-sync.timer clawdinator-github-sync.service clawdinator-self-update.timer clawdinator-self-update.service";
      }
      // lib.optionalAttrs (cfg.bootstrap.bucket != null) { S3_BUCKET = cfg.bootstrap.bucket; }
      // lib.optionalAttrs (cfg.bootstrap.region != null) { AWS_REGION = cfg.bootstrap.region; };
      serviceConfig = hardening.network // {
        ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/active-watch.sh";
        # The role is kept there over a restart.
        ReadWritePaths = [ "/run/clawdinator" ];
        # Without it systemd does not let root start and stop units.
        CapabilityBoundingSet = "CAP_SYS_ADMIN";
        StandardOutput = "journal+console";
        Restart = "always";
        RestartSec = 3;
        TimeoutStopSec = 5;
        MemoryDenyWriteExecute = true;
        UMask = "0022";
      };
    };
  };
}

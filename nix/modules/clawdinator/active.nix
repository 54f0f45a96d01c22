# Of two machines of one id only the one that active/<id>.json names acts: see ADR 41. The gateway, the GitHub monitor and
# the self-update belong to clawdinator-active.target; on a machine that stands by, a gateway with its channels skipped
# shows that it would come up.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  hardening = import ../../lib/hardening.nix;
  # Without a bundle there is no bucket to look in, and no second machine.
  alone = !cfg.bootstrap.enable;
in
{
  config = lib.mkIf cfg.enable {
    systemd.targets.clawdinator-active = {
      description = "This machine acts for its id";
      wantedBy = lib.optional alone "multi-user.target";
      conflicts = [ "clawdinator-standby.target" ];
      unitConfig.DefaultDependencies = false;
    };
    systemd.targets.clawdinator-standby = lib.mkIf (!alone) {
      description = "Another machine acts for this one's id";
      unitConfig.DefaultDependencies = false;
    };

    systemd.services.clawdinator-active-watch = lib.mkIf (!alone) {
      description = "See which machine acts for this id";
      wantedBy = [
        "multi-user.target"
        # Once more when user data has said what this machine is.
        "clawdinator.target"
      ];
      wants = [ "network-online.target" ];
      # The secrets first: the gateway fails without them. Not after the switch, which waits for this unit.
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
        # What it decided lies in /run/clawdinator and outlives it.
        ReadWritePaths = [ "/run/clawdinator" ];
        # systemd starts and stops units for root that has it.
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

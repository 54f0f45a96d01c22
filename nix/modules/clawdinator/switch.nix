# The last stage of a first boot: switches from the image to the host's configuration. Only the previous stage starts it.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  stage = import ../../lib/stage.nix {
    inherit lib pkgs;
    inherit (cfg) scripts;
  };
in
{
  config = lib.mkIf cfg.bootstrap.enable {
    systemd.services.clawdinator-switch = {
      description = "Switch to the host's configuration";
      wants = [ "network-online.target" ];
      after = [
        "network-online.target"
        "clawdinator-repo-seed.service"
      ];
      unitConfig = {
        ConditionPathExists = "!/var/lib/clawdinator/switched";
        # The switch must not stop this unit, which runs it.
        X-StopOnRemoval = false;
      };
      startLimitIntervalSec = 0;
      restartIfChanged = false;
      stopIfChanged = false;
      path = stage.path ++ [ pkgs.git ];
      environment = {
        HOME = "/root";
        SWITCH_FLAKE = "${cfg.stateDir}/repos/clawdinators";
      };
      # The activation's mounts must be visible to the system. Do not add hardening that creates a mount namespace.
      serviceConfig = stage.oneshot "switch" "clawdinator-switch.service" "" // {
        ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/switch-host.sh";
        TimeoutStartSec = "1h";
        LockPersonality = true;
        RestrictRealtime = true;
        UMask = "0022";
      };
    };
  };
}

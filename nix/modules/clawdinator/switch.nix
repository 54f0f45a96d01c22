# The last stage of a first boot: the image becomes its host. Only the stage before starts it.
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
      description = "Switch to the host's own configuration";
      wants = [ "network-online.target" ];
      after = [
        "network-online.target"
        "clawdinator-repo-seed.service"
      ];
      unitConfig = {
        ConditionPathExists = "!/var/lib/clawdinator/switched";
        # It switches the system that it is a part of.
        X-StopOnRemoval = false;
      };
      startLimitIntervalSec = 0;
      restartIfChanged = false;
      stopIfChanged = false;
      # The system's own nixos-rebuild and nix, whatever they are called in this release.
      path = stage.path ++ [ pkgs.git ];
      environment = {
        HOME = "/root";
        SWITCH_FLAKE = "${cfg.stateDir}/repos/clawdinators";
      };
      # The activation's mounts have to be the system's: nothing here may give the unit a mount namespace of its own.
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

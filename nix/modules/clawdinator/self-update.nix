# Updates the gateway by timer: updates one input of the flake's lock, switches, checks the gateway, and rolls back if it does
# not stay up. Only a deploy changes the other inputs.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  update = cfg.selfUpdate;
  inherit (lib) mkOption types;
in
{
  options.services.clawdinator.selfUpdate = {
    enable = lib.mkEnableOption "updates of the gateway by timer";

    flake = mkOption {
      type = types.nullOr types.path;
      default = "${cfg.stateDir}/repos/clawdinators";
      defaultText = lib.literalExpression ''"''${config.services.clawdinator.stateDir}/repos/clawdinators"'';
      description = "Checkout of the flake whose lock is updated.";
    };

    host = mkOption {
      type = types.str;
      default = config.networking.hostName;
      defaultText = lib.literalExpression "config.networking.hostName";
      description = "Name of this host in the flake's nixosConfigurations.";
    };

    inputs = mkOption {
      type = types.listOf types.str;
      default = [ "nix-openclaw" ];
      description = "Inputs of the flake that are updated.";
    };

    service = mkOption {
      type = types.str;
      default = "clawdinator-gateway.service";
      description = "The unit that must stay up after the switch.";
    };

    schedule = mkOption {
      type = types.str;
      default = "*-*-* 04:00:00";
      description = "Time of the check for updates (systemd.time, OnCalendar).";
    };

    settleSeconds = mkOption {
      type = types.ints.between 10 3600;
      default = 300;
      description = "Seconds that the unit must stay up without a restart. Otherwise the update is rolled back.";
    };
  };

  config = lib.mkIf (cfg.enable && update.enable) {
    assertions = [
      {
        assertion = update.flake != null;
        message = "services.clawdinator.selfUpdate.enable needs selfUpdate.flake.";
      }
      {
        assertion = update.inputs != [ ];
        message = "services.clawdinator.selfUpdate.enable needs at least one of selfUpdate.inputs.";
      }
      {
        assertion = update.host != "";
        message = "services.clawdinator.selfUpdate.enable needs selfUpdate.host or networking.hostName.";
      }
    ];

    systemd.services.clawdinator-self-update = {
      description = "Update the gateway";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      # nixos-rebuild and nix of the system: their package names depend on the release.
      path = [
        pkgs.coreutils
        pkgs.git
        pkgs.jq
        pkgs.util-linux
        "/run/current-system/sw"
      ];
      environment = {
        HOME = "/root";
        SELF_UPDATE_FLAKE = toString update.flake;
        SELF_UPDATE_HOST = update.host;
        SELF_UPDATE_INPUTS = lib.concatStringsSep " " update.inputs;
        SELF_UPDATE_SERVICE = update.service;
        SELF_UPDATE_SETTLE_SECONDS = toString update.settleSeconds;
      };
      # The switch must not stop this unit, which runs it.
      restartIfChanged = false;
      stopIfChanged = false;
      unitConfig.X-StopOnRemoval = false;
      serviceConfig = {
        Type = "oneshot";
        ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/self-update.sh";
        StateDirectory = "clawdinator/self-update";
        StateDirectoryMode = "0700";
        TimeoutStartSec = "3h";
        # A rollback runs the activation script, whose mounts must be visible to the system. Do not add hardening that creates
        # a mount namespace.
        LockPersonality = true;
        RestrictRealtime = true;
        UMask = "0022";
        Nice = 10;
        IOSchedulingClass = "idle";
      };
    };

    systemd.timers.clawdinator-self-update = {
      description = "Check for a newer gateway";
      wantedBy = [ "clawdinator-active.target" ];
      partOf = [ "clawdinator-active.target" ];
      timerConfig = {
        OnCalendar = update.schedule;
        # Hosts update at different times, so that a bad update is seen before all hosts have it.
        RandomizedDelaySec = "4h";
        Persistent = false;
      };
    };
  };
}

# Takes up a newer gateway without a person: one input of the flake's lock, a switch, a look whether it holds, and the
# way back where it does not. What a deploy brings (the rest of the lock) is not touched.
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
      description = "Checkout of the flake, whose lock is updated.";
    };

    host = mkOption {
      type = types.str;
      default = config.networking.hostName;
      defaultText = lib.literalExpression "config.networking.hostName";
      description = "Which of the flake's nixosConfigurations this host is.";
    };

    inputs = mkOption {
      type = types.listOf types.str;
      default = [ "nix-openclaw" ];
      description = "The inputs that are updated.";
    };

    service = mkOption {
      type = types.str;
      default = "clawdinator-gateway.service";
      description = "The unit that must stay up after the switch.";
    };

    schedule = mkOption {
      type = types.str;
      default = "*-*-* 04:00:00";
      description = "When to look for an update (systemd.time, OnCalendar).";
    };

    settleSeconds = mkOption {
      type = types.ints.between 10 3600;
      default = 300;
      description = "How long the unit has to stay up, without a restart, before an update counts as good.";
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
      # The system's own nixos-rebuild and nix, whatever they are called in this release.
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
      # It switches the system that it is a part of.
      restartIfChanged = false;
      stopIfChanged = false;
      unitConfig.X-StopOnRemoval = false;
      serviceConfig = {
        Type = "oneshot";
        ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/self-update.sh";
        StateDirectory = "clawdinator/self-update";
        StateDirectoryMode = "0700";
        TimeoutStartSec = "3h";
        # Switching back runs the activation script, whose mounts have to be the system's: nothing here may give the unit a
        # mount namespace of its own.
        LockPersonality = true;
        RestrictRealtime = true;
        UMask = "0022";
        Nice = 10;
        IOSchedulingClass = "idle";
      };
    };

    systemd.timers.clawdinator-self-update = {
      description = "Look for a newer gateway";
      wantedBy = [ "clawdinator-active.target" ];
      partOf = [ "clawdinator-active.target" ];
      timerConfig = {
        OnCalendar = update.schedule;
        # Not the whole fleet at once: the first one's trouble is seen before the last one begins.
        RandomizedDelaySec = "4h";
        Persistent = false;
      };
    };
  };
}

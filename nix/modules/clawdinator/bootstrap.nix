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
  stage = import ../../lib/stage.nix {
    inherit lib pkgs;
    inherit (cfg) scripts;
  };
in
{
  options.services.clawdinator.bootstrap = {
    enable = mkOption {
      type = types.bool;
      default = cfg.enable;
      defaultText = lib.literalExpression "config.services.clawdinator.enable";
      description = "Whether to fetch the instance's bundle.";
    };

    bucket = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "fleet-bucket";
      description = "The fleet's bucket. Null: the content of /etc/clawdinator/bucket, which user data writes.";
    };

    region = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Region of the bucket. Null: the region of the machine.";
    };

    dir = mkOption {
      type = types.path;
      default = "/var/lib/clawdinator/bootstrap";
      readOnly = true;
      description = "Folder of the bundles. `current` links to the installed bundle: secrets/, repos/, config.json.";
    };

    interval = mkOption {
      type = types.str;
      default = "45s";
      description = "Interval between checks for a new bundle (systemd.time). A check is one small request.";
    };
  };

  config = lib.mkIf boot.enable {
    users.users.clawdinator-bootstrap = {
      isSystemUser = true;
      group = "clawdinator-role";
      description = "Fetches the instance's bundle";
    };

    # User data starts this target. Each stage of the boot starts the next one: see ADR 40.
    systemd.targets.clawdinator = {
      description = "Stages of the boot: bundle, secrets, repositories, switch";
      wantedBy = [ "multi-user.target" ];
      wants = [ "clawdinator-bootstrap.service" ];
      # With default dependencies the boot and the switch would wait for each other.
      unitConfig.DefaultDependencies = false;
    };

    systemd.services.clawdinator-bootstrap = {
      description = "Fetch and install the instance's bundle";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      # User data writes the file at the first boot, then starts the target.
      unitConfig.ConditionPathExists = "/etc/clawdinator/bootstrap-prefix";
      startLimitIntervalSec = 0;
      path = stage.path ++ [ pkgs.curl ];
      environment =
        lib.optionalAttrs (boot.bucket != null) { S3_BUCKET = boot.bucket; }
        // lib.optionalAttrs (boot.region != null) { AWS_REGION = boot.region; };
      # A switch must not start a fetch.
      restartIfChanged = false;
      serviceConfig =
        hardening.network
        // stage.oneshot "bundle" "clawdinator-bootstrap.service" "start clawdinator-secrets.service"
        // {
          ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/bootstrap-runtime.sh";
          User = "clawdinator-bootstrap";
          Group = "clawdinator-role";
          StateDirectory = "clawdinator/bootstrap";
          StateDirectoryMode = "0700";
          TimeoutStartSec = "15min";
          MemoryDenyWriteExecute = true;
          # Keeps systemd's "Starting" and "Finished" of each run out of the journal. The script's lines stay.
          SyslogLevel = "notice";
          LogLevelMax = "notice";
        };
    };

    systemd.timers.clawdinator-bootstrap = {
      description = "Check for a new bundle";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "2min";
        OnUnitInactiveSec = boot.interval;
        AccuracySec = "5s";
      };
    };
  };
}

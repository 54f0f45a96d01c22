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
      description = "Whether to fetch the instance's bundle at boot.";
    };

    bucket = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "fleet-bucket";
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
      default = "45s";
      description = "How often to look for a new bundle (systemd.time). It is one small request while there is none.";
    };
  };

  config = lib.mkIf boot.enable {
    users.users.clawdinator-bootstrap = {
      isSystemUser = true;
      group = "clawdinator-role";
      description = "Fetches the instance's bundle";
    };

    # What user data starts. Every stage of the boot starts the next one when it is done: see ADR 40.
    systemd.targets.clawdinator = {
      description = "What this machine is: bundle, secrets, repositories, switch";
      wantedBy = [ "multi-user.target" ];
      wants = [ "clawdinator-bootstrap.service" ];
      # Or the boot would wait for the switch, and the switch for the boot.
      unitConfig.DefaultDependencies = false;
    };

    systemd.services.clawdinator-bootstrap = {
      description = "Fetch and install the instance's bundle";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      # User data writes the file on the first boot and starts the target once more.
      unitConfig.ConditionPathExists = "/etc/clawdinator/bootstrap-prefix";
      startLimitIntervalSec = 0;
      path = stage.path ++ [ pkgs.curl ];
      environment =
        lib.optionalAttrs (boot.bucket != null) { S3_BUCKET = boot.bucket; }
        // lib.optionalAttrs (boot.region != null) { AWS_REGION = boot.region; };
      # A switch must not fetch in the middle of itself.
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
          # "Starting" and "Finished" every minute would be all that the journal holds; what the script says stays.
          SyslogLevel = "notice";
          LogLevelMax = "notice";
        };
    };

    systemd.timers.clawdinator-bootstrap = {
      description = "Look for a new bundle";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "2min";
        OnUnitInactiveSec = boot.interval;
        AccuracySec = "5s";
      };
    };
  };
}

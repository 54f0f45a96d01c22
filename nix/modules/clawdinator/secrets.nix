# Test-decrypts the secrets of the installed bundle and, on a host, runs agenix for them. agenix alone is not enough: it runs
# before the network is up, so the first boot has no secrets then, and a new bundle comes later.
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
  # The image has no agenix, and only test-decrypts.
  files = lib.optionals cfg.enable (
    map (secret: secret.path) (lib.attrValues (config.age.secrets or { }))
  );
in
{
  config = lib.mkIf cfg.bootstrap.enable {
    systemd.services.clawdinator-secrets = {
      description = "Decrypt the secrets of a new bundle";
      after = [ "clawdinator-bootstrap.service" ];
      wantedBy = [
        "multi-user.target"
        "clawdinator.target"
      ];
      unitConfig.ConditionPathExists = "${cfg.bootstrap.dir}/current/config.json";
      startLimitIntervalSec = 0;
      path = stage.path ++ [ pkgs.age ];
      restartIfChanged = false;
      # Runs the system's activation, which mounts, changes owners and writes to /etc and /run. Do not add hardening that creates
      # a mount namespace: the mount of agenix would end with the unit.
      serviceConfig =
        stage.oneshot "secrets" "clawdinator-secrets.service" "restart clawdinator-repo-seed.service"
        // {
          ExecStart = "${lib.getExe pkgs.bash} ${cfg.scripts}/take-secrets.sh ${
            lib.escapeShellArgs ([ "${cfg.bootstrap.dir}/current" ] ++ files)
          }";
          RuntimeDirectory = "clawdinator-secrets";
          RuntimeDirectoryPreserve = true;
          TimeoutStartSec = "5min";
          RestrictRealtime = true;
          LockPersonality = true;
        };
    };

    # OnSuccess= of the bootstrap unit would run it after each check, even if the bundle is unchanged.
    systemd.paths.clawdinator-secrets = {
      description = "Detect a new bundle";
      wantedBy = [ "multi-user.target" ];
      pathConfig.PathChanged = "${cfg.bootstrap.dir}/installed";
    };
  };
}

# Checks that the installed bundle's secrets can be decrypted here and, on a host, has agenix decrypt them: its activation
# runs before the network is up, so on the first boot there is nothing to decrypt with, and later a bundle may change.
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
  # The image decrypts nothing, and still says which secret its host would miss.
  files = lib.optionals cfg.enable (
    map (secret: secret.path) (lib.attrValues (config.age.secrets or { }))
  );
in
{
  config = lib.mkIf cfg.bootstrap.enable {
    systemd.services.clawdinator-secrets = {
      description = "Decrypt the secrets of a bundle that has changed";
      after = [ "clawdinator-bootstrap.service" ];
      wantedBy = [
        "multi-user.target"
        "clawdinator.target"
      ];
      unitConfig.ConditionPathExists = "${cfg.bootstrap.dir}/current/config.json";
      startLimitIntervalSec = 0;
      path = stage.path ++ [ pkgs.age ];
      restartIfChanged = false;
      # Decrypting is the system's own activation: it mounts, changes owners and writes below /etc and /run. Nothing here may
      # give the unit a mount namespace of its own: what agenix mounts there would be gone with it.
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

    # Not OnSuccess=: that would run it at every poll of an unchanged bundle.
    systemd.paths.clawdinator-secrets = {
      description = "Notice a new bundle";
      wantedBy = [ "multi-user.target" ];
      pathConfig.PathChanged = "${cfg.bootstrap.dir}/installed";
    };
  };
}

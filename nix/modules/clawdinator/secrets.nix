# agenix decrypts in the activation script, which runs before the network is up: on the first boot there is no identity
# yet (user data activates the host's own configuration after the bundle has arrived), and later a bundle may change
# while the host runs. This unit decrypts again whenever another bundle than last time is installed.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  wanted = cfg.enable && cfg.bootstrap.enable;
in
{
  config = lib.mkIf wanted {
    systemd.services.clawdinator-secrets = {
      description = "Decrypt the secrets of a bundle that has changed";
      after = [ "clawdinator-bootstrap.service" ];
      wantedBy = [ "multi-user.target" ];
      unitConfig.ConditionPathExists = "${cfg.bootstrap.dir}/current/config.json";
      path = [ pkgs.coreutils ];
      restartIfChanged = false;
      script = ''
        bundle=$(readlink ${cfg.bootstrap.dir}/current)
        seen=/run/clawdinator-secrets/bundle
        if [ -e "$seen" ] && [ "$(cat "$seen")" = "$bundle" ]; then exit 0; fi

        # Where users are not made by the activation script, agenix has a unit of its own.
        if [ -e /etc/systemd/system/agenix-install-secrets.service ]; then
          systemctl restart agenix-install-secrets.service
        else
          /run/current-system/activate
        fi
        # Units hold credentials from the time they started. None of these is waited for: at boot they wait for us.
        if [ -e "$seen" ]; then
          systemctl try-restart --no-block clawdinator-gateway.service
          ${lib.optionalString cfg.githubApp.enable "systemctl start --no-block clawdinator-github-token.service"}
        fi
        printf '%s\n' "$bundle" >"$seen"
      '';
      # Decrypting is the system's own activation: it mounts, changes owners and writes below /etc and /run. Nothing here may
      # give the unit a mount namespace of its own: what agenix mounts there would be gone with it.
      serviceConfig = {
        Type = "oneshot";
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

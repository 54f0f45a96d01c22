# Unpacks the repositories of the bundle. They belong to root: nixos-rebuild switches to the flake in `clawdinators`, so an agent
# that could write there would become root.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.clawdinator;
  inherit (lib) mkOption types;
  hardening = import ../../lib/hardening.nix;
  stage = import ../../lib/stage.nix {
    inherit lib pkgs;
    inherit (cfg) scripts;
  };
  seed = types.submodule {
    options = {
      name = mkOption {
        type = types.strMatching "[A-Za-z0-9][A-Za-z0-9._-]*";
        description = "Name of the repository in the bundle and in `repos/`.";
      };
      url = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "URL of the remote `origin`. Null: the URL in the bundle.";
      };
    };
  };
in
{
  options.services.clawdinator.repoSeeds = mkOption {
    type = types.listOf (types.coercedTo types.str (name: { inherit name; }) seed);
    default = [ ];
    example = [ "clawdinators" ];
    description = ''
      Repositories that the bundle must contain; the unit fails if one is missing. Other repositories of the bundle are
      unpacked, too.
    '';
  };

  config = lib.mkIf cfg.bootstrap.enable {
    assertions = [
      {
        assertion = lib.length (lib.unique (map (s: s.name) cfg.repoSeeds)) == lib.length cfg.repoSeeds;
        message = "services.clawdinator.repoSeeds names a repository twice.";
      }
    ];

    # The agent reads and clones repositories that belong to root.
    programs.git = {
      enable = true;
      config.safe.directory = "${cfg.stateDir}/repos/*";
    };

    systemd.services.clawdinator-repo-seed = {
      description = "Unpack the repositories of the bundle";
      # The checkout changes only until the first switch: otherwise the next self-update would also apply all other changes of a
      # new seed. A switch starts each unit that is not active, so this one has RemainAfterExit, and its conditions are files
      # that a switch does not change.
      unitConfig.ConditionPathExists = [
        "${cfg.bootstrap.dir}/current/config.json"
        "!/var/lib/clawdinator/switched"
        "!/run/clawdinator/switching"
      ];
      startLimitIntervalSec = 0;
      path = stage.path ++ [
        pkgs.git
        pkgs.gnutar
      ];
      environment.HOME = "/var/empty";
      restartIfChanged = false;
      serviceConfig =
        hardening.base
        // stage.oneshot "repositories" "clawdinator-repo-seed.service" "start clawdinator-switch.service"
        // {
          RemainAfterExit = true;
          ExecStart = lib.concatStringsSep " " (
            [
              (lib.getExe pkgs.bash)
              "${cfg.scripts}/seed-repos.sh"
              "${cfg.bootstrap.dir}/current"
              "${cfg.stateDir}/repos"
            ]
            ++ map (
              s: lib.escapeShellArg (if s.url == null then s.name else "${s.name}=${s.url}")
            ) cfg.repoSeeds
          );
          ReadWritePaths = [ "${cfg.stateDir}/repos" ];
          # To read the bundle, which belongs to another user.
          CapabilityBoundingSet = "CAP_DAC_READ_SEARCH";
          TimeoutStartSec = "10min";
          MemoryDenyWriteExecute = true;
          UMask = "0022";
        };
    };
  };
}

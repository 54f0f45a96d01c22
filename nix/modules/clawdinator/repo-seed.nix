# Unpacks the repositories of the bundle. `clawdinators` is the flake that nixos-rebuild switches to, so they belong to
# root: an agent that could write there would be root at the next switch.
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
        description = "Name of the repository in the bundle and below `repos/`.";
      };
      url = mkOption {
        type = types.nullOr types.str;
        default = null;
        description = "What `origin` is to be. Null: what the bundle says.";
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
      Repositories that the bundle must hold; the unit fails where one is missing. Whatever else the bundle holds is
      unpacked too.
    '';
  };

  config = lib.mkIf cfg.bootstrap.enable {
    assertions = [
      {
        assertion = lib.length (lib.unique (map (s: s.name) cfg.repoSeeds)) == lib.length cfg.repoSeeds;
        message = "services.clawdinator.repoSeeds names a repository twice.";
      }
    ];

    # Agents read and clone what belongs to root.
    programs.git = {
      enable = true;
      config.safe.directory = "${cfg.stateDir}/repos/*";
    };

    systemd.services.clawdinator-repo-seed = {
      description = "Unpack the repositories of the bundle";
      # The checkout that nixos-rebuild reads moves until the machine has become its host, and never again: the next update
      # of the gateway would take along whatever else has changed. New seeds come with a deploy. A switch starts every
      # unit that is not running, so this one stays "running", and its conditions are files that a switch does not touch.
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
          # Reads the bundle, which belongs to another user, and nothing else that root could.
          CapabilityBoundingSet = "CAP_DAC_READ_SEARCH";
          TimeoutStartSec = "10min";
          MemoryDenyWriteExecute = true;
          UMask = "0022";
        };
    };
  };
}
